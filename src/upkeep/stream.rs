//! [`StreamKeeper`]: looks after the stream as a whole. It shows how much waits in it, and a worker frees what every
//! group has acked.

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::rest;
use crate::backend::BackendError;
use crate::backend::redis::{Backlog, Blocker, Connector, Housekeeping, TRIMMED_AT_ONCE};
use crate::clock::Timestamp;
use crate::outage::Outage;

/// A consumer that was not heard of for this many times `worker.reclaim_idle_ms` is gone. What it held was
/// claimed by then.
pub const REAP_AFTER: u32 = 10;
/// How soon a worker frees more when there was much to free: what it stores in between is memory.
const BUSY_INTERVAL: Duration = Duration::from_millis(250);
/// Longest time for which it frees without looking up.
const TRIM_AT_MOST: Duration = Duration::from_secs(5);

/// A stream as a whole.
pub trait Stream: Send + 'static {
    /// See [`Housekeeping::trim`].
    fn trim(&mut self) -> impl Future<Output = Result<u64, BackendError>> + Send;

    /// See [`Housekeeping::reap`].
    fn reap(&mut self, idle: Duration) -> impl Future<Output = Result<u64, BackendError>> + Send;

    /// See [`Housekeeping::compare`].
    fn compare(
        &mut self,
    ) -> impl Future<Output = Result<(Backlog, Option<Backlog>), BackendError>> + Send;

    /// The time, by the stream's clock.
    fn now(&mut self) -> impl Future<Output = Result<Timestamp, BackendError>> + Send;

    /// See [`Housekeeping::blockers`].
    fn blockers(&mut self) -> impl Future<Output = Result<Vec<Blocker>, BackendError>> + Send;

    /// How often our group was made again since this was last asked.
    fn take_groups_made_again(&mut self) -> u64;
}

/// A stream of Redis.
#[derive(Debug)]
pub struct RedisStreamAsWhole {
    /// Looks after it.
    pub housekeeping: Housekeeping,
    /// Knows what its readers found out.
    pub connector: Connector,
}

impl Stream for RedisStreamAsWhole {
    async fn trim(&mut self) -> Result<u64, BackendError> {
        self.housekeeping.trim().await
    }

    async fn reap(&mut self, idle: Duration) -> Result<u64, BackendError> {
        self.housekeeping.reap(idle).await
    }

    async fn compare(&mut self) -> Result<(Backlog, Option<Backlog>), BackendError> {
        self.housekeeping.compare().await
    }

    async fn now(&mut self) -> Result<Timestamp, BackendError> {
        self.housekeeping.now().await
    }

    async fn blockers(&mut self) -> Result<Vec<Blocker>, BackendError> {
        self.housekeeping.blockers().await
    }

    fn take_groups_made_again(&mut self) -> u64 {
        self.connector.health().take_groups_made_again()
    }
}

/// Takes what the keeper of a stream finds out and does.
pub trait StreamObserver: Send + 'static {
    /// What waits; `now` by the clock that gave the entries their times.
    fn show(&self, backlog: Backlog, now: Timestamp);
    /// Which groups of others keep entries. `known` are those that have been logged.
    fn show_blockers(&self, blockers: &[Blocker], known: &mut Vec<String>);
    /// The stream is not as far as it was: it was taken away. This waited in it.
    fn stream_lost(&self, before: Backlog);
    /// Our group was made again, from the first entry that is there.
    fn groups_made_again(&self, times: u64);
    /// Entries were freed.
    fn trimmed(&self, entries: u64);
    /// Consumers were removed from the group.
    fn reaped(&self, consumers: u64);
}

/// Looks after a stream.
#[derive(Debug)]
pub struct StreamKeeper<T, O> {
    /// What it looks after.
    pub stream: T,
    /// What it reports to.
    pub observer: O,
    /// How often.
    pub interval: Duration,
    /// How long a consumer may be silent before it is removed from the group. Only a worker frees anything:
    /// `None` for a receiver.
    pub reap_after: Option<Duration>,
}

/// Logs the beginning and the end of an outage.
fn note(outage: &Outage, failed: Option<BackendError>) {
    match failed {
        Some(error) if outage.begins() => {
            warn!(error = %error, "the stream cannot be trimmed and measured: figures about it stay as they were");
        }
        Some(error) => debug!(error = %error, "the stream cannot be trimmed and measured"),
        None => {
            if let Some(over) = outage.ends() {
                let (failures, lasted_s) = (over.failures, over.seconds());
                info!(failures, lasted_s, "the stream is trimmed and measured again");
            }
        }
    }
}

impl<T: Stream, O: StreamObserver> StreamKeeper<T, O> {
    /// Runs until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        let (mut blockers, outage) = (Vec::new(), Outage::default());
        loop {
            let mut pause = self.interval;
            // Freeing comes first: then what is left is nearly what waits.
            let tidied = self.tidy(&stop).await;
            if tidied.as_ref().is_ok_and(|freed| *freed >= TRIMMED_AT_ONCE) {
                pause = pause.min(BUSY_INTERVAL);
            }
            self.observer.groups_made_again(self.stream.take_groups_made_again());
            let looked = self.look(&mut blockers).await;
            note(&outage, tidied.err().or(looked.err()));
            if !rest(pause, &stop).await {
                return;
            }
        }
    }

    /// Frees what every group has acked, as long as there is much of it, and removes workers that are gone for good.
    /// Returns how much it freed.
    async fn tidy(&mut self, stop: &CancellationToken) -> Result<u64, BackendError> {
        let Some(reap_after) = self.reap_after else { return Ok(0) };
        let (began, mut all) = (Instant::now(), 0);
        loop {
            let freed = self.stream.trim().await?;
            self.observer.trimmed(freed);
            all += freed;
            if freed < TRIMMED_AT_ONCE || began.elapsed() > TRIM_AT_MOST || stop.is_cancelled() {
                break;
            }
        }
        self.observer.reaped(self.stream.reap(reap_after).await?);
        Ok(all)
    }

    /// Shows what waits in the stream, and which groups keep it from being freed.
    async fn look(&mut self, blockers: &mut Vec<String>) -> Result<(), BackendError> {
        let (backlog, lost) = self.stream.compare().await?;
        // Before anything that may fail: the next look compares with this one.
        if let Some(before) = lost {
            self.observer.stream_lost(before);
        }
        self.observer.show(backlog, self.stream.now().await?);
        self.observer.show_blockers(&self.stream.blockers().await?, blockers);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
