//! The scale-out mode: receivers, which write to the stream, with a spool behind it; and workers,
//! which move events from the stream into the store.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use secrecy::ExposeSecret;
use tracing::{info, warn};

use super::{Builder, Parts};
use crate::admin::FeedDoors;
use crate::backend::local_log::{LocalLog, Release};
use crate::backend::postgres::{self, Postgres, PostgresStore};
use crate::backend::purge::Purge;
use crate::backend::redis::{self, Housekeeping, RedisConsumer, RedisStream, Rehearsal};
use crate::backend::{Backend, DurabilityReports, Need, Probe, Store};
use crate::config::{Role, Scaled};
use crate::pipeline::Recorder;
use crate::pipeline::pump::{Options, pump};
use crate::pipeline::spooled::{Circuit, CircuitLog, LogWithSpool};
use crate::recent::events::{EventStage, RecentEvents};
use crate::upkeep::local_log::Stands;
use crate::upkeep::migration::migrated;
use crate::upkeep::rehearsals::Rehearsals;
use crate::upkeep::stream::{REAP_AFTER, RedisStreamAsWhole, StreamKeeper};
use crate::worker::Worker;

/// How long the drainer waits for Redis to take a batch: no request waits for the drainer.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

impl Builder<'_> {
    /// Builds what the role needs.
    ///
    /// # Errors
    /// A URL is not valid, the spool cannot be opened, or a backend's setting breaks the promise.
    pub(super) async fn scaled(mut self, scaled: &Scaled) -> anyhow::Result<Parts> {
        let (role, connector) = (scaled.role, scaled.stream.clone());
        let feed_wakes = Self::feed_wakes(scaled.listen.as_ref())?;
        let (url, writers) = (scaled.store.expose_secret(), scaled.worker.consumers);
        let postgres = Postgres::with_writers(url, writers).context("store.url")?;
        let store = Store::Postgres(postgres::Handles::new(postgres.clone()));
        let (redis, health) = (Probe::Redis(connector.clone()), Probe::Store(store.health()));

        let durabilities = DurabilityReports::default();
        let watched = match role {
            Role::Receiver => vec![redis.clone()],
            Role::Worker | Role::Sender | Role::All => vec![redis.clone(), health.clone()],
        };
        self.watch_durability(watched, &durabilities, scaled.answer_after).await?;
        self.rehearse(scaled).await?;
        // One that stores shows what is stored, and knows what is new.
        let stage = if role.works() { EventStage::Stored } else { EventStage::Received };
        let live = RecentEvents::new(stage, self.clock);
        let spool = match role {
            Role::Worker | Role::Sender => None,
            Role::Receiver | Role::All => {
                Some(self.open_local_log(&scaled.spool, Stands::BehindStream).await?)
            }
        };
        let recorder = spool.as_ref().map(|spool| self.receive(scaled, spool, &live));
        if role.works() {
            self.work(scaled, &postgres, &live)?;
        }
        self.keep_stream(scaled);

        let purge = Purge {
            rows: store.purge(),
            dead_letters: scaled.dead_letters(),
            stream: Some((connector, scaled.names.clone())),
            log: spool.clone(),
        };
        let probes = probes(role, redis, health, spool);
        let feed = FeedDoors::new(store.feed(), store.feed_watch());
        let (reader, forwards) = (store.reads(), store.forwards());
        Ok(Parts {
            reader,
            outbox: store.outbox(),
            feed,
            feed_wakes,
            forwards,
            probes,
            recorder,
            durabilities,
            purge,
            live,
        })
    }

    /// Rehearses what this process does with Redis: once now, then periodically.
    async fn rehearse(&mut self, scaled: &Scaled) -> anyhow::Result<()> {
        let duties =
            redis::RedisDuties { appends: scaled.role.receives(), works: scaled.role.works() };
        let rehearsal = Rehearsal::new(&scaled.stream, scaled.names.clone(), duties);
        let metrics = self.metrics.stream().clone();
        let rehearsals =
            Rehearsals { rehearsal, show: move |health: &_| metrics.show_health(health) };
        let begun = rehearsals.begin().await?;
        self.tasks.spawn("rehearsals", begun.run(self.tasks.stop()));
        Ok(())
    }

    /// The receiver's half: group commit to the stream, or to the spool, which a drainer empties.
    fn receive(&mut self, scaled: &Scaled, spool: &LocalLog, live: &RecentEvents) -> Recorder {
        let (circuit, metrics) = (Circuit::default(), self.metrics);
        let observer = Arc::new(metrics.of(Backend::Redis));
        let log = |timeout| {
            let stream = RedisStream::new(&scaled.stream, scaled.names.clone(), timeout);
            let stream = metrics.observed(stream, Backend::Redis);
            CircuitLog::new(stream, circuit.clone(), Arc::clone(&observer))
        };
        let (waiting, sink) = (spool.reader(Release::AtOnce), log(DRAIN_TIMEOUT));
        let (options, stop) = (Options::default(), self.tasks.stop());
        let drainer = pump(waiting, sink, Arc::clone(&observer), options, stop);
        self.tasks.spawn("drainer", async move {
            drainer.await;
        });
        let spool = metrics.observed(spool.clone(), Backend::Spool);
        let sink = LogWithSpool::new(log(scaled.stream_timeout), spool, scaled.answer_after);
        match live.stage() {
            EventStage::Received => self.spawn_batcher(live.observed(sink)),
            EventStage::Stored => self.spawn_batcher(sink),
        }
    }

    /// The worker's half: waits for Postgres, then moves events from the stream into it.
    ///
    /// # Errors
    /// The URL of the store is not valid.
    fn work(
        &mut self,
        scaled: &Scaled,
        postgres: &Postgres,
        live: &RecentEvents,
    ) -> anyhow::Result<()> {
        // Here rather than in its task, so that its series are there from the start.
        let sink = self.metrics.observed(
            PostgresStore::new(postgres.clone()).notifying(self.notify),
            Backend::Postgres,
        );
        let worker = Worker {
            config: scaled.worker,
            sink: live.observed(sink),
            observer: Arc::new(self.metrics.of(Backend::Postgres)),
        };
        let (scaled, postgres, stop) = (scaled.clone(), postgres.clone(), self.tasks.stop());
        let (migrate, retentions) = (self.migrate, self.retentions.clone());
        let forwarding = self.forwarding.clone();
        let connections = forwarding.connections(&scaled.store)?;
        let watch = Store::Postgres(postgres::Handles::new(postgres.clone())).feed_watch();
        self.tasks.spawn("worker", async move {
            if migrate && !migrated(|| postgres.migrate(), &stop).await {
                return;
            }
            warn_of_old(&postgres).await;
            let dead_letters = redis::Retention::new(&scaled.stream, &scaled.names);
            let consumers = (0..scaled.worker.consumers).map(|_| consumer(&scaled));
            // Only now are there tables.
            tokio::join!(
                worker.run(consumers, stop),
                retentions.clone().run_postgres(&postgres),
                retentions.run_dead_letters(dead_letters),
                forwarding.run_on_postgres(connections, watch)
            );
            postgres.close().await;
        });
        Ok(())
    }

    fn keep_stream(&mut self, scaled: &Scaled) {
        let connector = scaled.stream.clone();
        let housekeeping = Housekeeping::new(&connector, scaled.names.clone());
        let keeper = StreamKeeper {
            stream: RedisStreamAsWhole { housekeeping, connector },
            observer: self.metrics.stream().clone(),
            interval: scaled.worker.trim_every,
            reap_after: scaled.role.works().then(|| REAP_AFTER * scaled.worker.reclaim_idle),
        };
        self.tasks.spawn("housekeeping", keeper.run(self.tasks.stop()));
    }
}

/// What a process of this role depends on. A receiver needs the stream or its spool; callbacks must be taken while
/// the store is away.
fn probes(role: Role, redis: Probe, store: Probe, spool: Option<LocalLog>) -> Vec<(Need, Probe)> {
    let Some(spool) = spool else {
        return vec![(Need::Must, redis), (Need::Must, store)];
    };
    let mut probes = vec![
        (Need::Either, redis),
        (Need::Either, Probe::Spool(spool.clone())),
        (Need::Must, Probe::SpoolDisk(spool)),
    ];
    probes.extend(role.works().then_some((Need::Optional, store)));
    probes
}

/// Logs a warning if Postgres is old. It never waits for that: `doctor` reports the same.
async fn warn_of_old(postgres: &Postgres) {
    if let Ok(examined) = postgres.examine().await
        && examined.version < postgres::OLDEST
    {
        let (version, oldest) = (examined.version / 10_000, postgres::OLDEST / 10_000);
        warn!(version, oldest, "this version of Postgres is too old to be supported");
    }
}

/// One consumer of the group. Its name is unique for ever: the host, for people, and 64 random bits.
fn consumer(scaled: &Scaled) -> RedisConsumer {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = if host.trim().is_empty() { "worker" } else { host.trim() };
    let name = format!("{host}-{:016x}", rand::random::<u64>());
    info!(consumer.name = %name, "consumer starts");
    let Scaled { stream, names, worker, .. } = scaled;
    RedisConsumer::new(stream, names.clone(), name, worker.reclaim_idle, worker.mark_ttl)
}
