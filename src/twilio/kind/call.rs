//! A call's status callback: one that says so.
//!
//! Each request of a call's TwiML carries `CallSid` and `CallStatus`, too. Under the name
//! `<CallSid>-<CallStatus>` it would take the place of the status.

use super::{Identity, Recognised, twiml_request};
use crate::clock::Timestamp;
use crate::event::status::{Lifecycle, Status};
use crate::event::{Kind, Resource};
use crate::twilio::fields::Fields;

/// <https://www.twilio.com/docs/voice/api/call-resource#statuscallback>
pub(crate) const LIFECYCLE: Lifecycle = Lifecycle {
    statuses: &[
        Status::passing("queued", 10),
        Status::passing("initiated", 20),
        Status::passing("ringing", 30),
        Status::passing("in-progress", 40),
        Status::terminal("completed", 1),
        Status::terminal("busy", 4),
        Status::terminal("failed", 2).failure(),
        Status::terminal("no-answer", 16),
        Status::terminal("canceled", 8),
    ],
    others: Lifecycle::UNKNOWN,
};

/// Twilio's value of `CallbackSource`, which each of its status callbacks has.
const SOURCE: &str = "call-progress-events";

pub(super) fn recognise(fields: &Fields<'_>) -> Option<Recognised> {
    let (sid, status) = (fields.word("CallSid")?, fields.status("CallStatus")?);
    if !is_status_callback(fields) {
        return None;
    }
    Some(Recognised {
        identity: Identity::with_error(&sid, &status, fields)?,
        kind: Kind::Call,
        resource: Some(Resource::Call),
        status: Some(status),
        sequence: fields.integer("SequenceNumber"),
        occurred_at: fields.get("Timestamp").and_then(|text| Timestamp::parse_rfc2822(&text)),
        sid: Some(sid),
    })
}

/// Compatible providers leave the source out; then it is what only a status callback has. A sequence
/// number is not: the partial results of a Gather have one.
fn is_status_callback(fields: &Fields<'_>) -> bool {
    match fields.get("CallbackSource") {
        Some(source) => source == SOURCE,
        None => {
            fields.has_any(&["CallDuration", "Timestamp"])
                && twiml_request::verb_by_its_fields(fields).is_none()
        }
    }
}
