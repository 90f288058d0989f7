//! [`Evidence`]: what the events of an attempt prove about it. Callbacks carry its id, and so does the answer to its
//! POST, which is an event as well; they come in any order, several times, and may contradict each other.

use super::AttemptState;
use crate::event::Resource;

/// One event that carries the id of an attempt.
#[derive(Clone, Copy, Debug)]
pub struct Heard<'a> {
    /// The resource that it is about.
    pub sid: &'a str,
    /// The account that signed it.
    pub account: &'a str,
    /// What the resource is, if the event moves its status.
    pub resource: Option<Resource>,
    /// The status that it reports, in lower case.
    pub status: &'a str,
    /// Twilio's error code, if it reports one.
    pub error_code: Option<&'a str>,
}

/// How far it is proven that a message came.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// The provider has it.
    Accepted,
    /// It was delivered.
    Confirmed,
    /// It cannot be delivered.
    Failed {
        /// Twilio's error code, if it gave one.
        code: Option<String>,
    },
}

/// What is proven.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Proof {
    /// The message that counts: of several the one that came furthest, and of those the first by its SID, so that
    /// the order of arrival decides nothing.
    pub sid: String,
    /// How far it came.
    pub outcome: Outcome,
}

/// What the events of an attempt say.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Evidence {
    /// What is proven; `None` if nothing is.
    pub proof: Option<Proof>,
    /// Other messages of the same attempt: the recipient has it twice, and it was paid for twice.
    pub duplicates: Vec<String>,
    /// Events that another account signed, or that are about another kind of resource: they prove nothing.
    pub mismatches: usize,
}

impl Evidence {
    /// What these events prove about an attempt of this account to send a message.
    #[must_use]
    pub fn of<'a>(account: &str, heard: impl IntoIterator<Item = Heard<'a>>) -> Self {
        let mut mismatches = 0;
        let mut messages: Vec<Message<'a>> = Vec::new();
        for one in heard {
            if one.account != account || one.resource != Some(RESOURCE) || one.sid.is_empty() {
                mismatches += 1;
                continue;
            }
            let said = Message::of(&one);
            match messages.iter_mut().find(|known| known.sid == said.sid) {
                Some(known) => known.merge(said),
                None => messages.push(said),
            }
        }
        messages.sort_by(|a, b| b.strength().cmp(&a.strength()).then(a.sid.cmp(b.sid)));
        let mut messages = messages.into_iter();
        let proof = messages.next().map(Message::into_proof);
        let mut duplicates: Vec<String> = messages.map(|other| other.sid.to_owned()).collect();
        duplicates.sort_unstable();
        Self { proof, duplicates, mismatches }
    }
}

/// What becomes of an attempt in this state by a proof; `None` if it stays. Proof overrides what was inferred, and
/// what the sending half believes: that an attempt is due, has expired, or was cancelled. What is settled by proof goes
/// on only from failed to confirmed, as a message does that a carrier reports both of.
#[must_use]
pub fn settled(state: AttemptState, outcome: &Outcome) -> Option<AttemptState> {
    use AttemptState::{Accepted, Confirmed, Failed, Unconfirmed};
    let next = match outcome {
        Outcome::Accepted => Accepted,
        Outcome::Confirmed => Confirmed,
        Outcome::Failed { .. } => Failed,
    };
    let stays = match state {
        Confirmed => true,
        Failed => next != Confirmed,
        Accepted | Unconfirmed => next == Accepted,
        _ => false,
    };
    (!stays).then_some(next)
}

/// What an attempt creates.
const RESOURCE: Resource = Resource::Message;

/// What is known of one SID: its furthest status, and its furthest error.
#[derive(Debug)]
struct Message<'a> {
    sid: &'a str,
    status: (u8, &'a str),
    error: Option<(u8, &'a str, &'a str)>,
}

impl<'a> Message<'a> {
    fn of(heard: &Heard<'a>) -> Self {
        let status = (RESOURCE.rank(heard.status), heard.status);
        let code = heard.error_code.filter(|code| !matches!(*code, "" | "0"));
        Self { sid: heard.sid, status, error: code.map(|code| (status.0, status.1, code)) }
    }

    /// The law of the store, as far as it can be applied without times: the further status wins, the error of a further
    /// one as well, and of equals the later in the alphabet.
    fn merge(&mut self, other: Self) {
        self.status = self.status.max(other.status);
        self.error = self.error.max(other.error);
    }

    fn outcome(&self) -> Outcome {
        let (_, status) = self.status;
        match (matches!(status, "delivered" | "read"), RESOURCE.is_final(status)) {
            (true, _) => Outcome::Confirmed,
            (false, true) => {
                Outcome::Failed { code: self.error.map(|(_, _, code)| code.to_owned()) }
            }
            (false, false) => Outcome::Accepted,
        }
    }

    /// A message that can still arrive counts for more than one that has failed.
    fn strength(&self) -> u8 {
        match self.outcome() {
            Outcome::Confirmed => 2,
            Outcome::Accepted => 1,
            Outcome::Failed { .. } => 0,
        }
    }

    fn into_proof(self) -> Proof {
        Proof { sid: self.sid.to_owned(), outcome: self.outcome() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn heard(sid: &'static str, status: &'static str) -> Heard<'static> {
        let resource = Some(Resource::Message);
        Heard { sid, account: "AC1", resource, status, error_code: None }
    }

    fn failed(code: &str) -> Outcome {
        Outcome::Failed { code: Some(code.to_owned()) }
    }

    #[test]
    fn the_furthest_status_counts_in_whatever_order_it_comes() {
        let check = |statuses: &[&'static str], expected: Option<Outcome>| {
            for statuses in [statuses.to_vec(), statuses.iter().rev().copied().collect()] {
                let found = Evidence::of("AC1", statuses.iter().map(|status| heard("SM1", status)));
                assert_eq!(found.proof.map(|proof| proof.outcome), expected, "{statuses:?}");
                assert_eq!((found.duplicates.len(), found.mismatches), (0, 0));
            }
        };
        check(&[], None);
        check(&["queued"], Some(Outcome::Accepted));
        check(&["unheard-of"], Some(Outcome::Accepted));
        check(&["queued", "sent"], Some(Outcome::Accepted));
        check(&["queued", "sent", "delivered"], Some(Outcome::Confirmed));
        check(&["read", "sent"], Some(Outcome::Confirmed));
        check(&["delivered", "undelivered"], Some(Outcome::Confirmed));
        check(&["sent", "failed"], Some(Outcome::Failed { code: None }));
        check(&["canceled"], Some(Outcome::Failed { code: None }));
    }

    #[test]
    fn a_failure_has_the_code_of_its_furthest_event() {
        let coded = |status, code| Heard { error_code: Some(code), ..heard("SM1", status) };
        let check = |events: &[Heard<'_>], expected: &str| {
            let proof = Evidence::of("AC1", events.iter().copied()).proof.unwrap();
            assert_eq!(proof.outcome, failed(expected));
        };
        check(&[coded("undelivered", "30003"), coded("sent", "30008")], "30003");
        check(&[heard("SM1", "undelivered"), coded("sent", "30008")], "30008");
        check(&[coded("undelivered", "30003"), coded("undelivered", "0")], "30003");
    }

    #[test]
    fn another_account_or_another_kind_proves_nothing_and_is_counted() {
        let strange = [
            Heard { account: "AC2", ..heard("SM1", "delivered") },
            Heard { resource: Some(Resource::Call), ..heard("CA1", "completed") },
            Heard { resource: None, ..heard("SM1", "delivered") },
        ];
        let found = Evidence::of("AC1", strange);
        assert_eq!(found, Evidence { mismatches: 3, ..Evidence::default() });
        let found = Evidence::of("AC1", strange.into_iter().chain([heard("SM1", "sent")]));
        let proof = Proof { sid: "SM1".to_owned(), outcome: Outcome::Accepted };
        assert_eq!(found, Evidence { proof: Some(proof), mismatches: 3, ..Evidence::default() });
    }

    #[test]
    fn a_second_sid_is_a_duplicate_and_the_one_that_came_counts() {
        let found = Evidence::of("AC1", [heard("SM1", "failed"), heard("SM2", "delivered")]);
        let proof = Proof { sid: "SM2".to_owned(), outcome: Outcome::Confirmed };
        assert_eq!((found.proof, found.duplicates), (Some(proof), vec!["SM1".to_owned()]));
        let found = Evidence::of("AC1", [heard("SM2", "sent"), heard("SM1", "failed")]);
        assert_eq!(found.proof.unwrap().outcome, Outcome::Accepted);
    }

    #[test]
    fn proof_settles_every_state_and_never_takes_a_proof_back() {
        use AttemptState::*;
        let check = |outcome: &Outcome, stays: &[AttemptState], next: AttemptState| {
            for state in AttemptState::ALL {
                let expected = (!stays.contains(&state)).then_some(next);
                assert_eq!(settled(state, outcome), expected, "{state:?}");
            }
        };
        check(&Outcome::Accepted, &[Accepted, Confirmed, Failed, Unconfirmed], Accepted);
        check(&Outcome::Confirmed, &[Confirmed], Confirmed);
        check(&failed("30003"), &[Confirmed, Failed], Failed);
    }

    fn events() -> impl Strategy<Value = Vec<Heard<'static>>> {
        let statuses = ["queued", "sent", "delivered", "read", "undelivered", "failed", "odd"];
        let event = (
            prop::sample::select(vec!["SM1", "SM2", "SM3"]),
            prop::sample::select(vec!["AC1", "AC1", "AC2"]),
            prop::sample::select(statuses.to_vec()),
            prop::sample::select(vec![None, Some("0"), Some("30003"), Some("30007")]),
        );
        let event = event.prop_map(|(sid, account, status, error_code)| Heard {
            account,
            error_code,
            ..heard(sid, status)
        });
        prop::collection::vec(event, 0..12)
    }

    proptest! {
        #[test]
        fn neither_order_nor_repetition_of_events_changes_what_they_prove(
            (events, shuffled) in events().prop_flat_map(|events| {
                (Just(events.clone()), Just(events).prop_shuffle())
            })
        ) {
            let found = Evidence::of("AC1", events.iter().copied());
            prop_assert_eq!(&found, &Evidence::of("AC1", shuffled));
            let twice = Evidence::of("AC1", events.iter().chain(&events).copied());
            prop_assert_eq!(twice.proof, found.proof);
            prop_assert_eq!(twice.duplicates, found.duplicates);
        }

        #[test]
        fn one_more_event_never_takes_a_confirmation_back(events in events(), more in events()) {
            let before = Evidence::of("AC1", events.iter().copied());
            let after = Evidence::of("AC1", events.iter().chain(&more).copied());
            let confirmed = |found: &Evidence| {
                found.proof.as_ref().is_some_and(|proof| proof.outcome == Outcome::Confirmed)
            };
            prop_assert!(!confirmed(&before) || confirmed(&after));
            prop_assert!(after.duplicates.len() >= before.duplicates.len());
        }
    }
}
