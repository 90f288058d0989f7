//! What holds for every input, however odd: asked by short runs in the tests below, and by the
//! fuzzer for as long as one likes (see `fuzz/`). Not part of a build that is shipped.
//!
//! Each takes bytes as they come, and panics if the property does not hold.

use bytes::Bytes;
use secrecy::SecretString;
use serde_json::Value;

use crate::clock::Timestamp;
use crate::event::attempt::ATTEMPT_PARAMETER;
use crate::event::{AttemptId, Event, Route, codec};
use crate::sendgrid::events::{Elements, Reader};
use crate::sendgrid::signature::Signed;
use crate::twilio::callback::{self, Arrival};
use crate::twilio::consent::Listening;
use crate::twilio::details::EventDetails;
use crate::twilio::keyring::{Account, Keyring, Secret};
use crate::twilio::params::Params;
use crate::twilio::privacy::{Privacy, Treatment, Treatments};
use crate::twilio::rest::{
    Answer, CreateAnswer, Created, NewMessage, ReadAnswer, SentBy, status_callback,
};
use crate::twilio::signature::{
    BODY_HASH, Claim, Content, SignatureError, SignedRequest, body_hash, sign,
};
use crate::twilio::twiml::{Medium, Twiml};

const ACCOUNT: &str = "AC1";

fn token(text: &str) -> SecretString {
    SecretString::from(text)
}

fn keyring() -> Keyring {
    let account = Account::new(ACCOUNT.into(), "main".into(), &[token("12345")], &[]);
    Keyring::new(vec![account]).expect("it has a token")
}

/// A form is read as an independent parser reads it, and reads the same when it is written again.
pub fn form(input: &[u8]) {
    let params = Params::parse(input);
    let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let ours: Vec<_> = params.iter().map(|(name, value)| (lossy(name), lossy(value))).collect();
    let theirs: Vec<_> = form_urlencoded::parse(input).into_owned().collect();
    assert_eq!(ours, theirs);

    let write = |bytes| form_urlencoded::byte_serialize(bytes).collect::<String>();
    let pairs = params.iter().map(|(name, value)| format!("{}={}", write(name), write(value)));
    let written = pairs.collect::<Vec<_>>().join("&");
    assert_eq!(Params::parse(written.as_bytes()), params);

    let signed = params.signed_pairs();
    assert!(signed.is_sorted_by(|a, b| a < b), "sorted, and each once");
    assert!(params.iter().all(|pair| signed.binary_search(&pair).is_ok()), "none is missing");

    let valid = |bytes: &[u8]| std::str::from_utf8(bytes).is_ok();
    let all_valid = |params: &Params<'_>| params.iter().all(|(n, v)| valid(n) && valid(v));
    match params.with_replacements() {
        Some(replaced) => assert!(all_valid(&replaced) && !all_valid(&params)),
        None => assert!(all_valid(&params)),
    }
    for (name, _) in &ours {
        let value = params.get(name);
        assert!(value.is_none_or(|value| !value.is_empty() && !value.contains('\0')));
    }
}

/// What was signed with our token is accepted, and nothing else is. Four lines: what follows the
/// host, a forged signature, its settings, and the body, which may have lines of its own.
pub fn signature(input: &[u8]) {
    let mut lines = input.splitn(4, |&byte| byte == b'\n');
    let [target, forged, settings, body] = std::array::from_fn(|_| lines.next().unwrap_or(b""));
    let target = String::from_utf8_lossy(target).replace('#', "");
    let (ring, secret) = (keyring(), Secret::auth_token(&token("12345")));
    for content in [Content::Query, Content::Form, Content::Json] {
        let body =
            if content == Content::Query { Bytes::new() } else { Bytes::copy_from_slice(body) };
        let url = match (content, target.contains('?')) {
            (Content::Json, false) => {
                format!("https://h.example/{target}?{BODY_HASH}={}", body_hash(&body))
            }
            (Content::Json, true) => {
                format!("https://h.example/{target}&{BODY_HASH}={}", body_hash(&body))
            }
            _ => format!("https://h.example/{target}"),
        };
        let verify = |url: &str, claim| {
            SignedRequest::new(url, content, &body, claim).verify(&ring).map(|_| ())
        };
        if let Ok(claim) = Claim::parse([forged], Some(settings)) {
            assert!(verify(&url, claim).is_err(), "forged");
        }
        let claim = |secret: &Secret| {
            let signature = sign(secret, &url, content, &body);
            Claim::parse([signature.as_bytes()], None).expect("it is well-formed")
        };
        let params = match content {
            Content::Query => url.split_once('?').map_or("", |(_, query)| query).as_bytes(),
            Content::Form => &body,
            Content::Json => b"",
        };
        let params = Params::parse(params);
        let ours = params.get("AccountSid").is_none_or(|sid| sid == ACCOUNT);
        let expected = if ours { Ok(()) } else { Err(SignatureError::UnknownAccount) };
        assert_eq!(verify(&url, claim(&secret)), expected);
        assert!(verify(&format!("{url}x"), claim(&secret)).is_err(), "another URL");
        assert!(verify(&url, claim(&Secret::auth_token(&token("x")))).is_err(), "another token");
    }
}

/// One of each treatment.
fn hidden() -> Privacy {
    let (numbers, names) = (Treatment::Hash, Treatment::Mask);
    let treatments = Treatments { numbers, names, bodies: Treatment::Drop };
    let key = token("0123456789abcdef0123456789abcdef");
    Privacy::new(treatments, [], Some(&key)).expect("the key is long enough")
}

/// Every signed body becomes events that can be stored: of a form one with the body as it was, of
/// JSON one per element. The first byte says how it was sent.
pub fn callback(input: &[u8]) {
    let Some((way, body)) = input.split_first() else { return };
    let content = [Content::Query, Content::Form, Content::Json][usize::from(way % 3)];
    let body = Bytes::copy_from_slice(body);
    let (query, body) = match content {
        Content::Query => (String::from_utf8_lossy(&body).replace('#', ""), Bytes::new()),
        Content::Form => ("order=7".to_owned(), body),
        Content::Json => (format!("{BODY_HASH}={}", body_hash(&body)), body),
    };
    let url = format!("https://h.example/status?{query}");
    let ring = keyring();
    let signature = sign(&ring.accounts()[0].secrets()[0], &url, content, &body);
    let claim = Claim::parse([signature.as_bytes()], None).expect("it is well-formed");
    // It is of another account, and refused for that reason.
    let Ok(request) = SignedRequest::new(&url, content, &body, claim).verify(&ring) else { return };

    let at = Timestamp::from_micros(1_764_000_000_000_000);
    let (plain, hidden) = (Privacy::default(), hidden());
    let whole = if content == Content::Query { query.as_bytes() } else { &body };
    let always = [Route::VoiceFallback, Route::VoiceConfirm];
    let routes = [Route::Status, Route::EventStreams, Route::VoiceFallback, Route::VoiceConfirm];
    for (route, token) in routes.into_iter().flat_map(|it| [(it, None), (it, Some("token"))]) {
        let events = |privacy: &Privacy| match route {
            Route::VoiceFallback => {
                let arrival = Arrival { route, token, at };
                vec![callback::fallback_event(&request, arrival, privacy)]
            }
            Route::VoiceConfirm => {
                let arrival = Arrival { route, token, at };
                vec![callback::voice_confirm_event(&request, arrival, privacy)]
            }
            // None, if nothing of Twilio's is in it.
            _ => callback::events(&request, Arrival { route, token, at }, privacy)
                .unwrap_or_default(),
        };
        let (events, kept) = (events(&plain), events(&hidden));
        let same = |one: &Event, other: &Event| {
            (one.kind, &one.sid, one.position()) == (other.kind, &other.sid, other.position())
        };
        assert!(kept.len() == events.len(), "what is kept is as many events");
        assert!(
            kept.iter().zip(&events).all(|(kept, event)| same(kept, event)),
            "of the same kind"
        );
        kept.iter().for_each(storable);
        if events.is_empty() {
            assert!(!always.contains(&route), "a request that asks what to do is always kept");
            continue;
        }
        if content != Content::Json || always.contains(&route) {
            assert!(events.len() == 1 && events[0].body == whole);
        }
        assert!(events.iter().map(|event| event.body.len()).sum::<usize>() <= whole.len());
        events.iter().for_each(storable);
    }
}

/// Every signed body of email events becomes events that can be stored, whatever may be kept of them.
pub fn email(input: &[u8]) {
    let elements = Elements::of(&Signed::of_test(input));
    let at = Timestamp::from_micros(1_764_000_000_000_000);
    let (plain, hidden) = (Privacy::default(), hidden());
    let events = |privacy: &Privacy| -> Vec<Event> {
        let listening = Listening::Plain;
        let reader = Reader { at, privacy, listening: &listening };
        elements.parts().iter().map(|element| reader.event(element)).collect()
    };
    let (events, kept) = (events(&plain), events(&hidden));
    for (kept, event) in kept.iter().zip(&events) {
        assert_eq!((kept.kind, kept.position()), (event.kind, event.position()));
    }
    assert!(kept.len() == events.len(), "what is kept is as many events");
    kept.iter().chain(&events).for_each(storable);
}

/// Nothing in it that Postgres refuses as data, or that is lost on the way through the stream.
fn storable(event: &Event) {
    let details = EventDetails::of(event);
    let params: Value = serde_json::from_str(&details.params).expect("it is JSON");
    assert!(!holds_nul(&params), "{params}");
    assert_eq!(details.current.is_some(), event.position().is_some() && event.sid.is_some());
    let current = details.current.iter();
    let texts = current.flat_map(|row| [&row.from, &row.to].into_iter().flatten());
    assert!(texts.chain(&event.sid).chain(&event.status).all(|text| !text.contains('\0')));
    assert_eq!(codec::decode(fields(event)).as_ref(), Ok(event));
}

fn holds_nul(json: &Value) -> bool {
    match json {
        Value::String(text) => text.contains('\0'),
        Value::Array(values) => values.iter().any(holds_nul),
        Value::Object(map) => map.iter().any(|(name, v)| name.contains('\0') || holds_nul(v)),
        _ => false,
    }
}

fn fields(event: &Event) -> Vec<(Bytes, Bytes)> {
    let mut fields = Vec::new();
    codec::encode(event, |name, value| {
        fields.push((Bytes::from_static(name.as_bytes()), Bytes::copy_from_slice(value)));
    });
    fields
}

/// Text that is accepted as TwiML is accepted again as it will be sent.
pub fn twiml(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    for medium in [Medium::Voice, Medium::Sms] {
        let Ok(twiml) = Twiml::parse(&text, medium) else { continue };
        let sent = twiml.bytes();
        let sent = std::str::from_utf8(&sent).expect("it was text");
        assert!(sent.len() <= Twiml::MAX_BYTES && sent.contains("<Response"));
        assert_eq!(Twiml::parse(sent, medium), Ok(twiml));
    }
}

/// An entry of the stream is an event that reads the same when it is written again, or it is not an event.
/// Each line is a field: the byte of its place, and its value.
pub fn codec(input: &[u8]) {
    let lines = input.split(|&byte| byte == b'\n').filter_map(<[u8]>::split_first);
    let entry = lines.map(|(place, value)| {
        let name = codec::FIELDS[usize::from(*place) % codec::FIELDS.len()];
        (Bytes::from_static(name.as_bytes()), Bytes::copy_from_slice(value))
    });
    if let Ok(event) = codec::decode(entry) {
        assert_eq!(codec::decode(fields(&event)).as_ref(), Ok(&event));
    }
}

/// An answer to a create is only taken for "nothing was created" if Twilio says so, and what a page leads to is of the
/// same account. Three lines: the status, `Retry-After`, and the body, which may have lines of its own.
pub fn rest(input: &[u8]) {
    let mut lines = input.splitn(3, |&byte| byte == b'\n');
    let [status, retry_after, body] = std::array::from_fn(|_| lines.next().unwrap_or(b""));
    let text = |bytes| std::str::from_utf8(bytes).ok();
    let Some(status) = text(status).and_then(|status| status.parse().ok()) else { return };
    let answer = Answer { status, retry_after: text(retry_after), body };
    let now = Timestamp::from_micros(1_764_000_000_000_000);
    let created = answer.to_create(Created::Message, now);
    match &created {
        CreateAnswer::Accepted(message) => {
            assert!((200..300).contains(&status) && message.sid.len() == 34);
            assert_eq!(
                answer.to_fetch(Created::Message, now),
                ReadAnswer::Found((**message).clone())
            );
        }
        CreateAnswer::Rejected { code } => assert!(!["0", "20429", "20500"].contains(&&**code)),
        CreateAnswer::Throttled { .. } | CreateAnswer::Foreign { .. } => {}
        CreateAnswer::Unknown(_) => assert!(!(300..400).contains(&status)),
    }
    let certainly_not = !matches!(created, CreateAnswer::Accepted(_) | CreateAnswer::Unknown(_));
    assert!(!certainly_not || ((300..500).contains(&status) && status != 408));
    if let ReadAnswer::Found(page) = answer.to_list(Created::Message, ACCOUNT, now) {
        let next = page.next.as_deref();
        assert!(next.is_none_or(|it| it.starts_with("/2010-04-01/Accounts/AC1/Messages.json?")));
    }
}

/// A form says what it was made of, and its callback's URL names the attempt where Twilio signs it. Two lines: the
/// recipient, and the text, which may have lines of its own.
pub fn new_message(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let (to, body) = text.split_once('\n').unwrap_or((&text, ""));
    let attempt = AttemptId::new(u128::MAX / 3);
    let url = status_callback("https://h.example/status", attempt);
    let by = SentBy::Service("MG1");
    let form = NewMessage { to, by, body, status_callback: &url, validity_period: 600 }.form();
    let pairs: Vec<_> = form_urlencoded::parse(form.as_bytes()).into_owned().collect();
    let expected = [
        ("To", to),
        ("MessagingServiceSid", "MG1"),
        ("Body", body),
        ("StatusCallback", &url),
        ("ValidityPeriod", "600"),
    ];
    assert_eq!(pairs, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    let sent = url.split('#').next().and_then(|url| url.split_once('?'));
    let (_, query) = sent.expect("it has a query");
    let query = Params::parse(query.as_bytes());
    let read = query.get(ATTEMPT_PARAMETER);
    assert_eq!(read.and_then(|text| AttemptId::parse(&text)), Some(attempt));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Bytes that are made of these words and of noise, in any order: noise alone gets nowhere.
    fn of_words(words: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
        let noise = prop::collection::vec(any::<u8>(), 1..4);
        let word = prop::sample::select(words).prop_map(|word| word.as_bytes().to_vec());
        let text = "\\PC{1,4}".prop_map(String::into_bytes);
        let part = prop_oneof![6 => word, 1 => noise, 1 => text];
        prop::collection::vec(part, 0..30).prop_map(|parts| parts.concat())
    }

    const FORM: &[&str] = &[
        "&",
        "=",
        "&",
        "=",
        "%",
        "+",
        "%00",
        "%FF",
        "%C3%B1",
        "%2B1",
        "AccountSid=AC1",
        "&AccountSid=AC2&",
        "CallSid=CA1",
        "&CallStatus=",
        "ringing",
        "completed",
        "&MessageSid=SM1",
        "&MessageStatus=sent",
        "&RecordingSid=RE1&RecordingStatus=completed",
        "&ConferenceSid=CF1&StatusCallbackEvent=join",
        "&SequenceNumber=",
        "-1",
        "&AnsweredBy=",
        "&MachineDetectionDuration=1",
        "&TranscriptionSid=GT1&TranscriptionEvent=x&SequenceId=",
        "&Sid=NO1&Level=ERROR&Payload=",
        "&Timestamp=",
        "&RawDlrDoneDate=2611240859",
        "&From=",
    ];
    const JSON: &[&str] = &[
        "[",
        "]",
        "{",
        "}",
        ",",
        ":",
        "\"",
        "\"id\":\"EZ1\"",
        ",\"type\":",
        ",\"time\":",
        ",\"data\":{",
        "\"com.twilio.messaging.message.sent\"",
        "\"com.twilio.voice.status-callback.call.busy\"",
        "\"messageSid\":\"SM1\"",
        "\"request\":{\"parameters\":{",
        "\"CallSid\":\"CA1\"",
        "\\u0000",
        "\\ud800",
        "1e999",
        "-0",
        "null",
        "\"2026-11-24T08:00:00Z\"",
        "{\"id\":\"EZ1\",\"type\":\"com.twilio.messaging.message.sent\",\"data\":{\"messageSid\":\"",
        "{\"id\":\"EZ2\",\"type\":\"t\",\"data\":",
        "\"}},",
    ];
    const SIGNED: &[&str] = &[
        "\n",
        "\n",
        "\n",
        "/status",
        "?",
        "&",
        "a=1",
        "'",
        "%27",
        ":443",
        "@",
        "AccountSid=AC1",
        "AccountSid=AC2",
        "%FF",
        "AAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        "key=1",
        ",",
        "bodySHA256=",
        "algorithm=HMAC_SHA1",
        "algorithm=HMAC_SHA256",
        "algorithm=none",
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
    ];
    const TWIML: &[&str] = &[
        "<Response>",
        "</Response>",
        "<Response/>",
        "<Say>",
        "</Say>",
        "<Hangup/>",
        "<Message>",
        "</Message>",
        "<Say voice=\"alice\">",
        "<!--",
        "-->",
        "<![CDATA[",
        "]]>",
        "<?xml version=\"1.0\"?>",
        "<?",
        "?>",
        "<!DOCTYPE x>",
        "&amp;",
        "&#233;",
        "&#0;",
        "&x;",
        "&",
        "<",
        ">",
        "a=",
        "'",
        " ",
    ];
    const ENTRY: &[&str] = &[
        "\n\0CA1-busy",
        "\n\x01call",
        "\n\x02AC1",
        "\n\x03CA1",
        "\n\x04call",
        "\n\x05busy",
        "\n\x067",
        "\n\x06+7",
        "\n\x07-1",
        "\n\x081764000000000000",
        "\n\x09form",
        "\n\x09json",
        "\n\x0bCallSid=CA1",
        "\n\x02",
        "\n\x03",
        "\n\x05",
        "\n\x0c",
        "\n\0CA1-busy\n\x01call\n\x02\n\x03\n\x04\n\x05\n\x06\n\x07\n\x081\n\x09form\n\x0b\n\x0a",
    ];

    const ANSWER: &[&str] = &[
        "\n",
        "200\n\n",
        "201\n\n{",
        "307\n\n",
        "400\n\n{",
        "408\n\n{",
        "429\n1\n{",
        "500\n\n{",
        "Fri, 27 Nov 2026 08:00:07 GMT\n",
        "{",
        "}",
        ",",
        "\"code\":",
        "20429",
        "\"20500\"",
        "21211",
        "0",
        "-1",
        "1e999",
        "null",
        "\"sid\":\"SM0123456789abcdef0123456789abcdef\",\"account_sid\":\"AC1\",\"status\":\"queued\"",
        "201\n\n{\"sid\":\"SM0123456789abcdef0123456789abcdef\",\"account_sid\":\"AC1\",\"status\":\"sent\"}",
        "200\n\n{\"messages\":[",
        "],\"next_page_uri\":",
        "\"/2010-04-01/Accounts/AC1/Messages.json?Page=1\"}",
        "\"/2010-04-01/Accounts/AC2/Messages.json?Page=1\"}",
    ];

    const EMAIL: &[&str] = &[
        "{\"event\":\"delivered\",\"sg_message_id\":\"M1.recvd-1\",\"email\":\"",
        "{\"event\":\"bounce\",\"status\":\"5.1.1\",\"email\":\"ana@h.example\",\"sg_message_id\":\"",
        "\",\"sg_event_id\":\"e1\",\"timestamp\":",
        "\",\"offhook_attempt\":\"0123456789abcdef0123456789abcdef\",\"a\":",
        "ana@h.example",
        "\\u0000",
        "\\ud800",
        "1764000000",
        "1e999",
        "null",
        "\"}",
        "}",
        "},",
        ",",
        "[",
        "]",
    ];

    proptest! {
        #[test]
        fn forms(input in of_words(FORM)) {
            form(&input);
        }

        #[test]
        fn signatures(input in of_words(SIGNED)) {
            signature(&input);
        }

        #[test]
        fn callbacks(json in of_words(JSON), form in of_words(FORM)) {
            callback(&[b"\0", &form[..]].concat());
            callback(&[b"\x01", &form[..]].concat());
            callback(&[b"\x02", &json[..]].concat());
        }

        #[test]
        fn emails(input in of_words(EMAIL)) {
            email(&input);
            email(&[b"[", &input[..], b"]"].concat());
        }

        #[test]
        fn twimls(input in of_words(TWIML)) {
            twiml(&input);
        }

        #[test]
        fn answers(input in of_words(ANSWER)) {
            rest(&input);
        }

        #[test]
        fn new_messages(text in "\\PC{0,20}(\n\\PC{0,20}){0,2}") {
            new_message(text.as_bytes());
        }

        #[test]
        fn entries(input in of_words(ENTRY)) {
            codec(&input);
        }
    }
}
