//! [`Health`]: whether the endpoint itself fails, and how often it is asked then.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Group, Moment};

/// Failures in a row after which the endpoint itself is taken to fail.
const FAILURES_IN_A_ROW: u32 = 5;
/// How many SIDs must be among the failures: a single SID may be one that the endpoint cannot process.
const FAILING_GROUPS: usize = 3;
/// The wait before the first probe of an endpoint that fails. It doubles up to [`LONGEST_PROBE_WAIT`].
const FIRST_PROBE_WAIT: Duration = Duration::from_secs(1);
/// The longest wait between two probes: an endpoint that is back is found within that.
pub(super) const LONGEST_PROBE_WAIT: Duration = Duration::from_secs(30);

/// Whether the endpoint itself fails.
#[derive(Debug, Default)]
pub(super) struct Health {
    /// Since when no attempt has succeeded, while some failed.
    pub(super) failing_since: Option<Moment>,
    pub(super) failures: u32,
    /// Some of the groups that failed since.
    pub(super) groups: BTreeSet<Group>,
    pub(super) restraint: Option<Restraint>,
}

/// One request at a time, and not often.
#[derive(Clone, Copy, Debug)]
pub(super) struct Restraint {
    pub(super) probes: u32,
    pub(super) next: Moment,
}

impl Health {
    /// `last`: nothing else is being sent.
    pub(super) fn failed(&mut self, group: &Group, now: Moment, last: bool) {
        self.failing_since.get_or_insert(now);
        self.failures = self.failures.saturating_add(1);
        if self.groups.len() < FAILING_GROUPS {
            self.groups.insert(group.clone());
        }
        match &mut self.restraint {
            Some(restraint) if last => {
                restraint.probes = restraint.probes.saturating_add(1);
                restraint.next = now + probe_wait(restraint.probes);
            }
            Some(_) => {}
            None if self.failures >= FAILURES_IN_A_ROW && self.groups.len() >= FAILING_GROUPS => {
                self.restrain(now);
            }
            None => {}
        }
    }

    pub(super) fn restrain(&mut self, now: Moment) {
        self.restraint.get_or_insert(Restraint { probes: 0, next: now + probe_wait(0) });
    }
}

fn probe_wait(probes: u32) -> Duration {
    FIRST_PROBE_WAIT.saturating_mul(1 << probes.min(10)).min(LONGEST_PROBE_WAIT)
}
