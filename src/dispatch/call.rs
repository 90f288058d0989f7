//! [`CallPlan`]: how a call is made, frozen when it is planned; [`Lines`]: how many there may be at a time.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Confirm;

/// How a call is made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CallPlan {
    /// What confirms it.
    pub confirm: Confirm,
    /// The language in which the text is said, such as `en-GB`; `None` for Twilio's own choice.
    pub language: Option<String>,
    /// The voice; `None` for Twilio's own choice.
    pub voice: Option<String>,
    /// How long it rings, in seconds.
    pub timeout_s: u32,
    /// How long it lasts at most, in seconds.
    pub time_limit_s: u32,
}

/// How many open calls an account may have, and which count.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Lines {
    /// The limit by account.
    pub limits: BTreeMap<String, u32>,
    /// How long a call that offhook has not made counts as open before its final callback is presumed lost.
    pub max_age: Duration,
}

impl Lines {
    /// The limit of an account. One that is not configured has one line.
    #[must_use]
    pub fn limit(&self, account: &str) -> u32 {
        self.limits.get(account).copied().unwrap_or(1)
    }
}

/// How much longer than it may ring and last a call counts as open whose end was not reported.
const MARGIN: Duration = Duration::from_secs(60);
/// How soon the end of a call is reported.
const REPORTED_WITHIN: Duration = Duration::from_secs(5);

/// How long after its end a call is still confirmed by what the callee has done, before it counts as unconfirmed. What
/// comes later still confirms it.
pub const CONFIRMED_AFTER_END: Duration = Duration::from_secs(3);

/// The same of a call of which Twilio, asked, has said that it is over, and no callback has: what the callee has done may
/// be in the same delay as that callback.
pub const CONFIRMED_AFTER_UNHEARD_END: Duration = Duration::from_secs(60);

/// Most tries to cancel a call that rings.
pub const MOST_HANG_UPS: u32 = 5;

impl CallPlan {
    /// How long it rings and lasts at most, and a little until its end is reported.
    #[must_use]
    pub fn longest(&self) -> Duration {
        self.permit() - MARGIN + REPORTED_WITHIN
    }

    /// How long it counts as one of the account's open calls, unless its end is reported earlier.
    #[must_use]
    pub fn permit(&self) -> Duration {
        Duration::from_secs(u64::from(self.timeout_s) + u64::from(self.time_limit_s)) + MARGIN
    }
}

/// How long to wait before the next try to cancel a call, after this number of them; `None` after the last one.
#[must_use]
pub fn hang_up_again(tries: u32) -> Option<Duration> {
    const FIRST: Duration = Duration::from_secs(1);
    (tries < MOST_HANG_UPS).then(|| FIRST * 2_u32.pow(tries.saturating_sub(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_open_for_as_long_as_it_may_ring_and_last_and_a_minute() {
        let plan = CallPlan {
            confirm: Confirm::Digit,
            language: None,
            voice: None,
            timeout_s: 30,
            time_limit_s: 120,
        };
        assert_eq!(plan.permit(), Duration::from_secs(210));
    }

    #[test]
    fn a_cancellation_is_tried_five_times_within_a_quarter_of_a_minute() {
        let waits = [1, 2, 3, 4, 5, 6].map(|tries| hang_up_again(tries).map(|wait| wait.as_secs()));
        assert_eq!(waits, [Some(1), Some(2), Some(4), Some(8), None, None]);
    }
}
