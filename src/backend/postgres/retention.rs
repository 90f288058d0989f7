//! [`Retention`]: deletes what is old from the scale-out store, a page at a time.
//!
//! It never waits for a row that another transaction has locked, so it can neither hold up a commit nor
//! deadlock with one: such a row is left for the next time. A page that a commit waits for takes
//! milliseconds. Of several workers one deletes; the lock ends with the transaction, so it works
//! behind a pooler, and a process that dies does not keep it.

mod feed;

use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};
use time::OffsetDateTime;

pub use self::feed::FeedRetention;
use super::Postgres;
use crate::backend::sql::error::cause;
use crate::backend::sql::outbox::forget;
use crate::backend::sql::session::PostgresSession;
use crate::clock::Timestamp;
use crate::pipeline::Cause;
use crate::pipeline::expiry::{Expire, Outlook, Step};

/// Rows that one step looks at.
pub(super) const ROWS_PER_STEP: i64 = 500;

/// A page by the index of `stored_at`, from behind the last page, so that index entries of deleted rows, which a vacuum
/// has not removed yet, are not read each time. Returns what [`RetiredPage`] reads.
const EVENTS: &str = "
    WITH old AS (
        SELECT key, account, stored_at FROM events
        WHERE stored_at < $1 AND (stored_at, key) > ($2, $3)
        ORDER BY stored_at, key LIMIT $4
        FOR UPDATE SKIP LOCKED
    ), gone AS (
        DELETE FROM events USING old
        WHERE events.key = old.key AND events.account = old.account RETURNING 1
    )
    SELECT (SELECT count(*) FROM old), (SELECT count(*) FROM gone), stored_at, key
    FROM old ORDER BY stored_at DESC, key DESC LIMIT 1";

/// A page by the index of `first_seen`, since no index has `stored_at`, which each event of a SID changes: a status is
/// old when nothing was stored about its SID for long, and some that began long ago are not. Where a
/// receiver's clock was ahead, `first_seen` keeps a row for longer.
const STATUSES: &str = r#"
    WITH page AS (
        SELECT sid, account, first_seen FROM statuses
        WHERE first_seen < $1 AND (first_seen, sid) > ($2, $3)
        ORDER BY first_seen, sid LIMIT $4
    ), old AS (
        SELECT sid, account FROM statuses
        WHERE (sid, account) IN (SELECT sid, account FROM page)
          AND coalesce(stored_at, updated) < $1
        FOR UPDATE SKIP LOCKED
    ), gone AS (
        DELETE FROM statuses USING old
        WHERE statuses.sid = old.sid AND statuses.account = old.account
          AND coalesce(stored_at, updated) < $1 RETURNING 1
    )
    SELECT (SELECT count(*) FROM page), (SELECT count(*) FROM gone), first_seen, sid
    FROM page ORDER BY first_seen DESC, sid DESC LIMIT 1"#;

/// One table of the store.
#[derive(Clone, Copy, Debug)]
struct Table {
    delete: &'static str,
    oldest: &'static str,
    /// The server's clock, when the newest row was stored, and until when the clocks were trusted.
    outlook: &'static str,
    is_old: &'static str,
    /// The table's name in the table `retention`.
    place: &'static str,
    /// An arbitrary number, the same in every version.
    lock: i64,
}

/// Deletes what is old from one table.
#[derive(Debug)]
pub struct Retention {
    postgres: Postgres,
    table: Table,
    /// The last row that was looked at.
    after: (OffsetDateTime, String),
}

impl Retention {
    /// The rows of `events`, by when they were stored.
    #[must_use]
    pub fn of_events(postgres: Postgres) -> Self {
        let oldest = "SELECT stored_at FROM events ORDER BY stored_at, key LIMIT 1";
        let outlook = "SELECT clock_timestamp(), (SELECT max(stored_at) FROM events), \
                       (SELECT trusted FROM retention WHERE place = 'events')";
        let is_old = "SELECT EXISTS (SELECT 1 FROM events WHERE stored_at < $1)";
        let lock = 6_033_425_111_902;
        let table = Table { delete: EVENTS, oldest, outlook, is_old, place: "events", lock };
        Self { postgres, table, after: start() }
    }

    /// The rows of `statuses`, by when something was last stored about a SID.
    #[must_use]
    pub fn of_statuses(postgres: Postgres) -> Self {
        let oldest = "SELECT first_seen FROM statuses ORDER BY first_seen, sid LIMIT 1";
        // The newest event is that of a status, or came beside one; where none is kept, the SID that
        // began last stands for it.
        let outlook = "SELECT clock_timestamp(), greatest((SELECT max(stored_at) FROM events), \
                       (SELECT coalesce(stored_at, updated) FROM statuses \
                       ORDER BY first_seen DESC, sid DESC LIMIT 1)), \
                       (SELECT trusted FROM retention WHERE place = 'statuses')";
        let is_old = "SELECT EXISTS (SELECT 1 FROM statuses WHERE first_seen < $1 \
             AND coalesce(stored_at, updated) < $1)";
        let lock = 6_033_425_111_903;
        let table = Table { delete: STATUSES, oldest, outlook, is_old, place: "statuses", lock };
        Self { postgres, table, after: start() }
    }

    /// The page behind `after`; `None` if another worker is at it.
    async fn page(&self, cutoff: Timestamp) -> Result<Option<RetiredPage>, sqlx::Error> {
        let Table { delete, lock, .. } = self.table;
        let (at, id) = &self.after;
        self.postgres
            .run_limited(async |connection: &mut PgConnection, keep| {
                let ask = "SELECT pg_try_advisory_xact_lock($1)";
                let ask = sqlx::query_scalar(ask).bind(lock).persistent(keep);
                if !ask.fetch_one(&mut *connection).await? {
                    return Ok(None);
                }
                if self.table.place == "events" {
                    // Of what was sent, as much as of events.
                    let mut session = PostgresSession { connection: &mut *connection, keep };
                    forget::expire(&mut session, cutoff).await?;
                }
                let delete = sqlx::query(delete).bind(cutoff.datetime()).bind(at).bind(id);
                let delete = delete.bind(ROWS_PER_STEP).persistent(keep);
                let row = delete.fetch_optional(connection).await?;
                row.as_ref().map_or(Ok(RetiredPage::default()), RetiredPage::of).map(Some)
            })
            .await
    }
}

/// Before everything.
fn start() -> (OffsetDateTime, String) {
    (Timestamp::from_micros(i64::MIN).datetime(), String::new())
}

/// What was looked at.
#[derive(Default)]
struct RetiredPage {
    rows: i64,
    deleted: i64,
    last: Option<(OffsetDateTime, String)>,
}

impl RetiredPage {
    fn of(row: &PgRow) -> Result<Self, sqlx::Error> {
        let last = Some((row.try_get(2)?, row.try_get(3)?));
        Ok(Self { rows: row.try_get(0)?, deleted: row.try_get(1)?, last })
    }
}

impl Expire for Retention {
    async fn step(&mut self, cutoff: Timestamp) -> Result<Step, Cause> {
        let page = self.page(cutoff).await.map_err(|error| cause(&error))?;
        let Some(RetiredPage { rows, deleted, last }) = page else {
            self.after = start();
            return Ok(Step::Taken);
        };
        let deleted = deleted.unsigned_abs();
        match last.filter(|_| rows == ROWS_PER_STEP) {
            Some(last) => {
                self.after = last;
                Ok(Step::More(deleted))
            }
            None => {
                self.after = start();
                Ok(Step::Done(deleted))
            }
        }
    }

    async fn outlook(&mut self) -> Result<Outlook, Cause> {
        look_out(&self.postgres, self.table.outlook).await
    }

    async fn trust(&mut self, until: Option<Timestamp>) -> Result<(), Cause> {
        note_trust(&self.postgres, self.table.place, until).await
    }

    async fn is_old(&mut self, cutoff: Timestamp) -> Result<bool, Cause> {
        let sql = self.table.is_old;
        let ask = async |connection: &mut PgConnection, keep| {
            sqlx::query_scalar(sql)
                .bind(cutoff.datetime())
                .persistent(keep)
                .fetch_one(connection)
                .await
        };
        self.postgres.run_limited(ask).await.map_err(|error| cause(&error))
    }

    async fn oldest(&mut self) -> Result<Option<Timestamp>, Cause> {
        let sql = self.table.oldest;
        let ask = async |connection: &mut PgConnection, keep| {
            sqlx::query_scalar(sql).persistent(keep).fetch_optional(connection).await
        };
        let oldest = self.postgres.run_limited(ask).await.map_err(|error| cause(&error))?;
        Ok(oldest.map(|at: OffsetDateTime| at.into()))
    }
}

/// Asks for the server's clock, the time of the newest row, and the time until which the clocks were trusted.
async fn look_out(postgres: &Postgres, sql: &'static str) -> Result<Outlook, Cause> {
    let ask = async |connection: &mut PgConnection, keep| {
        sqlx::query_as(sql).persistent(keep).fetch_one(connection).await
    };
    let told: Result<(OffsetDateTime, Option<OffsetDateTime>, Option<OffsetDateTime>), _> =
        postgres.run_limited(ask).await;
    let (now, newest, trusted) = told.map_err(|error| cause(&error))?;
    Ok(Outlook {
        now: Some(now.into()),
        newest: newest.map(Into::into),
        trusted: trusted.map(Into::into),
    })
}

/// Keeps in the table `retention` until when the clocks were trusted.
async fn note_trust(
    postgres: &Postgres,
    place: &'static str,
    until: Option<Timestamp>,
) -> Result<(), Cause> {
    let note = async |connection: &mut PgConnection, keep| {
        let query = match until {
            Some(until) => sqlx::query(
                "INSERT INTO retention (place, trusted) VALUES ($1, $2) \
                 ON CONFLICT (place) DO UPDATE SET trusted = excluded.trusted",
            )
            .bind(place)
            .bind(until.datetime()),
            // Only writes where there is something to forget.
            None => sqlx::query("DELETE FROM retention WHERE place = $1").bind(place),
        };
        query.persistent(keep).execute(connection).await
    };
    let noted = postgres.run_limited(note).await;
    noted.map(|_| ()).map_err(|error| cause(&error))
}
