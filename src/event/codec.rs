//! An event as named fields: how it lies in the Redis stream, readable by any other consumer.
//!
//! Every entry has the same fields in the same order, since Redis then stores their names once
//! per node instead of once per entry. A field without a value is empty. Unknown fields are
//! ignored, so that an older worker reads what a newer receiver wrote.

use bytes::Bytes;

use super::{
    AttemptId, Callee, Consent, Event, EventKey, Fingerprint, Format, Kind, Method, Request,
    Resource, Route, TraceContext,
};
use crate::clock::Timestamp;
use crate::labels::Label as _;

/// The names of the fields, in order. The last five are later than the others: entries of before lack
/// them.
pub const FIELDS: [&str; 17] = [
    "key",
    "kind",
    "account",
    "sid",
    "resource",
    "status",
    "sequence",
    "occurred_at",
    "received_at",
    "format",
    "query",
    "body",
    "about_account",
    "fingerprint",
    "method",
    "route",
    "idempotency_token",
];

/// Comes after them, and only where the request that brought the event is traced.
pub const TRACEPARENT: &str = "traceparent";

/// Comes after that, and only where the event belongs to an attempt to send something.
pub const ATTEMPT: &str = "attempt";

/// Comes after that, and only where the event says what the callee of an attempt's call has done.
pub const CALLEE: &str = "callee";

/// Comes last, and only where an incoming message says something about being reached.
pub const CONSENT: &str = "consent";

/// Why an entry is not an event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the entry is not an event: its field `{field}` is missing or malformed")]
pub struct Malformed {
    /// The first field that is wrong.
    pub field: &'static str,
}

/// Hands each field's name and value to `write`, in the order of [`FIELDS`]. Times are
/// microseconds since the epoch. [`TRACEPARENT`], [`ATTEMPT`], [`CALLEE`] and [`CONSENT`] come after them where there is
/// one.
pub fn encode(event: &Event, mut write: impl FnMut(&'static str, &[u8])) {
    let number = |value: Option<i64>| value.map_or_else(String::new, |value| value.to_string());
    write("key", event.key.as_str().as_bytes());
    write("kind", event.kind.as_str().as_bytes());
    write("account", event.account.as_bytes());
    write("sid", event.sid.as_deref().unwrap_or_default().as_bytes());
    write("resource", event.resource.map_or("", Resource::as_str).as_bytes());
    write("status", event.status.as_deref().unwrap_or_default().as_bytes());
    write("sequence", number(event.sequence).as_bytes());
    write("occurred_at", number(event.occurred_at.map(Timestamp::micros)).as_bytes());
    write("received_at", event.received_at.micros().to_string().as_bytes());
    write("format", event.format.as_str().as_bytes());
    write("query", event.query.as_bytes());
    write("body", &event.body);
    write("about_account", event.about_account.as_deref().unwrap_or_default().as_bytes());
    let fingerprint = event.fingerprint.map_or_else(String::new, |it| it.to_string());
    write("fingerprint", fingerprint.as_bytes());
    let request = event.request.as_ref();
    write("method", request.map_or("", |request| request.method.as_str()).as_bytes());
    write("route", request.map_or("", |request| request.route.as_str()).as_bytes());
    let token = request.and_then(|request| request.idempotency_token.as_deref());
    write("idempotency_token", token.unwrap_or_default().as_bytes());
    if let Some(context) = event.trace {
        write(TRACEPARENT, context.traceparent().as_bytes());
    }
    if let Some(attempt) = event.attempt {
        write(ATTEMPT, attempt.to_string().as_bytes());
    }
    if let Some(callee) = event.callee {
        write(CALLEE, callee.as_str().as_bytes());
    }
    if let Some(consent) = &event.consent {
        write(CONSENT, consent.to_string().as_bytes());
    }
}

/// Reads an event from its fields, in any order. What a version before wrote lacks some of them.
///
/// # Errors
/// [`Malformed`] names the first field that is missing or that cannot be read.
pub fn decode(fields: impl IntoIterator<Item = (Bytes, Bytes)>) -> Result<Event, Malformed> {
    let mut values: [Option<Bytes>; FIELDS.len()] = Default::default();
    let (mut trace, mut attempt, mut callee, mut consent) = (None, None, None, None);
    for (name, value) in fields {
        if let Some(place) = FIELDS.iter().position(|field| field.as_bytes() == name) {
            values[place] = Some(value);
        } else if name == TRACEPARENT {
            // No event is lost for it.
            trace = TraceContext::parse(&value);
        } else if name == ATTEMPT {
            attempt = std::str::from_utf8(&value).ok().and_then(AttemptId::parse);
        } else if name == CALLEE {
            // Neither for what a later version knows.
            callee = std::str::from_utf8(&value).ok().and_then(Callee::parse);
        } else if name == CONSENT {
            consent = std::str::from_utf8(&value).ok().and_then(Consent::parse);
        }
    }
    let [
        key,
        kind,
        account,
        sid,
        resource,
        status,
        sequence,
        occurred_at,
        received_at,
        format,
        query,
        body,
        about_account,
        fingerprint,
        method,
        route,
        idempotency_token,
    ] = values;
    let method = later_parsed("method", method, Method::parse)?;
    let route = later_parsed("route", route, Route::parse)?;
    let idempotency_token = later("idempotency_token", idempotency_token)?;
    let request =
        method.zip(route).map(|(method, route)| Request { method, route, idempotency_token });

    let event = Event {
        key: parsed("key", text("key", key)?, EventKey::parse)?,
        kind: parsed("kind", text("kind", kind)?, Kind::parse)?,
        account: text("account", account)?,
        sid: optional(text("sid", sid)?),
        resource: optional_parsed("resource", text("resource", resource)?, Resource::parse)?,
        status: optional(text("status", status)?),
        sequence: optional_parsed("sequence", text("sequence", sequence)?, integer)?,
        occurred_at: optional_parsed("occurred_at", text("occurred_at", occurred_at)?, micros)?,
        received_at: parsed("received_at", text("received_at", received_at)?, micros)?,
        format: parsed("format", text("format", format)?, Format::parse)?,
        query: text("query", query)?,
        body: body.ok_or(Malformed { field: "body" })?,
        about_account: later("about_account", about_account)?,
        fingerprint: later_parsed("fingerprint", fingerprint, Fingerprint::parse)?,
        request,
        attempt,
        callee,
        consent,
        trace,
    };
    Ok(event)
}

fn text(field: &'static str, value: Option<Bytes>) -> Result<String, Malformed> {
    let value = value.ok_or(Malformed { field })?;
    String::from_utf8(value.into()).map_err(|_| Malformed { field })
}

fn parsed<T>(
    field: &'static str,
    text: String,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<T, Malformed> {
    parse(&text).ok_or(Malformed { field })
}

fn optional(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

fn optional_parsed<T>(
    field: &'static str,
    text: String,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<Option<T>, Malformed> {
    optional(text).map(|text| parsed(field, text, parse)).transpose()
}

/// A field that not every version has written.
fn later(field: &'static str, value: Option<Bytes>) -> Result<Option<String>, Malformed> {
    Ok(optional(text(field, Some(value.unwrap_or_default()))?))
}

fn later_parsed<T>(
    field: &'static str,
    value: Option<Bytes>,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<Option<T>, Malformed> {
    later(field, value)?.map(|text| parsed(field, text, parse)).transpose()
}

fn integer(text: &str) -> Option<i64> {
    text.parse().ok()
}

fn micros(text: &str) -> Option<Timestamp> {
    integer(text).map(Timestamp::from_micros)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// How many of [`FIELDS`] every version has written.
    const REQUIRED: usize = 12;

    fn fields(event: &Event) -> Vec<(Bytes, Bytes)> {
        let mut fields = Vec::new();
        encode(event, |name, value| {
            fields.push((Bytes::from_static(name.as_bytes()), Bytes::copy_from_slice(value)));
        });
        fields
    }

    fn request() -> impl Strategy<Value = Request> {
        let route = prop::sample::select(Route::ALL.to_vec());
        let method = prop::sample::select(vec![Method::Get, Method::Post]);
        (method, route, prop::option::of("[ -~]{1,12}")).prop_map(
            |(method, route, idempotency_token)| Request { method, route, idempotency_token },
        )
    }

    fn event() -> impl Strategy<Value = Event> {
        let time = || (-9_000_000_000i64..9_000_000_000_000_000).prop_map(Timestamp::from_micros);
        let word = || "[A-Za-z0-9-]{1,12}";
        let consent = prop::sample::select(vec![
            None,
            Consent::parse("stop stop_word number +12125550100"),
            Consent::parse("start opt_out_type number +12125550100"),
        ]);
        (
            (word(), prop::sample::select(Kind::ALL.to_vec()), word()),
            (
                prop::option::of(word()),
                prop::option::of(prop::sample::select(Resource::ALL.to_vec())),
            ),
            (prop::option::of(word()), prop::option::of(any::<i64>()), prop::option::of(time())),
            (time(), any::<bool>(), ".{0,20}", prop::collection::vec(any::<u8>(), 0..80)),
            (
                prop::option::of((1..=u128::MAX, 1..=u64::MAX)),
                prop::option::of(any::<u128>()),
                prop::option::of(prop::sample::select(Callee::ALL.to_vec())),
                consent,
            ),
            (prop::option::of(word()), prop::option::of(any::<i64>()), prop::option::of(request())),
        )
            .prop_map(
                |(
                    (key, kind, account),
                    (sid, resource),
                    (status, sequence, occurred_at),
                    rest,
                    (trace, attempt, callee, consent),
                    (about_account, fingerprint, request),
                )| {
                    let (received_at, form, query, body) = rest;
                    Event {
                        key: EventKey::parse(&key).expect("the strategy writes printable ASCII"),
                        kind,
                        account,
                        about_account,
                        fingerprint: fingerprint.map(Fingerprint::from_i64),
                        request,
                        sid,
                        resource,
                        status,
                        sequence,
                        occurred_at,
                        received_at,
                        format: if form { Format::Form } else { Format::Json },
                        query,
                        body: body.into(),
                        attempt: attempt.map(AttemptId::new),
                        callee,
                        consent,
                        trace: trace.map(|(trace, span)| TraceContext { trace, span }),
                    }
                },
            )
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(event in event()) {
            prop_assert_eq!(decode(fields(&event)), Ok(event));
        }

        #[test]
        fn a_missing_field_is_named(event in event(), missing in 0usize..REQUIRED) {
            let mut fields = fields(&event);
            fields.remove(missing);
            prop_assert_eq!(decode(fields), Err(Malformed { field: FIELDS[missing] }));
        }

        #[test]
        fn what_the_version_before_wrote_is_read(event in event()) {
            let mut fields = fields(&event);
            fields.truncate(REQUIRED);
            let before = Event {
                about_account: None,
                fingerprint: None,
                request: None,
                attempt: None,
                callee: None,
                consent: None,
                trace: None,
                ..event
            };
            prop_assert_eq!(decode(fields), Ok(before));
        }
    }

    #[test]
    fn an_attempt_comes_last_and_no_event_is_lost_for_a_malformed_one() {
        let key = EventKey::of(&["SM1", "sent"]).expect("printable");
        let event = Event {
            attempt: Some(AttemptId::new(7)),
            trace: Some(TraceContext { trace: 1, span: 2 }),
            ..Event::new(key, Kind::Message, "AC1")
        };
        let mut fields = fields(&event);
        assert_eq!(fields.len(), FIELDS.len() + 2);
        assert_eq!(decode(fields.clone()), Ok(event.clone()));
        for malformed in [&b""[..], b"7", b"\xff"] {
            let (name, value) = fields.last_mut().expect("there are fields");
            assert_eq!(*name, ATTEMPT);
            *value = Bytes::copy_from_slice(malformed);
            assert_eq!(decode(fields.clone()), Ok(Event { attempt: None, ..event.clone() }));
        }
    }

    #[test]
    fn a_consent_comes_last_and_no_event_is_lost_for_a_malformed_one() {
        let key = EventKey::of(&["SM1", "received"]).expect("printable");
        let consent = Consent::parse("stop stop_word number +12125550100");
        assert!(consent.is_some());
        let event = Event { consent, ..Event::new(key, Kind::IncomingMessage, "AC1") };
        let mut fields = fields(&event);
        assert_eq!(decode(fields.clone()), Ok(event.clone()));
        let (name, value) = fields.last_mut().expect("there are fields");
        assert_eq!(*name, CONSENT);
        *value = Bytes::from_static(b"stop");
        assert_eq!(decode(fields.clone()), Ok(Event { consent: None, ..event }));
    }

    #[test]
    fn fields_come_in_their_order_and_unknown_ones_are_ignored() {
        let key = EventKey::of(&["CA1", "ringing"]).expect("printable");
        let event = Event {
            sid: Some("CA1".into()),
            resource: Some(Resource::Call),
            status: Some("ringing".into()),
            body: Bytes::from_static(b"CallSid=CA1"),
            ..Event::new(key, Kind::Call, "AC1")
        };
        let mut fields = fields(&event);
        let names: Vec<_> = fields.iter().map(|(name, _)| name.clone()).collect();
        assert_eq!(names, FIELDS.map(|name| Bytes::from_static(name.as_bytes())));
        fields.push((Bytes::from_static(b"traceparent"), Bytes::from_static(b"00-")));
        fields.push((Bytes::from_static(b"later"), Bytes::from_static(b"1")));
        assert_eq!(decode(fields), Ok(event));
    }
}
