//! A request to a fallback URL. It repeats a call's SID and status, and moves no status.

use super::Recognised;
use crate::event::Kind;
use crate::twilio::fields::Fields;

/// Any request to a fallback route.
pub(in crate::twilio) fn recognise(fields: &Fields<'_>) -> Recognised {
    let sid = ["CallSid", "MessageSid", "SmsSid"].iter().find_map(|name| fields.word(name));
    Recognised::mention(Kind::Fallback, sid)
}
