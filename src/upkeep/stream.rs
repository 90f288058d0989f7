//! What is done about the stream as a whole: its length is shown, what is done with is freed, and what
//! receivers and workers do with Redis is rehearsed again and again.

use std::time::Duration;

use anyhow::bail;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::backend::BackendError;
use crate::backend::redis::{Connector, Failure, Housekeeping, Parts, Rehearsal, TRIMMED_AT_ONCE};
use crate::config::Scaled;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::stream::StreamMetrics;

/// A consumer that was not heard of for so many times `worker.reclaim_idle_ms` is gone. Whatever it
/// held was claimed by then.
const REAP_AFTER: u32 = 10;
/// How soon a worker frees more when there was much to free: what it stores in between is memory.
const TRIM_SOON: Duration = Duration::from_millis(250);
/// Longest time for which it frees without looking up.
const TRIM_FOR: Duration = Duration::from_secs(5);

/// Shows what waits in the stream, and frees what is done with.
pub(crate) async fn keep(
    connector: Connector,
    scaled: Scaled,
    metrics: Metrics,
    stop: CancellationToken,
) -> &'static str {
    const NAME: &str = "housekeeping";
    let (metrics, works, every) = (metrics.stream(), scaled.role.works(), scaled.worker.trim_every);
    let mut keeper = Housekeeping::new(&connector, scaled.names);
    let (forgotten, mut blockers) = (REAP_AFTER * scaled.worker.reclaim_idle, Vec::new());
    loop {
        let mut pause = every;
        // First it frees: then what is left is nearly what waits.
        match tidy(&mut keeper, metrics, works.then_some(forgotten), &stop).await {
            Ok(freed) if freed >= TRIMMED_AT_ONCE => pause = every.min(TRIM_SOON),
            Ok(_) => {}
            Err(error) => warn!(error = %error, "stream cannot be trimmed"),
        }
        metrics.groups_made_again(connector.health().take_groups_made_again());
        if let Err(error) = look(&mut keeper, metrics, &mut blockers).await {
            warn!(error = %error, "stream cannot be looked at");
        }
        tokio::select! {
            () = sleep(pause) => {}
            () = stop.cancelled() => return NAME,
        }
    }
}

/// Frees what everybody is done with, as long as there is much of it, and forgets workers that are gone for
/// good. Only a worker does; how much it freed.
async fn tidy(
    keeper: &mut Housekeeping,
    metrics: &StreamMetrics,
    forgotten: Option<Duration>,
    stop: &CancellationToken,
) -> Result<u64, BackendError> {
    let Some(forgotten) = forgotten else { return Ok(0) };
    let (began, mut all) = (Instant::now(), 0);
    loop {
        let freed = keeper.trim().await?;
        metrics.trimmed(freed);
        all += freed;
        if freed < TRIMMED_AT_ONCE || began.elapsed() > TRIM_FOR || stop.is_cancelled() {
            break;
        }
    }
    metrics.reaped(keeper.reap(forgotten).await?);
    Ok(all)
}

/// Shows what waits in the stream, and who else keeps it from being freed.
async fn look(
    keeper: &mut Housekeeping,
    metrics: &StreamMetrics,
    blockers: &mut Vec<String>,
) -> Result<(), BackendError> {
    let (backlog, lost) = keeper.compare().await?;
    metrics.show(backlog, keeper.now().await?);
    if let Some(before) = lost {
        metrics.stream_lost(before);
    }
    metrics.show_blockers(&keeper.blockers().await?, blockers);
    Ok(())
}

/// Rehearses what this process does with Redis.
pub(crate) struct Rehearsals {
    rehearsal: Rehearsal,
    connector: Connector,
    metrics: StreamMetrics,
}

impl Rehearsals {
    pub(crate) fn new(scaled: &Scaled, metrics: &Metrics) -> Self {
        let parts = Parts { appends: scaled.role.receives(), works: scaled.role.works() };
        let connector = scaled.stream.clone();
        let rehearsal = Rehearsal::new(&connector, scaled.names.clone(), parts);
        Self { rehearsal, connector, metrics: metrics.stream().clone() }
    }

    /// The first rehearsal, in bounded time: a start must not wait for a Redis that is away.
    ///
    /// # Errors
    /// It is a Redis that offhook cannot work with. It is refused now: with it every callback would be
    /// answered, and none stored.
    pub(crate) async fn begin(mut self) -> anyhow::Result<Self> {
        const PATIENCE: Duration = Duration::from_secs(2);
        let late = |_| Err(Failure::Away("no answer in time".to_owned()));
        let outcome = timeout(PATIENCE, self.rehearsal.run()).await.unwrap_or_else(late);
        if let Err(Failure::Unsupported(why)) = outcome {
            bail!("redis: {why}");
        }
        self.tell(outcome);
        Ok(self)
    }

    /// Again and again. One that turns out later to be none that offhook can work with ends no process: the
    /// receiver has its spool, and the worker reads nothing.
    pub(crate) async fn run(mut self, stop: CancellationToken) -> &'static str {
        /// Short against what an outage costs.
        const EVERY: Duration = Duration::from_secs(5);
        /// While something is wrong: the end of it must be seen soon.
        const AGAIN: Duration = Duration::from_secs(1);
        loop {
            let pause = if self.connector.health().outcome().is_ok() { EVERY } else { AGAIN };
            tokio::select! {
                () = sleep(pause) => {}
                () = stop.cancelled() => return "rehearsals",
            }
            let outcome = self.rehearsal.run().await;
            self.tell(outcome);
        }
    }

    /// Notes it, shows it, and logs it if it is news.
    fn tell(&self, outcome: Result<(), Failure>) {
        let health = self.connector.health();
        let news = health.rehearsed(outcome.clone());
        self.metrics.show_health(health);
        match outcome {
            _ if !news => {}
            Ok(()) => info!("Redis takes all that is done with it"),
            Err(Failure::Away(error)) => warn!(error, "Redis does not answer"),
            Err(failure @ Failure::Unsupported(_)) => error!(
                error = %failure,
                "Redis is none that offhook can work with: events go to the spool, and workers read nothing"
            ),
            Err(failure) => error!(error = %failure, "Redis refuses what is needed"),
        }
    }
}
