//! [`Writer`]: the one connection that writes a file, opened anew after a failure.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sqlx::{Executor as _, SqliteConnection};
use tokio::sync::{Mutex, OwnedMutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::Database;
use super::group::Group;
use crate::backend::sql::error::cause;
use crate::backend::{BackendError, FeedWatch};
use crate::pipeline::CommitError;

/// A disk that takes longer than this is as good as gone; a commit on a spinning one takes 20 ms.
const DISK_TIMEOUT: Duration = Duration::from_secs(8);

/// A statement that is not run yet.
pub(super) type Statement<'q> = sqlx::query::Query<'q, sqlx::Sqlite, sqlx::sqlite::SqliteArguments>;

/// Writes one file.
#[derive(Debug)]
pub(super) struct Writer {
    /// Empty after a failure: what state it is in is then unknown.
    connection: Arc<Mutex<Option<SqliteConnection>>>,
    database: Arc<Database>,
    /// Whether something was written since the last checkpoint.
    dirty: AtomicBool,
    /// Up to which change the WAL is known to be on the disk. Locked while it is brought there.
    synced: Mutex<i64>,
    /// Whether something was written since the WAL was last brought to the disk.
    behind: AtomicBool,
    /// Held by each read of the feed, and alone by a checkpoint. A reader that began before the last commit keeps that
    /// from being copied, and the WAL from beginning anew; and readers of the feed, which each commit wakes, read all
    /// the time.
    feed_reads: RwLock<()>,
    /// What is committed together.
    pub(super) group: Group,
    /// Told of what was committed.
    pub(super) feed_watch: FeedWatch,
}

impl Writer {
    pub(super) fn new(database: Arc<Database>) -> Self {
        Self {
            connection: Arc::default(),
            group: Group::default(),
            database,
            synced: Mutex::new(0),
            dirty: AtomicBool::new(true),
            behind: AtomicBool::new(true),
            feed_reads: RwLock::new(()),
            feed_watch: FeedWatch::default(),
        }
    }

    /// The file.
    pub(super) fn database(&self) -> &Arc<Database> {
        &self.database
    }

    /// The connection, for one transaction.
    ///
    /// # Errors
    /// The file cannot be opened, or its disk has failed before.
    pub(super) async fn hold(&self) -> Result<HeldConnection, CommitError> {
        let mut slot = Arc::clone(&self.connection).lock_owned().await;
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
        self.dirty.store(true, Ordering::Release);
        self.behind.store(true, Ordering::Release);
        Ok(HeldConnection { connection, slot, database: Arc::clone(&self.database) })
    }

    /// The lock for one read of the feed, which ends in bounded time.
    pub(super) async fn feed_read(&self) -> RwLockReadGuard<'_, ()> {
        self.feed_reads.read().await
    }

    /// While nothing reads the feed. Taken before the connection, so that no commit waits for a reader.
    pub(super) async fn no_feed_read(&self) -> RwLockWriteGuard<'_, ()> {
        self.feed_reads.write().await
    }

    pub(super) fn is_dirty(&self) -> bool {
        self.dirty.load(Ordering::Acquire)
    }

    /// Brings the WAL to the disk. A checkpoint does so too, but all at once, and callbacks whose sync meets
    /// that wait for as long as it takes.
    pub(super) async fn bring_to_disk(&self) {
        if !self.behind.swap(false, Ordering::AcqRel) {
            return;
        }
        // A disk that fails is remembered, and the next transaction says so; one that is late, the checkpoint waits for.
        let _ = sync_wal(&self.database).await;
    }

    /// Syncs the commits up to this change, which a reader has seen and so is committed, and waits for the sync.
    ///
    /// # Errors
    /// The disk does not work, or not in time.
    pub(super) async fn sync_changes(&self, up_to: i64) -> Result<(), BackendError> {
        let mut synced = self.synced.lock().await;
        if *synced < up_to {
            sync_wal(&self.database).await.map_err(|error| BackendError(error.to_string()))?;
            *synced = up_to;
        }
        Ok(())
    }

    /// Copies what was committed into the file, and syncs it; whether that was all of it. A reader that
    /// began long ago keeps some of it from being copied.
    pub(super) async fn checkpoint(&self) -> Result<bool, CommitError> {
        let _alone = self.no_feed_read().await;
        let held = self.hold().await?;
        let pragma = "PRAGMA wal_checkpoint(PASSIVE)";
        let run = async |connection: &mut SqliteConnection| {
            sqlx::query_as::<_, (i64, i64, i64)>(pragma).fetch_one(connection).await
        };
        // Nothing is written while it is held, so what is not copied now was not written before.
        self.dirty.store(false, Ordering::Release);
        let done = held.run(run).await;
        let all = matches!(done, Ok((0, log, copied)) if log == copied);
        if !all {
            self.dirty.store(true, Ordering::Release);
        }
        done.map(|_| all)
    }
}

/// Brings the WAL to the disk, with all that was committed before.
///
/// # Errors
/// The disk does not work, now or since before, and so is not written any more; or it did not do so in time.
async fn sync_wal(database: &Arc<Database>) -> Result<(), CommitError> {
    if let Some(failure) = database.failure() {
        return Err(CommitError::Transient(failure.to_owned()));
    }
    let file = Arc::clone(database);
    // SQLite takes no lock on the WAL, which closing it here would release.
    let sync = spawn_blocking(move || {
        let wal = file.open_wal().map_err(|error| error.to_string())?;
        // Remembered here, since it may be known too late for the one that waits: the next sync would prove nothing.
        file.sync(&wal).map_err(|error| file.fail(error.to_string()))
    });
    let ended = in_time(sync).await?;
    ended.unwrap_or_else(|error| Err(error.to_string())).map_err(CommitError::Transient)
}

/// Waits for what SQLite does, as long as a disk that works may take for it.
///
/// # Errors
/// It took longer.
pub(super) async fn in_time<T>(work: impl Future<Output = T>) -> Result<T, CommitError> {
    let late = |_| CommitError::Late("the disk took too long".to_owned());
    timeout(DISK_TIMEOUT, work).await.map_err(late)
}

/// A connection that is given back only after a success.
#[derive(Debug)]
pub(super) struct HeldConnection {
    pub(super) connection: SqliteConnection,
    slot: OwnedMutexGuard<Option<SqliteConnection>>,
    database: Arc<Database>,
}

impl HeldConnection {
    /// Runs a transaction, in bounded time.
    ///
    /// # Errors
    /// What SQLite says; the connection is then dropped. If syncing failed, it is unknown what is on
    /// the disk: a second sync would succeed and prove nothing, so the file is never written again.
    pub(super) async fn run<T>(
        mut self,
        work: impl AsyncFnOnce(&mut SqliteConnection) -> Result<T, sqlx::Error>,
    ) -> Result<T, CommitError> {
        let done = in_time(work(&mut self.connection)).await?;
        let value = done.map_err(|error| self.classify(&error))?;
        self.give_back();
        Ok(value)
    }

    /// Runs a statement of a transaction, in bounded time.
    ///
    /// # Errors
    /// As [`run`](Self::run); the connection is then to be dropped, or rolled back.
    pub(super) async fn execute(&mut self, statement: &'static str) -> Result<(), CommitError> {
        let done = in_time(self.connection.execute(statement)).await?;
        done.map(|_| ()).map_err(|error| self.classify(&error))
    }

    /// For the next transaction.
    pub(super) fn give_back(mut self) {
        *self.slot = Some(self.connection);
    }

    /// What it means for the transaction that a statement failed.
    pub(super) fn classify(&self, error: &sqlx::Error) -> CommitError {
        /// `SQLITE_TOOBIG`, `SQLITE_CONSTRAINT` (a trigger that a user added raises it) and
        /// `SQLITE_MISMATCH`, without what says more about them.
        const OF_DATA: [u32; 3] = [18, 19, 20];
        /// `SQLITE_FULL`: the disk is.
        const FULL: &str = "13";
        /// `SQLITE_IOERR_FSYNC` and `SQLITE_IOERR_DIR_FSYNC`.
        const NOT_SYNCED: [&str; 2] = ["1034", "1290"];
        let code = error.as_database_error().and_then(|error| error.code());
        match code.as_deref() {
            Some(FULL) => CommitError::Full(cause(error)),
            Some(code) if NOT_SYNCED.contains(&code) => {
                CommitError::Transient(self.database.fail(cause(error)))
            }
            Some(code) if code.parse().is_ok_and(|code: u32| OF_DATA.contains(&(code & 0xff))) => {
                CommitError::Refused(cause(error))
            }
            _ => CommitError::Transient(cause(error)),
        }
    }
}
