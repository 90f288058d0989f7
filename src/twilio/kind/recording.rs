//! A recording's status callback.

use super::{Identity, Recognised};
use crate::event::status::{Lifecycle, Status};
use crate::event::{Kind, Resource};
use crate::twilio::fields::Fields;

/// `deleted` says that it existed: it contradicts nothing.
/// <https://www.twilio.com/docs/voice/api/recording>
pub(crate) const LIFECYCLE: Lifecycle = Lifecycle {
    statuses: &[
        Status::passing("in-progress", 40),
        Status::passing("paused", 40),
        Status::passing("stopped", 50),
        Status::passing("processing", 60),
        Status::terminal("completed", 1),
        Status::terminal("absent", 4).failure(),
        Status::terminal("failed", 2).failure(),
        Status::terminal("deleted", 0).above(10),
    ],
    others: Lifecycle::UNKNOWN,
};

pub(super) fn recognise(fields: &Fields<'_>) -> Option<Recognised> {
    let (sid, status) = (fields.word("RecordingSid")?, fields.status("RecordingStatus")?);
    Some(Recognised {
        identity: Identity::with_error(&sid, &status, fields)?,
        kind: Kind::Recording,
        resource: Some(Resource::Recording),
        status: Some(status),
        sequence: None,
        occurred_at: None,
        sid: Some(sid),
    })
}
