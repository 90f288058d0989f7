//! The embedded store: one SQLite file, one process.

mod bind;
mod checkpoint;
mod copy;
mod feed;
mod forwards;
mod group;
mod handles;
mod outbox;
mod purge;
mod query;
mod retention;
mod spool;
mod store;
mod writer;

use std::fs::{DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::fs::OFlags;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, SqliteConnection};

pub use self::checkpoint::Checkpoint;
pub use self::copy::CopySource;
pub use self::feed::Feed;
pub use self::forwards::Forwards;
pub use self::handles::{Handles, Health};
pub use self::outbox::Outbox;
pub use self::purge::RowPurge;
pub use self::query::Query;
pub use self::retention::{FeedRetention, Retention};
pub use self::spool::{OldRow, OldSpool};
pub use self::store::SqliteStore;
use super::BackendError;
use super::tables::migrations;
use crate::pipeline::Cause;

/// Pages of the WAL after which they are copied into the file, and it begins anew: 128 MiB. The longer it
/// grows, the fewer pages are copied more than once.
const LOG_PAGES: &str = "32000";
/// Kibibytes of pages that the connection that writes keeps in memory. A transaction of 2,000 events touches
/// as many pages of each index; those for which there is no room are written and read more than once.
const WRITER_CACHE: &str = "-16000";

/// Longest wait for another program that writes the file.
const BUSY: Duration = Duration::from_secs(5);
/// Sets it again.
const BUSY_AGAIN: &str = "PRAGMA busy_timeout = 5000";

/// A SQLite file that belongs to this process, until it is dropped.
#[derive(Debug)]
pub struct Database {
    path: PathBuf,
    /// Why nothing is written to it any more.
    failure: OnceLock<Cause>,
    /// The inode of the WAL that its directory names on the disk, too.
    named: AtomicU64,
    /// Locked while it is open.
    _lock: File,
}

/// Why the file cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The URL is not valid, or names a database in memory, which loses everything.
    #[error("`{0}` is not a `sqlite:` URL of a file, such as sqlite:offhook.db")]
    Url(String),
    /// The directory or the lock file cannot be made.
    #[error("cannot open {path}: {error}")]
    File {
        /// What was to be opened.
        path: PathBuf,
        /// Why not.
        error: std::io::Error,
    },
    /// It should be there, and is not.
    #[error("{0} does not exist")]
    Missing(PathBuf),
    /// Another process has it.
    #[error(
        "{0} is in use by another offhook process: stop that one, or give this one a place of its \
         own; several processes that share a store need Postgres"
    )]
    InUse(PathBuf),
    /// SQLite refuses it.
    #[error("cannot open {path}: {error}")]
    Database {
        /// The file.
        path: PathBuf,
        /// Why not.
        error: BackendError,
    },
}

impl Database {
    /// Takes the file of a `sqlite:` URL for this process, making it and its directory if need be.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn lock(url: &str) -> Result<Self, OpenError> {
        Self::lock_file(path_of(url)?)
    }

    /// Takes a file that is there for this process: named by its path, or by a `sqlite:` URL.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn lock_existing(name: &str) -> Result<Self, OpenError> {
        let path = match name.starts_with("sqlite:") {
            true => path_of(name)?,
            false => PathBuf::from(name),
        };
        if !path.is_file() {
            return Err(OpenError::Missing(path));
        }
        Self::lock_file(path)
    }

    /// Takes a file for this process, making it and its directory if need be.
    fn lock_file(path: PathBuf) -> Result<Self, OpenError> {
        if let Some(directory) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(directory)
                .map_err(|error| OpenError::File { path: directory.to_owned(), error })?;
        }
        let mut lock_path = path.clone().into_os_string();
        lock_path.push(".lock");
        let lock_path = PathBuf::from(lock_path);
        // Beside the file rather than on it, so that other tools may read it.
        let lock = own_file(&lock_path)
            .map_err(|error| OpenError::File { path: lock_path.clone(), error })?;
        match lock.try_lock() {
            Ok(()) => {
                own_files(&path)?;
                Ok(Self { path, failure: OnceLock::new(), named: AtomicU64::new(0), _lock: lock })
            }
            Err(TryLockError::WouldBlock) => Err(OpenError::InUse(path)),
            Err(TryLockError::Error(error)) => Err(OpenError::File { path: lock_path, error }),
        }
    }

    /// Brings the tables up to date.
    ///
    /// # Errors
    /// The file is not a database, is newer than this version, or cannot be written.
    pub async fn migrate(&self) -> Result<(), OpenError> {
        let mut connection = self.connect().await?;
        let migrated = migrations!("sqlite").run(&mut connection).await;
        migrated.map_err(|error| OpenError::Database {
            path: self.path.clone(),
            error: BackendError(format!("migrations: {error}")),
        })?;
        let closed = connection.close().await;
        closed.map_err(|error| self.error(error))
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Why nothing is written to it any more, if so.
    #[must_use]
    pub fn failure(&self) -> Option<&str> {
        self.failure.get().map(String::as_str)
    }

    /// The WAL, as it is now.
    fn open_wal(&self) -> io::Result<File> {
        let mut wal = self.path.as_os_str().to_owned();
        wal.push("-wal");
        File::open(PathBuf::from(wal))
    }

    /// Syncs the WAL; of one that was made since, also the directory that names it.
    fn sync(&self, wal: &File) -> io::Result<()> {
        wal.sync_data()?;
        let inode = wal.metadata()?.ino();
        if self.named.load(Ordering::Acquire) != inode {
            let directory = self.path.parent().filter(|parent| !parent.as_os_str().is_empty());
            File::open(directory.unwrap_or(Path::new(".")))?.sync_all()?;
            self.named.store(inode, Ordering::Release);
        }
        Ok(())
    }

    /// Never writes to it again; what to say about that.
    fn fail(&self, cause: Cause) -> Cause {
        let path = self.path.display();
        let text = format!(
            "{path} could not be synced ({cause}) and is not written any more: look at its disk, \
             then start offhook again"
        );
        self.failure.get_or_init(|| text).clone()
    }

    async fn connect(&self) -> Result<SqliteConnection, OpenError> {
        let options = options(&self.path).pragma("cache_size", WRITER_CACHE);
        options.connect().await.map_err(|error| self.error(error))
    }

    fn error(&self, error: sqlx::Error) -> OpenError {
        OpenError::Database { path: self.path.clone(), error: error.into() }
    }
}

/// Opens a file for writing, and makes it if need be: this user's own, and none that a link leads to, which
/// another may have put there.
fn own_file(path: &Path) -> std::io::Result<File> {
    let no_link = OFlags::NOFOLLOW.bits().cast_signed();
    let mut options = File::options();
    options.create(true).truncate(false).write(true).mode(0o600).custom_flags(no_link);
    options.open(path)
}

/// Makes the file before SQLite does, whose own would be read by everybody; those beside it get its mode.
fn own_files(path: &Path) -> Result<(), OpenError> {
    for suffix in ["", "-wal", "-shm", "-journal"] {
        let mut file = path.as_os_str().to_owned();
        file.push(suffix);
        let file = PathBuf::from(file);
        if file.is_symlink() {
            let error = std::io::Error::other("it is a symbolic link, which may lead anywhere");
            return Err(OpenError::File { path: file, error });
        }
    }
    // One that cannot be written is what SQLite has something to say about.
    let _ = own_file(path);
    Ok(())
}

fn path_of(url: &str) -> Result<PathBuf, OpenError> {
    let no_file = || OpenError::Url(url.to_owned());
    let options = SqliteConnectOptions::from_str(url).map_err(|_| no_file())?;
    let path = options.get_filename();
    let memory = url.contains(":memory:") || url.contains("mode=memory");
    if memory || path.as_os_str().is_empty() || path.is_dir() {
        return Err(no_file());
    }
    Ok(path.to_owned())
}

/// WAL with `synchronous=NORMAL`: a commit outlives this process when it returns, and a power cut once
/// [`SqliteStore::checkpoint`] has. Until then the local log has what it holds.
fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Normal)
        // In case no checkpoint is requested. This one would report to no one that a sync has failed; the next one
        // copies everything again.
        .pragma("wal_autocheckpoint", LOG_PAGES)
        // An INSERT of many rows keeps what it may have to undo, which would be a file each time.
        .pragma("temp_store", "MEMORY")
        .busy_timeout(BUSY)
        // A row that moves to another page is overwritten where it was, which costs no I/O: else a
        // purge would leave what it cannot find.
        .pragma("secure_delete", "FAST")
        // An INSERT of each number of rows into events, two into statuses, one into changes with and without
        // the end of the transaction, and the others.
        .statement_cache_capacity(5 * store::ROWS + 32)
        .disable_statement_logging()
}
