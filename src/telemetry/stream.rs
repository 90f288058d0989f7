//! What is told about the stream as a whole: how much waits in it, and what keeps it from being freed.

use std::time::Duration;

use prometheus::{Gauge, IntCounter, IntGauge, Registry};
use tracing::warn;

use super::metrics::register;
use crate::backend::redis::{Backlog, Blocker};
use crate::clock::Timestamp;

/// A group of somebody else's that is so far behind is taken for one that nobody reads any more.
const FORGOTTEN: Duration = Duration::from_secs(300);

/// Metrics of the stream.
#[derive(Clone)]
pub struct StreamMetrics {
    length: IntGauge,
    depth: IntGauge,
    pending: IntGauge,
    dead: IntGauge,
    oldest: Gauge,
    trimmed: IntCounter,
    reaped: IntCounter,
    blocking: IntGauge,
    kept: Gauge,
}

impl StreamMetrics {
    pub(super) fn new(registry: &Registry) -> prometheus::Result<Self> {
        let gauge = |name: &str, help: &str| register(registry, IntGauge::new(name, help)?);
        let age = |name: &str, help: &str| register(registry, Gauge::new(name, help)?);
        let counter = |name: &str, help: &str| register(registry, IntCounter::new(name, help)?);
        Ok(Self {
            length: gauge(
                "offhook_stream_length",
                "Entries in the stream, those included that are acked and not yet freed",
            )?,
            depth: gauge("offhook_stream_depth", "Entries in the stream that are not acked")?,
            pending: gauge(
                "offhook_stream_pending",
                "Entries that a worker has read and not acked",
            )?,
            dead: gauge("offhook_dead_letters", "Events that were put aside and are still there")?,
            oldest: age(
                "offhook_stream_oldest_age_seconds",
                "Age of the oldest entry that is not acked; 0 if all are",
            )?,
            trimmed: counter("offhook_stream_trimmed_total", "Entries freed, about")?,
            reaped: counter(
                "offhook_reaped_consumers_total",
                "Consumers taken out of the group that were idle for long and held nothing",
            )?,
            blocking: gauge(
                "offhook_stream_blocking_groups",
                "Consumer groups of others that have kept entries from being freed for 5 minutes",
            )?,
            kept: age(
                "offhook_stream_kept_age_seconds",
                "Age of the oldest entry that only a consumer group of others keeps; 0 if none",
            )?,
        })
    }

    /// Shows what waits; `now` by the clock that gave the entries their times.
    pub fn show(&self, backlog: Backlog, now: Timestamp) {
        let gauge = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        self.length.set(gauge(backlog.length));
        self.depth.set(gauge(backlog.unread.saturating_add(backlog.pending)));
        self.pending.set(gauge(backlog.pending));
        self.dead.set(gauge(backlog.dead));
        // A stream that is drained reads 0; its series does not vanish.
        self.oldest.set(backlog.oldest.map_or(0.0, |oldest| now.since(oldest).as_secs_f64()));
    }

    /// Counts entries that were freed.
    pub fn trimmed(&self, entries: u64) {
        self.trimmed.inc_by(entries);
    }

    /// Counts consumers that were taken out of the group.
    pub fn reaped(&self, consumers: u64) {
        self.reaped.inc_by(consumers);
    }

    /// Shows which groups of others keep entries; logs those that began to do so for long.
    pub fn show_blockers(&self, blockers: &[Blocker], known: &mut Vec<String>) {
        let oldest = blockers.iter().map(|blocker| blocker.age).max().unwrap_or_default();
        self.kept.set(oldest.as_secs_f64());
        let long = blockers.iter().filter(|blocker| blocker.age >= FORGOTTEN);
        let names: Vec<String> = long.map(|blocker| blocker.group.clone()).collect();
        self.blocking.set(i64::try_from(names.len()).unwrap_or(i64::MAX));
        for group in names.iter().filter(|group| !known.contains(group)) {
            warn!(
                group,
                "a consumer group that is not ours keeps the stream from being freed until Redis \
                 is full: read and ack with it, or remove it with XGROUP DESTROY"
            );
        }
        *known = names;
    }
}
