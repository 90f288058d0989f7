//! A piece or the status of a transcription.

use super::{Identity, Recognised};
use crate::clock::Timestamp;
use crate::event::status::{Lifecycle, Status};
use crate::event::{EventKey, Kind, Resource};
use crate::twilio::fields::Fields;

/// A piece of what is said, of which there are many.
const CONTENT: &str = "transcription-content";

/// <https://www.twilio.com/docs/voice/twiml/transcription>
pub(crate) const LIFECYCLE: Lifecycle = Lifecycle {
    statuses: &[
        Status::passing("transcription-started", 20),
        Status::passing(CONTENT, 40),
        Status::passing("in-progress", 40),
        Status::terminal("transcription-stopped", 1),
        Status::terminal("completed", 1),
        Status::terminal("transcription-error", 2).failure(),
        Status::terminal("failed", 2).failure(),
    ],
    others: Lifecycle::UNKNOWN,
};

/// The number distinguishes pieces, or else their content.
pub(super) fn recognise(fields: &Fields<'_>) -> Option<Recognised> {
    let sid = fields.word("TranscriptionSid")?;
    let status =
        fields.status("TranscriptionEvent").or_else(|| fields.status("TranscriptionStatus"))?;
    let sequence = fields.integer("SequenceId");
    let identity = match sequence {
        Some(number) => Identity::Key(EventKey::of(&[&sid, &number.to_string()])?),
        None if status == CONTENT => Identity::ContentOf(sid.clone(), status.clone()),
        None => Identity::with_error(&sid, &status, fields)?,
    };
    Some(Recognised {
        identity,
        kind: Kind::Transcription,
        resource: Some(Resource::Transcription),
        status: Some(status),
        sequence,
        occurred_at: fields.get("Timestamp").and_then(|text| Timestamp::parse_rfc3339(&text)),
        sid: Some(sid),
    })
}
