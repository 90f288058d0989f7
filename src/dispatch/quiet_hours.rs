//! When a recipient may be disturbed, by the clocks of where the recipient may be. Of values alone; the zones and their
//! changes of clocks are built in.
//!
//! A number says little about where its owner is. So every zone that it may be in must allow it, unless the request says
//! in which zone the recipient is.

mod zones;

use std::collections::HashMap;
use std::fmt;
use std::sync::LazyLock;

use jiff::tz::{TimeZone, TimeZoneDatabase};

use super::Purpose;
use super::country::Number;
use crate::clock::Timestamp;

const MINUTE_MICROS: i64 = 60 * 1_000_000;
const DAY_MICROS: i64 = 24 * 60 * MINUTE_MICROS;

/// The hours of a day, by the clocks of the recipient, in which messages may be sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hours {
    /// The first minute of the day.
    from: u16,
    /// The minute of the day from which nothing is sent any more: at most 1440.
    until: u16,
    /// The days, from Monday on.
    days: [bool; 7],
}

impl Hours {
    /// 8 to 21 o'clock on each day: solicitations in the United States (47 CFR 64.1200(c)(1)).
    pub const TCPA: Self = Self { from: 8 * 60, until: 21 * 60, days: [true; 7] };
    /// 8 to 20 o'clock, and not on Sundays, as the strictest of the states have it.
    pub const US_STRICT: Self =
        Self { from: 8 * 60, until: 20 * 60, days: [true, true, true, true, true, true, false] };

    /// The minutes of the day between these two, on these days from Monday on. `None` unless they are in order, within
    /// a day, and on at least one day.
    #[must_use]
    pub fn new(from: u16, until: u16, days: [bool; 7]) -> Option<Self> {
        let fits = from < until && until <= 24 * 60 && days.contains(&true);
        fits.then_some(Self { from, until, days })
    }

    /// Whether they have this time of a clock, in microseconds since 1970 by that clock.
    fn have(self, local: i64) -> bool {
        let minute = local.rem_euclid(DAY_MICROS) / MINUTE_MICROS;
        self.is_day(local.div_euclid(DAY_MICROS))
            && (i64::from(self.from)..i64::from(self.until)).contains(&minute)
    }

    /// Whether they have this day since 1970, which began with a Thursday.
    fn is_day(self, day: i64) -> bool {
        const THURSDAY: i64 = 3;
        let weekday = usize::try_from((day + THURSDAY).rem_euclid(7));
        weekday.is_ok_and(|weekday| self.days[weekday])
    }

    /// When they begin next, by the same clock, at a time that they do not have.
    fn next_beginning(self, local: i64) -> i64 {
        let today = local.div_euclid(DAY_MICROS);
        let beginning = |day: i64| day * DAY_MICROS + i64::from(self.from) * MINUTE_MICROS;
        let days = (today..=today + 7).filter(|day| self.is_day(*day)).map(beginning);
        let next = days.into_iter().find(|begins| *begins > local);
        next.unwrap_or_else(|| beginning(today + 8))
    }

    /// When they end, by the same clock, at a time that they have.
    fn end(self, local: i64) -> i64 {
        local.div_euclid(DAY_MICROS) * DAY_MICROS + i64::from(self.until) * MINUTE_MICROS
    }
}

/// A time zone of the IANA database.
#[derive(Clone)]
pub struct Zone(TimeZone);

static DATABASE: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

impl Zone {
    /// The zone of a name: `America/New_York`.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        // POSIX's texts and `Etc/Unknown` are zones as well, and are no place.
        let is_place = name.contains('/') && !name.starts_with("Etc/");
        is_place.then(|| DATABASE.get(name).ok().map(Self))?
    }

    /// Its name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.iana_name().unwrap_or_default()
    }

    /// How far its clocks are ahead, in microseconds.
    fn offset(&self, at: Timestamp) -> i64 {
        instant(at).map_or(0, |at| i64::from(self.0.to_offset(at).seconds()) * 1_000_000)
    }

    /// When its clocks change next.
    fn next_change(&self, at: Timestamp) -> Option<Timestamp> {
        let change = self.0.following(instant(at)?).next()?;
        Some(Timestamp::from_micros(change.timestamp().as_microsecond()))
    }
}

fn instant(at: Timestamp) -> Option<jiff::Timestamp> {
    jiff::Timestamp::from_microsecond(at.micros()).ok()
}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Zone({})", self.as_str())
    }
}

impl PartialEq for Zone {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

/// The zones by what numbers begin with.
static ZONES: LazyLock<HashMap<&'static str, Vec<Zone>>> = LazyLock::new(|| {
    let rows = zones::TABLE.iter().map(|(names, prefixes)| {
        let zones = names.split(' ').map(|name| Zone::parse(name).expect("a test parses them all"));
        (zones.collect::<Vec<_>>(), prefixes)
    });
    rows.flat_map(|(zones, prefixes)| prefixes.split(' ').map(move |it| (it, zones.clone())))
        .collect()
});

/// Every zone that a number may be in; empty if it is not known.
#[must_use]
pub fn zones_of(number: &Number) -> &'static [Zone] {
    /// The longest prefix of the table.
    const LONGEST: usize = 4;
    let digits = &number.as_str()[1..];
    let prefixes = (1..=LONGEST.min(digits.len())).rev().map(|length| &digits[..length]);
    prefixes.into_iter().find_map(|prefix| ZONES.get(prefix)).map_or(&[], Vec::as_slice)
}

/// When messages may be sent.
#[derive(Clone, Debug)]
pub struct QuietHours {
    /// The hours that are not quiet.
    pub hours: Hours,
    /// Where a recipient is of whose number nothing is known; `None` if such a one is sent nothing.
    pub unknown: Option<Zone>,
}

/// Whether a recipient may be disturbed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Quiet {
    /// Until this time.
    No {
        /// The first moment that is quiet somewhere.
        until: Timestamp,
    },
    /// Not before this time.
    Until(Timestamp),
    /// It is not known where the recipient is, or it is quiet in one zone whenever it is not in another.
    Always,
}

/// Most clocks that are asked in turn until all of them agree. Each of them brings the time forward: within a fortnight
/// they agree, or never.
const MOST_TURNS: usize = 64;

impl QuietHours {
    /// Whether messages of a purpose wait for the hours that are not quiet. Who asked for a password is awake, and an
    /// alert is worth waking up for.
    #[must_use]
    pub const fn hold(purpose: Purpose) -> bool {
        match purpose {
            Purpose::Alert | Purpose::Otp => false,
            Purpose::Transactional | Purpose::Marketing => true,
        }
    }

    /// Whether it is quiet where a number may be, or in the recipient's own zone, if that is known.
    #[must_use]
    pub fn ask(&self, to: &Number, own: Option<&Zone>, now: Timestamp) -> Quiet {
        let zones = match own {
            Some(own) => std::slice::from_ref(own),
            None => zones_of(to),
        };
        let zones = match (zones, &self.unknown) {
            ([], Some(unknown)) => std::slice::from_ref(unknown),
            ([], None) => return Quiet::Always,
            (zones, _) => zones,
        };
        let mut at = now;
        for _ in 0..MOST_TURNS {
            let opens = zones.iter().filter_map(|zone| self.opens(zone, at)).max();
            match opens {
                Some(opens) if opens > at => at = opens,
                _ if at > now => return Quiet::Until(at),
                _ => {
                    let closes = zones.iter().map(|zone| self.closes(zone, now)).min();
                    return Quiet::No { until: closes.unwrap_or(now) };
                }
            }
        }
        Quiet::Always
    }

    fn is_open(&self, zone: &Zone, at: Timestamp) -> bool {
        self.hours.have(at.micros().saturating_add(zone.offset(at)))
    }

    /// When it is not quiet in a zone any more; `None` if it is not quiet now.
    fn opens(&self, zone: &Zone, now: Timestamp) -> Option<Timestamp> {
        self.next(zone, now, false)
    }

    /// When it becomes quiet in a zone in which it is not.
    fn closes(&self, zone: &Zone, now: Timestamp) -> Timestamp {
        self.next(zone, now, true).unwrap_or(now)
    }

    /// When it is no longer as it is now, if it is as said: between two changes of clocks, these run evenly.
    fn next(&self, zone: &Zone, now: Timestamp, open: bool) -> Option<Timestamp> {
        let mut at = now;
        // Hours that never end, or never begin, are looked at for weeks, and not for ever.
        for _ in 0..MOST_TURNS {
            if self.is_open(zone, at) != open {
                break;
            }
            let offset = zone.offset(at);
            let local = at.micros().saturating_add(offset);
            let turns = match open {
                true => self.hours.end(local),
                false => self.hours.next_beginning(local),
            };
            let turns = Timestamp::from_micros(turns.saturating_sub(offset));
            at = zone.next_change(at).map_or(turns, |change| change.min(turns));
        }
        (at > now).then_some(at)
    }
}

#[cfg(test)]
mod tests;
