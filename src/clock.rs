//! Time as a value: a [`Timestamp`] in microseconds, and the [`Clock`] it is taken from.
//! Nothing else in the crate reads the system's clock.

use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use serde::{Serialize, Serializer};
use time::OffsetDateTime;
use time::format_description::FormatItem;
use time::format_description::well_known::{Rfc2822, Rfc3339};
use time::macros::format_description;

/// Always six decimals and always UTC, so that text order is time order (SQLite compares text).
const FIXED: &[FormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:6]Z");
/// `RawDlrDoneDate`: the carrier's delivery time, without seconds and without a zone.
const DLR: &[FormatItem<'_>] = format_description!("[year][month][day][hour][minute]");

/// Years 1..=9998: what both databases and RFC 3339 can write.
const MICROS: std::ops::RangeInclusive<i64> = -62_135_596_800_000_000..=253_370_764_799_999_999;

/// Microseconds since the Unix epoch, UTC.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The time from microseconds since the epoch; a value outside of the years 1 to 9998 is clamped.
    #[must_use]
    pub fn from_micros(micros: i64) -> Self {
        Self(micros.clamp(*MICROS.start(), *MICROS.end()))
    }

    /// Microseconds since the epoch.
    #[must_use]
    pub fn micros(self) -> i64 {
        self.0
    }

    /// Reads RFC 2822, as in the `Timestamp` of a call's callback.
    #[must_use]
    pub fn parse_rfc2822(text: &str) -> Option<Self> {
        OffsetDateTime::parse(text, &Rfc2822).ok().map(Self::from)
    }

    /// Reads RFC 3339, as in the `time` of a CloudEvent.
    #[must_use]
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        OffsetDateTime::parse(text, &Rfc3339).ok().map(Self::from)
    }

    /// Reads `RawDlrDoneDate`, `YYMMDDhhmm`, which names no zone: taken as UTC.
    #[must_use]
    pub fn parse_dlr(text: &str) -> Option<Self> {
        if text.len() != 10 || !text.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        time::PrimitiveDateTime::parse(&format!("20{text}"), DLR)
            .ok()
            .map(|at| Self::from(at.assume_utc()))
    }

    /// How long after `earlier` this is; zero if it is before.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0).max(0).unsigned_abs())
    }

    /// This much earlier, as far as time goes back.
    #[must_use]
    pub fn before(self, earlier_by: Duration) -> Self {
        let micros = i64::try_from(earlier_by.as_micros()).unwrap_or(i64::MAX);
        Self::from_micros(self.0.saturating_sub(micros))
    }

    /// This much later, as far as time goes.
    #[must_use]
    pub fn after(self, later_by: Duration) -> Self {
        let micros = i64::try_from(later_by.as_micros()).unwrap_or(i64::MAX);
        Self::from_micros(self.0.saturating_add(micros))
    }

    /// The time as a date and time in UTC.
    #[must_use]
    pub fn datetime(self) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1000)
            .expect("every constructor keeps the year within 1..=9998")
    }
}

impl From<OffsetDateTime> for Timestamp {
    fn from(at: OffsetDateTime) -> Self {
        let micros = at.unix_timestamp_nanos().div_euclid(1000);
        Self::from_micros(i64::try_from(micros).unwrap_or(i64::MAX))
    }
}

/// RFC 3339 in UTC with six decimals: `2026-11-24T08:00:00.000000Z`.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.datetime().format(FIXED).map_err(|_| fmt::Error)?)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The source of the time. Tests pass [`Fixed`](Clock::Fixed) and sleep for nothing.
#[derive(Clone, Copy, Debug)]
pub enum Clock {
    /// The machine's clock.
    System,
    /// The machine's clock, wrong by this many microseconds: for `offhook torture`.
    Shifted(i64),
    /// Always this time.
    Fixed(Timestamp),
    /// The time that a test sets, and moves on.
    Manual(ManualClock),
}

/// A clock that stands still until it is moved. For tests: each takes a few bytes for good.
#[derive(Clone, Copy, Debug)]
pub struct ManualClock(&'static AtomicI64);

impl ManualClock {
    /// One that shows this time.
    #[must_use]
    pub fn at(time: Timestamp) -> Self {
        Self(Box::leak(Box::new(AtomicI64::new(time.micros()))))
    }

    /// Moves it on.
    pub fn advance(&self, by: Duration) {
        self.0.fetch_add(i64::try_from(by.as_micros()).unwrap_or(i64::MAX), Ordering::Relaxed);
    }

    fn now(self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::Relaxed))
    }
}

impl Clock {
    /// The time now.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one place where time comes from")]
    pub fn now(&self) -> Timestamp {
        match self {
            Self::System => OffsetDateTime::now_utc().into(),
            Self::Shifted(micros) => {
                Timestamp::from_micros(Self::System.now().micros().saturating_add(*micros))
            }
            Self::Fixed(at) => *at,
            Self::Manual(clock) => clock.now(),
        }
    }
}

/// An age such as 30s, 15m, 2h or 7d; `None` if the text is not one.
#[must_use]
pub fn age(text: &str) -> Option<Duration> {
    let unit = text.chars().last().filter(char::is_ascii_alphabetic)?;
    let number: u64 = text[..text.len() - 1].parse().ok()?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 60 * 60,
        'd' => 24 * 60 * 60,
        _ => return None,
    };
    // As many days as there are years in a timestamp.
    Some(Duration::from_secs(number.min(4_000_000).saturating_mul(seconds)))
}

/// A duration in milliseconds, to the microsecond: what logs and commands print.
#[must_use]
pub fn millis(took: Duration) -> f64 {
    (took.as_secs_f64() * 1e6).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(parsed: Option<Timestamp>, expected: Option<&str>) {
        assert_eq!(parsed.map(|at| at.to_string()).as_deref(), expected);
    }

    #[test]
    fn reads_the_three_forms_that_twilio_writes() {
        check(
            Timestamp::parse_rfc2822("Mon, 15 Aug 2005 15:52:01 +0000"),
            Some("2005-08-15T15:52:01.000000Z"),
        );
        check(
            Timestamp::parse_rfc3339("2026-11-24T09:00:00.5+01:00"),
            Some("2026-11-24T08:00:00.500000Z"),
        );
        check(Timestamp::parse_dlr("2611240859"), Some("2026-11-24T08:59:00.000000Z"));
    }

    #[test]
    fn nonsense_is_no_time() {
        check(Timestamp::parse_rfc2822("yesterday"), None);
        check(Timestamp::parse_rfc3339("2026-13-01T00:00:00Z"), None);
        check(Timestamp::parse_dlr("26112408"), None);
        check(Timestamp::parse_dlr("2699990859"), None);
        check(Timestamp::parse_dlr("26112408é"), None);
    }

    #[test]
    fn text_order_is_time_order_and_extremes_do_not_panic() {
        let (a, b) = (Timestamp::from_micros(1_000_000), Timestamp::from_micros(1_500_000));
        assert!(a.to_string() < b.to_string());
        assert!(Timestamp::from_micros(i64::MIN).to_string().starts_with("0001-"));
        assert!(Timestamp::from_micros(i64::MAX).to_string().starts_with("9998-"));
    }
}
