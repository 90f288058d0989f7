//! [`FeedRetention`]: deletes what is old from the change feed, from its beginning, and notes how far: a reader that
//! had not come as far must hear of it.

use std::sync::Arc;

use sqlx::{AssertSqlSafe, SqliteConnection};

use super::{ROWS_PER_STEP, look_out, note_trust};
use crate::backend::sqlite::store::{NOW, SqliteStore};
use crate::backend::sqlite::writer::Writer;
use crate::clock::Timestamp;
use crate::pipeline::Cause;
use crate::pipeline::expiry::{Expire, Outlook, Step};

/// The feed's name in the table `retention`.
const PLACE: &str = "changes";

/// Deletes what is old from the change feed.
#[derive(Debug)]
pub struct FeedRetention(Arc<Writer>);

impl FeedRetention {
    /// The rows of `changes`, by when they were stored.
    #[must_use]
    pub fn new(store: &SqliteStore) -> Self {
        Self(Arc::clone(&store.0))
    }

    async fn run<T>(
        &self,
        work: impl AsyncFnOnce(&mut SqliteConnection) -> Result<T, sqlx::Error>,
    ) -> Result<T, Cause> {
        let held = self.0.hold().await.map_err(|error| error.to_string())?;
        held.run(work).await.map_err(|error| error.to_string())
    }
}

impl Expire for FeedRetention {
    async fn step(&mut self, cutoff: Timestamp) -> Result<Step, Cause> {
        let cutoff = cutoff.to_string();
        let delete = async |connection: &mut SqliteConnection| {
            let page = "SELECT id, stored_at FROM changes ORDER BY id LIMIT ?";
            let page: Vec<(i64, String)> =
                sqlx::query_as(page).bind(ROWS_PER_STEP).fetch_all(&mut *connection).await?;
            let old: Vec<i64> =
                page.iter().take_while(|(_, at)| *at < cutoff).map(|(id, _)| *id).collect();
            // No sender has taken them. Each came with a change, so that they end with those.
            let forget = "DELETE FROM wakes WHERE at < ?1 \
                          AND id IN (SELECT id FROM wakes ORDER BY id LIMIT ?2)";
            let forget = sqlx::query(forget).bind(&cutoff).bind(ROWS_PER_STEP);
            forget.execute(&mut *connection).await?;
            let Some(last) = old.last() else { return Ok(0) };
            // Nothing else writes, so each statement sees what the one before has left.
            sqlx::query("BEGIN IMMEDIATE").execute(&mut *connection).await?;
            let delete = sqlx::query("DELETE FROM changes WHERE id <= ?").bind(last);
            delete.execute(&mut *connection).await?;
            let note = sqlx::query("UPDATE feed SET cut = max(cut, ?)").bind(last);
            note.execute(&mut *connection).await?;
            sqlx::query("COMMIT").execute(connection).await?;
            Ok(old.len())
        };
        let deleted = self.run(delete).await?;
        let is_full = deleted == ROWS_PER_STEP as usize;
        let deleted = deleted as u64;
        Ok(if is_full { Step::More(deleted) } else { Step::Done(deleted) })
    }

    async fn outlook(&mut self) -> Result<Outlook, Cause> {
        let sql = format!(
            "SELECT {NOW}, (SELECT stored_at FROM changes ORDER BY id DESC LIMIT 1), \
             (SELECT trusted FROM retention WHERE place = ?)"
        );
        look_out(&self.0, AssertSqlSafe(sql), PLACE).await
    }

    async fn trust(&mut self, until: Option<Timestamp>) -> Result<(), Cause> {
        note_trust(&self.0, PLACE, until).await
    }

    async fn oldest(&mut self) -> Result<Option<Timestamp>, Cause> {
        let ask = async |connection: &mut SqliteConnection| {
            sqlx::query_scalar::<_, String>("SELECT stored_at FROM changes ORDER BY id LIMIT 1")
                .fetch_optional(connection)
                .await
        };
        let oldest = self.run(ask).await?;
        Ok(oldest.as_deref().and_then(Timestamp::parse_rfc3339))
    }
}
