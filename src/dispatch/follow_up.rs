//! When a status that says nothing final is asked for at Twilio: callbacks get lost on the way, and then only the REST API
//! knows how a message or a call ended.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::event::Resource;

/// When messages are asked for, unless configured, counted from when they were first heard of. After the last time Twilio
/// never said anything final: some countries report no delivery.
pub const TIMES: [Duration; 3] =
    [Duration::from_secs(3600), Duration::from_secs(6 * 3600), Duration::from_secs(24 * 3600)];

/// No call is asked for earlier: it may last as long as Twilio's default `TimeLimit`, 4 hours, and 5 minutes pass until its
/// callbacks are late. Source: <https://www.twilio.com/docs/voice/api/call-resource>.
const SHORTEST_OF_CALLS: Duration = Duration::from_secs(4 * 3600 + 300);

/// What is not heard of for longer after the last time is left alone: it is from before offhook asked.
const OLDEST: Duration = Duration::from_secs(24 * 3600);

/// The times at which statuses are asked for, ascending.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Times(Vec<Duration>);

impl Times {
    /// These; `None` unless there are 1 to 5, ascending.
    #[must_use]
    pub fn new(times: Vec<Duration>) -> Option<Self> {
        let ascends = times.windows(2).all(|two| two[0] < two[1]);
        ((1..=5).contains(&times.len()) && ascends).then_some(Self(times))
    }

    /// How old something is when it is asked for the first time.
    #[must_use]
    pub fn first(&self, resource: Resource) -> Duration {
        self.of(resource).next().unwrap_or_default()
    }

    /// How old it is when it is not asked for any more, if it never was.
    #[must_use]
    pub fn oldest(&self) -> Duration {
        self.0.last().copied().unwrap_or_default().max(SHORTEST_OF_CALLS) + OLDEST
    }

    /// When something is asked for next that was just asked for; `None` after the last time. What was missed is not made
    /// up for.
    #[must_use]
    pub fn next(
        &self,
        resource: Resource,
        first_seen: Timestamp,
        now: Timestamp,
    ) -> Option<Timestamp> {
        self.of(resource).map(|after| first_seen.after(after)).find(|at| *at > now)
    }

    fn of(&self, resource: Resource) -> impl Iterator<Item = Duration> {
        let shortest = match resource {
            Resource::Call => SHORTEST_OF_CALLS,
            _ => Duration::ZERO,
        };
        let later = self.0.iter().copied().filter(move |time| *time > shortest);
        // The first one is moved rather than left out.
        let first = self.0.first().copied().unwrap_or_default().max(shortest);
        std::iter::once(first).chain(later.filter(move |time| *time > first))
    }
}

impl Default for Times {
    fn default() -> Self {
        Self(TIMES.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3600;

    #[test]
    fn what_stays_open_is_asked_for_at_each_time_once() {
        let check = |resource, age_s: u64, expected: Option<u64>| {
            let seen = Timestamp::from_micros(1_764_000_000_000_000);
            let now = seen.after(Duration::from_secs(age_s));
            let next = Times::default().next(resource, seen, now);
            let next = next.map(|at| at.since(seen).as_secs());
            assert_eq!(next, expected, "{resource:?} {age_s}");
        };
        check(Resource::Message, 0, Some(HOUR));
        check(Resource::Message, HOUR, Some(6 * HOUR));
        check(Resource::Message, 7 * HOUR, Some(24 * HOUR));
        check(Resource::Message, 24 * HOUR, None);
        check(Resource::Call, HOUR, Some(4 * HOUR + 300));
        check(Resource::Call, 4 * HOUR + 300, Some(6 * HOUR));
        check(Resource::Call, 25 * HOUR, None);
    }

    #[test]
    fn a_call_is_not_asked_for_while_it_may_last() {
        let seconds = |all: &[u64]| all.iter().map(|it| Duration::from_secs(*it)).collect();
        let times = Times::new(seconds(&[1, 2, 20_000])).expect("ascending");
        assert_eq!(times.first(Resource::Call), SHORTEST_OF_CALLS);
        let all: Vec<_> = times.of(Resource::Call).map(|it| it.as_secs()).collect();
        assert_eq!(all, [SHORTEST_OF_CALLS.as_secs(), 20_000]);
        assert_eq!(times.first(Resource::Message), Duration::from_secs(1));
        for wrong in [&[][..], &[2, 2], &[3, 1], &[1, 2, 3, 4, 5, 6]] {
            assert_eq!(Times::new(seconds(wrong)), None, "{wrong:?}");
        }
    }
}
