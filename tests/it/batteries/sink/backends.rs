//! The sinks, each with its server, and what lies in it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use offhook::backend::local_log::{Bounds, LocalLog, Release};
use offhook::backend::postgres::{self, PostgresStore};
use offhook::backend::redis::{Connector, Names, RedisStream};
use offhook::backend::sqlite::{self, Database, SqliteStore};
use offhook::event::{Batch, CurrentStatus, Event, EventKey, codec};
use offhook::pipeline::{Delivery, Sink, Source as _};
use sqlx::{Executor as _, PgPool, Sqlite, SqlitePool, Transaction};
use tempfile::TempDir;

use crate::harness::{copy_all, settled};
use crate::services::{Durability, Fsync, Need, Postgres, Redis};

/// What lies in a backend: each event once, sorted by key. A log has no statuses.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Contents {
    pub(super) events: Vec<Event>,
    pub(super) statuses: Vec<CurrentStatus>,
}

/// A backend.
pub(super) trait Backend: Sized {
    type Sink: Sink;
    const NEEDS: &[Need];
    /// Whether it looks for duplicates and keeps statuses.
    const STORES: bool;

    async fn start() -> Self;
    /// Another sink on it.
    async fn sink(&self) -> Self::Sink;
    async fn contents(&self) -> Contents;
}

/// A backend that keeps statuses.
pub(super) trait Store: Backend {
    /// Of each status, sorted by SID, what is there for other readers: status, final, contradicted.
    async fn columns(&self) -> Vec<(String, bool, bool)>;
    /// The wakes, sorted: attempt, SID, account.
    async fn wakes(&self) -> Vec<(String, String, String)>;
    /// Empties the tables.
    async fn clear(&self);
}

const CLEAR: &str = "DELETE FROM events; DELETE FROM statuses; DELETE FROM wakes";
const COLUMNS: &str = "SELECT status, final, contradicted FROM statuses ORDER BY sid, account";
const WAKES: &str = "SELECT attempt, sid, account FROM wakes WHERE at IS NOT NULL ORDER BY 1, 2, 3";

/// A backend that is a server, with what can happen to one.
pub(super) trait Server: Backend {
    /// One whose commits wait for the disk, as in production.
    async fn start_synced() -> Self;
    /// `kill -9`
    fn kill(&mut self);
    fn restart(&mut self);
}

/// One that can also be there and not answer.
pub(super) trait Silent: Server {
    fn pause(&mut self);
    fn go_on(&mut self);
}

/// Each event once, sorted by key: a log may hold one twice, which is the same event.
fn once(events: impl IntoIterator<Item = Event>) -> Contents {
    let mut once: BTreeMap<EventKey, Event> = BTreeMap::new();
    for event in events {
        once.entry(event.key.clone()).or_insert(event);
    }
    Contents { events: once.into_values().collect(), statuses: Vec::new() }
}

/// The local log, whose backend is a disk. It belongs to one process, so that all sinks on it are one.
pub(super) struct LocalBackend {
    directory: TempDir,
    log: LocalLog,
}

impl LocalBackend {
    const BOUNDS: Bounds = Bounds { max_bytes: 1 << 30, min_free_bytes: 0 };

    fn place(directory: &TempDir) -> PathBuf {
        directory.path().join("log")
    }

    fn away(&self) -> PathBuf {
        self.directory.path().join("away")
    }
}

impl Backend for LocalBackend {
    type Sink = LocalLog;
    const NEEDS: &[Need] = &[];
    const STORES: bool = false;

    async fn start() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let log = LocalLog::open(&Self::place(&directory), Self::BOUNDS).await;
        Self { log: log.expect("nobody else has it"), directory }
    }

    async fn sink(&self) -> LocalLog {
        self.log.clone()
    }

    /// As the next process finds it after a crash: nothing of this one ends well.
    async fn contents(&self) -> Contents {
        let copy = tempfile::tempdir().expect("a temporary directory");
        copy_all(&Self::place(&self.directory), copy.path());
        let log = LocalLog::open(copy.path(), Self::BOUNDS).await.expect("nobody else has it");
        assert_eq!(log.damaged(), 0);
        let (mut reader, mut events) = (log.reader(Release::AtOnce), Vec::new());
        let waiting = usize::try_from(log.fill().events).expect("few");
        while events.len() < waiting {
            let read = reader.read(Batch::MAX_EVENTS).await.expect("the disk works");
            let event = |delivery: &Delivery<_>| delivery.event.clone().expect("an event");
            events.extend(read.iter().map(event));
            reader.ack(&settled(read)).await.expect("it is in memory");
        }
        once(events)
    }
}

impl Server for LocalBackend {
    async fn start_synced() -> Self {
        Self::start().await
    }

    /// The disk is gone.
    fn kill(&mut self) {
        std::fs::rename(Self::place(&self.directory), self.away()).expect("it is ours");
    }

    fn restart(&mut self) {
        std::fs::rename(self.away(), Self::place(&self.directory)).expect("it is ours");
    }
}

/// The stream.
pub(super) struct RedisBackend(Redis);

impl RedisBackend {
    fn names() -> Names {
        Names { stream: "offhook:events".to_owned(), group: "offhook".to_owned() }
    }

    /// One that is soon full.
    pub(super) fn start_small() -> Self {
        Self(Redis::with(Fsync::Always, Some("16mb")))
    }

    pub(super) fn make_room(&self) {
        let more = redis::cmd("CONFIG").arg("SET").arg("maxmemory").arg("64mb").to_owned();
        self.0.query::<()>(&more);
    }
}

impl Backend for RedisBackend {
    type Sink = RedisStream;
    const NEEDS: &[Need] = &[Need::Redis];
    const STORES: bool = false;

    async fn start() -> Self {
        Self(Redis::start())
    }

    async fn sink(&self) -> RedisStream {
        let connector = Connector::new(&self.0.url()).expect("a good URL");
        RedisStream::new(&connector, Self::names(), Duration::from_secs(2))
    }

    async fn contents(&self) -> Contents {
        let range = redis::cmd("XRANGE").arg(Self::names().stream).arg("-").arg("+").to_owned();
        type Fields = Vec<(Vec<u8>, Vec<u8>)>;
        let entries: Vec<(String, Fields)> = self.0.query(&range);
        once(entries.into_iter().map(|(_, fields)| {
            let fields = fields.into_iter().map(|(a, b)| (Bytes::from(a), Bytes::from(b)));
            codec::decode(fields).expect("what was written can be read")
        }))
    }
}

impl Server for RedisBackend {
    async fn start_synced() -> Self {
        Self::start().await
    }

    fn kill(&mut self) {
        self.0.kill();
    }

    fn restart(&mut self) {
        self.0.restart();
    }
}

impl Silent for RedisBackend {
    fn pause(&mut self) {
        self.0.pause();
    }

    fn go_on(&mut self) {
        self.0.go_on();
    }
}

/// The scale-out store.
pub(super) struct PostgresBackend {
    postgres: Postgres,
    query: postgres::Query,
    /// Connections that are none of offhook's.
    plain: PgPool,
}

impl PostgresBackend {
    async fn of(postgres: Postgres) -> Self {
        let pool = postgres::Postgres::new(&postgres.url()).expect("a good URL");
        pool.migrate().await.expect("empty tables can be made");
        let plain = PgPool::connect_lazy(&postgres.url()).expect("a good URL");
        Self { postgres, query: postgres::Query::new(pool), plain }
    }

    fn pool(&self) -> postgres::Postgres {
        postgres::Postgres::new(&self.postgres.url()).expect("a good URL")
    }
}

impl Backend for PostgresBackend {
    type Sink = PostgresStore;
    const NEEDS: &[Need] = &[Need::Postgres];
    const STORES: bool = true;

    async fn start() -> Self {
        Self::of(Postgres::start(Durability::Unsynced)).await
    }

    async fn sink(&self) -> PostgresStore {
        PostgresStore::new(self.pool())
    }

    async fn contents(&self) -> Contents {
        let events = self.query.all_events().await.expect("it can be read");
        let statuses = self.query.all_statuses().await.expect("it can be read");
        Contents { events: events.into_iter().map(|stored| stored.event).collect(), statuses }
    }
}

impl Store for PostgresBackend {
    async fn columns(&self) -> Vec<(String, bool, bool)> {
        sqlx::query_as(COLUMNS).fetch_all(&self.plain).await.expect("it can be read")
    }

    async fn wakes(&self) -> Vec<(String, String, String)> {
        sqlx::query_as(WAKES).fetch_all(&self.plain).await.expect("it can be read")
    }

    async fn clear(&self) {
        self.plain.execute(CLEAR).await.expect("nobody else writes");
    }
}

impl Server for PostgresBackend {
    async fn start_synced() -> Self {
        Self::of(Postgres::start(Durability::Synced)).await
    }

    fn kill(&mut self) {
        self.postgres.kill();
    }

    fn restart(&mut self) {
        self.postgres.restart();
        // The old one's connections died with it.
        self.query = postgres::Query::new(self.pool());
    }
}

impl Silent for PostgresBackend {
    fn pause(&mut self) {
        self.postgres.pause();
    }

    fn go_on(&mut self) {
        self.postgres.go_on();
    }
}

/// The embedded store, which is no server: it dies with its process, which `kills.rs` has.
pub(super) struct SqliteBackend {
    _directory: TempDir,
    database: Arc<Database>,
    /// Connections that are none of offhook's.
    plain: SqlitePool,
}

impl SqliteBackend {
    /// The one right to write, for as long as it is kept.
    pub(super) async fn hold(&self) -> Transaction<'static, Sqlite> {
        self.plain.begin_with("BEGIN IMMEDIATE").await.expect("nobody else writes")
    }
}

impl Backend for SqliteBackend {
    type Sink = SqliteStore;
    const NEEDS: &[Need] = &[];
    const STORES: bool = true;

    async fn start() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let url = format!("sqlite:{}", directory.path().join("offhook.db").display());
        let database = Database::lock(&url).expect("nobody else has it");
        database.migrate().await.expect("the tables can be made");
        let plain = SqlitePool::connect_lazy(&url).expect("a good URL");
        Self { _directory: directory, database: Arc::new(database), plain }
    }

    async fn sink(&self) -> SqliteStore {
        SqliteStore::open(Arc::clone(&self.database)).await.expect("the tables are there")
    }

    async fn contents(&self) -> Contents {
        let query = sqlite::Query::new(&self.database);
        let events = query.all_events().await.expect("it can be read");
        let statuses = query.all_statuses().await.expect("it can be read");
        Contents { events: events.into_iter().map(|stored| stored.event).collect(), statuses }
    }
}

impl Store for SqliteBackend {
    async fn columns(&self) -> Vec<(String, bool, bool)> {
        sqlx::query_as(COLUMNS).fetch_all(&self.plain).await.expect("it can be read")
    }

    async fn wakes(&self) -> Vec<(String, String, String)> {
        sqlx::query_as(WAKES).fetch_all(&self.plain).await.expect("it can be read")
    }

    async fn clear(&self) {
        self.plain.execute(CLEAR).await.expect("nobody else writes");
    }
}
