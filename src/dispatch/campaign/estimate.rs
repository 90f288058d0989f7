//! [`leaves`]: when the last message of a campaign leaves; [`Load`]: what a step takes if each recipient needs it. An
//! estimate by what is known before the start: what else is sent by the same pace makes it later.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::dispatch::Channel;
use crate::dispatch::pace::Rate;
use crate::labels::labels;

const DAY_MICROS: i64 = 24 * 3600 * 1_000_000;
/// How long a call is open that nothing is known of: what it rings and what it says.
const CALL_LASTS: Duration = Duration::from_secs(60);
/// Longer than this, calls last long enough to ask for more of them at a time.
const TOO_LONG: Duration = Duration::from_secs(3600);

/// When a recipient may be reached: from the first to the second, and at the same time on the days after. `None` is at any
/// time.
pub type Hours = Option<(Timestamp, Timestamp)>;

/// How many recipients have the same hours, and what their messages take of the rate.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Crowd {
    /// How many they are.
    pub recipients: u64,
    /// Units of the pace, together.
    pub units: u64,
}

/// What bounds how fast a campaign is.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Bounds {
    /// Of the pace of the sender.
    pub rate: Rate,
    /// How many may leave on a day, which begins at midnight UTC.
    pub per_day: u64,
    /// When nothing is sent any more.
    pub deadline: Timestamp,
}

/// How a campaign goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Forecast {
    /// When the last message leaves that leaves in time.
    pub last: Timestamp,
    /// How many recipients are not reached before the deadline.
    pub late: u64,
}

/// When the last of them leaves, if the first may leave `now`.
#[must_use]
pub fn leaves(crowds: &BTreeMap<Hours, Crowd>, bounds: &Bounds, now: Timestamp) -> Forecast {
    let waiting = crowds.iter().filter(|(_, crowd)| crowd.recipients > 0);
    let mut waiting: Vec<(Hours, Crowd)> = waiting.map(|(hours, crowd)| (*hours, *crowd)).collect();
    let (mut at, mut last, mut today) = (now.micros(), now.micros(), 0);
    while !waiting.is_empty() && at < bounds.deadline.micros() {
        let midnight = (at.div_euclid(DAY_MICROS) + 1) * DAY_MICROS;
        if today >= bounds.per_day {
            (at, today) = (midnight, 0);
            continue;
        }
        for (hours, _) in &mut waiting {
            *hours = hours.map(|hours| next_day(hours, at));
        }
        let is_open =
            |(hours, _): &(Hours, Crowd)| hours.is_none_or(|(opens, _)| opens.micros() <= at);
        let closes = |hours: Hours| hours.map_or(i64::MAX, |(_, closes)| closes.micros());
        let opens = waiting.iter().filter_map(|(hours, _)| Some(hours.as_ref()?.0.micros()));
        let opens = opens.filter(|opens| *opens > at).min();
        let open =
            waiting.iter_mut().filter(|it| is_open(it)).min_by_key(|(hours, _)| closes(*hours));
        let until = opens.unwrap_or(i64::MAX).min(midnight).min(bounds.deadline.micros());
        if let Some((hours, crowd)) = open {
            let until = until.min(closes(*hours));
            let count = sent(crowd, bounds, at, until).min(bounds.per_day - today);
            let took = take(crowd, bounds.rate, count);
            (last, today) = (at, today + count);
            at = at.saturating_add(took);
            last = last.max(at.min(until));
        } else {
            at = until;
        }
        if at >= midnight {
            today = 0;
        }
        waiting.retain(|(_, crowd)| crowd.recipients > 0);
    }
    let late = waiting.iter().map(|(_, crowd)| crowd.recipients).sum();
    Forecast { last: Timestamp::from_micros(last), late }
}

/// The hours of a recipient at this time, or the next ones.
fn next_day((opens, closes): (Timestamp, Timestamp), at: i64) -> (Timestamp, Timestamp) {
    let days = match closes.micros() > at {
        true => 0,
        false => (at - closes.micros()) / DAY_MICROS + 1,
    };
    let later =
        |time: Timestamp| Timestamp::from_micros(time.micros().saturating_add(days * DAY_MICROS));
    (later(opens), later(closes))
}

/// The microseconds that one of a crowd takes.
fn each(crowd: &Crowd, rate: Rate) -> f64 {
    crowd.units.max(1) as f64 / crowd.recipients as f64 * 1e6 / rate.get()
}

/// How many of a crowd leave between these times; at least one.
fn sent(crowd: &Crowd, bounds: &Bounds, at: i64, until: i64) -> u64 {
    let room = (until - at) as f64 / each(crowd, bounds.rate);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is bounded")]
    let room = room.clamp(1.0, 1e15) as u64;
    room.min(crowd.recipients)
}

/// Takes this many out of a crowd, and returns the microseconds that they take.
fn take(crowd: &mut Crowd, rate: Rate, count: u64) -> i64 {
    #[expect(clippy::cast_possible_truncation, reason = "a rate is at least one a day")]
    let took = (each(crowd, rate) * count as f64).ceil() as i64;
    let units = crowd.units.saturating_mul(count) / crowd.recipients.max(1);
    *crowd =
        Crowd { recipients: crowd.recipients - count, units: crowd.units.saturating_sub(units) };
    took
}

/// What a step takes if each of these recipients needs it.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Load {
    /// How it reaches them.
    pub channel: Channel,
    /// How many they are.
    pub recipients: u64,
    /// Units of the pace, together.
    pub units: u64,
    /// Of its pace.
    pub rate: Rate,
    /// How many calls the account may have open.
    pub lines: u32,
}

labels! {
    /// What should be asked for before a campaign starts.
    pub enum Advice {
        /// More calls per second of Twilio: they would last for more than an hour.
        CallsPerSecond = "calls_per_second",
        /// More open calls: they would last for more than an hour one after the other.
        CallsLimit = "calls_limit",
    }
}

impl Load {
    /// How long it takes; of calls, as many at a time as the account may have open, each a minute.
    #[must_use]
    pub fn lasts(&self) -> Duration {
        match self.channel {
            Channel::Call => self.by_rate().max(self.by_lines()),
            Channel::Message | Channel::Email => self.by_rate(),
        }
    }

    /// What makes calls too slow; both, or none.
    pub fn advice(&self) -> impl Iterator<Item = Advice> {
        let slow = [
            (Advice::CallsPerSecond, self.by_rate() > TOO_LONG),
            (Advice::CallsLimit, self.by_lines() > TOO_LONG),
        ];
        let calls = self.channel == Channel::Call;
        slow.into_iter().filter(move |(_, is_slow)| calls && *is_slow).map(|(advice, _)| advice)
    }

    fn by_rate(&self) -> Duration {
        Duration::try_from_secs_f64(self.units as f64 / self.rate.get()).unwrap_or(Duration::MAX)
    }

    fn by_lines(&self) -> Duration {
        let seconds = self.recipients.saturating_mul(CALL_LASTS.as_secs());
        Duration::from_secs(seconds / u64::from(self.lines.max(1)))
    }
}

/// Whether a list looks made up: more than a fifth of its numbers are one more than another of them. Of a short list that
/// proves nothing.
#[must_use]
pub fn is_sequential(sequential: u64, recipients: u64) -> bool {
    const PERCENT: u128 = 20;
    const AT_LEAST: u64 = 20;
    recipients >= AT_LEAST && u128::from(sequential) * 100 > u128::from(recipients) * PERCENT
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3600 * 1_000_000;

    fn at(hour: i64) -> Timestamp {
        Timestamp::from_micros(hour * HOUR)
    }

    /// Hours since midnight between which recipients may be reached, and how many these are; each takes two units.
    type Given = (Option<(i64, i64)>, u64);

    fn forecast(given: &[Given], rate: f64, per_day: u64, deadline: i64) -> (i64, u64) {
        let crowd = |recipients| Crowd { recipients, units: 2 * recipients };
        let hours =
            |hours: Option<(i64, i64)>| hours.map(|(opens, closes)| (at(opens), at(closes)));
        let crowds = given.iter().map(|(open, recipients)| (hours(*open), crowd(*recipients)));
        let rate = Rate::per_second(rate).expect("a rate");
        let bounds = Bounds { rate, per_day, deadline: at(deadline) };
        let Forecast { last, late } = leaves(&crowds.collect(), &bounds, at(10));
        (last.micros() / 60_000_000 - 600, late)
    }

    /// The minutes until the last one leaves, and how many are late.
    #[track_caller]
    fn check(given: &[Given], (rate, per_day, deadline): (f64, u64, i64), expected: (i64, u64)) {
        assert_eq!(forecast(given, rate, per_day, deadline), expected);
    }

    #[test]
    fn the_last_one_leaves_when_the_pace_allows_it() {
        check(&[], (1.0, 9_999, 100), (0, 0));
        check(&[(None, 1_800)], (1.0, 9_999, 100), (60, 0));
        check(&[(None, 1_800)], (10.0, 9_999, 100), (6, 0));
    }

    #[test]
    fn who_is_held_leaves_later_and_does_not_hold_up_the_others() {
        check(&[(None, 1_800), (Some((12, 20)), 1_800)], (1.0, 9_999, 100), (180, 0));
        check(&[(None, 7_200), (Some((12, 20)), 1_800)], (1.0, 99_999, 100), (300, 0));
        // Those whose hours end at 11 come first, although all may be reached.
        check(&[(None, 1_800), (Some((8, 11)), 1_800)], (1.0, 9_999, 100), (120, 0));
        // 1,800 of them leave until 11, the others on the next day from 8 on.
        check(&[(Some((8, 11)), 3_600)], (1.0, 9_999, 100), (22 * 60 + 60, 0));
    }

    #[test]
    fn a_day_has_so_many_and_a_deadline_ends_it() {
        check(&[(None, 2_500)], (1_000.0, 1_000, 100), (38 * 60, 0));
        check(&[(None, 2_500)], (1_000.0, 1_000, 30), (14 * 60, 500));
        check(&[(None, 3_600)], (1.0, 9_999, 11), (60, 1_800));
        check(&[(Some((12, 20)), 5)], (1.0, 9_999, 11), (0, 5));
    }

    #[test]
    fn calls_that_last_for_hours_are_to_be_sped_up_before_the_start() {
        let load = |channel, recipients, rate: f64, lines| {
            let rate = Rate::per_second(rate).expect("a rate");
            Load { channel, recipients, units: recipients, rate, lines }
        };
        let check = |load: Load, seconds, advice: &[Advice]| {
            assert_eq!(
                (load.lasts().as_secs(), load.advice().collect::<Vec<_>>()),
                (seconds, advice.to_vec())
            );
        };
        check(load(Channel::Call, 50, 1.0, 1), 3_000, &[]);
        check(
            load(Channel::Call, 50_000, 1.0, 1),
            3_000_000,
            &[Advice::CallsPerSecond, Advice::CallsLimit],
        );
        check(load(Channel::Call, 7_200, 1.0, 500), 7_200, &[Advice::CallsPerSecond]);
        check(load(Channel::Call, 3_000, 1.0, 10), 18_000, &[Advice::CallsLimit]);
        check(load(Channel::Message, 50_000, 1.0, 1), 50_000, &[]);
    }

    #[test]
    fn more_than_a_fifth_in_sequence_is_odd() {
        assert!(!is_sequential(0, 0) && !is_sequential(20, 100) && is_sequential(21, 100));
        assert!(!is_sequential(18, 19) && is_sequential(19, 20));
    }
}
