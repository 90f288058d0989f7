//! [`Rate`]: how fast a pace is; [`SenderKind`]: what a sender is, and its usual rate.

use std::time::Duration;

use super::segments::Segments;
use crate::labels::labels;

labels! {
    /// What is sent from. The usual rate depends on it, and what is counted.
    pub enum SenderKind {
        /// An ordinary number.
        LongCode = "long_code",
        /// A toll-free number.
        TollFree = "toll_free",
        /// A number of five or six digits.
        ShortCode = "short_code",
        /// A WhatsApp sender.
        Whatsapp = "whatsapp",
        /// A number that calls.
        Voice = "voice",
        /// An email address.
        Email = "email",
        /// A Messaging Service, or a name: what stands behind it is not known.
        Other = "other",
    }
}

impl SenderKind {
    /// Units per second that Twilio accepts without a queue, by its own estimates.
    #[must_use]
    pub const fn usual_rate(self) -> f64 {
        match self {
            Self::LongCode | Self::Voice => 1.0,
            Self::TollFree => 3.0,
            Self::ShortCode => 100.0,
            Self::Whatsapp => 80.0,
            Self::Email | Self::Other => 10.0,
        }
    }

    /// What a text takes of the rate: its segments, or one message, call or email where there are none.
    #[must_use]
    pub fn units(self, text: &str) -> u32 {
        match self {
            Self::Whatsapp | Self::Voice | Self::Email => 1,
            Self::LongCode | Self::TollFree | Self::ShortCode | Self::Other => {
                Segments::of(text).count
            }
        }
    }

    /// The kind of what is written as the sender's number or address.
    #[must_use]
    pub fn of(from: &str) -> Self {
        const TOLL_FREE: [&str; 7] = ["800", "833", "844", "855", "866", "877", "888"];
        let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        match from.strip_prefix('+') {
            _ if from.starts_with("whatsapp:") => Self::Whatsapp,
            _ if from.contains('@') => Self::Email,
            Some(digits) => {
                let area = digits.strip_prefix('1').and_then(|rest| rest.get(..3));
                if area.is_some_and(|area| TOLL_FREE.contains(&area)) {
                    Self::TollFree
                } else {
                    Self::LongCode
                }
            }
            None if is_digits(from) => Self::ShortCode,
            None => Self::Other,
        }
    }
}

/// Units per second, more than 0.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Rate(f64);

impl Rate {
    /// The slowest: a unit in a day.
    const SLOWEST: f64 = 1.0 / 86_400.0;
    /// The fastest, which is more than an account may send.
    const FASTEST: f64 = 10_000.0;

    /// A rate; `None` for what is not a number, not more than a unit a day, or more than 10,000 a second.
    #[must_use]
    pub fn per_second(rate: f64) -> Option<Self> {
        (Self::SLOWEST..=Self::FASTEST).contains(&rate).then_some(Self(rate))
    }

    /// Units per second.
    #[must_use]
    pub const fn get(self) -> f64 {
        self.0
    }

    /// The microseconds that must lie between the start of something of this many units and of what follows it. Rounded
    /// up, so that it is never too fast.
    #[must_use]
    pub fn micros(self, units: u32) -> i64 {
        // What a fraction such as 1/3 leaves behind the comma is not a microsecond more.
        let exact = f64::from(units) * 1e6 / self.0;
        #[expect(clippy::cast_possible_truncation, reason = "a rate is at least one a day")]
        let rounded = (exact - 1e-6).ceil() as i64;
        rounded.max(0)
    }
}

/// How much later than its slot an attempt may be. A later one gives its slot back, so that a process that stood still
/// sends no burst. Where the store is so slow that none is in time, more is allowed until some are, and then by and by
/// less again: else nothing would ever be sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lateness {
    least: Duration,
    most: Duration,
    allowed: Duration,
}

impl Lateness {
    /// At first, `least` is allowed; never more than `most`.
    #[must_use]
    pub fn new(least: Duration, most: Duration) -> Self {
        Self { least, most: most.max(least), allowed: least }
    }

    /// What is allowed now.
    #[must_use]
    pub fn allowed(self) -> Duration {
        self.allowed
    }

    /// Takes into account whether some of a group were in time, and whether some were not.
    pub fn learn(&mut self, some_in_time: bool, some_late: bool) {
        self.allowed = match (some_in_time, some_late) {
            (false, true) => self.allowed.saturating_mul(2).min(self.most),
            (true, false) => (self.allowed - self.allowed / 16).max(self.least),
            (true, true) | (false, false) => self.allowed,
        };
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn where_none_is_in_time_more_is_allowed_and_later_less_again() {
        let millis = Duration::from_millis;
        let mut lateness = Lateness::new(millis(100), millis(1_000));
        let mut learn = |in_time, late| {
            lateness.learn(in_time, late);
            lateness.allowed()
        };
        assert_eq!(
            [1, 2, 3, 4, 5].map(|_| learn(false, true).as_millis()),
            [200, 400, 800, 1_000, 1_000]
        );
        assert_eq!(learn(true, true), millis(1_000), "some are in time");
        assert_eq!(learn(false, false), millis(1_000), "nothing was to be sent");
        assert!(learn(true, false) < millis(1_000));
        assert!((0..100).any(|_| learn(true, false) == millis(100)), "never less");
        assert_eq!(learn(true, false), millis(100));
    }

    #[test]
    fn what_a_sender_is_can_be_read_off_its_number() {
        let check = |from: &str, kind, rate: f64| {
            assert_eq!((SenderKind::of(from), SenderKind::of(from).usual_rate()), (kind, rate));
        };
        check("+12125550100", SenderKind::LongCode, 1.0);
        check("+18335550100", SenderKind::TollFree, 3.0);
        check("+491701234567", SenderKind::LongCode, 1.0);
        check("12345", SenderKind::ShortCode, 100.0);
        check("whatsapp:+12125550100", SenderKind::Whatsapp, 80.0);
        check("Example", SenderKind::Other, 10.0);
        check("Example <alerts@example.com>", SenderKind::Email, 10.0);
    }

    #[test]
    fn a_message_takes_its_segments_of_the_rate() {
        let long = "a".repeat(161);
        assert_eq!(SenderKind::LongCode.units(&long), 2);
        assert_eq!([SenderKind::Whatsapp, SenderKind::Voice].map(|kind| kind.units(&long)), [1, 1]);
    }

    #[test]
    fn a_rate_is_more_than_0_and_not_absurd() {
        for wrong in [0.0, -1.0, f64::NAN, f64::INFINITY, 10_001.0, 1e-9] {
            assert_eq!(Rate::per_second(wrong), None, "{wrong}");
        }
        let micros = |rate: f64, units| Rate::per_second(rate).unwrap().micros(units);
        assert_eq!(micros(1.0, 1), 1_000_000);
        assert_eq!(micros(3.0, 1), 333_334);
        assert_eq!(micros(3.0, 3), 1_000_000);
        assert_eq!(micros(100.0, 7), 70_000);
        assert_eq!(micros(3.75, 1), 266_667);
        assert_eq!(micros(80.0, 0), 0);
    }

    proptest! {
        #[test]
        fn units_are_never_closer_than_the_rate(rate in 0.001..10_000.0_f64, units in 0..10_000_u32) {
            let exact = f64::from(units) * 1e6 / rate;
            let micros = Rate::per_second(rate).unwrap().micros(units) as f64;
            prop_assert!(micros >= exact - 1e-3 * (1.0 + exact * 1e-9) && micros < exact + 1.0 + 1e-3);
        }
    }
}
