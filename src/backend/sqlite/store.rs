//! [`SqliteStore`]: history and current status in one transaction.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sqlx::{AssertSqlSafe, Connection, Row, SqliteConnection};

use super::bind::{bind_change, bind_event, bind_status};
use super::checkpoint::Checkpoint;
use super::writer::Writer;
use super::{Database, OpenError};
use crate::backend::sql::batch::{self, Statuses};
use crate::backend::sql::changes::{self, NewChange, Transition, Transitions};
use crate::backend::sql::outbox::suppressions;
use crate::backend::sql::session::SqliteSession;
use crate::backend::sql::{columns, rows};
use crate::event::{Batch, CurrentStatus, Differing, Event, Fingerprint, Resource};
use crate::pipeline::{CommitError, Outcome, Sink};
use crate::twilio::details::EventDetails;

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

    /// What syncs it.
    #[must_use]
    pub fn checkpoint(&self) -> Checkpoint {
        Checkpoint(Arc::clone(&self.0))
    }
}

impl Sink for SqliteStore {
    async fn commit(&self, batch: &Batch) -> Result<Outcome, CommitError> {
        let held = self.0.hold().await?;
        let commit = async |connection: &mut SqliteConnection| commit(connection, batch).await;
        let outcome = held.run(commit).await?;
        self.0.feed_watch.grew();
        Ok(outcome)
    }
}

/// What is known of a batch's events and of their SIDs: rows of three tables, each of which says which. The last is of no
/// cost where nothing was ever sent. Nothing else writes, so that this holds until the end of the transaction.
const LOOK: &str = "SELECT 'events' AS relation, key, account, fingerprint FROM events \
    WHERE (key, account) IN (SELECT value ->> 0, value ->> 1 FROM json_each(?)); \
    SELECT 'statuses' AS relation, * FROM statuses \
    WHERE (sid, account) IN (SELECT value ->> 0, value ->> 1 FROM json_each(?)); \
    SELECT 'attempt_sids' AS relation, a.id AS attempt, s.sid, a.account \
    FROM json_each(?) AS mine CROSS JOIN attempt_sids AS s ON s.sid = mine.value ->> 0 \
    JOIN attempts AS a ON a.id = s.attempt AND a.account = mine.value ->> 1 \
    WHERE EXISTS (SELECT 1 FROM attempt_sids)";

/// Whose transaction it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Transaction {
    /// It begins and ends with the first and the last statement.
    Own,
    /// It goes on.
    Outer,
}

async fn commit(connection: &mut SqliteConnection, batch: &Batch) -> Result<Outcome, sqlx::Error> {
    store(connection, batch, Transaction::Own).await
}

/// Stores a batch in a transaction that has begun and goes on.
pub(super) async fn store_within(
    connection: &mut SqliteConnection,
    batch: &Batch,
) -> Result<(), sqlx::Error> {
    store(connection, batch, Transaction::Outer).await.map(|_| ())
}

/// Each query is a trip to the thread of the connection and back, so there are three instead of six: what is known,
/// the events that are not, and what is true now. A failure in between closes the connection.
async fn store(
    connection: &mut SqliteConnection,
    batch: &Batch,
    transaction: Transaction,
) -> Result<Outcome, sqlx::Error> {
    let mut details = batch::details(batch).await;
    let looked = look(connection, batch, &details, transaction).await?;
    let Stored { fresh, differing, statuses, attempts } = looked;
    insert_events(connection, batch.events(), &details, &fresh).await?;
    insert_wakes(connection, batch.events(), &fresh, &attempts).await?;
    suppressions::hear(&mut SqliteSession(&mut *connection), batch, &fresh).await?;
    let updates = batch::fold(&mut details, &fresh);
    let Merged { new, moved, transitions, contradicted, late } = merge(statuses, updates);
    put_statuses(connection, &new, &moved).await?;
    let changes = changes::of_batch(batch, &details, &fresh, &transitions);
    insert_changes(connection, &changes, transaction).await?;
    Ok(Outcome::Stored { fresh, contradicted, late, differing })
}

/// What the store has of a batch.
struct Stored {
    /// Which of the events it does not have.
    fresh: Vec<bool>,
    /// The events that the store has with another content, in the order of the batch.
    differing: Vec<Differing>,
    /// The rows of their SIDs.
    statuses: Statuses,
    /// The attempts to which the messages and calls belong whose events carry none.
    attempts: Attempts,
}

/// Attempts by SID and account.
type Attempts = BTreeMap<(String, String), Vec<String>>;

/// The message or the call of an event that carries no attempt: Twilio sent it elsewhere than to the attempt's own callback URL, as
/// to that of a number or of a Messaging Service, or as an event stream.
fn sent_elsewhere(event: &Event) -> Option<(&str, &str)> {
    let is_sent = event.attempt.is_none()
        && matches!(event.resource, Some(Resource::Message | Resource::Call));
    Some((event.sid.as_deref().filter(|_| is_sent)?, &event.account))
}

async fn look(
    connection: &mut SqliteConnection,
    batch: &Batch,
    details: &[EventDetails],
    transaction: Transaction,
) -> Result<Stored, sqlx::Error> {
    let keys = pairs(batch.events().iter().map(|event| (event.key.as_str(), &*event.account)));
    let sids = details.iter().filter_map(|details| details.current.as_ref());
    let silent = batch.events().iter().filter_map(changes::silent);
    let sids: BTreeSet<(&str, &str)> = sids.map(CurrentStatus::id).chain(silent).collect();
    let sent: BTreeSet<_> = batch.events().iter().filter_map(sent_elsewhere).collect();
    let begin = if transaction == Transaction::Own { "BEGIN IMMEDIATE; " } else { "" };
    let look = sqlx::query(AssertSqlSafe(format!("{begin}{LOOK}")))
        .bind(keys)
        .bind(pairs(sids.into_iter()))
        .bind(pairs(sent.into_iter()));
    let mut fresh = vec![true; batch.events().len()];
    // By position: the database gives rows in the order of its plan, which changes as tables grow.
    let mut differing = BTreeMap::new();
    let (mut statuses, mut attempts) = (Statuses::new(), Attempts::new());
    for row in look.fetch_all(connection).await? {
        let relation: &str = row.try_get("relation")?;
        if relation == "statuses" {
            batch::insert(&mut statuses, rows::current(&row)?);
        } else if relation == "attempt_sids" {
            let message = (row.try_get("sid")?, row.try_get("account")?);
            attempts.entry(message).or_default().push(row.try_get("attempt")?);
        } else if let Some(at) = batch.position(row.try_get("key")?, row.try_get("account")?) {
            fresh[at] = false;
            let kept: Option<i64> = row.try_get("fingerprint")?;
            let kept = kept.map(Fingerprint::from_i64);
            differing.extend(Differing::of(&batch.events()[at], kept).map(|found| (at, found)));
        }
    }
    Ok(Stored { fresh, differing: differing.into_values().collect(), statuses, attempts })
}

async fn insert_events(
    connection: &mut SqliteConnection,
    events: &[Event],
    details: &[EventDetails],
    fresh: &[bool],
) -> Result<(), sqlx::Error> {
    let rows = events.iter().zip(details).zip(fresh);
    let rows: Vec<_> = rows.filter_map(|(row, fresh)| fresh.then_some(row)).collect();
    for rows in rows.chunks(ROWS) {
        let (columns, values) =
            (columns::EVENTS.join(", "), stored_now(columns::EVENTS.len(), rows));
        // On an error the connection is closed, and there is nothing to go back to: so SQLite need not keep
        // what each page was before the statement.
        let sql = format!("INSERT OR ROLLBACK INTO events ({columns}, stored_at) VALUES {values}");
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for (event, details) in rows {
            query = bind_event(query, event, details);
        }
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

/// Leaves a wake for each new event that belongs to an attempt, by the id that it carries or by its SID. Without one, no
/// statement runs.
async fn insert_wakes(
    connection: &mut SqliteConnection,
    events: &[Event],
    fresh: &[bool],
    attempts: &Attempts,
) -> Result<(), sqlx::Error> {
    let mut wakes = Vec::new();
    for (event, _) in events.iter().zip(fresh).filter(|(_, fresh)| **fresh) {
        wakes.extend(event.attempt.map(|attempt| (attempt.to_string(), event)));
        let message = sent_elsewhere(event).filter(|_| !attempts.is_empty());
        let of_sid = message.and_then(|(sid, of)| attempts.get(&(sid.to_owned(), of.to_owned())));
        wakes.extend(of_sid.into_iter().flatten().map(|attempt| (attempt.clone(), event)));
    }
    for rows in wakes.chunks(ROWS) {
        let values = stored_now(3, rows);
        let sql = format!("INSERT INTO wakes (attempt, sid, account, at) VALUES {values}");
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for (attempt, event) in rows {
            query = query.bind(attempt).bind(event.sid.as_deref()).bind(event.account.as_str());
        }
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

/// An array of pairs of strings, which SQL takes as one parameter.
fn pairs<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    serde_json::to_string(&pairs.collect::<Vec<_>>()).expect("strings always serialize")
}

/// What is true now.
#[derive(Default)]
struct Merged {
    /// Rows that the store does not have, or that changed in what it has an index of.
    new: Vec<CurrentStatus>,
    /// Rows that changed in nothing but their status, when, and what comes with that: most of them.
    moved: Vec<CurrentStatus>,
    /// What became of each row.
    transitions: Transitions,
    /// How many rows ended in a contradiction.
    contradicted: usize,
    /// How many updates came late.
    late: usize,
}

fn merge(mut known: Statuses, updates: Statuses) -> Merged {
    let mut all = Merged::default();
    for (id, update) in updates {
        let reports_terminal = update.terminals != 0;
        let (merged, previous, moved) = match known.remove(&id) {
            Some(known) => {
                all.late += usize::from(known.position > update.position);
                let moved = only_moves(&known, &update);
                let previous = known.position.clone();
                (known.merge(update), Some(previous), moved)
            }
            None => (update, None, false),
        };
        let current = merged.position.clone();
        all.transitions.insert(id, Transition { previous, current });
        all.contradicted += usize::from(reports_terminal && merged.is_contradicted());
        if moved { all.moved.push(merged) } else { all.new.push(merged) }
    }
    // What is left are SIDs of which no event reports a status.
    let stay = known.into_iter().map(|(id, row)| (id, Transition::none(row.position)));
    all.transitions.extend(stay);
    all
}

/// Whether this update of a row changes nothing but what [`MOVED`] says.
fn only_moves(row: &CurrentStatus, update: &CurrentStatus) -> bool {
    row.from >= update.from
        && row.to >= update.to
        && row.error >= update.error
        && row.own >= update.own
        && row.first_seen <= update.first_seen
}

/// What changes when a status does. Writing the other columns costs as many entries of indexes again.
const MOVED: &str = "status = excluded.status, final = excluded.final, direction = excluded.direction, \
    duration = excluded.duration, terminals = excluded.terminals, updated = excluded.updated, \
    position = excluded.position, \
    stored_at = max(coalesce(stored_at, ''), excluded.stored_at)";
/// The rest of what can change.
const INDEXED: &str = "\"from\" = excluded.\"from\", \"to\" = excluded.\"to\", \
    error_code = excluded.error_code, first_seen = excluded.first_seen, \
    error_position = excluded.error_position, own = excluded.own, own_order = excluded.own_order";

async fn put_statuses(
    connection: &mut SqliteConnection,
    new: &[CurrentStatus],
    moved: &[CurrentStatus],
) -> Result<(), sqlx::Error> {
    let all = format!("{MOVED}, {INDEXED}");
    let mut chunks: Vec<(&[CurrentStatus], &str)> = Vec::new();
    chunks.extend(new.chunks(ROWS).map(|rows| (rows, &*all)));
    chunks.extend(moved.chunks(ROWS).map(|rows| (rows, MOVED)));
    for (rows, replace) in chunks {
        let (columns, values) =
            (columns::STATUSES.join(", "), stored_now(columns::STATUSES.len(), rows));
        let sql = format!(
            "INSERT INTO statuses ({columns}, stored_at) VALUES {values} \
             ON CONFLICT (sid, account) DO UPDATE SET {replace}"
        );
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for row in rows {
            query = bind_status(query, row);
        }
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

/// Writes what changed, and commits a transaction of its own.
async fn insert_changes(
    connection: &mut SqliteConnection,
    changes: &[NewChange<'_>],
    transaction: Transaction,
) -> Result<(), sqlx::Error> {
    let commits = transaction == Transaction::Own;
    if changes.is_empty() && commits {
        sqlx::query("COMMIT").execute(&mut *connection).await?;
    }
    let mut chunks = changes.chunks(ROWS).peekable();
    while let Some(rows) = chunks.next() {
        // With the last of them, which saves a trip.
        let end = if commits && chunks.peek().is_none() { "; COMMIT" } else { "" };
        let (columns, values) =
            (columns::CHANGES.join(", "), stored_now(columns::CHANGES.len(), rows));
        let sql = format!("INSERT INTO changes ({columns}, stored_at) VALUES {values}{end}");
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for change in rows {
            query = bind_change(query, change);
        }
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

/// `(?, ?, <now>), (?, ?, <now>)`
fn stored_now<T>(columns: usize, rows: &[T]) -> String {
    let row = format!("({}, {NOW})", vec!["?"; columns].join(", "));
    vec![row; rows.len()].join(", ")
}
