//! Reads of the scale-out store.

use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgArguments, PgRow};
use sqlx::{FromRow, PgConnection, QueryBuilder, Row};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::Postgres;
use crate::backend::search::{Counts, EventSearch, StatusSearch};
use crate::backend::sql::{counts, rows, search};
use crate::backend::{BackendError, StoredEvent};
use crate::clock::Timestamp;
use crate::event::CurrentStatus;

/// Searches at one time. The other connections are for commits and probes.
const SEARCHES: usize = 2;
/// Longest search, waiting for its turn included. Postgres itself ends one a little earlier.
const SEARCH: Duration = Duration::from_secs(6);

/// Reads the scale-out store.
#[derive(Clone, Debug)]
pub struct Query(Postgres, Arc<Semaphore>);

impl Query {
    /// Connects when first asked.
    #[must_use]
    pub fn new(postgres: Postgres) -> Self {
        Self(postgres, Arc::new(Semaphore::new(SEARCHES)))
    }

    /// See [`Reads`](crate::backend::Reads), as for the next ones.
    pub(in crate::backend) async fn statuses_of(
        &self,
        sid: &str,
    ) -> Result<Vec<CurrentStatus>, BackendError> {
        if no_text(sid) {
            return Ok(Vec::new());
        }
        self.statuses(search::statuses_of(sid)).await
    }

    pub(in crate::backend) async fn events_of(
        &self,
        sid: &str,
        account: Option<&str>,
        limit: u32,
    ) -> Result<Vec<StoredEvent>, BackendError> {
        if no_text(sid) || account.is_some_and(no_text) {
            return Ok(Vec::new());
        }
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

    pub(in crate::backend) async fn stored(
        &self,
        keys: &[String],
    ) -> Result<Vec<String>, BackendError> {
        let query = sqlx::query("SELECT key FROM events WHERE key = ANY($1)").bind(keys);
        let rows = self.all(query).await?;
        Ok(rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?)
    }

    pub(in crate::backend) async fn find_statuses(
        &self,
        search: &StatusSearch,
    ) -> Result<Vec<CurrentStatus>, BackendError> {
        if search.texts().any(no_text) {
            return Ok(Vec::new());
        }
        let rows = self.search(search::find_statuses(search)).await?;
        Ok(rows.iter().map(rows::current).collect::<Result<_, _>>()?)
    }

    pub(in crate::backend) async fn find_events(
        &self,
        search: &EventSearch,
    ) -> Result<Vec<StoredEvent>, BackendError> {
        if search.texts().any(no_text) {
            return Ok(Vec::new());
        }
        let rows = self.search(search::find_events(search)).await?;
        Ok(rows.iter().map(rows::event).collect::<Result<_, _>>()?)
    }

    pub(in crate::backend) async fn counts(
        &self,
        since: Timestamp,
    ) -> Result<Counts, BackendError> {
        let events = self.search(counts::events(since)).await?;
        let statuses = self.search(counts::statuses(since)).await?;
        let errors = self.search(counts::errors(since)).await?;
        Ok(Counts {
            events: events.iter().map(FromRow::from_row).collect::<Result<_, _>>()?,
            statuses: statuses.iter().map(FromRow::from_row).collect::<Result<_, _>>()?,
            errors: errors.iter().map(FromRow::from_row).collect::<Result<_, _>>()?,
        })
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
        mut sql: QueryBuilder<sqlx::Postgres>,
    ) -> Result<Vec<CurrentStatus>, BackendError> {
        let rows = self.all(sql.build()).await?;
        Ok(rows.iter().map(rows::current).collect::<Result<_, _>>()?)
    }

    async fn events(
        &self,
        mut sql: QueryBuilder<sqlx::Postgres>,
    ) -> Result<Vec<StoredEvent>, BackendError> {
        let rows = self.all(sql.build()).await?;
        Ok(rows.iter().map(rows::event).collect::<Result<_, _>>()?)
    }

    async fn count(&self, mut sql: QueryBuilder<sqlx::Postgres>) -> Result<u64, BackendError> {
        let rows = self.all(sql.build()).await?;
        let count = rows.first().map(|row| row.try_get::<i64, _>(0)).transpose()?;
        Ok(count.unwrap_or_default().unsigned_abs())
    }

    /// Every row of what may take long, and no longer than it may.
    async fn search(
        &self,
        mut sql: QueryBuilder<sqlx::Postgres>,
    ) -> Result<Vec<PgRow>, BackendError> {
        let read = async |connection: &mut PgConnection, keep| {
            sql.build().persistent(keep).fetch_all(connection).await
        };
        let found = timeout(SEARCH, async {
            let _turn = self.1.acquire().await.map_err(|_| sqlx::Error::PoolClosed)?;
            self.0.run_limited(read).await
        });
        let late = |_| BackendError("the search took too long".to_owned());
        Ok(found.await.map_err(late)??)
    }

    /// Every row, in bounded time.
    async fn all(
        &self,
        query: sqlx::query::Query<'_, sqlx::Postgres, PgArguments>,
    ) -> Result<Vec<PgRow>, BackendError> {
        let read = async |connection: &mut PgConnection, keep| {
            query.persistent(keep).fetch_all(connection).await
        };
        Ok(self.0.run(read).await?)
    }
}

/// Whether no row can hold it, since Postgres takes no NUL in text, not even to look for it.
fn no_text(sid: &str) -> bool {
    sid.contains('\0')
}
