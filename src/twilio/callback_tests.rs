use proptest::prelude::*;

use super::*;
use crate::twilio::details::Details;
use crate::twilio::keyring::{Account, Keyring, Secret};
use crate::twilio::privacy::{Treatment, Treatments};
use crate::twilio::signature::{BODY_HASH, Claim, body_hash, sign};

const NOW: i64 = 1_764_000_000_000_000;

fn events_of(content: Content, query: &str, body: &[u8], purpose: Purpose<'_>) -> Vec<Event> {
    events_with(&Privacy::default(), content, query, body, purpose)
}

fn events_with(
    privacy: &Privacy,
    content: Content,
    query: &str,
    body: &[u8],
    purpose: Purpose<'_>,
) -> Vec<Event> {
    let token = "12345".into();
    let account = Account::new("AC1".into(), "main".into(), std::slice::from_ref(&token), &[]);
    let ring = Keyring::new(vec![account]).expect("has a token");
    let hash = format!("{BODY_HASH}={}", body_hash(body));
    let query = if content == Content::Json { &hash } else { query };
    let url = format!("https://h.example/status?{query}");
    let body = Bytes::copy_from_slice(body);
    let signature = sign(&Secret::auth_token(&token), &url, content, &body);
    let claim = Claim::parse([signature.as_bytes()], None).expect("well-formed");
    let request = SignedRequest::new(&url, content, &body, claim).verify(&ring).expect("signed");
    events(&request, purpose, privacy, Timestamp::from_micros(NOW))
}

fn form(body: &str) -> Event {
    let mut events = events_of(Content::Form, "", body.as_bytes(), Purpose::Status);
    assert_eq!(events.len(), 1);
    events.remove(0)
}

#[test]
fn every_kind_is_known_by_its_parameters() {
    let check = |body: &str, kind: Kind, key: &str, resource: Option<Resource>| {
        let event = form(body);
        assert_eq!(
            (event.kind, event.key.as_str(), event.resource),
            (kind, key, resource),
            "{body}"
        );
        assert_eq!(event.body, body.as_bytes());
    };
    use Kind::*;
    let sms = Some(Resource::Message);
    check("CallSid=CA1&CallStatus=ringing", Call, "CA1-ringing", Some(Resource::Call));
    check(
        "CallSid=CA1&CallStatus=completed&RecordingSid=RE1&RecordingUrl=x&AnsweredBy=human",
        Call,
        "CA1-completed",
        Some(Resource::Call),
    );
    check("MessageSid=SM1&MessageStatus=sent&SmsSid=SM1&SmsStatus=sent", Message, "SM1-sent", sms);
    check("SmsSid=SM1&SmsStatus=delivered", Message, "SM1-delivered", sms);
    check("MessageSid=SM1&MessageStatus=read&From=whatsapp%3A%2B1", Message, "SM1-read", sms);
    check(
        "CallSid=CA1&RecordingSid=RE1&RecordingStatus=completed",
        Recording,
        "RE1-completed",
        Some(Resource::Recording),
    );
    check(
        "CallSid=CA1&CallStatus=completed&RecordingSid=RE1&RecordingStatus=completed",
        Recording,
        "RE1-completed",
        Some(Resource::Recording),
    );
    check(
        "ConferenceSid=CF1&StatusCallbackEvent=participant-join&SequenceNumber=2&CallSid=CA1",
        Conference,
        "CF1-2-participant-join",
        Some(Resource::Conference),
    );
    check("CallSid=CA1&AnsweredBy=human&MachineDetectionDuration=9", Amd, "CA1-amd", None);
    check(
        "TranscriptionSid=GT1&TranscriptionEvent=transcription-content&SequenceId=3&CallSid=CA1",
        Transcription,
        "GT1-3",
        Some(Resource::Transcription),
    );
    check(
        "TranscriptionSid=TR1&TranscriptionStatus=completed&CallSid=CA1&CallStatus=completed",
        Transcription,
        "TR1-completed",
        Some(Resource::Transcription),
    );
    check("Sid=NO1&Level=ERROR&Payload=%7B%7D&AccountSid=AC1", Debugger, "NO1", None);
}

#[test]
fn the_unknown_is_kept_under_its_hash() {
    for body in
        ["Hello=World", "", "CallSid=CA1", "CallSid=CA1&CallStatus=", "CallSid=C%00&CallStatus=x"]
    {
        let event = form(body);
        assert_eq!((event.kind, event.resource), (Kind::Other, None), "{body}");
        assert!(event.key.as_str().starts_with("other-"), "{body}");
    }
    assert_ne!(form("a=1").key, form("a=2").key);
}

#[test]
fn a_call_carries_its_order() {
    let event = form(
        "CallSid=CA1&CallStatus=in-progress&SequenceNumber=2\
         &Timestamp=Mon%2C%2015%20Aug%202005%2015%3A52%3A01%20%2B0000",
    );
    let position = event.position().expect("a call has a position");
    assert_eq!((position.rank, position.sequence), (40, Some(2)));
    let at = position.occurred_at.expect("the timestamp is RFC 2822").to_string();
    assert_eq!(at, "2005-08-15T15:52:01.000000Z");
}

#[test]
fn a_fallback_request_is_no_status_event() {
    let body = b"CallSid=CA1&CallStatus=in-progress&ErrorCode=11200";
    let ask = |token| events_of(Content::Form, "", body, Purpose::Fallback(token)).remove(0);
    let event = ask(Some("token-1"));
    assert_eq!(event.kind, Kind::Fallback);
    assert_eq!(event.key.as_str(), "fallback-token-1");
    assert_eq!((event.sid.as_deref(), event.resource), (Some("CA1"), None));
    assert!(ask(None).key.as_str().starts_with("fallback-"));
    assert!(ask(Some("bad token\n")).key.as_str().starts_with("fallback-"));
}

#[test]
fn a_get_keeps_its_query_as_its_body() {
    let query = "CallSid=CA1&CallStatus=busy&AccountSid=AC1";
    let event = events_of(Content::Query, query, b"", Purpose::Status).remove(0);
    assert_eq!(event.key.as_str(), "CA1-busy");
    assert_eq!((&event.body[..], event.query.as_str()), (query.as_bytes(), ""));
}

#[test]
fn the_users_own_query_is_kept() {
    let event =
        events_of(Content::Form, "order=7", b"CallSid=CA1&CallStatus=busy", Purpose::Status);
    assert_eq!(event[0].query, "order=7");
}

#[test]
fn each_element_of_an_event_stream_is_an_event() {
    let body = br#"[
      {"specversion":"1.0","id":"EZ1","type":"com.twilio.messaging.message.undelivered",
       "time":"2026-11-24T08:00:00.5Z",
       "data":{"messageSid":"SM1","messageStatus":"UNDELIVERED","errorCode":30003,"to":"+1"}},
      {"id":"EZ2","type":"com.twilio.voice.status-callback.call.completed",
       "data":{"request":{"parameters":{"CallSid":"CA1","CallStatus":"no-answer","SequenceNumber":"3"}}}},
      {"id":"EZ3","type":"com.twilio.voice.status-callback.call.answered","data":{"callSid":"CA1"}},
      {"id":"EZ4","type":"com.twilio.error-logs.error.logged","data":{}},
      {"no":"id"}, 7]"#;
    let events = events_of(Content::Json, "", body, Purpose::Status);
    let seen: Vec<_> = events
        .iter()
        .map(|event| (event.kind, event.sid.as_deref(), event.status.as_deref()))
        .collect();
    assert_eq!(
        seen,
        [
            (Kind::EventStream, Some("SM1"), Some("undelivered")),
            (Kind::EventStream, Some("CA1"), Some("no-answer")),
            (Kind::EventStream, Some("CA1"), Some("in-progress")),
            (Kind::EventStream, None, None),
            (Kind::Other, None, None),
            (Kind::Other, None, None),
        ]
    );
    assert_eq!(events[0].key.as_str(), "EZ1");
    assert_eq!(events[1].sequence, Some(3));
    assert_eq!(&events[5].body[..], b"7");
    let current = Details::of(&events[0]).current.expect("moves a message");
    assert_eq!(current.error.map(|error| error.code).as_deref(), Some("30003"));
    assert_eq!(current.to.as_deref(), Some("+1"));
}

#[test]
fn one_object_is_an_event_and_broken_json_is_kept() {
    let one = events_of(Content::Json, "", br#"{"id":"EZ1","type":"x"}"#, Purpose::Status);
    assert_eq!((one.len(), one[0].key.as_str()), (1, "EZ1"));
    for body in [&b"{"[..], b"", b"[]", b"nope", b"\xff"] {
        let kept = events_of(Content::Json, "", body, Purpose::Status);
        assert_eq!((kept.len(), kept[0].kind), (1, Kind::Other));
        assert_eq!(&kept[0].body[..], body);
        assert!(Details::of(&kept[0]).current.is_none());
    }
}

#[test]
fn odd_data_does_not_take_a_cloud_event_its_identity() {
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    for data in [r#"{"messageSid":"SM1","body":"\ud83d"}"#, r#"{"price":1e999}"#, &deep] {
        let kind = "com.twilio.messaging.message.delivered";
        let body = format!(r#"{{"id":"EZ1","type":"{kind}","data":{data}}}"#);
        let events = events_of(Content::Json, "", body.as_bytes(), Purpose::Status);
        let seen: Vec<_> = events.iter().map(|event| (event.kind, event.key.as_str())).collect();
        assert_eq!(seen, [(Kind::EventStream, "EZ1")]);
        assert_eq!((&events[0].sid, &events[0].body[..]), (&None, body.as_bytes()));
    }
}

#[test]
fn an_array_of_more_than_can_be_events_is_kept_whole() {
    for (elements, expected) in [(MAX_ELEMENTS, MAX_ELEMENTS), (MAX_ELEMENTS + 1, 1)] {
        let numbers: Vec<String> = (0..elements).map(|number| number.to_string()).collect();
        let body = format!("[{}]", numbers.join(","));
        let events = events_of(Content::Json, "", body.as_bytes(), Purpose::Status);
        assert_eq!(events.len(), expected);
        assert_eq!(events[0].body == body.as_bytes(), expected == 1);
    }
}

#[test]
fn details_hold_what_a_row_needs_and_nothing_that_postgres_refuses() {
    let details = Details::of(&form(
        "CallSid=CA1&CallStatus=completed&From=%2B1&To=%2B2&CallDuration=42&A=x%00&A=%FF&B=",
    ));
    assert_eq!(
        details.params,
        r#"{"A":["x�","�"],"B":"","CallDuration":"42","CallSid":"CA1","CallStatus":"completed","From":"+1","To":"+2"}"#
    );
    let current = details.current.expect("moves a call");
    assert_eq!((current.from.as_deref(), current.to.as_deref()), (Some("+1"), Some("+2")));
    assert_eq!((current.duration, current.error), (Some(42), None));

    let body = b"{\"id\":\"E\",\"type\":\"t\",\"data\":{\"a\\u0000\":\"b\\u0000\"}}";
    let events = events_of(Content::Json, "", body, Purpose::Status);
    assert!(!Details::of(&events[0]).params.contains("u0000"));
}

proptest! {
    #[test]
    fn any_parameters_become_one_event(
        pairs in prop::collection::vec(
            (prop::sample::select(vec![
                "CallSid", "CallStatus", "MessageSid", "MessageStatus", "RecordingSid",
                "RecordingStatus", "ConferenceSid", "StatusCallbackEvent", "SequenceNumber",
                "AnsweredBy", "MachineDetectionDuration", "TranscriptionSid", "SequenceId",
                "TranscriptionEvent", "Sid", "Level", "Payload", "Timestamp", "RawDlrDoneDate",
            ]), "\\PC{0,12}|[A-Z]{2}[0-9a-f]{4}|completed|-?[0-9]{1,20}"), 0..12),
    ) {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
        let _ = Details::of(&form(&body));
    }
}

#[test]
fn an_event_is_what_was_signed_and_holds_what_may_be_kept() {
    let key = "0123456789abcdef0123456789abcdef";
    let treatments = Treatments { numbers: Treatment::Drop, ..Treatments::default() };
    let privacy = Privacy::new(treatments, [], Some(&key.into())).expect("the key is long enough");
    let with = |content, query, body: &str, purpose| {
        events_with(&privacy, content, query, body.as_bytes(), purpose)
    };
    let status = |body| with(Content::Form, "to=%2B15550100&a=1", body, Purpose::Status).remove(0);
    let plain = "CallSid=CA1&CallStatus=ringing&SequenceNumber=2&From=%2B15550100";
    let event = status(plain);
    assert_eq!((event.key.as_str(), event.sequence), ("CA1-ringing", Some(2)));
    assert_eq!(event.body, "CallSid=CA1&CallStatus=ringing&SequenceNumber=2");
    assert_eq!(event.query, "a=1");
    assert_eq!(event.position(), form(plain).position());

    // One that nobody recognises is told by all that was signed, and does not tell it.
    let (one, other) = (status("FaxSid=FX1&To=%2B15550100"), status("FaxSid=FX1&To=%2B15550101"));
    assert_eq!(one.body, other.body);
    assert_ne!(one.key, other.key);
    assert_eq!(one.key, status("FaxSid=FX1&To=%2B15550100").key);
    assert_ne!(one.key, form("FaxSid=FX1&To=%2B15550100").key);
    let fallback =
        |purpose| with(Content::Form, "", "CallSid=CA1&To=%2B15550100", purpose).remove(0);
    let bare = events_of(Content::Form, "", b"CallSid=CA1&To=%2B15550100", Purpose::Fallback(None));
    assert_ne!(fallback(Purpose::Fallback(None)).key, bare[0].key);
    assert_eq!(fallback(Purpose::Fallback(Some("t"))).key.as_str(), "fallback-t");

    let body = r#"[{"id":"EZ1","type":"com.twilio.messaging.message.sent","data":{"messageSid":"SM1","from":"+15550100"}}]"#;
    let event = with(Content::Json, "", body, Purpose::Status).remove(0);
    assert_eq!((event.key.as_str(), event.sid.as_deref()), ("EZ1", Some("SM1")));
    let kept =
        r#"{"id":"EZ1","type":"com.twilio.messaging.message.sent","data":{"messageSid":"SM1"}}"#;
    assert_eq!(event.body, kept);
    assert_eq!(event.query, "", "bodySHA256 tells what was dropped");
}
