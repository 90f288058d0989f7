//! What an operator has put into `replay` is appended again.

use std::io;
use std::path::Path;
use std::sync::atomic::Ordering;

use tokio::task::spawn_blocking;
use tracing::{error, info};

use super::LocalLog;
use super::dead_letters::{DEAD_LETTER, LocalDeadLetters, is_told, wipe};
use super::files::{self, DAMAGED, REPLAY};
use super::record::{self, Fields};
use crate::pipeline::CommitError;

/// What came of a replay.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Replayed {
    /// Events that were appended again.
    pub events: u64,
    /// Bytes that no event could be read of.
    pub spoilt: u64,
}

impl LocalLog {
    /// Appends again what an operator has put into `replay`. Called periodically.
    ///
    /// # Errors
    /// The file could not be appended, and stays there. Some of it may have been appended.
    pub async fn replay(&self) -> Result<Replayed, CommitError> {
        let failed = |error: &dyn std::fmt::Display| CommitError::Transient(error.to_string());
        let dead_letters = self.dead_letters();
        let list = spawn_blocking(move || {
            Ok::<_, io::Error>((
                dead_letters.in_part(REPLAY)?,
                dead_letters.in_part(DAMAGED)?.len(),
            ))
        });
        let (paths, damaged) =
            list.await.map_err(|error| failed(&error))?.map_err(|error| failed(&error))?;
        self.0.damaged.store(damaged as u64, Ordering::Relaxed);
        let mut replayed = Replayed::default();
        for path in paths {
            let from = path.clone();
            let reading = spawn_blocking(move || read_all(&from));
            let read = reading.await.map_err(|error| failed(&error))?;
            let (records, spoilt) = read.map_err(|error| failed(&error))?;
            self.append_fields(&records).await?;
            let (events, gone) = (records.len() as u64, path.clone());
            let wiping = spawn_blocking(move || wipe(&gone));
            wiping.await.map_err(|error| failed(&error))?.map_err(|error| failed(&error))?;
            info!(file = %path.display(), events, "appended to the local log again");
            if spoilt > 0 {
                error!(file = %path.display(), bytes = spoilt, "what was damaged could not be read");
            }
            replayed.events += events;
            replayed.spoilt += spoilt;
        }
        Ok(replayed)
    }
}

impl LocalDeadLetters {
    /// Moves a file to where the process that has the log looks for it.
    pub(super) fn move_to_replay(&self, path: &Path) -> io::Result<()> {
        let name = path.file_name().unwrap_or_default();
        let to = self.0.join(REPLAY);
        files::make_part(&to)?;
        std::fs::rename(path, to.join(name))?;
        files::sync_directory(&to)
    }
}

/// The records of the file without the notes of dead letters, and how many bytes are damaged.
fn read_all(path: &Path) -> io::Result<(Vec<Fields>, u64)> {
    let bytes = files::read_what_can_be(path)?;
    let mut records = Vec::new();
    let found = record::scan(&bytes, files::number(path).unwrap_or(DEAD_LETTER), |_, record| {
        records.push(record.fields().into_iter().filter(|field| !is_told(field)).collect());
    });
    Ok((records, found.damaged))
}
