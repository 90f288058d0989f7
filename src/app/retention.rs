//! Which retention runs where: where a pump moves events into a store, that of the store; of dead letters, where
//! they lie: beside the stream, and in the local log.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::backend::local_log::{self, LocalLog};
use crate::backend::postgres::{self, Postgres};
use crate::backend::redis;
use crate::backend::sqlite::{self, SqliteStore};
use crate::clock::Clock;
use crate::pipeline::expiry::Expire;
use crate::tasks::Tasks;
use crate::upkeep::retention::{Config, Metrics, Retention, Table};

/// What every retention of this process needs.
#[derive(Clone)]
pub(super) struct Retentions {
    config: Config,
    clock: Clock,
    metrics: Metrics,
    stop: CancellationToken,
}

impl Retentions {
    pub(super) fn new(
        config: Config,
        clock: Clock,
        metrics: Metrics,
        stop: CancellationToken,
    ) -> Self {
        Self { config, clock, metrics, stop }
    }

    pub(super) fn spawn_embedded(&self, store: &SqliteStore, tasks: &mut Tasks) {
        let Config { events, statuses, changes, .. } = self.config;
        self.spawn(sqlite::Retention::of_events(store), Table::Events, events, tasks);
        self.spawn(sqlite::Retention::of_statuses(store), Table::Statuses, statuses, tasks);
        self.spawn(sqlite::FeedRetention::new(store), Table::Changes, changes, tasks);
    }

    pub(super) fn spawn_local_log(&self, log: &LocalLog, tasks: &mut Tasks) {
        let letters = local_log::Retention::new(log);
        self.spawn(letters, Table::Spool, self.config.dead_letters, tasks);
    }

    /// Until the process stops, or not at all if everything is kept for ever.
    pub(super) async fn run_postgres(self, postgres: &Postgres) {
        let Config { events, statuses, changes, .. } = self.config;
        let of_feed = postgres::FeedRetention::new(postgres.clone());
        let of_events = postgres::Retention::of_events(postgres.clone());
        let of_statuses = postgres::Retention::of_statuses(postgres.clone());
        tokio::join!(
            self.of(of_events, Table::Events, events).run(self.stop.clone()),
            self.of(of_statuses, Table::Statuses, statuses).run(self.stop.clone()),
            self.of(of_feed, Table::Changes, changes).run(self.stop.clone()),
        );
    }

    /// The same of those of the stream.
    pub(super) async fn run_dead_letters(self, dead_letters: redis::Retention) {
        let age = self.config.dead_letters;
        self.of(dead_letters, Table::DeadLetters, age).run(self.stop.clone()).await;
    }

    fn spawn(&self, place: impl Expire, table: Table, age: Option<Duration>, tasks: &mut Tasks) {
        let (retention, stop) = (self.of(place, table, age), self.stop.clone());
        tasks.spawn("retention", async move {
            retention.run(stop.clone()).await;
            // A task that ends by itself would stop the process.
            stop.cancelled().await;
        });
    }

    fn of<P: Expire>(&self, place: P, table: Table, age: Option<Duration>) -> Retention<P> {
        Retention { place, table, age, clock: self.clock, metrics: self.metrics.clone() }
    }
}
