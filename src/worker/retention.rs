//! Retention: deletes what is older than it may become, at a pace that nobody notices.
//!
//! It works for a fifth of the time at most and rests for the others, however slow the store is.

use std::time::Duration;

use prometheus::{Gauge, GaugeVec, IntCounter, IntCounterVec, Opts, Registry};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use crate::clock::{Clock, Timestamp};
use crate::pipeline::Cause;
use crate::pipeline::aging::{Aging, Outlook, Step};
use crate::retry::Backoff;

/// How often it looks whether something has become too old. Ages are days.
const EVERY: Duration = Duration::from_secs(60);
/// How much longer than a step took it rests after it.
const REST: u32 = 4;
/// Its shortest rest.
const LEAST_REST: Duration = Duration::from_millis(10);

/// How often it looks again while it deletes nothing because a clock seems wrong.
const AGAIN: Duration = Duration::from_secs(5);
/// How far apart our clock and the store's may be. Ages are days, so it need not be little.
const APART: Duration = Duration::from_secs(5 * 60);
/// When a run deletes what grew old within more than this, it is told loudly: one that runs every minute
/// deletes what grew old within a minute.
const LARGE: Duration = Duration::from_secs(24 * 60 * 60);

/// How old what may become; `None` is kept for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// Rows of `events`.
    pub events: Option<Duration>,
    /// Rows of `statuses`: at least as old as `events`.
    pub statuses: Option<Duration>,
    /// Dead letters, wherever they lie.
    pub dead_letters: Option<Duration>,
}

/// What grows old. A closed set: it is a metric label.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Table {
    /// The history.
    Events,
    /// What is true now.
    Statuses,
    /// What no worker could store.
    DeadLetters,
    /// What could not be moved out of the local log.
    Spool,
}

impl Table {
    const ALL: [Self; 4] = [Self::Events, Self::Statuses, Self::DeadLetters, Self::Spool];

    fn as_str(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Statuses => "statuses",
            Self::DeadLetters => "dead_letters",
            Self::Spool => "spool",
        }
    }
}

/// What retention did.
#[derive(Clone, Debug)]
pub struct Metrics {
    deleted: IntCounterVec,
    errors: IntCounterVec,
    oldest: GaugeVec,
    held: GaugeVec,
}

impl Metrics {
    /// Registers every series, at zero.
    ///
    /// # Errors
    /// A name is registered already.
    pub fn new(registry: &Registry) -> prometheus::Result<Self> {
        let options = |name: &str, help: &str| Opts::new(name, help);
        let deleted =
            options("offhook_retention_deleted_total", "Rows deleted because of their age");
        let errors = options("offhook_retention_errors_total", "Steps of retention that failed");
        let oldest = options(
            "offhook_retention_oldest_age_seconds",
            "Age of the oldest row of a table that has a retention; 0 if there is none",
        );
        let held = options(
            "offhook_retention_held",
            "1 while nothing is deleted from a table, since a clock seems to be wrong",
        );
        let metrics = Self {
            deleted: IntCounterVec::new(deleted, &["table"])?,
            errors: IntCounterVec::new(errors, &["table"])?,
            oldest: GaugeVec::new(oldest, &["table"])?,
            held: GaugeVec::new(held, &["table"])?,
        };
        registry.register(Box::new(metrics.deleted.clone()))?;
        registry.register(Box::new(metrics.errors.clone()))?;
        registry.register(Box::new(metrics.oldest.clone()))?;
        registry.register(Box::new(metrics.held.clone()))?;
        for table in Table::ALL {
            metrics.of(table);
        }
        Ok(metrics)
    }

    fn of(&self, table: Table) -> TableMetrics {
        let label = &[table.as_str()];
        TableMetrics {
            deleted: self.deleted.with_label_values(label),
            errors: self.errors.with_label_values(label),
            oldest: self.oldest.with_label_values(label),
            held: self.held.with_label_values(label),
        }
    }
}

struct TableMetrics {
    deleted: IntCounter,
    errors: IntCounter,
    oldest: Gauge,
    held: Gauge,
}

/// Why nothing is deleted, though something is old enough: a clock seems to be wrong. A machine whose clock
/// was 400 days ahead would else delete everything in seconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Hold {
    /// Ours and the store's disagree, and one of them is wrong.
    Clocks,
    /// Even the newest row is too old.
    All,
}

/// What is decided before each step.
#[derive(Default, Debug)]
struct Guard {
    /// Stays until nothing is old any more. New rows prove nothing: it may be the same wrong clock that
    /// gave them their times.
    all: bool,
    told: Option<Hold>,
}

impl Guard {
    /// The time by which ages are counted, or why nothing is deleted.
    fn judge(
        &mut self,
        outlook: Outlook,
        ours: Timestamp,
        age: Duration,
    ) -> Result<Timestamp, Hold> {
        let theirs = outlook.now.unwrap_or(ours);
        if ours.since(theirs).max(theirs.since(ours)) > APART {
            return Err(Hold::Clocks);
        }
        let now = ours.min(theirs);
        self.all |= outlook.newest.is_some_and(|newest| newest < now.before(age));
        if self.all { Err(Hold::All) } else { Ok(now) }
    }

    /// Says so, once.
    fn tell(&mut self, hold: Option<Hold>, table: Table, apart: Outlook, ours: Timestamp) {
        let table = table.as_str();
        if self.told == hold {
            return;
        }
        self.told = hold;
        match hold {
            None => info!(table, "what is old is deleted again"),
            Some(Hold::Clocks) => error!(
                table,
                ours = %ours,
                theirs = %apart.now.unwrap_or(ours),
                "nothing is deleted: our clock and the store's disagree, so that ages are not known; set \
                 the clocks of both machines"
            ),
            Some(Hold::All) => error!(
                table,
                ours = %ours,
                newest = apart.newest.map(tracing::field::display),
                "nothing is deleted: even the newest row is older than it may become, so that a clock may \
                 be wrong; if it is right, delete with `offhook purge --before`"
            ),
        }
    }
}

/// Deletes until `stop`; does nothing if what is there is kept for ever.
pub async fn run(
    aging: impl Aging,
    table: Table,
    age: Option<Duration>,
    clock: Clock,
    metrics: Metrics,
    stop: CancellationToken,
) {
    let Some(age) = age else { return };
    let metrics = metrics.of(table);
    let mut keeper = Keeper {
        aging,
        table,
        age,
        clock,
        metrics,
        guard: Guard::default(),
        run: None,
        first: true,
    };
    let mut backoff = Backoff::default();
    if let Err(error) = keeper.show_oldest(clock.now()).await {
        debug!(table = table.as_str(), error = %error, "the oldest row cannot be read");
    }
    while !stop.is_cancelled() {
        let began = Instant::now();
        let rest = match keeper.step().await {
            Ok(Turn::Held) => AGAIN,
            Ok(Turn::Did(Step::More(_))) => (REST * began.elapsed()).max(LEAST_REST),
            Ok(Turn::Did(Step::Done(_) | Step::Taken)) => EVERY,
            Err(error) => {
                keeper.metrics.errors.inc();
                warn!(table = table.as_str(), error = %error, "what is old cannot be deleted");
                backoff.wait(&stop).await;
                continue;
            }
        };
        backoff.reset();
        tokio::select! {
            () = sleep(rest) => {}
            () = stop.cancelled() => {}
        }
    }
}

/// What came of one step.
enum Turn {
    Did(Step),
    Held,
}

/// Deletes from one table.
struct Keeper<A> {
    aging: A,
    table: Table,
    age: Duration,
    clock: Clock,
    metrics: TableMetrics,
    guard: Guard,
    /// What the run of steps that is under way has deleted, and how old the oldest row was.
    run: Option<(u64, Timestamp)>,
    /// Whether nothing was deleted yet.
    first: bool,
}

impl<A: Aging> Keeper<A> {
    async fn step(&mut self) -> Result<Turn, Cause> {
        let (outlook, ours) = (self.aging.outlook().await?, self.clock.now());
        if self.guard.all {
            // It is over when somebody has deleted what is old.
            let now = ours.min(outlook.now.unwrap_or(ours));
            let oldest = self.show_oldest(now).await?;
            self.guard.all = oldest.is_some_and(|oldest| oldest < now.before(self.age));
        }
        let judged = self.guard.judge(outlook, ours, self.age);
        self.guard.tell(judged.err(), self.table, outlook, ours);
        self.metrics.held.set(f64::from(u8::from(judged.is_err())));
        let Ok(now) = judged else { return Ok(Turn::Held) };
        let cutoff = now.before(self.age);
        if self.run.is_none() {
            self.run = Some((0, self.aging.oldest().await?.unwrap_or(cutoff)));
        }
        let step = self.aging.step(cutoff).await?;
        self.count(step, cutoff);
        if !matches!(step, Step::More(_)) {
            self.run = None;
            self.show_oldest(now).await?;
        }
        Ok(Turn::Did(step))
    }

    /// The first deletion of a process is told, and each that goes back for long.
    fn count(&mut self, step: Step, cutoff: Timestamp) {
        let (table, deleted) = (self.table.as_str(), step.deleted());
        self.metrics.deleted.inc_by(deleted);
        let Some((rows, oldest)) = &mut self.run else { return };
        let begins = *rows == 0 && deleted > 0;
        *rows += deleted;
        let large = cutoff.since(*oldest) > LARGE;
        if begins && large {
            warn!(table, oldest = %oldest, before = %cutoff, "a large deletion begins of what is old");
        } else if begins && self.first {
            info!(table, before = %cutoff, "what is old is deleted, for the first time");
        }
        if large && *rows > 0 && !matches!(step, Step::More(_)) {
            warn!(table, rows = *rows, before = %cutoff, "a large deletion of what is old is done");
        }
        self.first &= deleted == 0;
    }

    /// Not after each step: rows that are gone and not vacuumed lie before the oldest in the index.
    async fn show_oldest(&mut self, now: Timestamp) -> Result<Option<Timestamp>, Cause> {
        let oldest = self.aging.oldest().await?;
        let age = oldest.map_or(0.0, |oldest| now.since(oldest).as_secs_f64());
        self.metrics.oldest.set(age);
        Ok(oldest)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    /// Answers in turn, then stops.
    struct Script(VecDeque<Result<Step, Cause>>, CancellationToken);

    impl Aging for Script {
        async fn step(&mut self, cutoff: Timestamp) -> Result<Step, Cause> {
            assert_eq!(cutoff, Timestamp::from_micros(40_000_000));
            let step = self.0.pop_front().expect("it was told to stop");
            if self.0.is_empty() {
                self.1.cancel();
            }
            step
        }

        async fn outlook(&mut self) -> Result<Outlook, Cause> {
            Ok(Outlook::default())
        }

        async fn oldest(&mut self) -> Result<Option<Timestamp>, Cause> {
            Ok(Some(Timestamp::from_micros(50_000_000)))
        }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn where_a_clock_may_be_wrong_nothing_is_deleted() {
        const DAY: i64 = 24 * 60 * 60;
        let age = Duration::from_secs(30 * DAY.unsigned_abs());
        let judge = |now: Option<i64>, newest: Option<i64>, ours: i64| {
            let outlook = Outlook { now: now.map(at), newest: newest.map(at) };
            Guard::default().judge(outlook, at(ours), age)
        };
        let today = 1000 * DAY;
        assert_eq!(judge(Some(today), Some(today - 5), today + 60), Ok(at(today)), "the lesser");
        assert_eq!(judge(Some(today + 60), None, today), Ok(at(today)));
        assert_eq!(judge(None, None, today), Ok(at(today)));
        for wrong in [today + 400 * DAY, today - 400 * DAY, today + 301] {
            assert_eq!(judge(Some(today), Some(today), wrong), Err(Hold::Clocks));
        }
        // Both are wrong, or nothing came for so long.
        let later = today + 400 * DAY;
        assert_eq!(judge(Some(later), Some(today), later), Err(Hold::All));
        let mut guard = Guard::default();
        let outlook = |newest| Outlook { now: Some(at(later)), newest: Some(at(newest)) };
        guard.judge(outlook(today), at(later), age).expect_err("all are old");
        let new = guard.judge(outlook(later), at(later), age);
        assert_eq!(new, Err(Hold::All), "what comes now has its time from the same clock");
    }

    #[tokio::test]
    async fn it_goes_on_after_errors_and_says_what_it_did() {
        let metrics = Metrics::new(&Registry::new()).expect("new names");
        let stop = CancellationToken::new();
        let away = Err("away".to_owned());
        let steps = [Ok(Step::More(5)), away, Ok(Step::More(5)), Ok(Step::Done(1))];
        let aging = Script(steps.into(), stop.clone());
        let clock = Clock::Fixed(Timestamp::from_micros(100_000_000));
        let age = Some(Duration::from_secs(60));
        run(aging, Table::Events, age, clock, metrics.clone(), stop).await;
        let told = metrics.of(Table::Events);
        assert_eq!((told.deleted.get(), told.errors.get(), told.oldest.get()), (11, 1, 50.0));
    }

    #[tokio::test]
    async fn what_is_kept_for_ever_is_never_touched() {
        let metrics = Metrics::new(&Registry::new()).expect("new names");
        let stop = CancellationToken::new();
        let aging = Script(VecDeque::new(), stop.clone());
        run(aging, Table::Statuses, None, Clock::System, metrics, stop).await;
    }
}
