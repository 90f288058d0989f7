//! [`LocalDeadLetters`]: the dead letters of a local log, a file each. It needs no lock: what is to be
//! appended again is moved to where the process that has the log looks for it, so all of it works
//! beside a server and without one.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use bytes::Bytes;
use tokio::task::spawn_blocking;

use super::files::{self, DEAD};
use super::record::{self, Fields, Frames};
use super::state::RecordId;
use crate::backend::BackendError;
use crate::backend::dead_letters::{Action, DeadLetter, parse_id};
use crate::clock::Timestamp;
use crate::event::codec;

/// A dead letter is a file of one record, under this number.
pub(super) const DEAD_LETTER: u64 = 0;
/// Says until when the clock was trusted.
const TRUSTED: &str = "trusted";

/// The dead letters of a local log.
#[derive(Clone, Debug)]
pub struct LocalDeadLetters(pub(super) PathBuf);

impl LocalDeadLetters {
    /// The dead letters in a local log's directory, which need not exist.
    #[must_use]
    pub fn new(directory: PathBuf) -> Self {
        Self(directory)
    }

    pub(crate) async fn list(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, BackendError> {
        let after = after.and_then(parse_id);
        self.run(move |dead_letters| {
            let ids = dead_letters.ids()?.into_iter().filter(|id| Some(*id) > after);
            // One that is purged meanwhile is not there.
            ids.take(limit).filter_map(|id| dead_letters.read(id).transpose()).collect()
        })
        .await
    }

    pub(crate) async fn get(&self, id: &str) -> Result<Option<DeadLetter>, BackendError> {
        let Some(id) = parse_id(id) else { return Ok(None) };
        self.run(move |dead_letters| dead_letters.read(id)).await
    }

    pub(crate) async fn resolve(&self, id: &str, action: Action) -> Result<bool, BackendError> {
        let Some(id) = parse_id(id) else { return Ok(false) };
        self.run(move |dead_letters| {
            let done = match action {
                Action::Purge => wipe(&dead_letters.path(id)),
                Action::Replay => dead_letters.move_to_replay(&dead_letters.path(id)),
            };
            there(done)
        })
        .await
    }

    pub(crate) async fn count(&self) -> Result<u64, BackendError> {
        self.run(|dead_letters| Ok(dead_letters.ids()?.len() as u64)).await
    }

    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> io::Result<T> + Send + 'static,
    ) -> Result<T, BackendError> {
        let dead_letters = self.clone();
        let failed =
            |error: &dyn std::fmt::Display| BackendError(format!("{}: {error}", self.0.display()));
        let done = spawn_blocking(move || work(&dead_letters)).await;
        done.map_err(|error| failed(&error))?.map_err(|error| failed(&error))
    }

    /// Makes a dead letter of a record. The same one twice is one dead letter.
    pub(super) fn put(
        &self,
        id: RecordId,
        fields: &Fields,
        deliveries: u32,
        reason: &str,
    ) -> io::Result<()> {
        let place = id.place;
        self.write(
            (received(fields), place.number << 32 | place.offset),
            fields,
            deliveries,
            reason,
        )
        .map(|_| ())
    }

    /// Makes one of what an earlier version had as one under this number, since this time.
    ///
    /// # Errors
    /// The dead letter cannot be written.
    pub fn put_old(
        &self,
        number: u64,
        fields: &Fields,
        reason: &str,
        at: Timestamp,
    ) -> io::Result<()> {
        /// Greater than the number of any file.
        const OLD: u64 = 1 << 63;
        let file = self.write((received(fields), OLD | number), fields, 1, reason)?;
        let since = u64::try_from(at.micros()).map(std::time::Duration::from_micros);
        file.set_modified(SystemTime::UNIX_EPOCH + since.unwrap_or_default())
    }

    fn write(
        &self,
        id: (u64, u64),
        fields: &Fields,
        deliveries: u32,
        reason: &str,
    ) -> io::Result<File> {
        let mut fields = fields.clone();
        fields.push((Bytes::from_static(b"dead_deliveries"), deliveries.to_string().into()));
        fields
            .push((Bytes::from_static(b"dead_reason"), Bytes::copy_from_slice(reason.as_bytes())));
        let mut frames = Frames::default();
        frames.push(&fields);
        let path = self.path(id);
        let begun = path.with_extension(files::BEGUN);
        files::make_part(&self.0.join(DEAD))?;
        let file = files::create(&begun)?;
        file.write_all_at(frames.seal(DEAD_LETTER, 0), 0)?;
        file.sync_all()?;
        std::fs::rename(begun, path)?;
        files::sync_directory(&self.0.join(DEAD))?;
        Ok(file)
    }

    pub(super) fn path(&self, (millis, rest): (u64, u64)) -> PathBuf {
        self.0.join(DEAD).join(format!("{millis}-{rest}"))
    }

    /// Every dead letter, in order.
    pub(super) fn ids(&self) -> io::Result<Vec<(u64, u64)>> {
        let names = self.in_part(DEAD)?;
        let mut ids: Vec<_> =
            names.iter().filter_map(|path| parse_id(path.file_name()?.to_str()?)).collect();
        ids.sort_unstable();
        Ok(ids)
    }

    pub(super) fn in_part(&self, part: &str) -> io::Result<Vec<PathBuf>> {
        files::files_in(&self.0.join(part))
    }

    /// When the record became a dead letter.
    pub(super) fn dead_since(&self, id: (u64, u64)) -> io::Result<Option<Timestamp>> {
        match std::fs::metadata(self.path(id)) {
            Ok(metadata) => Ok(Some(timestamp(metadata.modified()?))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The time until which the clock that ages dead letters was trusted.
    pub(super) fn trusted(&self) -> io::Result<Option<Timestamp>> {
        match std::fs::read_to_string(self.0.join(TRUSTED)) {
            Ok(text) => Ok(Timestamp::parse_rfc3339(text.trim())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// It is not synced: if a power cut loses it, a safeguard is lost, but no dead letter.
    pub(super) fn trust(&self, until: Option<Timestamp>) -> io::Result<()> {
        let path = self.0.join(TRUSTED);
        let Some(until) = until else { return there(std::fs::remove_file(path)).map(|_| ()) };
        let new = path.with_extension("new");
        files::create(&new)?.write_all_at(until.to_string().as_bytes(), 0)?;
        std::fs::rename(new, path)
    }

    pub(super) fn delete(&self, id: (u64, u64)) -> io::Result<bool> {
        there(wipe(&self.path(id)))
    }

    fn read(&self, id: (u64, u64)) -> io::Result<Option<DeadLetter>> {
        let Some(at) = self.dead_since(id)? else { return Ok(None) };
        let bytes = match files::read_what_can_be(&self.path(id)) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            bytes => bytes?,
        };
        let mut all = Vec::new();
        record::scan(&bytes, DEAD_LETTER, |_, record| all = record.fields());
        let (told, fields): (Vec<_>, Vec<_>) = all.into_iter().partition(is_told);
        let text = |wanted: &str| {
            let found = told.iter().find(|(name, _)| name == wanted);
            found.map_or_else(String::new, |(_, value)| String::from_utf8_lossy(value).into_owned())
        };
        let mut reason = text("dead_reason");
        if reason.is_empty() {
            reason = "its file is damaged".to_owned();
        }
        Ok(Some(DeadLetter {
            id: format!("{}-{}", id.0, id.1),
            at,
            deliveries: text("dead_deliveries").parse().unwrap_or_default(),
            reason,
            event: codec::decode(fields.iter().cloned()),
            fields,
        }))
    }
}

pub(super) fn is_told((name, _): &(Bytes, Bytes)) -> bool {
    name.starts_with(b"dead_")
}

/// When the event was received, in ms. It names the dead letter, because it never changes.
fn received(fields: &Fields) -> u64 {
    let found = fields.iter().find(|(name, _)| name == "received_at");
    let micros = found.and_then(|(_, value)| std::str::from_utf8(value).ok()?.parse::<u64>().ok());
    micros.unwrap_or_default() / 1000
}

fn timestamp(time: SystemTime) -> Timestamp {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

/// Whether it was there.
pub(super) fn there(done: io::Result<()>) -> io::Result<bool> {
    match done {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Deletes a file, and overwrites what was in it.
pub(super) fn wipe(path: &Path) -> io::Result<()> {
    let file = files::options().write(true).open(path)?;
    let length = usize::try_from(file.metadata()?.len()).unwrap_or_default();
    // A disk that cannot be written there does not keep the file from going.
    let _ = file.write_all_at(&vec![0; length], 0).and_then(|()| file.sync_data());
    std::fs::remove_file(path)
}
