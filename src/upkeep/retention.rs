//! [`Retention`]: deletes what is older than it may become, at a pace that disturbs no commit.
//!
//! It works for a fifth of the time at most and rests for the others, however slow the store is.

mod clock_trust;
mod metrics;
mod needed;

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use self::clock_trust::{ClockGuard, Hold, Trust};
use self::metrics::TableMetrics;
pub use self::metrics::{Metrics, Table};
pub use self::needed::Needed;
use super::rest;
use crate::clock::{Clock, Timestamp};
use crate::outage::Outage;
use crate::pipeline::Cause;
use crate::pipeline::expiry::{Expire, Step};
use crate::retry::Backoff;

/// How often it looks whether something has become too old. Ages are days.
const LOOK_INTERVAL: Duration = Duration::from_secs(60);
/// How much longer than a step took it rests after it.
const REST_PER_WORK: u32 = 4;
/// The shortest rest between two steps.
const MIN_REST: Duration = Duration::from_millis(10);

/// How often it looks again while it deletes nothing because a clock seems wrong.
const HELD_INTERVAL: Duration = Duration::from_secs(5);
/// When a run deletes what grew old within more than this, the log says so loudly: one that runs every minute
/// deletes what grew old within a minute.
const LARGE_SPAN: Duration = Duration::from_secs(24 * 60 * 60);

/// How old what may become; `None` is kept for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// Rows of `events`.
    pub events: Option<Duration>,
    /// Rows of `statuses`: at least as old as `events`.
    pub statuses: Option<Duration>,
    /// Rows of `changes`.
    pub changes: Option<Duration>,
    /// Dead letters, wherever they lie.
    pub dead_letters: Option<Duration>,
}

/// Deletes what is old from one place.
#[derive(Debug)]
pub struct Retention<P> {
    /// The place from which rows are deleted.
    pub place: P,
    /// What it is called.
    pub table: Table,
    /// Greatest age of a row; `None` keeps rows for ever.
    pub age: Option<Duration>,
    /// What of it must not be deleted yet, though it is old.
    pub needed: Option<Needed>,
    /// Our clock.
    pub clock: Clock,
    /// What it reports to.
    pub metrics: Metrics,
}

impl<P: Expire> Retention<P> {
    /// Deletes until `stop`; if rows are kept for ever, only clears the note that a clock was wrong.
    pub async fn run(self, stop: CancellationToken) {
        let Self { mut place, table, age, needed, clock, metrics } = self;
        let Some(age) = age else {
            // Else it would be taken for a leap if there is an age again after years.
            if let Some(Err(error)) = stop.run_until_cancelled(place.trust(None)).await {
                debug!(table = table.as_str(), error = %error, "what a retention knew is not forgotten");
            }
            return;
        };
        let (metrics, guard) = (metrics.of(table), ClockGuard::default());
        let keeper = Keeper {
            place,
            table,
            age,
            needed,
            clock,
            metrics,
            guard,
            run: None,
            first: true,
            outage: Outage::default(),
        };
        keeper.run(stop).await;
    }
}

/// What came of one step.
enum Turn {
    Did(Step),
    Held,
}

/// Deletes from one table.
struct Keeper<P> {
    place: P,
    table: Table,
    age: Duration,
    needed: Option<Needed>,
    clock: Clock,
    metrics: TableMetrics,
    guard: ClockGuard,
    /// What the run of steps that is under way has deleted, and how old the oldest row was.
    run: Option<(u64, Timestamp)>,
    /// Whether nothing was deleted yet.
    first: bool,
    outage: Outage,
}

impl<P: Expire> Keeper<P> {
    async fn run(mut self, stop: CancellationToken) {
        let mut backoff = Backoff::default();
        if let Err(error) = self.show_oldest(self.clock.now()).await {
            debug!(table = self.table.as_str(), error = %error, "the oldest row cannot be read");
        }
        while !stop.is_cancelled() {
            let began = Instant::now();
            let pause = match self.step().await {
                Ok(Turn::Held) => HELD_INTERVAL,
                Ok(Turn::Did(Step::More(_))) => (REST_PER_WORK * began.elapsed()).max(MIN_REST),
                Ok(Turn::Did(Step::Done(_) | Step::Taken)) => LOOK_INTERVAL,
                Err(error) => {
                    self.metrics.errors.inc();
                    let table = self.table.as_str();
                    if self.outage.begins() {
                        warn!(table, error = %error, "old rows cannot be deleted: trying again until they can");
                    } else {
                        debug!(table, error = %error, "old rows cannot be deleted");
                    }
                    backoff.wait(&stop).await;
                    continue;
                }
            };
            if let Some(over) = self.outage.ends() {
                let (table, failures, lasted_s) =
                    (self.table.as_str(), over.failures, over.seconds());
                info!(table, failures, lasted_s, "old rows can be deleted again");
            }
            backoff.reset();
            rest(pause, &stop).await;
        }
    }

    async fn step(&mut self) -> Result<Turn, Cause> {
        let (outlook, ours) = (self.place.outlook().await?, self.clock.now());
        let judged = match Trust::of(outlook, ours, self.age) {
            Trust::Until(now) => Ok(now),
            Trust::Apart => Err(Hold::Clocks),
            Trust::Leapt { now, from } => {
                self.show_oldest(now).await?;
                // It is over once what is old has been deleted.
                if self.place.is_old(now.before(self.age)).await? {
                    if outlook.trusted != Some(from) {
                        self.place.trust(Some(from)).await?;
                    }
                    Err(Hold::All)
                } else {
                    Ok(now)
                }
            }
        };
        self.guard.note(judged.err(), self.table, outlook, ours);
        self.metrics.held.set(f64::from(u8::from(judged.is_err())));
        let Ok(now) = judged else { return Ok(Turn::Held) };
        // Before anything is deleted, and not for each page.
        let fresh =
            |trusted: Timestamp| now.since(trusted).max(trusted.since(now)) < LOOK_INTERVAL / 2;
        if !outlook.trusted.is_some_and(fresh) {
            self.place.trust(Some(now)).await?;
        }
        let cutoff = match &self.needed {
            Some(needed) => needed.limit(now.before(self.age)).await?,
            None => now.before(self.age),
        };
        if self.run.is_none() {
            self.run = Some((0, self.place.oldest().await?.unwrap_or(cutoff)));
        }
        let step = self.place.step(cutoff).await?;
        self.count(step, cutoff);
        if !matches!(step, Step::More(_)) {
            self.run = None;
            self.show_oldest(now).await?;
        }
        Ok(Turn::Did(step))
    }

    /// Logs the first deletion of a process, and each that covers a long time.
    fn count(&mut self, step: Step, cutoff: Timestamp) {
        let (table, deleted) = (self.table.as_str(), step.deleted());
        self.metrics.deleted.inc_by(deleted);
        let Some((rows, oldest)) = &mut self.run else { return };
        let begins = *rows == 0 && deleted > 0;
        *rows += deleted;
        let large = cutoff.since(*oldest) > LARGE_SPAN;
        if begins && large {
            warn!(table, oldest = %oldest, before = %cutoff, "a large deletion of old rows begins");
        } else if begins && self.first {
            info!(table, before = %cutoff, "old rows are deleted for the first time");
        }
        if large && *rows > 0 && !matches!(step, Step::More(_)) {
            warn!(table, rows = *rows, before = %cutoff, "a large deletion of old rows is done");
        }
        self.first &= deleted == 0;
    }

    /// Shows the age of the oldest row. It is not called after each step, because deleted rows that are not vacuumed
    /// yet lie before the oldest in the index.
    async fn show_oldest(&mut self, now: Timestamp) -> Result<Option<Timestamp>, Cause> {
        let oldest = self.place.oldest().await?;
        let age = oldest.map_or(0.0, |oldest| now.since(oldest).as_secs_f64());
        self.metrics.oldest.set(age);
        Ok(oldest)
    }
}

#[cfg(test)]
mod tests;
