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
use crate::backend::search::{ACCOUNTS, Counts, EventSearch, StatusSearch};
use crate::backend::sql::{self, rows};
use crate::backend::{BackendError, StoredEvent};
use crate::clock::Timestamp;
use crate::event::Current;

/// Longest read.
const PATIENCE: Duration = Duration::from_secs(5);

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

    /// Of a file that another process, or another part of this one, writes.
    #[must_use]
    pub fn of_file(path: &Path) -> Self {
        let options = options(path).create_if_missing(false).read_only(true);
        // Opened anew by the pool if one breaks; two so that a timeline does not wait for a search.
        let pool = SqlitePoolOptions::new()
            .max_connections(2)
            .acquire_timeout(PATIENCE)
            .connect_lazy_with(options);
        Self { pool, searches: Arc::new(Semaphore::new(1)) }
    }

    /// Of the file of a `sqlite:` URL.
    ///
    /// # Errors
    /// It is no URL of a file.
    pub fn of_url(url: &str) -> Result<Self, OpenError> {
        Ok(Self::of_file(&super::path_of(url)?))
    }

    /// The current status of a SID in each account that has reported it.
    ///
    /// # Errors
    /// The file cannot be read in time.
    pub async fn statuses_of(&self, sid: &str) -> Result<Vec<Current>, BackendError> {
        let sql = "SELECT * FROM statuses WHERE sid = ? ORDER BY account LIMIT ?";
        let rows = sqlx::query(sql).bind(sid).bind(ACCOUNTS);
        let rows = bounded(async { rows.fetch_all(&mut *self.connection().await?).await }).await?;
        Ok(rows.iter().map(rows::current).collect::<Result<_, _>>()?)
    }

    /// The events of a SID, and of what names it as its call, as they were received.
    ///
    /// # Errors
    /// The file cannot be read in time.
    pub async fn events(
        &self,
        sid: &str,
        account: Option<&str>,
        limit: u32,
    ) -> Result<Vec<StoredEvent>, BackendError> {
        let sql = "SELECT * FROM events WHERE (sid = ?1 OR call_sid = ?1) \
                   AND (?2 IS NULL OR account = ?2) ORDER BY received_at, key, account LIMIT ?3";
        let rows = sqlx::query(sql).bind(sid).bind(account).bind(limit);
        let rows = bounded(async { rows.fetch_all(&mut *self.connection().await?).await }).await?;
        Ok(rows.iter().map(rows::event).collect::<Result<_, _>>()?)
    }

    /// How many calls have no final status, of those that began after `since`; at most `limit`.
    ///
    /// # Errors
    /// The file cannot be read in time.
    pub async fn calls_in_progress(
        &self,
        since: Timestamp,
        limit: u32,
    ) -> Result<u64, BackendError> {
        // As the index of open calls has it.
        let sql = "SELECT count(*) FROM (SELECT 1 FROM statuses WHERE resource = 'call' \
                   AND final = 0 AND first_seen > ? LIMIT ?)";
        let query = sqlx::query_scalar::<_, i64>(sql).bind(since.to_string()).bind(limit);
        let count = bounded(async { query.fetch_one(&mut *self.connection().await?).await });
        Ok(count.await?.unsigned_abs())
    }

    /// How many events were received from `from` on and before `to`; no more than `most` are counted.
    ///
    /// # Errors
    /// The file cannot be read in time.
    pub async fn received(
        &self,
        from: Timestamp,
        to: Timestamp,
        most: u32,
    ) -> Result<u64, BackendError> {
        let sql = "SELECT count(*) FROM (SELECT 1 FROM events WHERE received_at >= ? \
                   AND received_at < ? LIMIT ?)";
        let query = sqlx::query_scalar::<_, i64>(sql);
        let query = query.bind(from.to_string()).bind(to.to_string()).bind(most);
        let count = bounded(async { query.fetch_one(&mut *self.connection().await?).await });
        Ok(count.await?.unsigned_abs())
    }

    /// A page of statuses.
    ///
    /// # Errors
    /// The file cannot be read in time.
    pub async fn find_statuses(&self, search: &StatusSearch) -> Result<Vec<Current>, BackendError> {
        let mut select = QueryBuilder::new("SELECT * FROM statuses");
        sql::search::push_statuses(&mut select, search);
        let rows = self.search(async |on| select.build().fetch_all(on).await).await?;
        Ok(rows.iter().map(rows::current).collect::<Result<_, _>>()?)
    }

    /// A page of events.
    ///
    /// # Errors
    /// The file cannot be read in time.
    pub async fn find_events(
        &self,
        search: &EventSearch,
    ) -> Result<Vec<StoredEvent>, BackendError> {
        let mut select = QueryBuilder::new("SELECT * FROM events");
        sql::search::push_events(&mut select, search);
        let rows = self.search(async |on| select.build().fetch_all(on).await).await?;
        Ok(rows.iter().map(rows::event).collect::<Result<_, _>>()?)
    }

    /// How much of what came since then.
    ///
    /// # Errors
    /// The file cannot be read in time.
    pub async fn counts(&self, since: Timestamp) -> Result<Counts, BackendError> {
        let since = since.to_string();
        self.search(async |on| {
            let sql = "SELECT kind, count(*) FROM events WHERE received_at >= ? \
                       GROUP BY 1 ORDER BY 1";
            let events = sqlx::query_as(sql).bind(&since).fetch_all(&mut *on).await?;
            let sql = "SELECT resource, status, count(*) FROM statuses WHERE first_seen >= ? \
                       GROUP BY 1, 2 ORDER BY 1, 2";
            let statuses = sqlx::query_as(sql).bind(&since).fetch_all(&mut *on).await?;
            let sql = "SELECT error_code, count(*) FROM statuses \
                       WHERE first_seen >= ? AND error_code IS NOT NULL \
                       GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT ?";
            let query = sqlx::query_as(sql).bind(&since).bind(Counts::ERRORS);
            let errors = query.fetch_all(&mut *on).await?;
            Ok(Counts { events, statuses, errors })
        })
        .await
    }

    /// Those of the keys whose events are stored.
    ///
    /// # Errors
    /// The file cannot be read in time.
    pub async fn stored(&self, keys: &[String]) -> Result<Vec<String>, BackendError> {
        let sql = "SELECT key FROM events WHERE key IN (SELECT value FROM json_each(?))";
        let query = sqlx::query_scalar(sql).bind(sqlx::types::Json(keys));
        bounded(async { query.fetch_all(&mut *self.connection().await?).await }).await
    }

    /// Every event, sorted by key: to check what is stored, not for large stores.
    ///
    /// # Errors
    /// The file cannot be read in time.
    pub async fn all_events(&self) -> Result<Vec<StoredEvent>, BackendError> {
        let rows = sqlx::query("SELECT * FROM events ORDER BY key, account");
        let rows = bounded(async { rows.fetch_all(&mut *self.connection().await?).await }).await?;
        Ok(rows.iter().map(rows::event).collect::<Result<_, _>>()?)
    }

    /// Every current status, sorted by SID: to check what is stored, not for large stores.
    ///
    /// # Errors
    /// The file cannot be read in time.
    pub async fn all_statuses(&self) -> Result<Vec<Current>, BackendError> {
        let rows = sqlx::query("SELECT * FROM statuses ORDER BY sid, account");
        let rows = bounded(async { rows.fetch_all(&mut *self.connection().await?).await }).await?;
        Ok(rows.iter().map(rows::current).collect::<Result<_, _>>()?)
    }

    /// Whether it can be read.
    ///
    /// # Errors
    /// It cannot, in time.
    pub async fn ping(&self) -> Result<(), BackendError> {
        let row = sqlx::query("SELECT 1 FROM events LIMIT 1");
        bounded(async { row.fetch_optional(&mut *self.connection().await?).await }).await?;
        Ok(())
    }

    /// A read that may look at every row, when it is its turn; both in bounded time.
    async fn search<T>(
        &self,
        work: impl AsyncFnOnce(&mut SqliteConnection) -> Result<T, sqlx::Error>,
    ) -> Result<T, BackendError> {
        let in_turn = timeout(PATIENCE, self.searches.acquire()).await;
        let late = |_| BackendError("other searches took too long".to_owned());
        let _turn = in_turn.map_err(late)?.expect("it is never closed");
        self.read(work).await
    }

    /// Reads whatever it is, in bounded time.
    pub(super) async fn read<T>(
        &self,
        work: impl AsyncFnOnce(&mut SqliteConnection) -> Result<T, sqlx::Error>,
    ) -> Result<T, BackendError> {
        bounded(async { work(&mut *self.connection().await?).await }).await
    }

    /// Whose reads end after [`PATIENCE`]: SQLite goes on with a statement that nobody waits for,
    /// unless it is told to ask.
    async fn connection(&self) -> Result<PoolConnection<Sqlite>, sqlx::Error> {
        /// Some milliseconds' worth of SQLite's own instructions.
        const ASK_EVERY: i32 = 100_000;
        let deadline = Instant::now() + PATIENCE;
        let mut connection = self.pool.acquire().await?;
        let mut handle = connection.lock_handle().await?;
        handle.set_progress_handler(ASK_EVERY, move || Instant::now() < deadline);
        drop(handle);
        Ok(connection)
    }
}

async fn bounded<T>(read: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, BackendError> {
    let late = |_| BackendError("the file took too long to read".to_owned());
    Ok(timeout(PATIENCE, read).await.map_err(late)??)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    /// Of a million rows one takes a second, and eight would take all connections for that long.
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
