//! Metrics of the stream as a whole: how much waits in it, and what keeps entries from being freed.

use std::time::Duration;

use prometheus::{Gauge, IntCounter, IntGauge};
use tracing::{error, warn};

use crate::backend::redis::{Backlog, Blocker, Failure, RedisHealth};
use crate::clock::Timestamp;
use crate::labels::labels;
use crate::metrics::{Counters, metrics, show};
use crate::upkeep::stream::StreamObserver;

/// A group that is not offhook's and is this far behind counts as abandoned.
const FORGOTTEN: Duration = Duration::from_secs(300);

labels! {
    /// What can be taken away. A closed set: it is a metric label.
    pub enum Reset {
        /// The stream, with all that waited in it.
        Stream = "stream",
        /// Our consumer group, with what it knew to be pending.
        Group = "group",
    }
}

metrics! {
    /// Metrics of the stream.
    #[derive(Clone)]
    pub struct StreamMetrics {
        /// Entries in the stream, those included that are acked and not yet freed
        length: IntGauge = "offhook_stream_length",
        /// Events that wait for the store: entries in the stream that are not acked, or what is in
        /// the local log where there is no stream
        pub depth: IntGauge = "offhook_stream_depth",
        /// Entries that a worker has read and not acked
        pending: IntGauge = "offhook_stream_pending",
        /// Events that were put aside and are still there
        pub dead: IntGauge = "offhook_dead_letters",
        /// Age of the oldest of them, or 0
        pub oldest: Gauge = "offhook_stream_oldest_age_seconds",
        /// Entries freed, about
        trimmed: IntCounter = "offhook_stream_trimmed_total",
        /// Consumers removed from the group, long idle and holding nothing
        reaped: IntCounter = "offhook_reaped_consumers_total",
        /// Other consumer groups that have kept entries from being freed for 5 minutes
        pub blocking: IntGauge = "offhook_stream_blocking_groups",
        /// Age of the oldest entry that only another consumer group keeps, or 0
        kept: Gauge = "offhook_stream_kept_age_seconds",
        /// 1 if Redis took all that this process does with it when that was last tried
        usable: IntGauge = "offhook_stream_usable",
        /// 1 if this is a Redis that offhook cannot work with
        pub unsupported: IntGauge = "offhook_stream_unsupported",
        /// 1 if Redis answers, and refuses something that is needed
        pub refusing: IntGauge = "offhook_stream_refusing",
        /// 1 while no marks are written, since more than half of Redis's maxmemory is used
        marks_given_up: IntGauge = "offhook_marks_given_up",
        /// Times that the stream, or offhook's group in it, was deleted or set back
        pub resets: Counters<Reset> = "offhook_stream_resets_total" by ["what"],
    }
}

impl StreamMetrics {
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
        show(&self.depth, events);
        self.oldest.set(oldest.as_secs_f64());
    }
}

impl StreamObserver for StreamMetrics {
    fn stream_lost(&self, before: Backlog) {
        self.resets.of(Reset::Stream).inc();
        let Backlog { unread, pending, .. } = before;
        error!(
            unread,
            pending,
            "the stream was reset: FLUSHALL, DEL or a failover removed events that were answered; of those that waited \
             when it was last measured, what no worker had stored is lost"
        );
    }

    fn groups_made_again(&self, times: u64) {
        if times > 0 {
            self.resets.of(Reset::Group).inc_by(times);
            error!(
                times,
                "the consumer group was gone and was created again at the first entry that is left: FLUSHALL, DEL or \
                 XGROUP DESTROY removed it, and perhaps events that were not stored yet"
            );
        }
    }

    fn show(&self, backlog: Backlog, now: Timestamp) {
        show(&self.length, backlog.length);
        show(&self.depth, backlog.unread.saturating_add(backlog.pending));
        show(&self.pending, backlog.pending);
        show(&self.dead, backlog.dead);
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
        show(&self.blocking, names.len() as u64);
        for group in names.iter().filter(|group| !known.contains(group)) {
            warn!(
                group,
                "a consumer group of another program keeps the stream from being freed until Redis is full: let it read \
                 and ack, or remove it with XGROUP DESTROY"
            );
        }
        *known = names;
    }
}
