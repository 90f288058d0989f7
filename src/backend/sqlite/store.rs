//! [`SqliteStore`]: history and current status in one transaction.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sqlx::sqlite::SqliteArguments;
use sqlx::{AssertSqlSafe, Connection, Row, Sqlite, SqliteConnection, query::Query as SqlQuery};

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
/// The store's own clock, written as [`Timestamp`](crate::clock::Timestamp)s are.
pub(super) const NOW: &str = "strftime('%Y-%m-%dT%H:%M:%f000Z', 'now')";

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

impl SqliteStore {
    /// What syncs it.
    #[must_use]
    pub fn checkpoint(&self) -> Checkpoint {
        Checkpoint(Arc::clone(&self.0))
    }
}

/// Syncs what was committed to the embedded store.
#[derive(Clone, Debug)]
pub struct Checkpoint(Arc<Writer>);

impl Checkpoint {
    /// Whether there is something to sync.
    #[must_use]
    pub fn is_due(&self) -> bool {
        self.0.is_dirty()
    }

    /// Syncs; whether all that was committed before is on the disk.
    ///
    /// # Errors
    /// The disk does not work, or is full.
    pub async fn run(&self) -> Result<bool, CommitError> {
        self.0.checkpoint().await
    }
}

impl Sink for SqliteStore {
    async fn commit(&self, batch: &Batch) -> Result<Outcome, CommitError> {
        let held = self.0.hold().await?;
        held.run(async |connection: &mut SqliteConnection| commit(connection, batch).await).await
    }
}

/// What is known of a batch's events and of their SIDs. Nobody else writes, so that this holds until
/// the end of the transaction.
const LOOK: &str = "BEGIN IMMEDIATE; \
    SELECT key FROM events WHERE key IN (SELECT value FROM json_each(?)); \
    SELECT * FROM statuses WHERE sid IN (SELECT value FROM json_each(?))";

/// Each query is a trip to the thread of the connection and back, so there are three: what is known,
/// the events that are not, and what is true now. Whoever fails in between closes the connection.
async fn commit(connection: &mut SqliteConnection, batch: &Batch) -> Result<Outcome, sqlx::Error> {
    let details: Vec<Details> = batch.events().iter().map(Details::of).collect();
    let (fresh, known) = look(connection, batch, &details).await?;
    insert_events(connection, batch.events(), &details, &fresh).await?;
    let (rows, contradicted, late) = merge(known, rows::fold(details, &fresh));
    put_statuses(connection, &rows).await?;
    Ok(Outcome::Stored { fresh, contradicted, late })
}

/// Which of the events the store does not have, and the rows of their SIDs.
async fn look(
    connection: &mut SqliteConnection,
    batch: &Batch,
    details: &[Details],
) -> Result<(Vec<bool>, BTreeMap<String, Current>), sqlx::Error> {
    let keys = json(batch.events().iter().map(|event| event.key.as_str()));
    let sids = details.iter().filter_map(|details| details.current.as_ref());
    let sids: BTreeSet<&str> = sids.map(|current| &*current.sid).collect();
    let look = sqlx::query(LOOK).bind(keys).bind(json(sids.into_iter()));
    let (mut fresh, mut known) = (vec![true; batch.events().len()], BTreeMap::new());
    for row in look.fetch_all(connection).await? {
        // The first of the two gives a column, the second a row of the table.
        if row.len() == 1 {
            let key: &str = row.try_get("key")?;
            let at = batch.events().binary_search_by(|event| event.key.as_str().cmp(key));
            if let Ok(at) = at {
                fresh[at] = false;
            }
        } else {
            let current = rows::current(&row)?;
            known.insert(current.sid.clone(), current);
        }
    }
    Ok((fresh, known))
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
        let row = format!("({}, {NOW})", vec!["?"; COLUMNS].join(", "));
        let values = vec![row; rows.len()].join(", ");
        let sql = format!("INSERT INTO events ({EVENT_COLUMNS}, stored_at) VALUES {values}");
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

/// What is true now; how many rows ended in a contradiction, and how many updates came late.
fn merge(
    mut known: BTreeMap<String, Current>,
    updates: BTreeMap<String, Current>,
) -> (Vec<Current>, usize, usize) {
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
    (rows, contradicted, late)
}

/// Writes the rows, and commits with the last of them.
async fn put_statuses(
    connection: &mut SqliteConnection,
    rows: &[Current],
) -> Result<(), sqlx::Error> {
    let replace = "(sid) DO UPDATE SET status = excluded.status, final = excluded.final, \
        \"from\" = excluded.\"from\", \"to\" = excluded.\"to\", duration = excluded.duration, \
        error_code = excluded.error_code, terminals = excluded.terminals, \
        first_seen = excluded.first_seen, updated = excluded.updated, \
        account = excluded.account, position = excluded.position, \
        error_position = excluded.error_position";
    let mut chunks = rows.chunks(ROWS).peekable();
    if chunks.peek().is_none() {
        sqlx::query("COMMIT").execute(&mut *connection).await?;
    }
    while let Some(rows) = chunks.next() {
        let end = if chunks.peek().is_none() { "; COMMIT" } else { "" };
        let values = placeholders(COLUMNS, rows.len());
        let insert = format!("INSERT INTO statuses ({STATUS_COLUMNS}) VALUES {values}");
        let sql = format!("{insert} ON CONFLICT {replace}{end}");
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for row in rows {
            query = bind_status(query, row);
        }
        query.execute(&mut *connection).await?;
    }
    Ok(())
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
