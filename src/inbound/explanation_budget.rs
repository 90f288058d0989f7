//! [`ExplanationBudget`]: how many refusals are explained at once, and how often. An explanation costs as much
//! as verifying some requests, so a flood of forgeries must not buy many of them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Refusal;
use crate::clock::Timestamp;

/// Most refusals whose requests wait in memory to be explained. Of more, no cause is looked for.
const PLACES: usize = 64;
/// Shortest time between two explanations of one reason, separately for configured and other accounts.
const INTERVAL: Duration = Duration::from_millis(200);

/// What explanations may cost.
#[derive(Debug)]
pub struct ExplanationBudget {
    places: Arc<Semaphore>,
    /// When a refusal was explained last, by its reason and by whether its account is configured.
    last: Mutex<BTreeMap<(&'static str, bool), Timestamp>>,
}

impl Default for ExplanationBudget {
    fn default() -> Self {
        Self::of(PLACES)
    }
}

impl ExplanationBudget {
    /// A budget with this many places for waiting requests.
    #[must_use]
    pub fn of(places: usize) -> Self {
        Self { places: Arc::new(Semaphore::new(places)), last: Mutex::default() }
    }

    /// A place for a request that waits to be explained; `None` if all are taken.
    pub(super) fn place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.places).try_acquire_owned().ok()
    }

    /// Whether a refusal may be explained now, which it then must be.
    pub(super) fn take_turn(&self, now: Timestamp, refusal: Refusal, known: bool) -> bool {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let kind = (refusal.as_str(), known);
        // A clock that was set back must not stop it for as long.
        let rested = |last: Timestamp| now < last || now.since(last) >= INTERVAL;
        let may = last.get(&kind).copied().is_none_or(rested);
        if may {
            last.insert(kind, now);
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn explanations_are_rationed() {
        let budget = ExplanationBudget::default();
        let at = |millis: i64| Timestamp::from_micros(millis * 1000);
        let may = |millis, known| budget.take_turn(at(millis), Refusal::WrongSignature, known);
        assert!(may(1000, false));
        assert!(!may(1199, false));
        assert!(may(1199, true), "forgeries without an account do not take its turn");
        assert!(may(1200, false));
        assert!(may(0, false), "the clock was set back");
    }

    #[test]
    fn only_so_many_requests_wait_for_an_explanation() {
        let budget = ExplanationBudget::of(1);
        let taken = budget.place();
        assert!(taken.is_some() && budget.place().is_none());
        drop(taken);
        assert!(budget.place().is_some());
    }
}
