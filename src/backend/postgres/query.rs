//! Reads of the scale-out store.

use sqlx::postgres::{PgArguments, PgRow};
use sqlx::{PgConnection, Row};
use tokio::time::timeout;

use super::{CONNECT, Postgres};
use crate::backend::{BackendError, InForce, StoredEvent, in_force, rows};
use crate::clock::Timestamp;
use crate::event::Current;

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
             params::text AS params, body, ",
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
pub struct Query(Postgres);

impl Query {
    /// Connects when first asked.
    #[must_use]
    pub fn new(postgres: Postgres) -> Self {
        Self(postgres)
    }

    /// The current status of a SID.
    ///
    /// # Errors
    /// Postgres does not answer in time.
    pub async fn status(&self, sid: &str) -> Result<Option<Current>, BackendError> {
        if no_text(sid) {
            return Ok(None);
        }
        let query = sqlx::query(select_statuses!("WHERE sid = $1")).bind(sid);
        let rows = self.all(query).await?;
        Ok(rows.first().map(rows::current).transpose()?)
    }

    /// The events of a SID, as they were received.
    ///
    /// # Errors
    /// Postgres does not answer in time.
    pub async fn events(&self, sid: &str, limit: u32) -> Result<Vec<StoredEvent>, BackendError> {
        if no_text(sid) {
            return Ok(Vec::new());
        }
        let sql = select_events!("WHERE sid = $1 ORDER BY events.received_at, key LIMIT $2");
        let query = sqlx::query(sql).bind(sid).bind(i64::from(limit));
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

    /// Those of the keys whose events are stored.
    ///
    /// # Errors
    /// Postgres does not answer in time.
    pub async fn stored(&self, keys: &[String]) -> Result<Vec<String>, BackendError> {
        let query = sqlx::query("SELECT key FROM events WHERE key = ANY($1)").bind(keys);
        let rows = self.all(query).await?;
        Ok(rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?)
    }

    /// Every event, sorted by key: to check what is stored, not for large stores.
    ///
    /// # Errors
    /// Postgres does not answer.
    pub async fn all_events(&self) -> Result<Vec<StoredEvent>, BackendError> {
        let rows = self.all(sqlx::query(select_events!("ORDER BY key"))).await?;
        Ok(rows.iter().map(rows::event).collect::<Result<_, _>>()?)
    }

    /// Every current status, sorted by SID: to check what is stored, not for large stores.
    ///
    /// # Errors
    /// Postgres does not answer.
    pub async fn all_statuses(&self) -> Result<Vec<Current>, BackendError> {
        let rows = self.all(sqlx::query(select_statuses!("ORDER BY sid"))).await?;
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

    /// Whether it answers and its tables are there.
    ///
    /// # Errors
    /// They are not, or it takes too long.
    pub async fn ping(&self) -> Result<(), BackendError> {
        let late = |_| BackendError("no answer in time".to_owned());
        let asked = timeout(CONNECT, self.all(sqlx::query("SELECT 1 FROM events LIMIT 1")));
        asked.await.map_err(late)?.map(|_| ())
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
