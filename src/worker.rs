//! The worker: moves events from the stream into the store. A pump, and how to set it.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::pipeline::pump::{Options, pump};
use crate::pipeline::{Observer, Sink, Source};

/// How a worker works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// Consumers of the group in one process.
    pub consumers: u32,
    /// What another worker holds for this long without a sign of life is claimed.
    pub reclaim_idle: Duration,
    /// Deliveries after which an event becomes a dead letter.
    pub max_deliveries: u32,
    /// How long the stream remembers that an event is stored.
    pub mark_ttl: Duration,
    /// How often entries that are done are freed.
    pub trim_every: Duration,
}

/// Works until `stop`, and returns the source, with nothing of its own left in hand.
pub async fn run<S: Source>(
    source: S,
    sink: impl Sink,
    observer: Arc<impl Observer>,
    config: Config,
    stop: CancellationToken,
) -> S {
    let options = Options {
        max_deliveries: config.max_deliveries,
        // Often enough that nothing lies much longer than `reclaim_idle`.
        claim_every: (config.reclaim_idle / 4).max(Duration::from_millis(100)),
        ..Options::default()
    };
    pump(source, sink, observer, options, stop).await
}
