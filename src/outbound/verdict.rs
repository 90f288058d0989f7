//! What follows from the answer to a create: for the attempt, and for others.

use std::time::Duration;

use super::metrics::Sent;
use super::rest::Created;
use crate::backend::outbox::{Back, Outcome, Stop};
use crate::dispatch::rejection::{self, Fate, Heard, Reason};
use crate::dispatch::throttle::{self, Next};
use crate::event::Event;
use crate::twilio::rest::{CreateAnswer, Message};

/// What came of a create, as it is counted.
#[must_use]
pub fn sent(created: &Created) -> Sent {
    match created {
        Created::Unsent => Sent::Unsent,
        Created::Answered(CreateAnswer::Accepted(_)) => Sent::Accepted,
        Created::Answered(CreateAnswer::Throttled { .. }) => Sent::Throttled,
        Created::Answered(CreateAnswer::Rejected { .. }) => Sent::Rejected,
        Created::Answered(CreateAnswer::Foreign { .. }) => Sent::Foreign,
        Created::Answered(CreateAnswer::Unknown(_)) => Sent::Unknown,
    }
}

/// What a refusal means.
#[must_use]
pub fn reason(created: &Created) -> Option<Reason> {
    let code = match created {
        Created::Answered(CreateAnswer::Rejected { code }) => Some(code.as_str()),
        Created::Answered(CreateAnswer::Foreign { .. }) => None,
        _ => return None,
    };
    Some(rejection::follows(code, Heard::Answer).reason)
}

/// How soon an attempt is due again that nothing speaks against but what holds its sender or account.
const SOON: Duration = Duration::from_secs(1);

/// What is stored of an answer. `throttled`: how often the attempt was throttled before; `jitter`: uniform from -1 to
/// 1; `look_after`: when it is looked for if the outcome is unknown.
#[must_use]
pub fn outcome(
    created: Created,
    throttled: u32,
    jitter: f64,
    look_after: Duration,
    event: impl FnOnce(&Message) -> Option<Event>,
) -> Outcome {
    let unknown = |reason: &str| Outcome::Unknown { reason: reason.to_owned(), look_after };
    match created {
        Created::Unsent => {
            Outcome::Back { after: SOON, why: Back::Unsent, stop: Some(Stop::Disconnected) }
        }
        Created::Answered(CreateAnswer::Accepted(message)) => match event(&message) {
            Some(event) => Outcome::Accepted { sid: message.sid, event: Box::new(event) },
            None => unknown("unreadable"),
        },
        Created::Answered(CreateAnswer::Throttled { retry_after }) => {
            let nth = throttled % throttle::POSTS + 1;
            match throttle::next(nth, jitter, retry_after) {
                Next::Again(after) => Outcome::Back { after, why: Back::Throttled, stop: None },
                Next::Cooldown(after) => {
                    let stop = Some(Stop::AccountCooldown(after));
                    Outcome::Back { after, why: Back::Throttled, stop }
                }
            }
        }
        Created::Answered(CreateAnswer::Rejected { code }) => {
            let follows = rejection::follows(Some(&code), Heard::Answer);
            let stop = Stop::of(follows.effect, &code);
            match follows.fate {
                Fate::Due => Outcome::Back { after: SOON, why: Back::Held, stop },
                Fate::Failed => Outcome::Failed { reason: code, stop },
                Fate::Unknown => unknown(&code),
            }
        }
        Created::Answered(CreateAnswer::Foreign { status }) => {
            let follows = rejection::follows(None, Heard::Answer);
            let stop = Stop::of(follows.effect, &format!("http_{status}"));
            Outcome::Back { after: SOON, why: Back::Held, stop }
        }
        Created::Answered(CreateAnswer::Unknown(doubt)) => unknown(doubt.as_str()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(answer: CreateAnswer, throttled: u32) -> Outcome {
        outcome(Created::Answered(answer), throttled, 0.0, Duration::from_secs(60), |_| None)
    }

    #[test]
    fn the_fifth_throttle_of_a_round_is_the_accounts_and_the_sixth_begins_a_new_one() {
        let throttle =
            |throttled| match of(CreateAnswer::Throttled { retry_after: None }, throttled) {
                Outcome::Back { after, why: Back::Throttled, stop } => (after.as_millis(), stop),
                other => panic!("{other:?}"),
            };
        assert_eq!([0, 1, 2, 3].map(throttle), [100, 200, 400, 800].map(|wait| (wait, None)));
        let cooldown = Some(Stop::AccountCooldown(Duration::from_millis(1600)));
        assert_eq!(throttle(4), (1600, cooldown));
        assert_eq!(throttle(5), (100, None));
    }

    #[test]
    fn a_code_decides_for_the_attempt_and_for_others() {
        let rejected = |code: &str| of(CreateAnswer::Rejected { code: code.to_owned() }, 0);
        let failed = |code: &str| match rejected(code) {
            Outcome::Failed { reason, stop } => (reason, stop),
            other => panic!("{code}: {other:?}"),
        };
        assert_eq!(failed("21211"), ("21211".to_owned(), None));
        assert_eq!(failed("21610"), ("21610".to_owned(), Some(Stop::OptedOut)));
        assert_eq!(failed("99999"), ("99999".to_owned(), Some(Stop::Unlisted)));
        let back = |outcome| match outcome {
            Outcome::Back { stop: Some(stop), .. } => stop,
            other => panic!("{other:?}"),
        };
        assert_eq!(back(rejected("21611")), Stop::SenderCooldown);
        assert_eq!(back(rejected("20003")), Stop::AccountPause("20003".to_owned()));
        assert_eq!(back(rejected("21606")), Stop::SenderPause("21606".to_owned()));
        assert!(matches!(back(rejected("63038")), Stop::AccountCooldown(_)));
        let foreign = of(CreateAnswer::Foreign { status: 302 }, 0);
        assert_eq!(back(foreign), Stop::AccountPause("http_302".to_owned()));
        let unsent = outcome(Created::Unsent, 0, 0.0, SOON, |_| None);
        assert_eq!(back(unsent), Stop::Disconnected);
    }
}
