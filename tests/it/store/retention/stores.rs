//! Both stores, with what deletes from them.

use std::sync::Arc;

use offhook::backend::postgres::{self, PostgresStore};
use offhook::backend::sqlite::{self, Database, SqliteStore};
use offhook::event::{Batch, CurrentStatus};
use offhook::pipeline::expiry::Expire;
use offhook::pipeline::{CommitError, Outcome, Sink};
use sqlx::postgres::PgConnection;
use sqlx::{Connection as _, Executor as _, SqliteConnection};
use tempfile::TempDir;

use crate::services::{Durability, Postgres};

/// A store.
pub(super) trait Store {
    type Sink: Sink;
    type Place: Expire;

    async fn sink(&self) -> Self::Sink;
    fn events(&self) -> Self::Place;
    fn statuses(&self) -> Self::Place;
    async fn keys(&self) -> Vec<String>;
    async fn statuses_now(&self) -> Vec<CurrentStatus>;

    async fn sids(&self) -> Vec<String> {
        self.statuses_now().await.into_iter().map(|row| row.sid).collect()
    }
}

/// As if each event were stored when it was received, and its status with it: a store's own clock cannot be
/// told what to say.
const STORED_AS_RECEIVED: &str = "CREATE FUNCTION as_received () RETURNS trigger LANGUAGE plpgsql AS \
    $$ BEGIN NEW.stored_at := NEW.received_at; RETURN NEW; END $$; \
    CREATE TRIGGER as_received BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION as_received (); \
    CREATE FUNCTION as_updated () RETURNS trigger LANGUAGE plpgsql AS \
    $$ BEGIN NEW.stored_at := NEW.updated; RETURN NEW; END $$; \
    CREATE TRIGGER as_updated BEFORE INSERT OR UPDATE ON statuses \
    FOR EACH ROW EXECUTE FUNCTION as_updated ()";
const STORED_AS_RECEIVED_IN_SQLITE: &str = "CREATE TRIGGER as_received AFTER INSERT ON events \
    BEGIN UPDATE events SET stored_at = received_at WHERE rowid = NEW.rowid; END; \
    CREATE TRIGGER as_said AFTER INSERT ON statuses \
    BEGIN UPDATE statuses SET stored_at = updated WHERE sid = NEW.sid AND account = NEW.account; END; \
    CREATE TRIGGER as_updated AFTER UPDATE OF position ON statuses \
    BEGIN UPDATE statuses SET stored_at = updated WHERE sid = NEW.sid AND account = NEW.account; END";

/// The embedded one.
pub(super) struct SqlitePlace {
    store: Arc<SqliteStore>,
    query: sqlite::Query,
    pub(super) directory: TempDir,
}

/// Its one writer, shared.
pub(super) struct Shared(Arc<SqliteStore>);

impl Sink for Shared {
    async fn commit(&self, batch: &Batch) -> Result<Outcome, CommitError> {
        self.0.commit(batch).await
    }
}

impl SqlitePlace {
    pub(super) async fn start() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let url = format!("sqlite:{}", directory.path().join("offhook.db").display());
        let database = Arc::new(Database::lock(&url).expect("a file of our own"));
        database.migrate().await.expect("a new file");
        let mut connection = SqliteConnection::connect(&url).await.expect("it is there");
        connection.execute(STORED_AS_RECEIVED_IN_SQLITE).await.expect("a good statement");
        let query = sqlite::Query::new(&database);
        let store = SqliteStore::open(database).await.expect("a new file");
        Self { store: Arc::new(store), query, directory }
    }
}

impl Store for SqlitePlace {
    type Sink = Shared;
    type Place = sqlite::Retention;

    async fn sink(&self) -> Shared {
        Shared(Arc::clone(&self.store))
    }

    fn events(&self) -> sqlite::Retention {
        sqlite::Retention::of_events(&self.store)
    }

    fn statuses(&self) -> sqlite::Retention {
        sqlite::Retention::of_statuses(&self.store)
    }

    async fn keys(&self) -> Vec<String> {
        let events = self.query.all_events().await.expect("it can be read");
        events.into_iter().map(|stored| stored.event.key.to_string()).collect()
    }

    async fn statuses_now(&self) -> Vec<CurrentStatus> {
        self.query.all_statuses().await.expect("it can be read")
    }
}

/// The scale-out one.
pub(super) struct PostgresPlace {
    pool: postgres::Postgres,
    server: Postgres,
}

impl PostgresPlace {
    pub(super) async fn start() -> Self {
        let server = Postgres::start(Durability::Unsynced);
        let pool = postgres::Postgres::new(&server.url()).expect("a good URL");
        pool.migrate().await.expect("empty tables can be made");
        server.execute(STORED_AS_RECEIVED).await;
        Self { pool, server }
    }

    /// A transaction that has done this, until it is dropped.
    pub(super) async fn hold(&self, what: &str) -> PgConnection {
        let mut holder = self.server.connection().await;
        holder.execute("BEGIN").await.expect("it runs");
        holder.execute(sqlx::AssertSqlSafe(what.to_owned())).await.expect("a good statement");
        holder
    }
}

impl Store for PostgresPlace {
    type Sink = PostgresStore;
    type Place = postgres::Retention;

    async fn sink(&self) -> PostgresStore {
        PostgresStore::new(self.pool.clone())
    }

    fn events(&self) -> postgres::Retention {
        postgres::Retention::of_events(self.pool.clone())
    }

    fn statuses(&self) -> postgres::Retention {
        postgres::Retention::of_statuses(self.pool.clone())
    }

    async fn keys(&self) -> Vec<String> {
        let query = postgres::Query::new(self.pool.clone());
        let events = query.all_events().await.expect("it can be read");
        events.into_iter().map(|stored| stored.event.key.to_string()).collect()
    }

    async fn statuses_now(&self) -> Vec<CurrentStatus> {
        let query = postgres::Query::new(self.pool.clone());
        query.all_statuses().await.expect("it can be read")
    }
}
