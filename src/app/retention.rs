//! Which retention runs where: where a pump moves events into a store, that of the store; of dead letters, where they lie: beside
//! the stream, and in the local log.

use std::time::Duration;

use prometheus::Registry;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::backend::local_log::{self, LocalLog};
use crate::backend::postgres::{self, Postgres};
use crate::backend::redis;
use crate::backend::sqlite::{self, SqliteStore};
use crate::clock::Clock;
use crate::pipeline::aging::Aging;
use crate::upkeep::retention::{self, Config, Metrics, Table};

/// What every retention of this process needs.
#[derive(Clone)]
pub(super) struct Retention {
    config: Config,
    clock: Clock,
    metrics: Metrics,
    stop: CancellationToken,
}

impl Retention {
    pub(super) fn new(
        config: Config,
        clock: Clock,
        registry: &Registry,
        stop: CancellationToken,
    ) -> prometheus::Result<Self> {
        Ok(Self { config, clock, metrics: Metrics::new(registry)?, stop })
    }

    pub(super) fn spawn_embedded(&self, store: &SqliteStore, tasks: &mut JoinSet<&'static str>) {
        let Config { events, statuses, .. } = self.config;
        self.spawn(sqlite::Retention::of_events(store), Table::Events, events, tasks);
        self.spawn(sqlite::Retention::of_statuses(store), Table::Statuses, statuses, tasks);
    }

    pub(super) fn spawn_local_log(&self, log: &LocalLog, tasks: &mut JoinSet<&'static str>) {
        let letters = local_log::Retention::new(log);
        self.spawn(letters, Table::Spool, self.config.dead_letters, tasks);
    }

    /// Until it is told to stop, or at once if everything is kept for ever.
    pub(super) async fn run_postgres(self, postgres: &Postgres) {
        let Config { events, statuses, .. } = self.config;
        let of_events = postgres::Retention::of_events(postgres.clone());
        let of_statuses = postgres::Retention::of_statuses(postgres.clone());
        tokio::join!(
            self.run(of_events, Table::Events, events),
            self.run(of_statuses, Table::Statuses, statuses),
        );
    }

    /// The same of those of the stream.
    pub(super) async fn run_dead_letters(self, dead_letters: redis::Retention) {
        self.run(dead_letters, Table::DeadLetters, self.config.dead_letters).await;
    }

    fn spawn(
        &self,
        aging: impl Aging,
        table: Table,
        age: Option<Duration>,
        tasks: &mut JoinSet<&'static str>,
    ) {
        let (running, stop) = (self.run(aging, table, age), self.stop.clone());
        tasks.spawn(async move {
            running.await;
            // A task that ends by itself would stop the process.
            stop.cancelled().await;
            "retention"
        });
    }

    fn run<A: Aging>(
        &self,
        aging: A,
        table: Table,
        age: Option<Duration>,
    ) -> impl Future<Output = ()> + Send + use<A> {
        retention::run(aging, table, age, self.clock, self.metrics.clone(), self.stop.clone())
    }
}
