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
use sqlx::{PgPool, SqlitePool};
use tempfile::TempDir;

use crate::services::{Durability, Postgres};

const WAKES: &str = "SELECT sid FROM wakes ORDER BY id";

/// A store with a feed.
pub(super) trait Place: Send + Sync + 'static {
    fn sink(&self) -> &impl Sink;
    fn store(&self) -> Store;
    fn feed_retention(&self) -> impl Expire;
    /// The SIDs of the wakes, in the order of those.
    async fn wakes(&self) -> Vec<String>;

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
    plain: SqlitePool,
    _directory: TempDir,
}

impl SqlitePlace {
    pub(super) async fn start() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let url = format!("sqlite:{}", directory.path().join("offhook.db").display());
        let database = Arc::new(Database::lock(&url).expect("a file of our own"));
        database.migrate().await.expect("a new file");
        let store = SqliteStore::open(database).await.expect("a new file");
        let plain = SqlitePool::connect_lazy(&url).expect("a good URL");
        Self { store, plain, _directory: directory }
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

    async fn wakes(&self) -> Vec<String> {
        sqlx::query_scalar(WAKES).fetch_all(&self.plain).await.expect("it can be read")
    }
}

pub(super) struct PostgresPlace {
    postgres: postgres::Postgres,
    sink: PostgresStore,
    pub(super) plain: PgPool,
    _server: Postgres,
}

impl PostgresPlace {
    pub(super) async fn start() -> Self {
        let server = Postgres::start(Durability::Unsynced);
        let postgres = postgres::Postgres::with_writers(&server.url(), 4).expect("a good URL");
        postgres.migrate().await.expect("empty tables can be made");
        let sink = PostgresStore::new(postgres.clone());
        let plain = PgPool::connect_lazy(&server.url()).expect("a good URL");
        Self { postgres, sink, plain, _server: server }
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

    async fn wakes(&self) -> Vec<String> {
        sqlx::query_scalar(WAKES).fetch_all(&self.plain).await.expect("it can be read")
    }
}
