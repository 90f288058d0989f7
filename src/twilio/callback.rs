//! A verified request becomes events: which kind it is, what it is about, and by which key its
//! duplicates are recognised. Told apart by its parameters alone, since users point every kind at
//! one URL.

use std::borrow::Cow;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::details::Fields;
use super::privacy::Privacy;
use super::signature::{Content, SignedRequest, Verified};
use crate::clock::Timestamp;
use crate::event::{Event, EventKey, Format, Kind, Resource};

/// Most events of one request. 64 KiB hold 1,191 of the shortest CloudEvents that the specification
/// allows, and some 300 of Twilio's.
const MAX_ELEMENTS: usize = 2048;

/// What sort of URL was asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose<'a> {
    /// Told what happened.
    Status,
    /// Asked what to do. Twilio repeats a call's SID and status here, but this is no status
    /// event. Carries Twilio's idempotency token, if one was sent.
    Fallback(Option<&'a str>),
}

/// The events of a request: one, or one per element of an Event Streams array. Never none:
/// what nobody recognises is kept under a hash of its body. They are recognised by what was signed;
/// of that they hold what `privacy` lets be kept.
#[must_use]
pub fn events(
    request: &SignedRequest<'_, Verified<'_>>,
    purpose: Purpose<'_>,
    privacy: &Privacy,
    received_at: Timestamp,
) -> Vec<Event> {
    let (body, query) = match request.content() {
        Content::Query => (Bytes::copy_from_slice(request.query().as_bytes()), ""),
        Content::Form | Content::Json => (request.body().clone(), request.query()),
    };
    let format = match request.content() {
        Content::Query | Content::Form => Format::Form,
        Content::Json => Format::Json,
    };
    let account = request.verified().account.sid();
    let about = About { account, received_at, format, query, privacy };
    match (purpose, format) {
        (Purpose::Fallback(token), _) => {
            vec![about.fallback(&Fields::Form(request.params()), token, body)]
        }
        (Purpose::Status, Format::Form) => {
            vec![match recognise(&Fields::Form(request.params())) {
                Some(recognised) => about.event(recognised, body),
                None => about.unrecognised(body),
            }]
        }
        (Purpose::Status, Format::Json) => event_stream(&about, body),
    }
}

/// What the events of one request have in common.
struct About<'r> {
    account: &'r str,
    received_at: Timestamp,
    format: Format,
    query: &'r str,
    privacy: &'r Privacy,
}

impl About<'_> {
    fn event(&self, recognised: Recognised, body: Bytes) -> Event {
        let Recognised { key, kind, sid, resource, status, sequence, occurred_at } = recognised;
        let mut event = Event {
            key,
            kind,
            account: self.account.to_owned(),
            sid,
            resource,
            status,
            sequence,
            occurred_at,
            received_at: self.received_at,
            trace: None,
            format: self.format,
            query: self.query.to_owned(),
            body,
        };
        self.privacy.apply(&mut event);
        event
    }

    /// Kept under a hash of its body.
    fn unrecognised(&self, body: Bytes) -> Event {
        let key = EventKey::of_unrecognised(self.privacy.identity(), self.query, &body);
        self.event(Recognised::nothing(key, Kind::Other), body)
    }

    fn fallback(&self, fields: &Fields<'_>, token: Option<&str>, body: Bytes) -> Event {
        let sid = ["CallSid", "MessageSid", "SmsSid"].iter().find_map(|name| sid(fields, name));
        let key = EventKey::of_fallback(token, self.privacy.identity(), &body, self.received_at);
        self.event(Recognised { sid, ..Recognised::nothing(key, Kind::Fallback) }, body)
    }
}

/// What the parameters say.
struct Recognised {
    key: EventKey,
    kind: Kind,
    sid: Option<String>,
    resource: Option<Resource>,
    status: Option<String>,
    sequence: Option<i64>,
    occurred_at: Option<Timestamp>,
}

impl Recognised {
    /// Nothing but its identity.
    fn nothing(key: EventKey, kind: Kind) -> Self {
        Self {
            key,
            kind,
            sid: None,
            resource: None,
            status: None,
            sequence: None,
            occurred_at: None,
        }
    }
}

/// The first that fits, the most particular first: nearly all of them carry a `CallSid`, and a
/// call's own callback is known by having none of the others' fields. Synchronous detection puts
/// `AnsweredBy` into the call's own callbacks, so the asynchronous one comes last: it has no status.
fn recognise(fields: &Fields<'_>) -> Option<Recognised> {
    transcription(fields)
        .or_else(|| conference(fields))
        .or_else(|| debugger(fields))
        .or_else(|| message(fields))
        .or_else(|| recording(fields))
        .or_else(|| call(fields))
        .or_else(|| amd(fields))
}

fn call(fields: &Fields<'_>) -> Option<Recognised> {
    let (sid, status) = (sid(fields, "CallSid")?, status(fields, "CallStatus")?);
    Some(Recognised {
        key: EventKey::of(&[&sid, &status])?,
        kind: Kind::Call,
        resource: Some(Resource::Call),
        status: Some(status),
        sequence: integer(fields, "SequenceNumber"),
        occurred_at: fields.get("Timestamp").and_then(|text| Timestamp::parse_rfc2822(&text)),
        sid: Some(sid),
    })
}

fn message(fields: &Fields<'_>) -> Option<Recognised> {
    let sid = sid(fields, "MessageSid").or_else(|| sid(fields, "SmsSid"))?;
    let status = status(fields, "MessageStatus").or_else(|| status(fields, "SmsStatus"))?;
    Some(Recognised {
        key: EventKey::of(&[&sid, &status])?,
        kind: Kind::Message,
        resource: Some(Resource::Message),
        status: Some(status),
        sequence: None,
        occurred_at: fields.get("RawDlrDoneDate").and_then(|text| Timestamp::parse_dlr(&text)),
        sid: Some(sid),
    })
}

fn recording(fields: &Fields<'_>) -> Option<Recognised> {
    let (sid, status) = (sid(fields, "RecordingSid")?, status(fields, "RecordingStatus")?);
    Some(Recognised {
        key: EventKey::of(&[&sid, &status])?,
        kind: Kind::Recording,
        resource: Some(Resource::Recording),
        status: Some(status),
        sequence: None,
        occurred_at: None,
        sid: Some(sid),
    })
}

fn conference(fields: &Fields<'_>) -> Option<Recognised> {
    let (sid, event) = (sid(fields, "ConferenceSid")?, status(fields, "StatusCallbackEvent")?);
    let sequence = integer(fields, "SequenceNumber");
    let number = sequence.map_or("0".to_owned(), |number| number.to_string());
    Some(Recognised {
        key: EventKey::of(&[&sid, &number, &event])?,
        kind: Kind::Conference,
        resource: Some(Resource::Conference),
        status: Some(event),
        sequence,
        occurred_at: fields.get("Timestamp").and_then(|text| Timestamp::parse_rfc2822(&text)),
        sid: Some(sid),
    })
}

fn amd(fields: &Fields<'_>) -> Option<Recognised> {
    let (sid, answered_by) = (sid(fields, "CallSid")?, status(fields, "AnsweredBy")?);
    status(fields, "MachineDetectionDuration")?;
    Some(Recognised {
        key: EventKey::of(&[&sid, "amd"])?,
        kind: Kind::Amd,
        // Who answered is no status of the call.
        resource: None,
        status: Some(answered_by),
        sequence: None,
        occurred_at: None,
        sid: Some(sid),
    })
}

fn transcription(fields: &Fields<'_>) -> Option<Recognised> {
    let sid = sid(fields, "TranscriptionSid")?;
    let status =
        status(fields, "TranscriptionEvent").or_else(|| status(fields, "TranscriptionStatus"))?;
    let sequence = integer(fields, "SequenceId");
    let number = sequence.map_or(status.clone(), |number| number.to_string());
    Some(Recognised {
        key: EventKey::of(&[&sid, &number])?,
        kind: Kind::Transcription,
        resource: Some(Resource::Transcription),
        status: Some(status),
        sequence,
        occurred_at: fields.get("Timestamp").and_then(|text| Timestamp::parse_rfc3339(&text)),
        sid: Some(sid),
    })
}

fn debugger(fields: &Fields<'_>) -> Option<Recognised> {
    let sid = sid(fields, "Sid").filter(|sid| sid.starts_with("NO"))?;
    let level = status(fields, "Level")?;
    fields.get("Payload")?;
    Some(Recognised {
        key: EventKey::of(&[&sid])?,
        kind: Kind::Debugger,
        resource: None,
        status: Some(level),
        sequence: None,
        occurred_at: fields.get("Timestamp").and_then(|text| Timestamp::parse_rfc3339(&text)),
        sid: Some(sid),
    })
}

/// Event Streams: an array or one object, each element its own event. An array of more elements
/// than can be CloudEvents is kept whole: one request must not fill the queue of all others, nor
/// be refused for ever since it does.
fn event_stream(about: &About<'_>, body: Bytes) -> Vec<Event> {
    let elements: Option<Vec<&RawValue>> = serde_json::from_slice(&body)
        .or_else(|_| serde_json::from_slice::<&RawValue>(&body).map(|one| vec![one]))
        .ok();
    match elements {
        Some(elements) if (1..=MAX_ELEMENTS).contains(&elements.len()) => {
            let part = |element: &RawValue| body.slice_ref(element.get().as_bytes());
            elements.into_iter().map(|element| cloud_event(about, part(element))).collect()
        }
        _ => vec![about.unrecognised(body)],
    }
}

#[derive(Deserialize)]
struct CloudEvent<'a> {
    id: String,
    #[serde(rename = "type")]
    kind: String,
    time: Option<String>,
    /// As it was written: what is wrong inside of it, half a character or a number beyond all
    /// bounds, does not take the event its identity.
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

fn cloud_event(about: &About<'_>, element: Bytes) -> Event {
    match serde_json::from_slice(&element).ok().and_then(recognise_cloud) {
        Some(recognised) => about.event(recognised, element),
        None => about.unrecognised(element),
    }
}

fn recognise_cloud(cloud: CloudEvent<'_>) -> Option<Recognised> {
    let key = EventKey::of(&[&cloud.id])?;
    let data = cloud.data.and_then(|data| serde_json::from_str(data.get()).ok());
    let data = data.unwrap_or_default();
    let fields = Fields::of_cloud_data(&data);
    let (resource, sid, status) = match subject(&cloud.kind, &fields) {
        Some((resource, sid, status)) => (Some(resource), Some(sid), Some(status)),
        None => (None, None, None),
    };
    Some(Recognised {
        key,
        kind: Kind::EventStream,
        sid,
        resource,
        status,
        sequence: integer(&fields, "SequenceNumber"),
        occurred_at: cloud.time.as_deref().and_then(Timestamp::parse_rfc3339),
    })
}

/// The call or message that a CloudEvent reports a status of. Statuses are upper-case there.
fn subject(kind: &str, fields: &Fields<'_>) -> Option<(Resource, String, String)> {
    if let Some(event) = kind.strip_prefix("com.twilio.voice.status-callback.call.") {
        let event = if event == "answered" { "in-progress" } else { event };
        let status = status(fields, "CallStatus").or_else(|| status_of(event))?;
        return Some((Resource::Call, sid(fields, "CallSid")?, status));
    }
    let event = kind.strip_prefix("com.twilio.messaging.message.")?;
    let status = status(fields, "MessageStatus").or_else(|| status_of(event))?;
    Some((Resource::Message, sid(fields, "MessageSid")?, status))
}

fn sid(fields: &Fields<'_>, name: &str) -> Option<String> {
    fields.get(name).filter(|text| is_word(text)).map(Cow::into_owned)
}

fn status(fields: &Fields<'_>, name: &str) -> Option<String> {
    status_of(&fields.get(name)?)
}

/// A status in the spelling of callbacks: Event Streams writes `NO_ANSWER` for `no-answer`.
/// What has lower-case letters, `machine_end_beep`, stays as it is.
fn status_of(text: &str) -> Option<String> {
    if !is_word(text) {
        return None;
    }
    let shouted = !text.bytes().any(|byte| byte.is_ascii_lowercase());
    Some(if shouted { text.to_ascii_lowercase().replace('_', "-") } else { text.to_owned() })
}

/// Whether it can be part of a key: letters, digits and `-_.`, and not long.
fn is_word(text: &str) -> bool {
    /// SIDs have 34 characters, the longest status 28.
    const MAX: usize = 64;
    let ok = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    !text.is_empty() && text.len() <= MAX && text.bytes().all(ok)
}

fn integer(fields: &Fields<'_>, name: &str) -> Option<i64> {
    fields.get(name)?.parse().ok()
}

#[cfg(test)]
#[path = "callback_tests.rs"]
mod tests;
