//! Reads of the scale-out store.

use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgArguments, PgRow};
use sqlx::{PgConnection, QueryBuilder, Row};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::{CONNECT, Postgres};
use crate::backend::search::{ACCOUNTS, Counts, EventSearch, StatusSearch};
use crate::backend::sql::{self, rows};
use crate::backend::{BackendError, InForce, StoredEvent, in_force};
use crate::clock::Timestamp;
use crate::event::Current;

/// Searches at one time. The other connections are for whoever stores and for probes.
const SEARCHES: usize = 2;
/// Longest search, waiting for its turn included. Postgres itself ends one a little earlier.
const SEARCH: Duration = Duration::from_secs(6);

/// Times as text, RFC 3339 in UTC with six decimals.
macro_rules! utc {
    ($column:literal) => {
        concat!(
            "to_char(",
            $column,
            " AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') AS ",
            $column
        )
    };
}

macro_rules! select_statuses {
    ($rest:literal) => {
        concat!(
            "SELECT sid, resource, account, status, \"from\", \"to\", duration, error_code, \
             terminals, position, error_position, ",
            utc!("first_seen"),
            ", ",
            utc!("updated"),
            " FROM statuses ",
            $rest
        )
    };
}

macro_rules! select_events {
    ($rest:literal) => {
        concat!(
            "SELECT key, kind, account, sid, resource, status, sequence, format, query, \
             params::text AS params, body, about_account, fingerprint, method, route, \
             idempotency_token, ",
            utc!("occurred_at"),
            ", ",
            utc!("received_at"),
            " FROM events ",
            $rest
        )
    };
}

/// Reads the scale-out store.
#[derive(Clone, Debug)]
pub struct Query(Postgres, Arc<Semaphore>);

impl Query {
    /// Connects when first asked.
    #[must_use]
    pub fn new(postgres: Postgres) -> Self {
        Self(postgres, Arc::new(Semaphore::new(SEARCHES)))
    }

    /// The current status of a SID in each account that has reported it.
    ///
    /// # Errors
    /// Postgres does not answer in time.
    pub async fn statuses_of(&self, sid: &str) -> Result<Vec<Current>, BackendError> {
        if no_text(sid) {
            return Ok(Vec::new());
        }
        let sql = select_statuses!("WHERE sid = $1 ORDER BY account LIMIT $2");
        let query = sqlx::query(sql).bind(sid).bind(i64::from(ACCOUNTS));
        let rows = self.all(query).await?;
        Ok(rows.iter().map(rows::current).collect::<Result<_, _>>()?)
    }

    /// The events of a SID, and of what names it as its call, as they were received.
    ///
    /// # Errors
    /// Postgres does not answer in time.
    pub async fn events(
        &self,
        sid: &str,
        account: Option<&str>,
        limit: u32,
    ) -> Result<Vec<StoredEvent>, BackendError> {
        if no_text(sid) || account.is_some_and(no_text) {
            return Ok(Vec::new());
        }
        let sql = select_events!(
            "WHERE (sid = $1 OR call_sid = $1) AND ($2::text IS NULL OR account = $2) \
             ORDER BY events.received_at, key, account LIMIT $3"
        );
        let query = sqlx::query(sql).bind(sid).bind(account).bind(i64::from(limit));
        let rows = self.all(query).await?;
        Ok(rows.iter().map(rows::event).collect::<Result<_, _>>()?)
    }

    /// How many calls have no final status, of those that began after `since`; at most `limit`.
    ///
    /// # Errors
    /// Postgres does not answer in time.
    pub async fn calls_in_progress(
        &self,
        since: Timestamp,
        limit: u32,
    ) -> Result<u64, BackendError> {
        // As the index of open calls has it.
        let sql = "SELECT count(*) FROM (SELECT 1 FROM statuses WHERE resource = 'call' \
                   AND NOT final AND first_seen > $1 LIMIT $2) AS calls";
        let query = sqlx::query(sql).bind(since.datetime()).bind(i64::from(limit));
        let rows = self.all(query).await?;
        let count = rows.first().map(|row| row.try_get::<i64, _>(0)).transpose()?;
        Ok(count.unwrap_or_default().unsigned_abs())
    }

    /// How many events were received from `from` on and before `to`; no more than `most` are counted.
    ///
    /// # Errors
    /// Postgres does not answer in time.
    pub async fn received(
        &self,
        from: Timestamp,
        to: Timestamp,
        most: u32,
    ) -> Result<u64, BackendError> {
        let sql = "SELECT count(*) FROM (SELECT 1 FROM events WHERE received_at >= $1 \
                   AND received_at < $2 LIMIT $3) AS found";
        let query = sqlx::query(sql).bind(from.datetime()).bind(to.datetime());
        let rows = self.all(query.bind(i64::from(most))).await?;
        let count = rows.first().map(|row| row.try_get::<i64, _>(0)).transpose()?;
        Ok(count.unwrap_or_default().unsigned_abs())
    }

    /// Those of the keys whose events are stored.
    ///
    /// # Errors
    /// Postgres does not answer in time.
    pub async fn stored(&self, keys: &[String]) -> Result<Vec<String>, BackendError> {
        let query = sqlx::query("SELECT key FROM events WHERE key = ANY($1)").bind(keys);
        let rows = self.all(query).await?;
        Ok(rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?)
    }

    /// A page of statuses.
    ///
    /// # Errors
    /// Postgres does not answer in time.
    pub async fn find_statuses(&self, search: &StatusSearch) -> Result<Vec<Current>, BackendError> {
        if search.texts().any(no_text) {
            return Ok(Vec::new());
        }
        let mut select = QueryBuilder::new(select_statuses!(""));
        sql::search::push_statuses(&mut select, search);
        let rows = self.search(select.build()).await?;
        Ok(rows.iter().map(rows::current).collect::<Result<_, _>>()?)
    }

    /// A page of events.
    ///
    /// # Errors
    /// Postgres does not answer in time.
    pub async fn find_events(
        &self,
        search: &EventSearch,
    ) -> Result<Vec<StoredEvent>, BackendError> {
        if search.texts().any(no_text) {
            return Ok(Vec::new());
        }
        let mut select = QueryBuilder::new(select_events!(""));
        sql::search::push_events(&mut select, search);
        let rows = self.search(select.build()).await?;
        Ok(rows.iter().map(rows::event).collect::<Result<_, _>>()?)
    }

    /// How much of what came since then.
    ///
    /// # Errors
    /// Postgres does not answer in time.
    pub async fn counts(&self, since: Timestamp) -> Result<Counts, BackendError> {
        let since = since.datetime();
        let sql = "SELECT kind, count(*) FROM events WHERE received_at >= $1 GROUP BY 1 ORDER BY 1";
        let events = self.search(sqlx::query(sql).bind(since)).await?;
        let sql = "SELECT resource, status, count(*) FROM statuses WHERE first_seen >= $1 \
                   GROUP BY 1, 2 ORDER BY 1, 2";
        let statuses = self.search(sqlx::query(sql).bind(since)).await?;
        let sql = "SELECT error_code, count(*) FROM statuses \
                   WHERE first_seen >= $1 AND error_code IS NOT NULL \
                   GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT $2";
        let errors = sqlx::query(sql).bind(since).bind(i64::from(Counts::ERRORS));
        let errors = self.search(errors).await?;
        let pair = |row: &PgRow| Ok::<_, sqlx::Error>((row.try_get(0)?, row.try_get(1)?));
        let three =
            |row: &PgRow| Ok::<_, sqlx::Error>((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?));
        Ok(Counts {
            events: events.iter().map(pair).collect::<Result<_, _>>()?,
            statuses: statuses.iter().map(three).collect::<Result<_, _>>()?,
            errors: errors.iter().map(pair).collect::<Result<_, _>>()?,
        })
    }

    /// Every event, sorted by key: to check what is stored, not for large stores.
    ///
    /// # Errors
    /// Postgres does not answer.
    pub async fn all_events(&self) -> Result<Vec<StoredEvent>, BackendError> {
        let rows = self.all(sqlx::query(select_events!("ORDER BY key, account"))).await?;
        Ok(rows.iter().map(rows::event).collect::<Result<_, _>>()?)
    }

    /// Every current status, sorted by SID: to check what is stored, not for large stores.
    ///
    /// # Errors
    /// Postgres does not answer.
    pub async fn all_statuses(&self) -> Result<Vec<Current>, BackendError> {
        let rows = self.all(sqlx::query(select_statuses!("ORDER BY sid, account"))).await?;
        Ok(rows.iter().map(rows::current).collect::<Result<_, _>>()?)
    }

    /// What its settings make of "committed", for our role and database.
    ///
    /// # Errors
    /// Postgres does not answer in time.
    pub async fn in_force(&self) -> Result<InForce, BackendError> {
        let sql = "SELECT current_setting('synchronous_commit'), current_setting('fsync')";
        let rows = self.all(sqlx::query(sql)).await?;
        let row = rows.first().ok_or_else(|| BackendError::from(sqlx::Error::RowNotFound))?;
        let (commit, fsync): (String, String) = (row.try_get(0)?, row.try_get(1)?);
        Ok(in_force::of_postgres(&commit, &fsync))
    }

    /// Whether it answers, and a worker can store: the tables are there, and may be written. A session that
    /// finds that it may not is thrown away, so that the next one finds out whether that is over.
    ///
    /// # Errors
    /// A worker cannot, or it takes too long.
    pub async fn check(&self) -> Result<(), BackendError> {
        const SQL: &str = "SELECT pg_is_in_recovery(), \
            current_setting('transaction_read_only') = 'on', \
            has_table_privilege('events', 'INSERT'), \
            has_table_privilege('statuses', 'INSERT') \
            AND has_table_privilege('statuses', 'UPDATE'), \
            EXISTS (SELECT 1 FROM events) OR EXISTS (SELECT 1 FROM statuses)";
        let ask = async |connection: &mut PgConnection, keep| {
            let row = sqlx::query(SQL).persistent(keep).fetch_one(connection).await?;
            let wrong = if row.try_get(0)? {
                "it is a standby, which cannot be written"
            } else if row.try_get(1)? {
                "its sessions are read-only (default_transaction_read_only)"
            } else if !row.try_get(2)? {
                "our role may not insert into events"
            } else if !row.try_get(3)? {
                "our role may not insert into statuses and update it"
            } else {
                return Ok(());
            };
            Err(sqlx::Error::Protocol(wrong.to_owned()))
        };
        let late = |_| BackendError("no answer in time".to_owned());
        let checked = timeout(CONNECT, self.0.run(ask)).await.map_err(late)?;
        checked.map_err(|error| match error {
            sqlx::Error::Protocol(wrong) => BackendError(wrong),
            error => error.into(),
        })
    }

    /// Every row of what may take long, and no longer than it may.
    async fn search(
        &self,
        query: sqlx::query::Query<'_, sqlx::Postgres, PgArguments>,
    ) -> Result<Vec<PgRow>, BackendError> {
        let read = async |connection: &mut PgConnection, keep| {
            query.persistent(keep).fetch_all(connection).await
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
