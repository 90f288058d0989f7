//! Files that the disk has damaged: set aside for an operator to decide.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::task::spawn_blocking;
use tracing::error;

use super::dead_letters::{DEAD_LETTER, LocalDeadLetters, there, wipe};
use super::files::{self, DAMAGED};
use super::{Inner, record};
use crate::backend::BackendError;

/// A damaged file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Damaged {
    /// The name of the file, by which commands refer to it.
    pub name: String,
    /// The path of the file.
    pub path: PathBuf,
    /// How many events can be read of it. Some of them may be stored already.
    pub events: u64,
    /// How many bytes are spoilt.
    pub spoilt: u64,
}

impl LocalDeadLetters {
    /// The damaged files.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub async fn damaged(&self) -> Result<Vec<Damaged>, BackendError> {
        self.run(|dead_letters| {
            dead_letters.in_part(DAMAGED)?.iter().map(|path| look(path)).collect()
        })
        .await
    }

    /// Has the process that has the log append what can be read of a damaged file; now, or when it
    /// starts. Returns whether there is such a file.
    ///
    /// # Errors
    /// The file cannot be moved.
    pub async fn replay_damaged(&self, name: &str) -> Result<bool, BackendError> {
        self.with_damaged(name, |dead_letters, path| dead_letters.move_to_replay(path)).await
    }

    /// Deletes a damaged file, and what could still be read of it. Returns whether there is such a file.
    ///
    /// # Errors
    /// The file cannot be deleted.
    pub async fn purge_damaged(&self, name: &str) -> Result<bool, BackendError> {
        self.with_damaged(name, |_, path| wipe(path)).await
    }

    async fn with_damaged(
        &self,
        name: &str,
        act: impl FnOnce(&Self, &Path) -> io::Result<()> + Send + 'static,
    ) -> Result<bool, BackendError> {
        let name = name.to_owned();
        self.run(move |dead_letters| {
            let paths = dead_letters.in_part(DAMAGED)?;
            let path = paths.iter().find(|path| path.file_name().is_some_and(|is| is == &*name));
            path.map_or(Ok(false), |path| there(act(dead_letters, path)))
        })
        .await
    }
}

impl Inner {
    /// Takes a damaged file out of what waits.
    pub(super) async fn quarantine(self: &Arc<Self>, number: u64) -> Result<(), BackendError> {
        let failed = |error: &dyn std::fmt::Display| BackendError(error.to_string());
        let mut writing = self.writing().await.map_err(|error| failed(&error))?;
        let inner = Arc::clone(self);
        let moving = spawn_blocking(move || {
            if writing.0.as_ref().is_some_and(|active| active.number == number) {
                writing.0 = None;
            }
            let waited = inner.state().parts.get(&number).map_or(0, |part| part.waits.events);
            let moved = inner.files.quarantine(number);
            if let Err(error) = &moved
                // All of it is gone, and comes back perhaps: a disk that is not mounted.
                && (error.kind() != io::ErrorKind::NotFound || !inner.files.directory().is_dir())
            {
                return moved.map(|_| ());
            }
            inner.state().lose(number);
            match moved {
                Ok(to) => {
                    inner.damaged.fetch_add(1, Ordering::Relaxed);
                    tell_damaged(&to, waited);
                }
                Err(_) => {
                    error!(file = number, events = waited, "a file of the local log was deleted")
                }
            }
            Ok(())
        });
        let moved = moving.await.map_err(|error| failed(&error))?;
        moved.map_err(|error| failed(&error))
    }
}

pub(super) fn tell_damaged(path: &Path, events: u64) {
    error!(
        file = %path.display(),
        events,
        "a file of the local log is damaged and was put aside: look at its disk, then append what \
         can be read of it again with `offhook local-log replay`"
    );
}

fn look(path: &Path) -> io::Result<Damaged> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let bytes = files::read_what_can_be(path)?;
    let found = record::scan(&bytes, files::number(path).unwrap_or(DEAD_LETTER), |_, _| {});
    Ok(Damaged { name, path: path.to_owned(), events: found.records, spoilt: found.damaged })
}
