//! The embedded and the direct deployment: a callback is answered for the local log, and a pump moves
//! it into the store. What is not the same for both is which store that is, and when it has synced.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use secrecy::{ExposeSecret, SecretString};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::Parts;
use super::retention::Retention;
use super::scaled::migrated;
use crate::backend::local_log::{LocalLog, Release};
use crate::backend::postgres::{self, Postgres, PostgresStore};
use crate::backend::purge::Purge;
use crate::backend::sqlite::{self, Checkpoint, Database, SqliteStore};
use crate::backend::{DeadLetters, DurabilityReport, DurabilityReports, Need, Probe, Store};
use crate::clock::Clock;
use crate::config;
use crate::pipeline::pump::{Options, pump};
use crate::pipeline::spooled::AnswerAfter;
use crate::pipeline::{Recorder, batcher};
use crate::recent::events::{EventStage, RecentEvents};
use crate::telemetry::metrics::{Backend, Metrics};
use crate::upkeep::durability::Watch;
use crate::upkeep::local_log::{self, Stands};

/// Most events of one transaction of the embedded store: four times the number costs two thirds of
/// the time of each.
const EMBEDDED_BATCH: usize = 2048;
/// At 1,000 callbacks a second, a transaction for each of them took half of a core.
const EMBEDDED_GATHER: Duration = Duration::from_millis(10);

/// What both need.
pub(super) struct Local<'a> {
    pub(super) migrate: bool,
    pub(super) metrics: &'a Metrics,
    pub(super) retention: Retention,
    pub(super) tasks: &'a mut JoinSet<&'static str>,
    pub(super) stop: &'a CancellationToken,
}

/// The receiving half, up to the log.
struct Receiving {
    log: LocalLog,
    recorder: Recorder,
    /// Cancelled when nothing more comes, and what had come is stored, or cannot be for now.
    finish: CancellationToken,
}

impl Local<'_> {
    /// A local log, and a SQLite file.
    ///
    /// # Errors
    /// One of the two cannot be opened.
    pub(super) async fn embedded(
        mut self,
        log: &config::LocalLog,
        url: &str,
    ) -> anyhow::Result<Parts> {
        let database = Arc::new(Database::lock(url)?);
        if self.migrate {
            database.migrate().await?;
        }
        let sink = SqliteStore::open(database).await?;
        let store = Store::Sqlite(sqlite::Handles::new(&sink));
        let Receiving { log, recorder, finish } = self.receive(log).await?;
        self.retention.spawn_embedded(&sink, self.tasks);
        let purge = Purge {
            rows: store.purge(),
            dead_letters: dead_letters(&log),
            stream: None,
            log: Some(log.clone()),
        };
        let durabilities = self.durabilities();
        self.show(&durabilities, "sqlite", DurabilityReport::of_sqlite());
        let live = RecentEvents::new(EventStage::Stored, Clock::System);
        let checkpoint = sink.checkpoint();
        let sink = live.observed(self.metrics.observed(sink, Backend::Sqlite));
        let observer = Arc::new(self.metrics.of(Backend::Sqlite));
        let options =
            Options { batch: EMBEDDED_BATCH, gather: EMBEDDED_GATHER, ..Options::default() };
        let source = log.reader(Release::WhenTold);
        let probes = probes(&log, Probe::Store(store.health()));
        self.tasks.spawn(async move {
            let synced = sync(&checkpoint, &log, &finish);
            tokio::join!(pump(source, sink, observer, options, finish.clone()), synced);
            sync_once(&checkpoint, &log).await;
            "pump"
        });
        let (reader, recorder) = (store.reads(), Some(recorder));
        Ok(Parts { reader, probes, recorder, durabilities, purge, live })
    }

    /// A local log, and Postgres.
    ///
    /// # Errors
    /// The log cannot be opened, the URL is not one, or a setting of Postgres breaks the promise.
    pub(super) async fn direct(
        mut self,
        log: &config::LocalLog,
        url: &SecretString,
    ) -> anyhow::Result<Parts> {
        let postgres = Postgres::with_writers(url.expose_secret(), 1).context("store.url")?;
        let store = Store::Postgres(postgres::Handles::new(postgres.clone()));
        let durabilities = self.durabilities();
        let watch = Watch {
            backends: vec![Probe::Store(store.health())],
            shown: durabilities.clone(),
            metrics: self.metrics.clone(),
            answer_after: AnswerAfter::Spool,
        };
        watch.look().await?;
        let Receiving { log, recorder, finish } = self.receive(log).await?;
        self.tasks.spawn(watch.run(self.stop.clone()));
        let purge = Purge {
            rows: store.purge(),
            dead_letters: dead_letters(&log),
            stream: None,
            log: Some(log.clone()),
        };
        let live = RecentEvents::new(EventStage::Stored, Clock::System);
        let sink = PostgresStore::new(postgres.clone());
        let sink = live.observed(self.metrics.observed(sink, Backend::Postgres));
        let observer = Arc::new(self.metrics.of(Backend::Postgres));
        let source = log.reader(Release::AtOnce);
        let probes = probes(&log, Probe::Store(store.health()));
        let (migrate, retention, stop) = (self.migrate, self.retention, self.stop.clone());
        self.tasks.spawn(async move {
            const NAME: &str = "pump";
            if migrate && !migrated(&postgres, &stop).await {
                return NAME;
            }
            let pumping = pump(source, sink, observer, Options::default(), finish);
            // Only now are there tables.
            tokio::join!(pumping, retention.run_postgres(&postgres));
            postgres.close().await;
            NAME
        });
        let (reader, recorder) = (store.reads(), Some(recorder));
        Ok(Parts { reader, probes, recorder, durabilities, purge, live })
    }

    async fn receive(&mut self, log: &config::LocalLog) -> anyhow::Result<Receiving> {
        let log = local_log::open(log).await?;
        self.retention.spawn_local_log(&log, self.tasks);
        let (metrics, stop) = (self.metrics.clone(), self.stop.clone());
        self.tasks.spawn(local_log::tend(log.clone(), Stands::BeforeStore, metrics, stop));
        let (recorder, queue) = batcher::channel();
        let sink = self.metrics.observed(log.clone(), Backend::Spool);
        let (finish, receiving) = (CancellationToken::new(), log.clone());
        let finished = finish.clone();
        self.tasks.spawn(async move {
            batcher::run(queue, sink).await;
            receiving.drained().await;
            finished.cancel();
            "batcher"
        });
        Ok(Receiving { log, recorder, finish })
    }

    fn durabilities(&self) -> DurabilityReports {
        let durabilities = DurabilityReports::default();
        self.show(&durabilities, "spool", DurabilityReport::of_local_log());
        durabilities
    }

    fn show(
        &self,
        durabilities: &DurabilityReports,
        backend: &'static str,
        report: DurabilityReport,
    ) {
        self.metrics.show_durability(backend, &report, false);
        durabilities.set(backend, report);
    }
}

fn dead_letters(log: &LocalLog) -> DeadLetters {
    DeadLetters { stream: None, local: Some(log.dead_letters()) }
}

/// Callbacks must be taken while the store is away.
fn probes(log: &LocalLog, store: Probe) -> Vec<(Need, Probe)> {
    vec![
        (Need::Must, Probe::Spool(log.clone())),
        (Need::Must, Probe::SpoolDisk(log.clone())),
        (Need::Optional, store),
    ]
}

/// Syncs the embedded store again and again, so that the log can let go of what it holds: soon when that is
/// much, and now and then otherwise.
async fn sync(checkpoint: &Checkpoint, log: &LocalLog, finish: &CancellationToken) {
    const LOOK_EVERY: Duration = Duration::from_millis(100);
    /// What is written meanwhile is brought to the disk in a millisecond or so.
    const PREPARE_EVERY: Duration = Duration::from_millis(20);
    /// A file of the log.
    const MUCH: u64 = 16 * 1024 * 1024;
    const EVERY: Duration = Duration::from_secs(5);
    let mut last = Instant::now();
    while !finish.is_cancelled() {
        let due = last.elapsed() >= EVERY || log.settled().bytes() >= MUCH;
        if due && checkpoint.is_due() {
            sync_once(checkpoint, log).await;
            last = Instant::now();
        }
        checkpoint.prepare().await;
        let pause = if checkpoint.is_due() { PREPARE_EVERY } else { LOOK_EVERY };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = finish.cancelled() => {}
        }
    }
}

async fn sync_once(checkpoint: &Checkpoint, log: &LocalLog) {
    // Before the checkpoint: what is settled after it began may not be in it.
    let settled = log.settled();
    match checkpoint.run().await {
        Ok(true) => log.release(settled).await,
        // Somebody reads what was there before; the next one finds them gone.
        Ok(false) => {}
        Err(error) => {
            warn!(error = %error, "the store cannot be synced; the log keeps what it holds")
        }
    }
}
