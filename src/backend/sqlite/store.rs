//! [`SqliteStore`]: history and current status in one transaction.

use std::collections::BTreeMap;
use std::sync::Arc;

use sqlx::sqlite::SqliteArguments;
use sqlx::{AssertSqlSafe, Connection, Sqlite, SqliteConnection, query::Query as SqlQuery};

use super::writer::Writer;
use super::{Database, OpenError};
use crate::backend::rows;
use crate::event::{Batch, Current, Event};
use crate::pipeline::{CommitError, Outcome, Sink};
use crate::twilio::details::Details;

const EVENT_COLUMNS: &str = "key, kind, account, sid, resource, status, rank, sequence, \
    occurred_at, received_at, format, query, params, body";
const STATUS_COLUMNS: &str = "sid, resource, account, status, final, \"from\", \"to\", duration, \
    error_code, terminals, first_seen, updated, position, error_position";
/// Both lists have this many.
const COLUMNS: usize = 14;

/// Most rows of one INSERT. Each number of rows is a statement of its own, prepared once.
pub(super) const ROWS: usize = 64;

/// The embedded store's one writer.
#[derive(Debug)]
pub struct SqliteStore(pub(super) Arc<Writer>);

impl SqliteStore {
    /// Opens the store. The tables must be there.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub async fn open(database: Arc<Database>) -> Result<Self, OpenError> {
        database.connect().await?.close().await.map_err(|error| database.error(error))?;
        Ok(Self(Arc::new(Writer::new(database))))
    }
}

impl Sink for SqliteStore {
    async fn commit(&self, batch: &Batch) -> Result<Outcome, CommitError> {
        let held = self.0.hold().await?;
        held.run(async |connection: &mut SqliteConnection| commit(connection, batch).await).await
    }
}

/// Each statement is a trip to the thread of the connection and back, so there are few: which
/// events are known, those that are not, what is known of their SIDs, and what is true now.
async fn commit(connection: &mut SqliteConnection, batch: &Batch) -> Result<Outcome, sqlx::Error> {
    let details: Vec<Details> = batch.events().iter().map(Details::of).collect();
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    let fresh = fresh(&mut transaction, batch).await?;
    insert_events(&mut transaction, batch.events(), &details, &fresh).await?;
    let updates = rows::fold(details, &fresh);
    let (contradicted, late) = merge_statuses(&mut transaction, updates).await?;
    transaction.commit().await?;
    Ok(Outcome::Stored { fresh, contradicted, late })
}

/// Which of the events the store does not have. Nobody else writes, so this holds until the end of
/// the transaction.
async fn fresh(connection: &mut SqliteConnection, batch: &Batch) -> Result<Vec<bool>, sqlx::Error> {
    let keys = json(batch.events().iter().map(|event| event.key.as_str()));
    let known: Vec<String> =
        sqlx::query_scalar("SELECT key FROM events WHERE key IN (SELECT value FROM json_each(?))")
            .bind(keys)
            .fetch_all(connection)
            .await?;
    let mut fresh = vec![true; batch.events().len()];
    for key in known {
        let at = batch.events().binary_search_by(|event| event.key.as_str().cmp(&key));
        if let Ok(at) = at {
            fresh[at] = false;
        }
    }
    Ok(fresh)
}

async fn insert_events(
    connection: &mut SqliteConnection,
    events: &[Event],
    details: &[Details],
    fresh: &[bool],
) -> Result<(), sqlx::Error> {
    let rows = events.iter().zip(details).zip(fresh);
    let rows: Vec<_> = rows.filter_map(|(row, fresh)| fresh.then_some(row)).collect();
    for rows in rows.chunks(ROWS) {
        let sql = insert("events", EVENT_COLUMNS, rows.len());
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for (event, details) in rows {
            query = bind_event(query, event, &details.params);
        }
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

/// An array of strings, which SQL takes as one parameter.
fn json<'a>(texts: impl Iterator<Item = &'a str>) -> String {
    serde_json::to_string(&texts.collect::<Vec<_>>()).expect("strings always serialize")
}

/// Merges into the stored rows; how many ended in a contradiction, and how many updates came late.
async fn merge_statuses(
    connection: &mut SqliteConnection,
    updates: BTreeMap<String, Current>,
) -> Result<(usize, usize), sqlx::Error> {
    if updates.is_empty() {
        return Ok((0, 0));
    }
    let sids = json(updates.keys().map(String::as_str));
    let stored =
        sqlx::query("SELECT * FROM statuses WHERE sid IN (SELECT value FROM json_each(?))")
            .bind(sids)
            .fetch_all(&mut *connection)
            .await?;
    let mut known: BTreeMap<String, Current> = BTreeMap::new();
    for row in &stored {
        let current = rows::current(row)?;
        known.insert(current.sid.clone(), current);
    }
    let (mut contradicted, mut late) = (0, 0);
    let mut rows = Vec::with_capacity(updates.len());
    for (sid, update) in updates {
        let reports_terminal = update.terminals != 0;
        let merged = match known.remove(&sid) {
            Some(known) => {
                late += usize::from(known.position > update.position);
                known.merge(update)
            }
            None => update,
        };
        contradicted += usize::from(reports_terminal && merged.is_contradicted());
        rows.push(merged);
    }
    for rows in rows.chunks(ROWS) {
        let replace = "(sid) DO UPDATE SET status = excluded.status, final = excluded.final, \
            \"from\" = excluded.\"from\", \"to\" = excluded.\"to\", duration = excluded.duration, \
            error_code = excluded.error_code, terminals = excluded.terminals, \
            first_seen = excluded.first_seen, updated = excluded.updated, \
            account = excluded.account, position = excluded.position, \
            error_position = excluded.error_position";
        let sql = insert("statuses", STATUS_COLUMNS, rows.len()) + " ON CONFLICT " + replace;
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for row in rows {
            query = bind_status(query, row);
        }
        query.execute(&mut *connection).await?;
    }
    Ok((contradicted, late))
}

fn insert(table: &str, columns: &str, rows: usize) -> String {
    format!("INSERT INTO {table} ({columns}) VALUES {}", placeholders(COLUMNS, rows))
}

/// `(?, ?), (?, ?)`
pub(super) fn placeholders(columns: usize, rows: usize) -> String {
    let row = format!("({})", vec!["?"; columns].join(", "));
    vec![row; rows].join(", ")
}

type Bound<'q> = SqlQuery<'q, Sqlite, SqliteArguments>;

fn bind_event<'q>(query: Bound<'q>, event: &'q Event, params: &'q str) -> Bound<'q> {
    query
        .bind(event.key.as_str())
        .bind(event.kind.as_str())
        .bind(event.account.as_str())
        .bind(event.sid.as_deref())
        .bind(event.resource.map(crate::event::Resource::as_str))
        .bind(event.status.as_deref())
        .bind(event.position().map(|position| i64::from(position.rank)))
        .bind(event.sequence)
        .bind(event.occurred_at.map(|at| at.to_string()))
        .bind(event.received_at.to_string())
        .bind(event.format.as_str())
        .bind(event.query.as_str())
        .bind(params)
        .bind(&event.body[..])
}

fn bind_status<'q>(query: Bound<'q>, row: &'q Current) -> Bound<'q> {
    query
        .bind(row.sid.as_str())
        .bind(row.resource.as_str())
        .bind(row.account.as_str())
        .bind(row.position.status.as_str())
        .bind(row.is_final())
        .bind(row.from.as_deref())
        .bind(row.to.as_deref())
        .bind(row.duration)
        .bind(row.error.as_ref().map(|error| error.code.as_str()))
        .bind(row.terminals)
        .bind(row.first_seen.to_string())
        .bind(row.updated.to_string())
        .bind(row.position.to_bytes())
        .bind(row.error.as_ref().map(|error| error.position.to_bytes()))
}
