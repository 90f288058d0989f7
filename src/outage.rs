//! [`Outage`]: what fails again and again is logged once when it begins and once when it is over. No logging itself: who
//! tries knows what to say.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Whether something that is tried again and again fails right now. Several tasks may share it.
#[derive(Debug, Default)]
pub struct Outage {
    /// So that a success, which is the usual case, takes no lock.
    lasts: AtomicBool,
    failing: Mutex<Option<Failing>>,
}

#[derive(Debug)]
struct Failing {
    since: Instant,
    times: u64,
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
    /// An attempt failed; whether it is the first of an outage, which is worth a line.
    #[must_use]
    pub fn begins(&self) -> bool {
        let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        self.lasts.store(true, Ordering::Relaxed);
        let begun = failing.get_or_insert_with(|| Failing { since: Instant::now(), times: 0 });
        begun.times += 1;
        begun.times == 1
    }

    /// An attempt succeeded; the outage that it ends, if there was one.
    #[must_use]
    pub fn ends(&self) -> Option<Over> {
        if !self.lasts.swap(false, Ordering::Relaxed) {
            return None;
        }
        let ended = self.failing.lock().unwrap_or_else(PoisonError::into_inner).take();
        ended.map(|Failing { since, times }| Over { failures: times, lasted: since.elapsed() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_failure_and_the_first_success_are_news() {
        let outage = Outage::default();
        assert_eq!(outage.ends(), None);
        for _ in 0..2 {
            assert!(outage.begins());
            assert!(!outage.begins());
            assert_eq!(outage.ends().map(|over| over.failures), Some(2));
            assert_eq!(outage.ends(), None);
        }
    }
}
