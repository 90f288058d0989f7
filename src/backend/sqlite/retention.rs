//! [`Retention`]: deletes what is old from a file of this process, a page at a time.
//!
//! Through the one connection that writes, so that a commit waits for a page at most, and neither
//! for the other's lock. Each page is a transaction of its own, so that the WAL does not grow by
//! more than a commit makes it grow. What is freed is used again; the file does not shrink.

mod feed;

use std::sync::Arc;

use sqlx::types::Json;
use sqlx::{AssertSqlSafe, SqliteConnection};

pub use self::feed::FeedRetention;
use super::store::{NOW, SqliteStore};
use super::writer::{Statement, Writer};
use crate::backend::sql::outbox::forget;
use crate::backend::sql::session::SqliteSession;
use crate::clock::Timestamp;
use crate::pipeline::Cause;
use crate::pipeline::expiry::{Expire, Outlook, Step};

/// Rows that one step looks at.
const ROWS_PER_STEP: u32 = 200;

/// A table with rows that grow old.
#[derive(Debug)]
enum Table {
    /// The events, by when they were stored.
    Events(Arc<Writer>),
    /// The statuses, by when something was last stored about a SID. No index has that, so the rows that began long ago
    /// are checked in turn, from behind the last one.
    Statuses(Arc<Writer>, (String, String)),
}

/// Deletes what is old from one table.
#[derive(Debug)]
pub struct Retention(Table);

impl Retention {
    /// The table `events`.
    #[must_use]
    pub fn of_events(store: &SqliteStore) -> Self {
        Self(Table::Events(Arc::clone(&store.0)))
    }

    /// The table `statuses`.
    #[must_use]
    pub fn of_statuses(store: &SqliteStore) -> Self {
        Self(Table::Statuses(Arc::clone(&store.0), Default::default()))
    }

    /// The table's name in the table `retention`.
    fn place(&self) -> &'static str {
        match &self.0 {
            Table::Events(_) => "events",
            Table::Statuses(..) => "statuses",
        }
    }

    fn writer(&self) -> &Writer {
        match &self.0 {
            Table::Events(writer) | Table::Statuses(writer, _) => writer,
        }
    }
}

impl Expire for Retention {
    async fn step(&mut self, cutoff: Timestamp) -> Result<Step, Cause> {
        let done = match &mut self.0 {
            Table::Events(writer) => {
                expire_notifications(writer, cutoff).await.map_err(|error| error.to_string())?;
                let sql = "DELETE FROM events WHERE rowid IN (SELECT rowid FROM events \
                           WHERE stored_at < ? ORDER BY stored_at, key LIMIT ?)";
                delete(writer, sqlx::query(sql).bind(cutoff.to_string()).bind(ROWS_PER_STEP)).await
            }
            Table::Statuses(writer, after) => delete_statuses(writer, after, cutoff).await,
        };
        done.map_err(|error| error.to_string())
    }

    async fn outlook(&mut self) -> Result<Outlook, Cause> {
        let newest = match &self.0 {
            Table::Events(_) => "SELECT max(stored_at) FROM events",
            // The newest event is that of a status, or came beside one; where none is kept, the SID
            // that began last stands for it.
            Table::Statuses(..) => {
                "SELECT max(at) FROM (SELECT max(stored_at) AS at FROM events UNION ALL \
                 SELECT * FROM (SELECT coalesce(stored_at, updated) FROM statuses \
                 ORDER BY first_seen DESC, sid DESC LIMIT 1))"
            }
        };
        let trusted = "SELECT trusted FROM retention WHERE place = ?";
        let sql = format!("SELECT {NOW}, ({newest}), ({trusted})");
        look_out(self.writer(), AssertSqlSafe(sql), self.place()).await
    }

    async fn trust(&mut self, until: Option<Timestamp>) -> Result<(), Cause> {
        note_trust(self.writer(), self.place(), until).await
    }

    async fn is_old(&mut self, cutoff: Timestamp) -> Result<bool, Cause> {
        let sql = match &self.0 {
            Table::Events(_) => "SELECT EXISTS (SELECT 1 FROM events WHERE stored_at < ?1)",
            Table::Statuses(..) => {
                "SELECT EXISTS (SELECT 1 FROM statuses WHERE first_seen < ?1 \
                 AND coalesce(stored_at, updated) < ?1)"
            }
        };
        let ask = sqlx::query_scalar(sql).bind(cutoff.to_string());
        let held = self.writer().hold().await.map_err(|error| error.to_string())?;
        let is_old =
            held.run(async |connection: &mut SqliteConnection| ask.fetch_one(connection).await);
        is_old.await.map_err(|error| error.to_string())
    }

    async fn oldest(&mut self) -> Result<Option<Timestamp>, Cause> {
        let sql = match &self.0 {
            Table::Events(_) => "SELECT stored_at FROM events ORDER BY stored_at, key LIMIT 1",
            Table::Statuses(..) => {
                "SELECT first_seen FROM statuses ORDER BY first_seen, sid LIMIT 1"
            }
        };
        let held = self.writer().hold().await.map_err(|error| error.to_string())?;
        let oldest = held.run(async |connection: &mut SqliteConnection| {
            sqlx::query_scalar::<_, String>(sql).fetch_optional(connection).await
        });
        let oldest = oldest.await.map_err(|error| error.to_string())?;
        Ok(oldest.as_deref().and_then(Timestamp::parse_rfc3339))
    }
}

/// Of what was sent, as much as of events.
async fn expire_notifications(
    writer: &Writer,
    cutoff: Timestamp,
) -> Result<u64, crate::pipeline::CommitError> {
    let held = writer.hold().await?;
    let run = async |connection: &mut SqliteConnection| {
        forget::expire(&mut SqliteSession(connection), cutoff).await
    };
    held.run(run).await
}

/// Runs a DELETE of at most [`ROWS_PER_STEP`] rows.
async fn delete(
    writer: &Writer,
    delete: Statement<'static>,
) -> Result<Step, crate::pipeline::CommitError> {
    let held = writer.hold().await?;
    let run = async |connection: &mut SqliteConnection| delete.execute(connection).await;
    let deleted = held.run(run).await?.rows_affected();
    Ok(if deleted < u64::from(ROWS_PER_STEP) { Step::Done(deleted) } else { Step::More(deleted) })
}

/// Nothing else writes while the connection is held, so the two statements see the same.
async fn delete_statuses(
    writer: &Writer,
    after: &mut (String, String),
    cutoff: Timestamp,
) -> Result<Step, crate::pipeline::CommitError> {
    let page = "SELECT first_seen, sid, account, coalesce(stored_at, updated) FROM statuses \
                WHERE first_seen < ?1 AND (first_seen, sid) > (?2, ?3) \
                ORDER BY first_seen, sid LIMIT ?4";
    let cutoff = cutoff.to_string();
    let page = sqlx::query_as(page).bind(&cutoff).bind(after.0.clone()).bind(after.1.clone());
    let held = writer.hold().await?;
    let run = async |connection: &mut SqliteConnection| {
        let page: Vec<(String, String, String, String)> =
            page.bind(ROWS_PER_STEP).fetch_all(&mut *connection).await?;
        let old = page.iter().filter(|(.., stored_at)| *stored_at < cutoff);
        let old: Vec<(&str, &str)> = old.map(|(_, sid, account, _)| (&**sid, &**account)).collect();
        let sql = "DELETE FROM statuses WHERE (sid, account) IN \
                   (SELECT value ->> 0, value ->> 1 FROM json_each(?))";
        let deleted = sqlx::query(sql).bind(Json(old)).execute(connection).await?;
        Ok((page, deleted.rows_affected()))
    };
    let (page, deleted) = held.run(run).await?;
    let last = page.last().filter(|_| page.len() == ROWS_PER_STEP as usize);
    *after = last.map(|(at, sid, ..)| (at.clone(), sid.clone())).unwrap_or_default();
    Ok(if last.is_some() { Step::More(deleted) } else { Step::Done(deleted) })
}

/// Asks for the clock, the time of the newest row, and the time until which the clocks were trusted in this place.
async fn look_out(
    writer: &Writer,
    sql: AssertSqlSafe<String>,
    place: &'static str,
) -> Result<Outlook, Cause> {
    let held = writer.hold().await.map_err(|error| error.to_string())?;
    let told = held.run(async |connection: &mut SqliteConnection| {
        sqlx::query_as::<_, (String, Option<String>, Option<String>)>(sql)
            .bind(place)
            .fetch_one(connection)
            .await
    });
    let (now, newest, trusted) = told.await.map_err(|error| error.to_string())?;
    let time = |text: Option<String>| text.as_deref().and_then(Timestamp::parse_rfc3339);
    Ok(Outlook { now: time(Some(now)), newest: time(newest), trusted: time(trusted) })
}

/// Keeps in the table `retention` until when the clocks were trusted.
async fn note_trust(
    writer: &Writer,
    place: &'static str,
    until: Option<Timestamp>,
) -> Result<(), Cause> {
    let query = match until {
        Some(until) => sqlx::query(
            "INSERT INTO retention (place, trusted) VALUES (?1, ?2) \
             ON CONFLICT (place) DO UPDATE SET trusted = excluded.trusted",
        )
        .bind(place)
        .bind(until.to_string()),
        None => sqlx::query("DELETE FROM retention WHERE place = ?1").bind(place),
    };
    let held = writer.hold().await.map_err(|error| error.to_string())?;
    let noted = held.run(async |connection: &mut SqliteConnection| query.execute(connection).await);
    noted.await.map(|_| ()).map_err(|error| error.to_string())
}
