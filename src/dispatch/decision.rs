//! [`decide`]: how a notification goes on that has several steps, by where its steps and their attempts stand.

use std::time::Duration;

use super::outcome::{self, Outcome, Standing};
use super::rejection::{self, Reason};
use super::{AttemptState, Channel, NotificationState, OnUnknown, Purpose};
use crate::dispatch::gates::Gate;
use crate::labels::labels;

labels! {
    /// Where a step stands.
    pub enum StepState {
        /// An earlier step is in progress.
        Waiting = "waiting",
        /// Its attempt was planned.
        Begun = "begun",
        /// Its time is over, and Twilio, asked, did not say that it came; nor did any event of an email.
        Over = "over",
        /// Its time is over, and Twilio could not be asked.
        OverBlind = "over_blind",
        /// It is not needed any more.
        Skipped = "skipped",
    }
}

impl StepState {
    /// Whether its time is over.
    #[must_use]
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Over | Self::OverBlind)
    }
}

labels! {
    /// Why the next step begins.
    pub enum Escalation {
        /// The step before cannot be delivered.
        Failed = "failed",
        /// The time of the step before is over, and Twilio was asked, unless it is an email.
        Time = "time",
        /// The same, and Twilio could not be asked.
        Blind = "blind",
    }
}

/// A step as it stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Step {
    /// Its place among the steps, from 1.
    pub number: u32,
    /// Where it stands.
    pub state: StepState,
    /// Whether it goes on after a recipient has said STOP.
    pub despite_stop: bool,
    /// Where its attempts stand, in their order.
    pub attempts: Vec<Standing>,
}

/// How a notification goes on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Decision {
    /// The step that has begun is waited for.
    Wait,
    /// The next step begins.
    Begin {
        /// Its number.
        step: u32,
        /// Why.
        why: Escalation,
    },
    /// It is settled; steps that wait are not needed any more.
    Settled(Outcome),
}

/// The first that holds: a confirmation of any step settles it; what failed for good, or whose time is over, is followed
/// by the next step; without one, the outcome is that of the step that came furthest.
#[must_use]
pub fn decide(steps: &[Step], on_unknown: OnUnknown) -> Decision {
    let begun: Vec<(&Step, Outcome)> = steps
        .iter()
        .filter(|step| !matches!(step.state, StepState::Waiting | StepState::Skipped))
        .map(|step| (step, of_step(step, on_unknown)))
        .collect();
    let find = |state| begun.iter().rev().find(|(_, outcome)| outcome.state == state);
    if let Some((_, confirmed)) = find(NotificationState::Confirmed) {
        return Decision::Settled(confirmed.clone());
    }
    let Some((current, reached)) = begun.last() else { return Decision::Wait };
    if reached.state == NotificationState::Open {
        return Decision::Wait;
    }
    let follows = |step: &&Step| step.state == StepState::Waiting && may_follow(reached, step);
    if let Some(next) = steps.iter().find(follows) {
        let why = match (reached.state, current.state) {
            (NotificationState::Failed | NotificationState::Refused, _) => Escalation::Failed,
            (_, StepState::OverBlind) => Escalation::Blind,
            (_, StepState::Over) => Escalation::Time,
            _ => Escalation::Failed,
        };
        return Decision::Begin { step: next.number, why };
    }
    // What was accepted, or may have been, may have come: a later step that failed says nothing of it.
    let furthest = [NotificationState::Unconfirmed, NotificationState::Unknown];
    let furthest = furthest.into_iter().find_map(find);
    Decision::Settled(furthest.map_or_else(|| reached.clone(), |(_, outcome)| outcome.clone()))
}

/// Where a step stands by itself. One whose time is over is not waited for, and what is unknown about it is unconfirmed
/// as far as the next step is concerned; before that, a callback may still come.
fn of_step(step: &Step, on_unknown: OnUnknown) -> Outcome {
    let over = step.state.is_over();
    let as_it_counts = |attempt: &Standing| match attempt.state {
        AttemptState::Accepted if over => {
            Standing { state: AttemptState::Unconfirmed, ..attempt.clone() }
        }
        AttemptState::Unknown if over => Standing { is_looked_for: false, ..attempt.clone() },
        _ => attempt.clone(),
    };
    let attempts: Vec<Standing> = step.attempts.iter().map(as_it_counts).collect();
    let outcome = outcome::of(&attempts, on_unknown);
    let was_found_absent = outcome.reason.as_deref() == Some("absent");
    match outcome.state {
        NotificationState::Unknown if !over && !was_found_absent => {
            Outcome { state: NotificationState::Open, reason: None }
        }
        _ => outcome,
    }
}

/// Whether a step may begin after one that ended so.
fn may_follow(reached: &Outcome, next: &Step) -> bool {
    match reached.state {
        NotificationState::Failed => !is_opt_out(reached) || next.despite_stop,
        NotificationState::Unconfirmed | NotificationState::Unknown => true,
        NotificationState::Refused => {
            reached.reason.as_deref() == Some(Gate::Suppression.as_str()) && next.despite_stop
        }
        NotificationState::Open
        | NotificationState::Confirmed
        | NotificationState::Expired
        | NotificationState::Cancelled => false,
    }
}

/// Whether Twilio did not deliver it because the recipient has said STOP.
fn is_opt_out(reached: &Outcome) -> bool {
    let code = reached.reason.as_deref();
    code.is_some_and(|code| {
        rejection::follows(Some(code), rejection::Heard::Message).reason == Reason::OptedOut
    })
}

/// How long a step of a message is waited for, unless configured: most are delivered within seconds.
pub const WAIT: Duration = Duration::from_secs(300);
/// How soon Twilio is asked again that could not be asked.
pub const ASK_AGAIN: Duration = Duration::from_secs(5);
/// How long what is urgent waits for Twilio to be asked.
const URGENT_WAITS: Duration = Duration::from_secs(60);

/// What Twilio said of a step whose time is over, when it was asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Said {
    /// How it stands, or that it does not have it.
    Answer,
    /// It has no SID to ask for: it is looked for in Twilio's list.
    NoSid,
    /// There is nothing to ask: of an email, only its events say how it stands.
    EventsAlone,
    /// It could not be asked; how soon it may be asked again.
    Nothing {
        /// At the earliest.
        again: Duration,
    },
}

/// What becomes of a step whose time has been over for this long.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AfterAsking {
    /// It is over.
    Ends(StepState),
    /// Twilio is asked again after this.
    AskAgain(Duration),
}

/// What follows for a step. A call ends by itself, so that it is asked for until it has ended; one without a SID may never be
/// heard of.
#[must_use]
pub fn after_asking(
    channel: Channel,
    purpose: Purpose,
    said: Said,
    over_for: Duration,
) -> AfterAsking {
    let is_urgent = matches!(purpose, Purpose::Alert | Purpose::Otp);
    match (channel, said) {
        (Channel::Call, Said::Answer) => AfterAsking::AskAgain(ASK_AGAIN),
        (Channel::Message | Channel::Email, Said::Answer)
        | (_, Said::NoSid | Said::EventsAlone) => AfterAsking::Ends(StepState::Over),
        (Channel::Message | Channel::Email, Said::Nothing { .. })
            if is_urgent && over_for >= URGENT_WAITS =>
        {
            AfterAsking::Ends(StepState::OverBlind)
        }
        (_, Said::Nothing { again }) => {
            let left = URGENT_WAITS.saturating_sub(over_for).max(Duration::from_secs(1));
            AfterAsking::AskAgain(if is_urgent { again.min(left) } else { again })
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use NotificationState as N;

    fn standing(state: AttemptState, reason: &str) -> Standing {
        let reason = (!reason.is_empty()).then(|| reason.to_owned());
        Standing { state, reason, is_looked_for: state == AttemptState::Unknown }
    }

    fn step(number: u32, state: StepState, attempts: &[(AttemptState, &str)]) -> Step {
        let attempts = attempts.iter().map(|(state, reason)| standing(*state, reason)).collect();
        Step { number, state, despite_stop: false, attempts }
    }

    /// An SMS step that stands so, and a step of a call that waits.
    fn then_a_call(state: StepState, attempt: (AttemptState, &str)) -> Vec<Step> {
        vec![step(1, state, &[attempt]), step(2, StepState::Waiting, &[])]
    }

    fn settled(decision: &Decision) -> N {
        let Decision::Settled(outcome) = decision else { panic!("{decision:?}") };
        outcome.state
    }

    #[test]
    fn what_cannot_be_delivered_is_followed_at_once_and_what_is_silent_after_its_time() {
        use AttemptState as A;
        use StepState::{Begun, Over, OverBlind};
        let check = |state, attempt, why: Option<Escalation>| {
            let expected = why.map_or(Decision::Wait, |why| Decision::Begin { step: 2, why });
            for on_unknown in OnUnknown::ALL {
                let steps = then_a_call(state, attempt);
                assert_eq!(decide(&steps, on_unknown), expected, "{steps:?}");
            }
        };
        for waits in [A::Due, A::Claimed, A::Writing, A::Accepted, A::Unknown] {
            check(Begun, (waits, ""), None);
        }
        check(Begun, (A::Failed, "30003"), Some(Escalation::Failed));
        check(Begun, (A::Unconfirmed, "machine"), Some(Escalation::Failed));
        check(Begun, (A::Unknown, "perhaps"), None);
        for (over, why) in [(Over, Escalation::Time), (OverBlind, Escalation::Blind)] {
            check(over, (A::Accepted, ""), Some(why));
            check(over, (A::Unconfirmed, ""), Some(why));
            check(over, (A::Unknown, "timeout"), Some(why));
            check(over, (A::Failed, "30003"), Some(Escalation::Failed));
        }
        let mut absent = then_a_call(Begun, (A::Unknown, "absent"));
        absent[0].attempts[0].is_looked_for = false;
        assert!(matches!(decide(&absent, OnUnknown::Report), Decision::Begin { .. }));
    }

    #[test]
    fn a_confirmation_settles_it_whichever_step_it_is_of() {
        use AttemptState::{Accepted, Confirmed, Due};
        use StepState::{Begun, Over, Waiting};
        let sms = then_a_call(Begun, (Confirmed, ""));
        assert_eq!(settled(&decide(&sms, OnUnknown::Report)), N::Confirmed);
        for later in [Due, Accepted] {
            let late = vec![
                step(1, Over, &[(Confirmed, "")]),
                step(2, Begun, &[(later, "")]),
                step(3, Waiting, &[]),
            ];
            assert_eq!(settled(&decide(&late, OnUnknown::Report)), N::Confirmed);
        }
    }

    #[test]
    fn the_outcome_of_all_steps_is_that_of_the_one_that_came_furthest() {
        use AttemptState as A;
        use StepState::{Begun, Over};
        let check = |first, second, expected| {
            let steps = vec![step(1, Over, &[first]), step(2, Begun, &[second])];
            assert_eq!(settled(&decide(&steps, OnUnknown::Resend)), expected, "{steps:?}");
        };
        check((A::Unconfirmed, ""), (A::Failed, "busy"), N::Unconfirmed);
        check((A::Accepted, ""), (A::Failed, "busy"), N::Unconfirmed);
        check((A::Unknown, ""), (A::Failed, "busy"), N::Unknown);
        check((A::Failed, "30003"), (A::Failed, "no-answer"), N::Failed);
        check((A::Failed, "30003"), (A::Unconfirmed, "machine"), N::Unconfirmed);
        check((A::Unconfirmed, ""), (A::Expired, "deadline"), N::Unconfirmed);
        check((A::Unconfirmed, ""), (A::Refused, "suppression"), N::Unconfirmed);
        // It may have rung, and nothing more is heard of it.
        let perhaps =
            vec![step(1, Over, &[(A::Failed, "30003")]), step(2, Over, &[(A::Unknown, "perhaps")])];
        assert_eq!(settled(&decide(&perhaps, OnUnknown::Resend)), N::Unknown);
    }

    #[test]
    fn who_has_said_stop_is_not_called_instead_unless_the_step_says_so() {
        use AttemptState::{Failed, Refused};
        let stops = [(Failed, "21610"), (Refused, "suppression")];
        for stop in stops {
            let mut steps = then_a_call(StepState::Begun, stop);
            let ends = if stop.0 == Failed { N::Failed } else { N::Refused };
            assert_eq!(settled(&decide(&steps, OnUnknown::Report)), ends);
            steps[1].despite_stop = true;
            let next = Decision::Begin { step: 2, why: Escalation::Failed };
            assert_eq!(decide(&steps, OnUnknown::Report), next);
        }
        for ends in
            [(Refused, "country"), (AttemptState::Expired, ""), (AttemptState::Cancelled, "")]
        {
            let mut steps = then_a_call(StepState::Begun, ends);
            steps[1].despite_stop = true;
            assert!(matches!(decide(&steps, OnUnknown::Report), Decision::Settled(_)), "{ends:?}");
        }
    }

    #[test]
    fn twilio_is_asked_before_a_step_is_over_and_only_what_is_urgent_goes_on_without_its_answer() {
        use AfterAsking::{AskAgain, Ends};
        use Purpose::{Alert, Transactional};
        let (again, soon) = (Duration::from_secs(30), Duration::from_secs(3));
        let nothing = Said::Nothing { again };
        let check = |channel, purpose, said, over_for, expected| {
            assert_eq!(after_asking(channel, purpose, said, over_for), expected);
        };
        let (message, call) = (Channel::Message, Channel::Call);
        check(message, Transactional, Said::Answer, soon, Ends(StepState::Over));
        check(message, Transactional, nothing, Duration::from_secs(9999), AskAgain(again));
        check(message, Alert, nothing, soon, AskAgain(again));
        check(message, Alert, nothing, Duration::from_secs(40), AskAgain(Duration::from_secs(20)));
        check(message, Alert, nothing, Duration::from_secs(60), Ends(StepState::OverBlind));
        check(call, Alert, Said::Answer, soon, AskAgain(ASK_AGAIN));
        for channel in [message, call] {
            check(channel, Transactional, Said::NoSid, soon, Ends(StepState::Over));
        }
        check(call, Alert, nothing, Duration::from_secs(60), AskAgain(Duration::from_secs(1)));
    }

    fn any_steps() -> impl Strategy<Value = Vec<Step>> {
        let attempt = prop::sample::select(AttemptState::ALL.to_vec());
        let reason = prop::sample::select(vec!["", "21610", "suppression", "absent", "30003"]);
        let attempts = prop::collection::vec((attempt, reason), 1..3);
        let state = prop::sample::select(vec![StepState::Begun, StepState::Over]);
        let step = (state, any::<bool>(), attempts);
        (prop::collection::vec(step, 1..4), 0..3_u32).prop_map(|(begun, waiting)| {
            let mut steps: Vec<Step> = Vec::new();
            for (state, despite_stop, attempts) in begun {
                let number = steps.len() as u32 + 1;
                steps.push(Step { despite_stop, ..self::step(number, state, &attempts) });
            }
            for _ in 0..waiting {
                steps.push(self::step(steps.len() as u32 + 1, StepState::Waiting, &[]));
            }
            steps
        })
    }

    proptest! {
        #[test]
        fn a_step_begins_once_and_only_after_the_one_before(steps in any_steps()) {
            for on_unknown in OnUnknown::ALL {
                match decide(&steps, on_unknown) {
                    Decision::Begin { step, .. } => {
                        let next = &steps[step as usize - 1];
                        prop_assert_eq!(next.state, StepState::Waiting);
                        let confirmed = |it: &Step| {
                            it.attempts.iter().any(|it| it.state == AttemptState::Confirmed)
                        };
                        prop_assert!(!steps.iter().any(confirmed));
                    }
                    Decision::Settled(outcome) => prop_assert_ne!(outcome.state, N::Open),
                    Decision::Wait => {}
                }
            }
        }
    }
}
