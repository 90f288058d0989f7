//! Whether the clocks can be trusted by which ages are counted: a clock that is wrong must not delete everything.

use std::time::Duration;

use tracing::{error, info};

use super::Table;
use crate::clock::Timestamp;
use crate::pipeline::expiry::Outlook;

/// How far apart our clock and the store's may be. Ages are days, so it need not be little.
const MAX_SKEW: Duration = Duration::from_secs(5 * 60);

/// Why nothing is deleted, though something is old enough: a clock seems to be wrong. A machine whose clock
/// was 400 days ahead would else delete everything in seconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Hold {
    /// Ours and the store's disagree, and one of them is wrong.
    Clocks,
    /// Even the newest row is too old, or all that was there when the clocks were last trusted.
    All,
}

/// What is decided before each step.
#[derive(Default, Debug)]
pub(super) struct ClockGuard {
    noted: Option<Hold>,
}

/// Whether a clock can be trusted, as far as it shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Trust {
    /// Ages are counted by this time.
    Until(Timestamp),
    /// Ours and the store's disagree.
    Apart,
    /// The clock leapt ahead; this was the time before. New rows prove nothing, because the same wrong clock may have
    /// given them their times. So this is kept where a restart finds it.
    Leapt { now: Timestamp, from: Timestamp },
}

impl Trust {
    pub(super) fn of(outlook: Outlook, ours: Timestamp, age: Duration) -> Self {
        let theirs = outlook.now.unwrap_or(ours);
        if ours.since(theirs).max(theirs.since(ours)) > MAX_SKEW {
            return Self::Apart;
        }
        let now = ours.min(theirs);
        match outlook.newest.into_iter().chain(outlook.trusted).min() {
            Some(from) if from < now.before(age) => Self::Leapt { now, from },
            _ => Self::Until(now),
        }
    }
}

impl ClockGuard {
    /// Says so, once.
    pub(super) fn note(
        &mut self,
        hold: Option<Hold>,
        table: Table,
        apart: Outlook,
        ours: Timestamp,
    ) {
        let table = table.as_str();
        if self.noted == hold {
            return;
        }
        self.noted = hold;
        match hold {
            None => info!(table, "old rows are deleted again"),
            Some(Hold::Clocks) => error!(
                table,
                ours = %ours,
                theirs = %apart.now.unwrap_or(ours),
                "nothing is deleted: our clock and the store's disagree, so that ages are not known; set \
                 the clocks of both machines"
            ),
            Some(Hold::All) => error!(
                table,
                ours = %ours,
                newest = apart.newest.map(tracing::field::display),
                trusted = apart.trusted.map(tracing::field::display),
                "nothing is deleted: all that was stored while the clocks were trusted is older than it may \
                 become, so that a clock may be wrong; if it is right, delete with `offhook purge --before`"
            ),
        }
    }
}
