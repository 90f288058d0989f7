//! Reads of the embedded store, on connections of their own: a slow one does not hold up commits.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::sqlite::SqlitePoolOptions;
use sqlx::{QueryBuilder, Sqlite, SqliteConnection, SqlitePool};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use super::{Database, OpenError, options};
use crate::backend::search::{Counts, EventSearch, StatusSearch};
use crate::backend::sql::session::SqliteSession;
use crate::backend::sql::{counts, rows, search};
use crate::backend::{BackendError, StoredEvent};
use crate::clock::Timestamp;
use crate::event::CurrentStatus;

/// Longest read.
const READ_TIMEOUT: Duration = Duration::from_secs(5);

/// Reads the embedded store.
#[derive(Clone, Debug)]
pub struct Query {
    pool: SqlitePool,
    /// A search may look at every row: one at a time, so that the other connection is left for what is
    /// quick.
    searches: Arc<Semaphore>,
}

impl Query {
    /// Connects when first asked.
    #[must_use]
    pub fn new(database: &Database) -> Self {
        Self::of_file(database.path())
    }

    /// Reads of a file that another process, or another part of this one, writes.
    #[must_use]
    pub fn of_file(path: &Path) -> Self {
        let options = options(path).create_if_missing(false).read_only(true);
        // Opened anew by the pool if one breaks; two so that a timeline does not wait for a search.
        let pool = SqlitePoolOptions::new()
            .max_connections(2)
            .acquire_timeout(READ_TIMEOUT)
            .connect_lazy_with(options);
        Self { pool, searches: Arc::new(Semaphore::new(1)) }
    }

    /// Reads of the file of a `sqlite:` URL.
    ///
    /// # Errors
    /// It is not the URL of a file.
    pub fn of_url(url: &str) -> Result<Self, OpenError> {
        Ok(Self::of_file(&super::path_of(url)?))
    }

    /// See [`Reads`](crate::backend::Reads), as for the next ones.
    pub(in crate::backend) async fn statuses_of(
        &self,
        sid: &str,
    ) -> Result<Vec<CurrentStatus>, BackendError> {
        self.statuses(search::statuses_of(sid)).await
    }

    pub(in crate::backend) async fn events_of(
        &self,
        sid: &str,
        account: Option<&str>,
        limit: u32,
    ) -> Result<Vec<StoredEvent>, BackendError> {
        self.events(search::events_of(sid, account, limit)).await
    }

    pub(in crate::backend) async fn calls_in_progress(
        &self,
        since: Timestamp,
        most: u32,
    ) -> Result<u64, BackendError> {
        self.count(counts::calls_in_progress(since, most)).await
    }

    pub(in crate::backend) async fn participants(
        &self,
        since: Timestamp,
        most: u32,
    ) -> Result<u64, BackendError> {
        self.count(counts::participants(since, most)).await
    }

    pub(in crate::backend) async fn received(
        &self,
        from: Timestamp,
        to: Timestamp,
        most: u32,
    ) -> Result<u64, BackendError> {
        self.count(counts::received(from, to, most)).await
    }

    pub(in crate::backend) async fn find_statuses(
        &self,
        search: &StatusSearch,
    ) -> Result<Vec<CurrentStatus>, BackendError> {
        let mut sql = search::find_statuses(search);
        let rows = self.search(async |on| sql.build().fetch_all(on).await).await?;
        Ok(rows.iter().map(rows::current).collect::<Result<_, _>>()?)
    }

    pub(in crate::backend) async fn find_events(
        &self,
        search: &EventSearch,
    ) -> Result<Vec<StoredEvent>, BackendError> {
        let mut sql = search::find_events(search);
        let rows = self.search(async |on| sql.build().fetch_all(on).await).await?;
        Ok(rows.iter().map(rows::event).collect::<Result<_, _>>()?)
    }

    pub(in crate::backend) async fn counts(
        &self,
        since: Timestamp,
    ) -> Result<Counts, BackendError> {
        self.search(async |on| {
            Ok(Counts {
                events: counts::events(since).build_query_as().fetch_all(&mut *on).await?,
                statuses: counts::statuses(since).build_query_as().fetch_all(&mut *on).await?,
                errors: counts::errors(since).build_query_as().fetch_all(&mut *on).await?,
            })
        })
        .await
    }

    pub(in crate::backend) async fn stored(
        &self,
        keys: &[String],
    ) -> Result<Vec<String>, BackendError> {
        let sql = "SELECT key FROM events WHERE key IN (SELECT value FROM json_each(?))";
        let query = sqlx::query_scalar(sql).bind(sqlx::types::Json(keys));
        bounded(async { query.fetch_all(&mut *self.connection().await?).await }).await
    }

    /// Every event, sorted by key: to check what is stored, not for large stores.
    ///
    /// # Errors
    /// See [`BackendError`].
    pub async fn all_events(&self) -> Result<Vec<StoredEvent>, BackendError> {
        self.events(search::all_events()).await
    }

    /// Every current status, sorted by SID: to check what is stored, not for large stores.
    ///
    /// # Errors
    /// See [`BackendError`].
    pub async fn all_statuses(&self) -> Result<Vec<CurrentStatus>, BackendError> {
        self.statuses(search::all_statuses()).await
    }

    async fn statuses(
        &self,
        mut sql: QueryBuilder<Sqlite>,
    ) -> Result<Vec<CurrentStatus>, BackendError> {
        let rows = self.read(async |on| sql.build().fetch_all(on).await).await?;
        Ok(rows.iter().map(rows::current).collect::<Result<_, _>>()?)
    }

    async fn events(
        &self,
        mut sql: QueryBuilder<Sqlite>,
    ) -> Result<Vec<StoredEvent>, BackendError> {
        let rows = self.read(async |on| sql.build().fetch_all(on).await).await?;
        Ok(rows.iter().map(rows::event).collect::<Result<_, _>>()?)
    }

    async fn count(&self, mut sql: QueryBuilder<Sqlite>) -> Result<u64, BackendError> {
        let count =
            async |on: &mut SqliteConnection| sql.build_query_scalar::<i64>().fetch_one(on).await;
        Ok(self.read(count).await?.unsigned_abs())
    }

    /// Whether it can be read.
    pub(super) async fn ping(&self) -> Result<(), BackendError> {
        let row = sqlx::query("SELECT 1 FROM events LIMIT 1");
        bounded(async { row.fetch_optional(&mut *self.connection().await?).await }).await?;
        Ok(())
    }

    /// A read that may look at every row, when it is its turn; both in bounded time.
    async fn search<T>(
        &self,
        work: impl AsyncFnOnce(&mut SqliteConnection) -> Result<T, sqlx::Error>,
    ) -> Result<T, BackendError> {
        let in_turn = timeout(READ_TIMEOUT, self.searches.acquire()).await;
        let late = |_| BackendError("other searches took too long".to_owned());
        let _turn = in_turn.map_err(late)?.expect("it is never closed");
        self.read(work).await
    }

    /// Runs any read, in bounded time.
    pub(super) async fn read<T>(
        &self,
        work: impl AsyncFnOnce(&mut SqliteConnection) -> Result<T, sqlx::Error>,
    ) -> Result<T, BackendError> {
        bounded(async { work(&mut *self.connection().await?).await }).await
    }

    /// The same with a session.
    pub(super) async fn read_session<T>(
        &self,
        work: impl AsyncFnOnce(&mut SqliteSession<'_>) -> Result<T, sqlx::Error>,
    ) -> Result<T, BackendError> {
        bounded(async { work(&mut SqliteSession(&mut *self.connection().await?)).await }).await
    }

    /// A connection whose reads end after [`READ_TIMEOUT`]: SQLite continues an abandoned statement unless a progress
    /// handler stops it.
    async fn connection(&self) -> Result<PoolConnection<Sqlite>, sqlx::Error> {
        /// Some milliseconds' worth of SQLite's own instructions.
        const ASK_EVERY: i32 = 100_000;
        let deadline = Instant::now() + READ_TIMEOUT;
        let mut connection = self.pool.acquire().await?;
        let mut handle = connection.lock_handle().await?;
        handle.set_progress_handler(ASK_EVERY, move || Instant::now() < deadline);
        drop(handle);
        Ok(connection)
    }
}

async fn bounded<T>(read: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, BackendError> {
    let late = |_| BackendError("the file took too long to read".to_owned());
    Ok(timeout(READ_TIMEOUT, read).await.map_err(late)??)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    /// With a million rows such a read takes a second, and eight would take all connections for that long.
    #[tokio::test]
    async fn searches_wait_for_one_another_and_nothing_else_waits_for_them() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let url = format!("sqlite:{}", directory.path().join("offhook.db").display());
        let database = Database::lock(&url).expect("a file of our own");
        database.migrate().await.expect("a new file");
        let query = Query::new(&database);
        let searching = query.searches.acquire().await.expect("never closed");
        let since = Timestamp::from_micros(0);
        let mut waits = std::pin::pin!(query.counts(since));
        assert!(waits.as_mut().now_or_never().is_none());
        assert!(query.ping().await.is_ok());
        assert!(query.statuses_of("CA1").await.expect("it can be read").is_empty());
        drop(searching);
        assert!(waits.await.is_ok());
    }
}
