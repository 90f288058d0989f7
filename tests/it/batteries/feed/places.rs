//! Both stores, with what is asked of their feeds.

use std::sync::Arc;

use offhook::backend::local_log::{Bounds, LocalLog};
use offhook::backend::postgres::{self, PostgresStore};
use offhook::backend::purge::{Mode, Place as PurgePlace, Purge, Selection};
use offhook::backend::sqlite::{self, Database, SqliteStore};
use offhook::backend::{DeadLetters, Feed, Reads, Store};
use offhook::pipeline::Sink;
use offhook::pipeline::expiry::Expire;
use offhook::twilio::privacy::Privacy;
use tempfile::TempDir;

use crate::services::{Durability, Postgres};

/// A store with a feed.
pub(super) trait Place: Send + Sync + 'static {
    fn sink(&self) -> &impl Sink;
    fn store(&self) -> Store;
    fn feed_retention(&self) -> impl Expire;

    fn feed(&self) -> Feed {
        self.store().feed()
    }

    fn reads(&self) -> Reads {
        self.store().reads()
    }

    /// Of a number.
    async fn purge(&self, number: &str) {
        let home = tempfile::tempdir().expect("a temporary directory");
        let bounds = Bounds { max_bytes: 1 << 20, min_free_bytes: 0 };
        let log = LocalLog::open(home.path(), bounds).await.expect("nobody else has it");
        let dead_letters = DeadLetters { stream: None, local: None };
        let rows = self.store().purge();
        let purge = Purge { rows, dead_letters, stream: None, log: Some(log) };
        let addresses = Selection::addresses(number, &Privacy::default()).expect("a number");
        let selection = Selection { addresses, ..Selection::default() };
        let mut place = Some(PurgePlace::START);
        while let Some(at) = place.take() {
            let step = purge.step(&selection, at, Mode::Delete).await;
            place = step.expect("the store is there").1;
        }
    }
}

pub(super) struct SqlitePlace {
    store: SqliteStore,
    _directory: TempDir,
}

impl SqlitePlace {
    pub(super) async fn start() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let url = format!("sqlite:{}", directory.path().join("offhook.db").display());
        let database = Arc::new(Database::lock(&url).expect("a file of our own"));
        database.migrate().await.expect("a new file");
        let store = SqliteStore::open(database).await.expect("a new file");
        Self { store, _directory: directory }
    }
}

impl Place for SqlitePlace {
    fn sink(&self) -> &impl Sink {
        &self.store
    }

    fn store(&self) -> Store {
        Store::Sqlite(sqlite::Handles::new(&self.store))
    }

    fn feed_retention(&self) -> impl Expire {
        sqlite::FeedRetention::new(&self.store)
    }
}

pub(super) struct PostgresPlace {
    postgres: postgres::Postgres,
    sink: PostgresStore,
    _server: Postgres,
}

impl PostgresPlace {
    pub(super) async fn start() -> Self {
        let server = Postgres::start(Durability::Unsynced);
        let postgres = postgres::Postgres::with_writers(&server.url(), 4).expect("a good URL");
        postgres.migrate().await.expect("empty tables can be made");
        let sink = PostgresStore::new(postgres.clone());
        Self { postgres, sink, _server: server }
    }
}

impl Place for PostgresPlace {
    fn sink(&self) -> &impl Sink {
        &self.sink
    }

    fn store(&self) -> Store {
        Store::Postgres(postgres::Handles::new(self.postgres.clone()))
    }

    fn feed_retention(&self) -> impl Expire {
        postgres::FeedRetention::new(self.postgres.clone())
    }
}
