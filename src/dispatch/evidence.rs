//! [`Evidence`]: what the events of an attempt prove about it. Callbacks carry its id, and so does the answer to its
//! POST, which is an event as well; they come in any order, several times, and may contradict each other.

use super::{AttemptState, Channel, Confirm, Reach};
use crate::event::{Callee, Resource};
use crate::labels::Label;

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
    /// What the callee has done, if it says so.
    pub callee: Option<Callee>,
}

/// How far it is proven that a message or a call came.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// The provider has it.
    Accepted,
    /// A call was answered and is over, and what confirms it has not come so far.
    Ended {
        /// By whom it was answered, in a word.
        by: &'static str,
    },
    /// It was delivered, or a call was confirmed.
    Confirmed,
    /// It cannot be delivered.
    Failed {
        /// The provider's error code, if it gave one.
        code: Option<String>,
        /// The final status of a call, `busy`, `no-answer`, `failed` or `canceled`, or of an email, `bounce` or `dropped`;
        /// `None` for a message.
        status: Option<String>,
    },
}

/// What is proven.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Proof {
    /// The message or call that counts: of several the one that came furthest, and of those the first by its SID, so that
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
    /// Other messages or calls of the same attempt: the recipient has it twice, and it was paid for twice.
    pub duplicates: Vec<String>,
    /// Events that another account signed, or that are about another kind of resource: they prove nothing.
    pub mismatches: usize,
    /// Whether something is proven, and all of it has a final status: none of its calls is open.
    pub is_over: bool,
}

impl Evidence {
    /// What these events prove about an attempt of this account that reaches its recipient so.
    #[must_use]
    pub fn of<'a>(account: &str, reach: Reach, heard: impl IntoIterator<Item = Heard<'a>>) -> Self {
        let mut mismatches = 0;
        let mut all: Vec<Created<'a>> = Vec::new();
        for one in heard {
            if one.account != account || !is_about(reach.channel(), &one) {
                mismatches += 1;
                continue;
            }
            let said = Created::of(reach.channel(), &one);
            match all.iter_mut().find(|known| known.sid == said.sid) {
                Some(known) => known.merge(said),
                None => all.push(said),
            }
        }
        all.sort_by(|a, b| b.strength(reach).cmp(&a.strength(reach)).then(a.sid.cmp(b.sid)));
        let is_over = !all.is_empty() && all.iter().all(|one| one.is_final(reach.channel()));
        let mut all = all.into_iter();
        let proof = all.next().map(|one| one.into_proof(reach));
        let mut duplicates: Vec<String> = all.map(|other| other.sid.to_owned()).collect();
        duplicates.sort_unstable();
        Self { proof, duplicates, mismatches, is_over }
    }
}

/// What becomes of an attempt in this state by a proof; `None` if it stays. Proof overrides what was inferred, and
/// what the sending half believes: that an attempt is due, has expired, or was cancelled. What is settled by proof goes
/// on only from failed to confirmed, as a message does that a carrier reports both of; of an email the other way, since a
/// server that has taken it may still return it.
#[must_use]
pub fn settled(state: AttemptState, channel: Channel, outcome: &Outcome) -> Option<AttemptState> {
    use AttemptState::{Accepted, Confirmed, Failed, Unconfirmed};
    let next = match outcome {
        // What confirms it may still be on its way: time ends it.
        Outcome::Accepted | Outcome::Ended { .. } => Accepted,
        Outcome::Confirmed => Confirmed,
        Outcome::Failed { .. } => Failed,
    };
    let stays = match state {
        Confirmed => channel != Channel::Email || next != Failed,
        Failed => next != Confirmed,
        Accepted | Unconfirmed => next == Accepted,
        _ => false,
    };
    (!stays).then_some(next)
}

/// What an attempt creates.
#[must_use]
pub const fn resource(channel: Channel) -> Resource {
    match channel {
        Channel::Message => Resource::Message,
        Channel::Call => Resource::Call,
        Channel::Email => Resource::Email,
    }
}

/// Whether an event is about what an attempt of this channel creates. What a callee does moves no status, so that such
/// an event has no resource.
fn is_about(channel: Channel, heard: &Heard<'_>) -> bool {
    let says_callee = channel == Channel::Call
        && heard.resource.is_none()
        && heard.callee.is_some()
        && heard.sid.starts_with("CA");
    !heard.sid.is_empty() && (heard.resource == Some(resource(channel)) || says_callee)
}

/// What is known of one SID: its furthest status, its furthest error, and of a call what else was heard of it.
#[derive(Debug)]
struct Created<'a> {
    sid: &'a str,
    status: (u8, &'a str),
    error: Option<(u8, &'a str, &'a str)>,
    was_answered: bool,
    /// A bit for each [`Callee`].
    callee: u8,
}

impl<'a> Created<'a> {
    fn of(channel: Channel, heard: &Heard<'a>) -> Self {
        // Of a request that is no status callback, the status is something else.
        let status = if heard.resource.is_some() { heard.status } else { "" };
        let rank = if status.is_empty() { 0 } else { resource(channel).rank(status) };
        let code = heard.error_code.filter(|code| !matches!(*code, "" | "0"));
        Self {
            sid: heard.sid,
            status: (rank, status),
            error: code.map(|code| (rank, status, code)),
            was_answered: matches!(status, "in-progress" | "completed"),
            callee: heard.callee.map_or(0, bit),
        }
    }

    /// The law of the store, as far as it can be applied without times: the further status wins, the error of a further
    /// one as well, and of equals the later in the alphabet.
    fn merge(&mut self, other: Self) {
        self.status = self.status.max(other.status);
        self.error = self.error.max(other.error);
        self.was_answered |= other.was_answered;
        self.callee |= other.callee;
    }

    fn is_final(&self, channel: Channel) -> bool {
        resource(channel).is_final(self.status.1)
    }

    fn outcome(&self, reach: Reach) -> Outcome {
        let (_, status) = self.status;
        let is_confirmed = match reach {
            Reach::Message => matches!(status, "delivered" | "read"),
            Reach::Email => status == "delivered",
            Reach::Call(Confirm::Digit) => self.has(Callee::PressedOne),
            Reach::Call(Confirm::Human) => self.has(Callee::Human),
            Reach::Call(Confirm::Answered) => self.was_answered,
        };
        if is_confirmed {
            return Outcome::Confirmed;
        }
        match (reach.channel(), self.is_final(reach.channel())) {
            (_, false) => Outcome::Accepted,
            (Channel::Call, true) if status == "completed" => Outcome::Ended {
                by: if self.has(Callee::Machine) { "machine" } else { "completed" },
            },
            (channel, true) => Outcome::Failed {
                code: self.error.map(|(_, _, code)| code.to_owned()),
                status: (channel != Channel::Message).then(|| status.to_owned()),
            },
        }
    }

    fn has(&self, callee: Callee) -> bool {
        self.callee & bit(callee) != 0
    }

    /// What can still arrive counts for more than what has failed.
    fn strength(&self, reach: Reach) -> u8 {
        match self.outcome(reach) {
            Outcome::Confirmed => 3,
            Outcome::Accepted => 2,
            Outcome::Ended { .. } => 1,
            Outcome::Failed { .. } => 0,
        }
    }

    fn into_proof(self, reach: Reach) -> Proof {
        Proof { sid: self.sid.to_owned(), outcome: self.outcome(reach) }
    }
}

fn bit(callee: Callee) -> u8 {
    1 << Label::place(callee)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn heard(sid: &'static str, status: &'static str) -> Heard<'static> {
        let resource = Some(Resource::Message);
        Heard { sid, account: "AC1", resource, status, error_code: None, callee: None }
    }

    fn failed(code: &str) -> Outcome {
        Outcome::Failed { code: Some(code.to_owned()), status: None }
    }

    #[test]
    fn the_furthest_status_counts_in_whatever_order_it_comes() {
        let check = |statuses: &[&'static str], expected: Option<Outcome>| {
            for statuses in [statuses.to_vec(), statuses.iter().rev().copied().collect()] {
                let found = Evidence::of(
                    "AC1",
                    Reach::Message,
                    statuses.iter().map(|status| heard("SM1", status)),
                );
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
        check(&["sent", "failed"], Some(Outcome::Failed { code: None, status: None }));
        check(&["canceled"], Some(Outcome::Failed { code: None, status: None }));
    }

    #[test]
    fn a_failure_has_the_code_of_its_furthest_event() {
        let coded = |status, code| Heard { error_code: Some(code), ..heard("SM1", status) };
        let check = |events: &[Heard<'_>], expected: &str| {
            let proof = Evidence::of("AC1", Reach::Message, events.iter().copied()).proof.unwrap();
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
        let found = Evidence::of("AC1", Reach::Message, strange);
        assert_eq!(found, Evidence { mismatches: 3, ..Evidence::default() });
        let found =
            Evidence::of("AC1", Reach::Message, strange.into_iter().chain([heard("SM1", "sent")]));
        let proof = Proof { sid: "SM1".to_owned(), outcome: Outcome::Accepted };
        assert_eq!(found, Evidence { proof: Some(proof), mismatches: 3, ..Evidence::default() });
    }

    #[test]
    fn a_second_sid_is_a_duplicate_and_the_one_that_came_counts() {
        let found = Evidence::of(
            "AC1",
            Reach::Message,
            [heard("SM1", "failed"), heard("SM2", "delivered")],
        );
        let proof = Proof { sid: "SM2".to_owned(), outcome: Outcome::Confirmed };
        assert_eq!((found.proof, found.duplicates), (Some(proof), vec!["SM1".to_owned()]));
        let found =
            Evidence::of("AC1", Reach::Message, [heard("SM2", "sent"), heard("SM1", "failed")]);
        assert_eq!(found.proof.unwrap().outcome, Outcome::Accepted);
    }

    const DIGIT: Reach = Reach::Call(Confirm::Digit);

    fn call(status: &'static str) -> Heard<'static> {
        Heard { resource: Some(Resource::Call), ..heard("CA1", status) }
    }

    fn says(callee: Callee) -> Heard<'static> {
        Heard { resource: None, callee: Some(callee), ..heard("CA1", "") }
    }

    fn of_call(confirm: Confirm, events: &[Heard<'static>]) -> Evidence {
        let reach = Reach::Call(confirm);
        let found = Evidence::of("AC1", reach, events.iter().copied());
        let reversed = Evidence::of("AC1", reach, events.iter().rev().copied());
        assert_eq!(found, reversed, "{events:?}");
        assert_eq!((found.duplicates.len(), found.mismatches), (0, 0));
        found
    }

    #[test]
    fn a_call_is_confirmed_by_what_is_asked_for_and_by_nothing_else() {
        use Callee::{Human, Machine, PressedOne, PressedOther};
        use Confirm::{Answered, Digit};
        let check = |confirm, events: &[Heard<'static>], expected: Outcome| {
            let found = of_call(confirm, events);
            assert_eq!(found.proof.map(|proof| proof.outcome), Some(expected), "{events:?}");
        };
        let (ended, by_machine) =
            (Outcome::Ended { by: "completed" }, Outcome::Ended { by: "machine" });
        let talks = [call("queued"), call("ringing"), call("in-progress")];
        check(Digit, &talks, Outcome::Accepted);
        check(Digit, &[call("in-progress"), says(PressedOther)], Outcome::Accepted);
        check(Digit, &[says(PressedOne)], Outcome::Confirmed);
        check(Digit, &[call("completed"), says(PressedOne)], Outcome::Confirmed);
        check(Digit, &[call("completed"), says(PressedOther)], ended.clone());
        check(Digit, &[call("completed"), says(Human)], ended.clone());
        check(Digit, &[Heard { callee: Some(Machine), ..call("completed") }], by_machine.clone());
        check(Confirm::Human, &talks, Outcome::Accepted);
        check(Confirm::Human, &[call("in-progress"), says(Human)], Outcome::Confirmed);
        check(Confirm::Human, &[call("completed"), says(Machine)], by_machine);
        check(Confirm::Human, &[call("completed"), says(PressedOne)], ended);
        check(Answered, &[call("ringing")], Outcome::Accepted);
        check(Answered, &talks, Outcome::Confirmed);
        check(Answered, &[call("completed")], Outcome::Confirmed);
    }

    #[test]
    fn a_call_that_is_not_answered_fails_with_its_status() {
        for status in ["busy", "no-answer", "failed", "canceled"] {
            for confirm in Confirm::ALL {
                let found = of_call(confirm, &[call("ringing"), call(status)]);
                let expected = Outcome::Failed { code: None, status: Some(status.to_owned()) };
                assert_eq!(found.proof.map(|proof| proof.outcome), Some(expected));
                assert!(found.is_over);
            }
        }
    }

    #[test]
    fn a_call_is_over_when_its_final_status_is_known_and_not_when_it_is_confirmed() {
        let pressed = says(Callee::PressedOne);
        assert!(!of_call(Confirm::Digit, &[call("in-progress"), pressed]).is_over);
        assert!(of_call(Confirm::Digit, &[pressed, call("completed")]).is_over);
        assert!(!of_call(Confirm::Digit, &[]).is_over);
        let another = Heard { sid: "CA2", ..call("ringing") };
        assert!(!Evidence::of("AC1", DIGIT, [call("busy"), another]).is_over);
    }

    #[test]
    fn what_is_no_call_of_the_account_proves_nothing_about_a_call() {
        let pressed = says(Callee::PressedOne);
        let strange = [
            heard("SM1", "delivered"),
            Heard { account: "AC2", ..pressed },
            Heard { sid: "SM1", ..pressed },
            Heard { callee: None, ..pressed },
        ];
        let found = Evidence::of("AC1", DIGIT, strange);
        assert_eq!(found, Evidence { mismatches: 4, ..Evidence::default() });
        assert_eq!(Evidence::of("AC1", Reach::Message, [pressed]).mismatches, 1);
    }

    #[test]
    fn an_email_is_confirmed_by_its_delivery_until_it_is_returned() {
        let email = |status| Heard { resource: Some(Resource::Email), ..heard("mail", status) };
        let check = |statuses: &[&'static str], expected: Outcome| {
            let events: Vec<_> = statuses.iter().map(|status| email(status)).collect();
            let found = Evidence::of("AC1", Reach::Email, events.iter().copied());
            let reversed = Evidence::of("AC1", Reach::Email, events.iter().rev().copied());
            assert_eq!(found, reversed, "{statuses:?}");
            assert_eq!(found.proof.map(|proof| proof.outcome), Some(expected), "{statuses:?}");
        };
        let failed = |status: &str| Outcome::Failed { code: None, status: Some(status.to_owned()) };
        check(&["accepted"], Outcome::Accepted);
        check(&["processed", "deferred"], Outcome::Accepted);
        check(&["processed", "deferred", "delivered"], Outcome::Confirmed);
        check(&["processed", "delivered", "bounce"], failed("bounce"));
        check(&["dropped"], failed("dropped"));
        let strange = [heard("SM1", "delivered"), Heard { account: "AC2", ..email("delivered") }];
        assert_eq!(Evidence::of("AC1", Reach::Email, strange).mismatches, 2);
        let returned = |channel| settled(AttemptState::Confirmed, channel, &failed("bounce"));
        assert_eq!(returned(Channel::Email), Some(AttemptState::Failed));
        assert_eq!(returned(Channel::Message), None);
    }

    #[test]
    fn proof_settles_every_state_and_never_takes_a_proof_back() {
        use AttemptState::*;
        let check = |outcome: &Outcome, stays: &[AttemptState], next: AttemptState| {
            for state in AttemptState::ALL {
                let expected = (!stays.contains(&state)).then_some(next);
                let found = [Channel::Message, Channel::Call].map(|it| settled(state, it, outcome));
                assert_eq!(found, [expected; 2], "{state:?}");
            }
        };
        check(&Outcome::Accepted, &[Accepted, Confirmed, Failed, Unconfirmed], Accepted);
        let ended = Outcome::Ended { by: "completed" };
        check(&ended, &[Accepted, Confirmed, Failed, Unconfirmed], Accepted);
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
            let found = Evidence::of("AC1", Reach::Message, events.iter().copied());
            prop_assert_eq!(&found, &Evidence::of("AC1", Reach::Message, shuffled));
            let twice = Evidence::of("AC1", Reach::Message, events.iter().chain(&events).copied());
            prop_assert_eq!(twice.proof, found.proof);
            prop_assert_eq!(twice.duplicates, found.duplicates);
        }

        #[test]
        fn one_more_event_never_takes_a_confirmation_back(events in events(), more in events()) {
            let before = Evidence::of("AC1", Reach::Message, events.iter().copied());
            let after = Evidence::of("AC1", Reach::Message, events.iter().chain(&more).copied());
            let confirmed = |found: &Evidence| {
                found.proof.as_ref().is_some_and(|proof| proof.outcome == Outcome::Confirmed)
            };
            prop_assert!(!confirmed(&before) || confirmed(&after));
            prop_assert!(after.duplicates.len() >= before.duplicates.len());
        }
    }
}
