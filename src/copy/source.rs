//! [`StoppedSource`]: an embedded deployment that no process serves, with all that it has taken in its file.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::backend::local_log::{self, Bounds, LocalLog, Release};
use crate::backend::sqlite::{self, CopySource, Database, SqliteStore};
use crate::event::Batch;
use crate::outage::Outage;
use crate::pipeline::pump::{Options, pump};
use crate::pipeline::{Cause, CommitError, Observed, Observer};
use crate::upkeep::checkpoint::CheckpointKeeper;
use crate::upkeep::old_spool;

/// Why a source cannot be copied.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// Its file cannot be opened.
    #[error("{0}")]
    File(#[from] sqlite::OpenError),
    /// Its log is not where it should be. Without it, events that wait there would be left behind.
    #[error(
        "its log is not at {0}: move it there, or name its directory with --log; if it never had one \
         (before 0.2), create an empty directory there"
    )]
    NoLog(PathBuf),
    /// Its log cannot be opened.
    #[error("{0}")]
    Log(#[from] local_log::OpenError),
    /// What waits in its log cannot be stored.
    #[error("{0}")]
    Drain(#[from] DrainError),
}

/// Why the events in the source's log cannot be moved to its file.
#[derive(Debug, thiserror::Error)]
pub enum DrainError {
    /// An earlier version left a spool, and it cannot be taken over.
    #[error(
        "a spool of an earlier version lies in its log and cannot be read: start the source with this version once"
    )]
    OldSpool,
    /// What was to be replayed cannot be appended.
    #[error("what is to be replayed cannot be appended to its log: {0}")]
    Replay(CommitError),
    /// The file does not take it.
    #[error("{left} events in its log cannot be stored in its file: {why}")]
    Store {
        /// How many.
        left: u64,
        /// Why not.
        why: Cause,
    },
}

/// An embedded deployment. As long as this lives, no other process can serve it.
#[derive(Debug)]
pub(super) struct StoppedSource {
    pub(super) path: PathBuf,
    pub(super) rows: CopySource,
    pub(super) log: LocalLog,
}

impl StoppedSource {
    /// Locks its file and its log, brings its tables up to date, and stores what waits in the log, as its own next start
    /// would. Also returns how many events waited.
    pub(super) async fn open(
        name: &str,
        log: &Path,
        bounds: Bounds,
    ) -> Result<(Self, u64), SourceError> {
        let database = Database::lock_existing(name)?;
        if !log.is_dir() {
            return Err(SourceError::NoLog(log.to_owned()));
        }
        let path = database.path().to_owned();
        let log = LocalLog::open(log, bounds).await?;
        let rows = CopySource::open(database).await?;
        let waited = drain(&log, rows.store().await?).await?;
        Ok((Self { path, rows, log }, waited))
    }
}

/// Moves the events that wait in the log to the file; how many there were.
async fn drain(log: &LocalLog, store: SqliteStore) -> Result<u64, DrainError> {
    if !old_spool::take_over(log, &Outage::default()).await {
        return Err(DrainError::OldSpool);
    }
    log.replay().await.map_err(DrainError::Replay)?;
    let waits = log.fill().events;
    let keeper = CheckpointKeeper {
        checkpoint: store.checkpoint(),
        log: log.clone(),
        outage: Outage::default(),
    };
    let (failure, finish) = (Arc::new(LastFailure::default()), CancellationToken::new());
    let sink = Observed::new(store, Arc::clone(&failure));
    let options = Options { grace: Duration::ZERO, ..Options::default() };
    let source = log.reader(Release::WhenTold);
    let pumping = pump(source, sink, Arc::clone(&failure), options, finish.clone());
    let drained = async {
        // As long as there is progress.
        let mut left = u64::MAX;
        while (1..left).contains(&log.fill().events) {
            left = log.fill().events;
            log.drained().await;
        }
        finish.cancel();
    };
    tokio::join!(pumping, drained);
    keeper.sync().await;
    match log.fill().events {
        0 => Ok(waits),
        left => Err(DrainError::Store { left, why: failure.cause() }),
    }
}

/// Remembers the last failed commit.
#[derive(Default)]
struct LastFailure(Mutex<Cause>);

impl LastFailure {
    fn cause(&self) -> Cause {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Observer for LastFailure {
    fn commit_failed(&self, _: &Batch, error: &CommitError, _: Duration) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = error.to_string();
    }
}
