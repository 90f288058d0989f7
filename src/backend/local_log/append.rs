//! How a batch is appended: one write and one sync, on a thread that may block.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use tokio::sync::OwnedMutexGuard;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout_at};

use super::record::Frames;
use super::state::Fill;
use super::{DISK_TIMEOUT, Inner, LocalLog, files, lock};
use crate::crash_points::{self, Point};
use crate::pipeline::{Cause, CommitError};

/// Most records of one append.
const BATCH: usize = 256;

/// The file that is written; `None` before the first event.
#[derive(Debug, Default)]
pub(super) struct Writing(pub(super) Option<Active>);

/// A file with room for events.
#[derive(Debug)]
pub(super) struct Active {
    pub(super) number: u64,
    file: File,
    at: u64,
    length: u64,
}

impl LocalLog {
    /// Appends records of these fields, be they events or not.
    ///
    /// # Errors
    /// The same as for a commit.
    pub async fn append_fields(&self, records: &[Vec<(Bytes, Bytes)>]) -> Result<(), CommitError> {
        for records in records.chunks(BATCH) {
            let mut frames = Frames::default();
            records.iter().for_each(|fields| frames.push(fields));
            self.append(frames).await?;
        }
        Ok(())
    }

    /// Appends, and returns once it is synced.
    pub(super) async fn append(&self, frames: Frames) -> Result<(), CommitError> {
        self.0.room_for(frames.len())?;
        let deadline = Instant::now() + DISK_TIMEOUT;
        let mut writing = self.0.writing().await?;
        if let Some(failure) = self.0.failure.get() {
            return Err(CommitError::Transient(failure.clone()));
        }
        let inner = Arc::clone(&self.0);
        // What hangs keeps the guard, so that nothing is written beside it.
        let appended = spawn_blocking(move || inner.append(&mut writing, frames));
        match timeout_at(deadline, appended).await {
            Ok(Ok(appended)) => appended?,
            Ok(Err(panicked)) => return Err(CommitError::Transient(panicked.to_string())),
            Err(_) => return Err(late()),
        }
        self.0.appended.notify_one();
        self.prepare_soon();
        Ok(())
    }

    /// Has the next file made before it is needed.
    fn prepare_soon(&self) {
        if !self.0.wants_file() || self.0.preparing.swap(true, Ordering::AcqRel) {
            return;
        }
        let inner = Arc::clone(&self.0);
        spawn_blocking(move || {
            inner.prepare();
            inner.preparing.store(false, Ordering::Release);
        });
    }
}

impl Inner {
    pub(super) async fn writing(&self) -> Result<OwnedMutexGuard<Writing>, CommitError> {
        let writing = Arc::clone(&self.writing).lock_owned();
        tokio::time::timeout(DISK_TIMEOUT, writing).await.map_err(|_| late())
    }

    pub(super) fn room_for(&self, bytes: u64) -> Result<(), CommitError> {
        let (bounds, held) = (self.bounds, self.state().held());
        if held.saturating_add(bytes) > bounds.max_bytes {
            let cause = format!("the local log holds {held} of {} bytes", bounds.max_bytes);
            return Err(CommitError::Full(cause));
        }
        let free = self.files.free();
        let free =
            free.map_err(|error| CommitError::Transient(format!("the log's disk: {error}")))?;
        if free.saturating_sub(bytes) < bounds.min_free_bytes {
            let cause = format!(
                "the local log's disk has {free} bytes free, and {} must stay",
                bounds.min_free_bytes
            );
            return Err(CommitError::Full(cause));
        }
        Ok(())
    }

    /// One write, and one sync.
    fn append(&self, writing: &mut Writing, mut frames: Frames) -> Result<(), CommitError> {
        let length = frames.len();
        let active = match writing.0.take() {
            Some(active) if active.at == 0 || active.at + length <= active.length => active,
            full => {
                if let Some(full) = full {
                    // What lies behind its last record may be cut off, or not.
                    let _ = full.file.set_len(full.at);
                }
                self.next_file()?
            }
        };
        let active = writing.0.insert(active);
        let bytes = frames.seal(active.number, active.at);
        if let Err(error) = active.file.write_all_at(bytes, active.at) {
            return Err(match error.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    CommitError::Full(format!("{}: {error}", self.files.directory().display()))
                }
                _ => CommitError::Transient(self.fail(&error)),
            });
        }
        crash_points::point(Point::Written);
        if let Err(error) = active.file.sync_data() {
            return Err(CommitError::Transient(self.fail(&error)));
        }
        // What is synced to a file without a name is lost anyway.
        if !active.file.metadata().is_ok_and(|metadata| metadata.nlink() > 0) {
            let cause = format!("{}: its file was deleted", self.files.directory().display());
            writing.0 = None;
            return Err(CommitError::Transient(cause));
        }
        crash_points::point(Point::Synced);
        active.at += length;
        let more = Fill { events: frames.count(), bytes: length };
        self.state().appended(active.number, active.at, more);
        Ok(())
    }

    /// Never writes to it again; what to say about that.
    fn fail(&self, error: &io::Error) -> Cause {
        let path = self.files.directory().display();
        let text = format!(
            "{path} could not be synced ({error}) and is not written any more: look at its disk, then \
             start offhook again"
        );
        self.failure.get_or_init(|| text).clone()
    }

    /// Makes the next file, unless there is one.
    pub(super) fn prepare(&self) {
        let mut prepared = lock(&self.prepared);
        if prepared.is_none() {
            // If it fails, the writer tries again, and says why.
            *prepared = self.make_file().ok();
        }
    }

    /// Waits for one that is being prepared: it has the next number. The reader never goes back to a file with a lower number
    /// than the one before, and what lies in such a one would be taken to be settled.
    fn next_file(&self) -> Result<Active, CommitError> {
        let mut prepared = lock(&self.prepared);
        let file = prepared.take().map_or_else(|| self.make_file(), Ok)?;
        drop(prepared);
        crash_points::point(Point::Begun);
        Ok(file)
    }

    /// Called while `prepared` is locked.
    pub(super) fn make_file(&self) -> Result<Active, CommitError> {
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                CommitError::Full(error.to_string())
            }
            _ => CommitError::Transient(format!("{}: {error}", self.files.directory().display())),
        };
        let room = self.files.free().map_err(failed)?.saturating_sub(self.bounds.min_free_bytes);
        let number = self.next_number.fetch_add(1, Ordering::Relaxed);
        let (file, length) = self.files.prepare(number, room).map_err(failed)?;
        Ok(Active { number, file, at: 0, length })
    }

    /// Whether the file that is written is half full, and no other is ready, nor being made. Does not wait.
    fn wants_file(&self) -> bool {
        let state = self.state();
        let part = state.active.and_then(|number| state.parts.get(&number));
        let is_half_full = part.is_some_and(|part| part.end > files::LENGTH / 2);
        is_half_full && self.prepared.try_lock().is_ok_and(|prepared| prepared.is_none())
    }

    /// Ends the file that is written: the next event begins another one. What lies behind its last record is of an earlier
    /// life of it.
    pub(super) fn end_file(&self, writing: &mut Writing) -> io::Result<()> {
        let Some(active) = writing.0.take() else { return Ok(()) };
        self.state().active = None;
        active.file.set_len(active.at)
    }

    /// Deletes the files that were to be used again, and lets none of those that there are be: what was purged may lie in
    /// them. None is prepared, or given up, meanwhile.
    pub(super) fn reuse_none(&self) -> io::Result<()> {
        let mut prepared = lock(&self.prepared);
        self.not_reused.store(self.next_number.load(Ordering::Relaxed), Ordering::Relaxed);
        if let Some(file) = prepared.take() {
            self.files.delete(file.number)?;
        }
        self.files.forget_spare()
    }

    /// Gives a file up of which all is done with.
    pub(super) fn let_go(&self, number: u64) -> io::Result<()> {
        let _prepared = lock(&self.prepared);
        match number >= self.not_reused.load(Ordering::Relaxed) {
            true => self.files.recycle(number),
            false => self.files.delete(number),
        }
    }
}

fn late() -> CommitError {
    CommitError::Transient("the disk took too long".to_owned())
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::super::{Bounds, LocalLog};

    /// The next file may be needed before the one that is being prepared is ready.
    #[tokio::test]
    async fn files_are_written_in_the_order_of_their_numbers() {
        let directory = tempfile::tempdir().expect("a directory");
        // With no room to spare each file is as short as may be.
        let bounds = Bounds { max_bytes: 1 << 20, min_free_bytes: u64::MAX };
        let log = LocalLog::open(directory.path(), bounds).await.expect("nothing else has it");
        let inner = &log.0;
        let numbers: Vec<u64> = thread::scope(|scope| {
            let prepares = scope.spawn(|| (0..300).for_each(|_| inner.prepare()));
            let next = || inner.next_file().expect("the disk works").number;
            let written = (0..100).map(|_| next()).collect();
            prepares.join().expect("it does not panic");
            written
        });
        assert!(numbers.is_sorted_by(|one, other| one < other), "{numbers:?}");
    }
}
