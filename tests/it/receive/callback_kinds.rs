//! Every kind of callback goes in as Twilio sends it, and its rows come out.

use offhook::event::{Format, Kind, Resource};
use serde_json::Value;

use crate::harness::{Callback, Offhook, Testbed, both_modes, fixture};

both_modes! {
    every_kind_becomes_its_events_and_statuses,
    the_api_shows_what_is_stored,
    a_get_carries_its_parameters_in_the_query,
    the_views_hold_calls_and_messages,
    a_query_of_the_users_own_is_kept,
    what_was_signed_is_kept_byte_for_byte,
}

/// Sends one callback of every kind.
async fn send_all(offhook: &Offhook) {
    let status = [
        "call.form",
        "call_child.form",
        "message.form",
        "message_failed.form",
        "message_whatsapp.form",
        "recording.form",
        "conference.form",
        "amd.form",
        "transcription.form",
        "unrecognised.form",
    ];
    for name in status {
        offhook.client.accepts(&Callback::form(fixture(name))).await;
    }
    offhook.client.accepts(&Callback::form(fixture("debugger.form")).to("/debugger")).await;
    let incoming = Callback::form(fixture("incoming_message.form")).to("/incoming-message");
    offhook.client.accepts(&incoming).await;
    for name in ["event_streams.json", "event_streams_one.json"] {
        offhook.client.accepts(&Callback::json(fixture(name))).await;
    }
    for (name, path, token) in [
        ("voice_fallback.form", "/voice-fallback", "0-voice"),
        ("sms_fallback.form", "/sms-fallback", "0-sms"),
    ] {
        let asked = Callback::form(fixture(name)).to(path).with_token(token);
        assert_eq!(offhook.client.send(&asked).await.status(), 200);
    }
}

/// Key, kind, status.
const EVENTS: [(&str, Kind, Option<&str>); 18] = [
    ("CA00000000000000000000000000000010-amd", Kind::Amd, Some("machine_end_beep")),
    ("CA00000000000000000000000000000010-completed", Kind::Call, Some("completed")),
    ("CA00000000000000000000000000000011-no-answer", Kind::Call, Some("no-answer")),
    (
        "CF00000000000000000000000000000040-2-participant-join",
        Kind::Conference,
        Some("participant-join"),
    ),
    ("EZ00000000000000000000000000000090", Kind::EventStream, Some("completed")),
    ("EZ00000000000000000000000000000091", Kind::EventStream, Some("undelivered")),
    ("EZ00000000000000000000000000000092", Kind::EventStream, None),
    ("EZ00000000000000000000000000000093", Kind::EventStream, Some("delivered")),
    ("GT00000000000000000000000000000050-2", Kind::Transcription, Some("transcription-content")),
    ("NO00000000000000000000000000000060", Kind::Debugger, Some("error")),
    ("RE00000000000000000000000000000030-completed", Kind::Recording, Some("completed")),
    ("SM00000000000000000000000000000020-delivered", Kind::Message, Some("delivered")),
    ("SM00000000000000000000000000000021-undelivered-30003", Kind::Message, Some("undelivered")),
    ("SM00000000000000000000000000000022-read", Kind::Message, Some("read")),
    ("SM00000000000000000000000000000081-received", Kind::IncomingMessage, Some("received")),
    ("fallback-", Kind::Fallback, None),
    ("fallback-", Kind::Fallback, None),
    ("other-", Kind::Other, None),
];

/// What has no name of its own goes by a hash behind these.
const HASHED: [&str; 2] = ["fallback-", "other-"];

/// SID, resource, status, final, seconds, error.
type StatusRow = (&'static str, Resource, &'static str, bool, Option<i64>, Option<&'static str>);
const STATUSES: [StatusRow; 12] = [
    ("CA00000000000000000000000000000010", Resource::Call, "completed", true, Some(42), None),
    ("CA00000000000000000000000000000011", Resource::Call, "no-answer", true, Some(0), None),
    ("CA00000000000000000000000000000090", Resource::Call, "completed", true, Some(5), None),
    (
        "CF00000000000000000000000000000040",
        Resource::Conference,
        "participant-join",
        false,
        None,
        None,
    ),
    (
        "GT00000000000000000000000000000050",
        Resource::Transcription,
        "transcription-content",
        false,
        None,
        None,
    ),
    ("RE00000000000000000000000000000030", Resource::Recording, "completed", true, Some(37), None),
    ("SM00000000000000000000000000000020", Resource::Message, "delivered", true, None, None),
    (
        "SM00000000000000000000000000000021",
        Resource::Message,
        "undelivered",
        true,
        None,
        Some("30003"),
    ),
    ("SM00000000000000000000000000000022", Resource::Message, "read", true, None, None),
    ("SM00000000000000000000000000000081", Resource::Message, "received", false, None, None),
    (
        "SM00000000000000000000000000000091",
        Resource::Message,
        "undelivered",
        true,
        None,
        Some("30005"),
    ),
    ("SM00000000000000000000000000000093", Resource::Message, "delivered", true, None, None),
];

async fn every_kind_becomes_its_events_and_statuses(testbed: Testbed) {
    let offhook = testbed.start();
    send_all(&offhook).await;
    // Twilio may deliver each of them again.
    send_all(&offhook).await;
    let contents = testbed.contents_of(EVENTS.len()).await;

    let found: Vec<_> = contents
        .events
        .iter()
        .map(|stored| {
            let event = &stored.event;
            // A hash is no literal.
            let key = event.key.as_str();
            let key = HASHED.into_iter().find(|start| key.starts_with(start)).unwrap_or(key);
            (key, event.kind, event.status.as_deref())
        })
        .collect();
    assert_eq!(found, EVENTS);

    let found: Vec<_> = contents
        .statuses
        .iter()
        .map(|row| {
            let error = row.error.as_ref().map(|error| error.code.as_str());
            let status = row.position.status.as_str();
            (row.sid.as_str(), row.resource, status, row.is_final(), row.duration, error)
        })
        .collect();
    assert_eq!(found, STATUSES);
}

async fn the_api_shows_what_is_stored(testbed: Testbed) {
    let offhook = testbed.start();
    send_all(&offhook).await;
    testbed.contents_of(EVENTS.len()).await;
    let sid = "CA00000000000000000000000000000010";
    let (code, status) = offhook.client.json(&format!("/api/statuses/{sid}")).await;
    assert_eq!(code, 200);
    for (name, expected) in [
        ("sid", sid.into()),
        ("resource", "call".into()),
        ("status", "completed".into()),
        ("final", true.into()),
        ("from", "+15550100001".into()),
        ("to", "+15550100002".into()),
        ("duration", 42.into()),
        ("error_code", Value::Null),
        ("contradicted", false.into()),
    ] {
        assert_eq!(status[name], expected, "{name}");
    }

    let (code, events) = offhook.client.json(&format!("/api/timeline/{sid}")).await;
    assert_eq!(code, 200);
    let events = events["events"].as_array().expect("a list").clone();
    // The order in which they came: its own, and what names it.
    let kinds: Vec<_> = events.iter().filter_map(|event| event["kind"].as_str()).collect();
    assert_eq!(kinds, ["call", "recording", "conference", "amd", "transcription", "fallback"]);
    assert_eq!(events[0]["params"]["SipResponseCode"], "200");
    assert_eq!(events[0]["occurred_at"], "2026-11-24T08:00:47.000000Z");
    assert_eq!(events[3]["params"]["MachineDetectionDuration"], "4312");

    assert_eq!(offhook.client.json("/api/statuses/CA0").await.0, 404);
    assert_eq!(offhook.client.json("/api/events?since=never").await.0, 400);
    let (code, none) = offhook.client.json("/api/events?sid=CA0").await;
    assert_eq!((code.as_u16(), none["events"].as_array().map(Vec::len)), (200, Some(0)));
}

async fn a_get_carries_its_parameters_in_the_query(testbed: Testbed) {
    let offhook = testbed.start();
    let query = String::from_utf8(fixture("call.form")).expect("text");
    offhook.client.accepts(&Callback::get(&query)).await;
    // Seen in the field: a GET that carries the hash of a body that it does not have, twice.
    let hashed = query.replace("completed", "busy") + "&bodySHA256=0&bodySHA256=0";
    offhook.client.accepts(&Callback::get(&hashed)).await;
    let sid = "CA00000000000000000000000000000010";
    let contents =
        testbed.contents_with(&[format!("{sid}-completed"), format!("{sid}-busy")]).await;
    for (stored, query) in contents.events.iter().zip([&hashed, &query]) {
        let event = &stored.event;
        assert_eq!((event.format, event.query.as_str()), (Format::Form, ""));
        assert_eq!(event.body, query.as_bytes());
    }
}

async fn the_views_hold_calls_and_messages(testbed: Testbed) {
    let offhook = testbed.start();
    send_all(&offhook).await;
    testbed.contents_of(EVENTS.len()).await;
    let of = |resource| STATUSES.iter().filter(move |row| row.1 == resource).map(|row| row.0);
    let calls = testbed.column("SELECT sid FROM calls ORDER BY sid").await;
    assert_eq!(calls, of(Resource::Call).collect::<Vec<_>>());
    let messages = testbed.column("SELECT sid FROM messages ORDER BY sid").await;
    assert_eq!(messages, of(Resource::Message).collect::<Vec<_>>());
    let codes = "SELECT error_code FROM messages WHERE error_code IS NOT NULL ORDER BY sid";
    assert_eq!(testbed.column(codes).await, ["30003", "30005"]);
}

async fn a_query_of_the_users_own_is_kept(testbed: Testbed) {
    let offhook = testbed.start();
    let query = "tenant=a%20b+c&x=%27&x=%c3%A9&";
    offhook.client.accepts(&Callback::form(fixture("call.form")).with_query(query)).await;
    let key = "CA00000000000000000000000000000010-completed".to_owned();
    let contents = testbed.contents_with(&[key]).await;
    assert_eq!(contents.events[0].event.query, query);
}

async fn what_was_signed_is_kept_byte_for_byte(testbed: Testbed) {
    let offhook = testbed.start();
    let sid = "CA00000000000000000000000000000010";
    let head = format!(
        "CallSid={sid}&AccountSid=AC00000000000000000000000000000001&CallbackSource=call-progress-events&CallStatus="
    );
    let mut bodies: Vec<Vec<u8>> = Vec::new();
    for (status, rest) in [
        ("busy", b"&From=%00&To=a%00b&Empty=&Again=1&Again=2&Again=1".to_vec()),
        ("canceled", b"&From=%FF%FE&To=%C3%28".to_vec()),
        ("failed", b"&From=\xff\xfe raw & bytes=\x00".to_vec()),
        ("completed", b"&Plus=a+b&Percent=%25&Emoji=%F0%9F%93%9E".to_vec()),
    ] {
        bodies.push([head.as_bytes(), status.as_bytes(), &rest].concat());
    }
    let mut large = [head.as_bytes(), b"queued&Padding="].concat();
    large.resize(64 * 1024, b'x');
    bodies.push(large);
    for body in &bodies {
        offhook.client.accepts(&Callback::form(body.clone())).await;
    }
    let statuses = ["busy", "canceled", "completed", "failed", "queued"];
    let keys = statuses.map(|status| format!("{sid}-{status}"));
    let contents = testbed.contents_with(&keys).await;
    let mut stored: Vec<_> =
        contents.events.iter().map(|stored| stored.event.body.to_vec()).collect();
    stored.sort();
    bodies.sort();
    assert!(stored == bodies, "the bytes differ");
}
