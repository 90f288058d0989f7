//! [`Filter`]: which changes an endpoint takes. No I/O.

use crate::event::{Change, Kind};

/// Which changes an endpoint gets. A change must match every field that is set.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Filter {
    /// The kinds that match.
    pub kinds: Vec<Kind>,
    /// The statuses that match, in lower case; if empty, every change matches, also one without a status.
    pub statuses: Vec<String>,
    /// Only with a status after which no other follows.
    pub final_only: bool,
    /// The accounts that match; if empty, all do.
    pub accounts: Vec<String>,
}

/// The kinds of status callbacks, whose answers Twilio does not use.
pub const STATUS_KINDS: [Kind; 6] =
    [Kind::Call, Kind::Message, Kind::Recording, Kind::Conference, Kind::Amd, Kind::Transcription];

/// The kinds whose answers Twilio acts by: the answer to one that is forwarded as Twilio sent it would be thrown away.
pub const ANSWERED_KINDS: [Kind; 3] = [Kind::TwimlRequest, Kind::Fallback, Kind::IncomingMessage];

/// The kinds that say nothing beside asking for an answer.
pub const ASKING_KINDS: [Kind; 2] = [Kind::TwimlRequest, Kind::Fallback];

impl Filter {
    /// Whether a change is taken. One that is not counts as done.
    #[must_use]
    pub fn takes(&self, change: &Change) -> bool {
        let status = change.status.as_deref();
        let is_meant = |status: &str| self.statuses.iter().any(|meant| meant == status);
        let is_final = || change.resource.zip(status).is_some_and(|(of, it)| of.is_final(it));
        self.kinds.contains(&change.kind)
            && (self.accounts.is_empty() || self.accounts.contains(&change.account))
            && (self.statuses.is_empty() || status.is_some_and(is_meant))
            && (!self.final_only || is_final())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::change;
    use super::*;

    /// A filter for calls and messages.
    fn filter() -> Filter {
        Filter {
            kinds: vec![Kind::Call, Kind::Message],
            statuses: Vec::new(),
            final_only: false,
            accounts: Vec::new(),
        }
    }

    #[test]
    fn whatever_is_set_must_hold() {
        let texts = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        let check = |filter: &Filter, taken: &[&str]| {
            let statuses = ["initiated", "completed", "busy"];
            let found = statuses.into_iter().filter(|status| filter.takes(&change(status)));
            assert_eq!(found.collect::<Vec<_>>(), taken, "{filter:?}");
        };
        check(&filter(), &["initiated", "completed", "busy"]);
        check(&Filter { kinds: vec![Kind::Message], ..filter() }, &[]);
        check(&Filter { final_only: true, ..filter() }, &["completed", "busy"]);
        let some = Filter { statuses: texts(&["initiated", "busy"]), ..filter() };
        check(&some, &["initiated", "busy"]);
        check(&Filter { final_only: true, ..some.clone() }, &["busy"]);
        check(&Filter { accounts: texts(&["AC1", "AC2"]), ..some.clone() }, &["initiated", "busy"]);
        check(&Filter { accounts: texts(&["AC2"]), ..some }, &[]);
    }

    #[test]
    fn what_reports_no_status_is_taken_where_none_is_asked_for() {
        let silent = Change { status: None, resource: None, ..change("completed") };
        assert!(filter().takes(&silent));
        assert!(!Filter { final_only: true, ..filter() }.takes(&silent));
        assert!(!Filter { statuses: vec!["completed".to_owned()], ..filter() }.takes(&silent));
    }

    #[test]
    fn every_kind_is_one_whose_answer_is_used_or_can_be_forwarded_as_it_is() {
        assert!(STATUS_KINDS.iter().all(|kind| !ANSWERED_KINDS.contains(kind)));
        assert!(ASKING_KINDS.iter().all(|kind| ANSWERED_KINDS.contains(kind)));
        let others = Kind::ALL.len() - STATUS_KINDS.len() - ANSWERED_KINDS.len();
        assert_eq!(others, 4, "debugger, email, event_stream, other");
    }
}
