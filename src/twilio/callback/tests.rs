use proptest::prelude::*;

use super::*;
use crate::event::consent::{AddressKey, Whose};
use crate::event::{Kind, Resource};
use crate::twilio::consent::Listening;
use crate::twilio::details::EventDetails;
use crate::twilio::keyring::{Account, Keyring, Secret};
use crate::twilio::privacy::{Class, Treatment, Treatments};
use crate::twilio::signature::{BODY_HASH, Claim, body_hash, sign};

const NOW: i64 = 1_764_000_000_000_000;

/// A request, and how it came.
#[derive(Clone, Copy)]
struct Sent<'a> {
    content: Content,
    query: &'a str,
    body: &'a [u8],
    route: Route,
    token: Option<&'a str>,
}

impl<'a> Sent<'a> {
    fn form(body: &'a str) -> Self {
        let (content, body) = (Content::Form, body.as_bytes());
        Self { content, query: "", body, route: Route::Status, token: None }
    }

    fn json(body: &'a [u8]) -> Self {
        Self { content: Content::Json, body, ..Self::form("") }
    }

    fn get(query: &'a str) -> Self {
        Self { content: Content::Query, query, ..Self::form("") }
    }

    fn to(self, route: Route) -> Self {
        Self { route, ..self }
    }

    fn with_query(self, query: &'a str) -> Self {
        Self { query, ..self }
    }

    fn with_token(self, token: &'a str) -> Self {
        Self { token: Some(token), ..self }
    }

    fn events(self) -> Vec<Event> {
        self.kept_by(&Privacy::default()).expect("something of Twilio's is in it")
    }

    fn event(self) -> Event {
        let mut events = self.events();
        assert_eq!(events.len(), 1);
        events.remove(0)
    }

    fn lost(self) -> Option<Lost> {
        self.kept_by(&Privacy::default()).err()
    }

    fn kept_by(self, privacy: &Privacy) -> Result<Vec<Event>, Lost> {
        let token = "12345".into();
        let account = Account::new("AC1".into(), "main".into(), std::slice::from_ref(&token), &[]);
        let account = account.with_subaccounts(vec!["AC4".into()]);
        let ring = Keyring::new(vec![account]).expect("has a token");
        let hash = format!("{BODY_HASH}={}", body_hash(self.body));
        let query = match (self.content, self.query) {
            (Content::Json, "") => hash,
            (Content::Json, query) => format!("{query}&{hash}"),
            (_, query) => query.to_owned(),
        };
        let url = format!("https://h.example/status?{query}");
        let body = Bytes::copy_from_slice(self.body);
        let signature = sign(&Secret::auth_token(&token), &url, self.content, &body);
        let claim = Claim::parse([signature.as_bytes()], None).expect("well-formed");
        let request = SignedRequest::new(&url, self.content, &body, claim).verify(&ring);
        let request = request.expect("signed");
        let at = Timestamp::from_micros(NOW);
        let arrival = Arrival { route: self.route, token: self.token, at };
        match self.route {
            Route::VoiceFallback | Route::SmsFallback => {
                Ok(vec![fallback_event(&request, arrival, privacy)])
            }
            _ => events(&request, arrival, privacy),
        }
    }
}

fn form(body: &str) -> Event {
    Sent::form(body).event()
}

const PROGRESS: &str = "CallbackSource=call-progress-events";

#[test]
fn the_attempt_is_read_from_what_was_signed_and_privacy_does_not_touch_it() {
    let id = AttemptId::new(0xfeed);
    let query = format!("order_id=A-1&{ATTEMPT_PARAMETER}={id}");
    let (message, call) = (
        "AccountSid=AC1&MessageSid=SM1&MessageStatus=sent&To=%2B15550100",
        format!("AccountSid=AC1&CallSid=CA1&CallStatus=busy&{PROGRESS}"),
    );
    let get = format!("{message}&{query}");
    for sent in [
        Sent::form(message).with_query(&query),
        Sent::form(&call).with_query(&query),
        Sent::get(&get),
    ] {
        assert_eq!(sent.event().attempt, Some(id));
        let bodies = Treatments {
            numbers: Treatment::Drop,
            names: Treatment::Drop,
            bodies: Treatment::Drop,
        };
        let key = "k".repeat(Privacy::SHORTEST_KEY).into();
        let privacy = Privacy::new(bodies, [(ATTEMPT_PARAMETER, Class::Numbers)], Some(&key));
        let events = sent.kept_by(&privacy.expect("a key")).expect("there are parameters");
        let event = &events[0];
        assert_eq!(event.attempt, Some(id));
        assert!(!event.query.contains(&id.to_string()));
        assert!(!String::from_utf8_lossy(&event.body).contains(&id.to_string()));
        assert_eq!(
            EventDetails::of(&Sent::form(message).with_query(&query).event())
                .own
                .map(|own| own.to_json().to_string())
                .as_deref(),
            Some(r#"{"order_id":"A-1"}"#)
        );
    }
}

#[test]
fn what_a_callee_did_is_read_from_what_was_signed_and_only_of_an_attempt() {
    let query = format!("{ATTEMPT_PARAMETER}={}", AttemptId::new(0xfeed));
    let status = format!("AccountSid=AC1&CallSid=CA1&CallStatus=completed&{PROGRESS}");
    let (human, machine) =
        (format!("{status}&AnsweredBy=human"), format!("{status}&AnsweredBy=machine_start"));
    let detected = "AccountSid=AC1&CallSid=CA1&AnsweredBy=human&MachineDetectionDuration=3000";
    let check = |body: &str, expected: Option<Callee>| {
        let event = Sent::form(body).with_query(&query).event();
        assert_eq!((event.callee, event.attempt.is_some()), (expected, true), "{body}");
        assert_eq!(Sent::form(body).event().callee, None, "{body}");
    };
    check(&status, None);
    check(&human, Some(Callee::Human));
    check(&machine, Some(Callee::Machine));
    check(detected, Some(Callee::Human));
}

#[test]
fn what_is_no_callback_of_an_attempt_has_none() {
    let id = AttemptId::new(0xfeed);
    let query = format!("{ATTEMPT_PARAMETER}={id}");
    let message = "AccountSid=AC1&MessageSid=SM1&MessageStatus=sent";
    for query in ["", "order_id=A-1", "offhook_attempt=", "offhook_attempt=7", "x=offhook_attempt"]
    {
        assert_eq!(Sent::form(message).with_query(query).event().attempt, None, "{query}");
    }
    // What is in the body of a POST was not in the URL.
    let in_body = format!("{message}&{query}");
    assert_eq!(Sent::form(&in_body).event().attempt, None);
    let recording = "AccountSid=AC1&CallSid=CA1&RecordingSid=RE1&RecordingStatus=completed";
    assert_eq!(Sent::form(recording).with_query(&query).event().attempt, None);
    let fallback = Sent::form("AccountSid=AC1&CallSid=CA1&CallStatus=ringing");
    assert_eq!(fallback.with_query(&query).to(Route::VoiceFallback).event().attempt, None);
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
    let call = format!(
        "AccountSid=AC1&CallSid=CA1&CallStatus=completed&{PROGRESS}&RecordingSid=RE1&RecordingUrl=x&AnsweredBy=human"
    );
    check(&call, Call, "CA1-completed", Some(Resource::Call));
    let failed = format!("AccountSid=AC1&CallSid=CA1&CallStatus=failed&ErrorCode=13224&{PROGRESS}");
    check(&failed, Call, "CA1-failed-13224", Some(Resource::Call));
    for (body, key) in [
        ("MessageSid=SM1&MessageStatus=sent&SmsSid=SM1&SmsStatus=sent", "SM1-sent"),
        ("SmsSid=SM1&SmsStatus=delivered", "SM1-delivered"),
        ("MessageSid=SM1&MessageStatus=read&From=whatsapp%3A%2B1", "SM1-read"),
        ("MessageSid=SM1&MessageStatus=undelivered&ErrorCode=30008", "SM1-undelivered-30008"),
        ("MessageSid=SM1&MessageStatus=sent&ErrorCode=0", "SM1-sent"),
    ] {
        check(&format!("AccountSid=AC1&{body}"), Message, key, sms);
    }
    let recording = Some(Resource::Recording);
    for (body, key) in [
        ("CallSid=CA1&RecordingSid=RE1&RecordingStatus=completed", "RE1-completed"),
        (
            "CallSid=CA1&CallStatus=completed&RecordingSid=RE1&RecordingStatus=completed",
            "RE1-completed",
        ),
        ("RecordingSid=RE1&RecordingStatus=absent&ErrorCode=0", "RE1-absent"),
        ("RecordingSid=RE1&RecordingStatus=failed&ErrorCode=13618", "RE1-failed-13618"),
    ] {
        check(&format!("AccountSid=AC1&{body}"), Recording, key, recording);
    }
    check(
        "AccountSid=AC1&ConferenceSid=CF1&StatusCallbackEvent=participant-join&SequenceNumber=2&CallSid=CA1",
        Conference,
        "CF1-2-participant-join",
        Some(Resource::Conference),
    );
    let amd = "AccountSid=AC1&CallSid=CA1&AnsweredBy=human&MachineDetectionDuration=9";
    check(amd, Amd, "CA1-amd", None);
    let transcription = Some(Resource::Transcription);
    for (body, key) in [
        ("TranscriptionSid=GT1&TranscriptionEvent=transcription-content&SequenceId=3", "GT1-3"),
        (
            "TranscriptionSid=TR1&TranscriptionStatus=completed&CallStatus=completed",
            "TR1-completed",
        ),
    ] {
        check(&format!("AccountSid=AC1&CallSid=CA1&{body}"), Transcription, key, transcription);
    }
    check("Sid=NO1&Level=ERROR&Payload=%7B%7D&AccountSid=AC1", Debugger, "NO1", None);
}

#[test]
fn a_calls_status_callback_is_one_that_says_so() {
    let check = |more: &str, kind: Kind| {
        let event = form(&format!("AccountSid=AC1&CallSid=CA1&CallStatus=completed&{more}"));
        assert_eq!(event.kind, kind, "{more}");
        assert_eq!(event.sid.as_deref(), Some("CA1"), "{more}");
        let is_call = kind == Kind::Call;
        assert_eq!(
            (event.resource.is_some(), event.status.is_some()),
            (is_call, is_call),
            "{more}"
        );
    };
    check(PROGRESS, Kind::Call);
    check(&format!("{PROGRESS}&RecordingUrl=x&RecordingDuration=7"), Kind::Call);
    // Of a provider that leaves the source out.
    check("CallDuration=24", Kind::Call);
    check("Timestamp=Tue%2C+02+Jun+2026+10%3A01%3A40+%2B0000", Kind::Call);
    check("CallDuration=24&SipResponseCode=200", Kind::Call);
    // Requests of its TwiML, each as the verb sends it.
    for twiml in [
        "",
        "FromCity=AUSTIN",
        "AnsweredBy=human",
        "SequenceNumber=3",
        "Digits=2",
        "Digits=&FinishedOnKey=%23",
        "SpeechResult=yes&Confidence=0.9",
        "UnstableSpeechResult=y&Stability=0.1&SequenceNumber=5",
        "RecordingUrl=x&RecordingDuration=7&Digits=hangup",
        "DialCallSid=CA2&DialCallStatus=busy",
        "DialCallStatus=completed&RecordingDuration=30&CallDuration=9",
        "DialBridged=true",
        "QueueSid=QU1&QueuePosition=3&QueueTime=1",
        "QueueResult=hangup&QueueTime=10&Timestamp=x",
        "Result=success&PaymentConfirmationCode=ch_1",
        "ReferTransferTarget=sip%3Aa&ReferCallStatus=in-progress",
        "HandoffData=%7B%7D&SessionId=VX1",
        "CallbackSource=something-else&CallDuration=3",
    ] {
        check(twiml, Kind::TwimlRequest);
    }
}

#[test]
fn what_only_mentions_a_call_has_an_identity_of_its_own() {
    let of = |more: &str, token: &'static str| {
        let body = format!("AccountSid=AC1&CallSid=CA1&CallStatus=in-progress&{more}");
        Sent::form(&body).with_token(token).event().key
    };
    assert_eq!(of("Digits=2", "t-1"), of("Digits=2", "t-1"), "a retry is the same event");
    assert_ne!(of("Digits=2", "t-1"), of("Digits=2", "t-2"), "two equal Gathers are two");
    assert_ne!(of("Digits=2", "t-1"), of("Digits=3", "t-1"), "a token alone is not a name");
    assert_ne!(of("Digits=2", "t-1").as_str(), "CA1-in-progress");
    let retried = |count: &str| format!("AccountSid=AC1&MessageSid=IM1&RetryCount={count}");
    let (first, second) = (retried("0"), retried("1"));
    let of = |body: &str, token: &'static str| Sent::form(body).with_token(token).event();
    assert_eq!(of(&first, "t-1").id(), of(&second, "t-1").id());
    assert_eq!(
        of(&first, "t-1").id(),
        of(&second, "t-9").id(),
        "the count takes the token's place"
    );
    assert_eq!(of(&first, "t-1").fingerprint, of(&second, "t-9").fingerprint);
}

#[test]
fn another_spelling_of_a_request_is_no_other_event() {
    let (body, query) = ("AccountSid=AC1&RoomSid=RM1&a=x+y&b=%7E", "q=1&r=a%20b");
    let event = Sent::form(body).with_query(query).event();
    for body in [
        "b=%7E&a=x+y&RoomSid=RM1&AccountSid=AC1",
        "AccountSid=AC1&&RoomSid=RM1&a=x%20y&b=~&",
        "%41ccountSid=AC1&RoomSid=RM1&a=x+y&b=%7e&b=~",
    ] {
        let other = Sent::form(body).with_query("r=a+b&q=1").event();
        assert_eq!(other.id(), event.id(), "{body}");
        assert_eq!(other.fingerprint, event.fingerprint, "{body}");
    }
    let key = |sent: Sent<'_>| sent.event().key;
    let all = [
        key(Sent::form(body).with_query(query)),
        key(Sent::form(body).with_query("q=2&r=a%20b")),
        key(Sent::form(body)),
        key(Sent::form(body).with_query(query).to(Route::Debugger)),
        key(Sent::form(body).with_query(query).to(Route::VoiceFallback)),
        key(Sent::form(body).with_query(query).with_token("t")),
        key(Sent::form("AccountSid=AC1&RoomSid=RM1&a=x&b=y~")),
        key(Sent::form("AccountSid=AC1&RoomSid=RM1&a=xb&y~")),
    ];
    let mut names: Vec<_> = all.iter().map(EventKey::as_str).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), all.len(), "{all:?}");
}

#[test]
fn facts_without_a_number_of_their_own_are_told_apart_by_what_they_say() {
    let check = |one: &str, other: &str, start: &str, end: &str| {
        let (one, other) = (form(one), form(other));
        assert_ne!(one.key, other.key);
        for event in [one, other] {
            let key = event.key.as_str();
            assert!(key.starts_with(start) && key.ends_with(end), "{key}");
            assert!(event.sequence.is_none() && event.resource.is_some());
        }
    };
    let join = |call| {
        format!(
            "AccountSid=AC1&ConferenceSid=CF1&StatusCallbackEvent=participant-join&CallSid={call}"
        )
    };
    check(&join("CA1"), &join("CA2"), "CF1-", "-participant-join");
    let said = |text| {
        format!(
            "AccountSid=AC1&TranscriptionSid=GT1&TranscriptionEvent=transcription-content&TranscriptionData={text}"
        )
    };
    check(&said("a"), &said("b"), "GT1-", "-transcription-content");
}

const INCOMING: &str = "AccountSid=AC1&SmsSid=SM1&MessageSid=SM1&SmsStatus=received&NumMedia=0";

#[test]
fn a_message_that_came_in_is_none_that_was_sent() {
    let check = |body: &str, kind: Kind, key: &str| {
        let event = form(body);
        assert_eq!((event.kind, event.key.as_str()), (kind, key), "{body}");
        assert_eq!(event.resource, Some(Resource::Message));
    };
    check(&format!("{INCOMING}&Body=Hello"), Kind::IncomingMessage, "SM1-received");
    check(&format!("{INCOMING}&Body="), Kind::IncomingMessage, "SM1-received");
    check("AccountSid=AC1&SmsSid=SM1&SmsStatus=received", Kind::Message, "SM1-received");
    let sent = "AccountSid=AC1&SmsSid=SM1&SmsStatus=delivered&Body=Hello";
    check(sent, Kind::Message, "SM1-delivered");
}

#[test]
fn a_wish_is_read_from_what_was_signed_and_privacy_does_not_touch_it() {
    let drop =
        Treatments { numbers: Treatment::Drop, names: Treatment::Drop, bodies: Treatment::Drop };
    let key = "k".repeat(Privacy::SHORTEST_KEY).into();
    let privacy = Privacy::new(drop, [], Some(&key)).expect("a key");
    let body = format!("{INCOMING}&From=%2B12125550100&Body=Stop");
    let mut events = Sent::form(&body).kept_by(&privacy).expect("there are parameters");
    let key = AddressKey::new(&"another".into());
    Listening::Hashing(key.clone()).hear(&mut events, &Params::parse(body.as_bytes()));
    let consent = events[0].consent.clone().expect("it says so");
    assert_eq!(consent.whose, Whose::Hashes(key.addresses("+12125550100")));
    assert!(!String::from_utf8_lossy(&events[0].body).contains("5550100"));

    let sent = "AccountSid=AC1&SmsSid=SM1&SmsStatus=sent&Body=STOP&From=%2B12125550100";
    for none in [sent, &body.replace("%2B1212", "messenger:12"), &body.replace("Stop", "Stop+it")] {
        let mut events = vec![form(none)];
        Listening::Plain.hear(&mut events, &Params::parse(none.as_bytes()));
        assert_eq!(events[0].consent, None, "{none}");
    }
}

#[test]
fn what_has_lost_its_parameters_is_no_event() {
    const SID: &str = "CA0123456789abcdef0123456789abcdef";
    for sent in [Sent::get(""), Sent::get("tenant=7"), Sent::form(""), Sent::form("tenant=7&a=")] {
        assert_eq!(sent.lost(), Some(Lost::Parameters));
        assert_eq!(sent.to(Route::Debugger).lost(), Some(Lost::Parameters));
        assert_eq!(sent.to(Route::EventStreams).lost(), Some(Lost::Body));
        for route in [Route::VoiceFallback, Route::SmsFallback] {
            assert_eq!(sent.to(route).event().kind, Kind::Fallback, "answered all the same");
        }
    }
    assert_eq!(Sent::get("bodySHA256=00").lost(), Some(Lost::Body));
    assert_eq!(Sent::json(b"").lost(), Some(Lost::Body));
    assert_eq!(Sent::json(b" \n").lost(), Some(Lost::Body));
    // Nothing that Twilio could have sent is refused, known or not.
    for body in ["AccountSid=AC1", "account_sid=AC1", "accountSid=", &format!("x={SID}")] {
        assert_eq!(Sent::form(body).lost(), None, "{body}");
        assert_eq!(Sent::get(body).lost(), None, "{body}");
    }
    assert_eq!(Sent::form("").with_query(&format!("call={SID}")).lost(), None);
    for json in [&b"[]"[..], b"{}", b"null", b"7", b"{"] {
        assert_eq!(Sent::json(json).lost(), None);
    }
}

#[test]
fn the_unknown_is_kept_under_the_sid_that_it_names() {
    let check = |body: &str, sid: Option<&str>| {
        let event = form(&format!("AccountSid=AC1&{body}"));
        assert_eq!((event.kind, event.resource), (Kind::Other, None), "{body}");
        assert_eq!(event.sid.as_deref(), sid, "{body}");
        assert!(event.key.as_str().starts_with("other-"), "{body}");
    };
    check("Hello=World", None);
    check("CallSid=CA1", Some("CA1"));
    check("CallSid=CA1&CallStatus=", Some("CA1"));
    check("CallSid=C%00&CallStatus=x", None);
    check("RoomSid=RM1&RoomStatus=completed&SequenceNumber=4", Some("RM1"));
    check("StreamSid=MZ1&CallSid=CA1&StreamEvent=stream-error", Some("CA1"));
    check("EventType=onMessageAdded&MessageSid=IM1&ConversationSid=CH1", Some("IM1"));
    check("EventType=onConversationAdded&ConversationSid=CH1&ChatServiceSid=IS1", Some("CH1"));
    check("EventType=task.created&TaskSid=WT1&WorkspaceSid=WS1", Some("WT1"));
}

#[test]
fn what_another_account_is_named_in_moves_no_status() {
    let check = |account: &str, expected: (&str, Option<&str>), moves: bool| {
        let kind = "com.twilio.messaging.message.sent";
        let data = format!(r#"{{"messageSid":"SM1","accountSid":"{account}"}}"#);
        let body = format!(r#"[{{"id":"EZ1","type":"{kind}","data":{data}}}]"#);
        let event = Sent::json(body.as_bytes()).event();
        assert_eq!((event.account.as_str(), event.about_account.as_deref()), expected);
        assert_eq!((event.resource.is_some(), event.sid.as_deref()), (moves, Some("SM1")));
        let debugger =
            format!("Sid=NO1&Level=ERROR&Payload=x&AccountSid={account}&ParentAccountSid=AC1");
        let event = form(&debugger);
        assert_eq!((event.account.as_str(), event.about_account.as_deref()), expected);
    };
    check("AC1", ("AC1", None), true);
    check("AC4", ("AC4", None), true);
    check("AC9", ("AC1", Some("AC9")), false);
    let nested = br#"{"id":"EZ1","type":"com.twilio.voice.status-callback.call.ringing","data":
        {"accountSid":"AC1","request":{"parameters":{"CallSid":"CA1","AccountSid":"AC9"}}}}"#;
    assert_eq!(Sent::json(nested).event().about_account.as_deref(), Some("AC9"));
}

#[test]
fn the_request_is_kept_with_its_event() {
    let sent = Sent::form("AccountSid=AC1&CallSid=CA1").to(Route::Debugger).with_token("t-1");
    let request = sent.event().request.expect("it is known");
    assert_eq!((request.method, request.route), (Method::Post, Route::Debugger));
    assert_eq!(request.idempotency_token.as_deref(), Some("t-1"));
    let request = Sent::get("AccountSid=AC1").event().request.expect("it is known");
    assert_eq!((request.method, request.idempotency_token), (Method::Get, None));
}

#[test]
fn a_call_carries_its_order() {
    let event = form(
        "AccountSid=AC1&CallSid=CA1&CallStatus=in-progress&SequenceNumber=2\
         &CallbackSource=call-progress-events&Timestamp=Mon%2C%2015%20Aug%202005%2015%3A52%3A01%20%2B0000",
    );
    let position = event.position().expect("a call has a position");
    assert_eq!((position.rank, position.sequence), (40, Some(2)));
    let at = position.occurred_at.expect("the timestamp is RFC 2822").to_string();
    assert_eq!(at, "2005-08-15T15:52:01.000000Z");
}

#[test]
fn a_fallback_request_is_no_status_event() {
    let body =
        format!("AccountSid=AC1&CallSid=CA1&CallStatus=in-progress&ErrorCode=11200&{PROGRESS}");
    let ask =
        |token: &'static str| Sent::form(&body).to(Route::VoiceFallback).with_token(token).event();
    let event = ask("t-1");
    assert_eq!((event.kind, event.resource), (Kind::Fallback, None));
    assert_eq!(event.sid.as_deref(), Some("CA1"));
    assert!(event.key.as_str().starts_with("fallback-"));
    assert_eq!(event.key, ask("t-1").key);
    assert_ne!(event.key, ask("t-2").key);
    let json = |body| Sent::json(body).to(Route::SmsFallback).event().key;
    assert_ne!(json(b"{}"), json(b"[]"));
}

#[test]
fn a_get_keeps_its_query_as_its_body() {
    let query = format!("CallSid=CA1&CallStatus=busy&AccountSid=AC1&{PROGRESS}");
    let event = Sent::get(&query).event();
    assert_eq!(event.key.as_str(), "CA1-busy");
    assert_eq!((&event.body[..], event.query.as_str()), (query.as_bytes(), ""));
}

#[test]
fn the_users_own_query_is_kept() {
    let event = Sent::form("AccountSid=AC1&CallSid=CA1&CallStatus=busy").with_query("order=7");
    assert_eq!(event.event().query, "order=7");
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
    let events = Sent::json(body).events();
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
    let current = EventDetails::of(&events[0]).current.expect("moves a message");
    assert_eq!(current.error.map(|error| error.code).as_deref(), Some("30003"));
    assert_eq!(current.to.as_deref(), Some("+1"));
}

#[test]
fn one_object_is_an_event_and_broken_json_is_kept() {
    let one = Sent::json(br#"{"id":"EZ1","type":"x"}"#).events();
    assert_eq!((one.len(), one[0].key.as_str()), (1, "EZ1"));
    for body in [&b"{"[..], b"[]", b"nope", b"\xff"] {
        let kept = Sent::json(body).events();
        assert_eq!((kept.len(), kept[0].kind), (1, Kind::Other));
        assert_eq!(&kept[0].body[..], body);
        assert!(EventDetails::of(&kept[0]).current.is_none());
    }
}

#[test]
fn one_bad_value_costs_a_cloud_event_that_value_alone() {
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let good = r#""messageSid":"SM1","errorCode":30008,"from":"+1","to":"+2""#;
    let kind = "com.twilio.messaging.message.failed";
    let rest = format!(r#""id":"EZ1","type":"{kind}""#);
    for body in [
        format!(r#"{{{rest},"data":{{{good},"text":"cut \ud83d"}}}}"#),
        format!(r#"{{{rest},"data":{{{good},"price":1e999}}}}"#),
        format!(r#"{{{rest},"data":{{{good},"deep":{deep}}}}}"#),
        format!(r#"{{{rest},"data":{{{good},"\udfff":1}}}}"#),
        format!(r#"{{{rest},"source":"cut \ud83d","data":{{{good}}}}}"#),
        format!(r#"{{{rest},"time":"\ud83d","data":{{{good}}}}}"#),
        format!(r#"{{{rest},"more":[{deep},-1e400],"data":{{{good}}}}}"#),
    ] {
        let event = Sent::json(body.as_bytes()).event();
        assert_eq!((event.kind, event.key.as_str()), (Kind::EventStream, "EZ1"));
        assert_eq!(event.body, body.as_bytes(), "it is kept as it was signed");
        let details = EventDetails::of(&event);
        let row = details.current.expect("it moves a message");
        assert_eq!((row.sid.as_str(), row.position.status.as_str()), ("SM1", "failed"));
        assert_eq!(row.error.map(|error| error.code).as_deref(), Some("30008"));
        assert_eq!((row.from.as_deref(), row.to.as_deref()), (Some("+1"), Some("+2")));
        let params: serde_json::Value = serde_json::from_str(&details.params).expect("JSON");
        assert_eq!(params["data"]["messageSid"], "SM1");
    }
    // An id that cannot be a key: the event is named by its whole content, and changes its message.
    let body = format!(r#"{{"id":"\ud83d","type":"{kind}","data":{{{good}}}}}"#);
    let event = Sent::json(body.as_bytes()).event();
    assert_eq!((event.kind, event.sid.as_deref()), (Kind::EventStream, Some("SM1")));
    assert!(event.key.as_str().starts_with("event_stream-"));
}

#[test]
fn an_array_of_more_than_can_be_events_is_kept_whole() {
    for (elements, expected) in [(MAX_ELEMENTS, MAX_ELEMENTS), (MAX_ELEMENTS + 1, 1)] {
        let numbers: Vec<String> = (0..elements).map(|number| number.to_string()).collect();
        let body = format!("[{}]", numbers.join(","));
        let events = Sent::json(body.as_bytes()).events();
        assert_eq!(events.len(), expected);
        assert_eq!(events[0].body == body.as_bytes(), expected == 1);
    }
}

#[test]
fn details_hold_what_a_row_needs_and_nothing_that_postgres_refuses() {
    let details = EventDetails::of(&form(
        "CallSid=CA1&CallStatus=completed&From=%2B1&To=%2B2&CallDuration=42&A=x%00&A=%FF&B=\
         &AccountSid=AC1&RecordingDuration=7&CallbackSource=call-progress-events",
    ));
    assert_eq!(
        details.params,
        r#"{"A":["x�","�"],"AccountSid":"AC1","B":"","CallDuration":"42","CallSid":"CA1","CallStatus":"completed","CallbackSource":"call-progress-events","From":"+1","RecordingDuration":"7","To":"+2"}"#
    );
    let current = details.current.expect("moves a call");
    assert_eq!((current.from.as_deref(), current.to.as_deref()), (Some("+1"), Some("+2")));
    assert_eq!((current.duration, current.error), (Some(42), None));

    let body = b"{\"id\":\"E\",\"type\":\"t\",\"data\":{\"a\\u0000\":\"b\\u0000\"}}";
    let events = Sent::json(body).events();
    assert!(!EventDetails::of(&events[0]).params.contains("u0000"));

    let recording = form(
        "AccountSid=AC1&CallSid=CA1&RecordingSid=RE1&RecordingStatus=completed&RecordingDuration=7&CallDuration=9",
    );
    let details = EventDetails::of(&recording);
    assert_eq!(details.current.expect("moves a recording").duration, Some(7));
    assert_eq!(details.call_sid.as_deref(), Some("CA1"), "it belongs to its call's timeline");
    let call = form("AccountSid=AC1&CallSid=CA1&CallStatus=completed&Digits=1");
    assert_eq!(EventDetails::of(&call).call_sid, None, "it is under its call already");
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
        let _ = EventDetails::of(&form(&format!("AccountSid=AC1&{body}")));
    }
}

#[test]
fn an_event_is_what_was_signed_and_holds_what_may_be_kept() {
    let key = "0123456789abcdef0123456789abcdef";
    let treatments = Treatments { numbers: Treatment::Drop, ..Treatments::default() };
    let privacy = Privacy::new(treatments, [], Some(&key.into())).expect("the key is long enough");
    let with =
        |sent: Sent<'_>| sent.kept_by(&privacy).expect("something of Twilio's is in it").remove(0);
    let status = |body| with(Sent::form(body).with_query("to=%2B15550100&a=1"));
    let plain = "AccountSid=AC1&CallSid=CA1&CallStatus=ringing&SequenceNumber=2\
                 &CallbackSource=call-progress-events&From=%2B15550100";
    let event = status(plain);
    assert_eq!((event.key.as_str(), event.sequence), ("CA1-ringing", Some(2)));
    assert_eq!(event.body, &plain[..plain.len() - "&From=%2B15550100".len()]);
    assert_eq!(event.query, "a=1");
    assert_eq!(event.position(), form(plain).position());

    // Everything that was signed identifies one that is not recognised, and its key does not reveal it.
    let (one, other) = (
        status("AccountSid=AC1&FaxSid=FX1&To=%2B15550100"),
        status("AccountSid=AC1&FaxSid=FX1&To=%2B15550101"),
    );
    assert_eq!(one.body, other.body);
    assert_ne!(one.key, other.key);
    assert_ne!(one.fingerprint, other.fingerprint);
    assert_eq!(one.key, status("AccountSid=AC1&FaxSid=FX1&To=%2B15550100").key);
    let bare = form("AccountSid=AC1&FaxSid=FX1&To=%2B15550100");
    let treated = with(Sent::form("AccountSid=AC1&FaxSid=FX1&To=%2B15550100"));
    assert_ne!(treated.key, bare.key);
    assert_ne!(treated.fingerprint, bare.fingerprint, "numbers cannot be tried on it");
    let fallback = Sent::form("AccountSid=AC1&CallSid=CA1&To=%2B15550100").to(Route::SmsFallback);
    assert_ne!(with(fallback).key, fallback.event().key);

    let body = r#"[{"id":"EZ1","type":"com.twilio.messaging.message.sent","data":{"messageSid":"SM1","from":"+15550100"}}]"#;
    let event = with(Sent::json(body.as_bytes()));
    assert_eq!((event.key.as_str(), event.sid.as_deref()), ("EZ1", Some("SM1")));
    let kept =
        r#"{"id":"EZ1","type":"com.twilio.messaging.message.sent","data":{"messageSid":"SM1"}}"#;
    assert_eq!(event.body, kept);
    assert_eq!(event.query, "", "bodySHA256 tells what was dropped");
}
