//! [`CopySource`]: reads an embedded store that no process serves.

mod outbox;

use std::sync::Arc;

use futures_util::TryStreamExt as _;
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Row, SqliteConnection};

use super::{Database, OpenError, SqliteStore};
use crate::backend::BackendError;
use crate::backend::copy::{
    BYTES_PER_PAGE, CarriedEvent, CopiedStatus, Origin, Place, ROWS_PER_PAGE, Unforwarded,
};
use crate::backend::sql::changes::{END, end};
use crate::backend::sql::{columns, rows};
use crate::clock::Timestamp;

/// An embedded store. This process has it locked, so that nothing else changes it.
#[derive(Debug)]
pub struct CopySource {
    database: Arc<Database>,
    connection: SqliteConnection,
}

impl CopySource {
    /// Opens a file that is there, and brings its tables up to date.
    ///
    /// # Errors
    /// Another process has it; it is not a database, or newer than this version.
    pub async fn open(database: Database) -> Result<Self, OpenError> {
        database.migrate().await?;
        let database = Arc::new(database);
        let mut connection = database.connect().await?;
        // No version writes such a row, but the order in which pages are read would skip it.
        let mend = "UPDATE events SET stored_at = received_at WHERE stored_at IS NULL";
        let mended = sqlx::query(mend).execute(&mut connection).await;
        mended.map_err(|error| database.error(error))?;
        Ok(Self { database, connection })
    }

    /// The sink for events that still wait in its log.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub async fn store(&self) -> Result<SqliteStore, OpenError> {
        SqliteStore::open(Arc::clone(&self.database)).await
    }

    /// Which source it is.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn origin(&mut self) -> Result<Origin, BackendError> {
        let found = sqlx::query_as(END).fetch_one(&mut self.connection).await?;
        let feed = end(found)?;
        // Retention and purges may have deleted the last changes.
        let last = "SELECT seq FROM sqlite_sequence WHERE name = 'changes'";
        let state: Option<i64> =
            sqlx::query_scalar(last).fetch_optional(&mut self.connection).await?;
        let trusted = "SELECT place, trusted FROM retention WHERE place IN ('events', 'statuses')";
        let trusted: Vec<(String, String)> =
            sqlx::query_as(trusted).fetch_all(&mut self.connection).await?;
        let read = |(place, at): (String, String)| Some((place, Timestamp::parse_rfc3339(&at)?));
        let trusted = trusted.into_iter().filter_map(read).collect();
        Ok(Origin { feed, state: state.unwrap_or_default(), trusted })
    }

    /// How many statuses and events it has.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn counts(&mut self) -> Result<(u64, u64), BackendError> {
        let sql = "SELECT (SELECT count(*) FROM statuses), (SELECT count(*) FROM events)";
        let (statuses, events): (i64, i64) =
            sqlx::query_as(sql).fetch_one(&mut self.connection).await?;
        Ok((statuses.unsigned_abs(), events.unsigned_abs()))
    }

    /// What it had not forwarded yet.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn unforwarded(&mut self) -> Result<Vec<Unforwarded>, BackendError> {
        let sql = "SELECT name, (SELECT count(*) FROM changes WHERE id > forwards.cursor), \
                   (SELECT count(*) FROM forward_waiting WHERE forward = forwards.name), \
                   (SELECT count(*) FROM forward_given_up WHERE forward = forwards.name) \
                   FROM forwards ORDER BY name";
        let rows: Vec<(String, i64, i64, i64)> =
            sqlx::query_as(sql).fetch_all(&mut self.connection).await?;
        let rows = rows.into_iter().map(|(name, behind, waiting, given_up)| Unforwarded {
            name,
            behind: behind.unsigned_abs(),
            waiting: waiting.unsigned_abs(),
            given_up: given_up.unsigned_abs(),
        });
        Ok(rows.collect())
    }

    /// The statuses behind a place, in order; none at the end.
    ///
    /// # Errors
    /// The file cannot be read, or holds what this version does not know.
    pub async fn statuses(&mut self, after: &Place) -> Result<Vec<CopiedStatus>, BackendError> {
        let columns = columns::statuses_as_read::<sqlx::Sqlite>();
        let sql = format!(
            "SELECT {columns}, stored_at FROM statuses WHERE (sid, account) > (?, ?) \
             ORDER BY sid, account LIMIT {ROWS_PER_PAGE}"
        );
        let found = bound::<2>(sql, after).fetch_all(&mut self.connection).await?;
        let read = |row: &SqliteRow| {
            let stored_at: Option<String> = row.try_get("stored_at")?;
            let stored_at = stored_at.as_deref().and_then(Timestamp::parse_rfc3339);
            Ok(CopiedStatus { current: rows::current(row)?, stored_at })
        };
        let read: Result<Vec<_>, sqlx::Error> = found.iter().map(read).collect();
        Ok(read?)
    }

    /// The events behind a place, in the order in which they were stored; none at the end.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn events(&mut self, after: &Place) -> Result<Vec<CarriedEvent>, BackendError> {
        let columns = CarriedEvent::COLUMNS.map(|column| match column {
            "body" => column.to_owned(),
            _ => format!("CAST({column} AS TEXT) AS {column}"),
        });
        let sql = format!(
            "SELECT {} FROM events WHERE (stored_at, key, account) > (?, ?, ?) \
             ORDER BY events.stored_at, events.key, events.account LIMIT {ROWS_PER_PAGE}",
            columns.join(", ")
        );
        let mut found = bound::<3>(sql, after).fetch(&mut self.connection);
        let (mut page, mut size) = (Vec::new(), 0);
        while size < BYTES_PER_PAGE
            && let Some(row) = found.try_next().await?
        {
            let event = rows::carried(&row)?;
            size += event.size();
            page.push(event);
        }
        Ok(page)
    }
}

/// Binds the columns of a place; without one, empty texts, which come before every other text.
fn bound<const N: usize>(
    sql: String,
    after: &Place,
) -> sqlx::query::Query<'static, sqlx::Sqlite, sqlx::sqlite::SqliteArguments> {
    (0..N).fold(sqlx::query(AssertSqlSafe(sql)), |query, at| {
        query.bind(after.get(at).cloned().unwrap_or_default())
    })
}
