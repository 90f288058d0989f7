//! [`RedisHealth`]: what is known about a Redis, for the code that uses it and for health checks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arc_swap::ArcSwapOption;

use super::rehearsal::Failure;

/// What was found out about a Redis.
#[derive(Default, Debug)]
pub struct RedisHealth {
    /// How the last rehearsal ended; `None` before the first.
    rehearsed: ArcSwapOption<Result<(), Failure>>,
    /// Why it cannot be used at all.
    unsupported: ArcSwapOption<String>,
    marks_given_up: AtomicBool,
    /// Whether a reader of this process has found the group or created it.
    joined: AtomicBool,
    groups_made_again: AtomicU64,
}

impl RedisHealth {
    /// Records how a rehearsal ended, and returns whether that is new. One that Redis did not answer says nothing about
    /// which Redis it is.
    pub fn rehearsed(&self, outcome: Result<(), Failure>) -> bool {
        let unsupported = match &outcome {
            Ok(()) => Some(None),
            Err(Failure::Unsupported(why)) => Some(Some(Arc::new(why.clone()))),
            Err(Failure::Away(_)) => None,
            Err(Failure::Refused { .. }) => Some(None),
        };
        if let Some(unsupported) = unsupported {
            self.unsupported.store(unsupported);
        }
        let outcome = Arc::new(outcome);
        self.rehearsed.swap(Some(Arc::clone(&outcome))) != Some(outcome)
    }

    /// Whether all that is done with it can be done, as of the last rehearsal.
    ///
    /// # Errors
    /// Redis refuses something, or no rehearsal has ended yet.
    pub fn outcome(&self) -> Result<(), Failure> {
        match self.rehearsed.load_full() {
            Some(outcome) => Result::clone(&outcome),
            None => Err(Failure::Away("not tried yet".to_owned())),
        }
    }

    /// Why it must not be used at all, if that is so: events would be appended and never stored.
    #[must_use]
    pub fn unsupported(&self) -> Option<String> {
        self.unsupported.load_full().map(|why| String::clone(&why))
    }

    /// Whether marks take room that events need.
    #[must_use]
    pub fn marks_given_up(&self) -> bool {
        self.marks_given_up.load(Ordering::Relaxed)
    }

    /// How often the group was created again since the last call: it was destroyed, or the stream was deleted with
    /// everything in it.
    pub fn take_groups_made_again(&self) -> u64 {
        self.groups_made_again.swap(0, Ordering::Relaxed)
    }

    /// Whether a reader of this process has joined the group: one that has to create it from then on creates it again.
    /// That may be another reader, which never joined.
    pub(super) fn has_joined(&self) -> bool {
        self.joined.load(Ordering::Relaxed)
    }

    pub(super) fn joined(&self) {
        self.joined.store(true, Ordering::Relaxed);
    }

    pub(super) fn group_made_again(&self) {
        self.groups_made_again.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn give_up_marks(&self, given_up: bool) {
        self.marks_given_up.store(given_up, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redis_that_is_away_stays_what_it_was_found_to_be() {
        let health = RedisHealth::default();
        health.outcome().expect_err("no rehearsal has ended");
        let old = || Failure::Unsupported("version 6.2.14".to_owned());
        assert!(health.rehearsed(Err(old())));
        assert!(!health.rehearsed(Err(old())), "that is no news");
        health.rehearsed(Err(Failure::Away("no answer in time".to_owned())));
        assert_eq!(health.unsupported().as_deref(), Some("version 6.2.14"));
        assert!(health.rehearsed(Ok(())));
        assert_eq!((health.unsupported(), health.outcome()), (None, Ok(())));
    }
}
