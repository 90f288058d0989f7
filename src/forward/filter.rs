//! [`Filter`]: which changes an endpoint takes. No I/O.

use crate::event::{Kind, Resource};

/// Which changes an endpoint takes. Whatever is set must hold.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Filter {
    /// Of these kinds.
    pub kinds: Vec<Kind>,
    /// With one of these statuses, in lower case; none: any, and also without one.
    pub statuses: Vec<String>,
    /// Only with a status after which no other follows.
    pub final_only: bool,
    /// Of these accounts; none: any.
    pub accounts: Vec<String>,
}

/// The kinds of status callbacks, whose answers Twilio does not use.
pub const STATUS_KINDS: [Kind; 6] =
    [Kind::Call, Kind::Message, Kind::Recording, Kind::Conference, Kind::Amd, Kind::Transcription];

/// The kinds whose answers Twilio acts by: the answer to one that is forwarded would be thrown away.
pub const ANSWERED_KINDS: [Kind; 2] = [Kind::TwimlRequest, Kind::Fallback];

impl Filter {
    /// Whether a change of this kind and account, which reports this status of this resource, is taken.
    #[must_use]
    pub fn takes_one(
        &self,
        kind: Kind,
        account: &str,
        resource: Option<Resource>,
        status: Option<&str>,
    ) -> bool {
        let is_final = || resource.zip(status).is_some_and(|(of, status)| of.is_final(status));
        let status_is_meant = || {
            self.statuses.is_empty()
                || status.is_some_and(|status| self.statuses.iter().any(|meant| meant == status))
        };
        self.kinds.contains(&kind)
            && (self.accounts.is_empty() || self.accounts.iter().any(|meant| meant == account))
            && status_is_meant()
            && (!self.final_only || is_final())
    }
}
