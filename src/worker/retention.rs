//! Retention: deletes what is older than it may become, at a pace that nobody notices.
//!
//! It works for a fifth of the time at most and rests for the others, however slow the store is.

use std::time::Duration;

use prometheus::{Gauge, GaugeVec, IntCounter, IntCounterVec, Opts, Registry};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::clock::{Clock, Timestamp};
use crate::pipeline::Cause;
use crate::pipeline::aging::{Aging, Step};
use crate::retry::Backoff;

/// How often it looks whether something has become too old. Ages are days.
const EVERY: Duration = Duration::from_secs(60);
/// How much longer than a step took it rests after it.
const REST: u32 = 4;
/// Its shortest rest.
const LEAST_REST: Duration = Duration::from_millis(10);

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
        let metrics = Self {
            deleted: IntCounterVec::new(deleted, &["table"])?,
            errors: IntCounterVec::new(errors, &["table"])?,
            oldest: GaugeVec::new(oldest, &["table"])?,
        };
        registry.register(Box::new(metrics.deleted.clone()))?;
        registry.register(Box::new(metrics.errors.clone()))?;
        registry.register(Box::new(metrics.oldest.clone()))?;
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
        }
    }
}

struct TableMetrics {
    deleted: IntCounter,
    errors: IntCounter,
    oldest: Gauge,
}

/// Deletes until `stop`; does nothing if what is there is kept for ever.
pub async fn run(
    mut aging: impl Aging,
    table: Table,
    age: Option<Duration>,
    clock: Clock,
    metrics: Metrics,
    stop: CancellationToken,
) {
    let Some(age) = age else { return };
    let (metrics, mut backoff) = (metrics.of(table), Backoff::default());
    if let Err(error) = show_oldest(&mut aging, clock.now(), &metrics).await {
        debug!(table = table.as_str(), error = %error, "the oldest row cannot be read");
    }
    while !stop.is_cancelled() {
        let (began, now) = (Instant::now(), clock.now());
        let rest = match step(&mut aging, now, age, &metrics).await {
            Ok(Step::More(_)) => (REST * began.elapsed()).max(LEAST_REST),
            Ok(Step::Done(_) | Step::Taken) => EVERY,
            Err(error) => {
                metrics.errors.inc();
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

/// Not after each step: rows that are gone and not vacuumed lie before the oldest in the index.
async fn show_oldest(
    aging: &mut impl Aging,
    now: Timestamp,
    metrics: &TableMetrics,
) -> Result<(), Cause> {
    let oldest = aging.oldest().await?;
    metrics.oldest.set(oldest.map_or(0.0, |oldest| now.since(oldest).as_secs_f64()));
    Ok(())
}

async fn step(
    aging: &mut impl Aging,
    now: Timestamp,
    age: Duration,
    metrics: &TableMetrics,
) -> Result<Step, Cause> {
    let step = aging.step(now.before(age)).await?;
    metrics.deleted.inc_by(step.deleted());
    if step.deleted() > 0 {
        debug!(rows = step.deleted(), "old rows deleted");
    }
    if !matches!(step, Step::More(_)) {
        show_oldest(aging, now, metrics).await?;
    }
    Ok(step)
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

        async fn oldest(&mut self) -> Result<Option<Timestamp>, Cause> {
            Ok(Some(Timestamp::from_micros(50_000_000)))
        }
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
