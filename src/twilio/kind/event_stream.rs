//! One CloudEvent from Event Streams.

use serde_json::Value;

use super::{Identity, Recognised, other};
use crate::clock::Timestamp;
use crate::event::{EventKey, Kind, Resource};
use crate::twilio::fields::{Fields, status_of};

/// An element of JSON that is a CloudEvent: it says its type. One whose id cannot be a key goes by
/// all that it says.
/// <https://www.twilio.com/docs/events/event-types>
pub(in crate::twilio) fn recognise(element: &Value) -> Option<Recognised> {
    let kind = element["type"].as_str()?;
    let id = Fields::Json(element).get("id");
    let fields = Fields::of_cloud_data(&element["data"]);
    let (resource, sid, status) = match moved(kind, &fields) {
        Some((resource, sid, status)) => (Some(resource), Some(sid), Some(status)),
        None => (None, other::subject(&fields), None),
    };
    if id.is_none() && sid.is_none() {
        return None;
    }
    Some(Recognised {
        identity: id.and_then(|id| EventKey::of(&[&id])).map_or(Identity::Content, Identity::Key),
        kind: Kind::EventStream,
        sid,
        resource,
        status,
        sequence: fields.integer("SequenceNumber"),
        occurred_at: element["time"].as_str().and_then(Timestamp::parse_rfc3339),
    })
}

/// The call or message that it reports a status of. Statuses are upper-case there.
fn moved(kind: &str, fields: &Fields<'_>) -> Option<(Resource, String, String)> {
    if let Some(event) = kind.strip_prefix("com.twilio.voice.status-callback.call.") {
        let event = if event == "answered" { "in-progress" } else { event };
        let status = fields.status("CallStatus").or_else(|| status_of(event))?;
        return Some((Resource::Call, fields.word("CallSid")?, status));
    }
    let event = kind.strip_prefix("com.twilio.messaging.message.")?;
    let status = fields.status("MessageStatus").or_else(|| status_of(event))?;
    Some((Resource::Message, fields.word("MessageSid")?, status))
}

/// The accounts that it names: of the request that it repeats, and its own.
pub(crate) fn accounts(element: &Value) -> impl Iterator<Item = String> {
    let data = &element["data"];
    let all = [Fields::of_cloud_data(data), Fields::Json(data)];
    all.into_iter().filter_map(|fields| fields.word("AccountSid"))
}
