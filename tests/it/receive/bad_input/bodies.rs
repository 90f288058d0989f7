//! Signed bodies and queries that nobody expects, and what becomes of them in the store.

use offhook::backend::StoredEvent;
use offhook::event::Kind;
use serde_json::Value;

use super::is_unharmed;
use crate::harness::{ACCOUNT, Callback, Testbed, both_modes};

both_modes! {
    every_signed_form_is_stored_as_it_was_signed,
    every_signed_json_is_stored_as_it_was_signed,
    every_signed_query_is_stored_as_it_was_signed,
    a_body_may_have_64_kib_and_no_more,
}

/// A call's callback, of a SID of its own for each row.
fn call(sid: usize, more: &[u8]) -> Vec<u8> {
    let call = format!(
        "AccountSid={ACCOUNT}&CallSid=CA{sid}&CallStatus=ringing&CallbackSource=call-progress-events&"
    );
    [call.as_bytes(), more].concat()
}

/// What is sent, the kind that it is stored as, and a parameter with its value as JSON.
type Form = (Vec<u8>, Kind, (&'static str, &'static str));

fn forms() -> Vec<Form> {
    let odd = |sid, more: &[u8], name, value| (call(sid, more), Kind::Call, (name, value));
    let account = format!("AccountSid={ACCOUNT}&");
    let other = |body: &[u8], name, value| {
        ([account.as_bytes(), body].concat(), Kind::Other, (name, value))
    };
    let long = "x".repeat(60_000);
    let distinct: String = (0..10_000).map(|number| format!("{number:x}=&")).collect();
    let repeated = "a&".repeat(10_000);
    vec![
        odd(1, b"a=%&b=%4&c=%zz&%=%%&%4=%4g", "c", r#""%zz""#),
        odd(2, b"a=%FF&b=\xff\xfe&%C3=%28", "a", "\"\u{FFFD}\""),
        odd(3, b"From=%2B1%00&a=\0&%00=%00", "From", "\"+1\u{FFFD}\""),
        odd(4, b"a=1&a=2&a=1&a=&a", "a", r#"["1","2","1","",""]"#),
        odd(5, b"CallSid=CA9&CallStatus=busy", "CallSid", r#"["CA5","CA9"]"#),
        odd(6, distinct.as_bytes(), "270f", r#""""#),
        odd(7, repeated.as_bytes(), "b", "null"),
        odd(8, b"&&&==&=&=a=b&&", "", r#"["=","","a=b"]"#),
        odd(
            9,
            format!("From={long}&To={long}").as_bytes().get(..60_100).expect("it is long"),
            "x",
            "null",
        ),
        odd(10, b"SequenceNumber=99999999999999999999&CallDuration=-1", "CallDuration", r#""-1""#),
        odd(11, b"SequenceNumber=-9223372036854775808", "a", "null"),
        odd(12, b"CallDuration=9223372036854775807&ErrorCode=%00", "ErrorCode", "\"\u{FFFD}\""),
        odd(13, b"Timestamp=Fri,+31+Dec+9999+23:59:60+-2359", "a", "null"),
        odd(14, b"Timestamp=Sat,+01+Jan+0000+00:00:00+%2B2359", "a", "null"),
        odd(15, "a=\u{FFFF}\u{202E}\u{1F4A9}".as_bytes(), "a", "\"\u{FFFF}\u{202E}\u{1F4A9}\""),
        odd(
            16,
            b"a={\"b\":[\"\\u0000\"]}&c=';DROP TABLE events;--",
            "c",
            r#""';DROP TABLE events;--""#,
        ),
        odd(17, b"\r\na=1\r\n", "\r\na", r#""1\r\n""#),
        other(b"", "a", "null"),
        other(b"\0", "\u{FFFD}", r#""""#),
        other(b"CallSid=CA1%00&CallStatus=ringing", "CallSid", "\"CA1\u{FFFD}\""),
        other(b"CallSid=CA1&CallStatus=ring%20ing", "CallStatus", r#""ring ing""#),
        other("CallSid=CA１&CallStatus=ringing".as_bytes(), "CallSid", r#""CA１""#),
        other(format!("CallSid={long}&CallStatus=ringing").as_bytes(), "a", "null"),
        other(b"callsid=CA1&callstatus=ringing", "callsid", r#""CA1""#),
    ]
}

/// The event with this body.
fn stored<'s>(events: &'s [StoredEvent], body: &[u8]) -> &'s StoredEvent {
    let found = events.iter().find(|stored| stored.event.body == body);
    found.unwrap_or_else(|| panic!("not stored: {:.100}", String::from_utf8_lossy(body)))
}

async fn every_signed_form_is_stored_as_it_was_signed(testbed: Testbed) {
    let offhook = testbed.start();
    for (body, ..) in forms() {
        offhook.client.accepts(&Callback::form(body)).await;
    }
    let contents = testbed.contents_of(forms().len()).await;
    for (body, kind, (name, value)) in forms() {
        let stored = stored(&contents.events, &body);
        assert_eq!(stored.event.kind, kind, "{}", stored.event.key);
        let params: Value = serde_json::from_str(&stored.params).expect("JSON");
        let expected: Value = serde_json::from_str(value).expect("JSON");
        assert_eq!(params[name], expected, "{name} of {}", stored.event.key);
    }
    let status = |sid| contents.status(sid);
    assert_eq!(status("CA3").from.as_deref(), Some("+1\u{FFFD}"));
    // As much as an index takes; the event has all of it.
    assert_eq!(status("CA9").from.as_ref().map(|from| from.chars().count()), Some(256));
    assert_eq!((status("CA10").position.sequence, status("CA10").duration), (None, Some(-1)));
    assert_eq!(status("CA11").position.sequence, Some(i64::MIN));
    assert_eq!(status("CA12").duration, Some(i64::MAX));
    is_unharmed(&offhook.client).await;
}

/// What is sent, and how many events it is.
fn jsons() -> Vec<(Vec<u8>, usize)> {
    let nested = |depth: usize| [vec![b'['; depth], vec![b']'; depth]].concat();
    let event = |id: &str, data: &[u8]| {
        let head = format!(r#"{{"specversion":"1.0","id":"{id}","source":"s","type":"t","data":"#);
        [head.as_bytes(), data, b"}"].concat()
    };
    let many = |element: &str, count| format!("[{}]", vec![element; count].join(",")).into_bytes();
    let numbers: Vec<String> = (0..10_000).map(|number| number.to_string()).collect();
    vec![
        (b"null".to_vec(), 1),
        (b"[]".to_vec(), 1),
        (b"[1,{}]".to_vec(), 2),
        (b"{} {}".to_vec(), 1),
        (b"\xef\xbb\xbf{\"id\":\"EZ1\",\"type\":\"t\"}".to_vec(), 1),
        (b"{\"id\":\"EZ2\xff\",\"type\":\"t\"}".to_vec(), 1),
        (b"\xff\xfe[\0]\0".to_vec(), 1),
        (b"{\"id\":\"EZ3\0\"}".to_vec(), 1),
        (br#"{"id":"EZ4","id":"EZ5","type":"t"}"#.to_vec(), 1),
        (br#"{"id":"","type":"t"}"#.to_vec(), 1),
        (br#"{"id":"a b","type":"t"}"#.to_vec(), 1),
        (br#"{"id":7,"type":"t"}"#.to_vec(), 1),
        (event(&"x".repeat(201), b"{}"), 1),
        (event("EZ10", br#"{"a":1,"a":2,"a\u0000":"\u0000","b":"\\u0000"}"#), 1),
        (event("EZ11", br#"{"a":"\ud800"}"#), 1),
        (event("EZ12", b"[1e400,-0,1e-400,123456789012345678901234567890,1E+2]"), 1),
        (event("EZ13", &nested(100)), 1),
        (event("EZ14", &nested(127)), 1),
        (event("EZ15", &nested(20_000)), 1),
        (event("EZ16", format!("{{\"{0}\":\"{0}\"}}", "x".repeat(30_000)).as_bytes()), 1),
        (br#"{"id":"EZ17","type":"t","time":"0000-01-01T00:00:00+23:59"}"#.to_vec(), 1),
        (br#"{"id":"EZ18","type":"t","time":"9999-12-31T23:59:60-23:59"}"#.to_vec(), 1),
        (nested(30_000), 1),
        (many("7", 30_000), 1),
        (format!("[{}]", numbers.join(",")).into_bytes(), 1),
        (many(&String::from_utf8(event("EZ20", b"0")).expect("text"), 700), 1),
    ]
}

async fn every_signed_json_is_stored_as_it_was_signed(testbed: Testbed) {
    let offhook = testbed.start();
    for (body, _) in jsons() {
        offhook.client.accepts(&Callback::json(body)).await;
    }
    let events = jsons().iter().map(|(_, events)| events).sum();
    let contents = testbed.contents_of(events).await;
    for (body, _) in jsons().iter().filter(|(body, events)| *events == 1 && body.len() < 60_000) {
        if !body.starts_with(b"[{") {
            // Of one object without the space around it.
            let _ = stored(&contents.events, body);
        }
    }
    let recognised = contents.events.iter().filter(|stored| stored.event.kind == Kind::EventStream);
    // What has an id that cannot be a key goes by a hash.
    let key = |key: &str| match key.starts_with("event_stream-") {
        true => "event_stream-".to_owned(),
        false => key.to_owned(),
    };
    let keys: Vec<_> = recognised.map(|stored| key(stored.event.key.as_str())).collect();
    assert_eq!(
        keys,
        [
            "7",
            "EZ10",
            "EZ11",
            "EZ12",
            "EZ13",
            "EZ14",
            "EZ15",
            "EZ16",
            "EZ17",
            "EZ18",
            "EZ20",
            "EZ5",
            "event_stream-",
            "event_stream-",
            "event_stream-"
        ]
    );
    is_unharmed(&offhook.client).await;
}

async fn every_signed_query_is_stored_as_it_was_signed(testbed: Testbed) {
    let offhook = testbed.start();
    let long = format!("order={}", "%2F".repeat(7_000));
    let odd = ["%", "%zz=%4&%00=%00&%FF", "&&=&a=&a", "a=1;b=?c?d=/../", &long];
    // With an account, since what has nothing of Twilio's in it is refused.
    let queries = odd.map(|query| format!("{query}&AccountSid={ACCOUNT}"));
    for (place, query) in queries.iter().enumerate() {
        let body = call(place, b"");
        offhook.client.accepts(&Callback::form(body).with_query(query)).await;
        offhook.client.accepts(&Callback::get(query)).await;
    }
    let contents = testbed.contents_of(2 * queries.len()).await;
    for (place, query) in queries.iter().enumerate() {
        assert_eq!(stored(&contents.events, &call(place, b"")).event.query, *query);
        let of_get = stored(&contents.events, query.as_bytes());
        assert_eq!((of_get.event.kind, of_get.event.query.as_str()), (Kind::Other, ""));
    }
    is_unharmed(&offhook.client).await;
}

async fn a_body_may_have_64_kib_and_no_more(testbed: Testbed) {
    const LIMIT: usize = 64 * 1024;
    let offhook = testbed.start();
    let form = |sid, length: usize| {
        let call = call(sid, b"");
        [&call[..], &vec![b'x'; length - call.len()]].concat()
    };
    let json = |length: usize| format!("\"{}\"", "x".repeat(length - 2)).into_bytes();
    for (body, code) in [(LIMIT - 1, 200), (LIMIT, 200), (LIMIT + 1, 413)] {
        for callback in [Callback::form(form(body, body)), Callback::json(json(body))] {
            assert_eq!(offhook.client.send(&callback).await.status(), code, "{body}");
        }
    }
    let contents = testbed.contents_of(4).await;
    let mut lengths: Vec<_> = contents.events.iter().map(|event| event.event.body.len()).collect();
    lengths.sort_unstable();
    assert_eq!(lengths, [LIMIT - 1, LIMIT - 1, LIMIT, LIMIT]);
    is_unharmed(&offhook.client).await;
}
