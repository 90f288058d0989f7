//! [`RowPurge`]: deletes what is selected from the embedded store, a page at a time. What is deleted is
//! overwritten in the file, and not only given free.

use std::sync::Arc;

use sqlx::types::Json;
use sqlx::{QueryBuilder, SqliteConnection};

use super::query::Query;
use super::writer::{Statement, Writer};
use crate::backend::BackendError;
use crate::backend::purge::{Found, Mode, ROWS_PER_STEP, Selection};
use crate::backend::search::Cursor;
use crate::backend::sql::outbox::forget;
use crate::backend::sql::purge::{EventHit, push_events, push_statuses};
use crate::backend::sql::session::SqliteSession;
use crate::pipeline::CommitError;

const OF_SIDS: &str = "(sid, account) IN (SELECT value ->> 0, value ->> 1 FROM json_each(?1)) \
    AND (?2 IS NULL OR updated < ?2)";

/// The changes of events that have a SID: key, account, SID.
const OF_EVENTS_WITH_SIDS: &str = "SELECT changes.id FROM json_each(?1) AS mine \
    CROSS JOIN changes ON changes.sid = mine.value ->> 2 AND changes.key = mine.value ->> 0 \
    AND changes.account = mine.value ->> 1 WHERE ?2 IS NULL";
/// The changes of events that have none: key, account.
const OF_EVENTS_WITHOUT: &str = "SELECT changes.id FROM json_each(?1) AS mine \
    CROSS JOIN changes ON changes.sid IS NULL AND changes.key = mine.value ->> 0 \
    AND changes.account = mine.value ->> 1 WHERE ?2 IS NULL";
/// The changes of SIDs, also of events that are gone already: SID, account.
const OF_SIDS_IN_FEED: &str = "SELECT changes.id FROM json_each(?1) AS mine \
    CROSS JOIN changes ON changes.sid = mine.value ->> 0 AND changes.account = mine.value ->> 1 \
    WHERE ?2 IS NULL OR changes.stored_at < ?2";

/// What is still to be decided about attempts under these SIDs: SID, account.
const WAKES_OF_SIDS: &str = "DELETE FROM wakes WHERE id IN (SELECT wakes.id FROM json_each(?1) AS mine \
    CROSS JOIN wakes ON wakes.sid = mine.value ->> 0 AND wakes.account = mine.value ->> 1 \
    WHERE ?2 IS NULL OR wakes.at < ?2)";

/// Deletes what is selected.
#[derive(Clone, Debug)]
pub struct RowPurge {
    writer: Arc<Writer>,
    query: Query,
}

impl RowPurge {
    pub(super) fn new(writer: Arc<Writer>, query: Query) -> Self {
        Self { writer, query }
    }

    pub(in crate::backend) async fn notifications(
        &self,
        selection: &Selection,
        after: &str,
        mode: Mode,
    ) -> Result<(Found, Option<String>), BackendError> {
        if mode == Mode::Count {
            let read = async |connection: &mut SqliteConnection| {
                forget::purge(&mut SqliteSession(connection), selection, after, mode).await
            };
            return self.query.read(read).await;
        }
        let held = self.writer.hold().await.map_err(failed)?;
        let run = async |connection: &mut SqliteConnection| {
            anew("PRAGMA secure_delete = ON").execute(&mut *connection).await?;
            anew("BEGIN IMMEDIATE").execute(&mut *connection).await?;
            let done =
                forget::purge(&mut SqliteSession(&mut *connection), selection, after, mode).await?;
            anew("COMMIT").execute(&mut *connection).await?;
            anew("PRAGMA secure_delete = FAST").execute(connection).await?;
            Ok(done)
        };
        held.run(run).await.map_err(failed)
    }

    pub(in crate::backend) async fn events(
        &self,
        selection: &Selection,
        after: Option<Cursor>,
        mode: Mode,
    ) -> Result<(Found, Option<Cursor>), BackendError> {
        let mut page = QueryBuilder::new("");
        push_events(&mut page, selection, &after);
        let read = async |connection: &mut SqliteConnection| {
            let rows = page.build().fetch_all(connection).await?;
            rows.iter().map(|row| EventHit::of(row, selection)).collect::<Result<Vec<_>, _>>()
        };
        let hits = self.query.read(read).await?;
        let selected = || hits.iter().filter(|hit| hit.selected);
        let parts = selected().filter(|hit| hit.part && !selection.addresses.is_empty());
        let parts = parts.filter_map(|hit| Some((hit.sid.as_deref()?, &*hit.account)));
        let parts: Vec<(&str, &str)> = parts.collect();
        let keys: Vec<(&str, &str)> = selected().map(|hit| (&*hit.key, &*hit.account)).collect();
        let with_sids =
            selected().filter_map(|hit| Some((&*hit.key, &*hit.account, hit.sid.as_deref()?)));
        let with_sids: Vec<(&str, &str, &str)> = with_sids.collect();
        let statuses = self.purge_statuses(&parts, selection, mode).await?;
        let mut events = keys.len() as u64;
        if mode == Mode::Delete && events > 0 {
            // First, so that a purge that is cut short finds the events again.
            self.purge_changes(OF_EVENTS_WITH_SIDS, &Json(&with_sids), None).await?;
            self.purge_changes(OF_EVENTS_WITHOUT, &Json(&keys), None).await?;
            let sids: Vec<(&str, &str)> =
                with_sids.iter().map(|(_, account, sid)| (*sid, *account)).collect();
            let wakes = sqlx::query(WAKES_OF_SIDS).bind(Json(sids)).bind(None::<String>);
            delete(&self.writer, wakes).await?;
            let sql = "DELETE FROM events WHERE (key, account) IN \
                       (SELECT value ->> 0, value ->> 1 FROM json_each(?))";
            events = delete(&self.writer, sqlx::query(sql).bind(Json(keys))).await?;
        }
        let last = hits.last().filter(|_| hits.len() == ROWS_PER_STEP as usize);
        let found = Found { events, statuses, ..Found::default() };
        Ok((found, last.and_then(|hit| Cursor::behind(&hit.at, &hit.key, &hit.account))))
    }

    pub(in crate::backend) async fn statuses(
        &self,
        selection: &Selection,
        after: Option<Cursor>,
        mode: Mode,
    ) -> Result<(u64, Option<Cursor>), BackendError> {
        let mut page = QueryBuilder::new("");
        push_statuses(&mut page, selection, &after);
        let read = async |connection: &mut SqliteConnection| {
            page.build_query_as().fetch_all(connection).await
        };
        let rows: Vec<(String, String, String, bool)> = self.query.read(read).await?;
        let sids = rows.iter().filter(|(_, _, _, selected)| *selected);
        let sids: Vec<(&str, &str)> = sids.map(|(sid, account, ..)| (&**sid, &**account)).collect();
        let found = self.purge_statuses(&sids, selection, mode).await?;
        let last = rows.last().filter(|_| rows.len() == ROWS_PER_STEP as usize);
        Ok((found, last.and_then(|(sid, account, at, _)| Cursor::behind(at, sid, account))))
    }

    /// Those of them about which nothing was stored meanwhile.
    async fn purge_statuses(
        &self,
        sids: &[(&str, &str)],
        selection: &Selection,
        mode: Mode,
    ) -> Result<u64, BackendError> {
        if sids.is_empty() {
            return Ok(0);
        }
        let before = selection.before.map(|before| before.to_string());
        match mode {
            Mode::Delete => {
                self.purge_changes(OF_SIDS_IN_FEED, &Json(sids), before.as_deref()).await?;
                let wakes = sqlx::query(WAKES_OF_SIDS).bind(Json(sids)).bind(before.as_deref());
                delete(&self.writer, wakes).await?;
                let sql = sqlx::AssertSqlSafe(format!("DELETE FROM statuses WHERE {OF_SIDS}"));
                delete(&self.writer, sqlx::query(sql).bind(Json(sids)).bind(before)).await
            }
            Mode::Count => {
                let sql = format!("SELECT count(*) FROM statuses WHERE {OF_SIDS}");
                let read = async |connection: &mut SqliteConnection| {
                    let count = sqlx::query_scalar::<_, i64>(sqlx::AssertSqlSafe(sql));
                    count.bind(Json(sids)).bind(before).fetch_one(connection).await
                };
                Ok(self.query.read(read).await?.unsigned_abs())
            }
        }
    }

    /// Deletes changes, and first what of them waits or was given up in a forward.
    async fn purge_changes<'q, T: serde::Serialize>(
        &self,
        which: &str,
        mine: &'q Json<T>,
        before: Option<&'q str>,
    ) -> Result<(), BackendError>
    where
        Json<T>: sqlx::Type<sqlx::Sqlite> + sqlx::Encode<'q, sqlx::Sqlite> + Sync,
    {
        for (table, id) in
            [("forward_waiting", "change"), ("forward_given_up", "change"), ("changes", "id")]
        {
            let sql = format!("DELETE FROM {table} WHERE {id} IN ({which})");
            let query = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(mine).bind(before);
            delete(&self.writer, query).await?;
        }
        Ok(())
    }

    /// Takes what was deleted out of the WAL too, and syncs; whether that was all of it: a search that is still
    /// reading prevents it.
    pub(in crate::backend) async fn finish(&self) -> Result<bool, BackendError> {
        let _alone = self.writer.no_feed_read().await;
        let held = self.writer.hold().await.map_err(failed)?;
        // A commit waits as long as this does.
        let checkpoint = async |connection: &mut SqliteConnection| {
            anew("PRAGMA busy_timeout = 500").execute(&mut *connection).await?;
            let pragma = "PRAGMA wal_checkpoint(TRUNCATE)";
            let done =
                sqlx::query_as::<_, (i64, i64, i64)>(pragma).fetch_one(&mut *connection).await;
            anew(super::BUSY_AGAIN).execute(connection).await?;
            done
        };
        let (busy, ..) = held.run(checkpoint).await.map_err(failed)?;
        Ok(busy == 0)
    }
}

/// SQLite sets what it says when it reads it, so one that is kept prepared would set it only once.
fn anew(pragma: &'static str) -> Statement<'static> {
    sqlx::query(pragma).persistent(false)
}

/// Deletes, and overwrites.
async fn delete(writer: &Writer, delete: Statement<'_>) -> Result<u64, BackendError> {
    let held = writer.hold().await.map_err(failed)?;
    let run = async |connection: &mut SqliteConnection| {
        anew("PRAGMA secure_delete = ON").execute(&mut *connection).await?;
        let deleted = delete.execute(&mut *connection).await?;
        anew("PRAGMA secure_delete = FAST").execute(connection).await?;
        Ok(deleted.rows_affected())
    };
    held.run(run).await.map_err(failed)
}

fn failed(error: CommitError) -> BackendError {
    BackendError(error.to_string())
}
