//! [`FeedRetention`]: deletes what is old from the change feed, from its beginning, and notes how far: a reader that
//! had not come as far must hear of it.

use sqlx::PgConnection;
use time::OffsetDateTime;

use super::{ROWS_PER_STEP, look_out, note_trust};
use crate::backend::postgres::Postgres;
use crate::backend::sql::error::cause;
use crate::clock::Timestamp;
use crate::pipeline::Cause;
use crate::pipeline::expiry::{Expire, Outlook, Step};

/// A page of the oldest changes, up to the first one that is not old. It begins behind the previous cut, so that index
/// entries of deleted rows, which a vacuum has not removed yet, are not read each time. With them go as many wakes that no
/// sender has taken: each came with a change, so they end with them.
const DELETE: &str = "
    WITH page AS (
        SELECT id, stored_at FROM changes
        WHERE id > (SELECT cut FROM feed) ORDER BY id LIMIT $2
    ), old AS (
        SELECT id FROM page
        WHERE id < coalesce((SELECT min(id) FROM page WHERE stored_at >= $1), 9223372036854775807)
    ), gone AS (
        DELETE FROM changes USING old WHERE changes.id = old.id RETURNING 1
    ), noted AS (
        UPDATE feed SET cut = greatest(cut, (SELECT max(id) FROM old))
        WHERE EXISTS (SELECT 1 FROM old) RETURNING 1
    ), missed AS (
        SELECT id, at FROM wakes ORDER BY id LIMIT $2 FOR UPDATE SKIP LOCKED
    ), forgotten AS (
        DELETE FROM wakes USING missed WHERE wakes.id = missed.id AND missed.at < $1
    )
    SELECT (SELECT count(*) FROM old), (SELECT count(*) FROM gone)";
const OLDEST: &str = "SELECT stored_at FROM changes ORDER BY id LIMIT 1";
const OUTLOOK: &str = "SELECT clock_timestamp(), \
    (SELECT stored_at FROM changes ORDER BY id DESC LIMIT 1), \
    (SELECT trusted FROM retention WHERE place = 'changes')";
/// The feed's name in the table `retention`.
const PLACE: &str = "changes";
/// An arbitrary number, the same in every version.
const LOCK: i64 = 6_033_425_111_905;

/// Deletes what is old from the change feed.
#[derive(Debug)]
pub struct FeedRetention(Postgres);

impl FeedRetention {
    /// The rows of `changes`, by when they were stored.
    #[must_use]
    pub fn new(postgres: Postgres) -> Self {
        Self(postgres)
    }
}

impl Expire for FeedRetention {
    async fn step(&mut self, cutoff: Timestamp) -> Result<Step, Cause> {
        let delete = async |connection: &mut PgConnection, keep| {
            let ask = "SELECT pg_try_advisory_xact_lock($1)";
            let ask = sqlx::query_scalar(ask).bind(LOCK).persistent(keep);
            if !ask.fetch_one(&mut *connection).await? {
                return Ok(None);
            }
            let delete = sqlx::query_as(DELETE).bind(cutoff.datetime()).bind(ROWS_PER_STEP);
            delete.persistent(keep).fetch_one(connection).await.map(Some)
        };
        let deleted: Result<Option<(i64, i64)>, _> = self.0.run_limited(delete).await;
        Ok(match deleted.map_err(|error| cause(&error))? {
            None => Step::Taken,
            Some((ROWS_PER_STEP, gone)) => Step::More(gone.unsigned_abs()),
            Some((_, gone)) => Step::Done(gone.unsigned_abs()),
        })
    }

    async fn outlook(&mut self) -> Result<Outlook, Cause> {
        look_out(&self.0, OUTLOOK).await
    }

    async fn trust(&mut self, until: Option<Timestamp>) -> Result<(), Cause> {
        note_trust(&self.0, PLACE, until).await
    }

    async fn oldest(&mut self) -> Result<Option<Timestamp>, Cause> {
        let ask = async |connection: &mut PgConnection, keep| {
            sqlx::query_scalar(OLDEST).persistent(keep).fetch_optional(connection).await
        };
        let oldest = self.0.run_limited(ask).await.map_err(|error| cause(&error))?;
        Ok(oldest.map(|at: OffsetDateTime| at.into()))
    }
}
