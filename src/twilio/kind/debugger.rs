//! Twilio's debugger webhook: an error or a warning of the account, or of one of its sub-accounts.

use super::{Identity, Recognised};
use crate::clock::Timestamp;
use crate::event::{EventKey, Kind};
use crate::twilio::fields::Fields;

/// <https://www.twilio.com/docs/usage/troubleshooting/debugging-event-webhooks>
pub(super) fn recognise(fields: &Fields<'_>) -> Option<Recognised> {
    let sid = fields.word("Sid").filter(|sid| sid.starts_with("NO"))?;
    let level = fields.status("Level")?;
    fields.get("Payload")?;
    Some(Recognised {
        identity: Identity::Key(EventKey::of(&[&sid])?),
        status: Some(level),
        occurred_at: fields.get("Timestamp").and_then(|text| Timestamp::parse_rfc3339(&text)),
        ..Recognised::mention(Kind::Debugger, Some(sid))
    })
}
