//! A message's status callback: SMS, MMS, WhatsApp, RCS.

use super::{Identity, Recognised};
use crate::clock::Timestamp;
use crate::event::status::{Lifecycle, Status};
use crate::event::{Kind, Resource};
use crate::twilio::fields::Fields;

/// `read` says that it was delivered: the two do not contradict each other.
/// <https://www.twilio.com/docs/messaging/api/message-resource#message-status-values>
pub(crate) const LIFECYCLE: Lifecycle = Lifecycle {
    statuses: &[
        Status::passing("accepted", 10),
        Status::passing("scheduled", 15),
        Status::passing("queued", 20),
        Status::passing("sending", 30),
        Status::passing("sent", 40),
        Status::passing("receiving", 50),
        Status::passing("received", 60),
        Status::terminal("delivered", 1).above(10),
        Status::terminal("undelivered", 4).failure(),
        Status::terminal("failed", 2).failure(),
        Status::terminal("canceled", 8),
        Status::terminal("read", 1).above(20),
    ],
    others: Lifecycle::UNKNOWN,
};

/// Segments of a message can fail with different codes, one callback each.
pub(super) fn recognise(fields: &Fields<'_>) -> Option<Recognised> {
    let sid = fields.word("MessageSid").or_else(|| fields.word("SmsSid"))?;
    let status = fields.status("MessageStatus").or_else(|| fields.status("SmsStatus"))?;
    Some(Recognised {
        identity: Identity::with_error(&sid, &status, fields)?,
        kind: Kind::Message,
        resource: Some(Resource::Message),
        status: Some(status),
        sequence: None,
        occurred_at: fields.get("RawDlrDoneDate").and_then(|text| Timestamp::parse_dlr(&text)),
        sid: Some(sid),
    })
}
