//! Something happened in a conference.

use super::{Identity, Recognised};
use crate::clock::Timestamp;
use crate::event::status::{Lifecycle, Status};
use crate::event::{EventKey, Kind, Resource};
use crate::twilio::fields::Fields;

/// The statuses of a conference. The sequence number alone orders all of them except the end.
/// <https://www.twilio.com/docs/voice/twiml/conference#attributes-statusCallbackEvent>
pub(crate) const LIFECYCLE: Lifecycle =
    Lifecycle { statuses: &[Status::terminal("conference-end", 1)], others: 40 };

/// Two participants join under the same event name: without a sequence number, the content distinguishes them.
pub(super) fn recognise(fields: &Fields<'_>) -> Option<Recognised> {
    let (sid, event) = (fields.word("ConferenceSid")?, fields.status("StatusCallbackEvent")?);
    let sequence = fields.integer("SequenceNumber");
    let identity = match sequence {
        Some(number) => Identity::Key(EventKey::of(&[&sid, &number.to_string(), &event])?),
        None => Identity::ContentOf(sid.clone(), event.clone()),
    };
    Some(Recognised {
        identity,
        kind: Kind::Conference,
        resource: Some(Resource::Conference),
        status: Some(event),
        sequence,
        occurred_at: fields.get("Timestamp").and_then(|text| Timestamp::parse_rfc2822(&text)),
        sid: Some(sid),
    })
}
