//! Who has agreed to be sent marketing: what counts of an address's entries in the log of consents. Of values alone.
//!
//! The latest counts, by when the person said it: a list that is imported late does not undo what was withdrawn after it
//! was written. A STOP is no entry here. It stands above consent, and a START gives none.

use crate::clock::Timestamp;

/// Whether consent holds, given when it was given last and when it was withdrawn last. At the same time, what is withdrawn
/// counts.
#[must_use]
pub fn holds(given: Option<Timestamp>, withdrawn: Option<Timestamp>) -> bool {
    given.is_some_and(|given| withdrawn.is_none_or(|withdrawn| given > withdrawn))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_counts_and_of_two_at_once_the_one_that_withdraws() {
        let check = |given: Option<i64>, withdrawn: Option<i64>, expected| {
            let [given, withdrawn] = [given, withdrawn].map(|at| at.map(Timestamp::from_micros));
            assert_eq!(holds(given, withdrawn), expected, "{given:?} {withdrawn:?}");
        };
        check(None, None, false);
        check(Some(1), None, true);
        check(None, Some(1), false);
        check(Some(2), Some(1), true);
        check(Some(2), Some(2), false);
        check(Some(2), Some(3), false);
    }
}
