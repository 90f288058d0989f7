//! [`judge`]: whether a campaign must stop itself, by what came of its last recipients. A list that was bought, or a text
//! that carriers take for spam, shows within the first hundreds; the rest of the recipients is then not asked.

use std::time::Duration;

use crate::labels::labels;

/// How many of the last outcomes count: an old failure does not stop what goes well since.
pub const WINDOW: u32 = 200;

/// Fewer outcomes prove nothing.
pub const AT_LEAST: u32 = 50;

/// How many recipients a campaign sends to first, before it waits for what comes of them.
pub const TRIAL: u32 = 100;

/// After this time a campaign goes on although fewer than [`AT_LEAST`] of its trial have an outcome: phones that are
/// off must not hold it for long.
pub const TRIAL_LASTS: Duration = Duration::from_mins(5);

labels! {
    /// Why a campaign has stopped itself.
    pub enum Brake {
        /// More than 10 % of the outcomes are failures.
        Failed = "failed",
        /// More than 3 % of the recipients have opted out.
        OptedOut = "opted_out",
        /// More than 2 % were filtered by a carrier: 30007, or 30450.
        Filtered = "filtered",
    }
}

impl Brake {
    /// The share, in percent, above which it stops the campaign.
    #[must_use]
    pub const fn percent(self) -> u32 {
        match self {
            Self::Failed => 10,
            Self::OptedOut => 3,
            Self::Filtered => 2,
        }
    }
}

/// What came of the last recipients that have an outcome, at most [`WINDOW`]. One may count in several.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Outcomes {
    /// How many recipients these are.
    pub of: u32,
    /// To how many of them nothing could be delivered.
    pub failed: u32,
    /// How many of them have opted out.
    pub opted_out: u32,
    /// How many messages a carrier has filtered: 30007, or 30450.
    /// <https://www.twilio.com/docs/api/errors/30007>, <https://www.twilio.com/docs/api/errors/30450>
    pub filtered: u32,
}

impl Outcomes {
    /// How many of them speak for this brake.
    #[must_use]
    pub const fn count(&self, brake: Brake) -> u32 {
        match brake {
            Brake::Failed => self.failed,
            Brake::OptedOut => self.opted_out,
            Brake::Filtered => self.filtered,
        }
    }
}

/// Why a campaign must stop; the most specific reason first, since what was filtered has failed as well.
#[must_use]
pub fn judge(outcomes: &Outcomes) -> Option<Brake> {
    if outcomes.of < AT_LEAST {
        return None;
    }
    let is_over = |brake: &Brake| {
        u64::from(outcomes.count(*brake)) * 100
            > u64::from(outcomes.of) * u64::from(brake.percent())
    };
    [Brake::Filtered, Brake::OptedOut, Brake::Failed].into_iter().find(is_over)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(of: u32, (failed, opted_out, filtered): (u32, u32, u32), expected: Option<Brake>) {
        let outcomes = Outcomes { of, failed, opted_out, filtered };
        assert_eq!(judge(&outcomes), expected, "{outcomes:?}");
    }

    #[test]
    fn a_campaign_stops_above_its_shares_and_not_at_them() {
        check(200, (20, 6, 4), None);
        check(200, (21, 6, 4), Some(Brake::Failed));
        check(200, (20, 7, 4), Some(Brake::OptedOut));
        check(200, (20, 6, 5), Some(Brake::Filtered));
        check(u32::MAX, (u32::MAX, 0, 0), Some(Brake::Failed));
    }

    #[test]
    fn fewer_than_50_outcomes_prove_nothing() {
        check(0, (0, 0, 0), None);
        check(49, (49, 49, 49), None);
        check(50, (5, 1, 1), None);
        check(50, (6, 1, 1), Some(Brake::Failed));
        check(50, (0, 2, 0), Some(Brake::OptedOut));
    }

    #[test]
    fn the_most_specific_reason_is_named() {
        check(100, (100, 100, 100), Some(Brake::Filtered));
        check(100, (100, 100, 0), Some(Brake::OptedOut));
    }
}
