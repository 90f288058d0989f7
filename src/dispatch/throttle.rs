//! What follows a request that Twilio refused because too many were made at once (429, code 20429): nothing was
//! created, so it is made again, after a wait that doubles.

use std::time::Duration;

/// POSTs of one round: after the last, the whole account waits, and the attempt is due again.
pub const POSTS: u32 = 5;
/// The first wait, before jitter.
const FIRST: Duration = Duration::from_millis(100);
/// The longest wait.
pub const LONGEST: Duration = Duration::from_secs(30);
/// Jitter is at most this part of a wait.
const JITTER: f64 = 0.1;
/// The longest `Retry-After` that is honoured: what asks for more is a mistake, and would stop an account for days.
pub const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(3600);

/// The wait after the `nth` refusal, from 1: 100 ms × 2^(n−1), ± 10 %, 30 s at most. `jitter` is uniform from -1
/// to 1.
#[must_use]
pub fn wait(nth: u32, jitter: f64) -> Duration {
    /// 100 ms × 2^9 is more than [`LONGEST`], even with the least jitter.
    const ENOUGH: u32 = 9;
    let jitter = if jitter.is_nan() { 0.0 } else { jitter.clamp(-1.0, 1.0) };
    let base = FIRST * 2_u32.pow(nth.saturating_sub(1).min(ENOUGH));
    base.mul_f64(1.0 + JITTER * jitter).min(LONGEST)
}

/// Who waits, and for how long.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
    /// The attempt keeps its slot and is sent again after this wait; gates, pace and the write-ahead come first again.
    Again(Duration),
    /// No request of the account is made for so long; the attempt is due again. It does not fail for that.
    Cooldown(Duration),
}

/// What follows the `nth` refusal of a round, from 1. A `Retry-After` that is longer than the wait replaces it; one
/// that is longer than the longest wait concerns the account.
#[must_use]
pub fn next(nth: u32, jitter: f64, retry_after: Option<Duration>) -> Next {
    let asked = retry_after.unwrap_or_default().min(LONGEST_RETRY_AFTER);
    let wait = wait(nth, jitter).max(asked);
    if nth < POSTS && wait <= LONGEST { Next::Again(wait) } else { Next::Cooldown(wait) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn waits_double_from_100_ms_to_30_s_to_the_millisecond() {
        let check = |jitter: f64, expected: [u64; 10]| {
            let waits = std::array::from_fn(|n| wait(n as u32 + 1, jitter));
            assert_eq!(waits, expected.map(Duration::from_millis), "{jitter}");
        };
        check(0.0, [100, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000]);
        check(1.0, [110, 220, 440, 880, 1760, 3520, 7040, 14_080, 28_160, 30_000]);
        check(-1.0, [90, 180, 360, 720, 1440, 2880, 5760, 11_520, 23_040, 30_000]);
        check(0.5, [105, 210, 420, 840, 1680, 3360, 6720, 13_440, 26_880, 30_000]);
        check(f64::NAN, [100, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000]);
    }

    #[test]
    fn the_fifth_refusal_stops_the_account_and_not_the_attempt() {
        let round: Vec<Next> = (1..=6).map(|nth| next(nth, 0.0, None)).collect();
        let ms = Duration::from_millis;
        let [a, b, c, d] = [100, 200, 400, 800].map(|wait| Next::Again(ms(wait)));
        assert_eq!(round, [a, b, c, d, Next::Cooldown(ms(1600)), Next::Cooldown(ms(3200))]);
    }

    #[test]
    fn a_longer_retry_after_is_honoured_and_a_very_long_one_stops_the_account() {
        let check = |nth, seconds, expected| {
            assert_eq!(next(nth, 0.0, Some(Duration::from_secs(seconds))), expected, "{seconds}");
        };
        check(1, 0, Next::Again(Duration::from_millis(100)));
        check(1, 2, Next::Again(Duration::from_secs(2)));
        check(5, 1, Next::Cooldown(Duration::from_millis(1600)));
        check(5, 4, Next::Cooldown(Duration::from_secs(4)));
        check(1, 31, Next::Cooldown(Duration::from_secs(31)));
        check(1, 999_999, Next::Cooldown(LONGEST_RETRY_AFTER));
    }

    proptest! {
        #[test]
        fn every_wait_is_within_a_tenth_of_its_own(nth: u32, jitter: f64) {
            let (wait, plain) = (wait(nth, jitter), wait(nth, 0.0));
            prop_assert!(wait >= plain.mul_f64(0.899_999) && wait <= plain.mul_f64(1.100_001));
            prop_assert!(wait >= Duration::from_millis(90) && wait <= LONGEST);
        }
    }
}
