//! [`Forwards`]: what the embedded store keeps of forwards. The file belongs to one process, so a lease is taken
//! over at once: the process that held it is gone.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use sqlx::sqlite::SqliteRow;
use sqlx::types::Json;
use sqlx::{AssertSqlSafe, QueryBuilder, Sqlite, SqliteConnection};

use super::query::Query;
use super::store::NOW;
use super::writer::{Statement, Writer};
use crate::backend::BackendError;
use crate::backend::forwards::{
    Claim, Claimed, ForwardState, GivenUp, Listed, Progress, ROWS_PER_PAGE, Replay, Waiting,
    Written,
};
use crate::backend::sql::columns::select_events;
use crate::backend::sql::forwards as sql;
use crate::backend::sql::forwards::List;
use crate::clock::Timestamp;
use crate::event::{Change, Cursor, Event};

/// Keeps where forwards stand.
#[derive(Clone, Debug)]
pub struct Forwards {
    query: Query,
    writer: Arc<Writer>,
}

impl Forwards {
    /// On connections of its own, which no search holds.
    pub(super) fn new(writer: &Arc<Writer>) -> Self {
        Self { query: Query::new(writer.database()), writer: Arc::clone(writer) }
    }

    /// See [`Forwards`](crate::backend::Forwards), as for the next ones.
    pub(in crate::backend) async fn claim(&self, claim: &Claim) -> Result<Claimed, BackendError> {
        let held = sql::held_as_read::<Sqlite>(NOW);
        let take = format!(
            "UPDATE forwards SET holder = ?2, lease_until = {} \
             WHERE name = ?1 AND disabled IS NULL RETURNING {held}",
            later("?3")
        );
        let look = "SELECT disabled FROM forwards WHERE name = ?";
        self.transact(async |connection: &mut SqliteConnection| {
            let take = sqlx::query(AssertSqlSafe(take)).bind(&claim.forward).bind(&claim.holder);
            let taken = take.bind(seconds(claim.lasts)).fetch_optional(&mut *connection).await?;
            if let Some(row) = taken {
                return Ok(Claimed::Held(sql::held(&row)?));
            }
            let look = sqlx::query(look).bind(&claim.forward);
            sql::not_held(look.fetch_optional(connection).await?.as_ref())
        })
        .await
    }

    pub(in crate::backend) async fn create(
        &self,
        forward: &str,
        at: &Cursor,
    ) -> Result<(), BackendError> {
        let create = "INSERT OR IGNORE INTO forwards (name, feed, cursor) VALUES (?, ?, ?)";
        let create = sqlx::query(create).bind(forward).bind(at.feed.as_str()).bind(at.id);
        self.execute(create).await.map(|_| ())
    }

    pub(in crate::backend) async fn write(
        &self,
        claim: &Claim,
        progress: &Progress,
    ) -> Result<Written, BackendError> {
        self.transact(async |connection: &mut SqliteConnection| {
            write(connection, claim, progress).await
        })
        .await
    }

    pub(in crate::backend) async fn release(&self, claim: &Claim) -> Result<(), BackendError> {
        let release = "UPDATE forwards SET holder = NULL, lease_until = NULL \
                       WHERE name = ? AND holder = ?";
        let release = sqlx::query(release).bind(&claim.forward).bind(&claim.holder);
        self.execute(release).await.map(|_| ())
    }

    pub(in crate::backend) async fn waiting(
        &self,
        forward: &str,
    ) -> Result<Vec<Waiting>, BackendError> {
        let rows = self.all(sql::waiting(forward, NOW)).await?;
        Ok(rows.iter().map(sql::waiting_row).collect::<Result<_, _>>()?)
    }

    pub(in crate::backend) async fn replays(
        &self,
        forward: &str,
        limit: u32,
    ) -> Result<Vec<Waiting>, BackendError> {
        let rows = self.all(sql::replays(forward, limit)).await?;
        Ok(rows.iter().map(sql::waiting_row).collect::<Result<_, _>>()?)
    }

    pub(in crate::backend) async fn load(
        &self,
        ids: &[i64],
    ) -> Result<Vec<(Change, Option<Event>)>, BackendError> {
        const OF_IDS: &str = "id IN (SELECT value FROM json_each(?))";
        let changes = format!("{} WHERE {OF_IDS} ORDER BY id", sql::select_changes::<Sqlite>());
        let events = format!(
            "{} WHERE (key, account) IN (SELECT key, account FROM changes WHERE {OF_IDS})",
            select_events::<Sqlite>()
        );
        let read = async |connection: &mut SqliteConnection| {
            let changes = sqlx::query(AssertSqlSafe(changes)).bind(Json(ids));
            let events = sqlx::query(AssertSqlSafe(events)).bind(Json(ids));
            let changes = changes.fetch_all(&mut *connection).await?;
            sql::with_events(&changes, &events.fetch_all(connection).await?)
        };
        self.read(read).await
    }

    pub(in crate::backend) async fn forget(&self, forward: &str) -> Result<Vec<i64>, BackendError> {
        let gone = format!(
            "AND NOT EXISTS (SELECT 1 FROM changes WHERE id = change) LIMIT {ROWS_PER_PAGE}"
        );
        let given_up = format!(
            "DELETE FROM forward_given_up WHERE forward = ?1 AND change IN \
             (SELECT change FROM forward_given_up WHERE forward = ?1 {gone})"
        );
        let waiting = format!("SELECT change FROM forward_waiting WHERE forward = ? {gone}");
        self.execute(sqlx::query(AssertSqlSafe(given_up)).bind(forward)).await?;
        let waiting = sqlx::query_scalar(AssertSqlSafe(waiting)).bind(forward);
        let read = async |connection: &mut SqliteConnection| waiting.fetch_all(connection).await;
        self.read(read).await
    }

    pub(in crate::backend) async fn states(&self) -> Result<Vec<ForwardState>, BackendError> {
        let rows = self.all(sql::states()).await?;
        Ok(rows.iter().map(sql::state).collect::<Result<_, _>>()?)
    }

    pub(in crate::backend) async fn list(
        &self,
        list: List,
        forward: &str,
        after: i64,
        limit: u32,
    ) -> Result<Vec<Listed>, BackendError> {
        let rows = self.all(sql::list(list, forward, after, limit)).await?;
        Ok(rows.iter().map(sql::listed).collect::<Result<_, _>>()?)
    }

    pub(in crate::backend) async fn replay(
        &self,
        forward: &str,
        replay: &Replay,
    ) -> Result<u64, BackendError> {
        let (which, value) = match replay {
            Replay::All => ("?2 IS NULL", None),
            Replay::Sid(sid) => ("sid = ?2", Some(sid.clone())),
            Replay::Since(at) => ("at >= ?2", Some(at.to_string())),
        };
        let update = format!(
            "UPDATE forward_given_up SET replay = 1 WHERE forward = ?1 AND change IN \
             (SELECT change FROM forward_given_up WHERE forward = ?1 AND replay = 0 AND {which} \
             ORDER BY change LIMIT {ROWS_PER_PAGE})"
        );
        self.execute(sqlx::query(AssertSqlSafe(update)).bind(forward).bind(value)).await
    }

    pub(in crate::backend) async fn disable(&self, forward: &str) -> Result<bool, BackendError> {
        let disable = format!(
            "UPDATE forwards SET disabled = 'operator', disabled_at = {NOW} WHERE name = ? AND disabled IS NULL"
        );
        let disable = sqlx::query(AssertSqlSafe(disable)).bind(forward);
        Ok(self.execute(disable).await? > 0)
    }

    pub(in crate::backend) async fn enable(
        &self,
        forward: &str,
        end: &Cursor,
    ) -> Result<bool, BackendError> {
        self.transact(async |connection: &mut SqliteConnection| {
            for sql in ENABLE {
                let query = sqlx::query(sql).bind(forward).bind(end.feed.as_str()).bind(end.id);
                query.execute(&mut *connection).await?;
            }
            let enable = "UPDATE forwards SET disabled = NULL, disabled_at = NULL, \
                          failing_since = NULL, feed = ?2, \
                          cursor = CASE WHEN feed = ?2 THEN min(cursor, ?3) ELSE ?3 END \
                          WHERE name = ?1 AND disabled IS NOT NULL";
            let query = sqlx::query(enable).bind(forward).bind(end.feed.as_str()).bind(end.id);
            Ok(query.execute(connection).await?.rows_affected() > 0)
        })
        .await
    }

    pub(in crate::backend) async fn needed_since(
        &self,
        forward: &str,
        max_age: Duration,
    ) -> Result<Option<Timestamp>, BackendError> {
        let mut needed = sql::needed::<Sqlite>(forward, NOW);
        let ask =
            async |connection: &mut SqliteConnection| needed.build().fetch_one(connection).await;
        Ok(sql::needed_since(&self.read(ask).await?, max_age)?)
    }

    async fn all(&self, mut sql: QueryBuilder<Sqlite>) -> Result<Vec<SqliteRow>, BackendError> {
        self.read(async |connection| sql.build().fetch_all(connection).await).await
    }

    /// Reads like a reader of the feed: between two checkpoints, so that it keeps none from copying anything.
    async fn read<T>(
        &self,
        work: impl AsyncFnOnce(&mut SqliteConnection) -> Result<T, sqlx::Error>,
    ) -> Result<T, BackendError> {
        let _reads = self.writer.feed_read().await;
        self.query.read(work).await
    }

    async fn execute(&self, query: Statement<'_>) -> Result<u64, BackendError> {
        let work = async |connection: &mut SqliteConnection| {
            Ok(query.execute(connection).await?.rows_affected())
        };
        let held = self.writer.hold().await.map_err(|error| BackendError(error.to_string()))?;
        held.run(work).await.map_err(|error| BackendError(error.to_string()))
    }

    /// Runs a transaction. After a failure the connection is closed, which takes it back.
    async fn transact<T>(
        &self,
        work: impl AsyncFnOnce(&mut SqliteConnection) -> Result<T, sqlx::Error>,
    ) -> Result<T, BackendError> {
        let held = self.writer.hold().await.map_err(|error| BackendError(error.to_string()))?;
        let transaction = async |connection: &mut SqliteConnection| {
            sqlx::query("BEGIN IMMEDIATE").execute(&mut *connection).await?;
            let done = work(&mut *connection).await?;
            sqlx::query("COMMIT").execute(connection).await?;
            Ok(done)
        };
        held.run(transaction).await.map_err(|error| BackendError(error.to_string()))
    }
}

/// What waits in another feed, or beyond the end of this one, names no change that is there.
const ENABLE: [&str; 2] = [
    "DELETE FROM forward_waiting WHERE forward = ?1 AND EXISTS (SELECT 1 FROM forwards \
     WHERE name = ?1 AND disabled IS NOT NULL AND (change > ?3 OR feed <> ?2))",
    "DELETE FROM forward_given_up WHERE forward = ?1 AND EXISTS (SELECT 1 FROM forwards \
     WHERE name = ?1 AND disabled IS NOT NULL AND (change > ?3 OR feed <> ?2))",
];

async fn write(
    connection: &mut SqliteConnection,
    claim: &Claim,
    progress: &Progress,
) -> Result<Written, sqlx::Error> {
    let hold = format!(
        "UPDATE forwards SET cursor = max(cursor, ?3), \
         failing_since = CASE WHEN ?4 IS NOT NULL THEN {} END, \
         disabled = ?5, disabled_at = CASE WHEN ?5 IS NOT NULL THEN {NOW} END, \
         holder = CASE WHEN ?5 IS NULL THEN holder END, lease_until = {} \
         WHERE name = ?1 AND holder = ?2 AND disabled IS NULL",
        later("?4"),
        later("?6")
    );
    let hold = sqlx::query(AssertSqlSafe(hold))
        .bind(&claim.forward)
        .bind(&claim.holder)
        .bind(progress.cursor)
        .bind(progress.failing_for.map(|long| format!("-{:.3} seconds", long.as_secs_f64())))
        .bind(progress.disable.map(|why| why.as_str()))
        .bind(seconds(claim.lasts));
    if hold.execute(&mut *connection).await?.rows_affected() == 0 {
        return Ok(Written::Lost);
    }
    let given_up = progress.given_up.iter().map(|row| row.change);
    let settled: Vec<i64> = progress.settled.iter().copied().chain(given_up).collect();
    let deletions = [
        (
            "DELETE FROM forward_given_up WHERE forward = ? \
             AND change IN (SELECT value FROM json_each(?))",
            &progress.replayed,
        ),
        (
            "DELETE FROM forward_waiting WHERE forward = ? \
             AND change IN (SELECT value FROM json_each(?))",
            &settled,
        ),
    ];
    for (delete, changes) in deletions.into_iter().filter(|(_, changes)| !changes.is_empty()) {
        let delete = sqlx::query(delete).bind(&claim.forward).bind(Json(changes));
        delete.execute(&mut *connection).await?;
    }
    put(connection, claim, PUT_WAITING, progress.waiting.iter().map(WaitingRow::of)).await?;
    put(connection, claim, PUT_GIVEN_UP, progress.given_up.iter().map(GivenUpRow::of)).await?;
    Ok(Written::Kept)
}

const PUT_WAITING: &str = "INSERT INTO forward_waiting (forward, change, account, sid, tries, due) \
    SELECT ?1, value ->> 0, value ->> 1, value ->> 2, value ->> 3, \
    strftime('%Y-%m-%dT%H:%M:%f000Z', 'now', value ->> 4) FROM json_each(?2) WHERE TRUE \
    ON CONFLICT (forward, change) DO UPDATE SET tries = excluded.tries, due = excluded.due";
const PUT_GIVEN_UP: &str = "INSERT INTO forward_given_up \
    (forward, change, account, sid, tries, failure, at) \
    SELECT ?1, value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, \
    strftime('%Y-%m-%dT%H:%M:%f000Z', 'now') FROM json_each(?2) WHERE TRUE \
    ON CONFLICT (forward, change) DO UPDATE SET \
    tries = excluded.tries, failure = excluded.failure, at = excluded.at, replay = 0";

/// The columns as the statement reads them; the last is added to the time, or is null.
#[derive(Serialize)]
struct WaitingRow<'a>(i64, &'a str, Option<&'a str>, u32, Option<String>);

impl<'a> WaitingRow<'a> {
    fn of(row: &'a Waiting) -> Self {
        let due = row.due_in.map(seconds);
        Self(row.change, &row.account, row.sid.as_deref(), row.tries, due)
    }
}

#[derive(Serialize)]
struct GivenUpRow<'a>(i64, &'a str, Option<&'a str>, u32, &'a str);

impl<'a> GivenUpRow<'a> {
    fn of(row: &'a GivenUp) -> Self {
        Self(row.change, &row.account, row.sid.as_deref(), row.tries, &row.failure)
    }
}

/// Rows as one parameter of JSON.
async fn put<R: Serialize>(
    connection: &mut SqliteConnection,
    claim: &Claim,
    sql: &'static str,
    rows: impl Iterator<Item = R>,
) -> Result<(), sqlx::Error> {
    let rows = serde_json::to_string(&rows.collect::<Vec<_>>());
    let rows = rows.expect("numbers and strings always serialize");
    if rows == "[]" {
        return Ok(());
    }
    sqlx::query(sql).bind(&claim.forward).bind(rows).execute(connection).await.map(|_| ())
}

/// The time now and a bound text of seconds; NULL where that is NULL.
fn later(parameter: &str) -> String {
    format!("strftime('%Y-%m-%dT%H:%M:%f000Z', 'now', {parameter})")
}

fn seconds(duration: Duration) -> String {
    format!("+{:.3} seconds", duration.as_secs_f64())
}
