//! [`Outage`]: what fails again and again is logged once when it begins and once when it is over. It logs nothing itself:
//! its user knows what to say.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A failure so soon after an outage is most likely a rest of it: another task had a connection that broke meanwhile.
const LULL: Duration = Duration::from_secs(10);

/// Whether something that is tried again and again fails right now. Several tasks may share it.
#[derive(Debug, Default)]
pub struct Outage {
    /// So that a success, which is the usual case, takes no lock.
    lasts: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    failing: Option<Failing>,
    /// When the last outage ended that was reported.
    ended: Option<Instant>,
}

#[derive(Debug)]
struct Failing {
    since: Instant,
    times: u64,
    reported: bool,
}

/// An outage that is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Over {
    /// Attempts that failed.
    pub failures: u64,
    /// From the first failure to the first success.
    pub lasted: Duration,
}

impl Over {
    /// How long it lasted, in whole seconds.
    #[must_use]
    pub fn seconds(&self) -> u64 {
        self.lasted.as_secs()
    }
}

impl Outage {
    /// An attempt failed; whether that is worth a line, which is once for each outage.
    #[must_use]
    pub fn begins(&self) -> bool {
        self.begins_at(Instant::now())
    }

    /// An attempt succeeded; the outage that it ends, if one was reported.
    #[must_use]
    pub fn ends(&self) -> Option<Over> {
        if !self.lasts.swap(false, Ordering::Relaxed) {
            return None;
        }
        self.ends_at(Instant::now())
    }

    fn begins_at(&self, now: Instant) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.lasts.store(true, Ordering::Relaxed);
        let ended = state.ended;
        let failing = Failing { since: now, times: 0, reported: false };
        let failing = state.failing.get_or_insert(failing);
        failing.times += 1;
        if failing.reported {
            return false;
        }
        let is_a_rest = ended.is_some_and(|at| failing.since.duration_since(at) < LULL);
        failing.reported = !is_a_rest || now.duration_since(failing.since) >= LULL;
        failing.reported
    }

    fn ends_at(&self, now: Instant) -> Option<Over> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let Failing { since, times, .. } =
            state.failing.take().filter(|failing| failing.reported)?;
        state.ended = Some(now);
        Some(Over { failures: times, lasted: now.duration_since(since) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_failure_and_the_first_success_are_news() {
        let (outage, start) = (Outage::default(), Instant::now());
        assert_eq!(outage.ends(), None);
        for round in 0..2_u64 {
            let at = |seconds: u64| start + Duration::from_secs(100 * round + seconds);
            assert!(outage.begins_at(at(0)));
            assert!(!outage.begins_at(at(1)));
            let over = Over { failures: 2, lasted: Duration::from_secs(5) };
            assert_eq!(outage.ends_at(at(5)), Some(over));
            assert_eq!(outage.ends_at(at(6)), None);
        }
    }

    #[test]
    fn a_rest_of_an_outage_is_no_news_unless_it_lasts() {
        let (outage, start) = (Outage::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert!(outage.begins_at(at(0)));
        assert!(outage.ends_at(at(1)).is_some());
        assert!(!outage.begins_at(at(2)), "another connection that broke");
        assert_eq!(outage.ends_at(at(3)), None);
        assert!(!outage.begins_at(at(4)));
        assert!(outage.begins_at(at(14)), "it lasts");
        assert!(!outage.begins_at(at(15)));
        assert_eq!(outage.ends_at(at(16)).map(|over| over.failures), Some(3));
    }
}
