//! What the pipeline and the stream tell: metrics, and the log lines of batches.

use std::sync::Arc;
use std::time::Duration;

#[cfg(target_os = "linux")]
use prometheus::process_collector::ProcessCollector;
use prometheus::{
    GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts,
    Registry,
};
use tracing::{debug, error, info, warn};

use super::outcomes::Outcomes;
use super::stream::StreamMetrics;
use crate::backend::{DurabilityLevel, DurabilityReport};
use crate::clock::Clock;
use crate::event::{Batch, Differing, EventKey, Kind};
use crate::pipeline::{CommitError, Observed, Observer, Outcome, SourceError};
use crate::spans::{self, Role, Spans};

/// From half a millisecond, a commit on a fast disk, to the longest wait of anybody.
const SECONDS: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
const EVENTS: [f64; 10] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];

/// What a backend is called in the label `backend`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Backend {
    /// The embedded store.
    Sqlite,
    /// The stream.
    Redis,
    /// The scale-out store.
    Postgres,
    /// What waits for the stream.
    Spool,
}

impl Backend {
    /// Every backend of any deployment, so that a query for one is right in each.
    const ALL: [Self; 4] = [Self::Sqlite, Self::Redis, Self::Postgres, Self::Spool];

    /// The label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Redis => "redis",
            Self::Postgres => "postgres",
            Self::Spool => "spool",
        }
    }
}

/// Metrics of the pipeline, all of its backends together.
#[derive(Clone)]
pub struct Metrics {
    commit_seconds: HistogramVec,
    batch_events: HistogramVec,
    commit_errors: IntCounterVec,
    events: IntCounterVec,
    folded: IntCounterVec,
    skipped: IntCounter,
    differing: IntCounter,
    claimed: IntCounter,
    vanished: IntCounter,
    dead_letters: IntCounter,
    contradicted: IntCounter,
    late: IntCounter,
    source_errors: IntCounter,
    stored_lag: Histogram,
    outcomes: Outcomes,
    calls_in_progress: IntGauge,
    calls_limit: IntGauge,
    stream: StreamMetrics,
    spool: SpoolMetrics,
    durability: GaugeVec,
    breach: GaugeVec,
    below: GaugeVec,
    spans: Spans,
    clock: Clock,
}

impl Metrics {
    /// Registers every series, at zero. Of commits `spans` are told as well. How long an event took to be stored is
    /// measured by `clock`.
    ///
    /// # Errors
    /// A name is registered already.
    pub fn new(registry: &Registry, spans: Spans, clock: Clock) -> prometheus::Result<Self> {
        let counter = |name: &str, help: &str| register(registry, IntCounter::new(name, help)?);
        let counters =
            |name: &str, help: &str, labels: &[&str]| counters(registry, name, help, labels);
        let histogram = |name: &str, help: &str, buckets: &[f64]| {
            let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
            register(registry, HistogramVec::new(options, &["backend"])?)
        };
        let gauges = |name: &str, help: &str, labels: &[&str]| {
            register(registry, GaugeVec::new(Opts::new(name, help), labels)?)
        };
        let gauge = |name: &str, help: &str| register(registry, IntGauge::new(name, help)?);
        build_info(registry)?;
        let commit_errors = counters(
            "offhook_commit_errors_total",
            "Batches that were not committed, by what went wrong",
            &["backend", "error"],
        )?;
        for backend in Backend::ALL {
            for error in ["transient", "refused", "full"] {
                commit_errors.with_label_values(&[backend.as_str(), error]);
            }
        }
        // Memory, file descriptors, CPU time.
        #[cfg(target_os = "linux")]
        registry.register(Box::new(ProcessCollector::for_self()))?;
        Ok(Self {
            spans,
            clock,
            commit_seconds: histogram(
                "offhook_commit_duration_seconds",
                "Time to commit a batch, by backend; failed commits included",
                &SECONDS,
            )?,
            batch_events: histogram("offhook_batch_events", "Events of a batch", &EVENTS)?,
            commit_errors,
            events: counters(
                "offhook_events_total",
                "Events that reached the store, and whether it had them already",
                &["kind", "freshness"],
            )?,
            folded: counters(
                "offhook_folded_events_total",
                "Duplicates that were folded together before a commit",
                &["backend"],
            )?,
            skipped: counter(
                "offhook_skipped_deliveries_total",
                "Deliveries that a mark said are stored",
            )?,
            differing: counter(
                "offhook_differing_duplicates_total",
                "Duplicates that say something else than what is stored: two facts under one name",
            )?,
            claimed: counter(
                "offhook_claimed_deliveries_total",
                "Deliveries taken over from a worker that left them idle",
            )?,
            vanished: counter(
                "offhook_stream_vanished_total",
                "Entries that somebody else deleted or trimmed while they were pending",
            )?,
            dead_letters: counter("offhook_dead_letters_total", "Events put aside")?,
            contradicted: counter(
                "offhook_contradicted_statuses_total",
                "Updates after which a SID has two terminal statuses that exclude each other",
            )?,
            late: counter(
                "offhook_late_updates_total",
                "Updates of a SID that came when a status further along was stored already",
            )?,
            source_errors: counter(
                "offhook_stream_errors_total",
                "Reads, acks and claims that the stream did not answer",
            )?,
            stored_lag: register(
                registry,
                Histogram::with_opts(
                    HistogramOpts::new(
                        "offhook_stored_lag_seconds",
                        "Time from an event's receipt to its commit in the store",
                    )
                    .buckets(SECONDS.to_vec()),
                )?,
            )?,
            outcomes: Outcomes::new(registry)?,
            calls_in_progress: gauge(
                "offhook_calls_in_progress",
                "Calls in the store whose status is not final, the very old ones left out",
            )?,
            calls_limit: gauge(
                "offhook_calls_limit",
                "How many there may be, as configured; 0 if nobody said",
            )?,
            stream: StreamMetrics::new(registry)?,
            spool: SpoolMetrics::new(registry)?,
            durability: gauges(
                "offhook_durability_in_force",
                "1 for the level that the backend's settings make",
                &["backend", "level"],
            )?,
            breach: gauges(
                "offhook_durability_breach",
                "1 if a setting of the backend breaks the promise",
                &["backend"],
            )?,
            below: gauges(
                "offhook_durability_below_configured",
                "1 if a crash of the backend can lose what was to be durable there",
                &["backend"],
            )?,
        })
    }

    /// What is told about one backend.
    #[must_use]
    pub fn of(&self, backend: Backend) -> BackendMetrics {
        let label = backend.as_str();
        let stored =
            |kind: Kind, freshness| self.events.with_label_values(&[kind.as_str(), freshness]);
        let step = match backend {
            Backend::Sqlite => ("store", Role::Internal),
            Backend::Postgres => ("store", Role::Consumer),
            Backend::Redis | Backend::Spool => ("append", Role::Producer),
        };
        BackendMetrics {
            backend: label,
            step,
            commit_seconds: self.commit_seconds.with_label_values(&[label]),
            batch_events: self.batch_events.with_label_values(&[label]),
            folded: self.folded.with_label_values(&[label]),
            stored: Kind::ALL.map(|kind| ["duplicate", "fresh"].map(|is| stored(kind, is))),
            all: self.clone(),
        }
    }

    /// A sink of whose commits these metrics and the log tell.
    pub fn observed<K>(&self, sink: K, backend: Backend) -> Observed<K, BackendMetrics> {
        Observed::new(sink, Arc::new(self.of(backend)))
    }

    /// Shows which durability is in force, and whether that is less than was asked for.
    pub fn show_durability(&self, backend: &str, report: &DurabilityReport, below: bool) {
        for level in DurabilityLevel::ALL {
            let on = f64::from(u8::from(level == report.level));
            self.durability.with_label_values(&[backend, level.as_str()]).set(on);
        }
        let breach = f64::from(u8::from(report.breach.is_some()));
        self.breach.with_label_values(&[backend]).set(breach);
        self.below.with_label_values(&[backend]).set(f64::from(u8::from(below)));
    }

    /// Shows how many calls there may be; 0 if nobody said.
    pub fn show_calls_limit(&self, limit: u64) {
        self.calls_limit.set(i64::try_from(limit).unwrap_or(i64::MAX));
    }

    /// Shows how many calls are in progress.
    pub fn show_calls(&self, in_progress: u64) {
        self.calls_in_progress.set(i64::try_from(in_progress).unwrap_or(i64::MAX));
    }

    /// Shows how many events wait behind the stream.
    pub fn show_spooled(&self, events: u64) {
        self.spool.events.set(i64::try_from(events).unwrap_or(i64::MAX));
    }

    /// Shows what the local log holds, and how much was put aside there.
    pub fn show_local_log(&self, bytes: u64, dead_letters: u64, damaged: u64) {
        let gauge = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        self.spool.bytes.set(gauge(bytes));
        self.spool.dead_letters.set(gauge(dead_letters));
        self.spool.damaged.set(gauge(damaged));
    }

    /// Two facts share a name, so that one of them is not kept.
    fn differing(&self, differing: &[Differing]) {
        self.differing.inc_by(differing.len() as u64);
        for Differing { event, kept, came } in differing {
            warn!(
                event.key = event.key.as_str(),
                account.sid = event.account,
                kept = %kept,
                came = %came,
                "a duplicate says something else than the event that is stored under its name"
            );
        }
    }

    /// What is told about the stream as a whole.
    #[must_use]
    pub fn stream(&self) -> &StreamMetrics {
        &self.stream
    }
}

/// Metrics of the local log, and of the circuit before the stream.
#[derive(Clone)]
struct SpoolMetrics {
    events: IntGauge,
    bytes: IntGauge,
    dead_letters: IntGauge,
    damaged: IntGauge,
    circuit_open: IntGauge,
    circuit_opened: IntCounter,
}

impl SpoolMetrics {
    fn new(registry: &Registry) -> prometheus::Result<Self> {
        let gauge = |name: &str, help: &str| register(registry, IntGauge::new(name, help)?);
        let opened = IntCounter::new(
            "offhook_circuit_opened_total",
            "Times that the stream took no events, so that they went to the spool",
        )?;
        Ok(Self {
            events: gauge(
                "offhook_spool_events",
                "Events in the local log that wait for the stream",
            )?,
            bytes: gauge(
                "offhook_spool_bytes",
                "Bytes of events in the local log, whether they wait for the stream or the store",
            )?,
            dead_letters: gauge(
                "offhook_spool_dead_letters",
                "Events that were put aside in the local log and are still there",
            )?,
            damaged: gauge(
                "offhook_spool_damaged_files",
                "Files of the local log that its disk has spoilt, and that were put aside",
            )?,
            circuit_open: gauge(
                "offhook_circuit_open",
                "1 while events go to the spool without asking the stream",
            )?,
            circuit_opened: register(registry, opened)?,
        })
    }
}

/// Registers counters.
pub(super) fn counters(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> prometheus::Result<IntCounterVec> {
    register(registry, IntCounterVec::new(Opts::new(name, help), labels)?)
}

/// Registers a metric and hands it back.
pub(super) fn register<M: prometheus::core::Collector + Clone + 'static>(
    registry: &Registry,
    metric: M,
) -> prometheus::Result<M> {
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

fn build_info(registry: &Registry) -> prometheus::Result<()> {
    let opts = Opts::new("offhook_build_info", "Always 1; the labels say what is running");
    let info = register(registry, GaugeVec::new(opts, &["version"])?)?;
    info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1.0);
    Ok(())
}

/// What is told about one backend: counted, traced, and logged once per batch.
#[derive(Clone)]
pub struct BackendMetrics {
    backend: &'static str,
    /// What a commit to it is to an event, in a trace.
    step: (&'static str, Role),
    commit_seconds: Histogram,
    batch_events: Histogram,
    folded: IntCounter,
    /// By kind, duplicates and fresh events.
    stored: [[IntCounter; 2]; Kind::ALL.len()],
    all: Metrics,
}

impl BackendMetrics {
    fn trace(&self, batch: &Batch, took: Duration, error: Option<&CommitError>) {
        let (backend, (name, role)) = (self.backend, self.step);
        self.all.spans.committed(&spans::Commit { name, role, backend, batch, took, error });
    }
}

impl Observer for BackendMetrics {
    fn committed(&self, batch: &Batch, outcome: &Outcome, took: Duration) {
        self.commit_seconds.observe(took.as_secs_f64());
        self.batch_events.observe(batch.events().len() as f64);
        self.folded.inc_by(batch.folded() as u64);
        self.all.differing(batch.differing());
        if let Outcome::Stored { fresh, contradicted, late, differing } = outcome {
            self.all.differing(differing);
            let now = self.all.clock.now();
            for (event, fresh) in batch.events().iter().zip(fresh) {
                self.stored[event.kind as usize][usize::from(*fresh)].inc();
                if *fresh {
                    self.all.outcomes.count(event);
                    self.all.stored_lag.observe(now.since(event.received_at).as_secs_f64());
                }
            }
            self.all.contradicted.inc_by(*contradicted as u64);
            self.all.late.inc_by(*late as u64);
        }
        self.trace(batch, took, None);
        debug!(
            backend = self.backend,
            batch.size = batch.events().len(),
            duration_ms = took.as_secs_f64() * 1000.0,
            "batch committed"
        );
    }

    fn commit_failed(&self, batch: &Batch, error: &CommitError, took: Duration) {
        self.commit_seconds.observe(took.as_secs_f64());
        let label = match error {
            CommitError::Transient(_) | CommitError::Late(_) => "transient",
            CommitError::Refused(_) => "refused",
            CommitError::Full(_) => "full",
        };
        self.all.commit_errors.with_label_values(&[self.backend, label]).inc();
        self.trace(batch, took, Some(error));
        warn!(
            backend = self.backend,
            batch.size = batch.events().len(),
            duration_ms = took.as_secs_f64() * 1000.0,
            error = %error,
            "batch not committed"
        );
    }

    fn circuit_opened(&self, error: &CommitError) {
        self.all.spool.circuit_open.set(1);
        self.all.spool.circuit_opened.inc();
        warn!(backend = self.backend, error = %error, "stream takes no events: they go to the spool");
    }

    fn circuit_closed(&self) {
        self.all.spool.circuit_open.set(0);
        info!(backend = self.backend, "stream takes events again");
    }

    fn skipped(&self, deliveries: usize, differing: &[Differing]) {
        self.all.skipped.inc_by(deliveries as u64);
        self.all.differing(differing);
    }

    fn claimed(&self, deliveries: usize) {
        self.all.claimed.inc_by(deliveries as u64);
        warn!(deliveries, "deliveries claimed that another worker left idle");
    }

    fn vanished(&self, deliveries: usize) {
        self.all.vanished.inc_by(deliveries as u64);
        warn!(deliveries, "deliveries are gone: somebody deleted or trimmed them in the stream");
    }

    fn dead_lettered(&self, key: Option<&EventKey>, reason: &str) {
        self.all.dead_letters.inc();
        error!(event.key = key.map(EventKey::as_str), reason, "event put aside as a dead letter");
    }

    fn source_failed(&self, error: &SourceError) {
        self.all.source_errors.inc();
        warn!(error = %error, "stream does not answer");
    }
}
