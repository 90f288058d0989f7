//! Asynchronous answering-machine detection. Who answered is not a status of the call.

use super::{Identity, Recognised};
use crate::event::{EventKey, Kind};
use crate::twilio::fields::Fields;

/// <https://www.twilio.com/docs/voice/answering-machine-detection>
pub(super) fn recognise(fields: &Fields<'_>) -> Option<Recognised> {
    let (sid, answered_by) = (fields.word("CallSid")?, fields.status("AnsweredBy")?);
    fields.status("MachineDetectionDuration")?;
    Some(Recognised {
        identity: Identity::Key(EventKey::of(&[&sid, "amd"])?),
        status: Some(answered_by),
        ..Recognised::mention(Kind::Amd, Some(sid))
    })
}
