//! Correctly signed, but unknown to this version: stored anyway, under the SID that it names.

use super::Recognised;
use crate::event::Kind;
use crate::twilio::fields::{Fields, is_sid};

/// The parameters that say what an event is about, the most particular first.
const SUBJECTS: [&str; 19] = [
    "CallSid",
    "MessageSid",
    "SmsSid",
    "RecordingSid",
    "ConferenceSid",
    "TranscriptionSid",
    "RoomSid",
    "ConversationSid",
    "TaskSid",
    "ReservationSid",
    "WorkerSid",
    "VerificationSid",
    "FaxSid",
    "ChannelSid",
    "StreamSid",
    "ResourceSid",
    "CorrelationSid",
    "Sid",
    "ParticipantSid",
];

/// Parameters that say where something belongs, and not what it is.
const CONTAINERS: [&str; 8] = [
    "AccountSid",
    "ParentAccountSid",
    "MessagingServiceSid",
    "ServiceSid",
    "ChatServiceSid",
    "InstanceSid",
    "WorkspaceSid",
    "ApplicationSid",
];

/// What nothing else recognises.
pub(in crate::twilio) fn recognise(fields: &Fields<'_>) -> Recognised {
    Recognised::mention(Kind::Other, subject(fields))
}

/// The SID of what an event is about: the first of the usual parameters that holds one, else of any
/// parameter that is called so.
pub(super) fn subject(fields: &Fields<'_>) -> Option<String> {
    let usual = SUBJECTS.iter().find_map(|name| fields.word(name));
    usual.or_else(|| {
        let plain = |name: &str| name.replace('_', "").to_ascii_lowercase();
        let named = |name: &str| {
            let name = plain(name);
            name.ends_with("sid") && CONTAINERS.iter().all(|other| plain(other) != name)
        };
        let all = fields.all();
        let found = all.into_iter().find(|(name, value)| named(name) && is_sid(value.as_bytes()));
        found.map(|(_, value)| value.into_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::twilio::params::Params;

    #[test]
    fn it_is_about_the_most_particular_sid_that_it_names() {
        let digits = "0".repeat(32);
        let check = |body: &str, expected: Option<&str>| {
            let params = Params::parse(body.as_bytes());
            assert_eq!(subject(&Fields::Form(&params)).as_deref(), expected, "{body}");
        };
        check("RoomSid=RM1&AccountSid=AC1", Some("RM1"));
        check("StreamSid=MZ1&CallSid=CA1", Some("CA1"));
        check("ConversationSid=CH1&MessageSid=IM1", Some("IM1"));
        check("AccountSid=AC1&WorkspaceSid=WS1", None);
        check(&format!("BundleSid=BU{digits}"), Some(&format!("BU{digits}")));
        check("BundleSid=x&Hello=World", None);
        let json = serde_json::json!({ "task_sid": "WT1", "account_sid": "AC1" });
        assert_eq!(subject(&Fields::Json(&json)).as_deref(), Some("WT1"));
    }
}
