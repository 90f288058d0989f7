use proptest::prelude::*;

use super::*;
use crate::clock::Timestamp;
use crate::event::{EventKey, Kind};
use crate::twilio::params::Params;

const KEY: &str = "0123456789abcdef0123456789abcdef";
const NUMBER: &str = "+15550100002";

fn privacy(numbers: Treatment, names: Treatment, bodies: Treatment) -> Privacy {
    let treatments = Treatments { numbers, names, bodies };
    let also = [("customer_phone", Class::Numbers), ("Nickname", Class::Names)];
    Privacy::new(treatments, also, Some(&KEY.into())).expect("the key is long enough")
}

fn all(treatment: Treatment) -> Privacy {
    privacy(treatment, treatment, treatment)
}

fn event(format: Format, query: &str, body: &[u8]) -> Event {
    Event {
        received_at: Timestamp::from_micros(1),
        format,
        query: query.to_owned(),
        body: Bytes::copy_from_slice(body),
        ..Event::new(EventKey::parse("k").expect("printable"), Kind::Other, "AC1")
    }
}

fn applied(privacy: &Privacy, format: Format, query: &str, body: &[u8]) -> (String, Vec<u8>) {
    let mut event = event(format, query, body);
    privacy.apply(&mut event);
    (event.query, event.body.to_vec())
}

fn form(privacy: &Privacy, body: &str) -> String {
    String::from_utf8(applied(privacy, Format::Form, "", body.as_bytes()).1).expect("ASCII")
}

fn json(privacy: &Privacy, body: &str) -> String {
    String::from_utf8(applied(privacy, Format::Json, "", body.as_bytes()).1).expect("JSON")
}

/// The hash of a value, made independently with the key.
fn hash(value: &str) -> String {
    let mac = Hmac::<Sha256>::new_from_slice(KEY.as_bytes()).expect("any length");
    text::hashed(&mac.chain_update(value).finalize().into_bytes())
}

use Treatment::{Drop, Hash, Mask, Plain};

#[test]
fn each_class_has_its_treatment() {
    let privacy = privacy(Mask, Drop, Hash);
    let body =
        "CallSid=CA1&From=%2B15550100001&FromCity=NEW+YORK&ToZip=&SpeechResult=yes&Digits=12";
    let expected = format!(
        "CallSid=CA1&From=****0001&ToZip=&SpeechResult={}&Digits={}",
        hash("yes").replace(':', "%3A"),
        hash("12").replace(':', "%3A")
    );
    assert_eq!(form(&privacy, body), expected);
}

#[test]
fn a_mask_never_shows_half_of_a_value() {
    let check = |value: &str, expected: &str| assert_eq!(text::masked(value), expected, "{value}");
    check("+15550100", "****0100");
    check("1234", "****");
    check("1234567", "****");
    check("ÄÖÜäöüßé", "****öüßé");
    check("", "****");
}

#[test]
fn a_number_has_one_hash_wherever_and_however_it_is_written() {
    let (privacy, hash) = (all(Hash), hash(NUMBER));
    let encoded = hash.replace(':', "%3A");
    for (sent, stored) in [
        ("From=%2B15550100002", format!("From={encoded}")),
        ("WaId=15550100002", format!("WaId={encoded}")),
        ("to=+15550100002", format!("to={encoded}")),
        ("customer-phone=%2B1+(555)+010-0002", format!("customer-phone={encoded}")),
        ("To=whatsapp%3A%2B15550100002", format!("To=whatsapp%3A{encoded}")),
        ("Unheard=%2B15550100002", format!("Unheard={encoded}")),
        ("Unheard=+15550100002", format!("Unheard={encoded}")),
        ("%2B15550100002", encoded.clone()),
    ] {
        assert_eq!(form(&privacy, sent), stored, "{sent}");
        let (query, _) = applied(&privacy, Format::Form, sent, b"");
        assert_eq!(query, stored, "{sent}");
    }
    for (sent, stored) in [
        (r#"{"data":{"from":"+15550100002"}}"#, format!(r#"{{"data":{{"from":"{hash}"}}}}"#)),
        (r#"{"wa_id": 15550100002}"#, format!(r#"{{"wa_id":"{hash}"}}"#)),
        (r#"["+15550100002"]"#, format!(r#"["{hash}"]"#)),
        (
            r#"{"to":["+15550100002",{"x":"+15550100002"}]}"#,
            format!(r#"{{"to":["{hash}",{{"x":"{hash}"}}]}}"#),
        ),
    ] {
        assert_eq!(json(&privacy, sent), stored, "{sent}");
    }
}

#[test]
fn a_number_is_found_in_texts_urls_and_json_within_a_value() {
    let privacy = privacy(Mask, Plain, Mask);
    let value = |sent: &str| {
        let sent: String = form_urlencoded::byte_serialize(sent.as_bytes()).collect();
        let body = form(&privacy, &format!("Payload={sent}"));
        Params::parse(body.as_bytes()).get("Payload").map(Cow::into_owned).unwrap_or_default()
    };
    let check = |sent: &str, expected: &str| assert_eq!(value(sent), expected, "{sent}");
    check("Cannot call +15550100002.", "Cannot call ****0002.");
    check("Tue, 24 Nov 2026 08:00:47 +0000", "Tue, 24 Nov 2026 08:00:47 +0000");
    check("+1234567890123456", "+1234567890123456");
    check("https://h.example/n/%2B15550100002", "https://h.example/n/****0002");
    check("https://h.example/v?To=%2B15550100002&a=1#f", "https://h.example/v?To=****0002&a=1#f");
    check(
        r#"{"request": {"parameters": {"From": "+15550100002", "Body": "see you soon", "n": 1.50}}}"#,
        r#"{"request":{"parameters":{"From":"****0002","Body":"****soon","n":1.50}}}"#,
    );
    check("sip:ana@h.example", "sip:****mple");
    check("[1]", "[1]");
    check("[to all]", "****all]");
    check(r#"{"From": "+1555"#, "****1555");
    check("\"see you\", she said", "\"see you\", she said");
}

/// Cut off, with a comma too many, or behind a byte order mark: a parser that gives up keeps nothing.
#[test]
fn what_begins_like_json_and_cannot_be_read_is_treated_in_the_strictest_way() {
    let privacy = privacy(Plain, Plain, Hash);
    for broken in [
        r#"[{"Body":"my pin is 1234"},{"Bo"#,
        r#"[{"Body":"my pin is 1234"},]"#,
        r#"{"Body":"my pin is 1234""#,
        "\u{feff}{\"Body\":\"my pin is 1234\"",
        "\u{feff} [{\"Body\":\"my pin is 1234\"},]",
        "\u{200b}\u{feff}\n[{\"Body\":\"my pin is 1234\"},]",
        r#""{\"Body\":\"my pin is 1234\"},"#,
        r#"{"a":1}{"Body":"my pin is 1234"}"#,
        r#"{"Body":"my pin is 1234"}"#,
        "\u{feff}{\"Body\":\"my pin is 1234\"}",
        r#""{\"Body\":\"my pin is 1234\"}""#,
        "\"\u{feff} {\\\"Body\\\":\\\"my pin is 1234",
        r#""\"{\\\"Body\\\":\\\"my pin is 1234"#,
        // Of UTF-16 and of a byte order mark that was encoded twice.
        "\u{fffd}\u{fffd}{\"Body\":\"my pin is 1234\"}",
        "ï»¿[{\"Body\":\"my pin is 1234\"},]",
        "{'Body':'my pin is 1234'}",
    ] {
        let stored = form(&privacy, &written_form(&[("Payload".to_owned(), broken.to_owned())]));
        assert!(!stored.contains("pin"), "{broken}: {stored}");
        let sent = serde_json::json!({ "data": { "new": broken } }).to_string();
        let stored = json(&privacy, &sent);
        assert!(!stored.contains("pin"), "{broken}: {stored}");
        let stored = json(&privacy, broken);
        assert!(!stored.contains("pin"), "{broken}: {stored}");
    }
}

/// JSON that was sent as a form has an `=` and a `&` of its own.
#[test]
fn json_in_the_place_of_a_form_is_treated_in_the_strictest_way() {
    let privacy = privacy(Plain, Plain, Hash);
    for sent in [
        r#"{"Body":"my pin is 12&my other pin=34"}"#,
        r#"a=1&[{"Body":"my=pin is 12"}]&b=my+pin"#,
        "%7B%22Body%22%3A%22my+pin=1",
        "\u{feff}{\"Body\":\"my pin is=12",
    ] {
        let stored = form(&privacy, sent);
        assert!(!stored.contains("pin"), "{sent}: {stored}");
        assert_eq!(stored.starts_with("a=1&"), sent.starts_with("a=1&"), "{stored}");
    }
    assert_eq!(form(&privacy, "{}=1&[]&a=[1]"), "{}=1&[]&a=[1]");
}

#[test]
fn parameters_that_twilio_documents_have_a_class() {
    let check = |class: Class, names: &[&str]| {
        for name in names {
            assert_eq!(Class::of(&class::plain_name(name)), Some(class), "{name}");
        }
    };
    check(
        Class::Numbers,
        &[
            "ParticipantIdentity",
            "participant_identity",
            "ClientIdentity",
            "SipSourceIp",
            "SipCallId",
            "CustomerPhoneNumber",
        ],
    );
    check(
        Class::Names,
        &[
            "SipUsername",
            "FriendlyName",
            "UniqueName",
            "RoomName",
            "WorkerName",
            "ParticipantLabel",
            "AgentDisplayName",
        ],
    );
    check(
        Class::Bodies,
        &[
            "RecordingUrl",
            "TranscriptionUrl",
            "ReferralMediaUrl",
            "MediaUrl0",
            "Media",
            "HandoffData",
            "PaymentCardNumber",
            "PaymentCardPostalCode",
            "SecurityCode",
            "ExpirationDate",
            "BankAccountNumber",
        ],
    );
    check(Class::Mixed, &["SipHeader_X-Caller", "SipHeader_P-Asserted-Identity"]);
    for plain in ["CallSid", "CallStatus", "Direction", "ApiVersion", "Timestamp", "StreamName"] {
        assert_eq!(Class::of(&class::plain_name(plain)), None, "{plain}");
    }
}

#[test]
fn a_parameter_of_several_classes_is_treated_as_the_strictest_of_them() {
    let sent = "SipHeader_X-From=%22Alice%22+%3Csip%3A555%40h%3E&a=1";
    assert_eq!(form(&privacy(Plain, Plain, Drop), sent), "a=1");
    assert_eq!(form(&privacy(Drop, Plain, Plain), sent), "a=1");
    assert!(!form(&privacy(Plain, Mask, Plain), sent).contains("Alice"));
}

#[test]
fn a_number_is_treated_as_a_name_and_however_it_is_written() {
    let masked = privacy(Mask, Plain, Mask);
    for (sent, stored) in [
        ("%2B15550100002=1&a=2", "****0002=1&a=2"),
        ("+15550100002=1&a=2", "****0002=1&a=2"),
        ("a=call+%2B1+555+0100002+now", "a=call+****0002+now"),
        ("a=%2B1+%28555%29+010-0002%21", "a=****0002%21"),
        ("a=%25252B15550100002", "a=****0002"),
        ("a=%252B15550100002", "a=****0002"),
        ("a=From%3D%252B15550100002%26Body%3Dsecret", "a=From%3D****0002%26Body%3D****"),
        ("a=%2Fpath%3FBody%3Dsecret", "a=%2Fpath%3FBody%3D****"),
        ("a=1%2B1%3D2%3F", "a=1%2B1%3D2%3F"),
    ] {
        assert_eq!(form(&masked, sent), stored, "{sent}");
    }
    let sent = r#"{"+15550100002":{"a":1},"b":2}"#;
    assert_eq!(json(&masked, sent), r#"{"****0002":{"a":1},"b":2}"#);
    assert_eq!(json(&all(Drop), sent), r#"{"b":2}"#);
    assert_eq!(form(&all(Drop), "%2B15550100002=1&a=2"), "a=2");
}

#[test]
fn what_is_plain_stays_byte_for_byte() {
    let privacy = privacy(Hash, Plain, Plain);
    for same in ["b=%zz&&a=+%2b1&c&=&Body=%FF%00+15550100002", "FromCity=X&Digits=1"] {
        assert_eq!(form(&privacy, same), same);
    }
    let sent = r#"{ "a" : 1e3, "Body": "+15550100002" , "a" : "\ud800x" }"#;
    let stored = json(&privacy, sent);
    // Half a character cannot be read, so it may be anything.
    assert!(stored.starts_with(r#"{"a":1e3,"Body":"+15550100002","a":"hash:"#), "{stored}");
    for same in [r#"{ "a" : 1e3 , "b":[ null,true ] }"#, "17", "[]"] {
        assert_eq!(json(&privacy, same), same);
    }
    let mut event = event(Format::Form, "From=%2B15550100002", b"From=%2B15550100002");
    let before = event.clone();
    Privacy::default().apply(&mut event);
    assert_eq!(event, before);
    assert_eq!(event.body.as_ptr(), before.body.as_ptr(), "it was not copied");
}

#[test]
fn what_is_dropped_goes_with_its_name() {
    let privacy = all(Drop);
    assert_eq!(form(&privacy, "From=%2B1&a=1&To=%2B1&a=2&Body=x"), "a=1&a=2");
    assert_eq!(form(&privacy, "Body=x"), "");
    let sent = r#"{"from":"+1","a":["+15550100002",1],"to":{"city":"x"},"a":2}"#;
    assert_eq!(json(&privacy, sent), r#"{"a":[1],"to":{},"a":2}"#);
    assert_eq!(json(&privacy, r#""+15550100002""#), "null");
}

#[test]
fn what_cannot_be_read_is_treated_as_a_whole() {
    let privacy = privacy(Plain, Hash, Mask);
    assert_eq!(json(&privacy, "{half"), format!("\"{}\"", hash("{half")));
    let deep = format!("{}1{}", "[".repeat(5000), "]".repeat(5000));
    let written = json(&privacy, &deep);
    assert!(written.contains("hash:") && written.len() < 200, "{written}");
    assert_eq!(json(&all(Drop), "{half"), "null");
}

#[test]
fn the_hash_of_what_was_sent_is_not_kept_beside_it() {
    let (query, _) = applied(&privacy(Plain, Plain, Mask), Format::Json, "a=1&bodySHA256=00", b"1");
    assert_eq!(query, "a=1");
}

#[test]
fn a_number_is_sought_as_it_is_stored() {
    let hashed = all(Hash);
    assert_eq!(hashed.forms(NUMBER), [NUMBER.to_owned(), hash(NUMBER)]);
    let whatsapp = format!("whatsapp:{NUMBER}");
    assert_eq!(hashed.forms(&whatsapp)[1], format!("whatsapp:{}", hash(NUMBER)));
    assert_eq!(all(Mask).forms(NUMBER), [NUMBER, "****0002"]);
    assert_eq!(all(Mask).forms("****0002"), ["****0002"]);
    assert_eq!(all(Drop).forms(NUMBER), [NUMBER]);
    assert_eq!(Privacy::default().forms(NUMBER), [NUMBER]);
    let apart = [Plain, Hash, Mask, Drop].map(|treatment| all(treatment).tells_numbers_apart());
    assert_eq!(apart, [true, true, false, false]);
}

#[test]
fn a_key_is_needed_and_must_be_long() {
    let new = |numbers, key: Option<&str>| {
        let treatments = Treatments { numbers, ..Treatments::default() };
        Privacy::new(treatments, [], key.map(SecretString::from).as_ref()).map(|_| ())
    };
    assert_eq!(new(Plain, None), Ok(()));
    assert_eq!(new(Plain, Some("short")), Err(KeyError::Short));
    assert_eq!(new(Hash, Some(&KEY[1..])), Err(KeyError::Short));
    for treatment in [Hash, Mask, Drop] {
        assert_eq!(new(treatment, None), Err(KeyError::Missing));
        assert_eq!(new(treatment, Some(KEY)), Ok(()));
    }
    assert!(!format!("{:?}", all(Hash)).contains(KEY));
}

fn treatment() -> impl Strategy<Value = Treatment> {
    prop::sample::select(vec![Plain, Mask, Hash, Drop])
}

/// Texts in which something may be found.
fn odd_text() -> impl Strategy<Value = String> {
    prop_oneof![
        ".{0,12}",
        r"\+?[0-9]{4,17}",
        r"(whatsapp|sip|note):\+?[0-9a-z]{1,12}",
        r#"[\[{]{1,3}"From":"\+[0-9]{9}"[\]}]{0,3}"#,
        r"https://h/[a-z]?\?[a-zA-Z]{1,4}=%2B[0-9]{9}",
    ]
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            "From",
            "to",
            "FromCity",
            "Body",
            "CallSid",
            "MediaUrl0",
            "Payload"
        ])
        .prop_map(str::to_owned),
        "[a-z+%]{0,3}",
    ]
}

fn written_form(pairs: &[(String, String)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

proptest! {
    #[test]
    fn names_keep_their_order_and_their_duplicates(
        pairs in prop::collection::vec((name(), odd_text()), 0..8),
        treatments in (treatment(), treatment(), treatment()),
    ) {
        let privacy = privacy(treatments.0, treatments.1, treatments.2);
        let sent = written_form(&pairs);
        let stored = form(&privacy, &sent);
        let names = |form: &str| -> Vec<Vec<u8>> {
            Params::parse(form.as_bytes()).iter().map(|(name, _)| name.to_vec()).collect()
        };
        let (mut before, after) = (names(&sent).into_iter(), names(&stored));
        // A subsequence; and all of it, if nothing is dropped.
        prop_assert!(after.iter().all(|name| before.any(|sent| sent == *name)), "{} {}", sent, stored);
        if ![treatments.0, treatments.1, treatments.2].contains(&Drop) {
            prop_assert_eq!(after.len(), names(&sent).len());
        }
    }

    #[test]
    fn json_stays_json_with_its_members_in_order(
        members in prop::collection::vec((name(), odd_text()), 0..6),
        treatments in (treatment(), treatment(), treatment()),
    ) {
        let privacy = privacy(treatments.0, treatments.1, treatments.2);
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        let members: Vec<_> =
            members.iter().map(|(name, text)| format!("{}:{}", quoted(name), quoted(text))).collect();
        let sent = format!(r#"{{"data":[{{{}}}]}}"#, members.join(","));
        let stored = json(&privacy, &sent);
        let parsed: Result<serde_json::Value, _> = serde_json::from_str(&stored);
        prop_assert!(parsed.is_ok(), "{} {}", sent, stored);
    }

    /// What is masked or dropped once is so for ever; a hash is a value like any other.
    #[test]
    fn to_mask_or_to_drop_again_changes_nothing(
        pairs in prop::collection::vec((name(), odd_text()), 0..8),
        treatment in prop::sample::select(vec![Plain, Mask, Drop]),
    ) {
        let privacy = all(treatment);
        let once = form(&privacy, &written_form(&pairs));
        prop_assert_eq!(form(&privacy, &once), once);
    }

    #[test]
    fn nothing_makes_it_fail(
        body in prop::collection::vec(any::<u8>(), 0..200),
        query in ".{0,60}",
        treatments in (treatment(), treatment(), treatment()),
    ) {
        let privacy = privacy(treatments.0, treatments.1, treatments.2);
        applied(&privacy, Format::Form, &query, &body);
        let (_, stored) = applied(&privacy, Format::Json, &query, &body);
        if treatments != (Plain, Plain, Plain) {
            prop_assert!(serde_json::from_slice::<serde_json::Value>(&stored).is_ok());
        }
    }

    #[test]
    fn a_classified_number_is_nowhere_in_what_is_stored(
        digits in "[1-9][0-9]{7,14}",
        text in odd_text(),
        treatment in prop::sample::select(vec![Mask, Hash, Drop]),
    ) {
        let privacy = all(treatment);
        let number = format!("+{digits}");
        let payload = format!(r#"{{"a":[{{"From":"{number}"}}],"url":"https://h/?x=%2B{digits}"}}"#);
        let pairs = ["From", "ForwardedFrom", "New", "Body"].map(|name| (name.to_owned(), number.clone()));
        let more = [("Payload".to_owned(), payload), ("Free".to_owned(), format!("{text} {number}"))];
        let sent = written_form(&[pairs.to_vec(), more.to_vec()].concat());
        let stored = form(&privacy, &sent);
        prop_assert!(!stored.contains(&digits), "{}", stored);
    }
}
