//! The scale-out mode: receivers, which write to the stream, with a spool behind it; and workers,
//! which move events from the stream into the store.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use secrecy::ExposeSecret;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::retention::Retention;
use super::{Parts, spawn_batcher};
use crate::backend::local_log::{LocalLog, Release};
use crate::backend::postgres::{self, MigrateError, Postgres, PostgresStore};
use crate::backend::purge::Purge;
use crate::backend::redis::{self, Connector, RedisConsumer, RedisStream};
use crate::backend::{DurabilityReports, Need, Probe, Store};
use crate::clock::Clock;
use crate::config::Scaled;
use crate::pipeline::pump::{Options, pump};
use crate::pipeline::spooled::{Circuit, CircuitLog, LogWithSpool};
use crate::pipeline::{Observer, Recorder, Sink};
use crate::recent::events::{EventStage, RecentEvents};
use crate::retry::Backoff;
use crate::telemetry::metrics::{Backend, Metrics};
use crate::upkeep::durability::Watch;
use crate::upkeep::local_log;
use crate::upkeep::stream::{self, Rehearsals};
use crate::worker;

/// How long the drainer waits for Redis to take a batch: nobody waits for the drainer.
const DRAIN_PATIENCE: Duration = Duration::from_secs(5);

/// Builds what the role needs.
///
/// # Errors
/// A URL is none, the spool cannot be opened, or a backend's setting breaks the promise.
pub(super) async fn build(
    scaled: &Scaled,
    migrate: bool,
    metrics: &Metrics,
    retention: Retention,
    tasks: &mut JoinSet<&'static str>,
    stop: &CancellationToken,
) -> anyhow::Result<Parts> {
    let connector = scaled.stream.clone();
    let (url, writers) = (scaled.store.expose_secret(), scaled.worker.consumers);
    let postgres = Postgres::with_writers(url, writers).context("store.url")?;
    let store = Store::Postgres(postgres::Handles::new(postgres.clone()));
    let redis = Probe::Redis(connector.clone());
    let mut watched = vec![redis.clone()];
    if scaled.role.works() {
        watched.push(Probe::Store(store.health()));
    }
    // One that stores shows what is stored, and knows what is new.
    let stage = if scaled.role.works() { EventStage::Stored } else { EventStage::Received };
    let live = RecentEvents::new(stage, Clock::System);
    let durabilities = DurabilityReports::default();
    let watch = Watch {
        backends: watched,
        shown: durabilities.clone(),
        metrics: metrics.clone(),
        answer_after: scaled.answer_after,
    };
    watch.look().await?;
    tasks.spawn(watch.run(stop.clone()));
    let rehearsals = Rehearsals::new(scaled, metrics);
    tasks.spawn(rehearsals.begin().await?.run(stop.clone()));
    let mut purge = Purge {
        rows: store.purge(),
        dead_letters: scaled.dead_letters(),
        stream: Some((connector.clone(), scaled.names.clone())),
        log: None,
    };
    let (mut probes, mut recorder) = (Vec::new(), None);
    if scaled.role.receives() {
        let spool = local_log::open(&scaled.spool).await?;
        probes = vec![
            (Need::Either, redis),
            (Need::Either, Probe::Spool(spool.clone())),
            (Need::Must, Probe::SpoolDisk(spool.clone())),
            // Callbacks must be taken while the store is away.
            (Need::Optional, Probe::Store(store.health())),
        ];
        retention.spawn_local_log(&spool, tasks);
        purge.log = Some(spool.clone());
        probes.truncate(if scaled.role.works() { 4 } else { 3 });
        recorder = Some(receive(&connector, scaled, &spool, metrics, &live, tasks, stop));
    } else {
        probes.extend([(Need::Must, redis), (Need::Must, Probe::Store(store.health()))]);
    }
    if scaled.role.works() {
        // Here rather than in its task, so that its series are there from the start.
        let sink = metrics.observed(PostgresStore::new(postgres.clone()), Backend::Postgres);
        let sink = live.observed(sink);
        let observer = Arc::new(metrics.of(Backend::Postgres));
        let (scaled, stop) = (scaled.clone(), stop.clone());
        tasks.spawn(work(postgres, sink, observer, scaled, migrate, retention, stop));
    }
    tasks.spawn(stream::keep(connector.clone(), scaled.clone(), metrics.clone(), stop.clone()));
    Ok(Parts { reader: store.reads(), probes, recorder, durabilities, purge, live })
}

/// The receiver's half: group commit to the stream, or to the spool, which a drainer empties.
fn receive(
    connector: &Connector,
    scaled: &Scaled,
    spool: &LocalLog,
    metrics: &Metrics,
    live: &RecentEvents,
    tasks: &mut JoinSet<&'static str>,
    stop: &CancellationToken,
) -> Recorder {
    let (circuit, observer) = (Circuit::default(), Arc::new(metrics.of(Backend::Redis)));
    let log = |patience| {
        let stream = RedisStream::new(connector, scaled.names.clone(), patience);
        let stream = metrics.observed(stream, Backend::Redis);
        CircuitLog::new(stream, circuit.clone(), Arc::clone(&observer))
    };
    let drainer = pump(
        spool.reader(Release::AtOnce),
        log(DRAIN_PATIENCE),
        Arc::clone(&observer),
        Options::default(),
        stop.clone(),
    );
    tasks.spawn(async move {
        drainer.await;
        "drainer"
    });
    let (tended, told) = (spool.clone(), metrics.clone());
    tasks.spawn(local_log::tend(tended, local_log::Stands::BehindStream, told, stop.clone()));
    let spool = metrics.observed(spool.clone(), Backend::Spool);
    let sink = LogWithSpool::new(log(scaled.stream_timeout), spool, scaled.answer_after);
    match live.stage() {
        EventStage::Received => spawn_batcher(live.observed(sink), tasks),
        EventStage::Stored => spawn_batcher(sink, tasks),
    }
}

/// The worker: waits for Postgres, then works until told to stop.
async fn work(
    postgres: Postgres,
    sink: impl Sink,
    observer: Arc<impl Observer>,
    scaled: Scaled,
    migrate: bool,
    retention: Retention,
    stop: CancellationToken,
) -> &'static str {
    const NAME: &str = "worker";
    if migrate && !migrated(&postgres, &stop).await {
        return NAME;
    }
    // Not worth a wait: `doctor` says it, too.
    if let Ok(examined) = postgres.examine().await
        && examined.version < postgres::OLDEST
    {
        let (version, oldest) = (examined.version / 10_000, postgres::OLDEST / 10_000);
        warn!(version, oldest, "this Postgres is too old to be supported");
    }
    let dead_letters = redis::Retention::new(&scaled.stream, &scaled.names);
    let (sink, mut consumers) = (Arc::new(sink), JoinSet::new());
    for _ in 0..scaled.worker.consumers {
        let (sink, observer) = (Arc::clone(&sink), Arc::clone(&observer));
        consumers.spawn(consume(sink, observer, scaled.clone(), stop.clone()));
    }
    // Only now are there tables.
    tokio::join!(
        consumers.join_all(),
        retention.clone().run_postgres(&postgres),
        retention.run_dead_letters(dead_letters)
    );
    postgres.close().await;
    NAME
}

/// One consumer of the group, until told to stop.
async fn consume(
    sink: impl Sink,
    observer: Arc<impl Observer>,
    scaled: Scaled,
    stop: CancellationToken,
) {
    let Scaled { stream: connector, names, worker, .. } = scaled;
    let name = consumer_name();
    info!(consumer.name = %name, "consumer starts");
    let source = RedisConsumer::new(&connector, names, name, worker.reclaim_idle, worker.mark_ttl);
    let mut source = worker::run(source, sink, observer, worker, stop).await;
    if let Err(error) = source.leave().await {
        warn!(error = %error, "consumer could not leave its group");
    }
}

/// Brings the tables up to date, however long Postgres is away; false if told to stop before, or if
/// waiting cannot help.
pub(super) async fn migrated(postgres: &Postgres, stop: &CancellationToken) -> bool {
    let mut backoff = Backoff::default();
    while !stop.is_cancelled() {
        match postgres.migrate().await {
            Ok(()) => return true,
            Err(MigrateError::Unfit(error)) => {
                error!(error = %error, "tables do not fit this version");
                return false;
            }
            Err(MigrateError::Away(error)) => {
                warn!(error = %error, "tables are not up to date: trying again");
            }
        }
        backoff.wait(stop).await;
    }
    false
}

/// Unique for ever: the host, for people, and 64 random bits.
fn consumer_name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = if host.trim().is_empty() { "worker" } else { host.trim() };
    format!("{host}-{:016x}", rand::random::<u64>())
}
