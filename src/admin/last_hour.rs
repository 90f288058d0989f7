//! [`LastHour`]: what this process looked like during the last hour, kept in memory, so that it can be
//! seen without any other tool. Reads the metrics that everybody else reads, and knows no service.

mod habit;
mod handles;
mod sample;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

pub(super) use self::habit::Habit;
pub use self::handles::{
    AccountHandles, ForwardHandles, Handles, Receiving, SendHandles, TableHandles,
};
pub(super) use self::sample::{ForwardSample, Sample, SecretName};
use super::Admin;
use super::health::{self, Checked};
use crate::backend::{Dependency, Need};
use crate::clock::Timestamp;
use crate::labels::labels;
use crate::recent::Refusal;

/// How often the metrics are looked at.
const EVERY: Duration = Duration::from_secs(10);
/// An hour of them, and the one before it.
const SAMPLES: usize = 361;
/// Long enough that a rate is calm, short enough that it is of now.
const RATE: Duration = Duration::from_secs(60);
/// How often the store is asked what usually comes at this time.
const HABIT: Duration = Duration::from_secs(60);
/// What a quantile is made of.
const QUANTILES: Duration = Duration::from_secs(5 * 60);

/// The last hour. Times are those at which we noticed.
#[derive(Debug, Default)]
pub struct LastHour(Mutex<Samples>);

#[derive(Debug, Default)]
struct Samples {
    samples: VecDeque<Sample>,
    dependencies: Vec<Checked>,
    /// Since when each dependency that is away is.
    away: BTreeMap<Dependency, Timestamp>,
    circuit_open: Option<Timestamp>,
    /// What usually comes at this time, and when that was asked.
    habit: Option<(Timestamp, Option<Habit>)>,
}

/// A dependency as it was last seen.
#[derive(Clone, Debug)]
pub(super) struct DependencyStatus {
    pub(super) dependency: Dependency,
    pub(super) need: Need,
    /// Since when it is away; `None` if it is there.
    pub(super) away: Option<Timestamp>,
    pub(super) error: Option<String>,
}

labels! {
    /// Where events wait to be stored, in words.
    pub(in crate::admin) enum Log {
        /// In the stream.
        Redis = "Redis",
        /// In the file of this process.
        Local = "the local log",
    }
}

/// What can be said right now.
#[derive(Clone, Debug, Default)]
pub(super) struct Vitals {
    pub(super) now: Sample,
    /// Since when we watch, at most an hour.
    pub(super) hour: Sample,
    /// A minute ago, or when we began.
    pub(super) minute: Sample,
    /// Accepted in a second, of the last minute.
    pub(super) per_second: f64,
    /// Refused in a second, of the last minute.
    pub(super) refused_per_second: f64,
    /// In seconds, of the last five minutes; `None` if nothing was answered.
    pub(super) median: Option<f64>,
    pub(super) p95: Option<f64>,
    pub(super) dependencies: Vec<DependencyStatus>,
    pub(super) circuit_open: Option<Timestamp>,
    /// What usually comes at this time; `None` if the store cannot tell.
    pub(super) habit: Option<Habit>,
    /// Each of the last hour.
    pub(super) samples: Vec<Sample>,
}

impl Vitals {
    /// As it was that long ago, or when we began, if that is not as long ago.
    pub(super) fn before(&self, span: Duration) -> &Sample {
        let old = self.samples.iter().rev().find(|sample| self.now.at.since(sample.at) >= span);
        old.or(self.samples.first()).unwrap_or(&self.now)
    }

    /// Whether this process has such a dependency, and whether it answers.
    fn answers(&self, dependency: Dependency) -> Option<bool> {
        let seen = self.dependencies.iter().find(|seen| seen.dependency == dependency)?;
        Some(seen.away.is_none())
    }

    /// What waits to be stored; `None` in the place of what was seen last, where Redis cannot be asked.
    pub(super) fn unstored(&self, value: u64) -> Option<u64> {
        self.answers(Dependency::Redis).unwrap_or(true).then_some(value)
    }

    /// Where it waits.
    pub(super) fn log(&self) -> Log {
        if self.answers(Dependency::Redis).is_some() { Log::Redis } else { Log::Local }
    }

    /// Whether this process has a log on its disk behind that: a worker has none, and knows nothing of those
    /// of the receivers.
    pub(super) fn has_spool(&self) -> bool {
        self.answers(Dependency::Spool).is_some() && self.answers(Dependency::Redis).is_some()
    }

    /// How many were refused for this reason since that sample.
    pub(super) fn refused_since(&self, earlier: &Sample, reason: Refusal) -> u64 {
        self.now.refusals.get(&reason).saturating_sub(earlier.refusals.get(&reason))
    }

    /// The reasons for which any were refused since that sample, and how many.
    pub(super) fn refusals_since(&self, earlier: &Sample) -> Vec<(Refusal, u64)> {
        let all = Refusal::ALL.into_iter();
        let counts = all.map(|reason| (reason, self.refused_since(earlier, reason)));
        let mut some: Vec<_> = counts.filter(|(_, times)| *times > 0).collect();
        some.sort_by_key(|(reason, _)| reason.as_str());
        some
    }
}

impl LastHour {
    /// Looks again and again, until `stop`.
    pub(super) async fn run(admin: &Admin, stop: CancellationToken) {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let look = async {
            loop {
                ticks.tick().await;
                admin.last_hour.look(admin).await;
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = look => {}
        }
    }

    async fn look(&self, admin: &Admin) {
        let dependencies = health::dependencies(admin).await;
        let sample = Sample::take(&admin.handles, admin.clock.now());
        let now = sample.at;
        self.samples().keep(sample, dependencies);
        // Until it answers, it is asked at each look: at a start it may not be there yet.
        let known = self.samples().habit.filter(|(_, habit)| habit.is_some());
        if known.is_none_or(|(at, _)| now.since(at) >= HABIT) {
            let habit = Habit::of(&admin.reader, now).await;
            self.samples().habit = Some((now, habit));
        }
    }

    /// What can be said right now: the metrics are fresh, the dependencies as they were last seen.
    pub(super) async fn vitals(&self, admin: &Admin) -> Vitals {
        if self.samples().samples.is_empty() {
            self.look(admin).await;
        }
        let now = Sample::take(&admin.handles, admin.clock.now());
        self.samples().vitals(now)
    }

    fn samples(&self) -> MutexGuard<'_, Samples> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Samples {
    fn keep(&mut self, sample: Sample, dependencies: Vec<Checked>) {
        for Checked { dependency, ready, .. } in &dependencies {
            match ready {
                true => _ = self.away.remove(dependency),
                false => _ = self.away.entry(*dependency).or_insert(sample.at),
            }
        }
        self.dependencies = dependencies;
        self.circuit_open = match sample.circuit_open {
            true => self.circuit_open.or(Some(sample.at)),
            false => None,
        };
        if self.samples.len() == SAMPLES {
            self.samples.pop_front();
        }
        self.samples.push_back(sample);
    }

    fn vitals(&self, now: Sample) -> Vitals {
        let before = |span: Duration| {
            let old = self.samples.iter().rev().find(|sample| now.at.since(sample.at) >= span);
            old.or(self.samples.front()).cloned().unwrap_or_else(|| now.clone())
        };
        let minute = before(RATE);
        let seconds = now.at.since(minute.at).as_secs_f64().max(1.0);
        let answered = now.answered.since(&before(QUANTILES).answered);
        let dependencies = self.dependencies.iter().map(|checked| DependencyStatus {
            dependency: checked.dependency,
            need: checked.need,
            away: self.away.get(&checked.dependency).copied(),
            error: checked.error.clone(),
        });
        Vitals {
            per_second: now.accepted().saturating_sub(minute.accepted()) as f64 / seconds,
            refused_per_second: now.refused().saturating_sub(minute.refused()) as f64 / seconds,
            median: answered.quantile(0.5),
            p95: answered.quantile(0.95),
            dependencies: dependencies.collect(),
            // Open since the last look at it: its events go to the spool already.
            circuit_open: now.circuit_open.then(|| self.circuit_open.unwrap_or(now.at)),
            habit: self.habit.and_then(|(_, habit)| habit),
            hour: before(Duration::MAX),
            minute,
            samples: self.samples.iter().cloned().collect(),
            now,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Route;
    use crate::http::RequestOutcome;

    fn sample(seconds: i64, accepted: u64) -> Sample {
        let at = Timestamp::from_micros(seconds * 1_000_000);
        let mut sample = Sample { at, ..Sample::default() };
        sample.requests.add((Some(Route::Status), RequestOutcome::Accepted), accepted);
        sample
    }

    fn redis(ready: bool) -> Vec<Checked> {
        vec![Checked { dependency: Dependency::Redis, ready, need: Need::Must, error: None }]
    }

    #[test]
    fn a_rate_is_of_the_last_minute() {
        let mut memory = Samples::default();
        for tick in 0..20 {
            // Ten in a second, then none.
            memory.keep(sample(tick * 10, 100 * tick.min(10).unsigned_abs()), redis(true));
        }
        assert!(memory.vitals(sample(100, 1000)).per_second > 9.0);
        let still = memory.vitals(sample(200, 1000));
        assert_eq!(still.per_second, 0.0);
        assert_eq!(still.hour.accepted(), 0);
    }

    #[test]
    fn what_is_away_is_so_since_it_was_first_noticed() {
        let mut memory = Samples::default();
        let away = |memory: &Samples, at| memory.vitals(sample(at, 0)).dependencies[0].away;
        memory.keep(sample(0, 0), redis(true));
        assert_eq!(away(&memory, 1), None);
        memory.keep(sample(10, 0), redis(false));
        memory.keep(sample(20, 0), redis(false));
        assert_eq!(away(&memory, 21).map(Timestamp::micros), Some(10_000_000));
        memory.keep(sample(30, 0), redis(true));
        assert_eq!(away(&memory, 31), None);
    }

    #[test]
    fn an_hour_is_kept_and_no_more() {
        let mut memory = Samples::default();
        (0..1000).for_each(|tick| memory.keep(sample(tick * 10, 0), redis(true)));
        assert_eq!(memory.samples.len(), SAMPLES);
        let vitals = memory.vitals(sample(10_000, 0));
        assert_eq!(vitals.hour.at.micros(), (1000 - 361) * 10_000_000);
    }
}
