//! [`RowSampler`]: of some of the callbacks, when their rows can be seen in the store.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::mpsc::{self, Receiver, Sender};

use crate::backend::{BackendError, Reads};
use crate::lab::load::Latencies;

/// Between two samples: so few that looking for them costs the store little.
const EVERY: Duration = Duration::from_millis(5);
/// Between two looks, by which a row may be seen late.
const LOOK: Duration = Duration::from_millis(1);
/// Most samples that are waited for: a minute of them.
const MOST: usize = 12_000;
/// Longest wait for the rows of the last samples.
const PATIENCE: Duration = Duration::from_secs(60);

/// An event that was accepted.
#[derive(Debug)]
pub(crate) struct Sample {
    key: String,
    sent: Instant,
}

/// Takes samples, evenly in time.
#[derive(Debug)]
pub(crate) struct RowSampler {
    samples: Sender<Sample>,
    next: Mutex<Instant>,
}

/// What came of the samples.
#[derive(Debug)]
pub(crate) struct RowLatencies {
    /// From the request to the row.
    pub(crate) latencies: Latencies,
    /// Those whose row was not seen in time.
    pub(crate) missing: usize,
}

impl RowSampler {
    /// And where its samples go.
    pub(crate) fn new() -> (Self, Receiver<Sample>) {
        let (samples, taken) = mpsc::channel(MOST);
        (Self { samples, next: Mutex::new(Instant::now()) }, taken)
    }

    /// An event was accepted whose request was due at `sent`.
    pub(super) fn sample(&self, sent: Instant, key: impl FnOnce() -> String) {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if now >= *next {
            *next = now + EVERY;
            // No more are taken while the queue of samples is full.
            let _ = self.samples.try_send(Sample { key: key(), sent });
        }
    }
}

/// Looks for the samples until the last one was seen, or too long after it was taken.
///
/// # Errors
/// The store cannot be read.
pub(crate) async fn row_latencies(
    reader: &Reads,
    mut samples: Receiver<Sample>,
) -> Result<RowLatencies, BackendError> {
    let mut seen = RowLatencies { latencies: Latencies::new(), missing: 0 };
    let mut waiting: Vec<Sample> = Vec::new();
    let mut quiet_since = Instant::now();
    loop {
        if waiting.is_empty() {
            let Some(sample) = samples.recv().await else { return Ok(seen) };
            waiting.push(sample);
        }
        while waiting.len() < MOST
            && let Ok(sample) = samples.try_recv()
        {
            waiting.push(sample);
            quiet_since = Instant::now();
        }
        let keys: Vec<String> = waiting.iter().map(|sample| sample.key.clone()).collect();
        let stored = reader.stored(&keys).await?;
        let now = Instant::now();
        waiting.retain(|sample| {
            let there = stored.contains(&sample.key);
            if there {
                seen.latencies.record(now.duration_since(sample.sent));
            }
            !there
        });
        if !stored.is_empty() {
            quiet_since = now;
        }
        if samples.is_closed() && samples.is_empty() && now - quiet_since > PATIENCE {
            seen.missing = waiting.len();
            return Ok(seen);
        }
        tokio::time::sleep(LOOK).await;
    }
}
