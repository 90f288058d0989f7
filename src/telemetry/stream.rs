//! What is told about the stream as a whole: how much waits in it, and what keeps it from being freed.

use std::time::Duration;

use prometheus::{Gauge, IntCounter, IntCounterVec, IntGauge, Registry};
use tracing::{error, warn};

use super::metrics::{counters, register};
use crate::backend::redis::{Backlog, Blocker, Failure, RedisHealth};
use crate::clock::Timestamp;
use crate::upkeep::stream::StreamObserver;

/// A group of somebody else's that is so far behind is taken for one that nobody reads any more.
const FORGOTTEN: Duration = Duration::from_secs(300);

/// What can be taken away: labels.
const STREAM: &str = "stream";
const GROUP: &str = "group";

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
    usable: IntGauge,
    unsupported: IntGauge,
    refusing: IntGauge,
    marks_given_up: IntGauge,
    resets: IntCounterVec,
}

impl StreamMetrics {
    pub(super) fn new(registry: &Registry) -> prometheus::Result<Self> {
        let gauge = |name: &str, help: &str| register(registry, IntGauge::new(name, help)?);
        let age = |name: &str, help: &str| register(registry, Gauge::new(name, help)?);
        let counter = |name: &str, help: &str| register(registry, IntCounter::new(name, help)?);
        let resets = counters(
            registry,
            "offhook_stream_resets_total",
            "Times that the stream, or our group in it, was taken away by somebody",
            &["what"],
        )?;
        for what in [STREAM, GROUP] {
            resets.with_label_values(&[what]);
        }
        Ok(Self {
            length: gauge(
                "offhook_stream_length",
                "Entries in the stream, those included that are acked and not yet freed",
            )?,
            depth: gauge(
                "offhook_stream_depth",
                "Events that wait for the store: entries in the stream that are not acked, or what is in \
                 the local log where there is no stream",
            )?,
            pending: gauge(
                "offhook_stream_pending",
                "Entries that a worker has read and not acked",
            )?,
            dead: gauge("offhook_dead_letters", "Events that were put aside and are still there")?,
            oldest: age(
                "offhook_stream_oldest_age_seconds",
                "Age of the oldest of them; 0 if there is none",
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
            usable: gauge(
                "offhook_stream_usable",
                "1 if Redis took all that this process does with it when that was last tried",
            )?,
            unsupported: gauge(
                "offhook_stream_unsupported",
                "1 if this is a Redis that offhook cannot work with",
            )?,
            refusing: gauge(
                "offhook_stream_refusing",
                "1 if Redis answers, and refuses something that is needed",
            )?,
            marks_given_up: gauge(
                "offhook_marks_given_up",
                "1 while no marks are written, since more than half of Redis's maxmemory is used",
            )?,
            resets,
        })
    }

    /// Shows whether Redis can be used.
    pub fn show_health(&self, health: &RedisHealth) {
        let outcome = health.outcome();
        self.usable.set(i64::from(outcome.is_ok()));
        self.unsupported.set(i64::from(health.unsupported().is_some()));
        self.refusing.set(i64::from(matches!(outcome, Err(Failure::Refused { .. }))));
        self.marks_given_up.set(i64::from(health.marks_given_up()));
    }

    /// Shows what waits in a local log that stands where the stream would.
    pub fn show_local_log(&self, events: u64, oldest: Duration) {
        self.depth.set(i64::try_from(events).unwrap_or(i64::MAX));
        self.oldest.set(oldest.as_secs_f64());
    }
}

impl StreamObserver for StreamMetrics {
    fn stream_lost(&self, before: Backlog) {
        self.resets.with_label_values(&[STREAM]).inc();
        let Backlog { unread, pending, .. } = before;
        error!(
            unread,
            pending,
            "the stream went back: FLUSHALL, DEL or a failover took away events that were answered; so many \
             waited when it was last looked at, and those that no worker had stored are lost"
        );
    }

    fn groups_made_again(&self, times: u64) {
        if times > 0 {
            self.resets.with_label_values(&[GROUP]).inc_by(times);
            error!(
                times,
                "the consumer group was gone, and was made again from the first entry that is left: \
                 FLUSHALL, DEL or XGROUP DESTROY took it away, and perhaps events that were not stored yet"
            );
        }
    }

    fn show(&self, backlog: Backlog, now: Timestamp) {
        let gauge = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        self.length.set(gauge(backlog.length));
        self.depth.set(gauge(backlog.unread.saturating_add(backlog.pending)));
        self.pending.set(gauge(backlog.pending));
        self.dead.set(gauge(backlog.dead));
        // A stream that is drained reads 0; its series does not vanish.
        self.oldest.set(backlog.oldest.map_or(0.0, |oldest| now.since(oldest).as_secs_f64()));
    }

    fn trimmed(&self, entries: u64) {
        self.trimmed.inc_by(entries);
    }

    fn reaped(&self, consumers: u64) {
        self.reaped.inc_by(consumers);
    }

    fn show_blockers(&self, blockers: &[Blocker], known: &mut Vec<String>) {
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
