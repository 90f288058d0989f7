//! Which retention runs where: where a pump moves events into a store, that of the store; of dead letters, where
//! they lie: beside the stream, and in the local log.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio_util::sync::CancellationToken;

use crate::backend::Store;
use crate::backend::local_log::{self, LocalLog};
use crate::backend::postgres::{self, Postgres};
use crate::backend::redis;
use crate::backend::sqlite::{self, SqliteStore};
use crate::clock::Clock;
use crate::config;
use crate::pipeline::expiry::Expire;
use crate::policy::PolicyInForce;
use crate::tasks::Tasks;
use crate::twilio::privacy::Privacy;
use crate::upkeep::retention::{Config, Metrics, Needed, Retention, Table};
use crate::upkeep::treatment::Treatment;

/// What every retention of this process needs.
#[derive(Clone)]
pub(super) struct Retentions {
    config: Config,
    clock: Clock,
    metrics: Metrics,
    /// The forwards, and until which age each keeps what it needs.
    forwards: Arc<ArcSwap<Vec<(String, Duration)>>>,
    policy: PolicyInForce,
    stop: CancellationToken,
}

impl Retentions {
    pub(super) fn new(
        config: &config::Config,
        policy: &PolicyInForce,
        forwards: Arc<ArcSwap<Vec<(String, Duration)>>>,
        metrics: Metrics,
        stop: CancellationToken,
    ) -> Self {
        let (config, clock) = (config.retention, config.clock);
        Self { config, clock, metrics, forwards, policy: policy.clone(), stop }
    }

    pub(super) fn spawn_embedded(&self, store: &SqliteStore, tasks: &mut Tasks) {
        let Config { events, statuses, changes, .. } = self.config;
        let needed = Some(self.needed(Store::Sqlite(sqlite::Handles::new(store))));
        let of_events = self.of(sqlite::Retention::of_events(store), Table::Events, events);
        self.spawn(Retention { needed: needed.clone(), ..of_events }, tasks);
        let of_statuses = sqlite::Retention::of_statuses(store);
        self.spawn(self.of(of_statuses, Table::Statuses, statuses), tasks);
        let of_feed = self.of(sqlite::FeedRetention::new(store), Table::Changes, changes);
        self.spawn(Retention { needed, ..of_feed }, tasks);
        let treatment = self.treatment(&Store::Sqlite(sqlite::Handles::new(store)));
        tasks.spawn("treatment", treatment.run(self.stop.clone()));
    }

    pub(super) fn spawn_local_log(&self, log: &LocalLog, tasks: &mut Tasks) {
        let letters = local_log::Retention::new(log);
        self.spawn(self.of(letters, Table::Spool, self.config.dead_letters), tasks);
    }

    /// Runs until the process stops.
    pub(super) async fn run_postgres(self, postgres: &Postgres) {
        let Config { events, statuses, changes, .. } = self.config;
        let of_feed = postgres::FeedRetention::new(postgres.clone());
        let of_events = postgres::Retention::of_events(postgres.clone());
        let of_statuses = postgres::Retention::of_statuses(postgres.clone());
        let store = Store::Postgres(postgres::Handles::new(postgres.clone()));
        let treatment = self.treatment(&store);
        let needed = Some(self.needed(store));
        let of_events = self.of(of_events, Table::Events, events);
        let of_feed = self.of(of_feed, Table::Changes, changes);
        tokio::join!(
            Retention { needed: needed.clone(), ..of_events }.run(self.stop.clone()),
            self.of(of_statuses, Table::Statuses, statuses).run(self.stop.clone()),
            Retention { needed, ..of_feed }.run(self.stop.clone()),
            treatment.run(self.stop.clone()),
        );
    }

    /// The same of those of the stream.
    pub(super) async fn run_dead_letters(self, dead_letters: redis::Retention) {
        let age = self.config.dead_letters;
        self.of(dead_letters, Table::DeadLetters, age).run(self.stop.clone()).await;
    }

    /// Of what was sent.
    fn treatment(&self, store: &Store) -> Treatment<impl Fn() -> Arc<Privacy> + Send + use<>> {
        let privacy = self.policy.privacy();
        Treatment { outbox: store.outbox(), privacy: move || privacy.now() }
    }

    fn needed(&self, store: Store) -> Needed {
        Needed { forwards: store.forwards(), of: Arc::clone(&self.forwards) }
    }

    fn spawn(&self, retention: Retention<impl Expire>, tasks: &mut Tasks) {
        let stop = self.stop.clone();
        tasks.spawn("retention", async move {
            retention.run(stop.clone()).await;
            // A task that ends by itself would stop the process.
            stop.cancelled().await;
        });
    }

    fn of<P: Expire>(&self, place: P, table: Table, age: Option<Duration>) -> Retention<P> {
        let (clock, metrics) = (self.clock, self.metrics.clone());
        Retention { place, table, age, needed: None, clock, metrics }
    }
}
