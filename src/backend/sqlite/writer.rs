//! [`Writer`]: the one connection that writes a file, opened anew after a failure.

use std::sync::Arc;
use std::time::Duration;

use sqlx::SqliteConnection;
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::timeout;

use super::Database;
use crate::backend::rows;
use crate::pipeline::CommitError;

/// A disk that takes longer than this is as good as gone; a commit on a spinning one takes 20 ms.
const PATIENCE: Duration = Duration::from_secs(8);

/// Writes one file.
#[derive(Debug)]
pub(super) struct Writer {
    /// Empty after a failure: what state it is in is then unknown.
    connection: Mutex<Option<SqliteConnection>>,
    database: Arc<Database>,
}

impl Writer {
    pub(super) fn new(database: Arc<Database>) -> Self {
        Self { connection: Mutex::new(None), database }
    }

    /// The connection, for one transaction.
    ///
    /// # Errors
    /// The file cannot be opened, or its disk has failed before.
    pub(super) async fn hold(&self) -> Result<Held<'_>, CommitError> {
        let mut slot = self.connection.lock().await;
        if let Some(failure) = self.database.failure() {
            return Err(CommitError::Transient(failure.to_owned()));
        }
        let connection = match slot.take() {
            Some(connection) => connection,
            None => {
                let opened = self.database.connect().await;
                opened.map_err(|error| CommitError::Transient(error.to_string()))?
            }
        };
        Ok(Held { connection, slot, database: &self.database })
    }
}

/// A connection that is given back only after a success.
pub(super) struct Held<'w> {
    pub(super) connection: SqliteConnection,
    slot: MutexGuard<'w, Option<SqliteConnection>>,
    database: &'w Database,
}

impl Held<'_> {
    /// Runs a transaction, in bounded time.
    ///
    /// # Errors
    /// What SQLite says; the connection is then dropped. If syncing failed, nobody knows what is on
    /// the disk: a second sync would succeed and prove nothing, so the file is never written again.
    pub(super) async fn run<T>(
        mut self,
        work: impl AsyncFnOnce(&mut SqliteConnection) -> Result<T, sqlx::Error>,
    ) -> Result<T, CommitError> {
        let late = |_| CommitError::Transient("the disk took too long".to_owned());
        let done = timeout(PATIENCE, work(&mut self.connection)).await.map_err(late)?;
        match done {
            Ok(value) => {
                *self.slot = Some(self.connection);
                Ok(value)
            }
            Err(error) => Err(self.classify(&error)),
        }
    }

    fn classify(&self, error: &sqlx::Error) -> CommitError {
        /// `SQLITE_FULL`: the disk is.
        const FULL: &str = "13";
        /// `SQLITE_IOERR_FSYNC` and `SQLITE_IOERR_DIR_FSYNC`.
        const NOT_SYNCED: [&str; 2] = ["1034", "1290"];
        let code = error.as_database_error().and_then(|error| error.code());
        match code.as_deref() {
            Some(FULL) => CommitError::Full(rows::cause(error)),
            Some(code) if NOT_SYNCED.contains(&code) => {
                CommitError::Transient(self.database.fail(rows::cause(error)))
            }
            _ => CommitError::Transient(rows::cause(error)),
        }
    }
}
