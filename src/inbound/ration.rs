//! [`Ration`]: how many lines of one kind the log gets. Forged requests must not fill it, nor push out the lines of a
//! real mistake.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::Refusal;
use crate::clock::Timestamp;

/// Lines of one kind within [`WINDOW`]; what is beyond is counted, by the next line and by metrics.
const LINES: u32 = 10;
const WINDOW: Duration = Duration::from_secs(10);

/// What is written, by its kind: each reason of a refusal, of accounts that are configured and of
/// others, and clients that left.
#[derive(Debug)]
pub struct Ration([Mutex<Kind>; KINDS]);

const KINDS: usize = 2 * Refusal::ALL.len() + 1;

#[derive(Debug, Default)]
struct Kind {
    since: Option<Timestamp>,
    written: u32,
    withheld: u64,
}

impl Default for Ration {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Mutex::default()))
    }
}

impl Ration {
    /// Whether a refusal may be written now; then how many of its kind were not, since the last one
    /// that was.
    pub(super) fn refusal(&self, now: Timestamp, refusal: Refusal, known: bool) -> Option<u64> {
        self.ask(now, 2 * refusal as usize + usize::from(known))
    }

    /// The same of a client that left.
    pub(super) fn left(&self, now: Timestamp) -> Option<u64> {
        self.ask(now, KINDS - 1)
    }

    fn ask(&self, now: Timestamp, place: usize) -> Option<u64> {
        let mut kind = self.0[place].lock().unwrap_or_else(PoisonError::into_inner);
        // A clock that was set back begins a new window.
        let over = |since: Timestamp| now < since || now.since(since) >= WINDOW;
        if kind.since.is_none_or(over) {
            (kind.since, kind.written) = (Some(now), 0);
        }
        if kind.written == LINES {
            kind.withheld += 1;
            return None;
        }
        kind.written += 1;
        Some(std::mem::take(&mut kind.withheld))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_one_kind_is_counted_and_others_are_written() {
        let ration = Ration::default();
        let at = |seconds: i64| Timestamp::from_micros((1_000 + seconds) * 1_000_000);
        let forged = |now| ration.refusal(now, Refusal::WrongSignature, false);
        for _ in 0..LINES {
            assert_eq!(forged(at(0)), Some(0));
        }
        for _ in 0..1000 {
            assert_eq!(forged(at(9)), None);
        }
        assert_eq!(ration.refusal(at(9), Refusal::WrongSignature, true), Some(0));
        assert_eq!(ration.refusal(at(9), Refusal::UnknownRoute, false), Some(0));
        assert_eq!(ration.left(at(9)), Some(0));
        assert_eq!(forged(at(10)), Some(1000));
        assert_eq!(forged(at(10)), Some(0));
        assert_eq!(forged(at(-5)), Some(0), "the clock was set back");
    }
}
