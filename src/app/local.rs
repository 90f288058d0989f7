//! The embedded and the direct deployment: a callback is answered for the local log, and a pump moves
//! it into the store. What is not the same for both is which store that is, and when it has synced.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use secrecy::{ExposeSecret, SecretString};
use tokio_util::sync::CancellationToken;

use super::{Builder, Parts};
use crate::admin::FeedDoors;
use crate::backend::local_log::{LocalLog, Release};
use crate::backend::postgres::{self, Postgres, PostgresStore};
use crate::backend::purge::Purge;
use crate::backend::sqlite::{self, Database, SqliteStore};
use crate::backend::{
    Backend, DeadLetters, DurabilityReport, DurabilityReports, Need, Probe, RowPurge, Store,
};
use crate::config;
use crate::outage::Outage;
use crate::pipeline::pump::{Options, pump};
use crate::pipeline::spooled::AnswerAfter;
use crate::pipeline::{Recorder, batcher};
use crate::recent::events::{EventStage, RecentEvents};
use crate::upkeep::checkpoint::CheckpointKeeper;
use crate::upkeep::feed_watch::Wakes;
use crate::upkeep::local_log::Stands;
use crate::upkeep::migration::migrated;

/// Most events of one transaction of the embedded store: four times the number costs two thirds of
/// the time of each.
const EMBEDDED_BATCH: usize = 2048;
/// At 1,000 callbacks a second, a transaction for each of them took half of a core.
const EMBEDDED_GATHER: Duration = Duration::from_millis(10);

/// The receiving half, up to the log.
struct Receiving {
    log: LocalLog,
    recorder: Recorder,
    /// Cancelled when nothing more comes, and what had come is stored, or cannot be for now.
    finish: CancellationToken,
}

impl Builder<'_> {
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
        let Receiving { log, recorder, finish } = self.receive_locally(log).await?;
        self.retentions.spawn_embedded(&sink, self.tasks);
        self.tasks
            .spawn("forwarding", self.forwarding.clone().run(store.clone(), store.feed_watch()));
        let durabilities = self.durabilities();
        self.show(&durabilities, Backend::Sqlite, DurabilityReport::of_sqlite());
        let live = RecentEvents::new(EventStage::Stored, self.clock);
        let keeper = CheckpointKeeper {
            checkpoint: sink.checkpoint(),
            log: log.clone(),
            outage: Outage::default(),
        };
        let sink = live.observed(self.metrics.observed(sink, Backend::Sqlite));
        let observer = Arc::new(self.metrics.of(Backend::Sqlite));
        let options =
            Options { batch: EMBEDDED_BATCH, gather: EMBEDDED_GATHER, ..Options::default() };
        let source = log.reader(Release::WhenTold);
        self.tasks.spawn("pump", async move {
            let pumping = pump(source, sink, observer, options, finish.clone());
            tokio::join!(pumping, keeper.run(&finish));
            keeper.sync().await;
        });
        Ok(Parts {
            reader: store.reads(),
            outbox: store.outbox(),
            feed: FeedDoors::new(store.feed(), store.feed_watch()),
            forwards: store.forwards(),
            feed_wakes: Wakes::Writer,
            probes: probes(&log, Probe::Store(store.health())),
            recorder: Some(recorder),
            durabilities,
            purge: with_log(store.purge(), log),
            live,
        })
    }

    /// A local log, and Postgres.
    ///
    /// # Errors
    /// The log cannot be opened, the URL is not one, or a setting of Postgres breaks the promise.
    pub(super) async fn direct(
        mut self,
        log: &config::LocalLog,
        url: &SecretString,
        listen: Option<&SecretString>,
    ) -> anyhow::Result<Parts> {
        let feed_wakes = Self::feed_wakes(listen)?;
        let postgres = Postgres::with_writers(url.expose_secret(), 1).context("store.url")?;
        let store = Store::Postgres(postgres::Handles::new(postgres.clone()));
        let durabilities = self.durabilities();
        let watched = vec![Probe::Store(store.health())];
        self.watch_durability(watched, &durabilities, AnswerAfter::Spool).await?;
        let Receiving { log, recorder, finish } = self.receive_locally(log).await?;
        let live = RecentEvents::new(EventStage::Stored, self.clock);
        let sink = PostgresStore::new(postgres.clone()).notifying(self.notify);
        let sink = live.observed(self.metrics.observed(sink, Backend::Postgres));
        let observer = Arc::new(self.metrics.of(Backend::Postgres));
        let source = log.reader(Release::AtOnce);
        let forwarding = self.forwarding;
        let (connections, watch) = (forwarding.connections(url)?, store.feed_watch());
        let (migrate, retentions, stop) = (self.migrate, self.retentions, self.tasks.stop());
        self.tasks.spawn("pump", async move {
            if migrate && !migrated(|| postgres.migrate(), &stop).await {
                return;
            }
            let pumping = pump(source, sink, observer, Options::default(), finish);
            // Only now are there tables.
            tokio::join!(
                pumping,
                retentions.run_postgres(&postgres),
                forwarding.run_on_postgres(connections, watch)
            );
            postgres.close().await;
        });
        Ok(Parts {
            reader: store.reads(),
            outbox: store.outbox(),
            feed: FeedDoors::new(store.feed(), store.feed_watch()),
            forwards: store.forwards(),
            feed_wakes,
            probes: probes(&log, Probe::Store(store.health())),
            recorder: Some(recorder),
            durabilities,
            purge: with_log(store.purge(), log),
            live,
        })
    }

    async fn receive_locally(&mut self, log: &config::LocalLog) -> anyhow::Result<Receiving> {
        let log = self.open_local_log(log, Stands::BeforeStore).await?;
        let (recorder, queue) = batcher::channel();
        let sink = self.metrics.observed(log.clone(), Backend::Spool);
        let (finish, receiving) = (CancellationToken::new(), log.clone());
        let finished = finish.clone();
        self.tasks.spawn("batcher", async move {
            batcher::run(queue, sink).await;
            receiving.drained().await;
            finished.cancel();
        });
        Ok(Receiving { log, recorder, finish })
    }

    fn durabilities(&self) -> DurabilityReports {
        let durabilities = DurabilityReports::default();
        self.show(&durabilities, Backend::Spool, DurabilityReport::of_local_log());
        durabilities
    }

    fn show(&self, durabilities: &DurabilityReports, backend: Backend, report: DurabilityReport) {
        self.metrics.show_durability(backend, &report, false);
        durabilities.set(backend, report);
    }
}

fn with_log(rows: RowPurge, log: LocalLog) -> Purge {
    let dead_letters = DeadLetters { stream: None, local: Some(log.dead_letters()) };
    Purge { rows, dead_letters, stream: None, log: Some(log) }
}

/// Callbacks must be taken while the store is away.
fn probes(log: &LocalLog, store: Probe) -> Vec<(Need, Probe)> {
    vec![
        (Need::Must, Probe::Spool(log.clone())),
        (Need::Must, Probe::SpoolDisk(log.clone())),
        (Need::Optional, store),
    ]
}
