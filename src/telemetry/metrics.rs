//! What the pipeline and the stream tell: metrics, and the log lines of batches.

use std::sync::Arc;
use std::time::Duration;

#[cfg(target_os = "linux")]
use prometheus::process_collector::ProcessCollector;
use prometheus::{
    GaugeVec, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, Registry,
};
use tracing::{debug, error, info, warn};

use super::outcomes::Outcomes;
use super::stream::StreamMetrics;
use crate::backend::{Backend, DurabilityLevel, DurabilityReport};
use crate::clock::{Clock, millis};
use crate::event::{Batch, Differing, EventKey, Freshness, Kind};
use crate::metrics::{Counters, metrics, show};
use crate::outage::Outage;
use crate::pipeline::{CommitError, CommitFailure, Observed, Observer, Outcome, SourceError};
use crate::spans::{self, Role, Spans};
use crate::upkeep::calls::InProgress;

/// From half a millisecond, a commit on a fast disk, to the longest wait there is.
const SECONDS: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
const EVENTS: [f64; 10] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];

metrics! {
    /// What is running.
    struct Build {
        /// Always 1; the labels say what is running
        info: GaugeVec = "offhook_build_info" by ["version"],
    }
}

metrics! {
    /// Metrics of batches and their events. Those by backend are there of the backends in use.
    pub struct Commits {
        /// Time to commit a batch, by backend; failed commits included
        seconds: HistogramVec = "offhook_commit_duration_seconds" by ["backend"] in SECONDS,
        /// Events of a batch
        batch_events: HistogramVec = "offhook_batch_events" by ["backend"] in EVENTS,
        /// Batches that were not committed, by what went wrong
        pub errors: Counters<(Backend, CommitFailure)> =
            "offhook_commit_errors_total" by ["backend", "error"],
        /// Events that reached the store, and whether it had them already
        pub events: Counters<(Kind, Freshness)> = "offhook_events_total" by ["kind", "freshness"],
        /// Duplicates that were folded together before a commit
        folded: IntCounterVec = "offhook_folded_events_total" by ["backend"],
        /// Deliveries that a mark said are stored
        skipped: IntCounter = "offhook_skipped_deliveries_total",
        /// Duplicates that say something else than what is stored: two facts under one name
        pub differing: IntCounter = "offhook_differing_duplicates_total",
        /// Deliveries taken over from a worker that left them idle
        claimed: IntCounter = "offhook_claimed_deliveries_total",
        /// Entries that another client deleted or trimmed while they were pending
        vanished: IntCounter = "offhook_stream_vanished_total",
        /// Events put aside
        dead_letters: IntCounter = "offhook_dead_letters_total",
        /// Updates after which a SID has two terminal statuses that exclude each other
        pub contradicted: IntCounter = "offhook_contradicted_statuses_total",
        /// Updates of a SID that came when a status further along was stored already
        late: IntCounter = "offhook_late_updates_total",
        /// Reads, acks and claims that the stream did not answer
        pub source_errors: IntCounter = "offhook_stream_errors_total",
        /// Time from an event's receipt to its commit in the store
        stored_lag: Histogram = "offhook_stored_lag_seconds" in SECONDS,
    }
}

metrics! {
    /// Metrics of the account's concurrency.
    pub struct Calls {
        /// Calls in the store whose status is not final, the very old ones left out
        pub in_progress: IntGauge = "offhook_calls_in_progress",
        /// Participants of the open conference that has most of them, by the joins and leaves in the store
        pub participants: IntGauge = "offhook_conference_participants",
        /// How many calls there may be, as configured; 0 if unknown
        pub limit: IntGauge = "offhook_calls_limit",
    }
}

metrics! {
    /// Metrics of what a commit means with the settings of the backends in use.
    pub struct Durability {
        /// 1 for the level that the backend's settings make
        in_force: GaugeVec = "offhook_durability_in_force" by ["backend", "level"],
        /// 1 if a setting of the backend breaks the promise
        breach: GaugeVec = "offhook_durability_breach" by ["backend"],
        /// 1 if a crash of the backend can lose what was to be durable there
        pub below: GaugeVec = "offhook_durability_below_configured" by ["backend"],
    }
}

metrics! {
    /// Metrics of the local log, and of the circuit before the stream.
    pub struct SpoolMetrics {
        /// Events in the local log that wait for the stream
        pub events: IntGauge = "offhook_spool_events",
        /// Bytes of events in the local log, whether they wait for the stream or the store
        bytes: IntGauge = "offhook_spool_bytes",
        /// Events that were put aside in the local log and are still there
        pub dead_letters: IntGauge = "offhook_spool_dead_letters",
        /// Files of the local log that its disk has spoilt, and that were put aside
        pub damaged: IntGauge = "offhook_spool_damaged_files",
        /// 1 while events go to the spool without asking the stream
        pub circuit_open: IntGauge = "offhook_circuit_open",
        /// Times that the stream took no events, so that they went to the spool
        circuit_opened: IntCounter = "offhook_circuit_opened_total",
    }
}

/// Metrics of the pipeline, all of its backends together. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Metrics(Arc<All>);

struct All {
    commits: Commits,
    outcomes: Outcomes,
    calls: Calls,
    stream: StreamMetrics,
    spool: SpoolMetrics,
    durability: Durability,
    spans: Spans,
    clock: Clock,
    outages: Outages,
}

impl Metrics {
    /// Registers every series, at zero. Commits are reported to `spans` as well. `clock` measures how long an event
    /// took to be stored.
    ///
    /// # Errors
    /// A name is registered already.
    pub fn new(registry: &Registry, spans: Spans, clock: Clock) -> prometheus::Result<Self> {
        Build::register(registry)?.info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1.0);
        // Memory, file descriptors, CPU time.
        #[cfg(target_os = "linux")]
        registry.register(Box::new(ProcessCollector::for_self()))?;
        Ok(Self(Arc::new(All {
            commits: Commits::register(registry)?,
            outcomes: Outcomes::new(registry)?,
            calls: Calls::register(registry)?,
            stream: StreamMetrics::register(registry)?,
            spool: SpoolMetrics::register(registry)?,
            durability: Durability::register(registry)?,
            spans,
            clock,
            outages: Outages::default(),
        })))
    }

    /// The observer of one backend.
    #[must_use]
    pub fn of(&self, backend: Backend) -> BackendMetrics {
        let label = &[backend.as_str()];
        let step = match backend {
            Backend::Sqlite => ("store", Role::Internal),
            Backend::Postgres => ("store", Role::Consumer),
            Backend::Redis | Backend::Spool => ("append", Role::Producer),
        };
        let commits = &self.0.commits;
        BackendMetrics {
            backend,
            step,
            seconds: commits.seconds.with_label_values(label),
            batch_events: commits.batch_events.with_label_values(label),
            folded: commits.folded.with_label_values(label),
            all: Arc::clone(&self.0),
        }
    }

    /// A sink of whose commits these metrics and the log tell.
    pub fn observed<K>(&self, sink: K, backend: Backend) -> Observed<K, BackendMetrics> {
        Observed::new(sink, Arc::new(self.of(backend)))
    }

    /// Shows the durability in force, and whether it is less than required.
    pub fn show_durability(&self, backend: Backend, report: &DurabilityReport, below: bool) {
        let (backend, durability) = (backend.as_str(), &self.0.durability);
        for level in DurabilityLevel::ALL {
            let on = f64::from(u8::from(level == report.level));
            durability.in_force.with_label_values(&[backend, level.as_str()]).set(on);
        }
        let breach = f64::from(u8::from(report.breach.is_some()));
        durability.breach.with_label_values(&[backend]).set(breach);
        durability.below.with_label_values(&[backend]).set(f64::from(u8::from(below)));
    }

    /// Shows how many calls there may be; 0 if unknown.
    pub fn show_calls_limit(&self, limit: u64) {
        show(&self.0.calls.limit, limit);
    }

    /// Shows how many calls are in progress, and how full conferences are.
    pub fn show_in_progress(&self, InProgress { calls, participants }: InProgress) {
        show(&self.0.calls.in_progress, calls);
        show(&self.0.calls.participants, participants);
    }

    /// Shows how many events wait behind the stream.
    pub fn show_spooled(&self, events: u64) {
        show(&self.0.spool.events, events);
    }

    /// Shows what the local log holds, and how much was put aside there.
    pub fn show_local_log(&self, bytes: u64, dead_letters: u64, damaged: u64) {
        let spool = &self.0.spool;
        show(&spool.bytes, bytes);
        show(&spool.dead_letters, dead_letters);
        show(&spool.damaged, damaged);
    }

    /// The observer of batches and their events.
    #[must_use]
    pub fn commits(&self) -> &Commits {
        &self.0.commits
    }

    /// How calls, messages and the rest ended.
    #[must_use]
    pub fn outcomes(&self) -> &Outcomes {
        &self.0.outcomes
    }

    /// The metrics of the account's concurrency.
    #[must_use]
    pub fn calls(&self) -> &Calls {
        &self.0.calls
    }

    /// The metrics of the backends' settings.
    #[must_use]
    pub fn durability(&self) -> &Durability {
        &self.0.durability
    }

    /// The metrics of the local log.
    #[must_use]
    pub fn spool(&self) -> &SpoolMetrics {
        &self.0.spool
    }

    /// The metrics of the stream as a whole.
    #[must_use]
    pub fn stream(&self) -> &StreamMetrics {
        &self.0.stream
    }
}

impl Commits {
    /// Two facts share a name, so that one of them is not kept.
    fn tell_differing(&self, differing: &[Differing]) {
        self.differing.inc_by(differing.len() as u64);
        for Differing { event, kept, came } in differing {
            warn!(
                event.key = event.key.as_str(),
                account.sid = event.account,
                kept = %kept,
                came = %came,
                "a duplicate differs from the event that is stored under its key"
            );
        }
    }
}

/// The observer of one backend: counts, traces, and logs once per batch.
#[derive(Clone)]
pub struct BackendMetrics {
    backend: Backend,
    /// What a commit to it is to an event, in a trace.
    step: (&'static str, Role),
    seconds: Histogram,
    batch_events: Histogram,
    folded: IntCounter,
    all: Arc<All>,
}

/// What fails right now, of each backend and of the log that events are read from.
#[derive(Debug, Default)]
struct Outages {
    sqlite: Outage,
    postgres: Outage,
    redis: Outage,
    spool: Outage,
    source: Outage,
}

impl BackendMetrics {
    fn outage(&self) -> &Outage {
        let Outages { sqlite, postgres, redis, spool, .. } = &self.all.outages;
        match self.backend {
            Backend::Sqlite => sqlite,
            Backend::Postgres => postgres,
            Backend::Redis => redis,
            Backend::Spool => spool,
        }
    }

    fn trace(&self, batch: &Batch, took: Duration, error: Option<&CommitError>) {
        let (backend, (name, role)) = (self.backend.as_str(), self.step);
        self.all.spans.committed(&spans::Commit { name, role, backend, batch, took, error });
    }
}

impl Observer for BackendMetrics {
    fn committed(&self, batch: &Batch, outcome: &Outcome, took: Duration) {
        self.seconds.observe(took.as_secs_f64());
        self.batch_events.observe(batch.events().len() as f64);
        self.folded.inc_by(batch.folded() as u64);
        self.all.commits.tell_differing(batch.differing());
        if let Outcome::Stored { fresh, contradicted, late, differing } = outcome {
            self.all.commits.tell_differing(differing);
            let (commits, now) = (&self.all.commits, self.all.clock.now());
            for (event, fresh) in batch.events().iter().zip(fresh) {
                commits.events.of((event.kind, Freshness::of(*fresh))).inc();
                if *fresh {
                    self.all.outcomes.count(event);
                    commits.stored_lag.observe(now.since(event.received_at).as_secs_f64());
                }
            }
            commits.contradicted.inc_by(*contradicted as u64);
            commits.late.inc_by(*late as u64);
        }
        self.trace(batch, took, None);
        if let Some(over) = self.outage().ends() {
            let (failures, lasted_s) = (over.failures, over.seconds());
            info!(
                backend = self.backend.as_str(),
                failures, lasted_s, "batches are committed again"
            );
        }
        debug!(
            backend = self.backend.as_str(),
            batch.size = batch.events().len(),
            duration_ms = millis(took),
            "batch committed"
        );
    }

    fn commit_failed(&self, batch: &Batch, error: &CommitError, took: Duration) {
        self.seconds.observe(took.as_secs_f64());
        self.all.commits.errors.of((self.backend, error.failure())).inc();
        self.trace(batch, took, Some(error));
        let (backend, duration_ms) = (self.backend.as_str(), millis(took));
        let batch_size = batch.events().len();
        // A refusal concerns the data of this batch, and is no outage.
        if error.failure() == CommitFailure::Refused || self.outage().begins() {
            warn!(backend, batch.size = batch_size, duration_ms, error = %error, "batch not committed");
        } else {
            debug!(backend, batch.size = batch_size, duration_ms, error = %error, "batch not committed");
        }
    }

    fn circuit_opened(&self, error: &CommitError) {
        self.all.spool.circuit_open.set(1);
        self.all.spool.circuit_opened.inc();
        warn!(backend = self.backend.as_str(), error = %error, "Redis does not accept events: they go to the spool");
    }

    fn circuit_closed(&self) {
        self.all.spool.circuit_open.set(0);
        info!(backend = self.backend.as_str(), "Redis accepts events again");
    }

    fn skipped(&self, deliveries: usize, differing: &[Differing]) {
        self.all.commits.skipped.inc_by(deliveries as u64);
        self.all.commits.tell_differing(differing);
    }

    fn claimed(&self, deliveries: usize) {
        self.all.commits.claimed.inc_by(deliveries as u64);
        warn!(deliveries, "entries taken over that another worker left idle");
    }

    fn vanished(&self, deliveries: usize) {
        self.all.commits.vanished.inc_by(deliveries as u64);
        warn!(
            deliveries,
            "entries are gone from the stream before they were stored: another client deleted or trimmed them"
        );
    }

    fn dead_lettered(&self, key: Option<&EventKey>, reason: &str) {
        self.all.commits.dead_letters.inc();
        error!(
            event.key = key.map(EventKey::as_str),
            reason, "an event cannot be stored and became a dead letter"
        );
    }

    fn source_failed(&self, error: &SourceError) {
        self.all.commits.source_errors.inc();
        if self.all.outages.source.begins() {
            warn!(error = %error, "no events can be read from the log: what waits there is stored later");
        } else {
            debug!(error = %error, "no events can be read from the log");
        }
    }

    fn source_answered(&self) {
        if let Some(over) = self.all.outages.source.ends() {
            let (failures, lasted_s) = (over.failures, over.seconds());
            info!(failures, lasted_s, "events are read from the log again");
        }
    }
}
