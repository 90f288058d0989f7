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
    /// Even the newest row is too old, or all that was there when the clocks were last trusted.
    All,
}

/// What is decided before each step.
#[derive(Default, Debug)]
struct Guard {
    told: Option<Hold>,
}

/// Whether a clock can be trusted, as far as it shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Trust {
    /// Ages are counted by this time.
    Until(Timestamp),
    /// Ours and the store's disagree.
    Apart,
    /// It is now much later than it just was, and it was this then. New rows prove nothing: it may be the same
    /// wrong clock that gave them their times. So this is kept where a restart finds it.
    Leapt { now: Timestamp, from: Timestamp },
}

impl Trust {
    fn of(outlook: Outlook, ours: Timestamp, age: Duration) -> Self {
        let theirs = outlook.now.unwrap_or(ours);
        if ours.since(theirs).max(theirs.since(ours)) > APART {
            return Self::Apart;
        }
        let now = ours.min(theirs);
        match outlook.newest.into_iter().chain(outlook.trusted).min() {
            Some(from) if from < now.before(age) => Self::Leapt { now, from },
            _ => Self::Until(now),
        }
    }
}

impl Guard {
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
                trusted = apart.trusted.map(tracing::field::display),
                "nothing is deleted: all that was stored while the clocks were trusted is older than it may \
                 become, so that a clock may be wrong; if it is right, delete with `offhook purge --before`"
            ),
        }
    }
}

/// Deletes until `stop`; if what is there is kept for ever, only forgets that a clock was wrong.
pub async fn run(
    mut aging: impl Aging,
    table: Table,
    age: Option<Duration>,
    clock: Clock,
    metrics: Metrics,
    stop: CancellationToken,
) {
    let metrics = metrics.of(table);
    let Some(age) = age else {
        // Else it would be taken for a leap if there is an age again after years.
        tokio::select! {
            forgotten = aging.trust(None) => if let Err(error) = forgotten {
                debug!(table = table.as_str(), error = %error, "what a retention knew is not forgotten");
            },
            () = stop.cancelled() => {}
        }
        return;
    };
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
        let judged = match Trust::of(outlook, ours, self.age) {
            Trust::Until(now) => Ok(now),
            Trust::Apart => Err(Hold::Clocks),
            Trust::Leapt { now, from } => {
                self.show_oldest(now).await?;
                // It is over when somebody has deleted what is old.
                if self.aging.is_old(now.before(self.age)).await? {
                    if outlook.trusted != Some(from) {
                        self.aging.trust(Some(from)).await?;
                    }
                    Err(Hold::All)
                } else {
                    Ok(now)
                }
            }
        };
        self.guard.tell(judged.err(), self.table, outlook, ours);
        self.metrics.held.set(f64::from(u8::from(judged.is_err())));
        let Ok(now) = judged else { return Ok(Turn::Held) };
        // Before anything is deleted, and not for each page.
        let fresh = |trusted: Timestamp| now.since(trusted).max(trusted.since(now)) < EVERY / 2;
        if !outlook.trusted.is_some_and(fresh) {
            self.aging.trust(Some(now)).await?;
        }
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
    use std::sync::{Arc, Mutex};

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

        async fn trust(&mut self, _: Option<Timestamp>) -> Result<(), Cause> {
            Ok(())
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
        let judge = |now: Option<i64>, newest: Option<i64>, trusted: Option<i64>, ours: i64| {
            let outlook =
                Outlook { now: now.map(at), newest: newest.map(at), trusted: trusted.map(at) };
            Trust::of(outlook, at(ours), age)
        };
        let today = 1000 * DAY;
        let lesser = judge(Some(today), Some(today - 5), None, today + 60);
        assert_eq!(lesser, Trust::Until(at(today)));
        assert_eq!(judge(Some(today + 60), None, None, today), Trust::Until(at(today)));
        assert_eq!(judge(None, None, Some(today - DAY), today), Trust::Until(at(today)));
        for wrong in [today + 400 * DAY, today - 400 * DAY, today + 301] {
            assert_eq!(judge(Some(today), Some(today), Some(today), wrong), Trust::Apart);
        }
        // Both are wrong, or nothing came for so long.
        let later = today + 400 * DAY;
        let leapt = Trust::Leapt { now: at(later), from: at(today) };
        assert_eq!(judge(Some(later), Some(today), None, later), leapt);
        assert_eq!(judge(Some(later), Some(later), Some(today), later), leapt, "whatever is new");
        assert_eq!(judge(None, None, Some(today), later), leapt, "no clock but ours");
        // And it is mended: what has come meanwhile has times to come.
        let mended = judge(Some(today + 9), Some(later), Some(today), today + 9);
        assert_eq!(mended, Trust::Until(at(today + 9)));
    }

    /// A place whose times lie in memory, and that outlives a keeper.
    #[derive(Clone)]
    struct Place(Arc<Mutex<(Option<Timestamp>, Vec<Timestamp>)>>);

    impl Aging for Place {
        async fn step(&mut self, cutoff: Timestamp) -> Result<Step, Cause> {
            let rows = &mut self.0.lock().unwrap().1;
            let before = rows.len();
            rows.retain(|at| *at >= cutoff);
            Ok(Step::Done((before - rows.len()) as u64))
        }

        async fn outlook(&mut self) -> Result<Outlook, Cause> {
            let (trusted, rows) = &*self.0.lock().unwrap();
            Ok(Outlook { now: None, newest: rows.iter().max().copied(), trusted: *trusted })
        }

        async fn trust(&mut self, until: Option<Timestamp>) -> Result<(), Cause> {
            self.0.lock().unwrap().0 = until;
            Ok(())
        }

        async fn oldest(&mut self) -> Result<Option<Timestamp>, Cause> {
            Ok(self.0.lock().unwrap().1.iter().min().copied())
        }
    }

    #[tokio::test]
    async fn a_restart_does_not_make_it_forget_that_a_clock_is_wrong() {
        let place = Place(Arc::default());
        place.0.lock().unwrap().1 = vec![at(0), at(90)];
        let keeper = |now: i64| Keeper {
            aging: place.clone(),
            table: Table::Events,
            age: Duration::from_secs(60),
            clock: Clock::Fixed(at(now)),
            metrics: Metrics::new(&Registry::new()).expect("new names").of(Table::Events),
            guard: Guard::default(),
            run: None,
            first: true,
        };
        let rows = || place.0.lock().unwrap().1.len();
        let step = async |now| {
            let turn = keeper(now).step().await.expect("it is in memory");
            matches!(turn, Turn::Held)
        };
        assert!(!step(100).await && rows() == 1, "what is old is gone");
        // The clock leaps while nobody looks, and something comes before anybody does.
        place.0.lock().unwrap().1.push(at(9_000));
        assert!(step(9_001).await && step(9_002).await && rows() == 2);
        // It is mended.
        assert!(!step(120).await && rows() == 2);
        // It leaps again, and this time it was right: somebody says so.
        assert!(step(9_003).await);
        place.0.lock().unwrap().1.retain(|row| *row > at(90));
        assert!(!step(9_004).await);
        assert_eq!(place.0.lock().unwrap().0, Some(at(9_004)));
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
