//! How a process takes a local log over, from an earlier one or anew.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, OnceLock};

use tokio::sync::Notify;
use tracing::info;

use super::damaged::tell_damaged;
use super::files::{self, Files};
use super::settled_file::SettledFile;
use super::state::{Fill, LogFile, LogState, RecordPlace};
use super::{Bounds, Inner, lock, record};

/// Why a local log cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Something in the directory cannot be made or read.
    #[error("cannot open {path}: {error}")]
    File {
        /// What was to be opened.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// Another process has it.
    #[error(
        "{0} is in use by another offhook process: stop that one, or give this one a directory of \
         its own"
    )]
    InUse(PathBuf),
}

impl Inner {
    pub(super) fn open(directory: &Path, bounds: Bounds) -> Result<Self, OpenError> {
        let failed = |error| OpenError::File { path: directory.to_owned(), error };
        let files = Files::make(directory).map_err(failed)?;
        let held = files::create(&directory.join("lock")).map_err(failed)?;
        match held.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(OpenError::InUse(directory.to_owned())),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        files.forget_begun().map_err(failed)?;
        let (position, released) = SettledFile::open(&files).map_err(failed)?;
        let mut state = LogState::starting_at(released);
        let mut last = released.number;
        let numbers = files.numbers().map_err(failed)?;
        if numbers.is_empty() {
            // Nothing says any more which numbers it had before, and under one of them its events would count.
            files.forget_spare().map_err(failed)?;
        }
        for number in numbers {
            last = last.max(number);
            let taken = take_over(&files, number, released, &mut state);
            taken.map_err(|error| OpenError::File { path: files.path(number), error })?;
        }
        let damaged = files::files_in(&directory.join(files::DAMAGED)).map_err(failed)?;
        last = damaged.iter().filter_map(|path| files::number(path)).fold(last, u64::max);
        let inner = Self {
            files,
            bounds,
            state: Mutex::new(state),
            position,
            writing: Arc::default(),
            prepared: Mutex::default(),
            preparing: AtomicBool::new(false),
            next_number: AtomicU64::new(last + 1),
            // A purge before may have been to leave nothing in them.
            not_reused: AtomicU64::new(last + 1),
            damaged: AtomicU64::new(damaged.len() as u64),
            failure: OnceLock::new(),
            appended: Notify::new(),
            settled: Notify::new(),
            _lock: held,
        };
        // So that the first callback need not wait for it. A disk that is full now may not be later.
        *lock(&inner.prepared) = inner.make_file().ok();
        Ok(inner)
    }
}

/// Takes over a file that an earlier process left.
fn take_over(
    files: &Files,
    number: u64,
    released: RecordPlace,
    state: &mut LogState,
) -> io::Result<()> {
    // What was purged may lie in it, so that it is not used again.
    if number < released.number {
        return files.delete(number);
    }
    let path = files.path(number);
    let bytes = files::read_what_can_be(&path)?;
    let from = if number == released.number { released.offset } else { 0 };
    let mut waits = Fill::default();
    let found = record::scan(&bytes, number, |offset, record| {
        if offset >= from {
            waits += Fill { events: 1, bytes: record.length as u64 };
        }
    });
    if found.damaged > 0 {
        let to = files.quarantine(number)?;
        tell_damaged(&to, waits.events);
        return Ok(());
    }
    if waits.events == 0 {
        return files.delete(number);
    }
    // What was made for more events, and will not be written again, gives its room back. What was
    // torn stays, for an operator to look at.
    let rest = &bytes[usize::try_from(found.end).unwrap_or(bytes.len())..];
    if rest.iter().all(|&byte| byte == 0) {
        File::options().write(true).open(&path)?.set_len(found.end)?;
    }
    info!(events = waits.events, "events of an earlier process wait in the local log");
    state.found(number, LogFile { end: found.end, waits });
    Ok(())
}
