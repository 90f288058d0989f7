//! [`PostgresStore`]: history and current status in one transaction.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::{PgConnection, Row};

use super::Postgres;
use super::columns::{ChangeColumns, EventColumns, StatusColumns};
use crate::backend::sql::batch::{self, Statuses};
use crate::backend::sql::changes::{self, Transition, Transitions};
use crate::backend::sql::error::cause;
use crate::backend::sql::outbox::suppressions;
use crate::backend::sql::session::PostgresSession;
use crate::event::{Batch, Differing, Fingerprint, Position};
use crate::pipeline::{CommitError, Outcome, Sink};
use crate::twilio::details::EventDetails;

/// The scale-out store, as a sink.
#[derive(Clone, Debug)]
pub struct PostgresStore {
    postgres: Postgres,
    /// Whether a commit notifies the clients that listen for changes.
    notify: bool,
}

impl PostgresStore {
    /// Connects when first asked. The tables must be there.
    #[must_use]
    pub fn new(postgres: Postgres) -> Self {
        Self { postgres, notify: false }
    }

    /// The same, and each commit notifies the channel `offhook_changes`.
    #[must_use]
    pub fn notifying(self, notify: bool) -> Self {
        Self { notify, ..self }
    }
}

impl Sink for PostgresStore {
    async fn commit(&self, batch: &Batch) -> Result<Outcome, CommitError> {
        let details = batch::details(batch).await;
        let work = async |connection: &mut PgConnection, keep| {
            store(connection, batch, details, self.notify, keep).await
        };
        let outcome = self.postgres.transact(work).await.map_err(|error| classify(&error))?;
        self.postgres.feed_watch.grew();
        Ok(outcome)
    }
}

/// The events that are new, what they say of their SIDs, and last what changed. `keep`: the statements stay prepared.
async fn store(
    connection: &mut PgConnection,
    batch: &Batch,
    mut details: Vec<EventDetails>,
    notify: bool,
    keep: bool,
) -> Result<Outcome, sqlx::Error> {
    let fresh = insert(connection, batch, &details, keep).await?;
    let session = &mut PostgresSession { connection: &mut *connection, keep };
    suppressions::hear(session, batch, &fresh).await?;
    let differing = differing(connection, batch, &fresh, keep).await?;
    let updates = batch::fold(&mut details, &fresh);
    let Merged { mut transitions, contradicted, late } = match updates.is_empty() {
        true => Merged::default(),
        false => merge(connection, &updates, keep).await?,
    };
    look_up(connection, batch, &fresh, &mut transitions, keep).await?;
    let changes = changes::of_batch(batch, &details, &fresh, &transitions);
    if !changes.is_empty() {
        let columns = ChangeColumns::of(&changes);
        columns.bind(notify).persistent(keep).execute(connection).await?;
    }
    Ok(Outcome::Stored { fresh, contradicted, late, differing })
}

/// Stores a batch in a transaction that has begun and goes on. It notifies no client: the pump's commits do.
pub(super) async fn store_within(
    connection: &mut PgConnection,
    batch: &Batch,
    keep: bool,
) -> Result<(), sqlx::Error> {
    let details = batch::details(batch).await;
    store(connection, batch, details, false, keep).await.map(|_| ())
}

/// Which of the events are new.
async fn insert(
    connection: &mut PgConnection,
    batch: &Batch,
    details: &[EventDetails],
    keep: bool,
) -> Result<Vec<bool>, sqlx::Error> {
    let columns = EventColumns::of(batch.events(), details);
    let inserted = columns.bind().persistent(keep).fetch_all(connection).await?;
    let mut fresh = vec![false; batch.events().len()];
    for row in inserted {
        let Some(key) = row.try_get("key")? else {
            fresh.fill(true);
            break;
        };
        if let Some(at) = batch.position(key, row.try_get("account")?) {
            fresh[at] = true;
        }
    }
    Ok(fresh)
}

/// The duplicates that say something else than what is stored. Asks only if there are any, which is
/// seldom: marks have filtered them before.
async fn differing(
    connection: &mut PgConnection,
    batch: &Batch,
    fresh: &[bool],
    keep: bool,
) -> Result<Vec<Differing>, sqlx::Error> {
    let duplicates = batch.events().iter().zip(fresh).filter(|(_, fresh)| !**fresh);
    let (keys, accounts): (Vec<&str>, Vec<&str>) =
        duplicates.map(|(event, _)| (event.key.as_str(), event.account.as_str())).unzip();
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let stored = "SELECT key, account, fingerprint FROM events \
                  WHERE (key, account) IN (SELECT * FROM unnest($1::text[], $2::text[]))";
    let stored = sqlx::query(stored).bind(keys).bind(accounts).persistent(keep);
    // By position: the database gives rows in the order of its plan, which changes as tables grow.
    let mut differing = BTreeMap::new();
    for row in stored.fetch_all(connection).await? {
        let Some(at) = batch.position(row.try_get("key")?, row.try_get("account")?) else {
            continue;
        };
        let kept: Option<i64> = row.try_get("fingerprint")?;
        let kept = kept.map(Fingerprint::from_i64);
        differing.extend(Differing::of(&batch.events()[at], kept).map(|found| (at, found)));
    }
    Ok(differing.into_values().collect())
}

/// What became of the rows of `statuses`.
#[derive(Default)]
struct Merged {
    transitions: Transitions,
    /// How many ended in a contradiction.
    contradicted: usize,
    /// How many updates came late.
    late: usize,
}

async fn merge(
    connection: &mut PgConnection,
    updates: &Statuses,
    keep: bool,
) -> Result<Merged, sqlx::Error> {
    let columns = StatusColumns::of(updates.values());
    let mut merged = Merged::default();
    for row in columns.bind().persistent(keep).fetch_all(connection).await? {
        let id = (row.try_get("sid")?, row.try_get("account")?);
        let Some(update) = updates.get(&id) else { continue };
        merged.contradicted += usize::from(update.terminals != 0 && row.try_get("contradicted")?);
        let current: &[u8] = row.try_get("position")?;
        merged.late += usize::from(current > &*update.position.to_bytes());
        let previous: Option<&[u8]> = row.try_get("previous_position")?;
        let previous = previous.and_then(Position::from_bytes);
        let current = Position::from_bytes(current)
            .ok_or_else(|| sqlx::Error::Decode("column `position` is malformed".into()))?;
        merged.transitions.insert(id, Transition { previous, current });
    }
    Ok(merged)
}

/// The lock of changes.sql. Without the setting, a plan from when the table was small would read all of it.
const LOCK: &str =
    "SELECT pg_advisory_xact_lock(6033425111904), set_config('enable_seqscan', 'off', true)";
const STANDING: &str = "SELECT sid, account, \
    (SELECT position FROM statuses AS s WHERE s.sid = silent.sid AND s.account = silent.account) AS position \
    FROM unnest($1::text[], $2::text[]) AS silent (sid, account)";

/// Adds where the SIDs stand whose fresh events report no status. Only if there are such, since the lock under which ids
/// are taken is held meanwhile: who moves one of them commits before it is taken, or gets a greater id.
async fn look_up(
    connection: &mut PgConnection,
    batch: &Batch,
    fresh: &[bool],
    transitions: &mut Transitions,
    keep: bool,
) -> Result<(), sqlx::Error> {
    let events = batch.events().iter().zip(fresh).filter(|(_, fresh)| **fresh);
    let silent: BTreeSet<_> = events.filter_map(|(event, _)| changes::silent(event)).collect();
    let is_known = |(sid, account): &(&str, &str)| {
        transitions.contains_key(&((*sid).to_owned(), (*account).to_owned()))
    };
    let unknown = silent.into_iter().filter(|id| !is_known(id));
    let (sids, accounts): (Vec<&str>, Vec<&str>) = unknown.unzip();
    if sids.is_empty() {
        return Ok(());
    }
    sqlx::query(LOCK).persistent(keep).execute(&mut *connection).await?;
    // A statement of its own: it sees what was committed before the lock was free.
    let standing = sqlx::query(STANDING).bind(sids).bind(accounts).persistent(keep);
    for row in standing.fetch_all(connection).await? {
        let position: Option<&[u8]> = row.try_get("position")?;
        if let Some(position) = position.and_then(Position::from_bytes) {
            let id = (row.try_get("sid")?, row.try_get("account")?);
            transitions.insert(id, Transition::none(position));
        }
    }
    Ok(())
}

/// Data that Postgres refuses, as opposed to a Postgres that is away: by the class of SQLSTATE.
pub(super) fn classify(error: &sqlx::Error) -> CommitError {
    let cause = cause(error);
    let code = error.as_database_error().and_then(|error| error.code()).unwrap_or_default();
    match (code.get(..2), &*code) {
        // Data exception, integrity violation, limit of a program (an index entry too large).
        (Some("22" | "23" | "54"), _) => CommitError::Refused(cause),
        (_, "53100") => CommitError::Full(cause),
        // Query canceled, as by `statement_timeout`.
        (_, "57014") => CommitError::Late(cause),
        _ if is_late(error) => CommitError::Late(cause),
        _ if matches!(error, sqlx::Error::Encode(_)) => CommitError::Refused(cause),
        _ => CommitError::Transient(cause),
    }
}

fn is_late(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Io(error) if error.kind() == std::io::ErrorKind::TimedOut)
}
