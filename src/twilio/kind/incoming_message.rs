//! A message that came in: Twilio asks the URL of the number, or of its Messaging Service, what to answer.
//! <https://www.twilio.com/docs/messaging/guides/webhook-request>

use super::{Identity, Recognised};
use crate::event::{Kind, Resource};
use crate::twilio::fields::Fields;

/// The statuses of what comes in. <https://www.twilio.com/docs/messaging/api/message-resource#message-status-values>
const STATUSES: [&str; 2] = ["receiving", "received"];

/// Before [`message`](super::message), which takes what reports the status of one that goes out: that has no content.
pub(in crate::twilio) fn recognise(fields: &Fields<'_>) -> Option<Recognised> {
    let status = fields.status("SmsStatus").or_else(|| fields.status("MessageStatus"))?;
    if !STATUSES.contains(&&*status) || !fields.has_any(&["Body", "NumMedia"]) {
        return None;
    }
    let sid = fields.word("MessageSid").or_else(|| fields.word("SmsSid"))?;
    Some(Recognised {
        identity: Identity::with_error(&sid, &status, fields)?,
        kind: Kind::IncomingMessage,
        resource: Some(Resource::Message),
        status: Some(status),
        sequence: None,
        occurred_at: None,
        sid: Some(sid),
    })
}
