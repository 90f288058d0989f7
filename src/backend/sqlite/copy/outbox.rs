//! What an embedded store has of the outbox.

use sqlx::{AssertSqlSafe, Connection as _, Executor as _};

use super::CopySource;
use crate::backend::BackendError;
use crate::backend::copy::{COPIED, OutboxKeys, OutboxRow, OutboxTable, ROWS_PER_PAGE};
use crate::backend::sqlite::store::NOW;

impl CopySource {
    /// The keys of its outbox, if it has sent or suppresses anything.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn outbox(&mut self) -> Result<Option<OutboxKeys>, BackendError> {
        let sql = "SELECT secret, suppression, identity FROM outbox \
                   WHERE EXISTS (SELECT 1 FROM notifications) OR EXISTS (SELECT 1 FROM suppressions) \
                   OR EXISTS (SELECT 1 FROM campaigns) \
                   OR EXISTS (SELECT 1 FROM consents)";
        let found: Option<(String, Option<String>, Option<String>)> =
            sqlx::query_as(sql).fetch_optional(&mut self.connection).await?;
        Ok(found.map(|(secret, suppression, identity)| OutboxKeys {
            secret,
            suppression,
            identity,
        }))
    }

    /// Holds its outbox, so that it does not send what its copy will, if it is served again. On disk when this returns.
    ///
    /// # Errors
    /// The file cannot be written.
    pub async fn hold_outbox(&mut self) -> Result<(), BackendError> {
        self.connection.execute("PRAGMA synchronous = FULL").await?;
        let mut transaction = self.connection.begin().await?;
        let sql = format!(
            "UPDATE outbox SET held = coalesce(held, ?), held_at = coalesce(held_at, {NOW})"
        );
        sqlx::query(AssertSqlSafe(sql)).bind(COPIED).execute(&mut *transaction).await?;
        Ok(transaction.commit().await?)
    }

    /// The rows of a table behind a place; none at the end.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn outbox_rows(
        &mut self,
        table: OutboxTable,
        after: i64,
    ) -> Result<Vec<OutboxRow>, BackendError> {
        let table = table.as_str();
        let columns: Vec<String> = sqlx::query_scalar("SELECT name FROM pragma_table_info(?)")
            .bind(table)
            .fetch_all(&mut self.connection)
            .await?;
        let columns: Vec<_> =
            columns.iter().map(|column| format!("'{column}', \"{column}\"")).collect();
        let sql = format!(
            "SELECT rowid, json_object({}) FROM {table} WHERE rowid > ? ORDER BY rowid LIMIT {ROWS_PER_PAGE}",
            columns.join(", ")
        );
        let rows: Vec<(i64, sqlx::types::Json<serde_json::Value>)> =
            sqlx::query_as(AssertSqlSafe(sql)).bind(after).fetch_all(&mut self.connection).await?;
        Ok(rows.into_iter().map(|(place, json)| OutboxRow { place, columns: json.0 }).collect())
    }
}
