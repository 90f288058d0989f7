//! Events for sinks.

use bytes::Bytes;
use offhook::clock::Timestamp;
use offhook::event::{Batch, Event, EventKey, Format, Kind, Resource};

use crate::harness::ACCOUNT;

/// 2026-11-24 or so.
const NOW: i64 = 1_795_500_000_000_000;

/// One batch of all of these; at most [`Batch::MAX_EVENTS`].
pub(super) fn batch(events: impl IntoIterator<Item = Event>) -> Batch {
    let mut events = events.into_iter().collect();
    let batch = Batch::take_from(&mut events).expect("there are events");
    assert!(events.is_empty(), "more than one batch");
    batch
}

/// A call's event.
pub(super) fn call(n: u32, status: &str) -> Event {
    let sid = format!("CA{n:032x}");
    let body = format!(
        "CallSid={sid}&CallStatus={status}&CallbackSource=call-progress-events&From=%2B15550001111&To=%2B15550002222"
    );
    let key = EventKey::of(&[&sid, status]).expect("printable");
    Event {
        sid: Some(sid),
        resource: Some(Resource::Call),
        status: Some(status.to_owned()),
        sequence: Some(i64::from(n)),
        occurred_at: Some(Timestamp::from_micros(NOW)),
        received_at: Timestamp::from_micros(NOW + i64::from(n)),
        body: body.into(),
        ..Event::new(key, Kind::Call, ACCOUNT)
    }
}

/// One with a body of this size.
pub(super) fn large(n: u32, bytes: usize) -> Event {
    let event = call(n, "completed");
    let mut body = event.body.to_vec();
    body.extend_from_slice(b"&Padding=");
    body.resize(bytes, b'x');
    Event { body: body.into(), ..event }
}

/// Everything that a body, a key and a number can be.
pub(super) fn odd() -> Vec<Event> {
    let bodies: Vec<Vec<u8>> = vec![
        b"".to_vec(),
        b"\0".to_vec(),
        b"CallSid=CA1&From=%00%00&To=a%00b".to_vec(),
        b"From=%FF%FE&To=%C3%28&Name%FF=1".to_vec(),
        (0..=255).collect(),
        b"From=%F0%9F%93%9E&From=2&From=3&To=%ED%A0%80".to_vec(),
        b"=&=&&&==".to_vec(),
        vec![0; 64 * 1024],
        vec![b'a'; 64 * 1024],
        [b"From=".to_vec(), b"%00".repeat(21_000)].concat(),
        [b"To=".to_vec(), b"%FF".repeat(21_000)].concat(),
    ];
    let json: Vec<Vec<u8>> = vec![
        br#"{"data":{"from":"a\u0000b","to":"\ud83d\udcde"},"n":1e300,"\u0000":"\u0000"}"#.to_vec(),
        br#"{"data":{"from":"\ud800"}}"#.to_vec(),
        b"not json \xff".to_vec(),
        b"[1,2,null]".to_vec(),
        br#"{"n":123456789012345678901234567890,"m":-0.0,"tiny":1e-300}"#.to_vec(),
        [b"[".repeat(2000), b"]".repeat(2000)].concat(),
    ];
    let forms = bodies.into_iter().map(|body| (Format::Form, body));
    let all = forms.chain(json.into_iter().map(|body| (Format::Json, body)));
    let mut events: Vec<Event> = all
        .enumerate()
        .map(|(n, (format, body))| Event {
            format,
            body: Bytes::from(body),
            ..call(1000 + n as u32, "completed")
        })
        .collect();
    events.extend(extreme_keys());
    events.extend(extreme_numbers());
    events
}

/// Whatever is printable may be in a key: CloudEvents bring ids of their own.
fn extreme_keys() -> impl Iterator<Item = Event> {
    let keys = ["!", "~", "'", "\"", "\\", "{},NULL", "%s$1?", "a:b", &"k".repeat(EventKey::MAX)]
        .map(|key| EventKey::parse(key).expect("printable"));
    keys.into_iter().enumerate().map(|(n, key)| Event { key, ..call(2000 + n as u32, "queued") })
}

fn extreme_numbers() -> impl Iterator<Item = Event> {
    let time = |micros| Some(Timestamp::from_micros(micros));
    [i64::MIN, -1, 0, i64::MAX].into_iter().enumerate().map(move |(n, number)| Event {
        sequence: Some(number),
        occurred_at: time(number),
        received_at: Timestamp::from_micros(number),
        trace: None,
        query: "tenant=%C3%A9&q='\"\\".to_owned(),
        ..call(3000 + n as u32, "ringing")
    })
}
