//! [`CopyTarget`]: takes the rows of another store, while it may be in use. One transaction writes a page and the
//! progress, so that both are there or neither is.

mod outbox;

use std::collections::BTreeMap;

use sqlx::postgres::{PgArguments, PgRow};
use sqlx::{AssertSqlSafe, PgConnection, Row};
use time::OffsetDateTime;

use super::Postgres;
use super::columns::StatusColumns;
use super::store::classify;
use crate::backend::BackendError;
use crate::backend::copy::{
    CarriedEvent, Cell, Copied, CopiedStatus, Origin, Place, Progress, Step,
};
use crate::backend::sql::columns;
use crate::backend::sql::dialect::Dialect as _;
use crate::backend::sql::rows;
use crate::crash_points::{self, Point};
use crate::event::CurrentStatus;
use crate::labels::Label as _;
use crate::pipeline::CommitError;

/// See the file for what it does.
const COPY_EVENTS: &str = include_str!("copy_events.sql");

type Statement<'q> = sqlx::query::Query<'q, sqlx::Postgres, PgArguments>;

/// The store that takes the rows.
#[derive(Clone, Debug)]
pub struct CopyTarget(Postgres);

impl CopyTarget {
    /// The tables must be there.
    #[must_use]
    pub fn new(postgres: Postgres) -> Self {
        Self(postgres)
    }

    /// The progress of the copy of this source. If the source has run since, the copy starts again, because new rows may
    /// be anywhere.
    ///
    /// How far retention trusts the clock is written before any row, so that a wrong clock of the target does not delete
    /// the rows that follow.
    ///
    /// # Errors
    /// See [`CommitError`].
    pub async fn begin(&self, origin: &Origin) -> Result<Progress, CommitError> {
        let (source, state) = (origin.feed.feed.as_str(), origin.state);
        let trusted: (Vec<&str>, Vec<OffsetDateTime>) =
            origin.trusted.iter().map(|(place, at)| (&**place, at.datetime())).unzip();
        let begin = async |connection: &mut PgConnection, keep| {
            let trust = "INSERT INTO retention (place, trusted) \
                         SELECT * FROM unnest($1::text[], $2::timestamptz[]) \
                         ON CONFLICT (place) DO UPDATE \
                         SET trusted = least(retention.trusted, excluded.trusted)";
            let trust = sqlx::query(trust).bind(&trusted.0).bind(&trusted.1).persistent(keep);
            trust.execute(&mut *connection).await?;
            let forget = "DELETE FROM copies WHERE source = $1 AND state <> $2";
            let put = "INSERT INTO copies (source, state) VALUES ($1, $2) \
                       ON CONFLICT (source) DO NOTHING";
            for sql in [forget, put] {
                let query = sqlx::query(sql).bind(source).bind(state).persistent(keep);
                query.execute(&mut *connection).await?;
            }
            let read = "SELECT step, after, statuses, events, duplicates FROM copies \
                        WHERE source = $1";
            let row = sqlx::query(read).bind(source).persistent(keep);
            progress(&row.fetch_one(connection).await?)
        };
        self.0.transact(begin).await.map_err(|error| classify(&error))
    }

    /// Merges statuses into those that are there. They must come in the order of their places.
    ///
    /// # Errors
    /// See [`CommitError`]: none of them is there, or it is unknown, and putting them again is right.
    pub async fn put_statuses(
        &self,
        origin: &Origin,
        statuses: &[CopiedStatus],
    ) -> Result<Copied, CommitError> {
        let columns = StatusColumns::of(statuses.iter().map(|row| &row.current));
        let stored_at: Vec<Option<OffsetDateTime>> =
            statuses.iter().map(|row| row.stored_at.map(|at| at.datetime())).collect();
        let copied = Copied { statuses: statuses.len() as u64, ..Copied::default() };
        let after = statuses.last().map(CopiedStatus::place).unwrap_or_default();
        let put = async |connection: &mut PgConnection, keep| {
            let put = columns.bind_copied(&stored_at).persistent(keep);
            put.execute(&mut *connection).await?;
            advance(connection, keep, origin, &after, copied).await?;
            Ok(copied)
        };
        self.0.transact(put).await.map_err(|error| classify(&error))
    }

    /// Adds the events that are not there. They must come in the order of their places.
    ///
    /// # Errors
    /// As for [`put_statuses`](Self::put_statuses).
    pub async fn put_events(
        &self,
        origin: &Origin,
        events: &[CarriedEvent],
    ) -> Result<Copied, CommitError> {
        let after = events.last().map(CarriedEvent::place).unwrap_or_default();
        let mut events: Vec<&CarriedEvent> = events.iter().collect();
        // In the order in which workers lock rows, so that the two cannot deadlock.
        events.sort_by_key(|event| event.id());
        let columns: Vec<Vec<&Cell>> = (0..CarriedEvent::COLUMNS.len())
            .map(|at| events.iter().map(|event| &event.cells()[at]).collect())
            .collect();
        let put = async |connection: &mut PgConnection, keep| {
            let put = columns
                .iter()
                .zip(CarriedEvent::COLUMNS)
                .fold(sqlx::query(COPY_EVENTS), |query, (cells, column)| {
                    bind(query, cells, column)
                });
            let put = put.persistent(keep).fetch_one(&mut *connection).await?;
            let put = put.try_get::<i64, _>(0)?.unsigned_abs();
            let duplicates = events.len() as u64 - put;
            let copied = Copied { statuses: 0, events: put, duplicates };
            advance(connection, keep, origin, &after, copied).await?;
            Ok(copied)
        };
        self.0.transact(put).await.map_err(|error| classify(&error))
    }

    /// Notes that a step is over, and the next one begins.
    ///
    /// # Errors
    /// See [`CommitError`].
    pub async fn enter(&self, origin: &Origin, step: Step) -> Result<(), CommitError> {
        let enter = async |connection: &mut PgConnection, keep| {
            let sql = "UPDATE copies SET step = $2, after = '{}', \
                       ended = CASE WHEN $2 = 'done' THEN clock_timestamp() END WHERE source = $1";
            let source = origin.feed.feed.as_str();
            let query = sqlx::query(sql).bind(source).bind(step.name()).persistent(keep);
            query.execute(connection).await
        };
        self.0.transact(enter).await.map(|_| ()).map_err(|error| classify(&error))
    }

    /// What is known here of these statuses.
    ///
    /// # Errors
    /// The store does not answer in time, or holds what this version does not know.
    pub async fn statuses(
        &self,
        ids: &[(&str, &str)],
    ) -> Result<BTreeMap<(String, String), CurrentStatus>, BackendError> {
        let sql = format!(
            "{} WHERE (sid, account) IN (SELECT * FROM unnest($1::text[], $2::text[]))",
            columns::select_statuses::<sqlx::Postgres>()
        );
        let mut statuses = BTreeMap::new();
        for row in self.rows_of(sql, ids).await? {
            let current = rows::current(&row)?;
            statuses.insert((current.sid.clone(), current.account.clone()), current);
        }
        Ok(statuses)
    }

    /// The rows here of these events, by key and account.
    ///
    /// # Errors
    /// The store does not answer in time.
    pub async fn events(
        &self,
        ids: &[(&str, &str)],
    ) -> Result<BTreeMap<(String, String), CarriedEvent>, BackendError> {
        let columns = CarriedEvent::COLUMNS.map(|column| match column {
            "body" => column.to_owned(),
            "occurred_at" | "received_at" | "stored_at" => {
                format!("{} AS {column}", sqlx::Postgres::time_as_text(column))
            }
            _ => format!("{column}::text AS {column}"),
        });
        let sql = format!(
            "SELECT {} FROM events \
             WHERE (key, account) IN (SELECT * FROM unnest($1::text[], $2::text[]))",
            columns.join(", ")
        );
        let mut events = BTreeMap::new();
        for row in self.rows_of(sql, ids).await? {
            let event = rows::carried(&row)?;
            let (key, account) = event.id();
            events.insert((key.to_owned(), account.to_owned()), event);
        }
        Ok(events)
    }

    async fn rows_of(&self, sql: String, ids: &[(&str, &str)]) -> Result<Vec<PgRow>, BackendError> {
        let (first, second): (Vec<&str>, Vec<&str>) = ids.iter().copied().unzip();
        let read = async |connection: &mut PgConnection, keep| {
            let query = sqlx::query(AssertSqlSafe(sql)).bind(&first).bind(&second);
            query.persistent(keep).fetch_all(connection).await
        };
        Ok(self.0.run(read).await?)
    }
}

/// Writes the progress, in the transaction that writes the rows.
async fn advance(
    connection: &mut PgConnection,
    keep: bool,
    origin: &Origin,
    after: &Place,
    copied: Copied,
) -> Result<(), sqlx::Error> {
    let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    let sql = "UPDATE copies SET after = $2, statuses = statuses + $3, events = events + $4, \
               duplicates = duplicates + $5 WHERE source = $1";
    let query = sqlx::query(sql).bind(origin.feed.feed.as_str()).bind(after);
    let query = query.bind(number(copied.statuses)).bind(number(copied.events));
    query.bind(number(copied.duplicates)).persistent(keep).execute(connection).await?;
    crash_points::point(Point::Copying);
    Ok(())
}

fn bind<'q>(query: Statement<'q>, cells: &[&'q Cell], column: &str) -> Statement<'q> {
    match column {
        "body" => query.bind(cells.iter().map(|cell| cell.bytes()).collect::<Vec<_>>()),
        _ => query.bind(cells.iter().map(|cell| cell.text()).collect::<Vec<_>>()),
    }
}

fn progress(row: &PgRow) -> Result<Progress, sqlx::Error> {
    let step: String = row.try_get("step")?;
    let unknown =
        || sqlx::Error::Decode("column `step` holds what this version does not know".into());
    let count = |column: &str| row.try_get::<i64, _>(column).map(i64::unsigned_abs);
    Ok(Progress {
        step: Step::parse(&step).ok_or_else(unknown)?,
        after: row.try_get("after")?,
        copied: Copied {
            statuses: count("statuses")?,
            events: count("events")?,
            duplicates: count("duplicates")?,
        },
    })
}
