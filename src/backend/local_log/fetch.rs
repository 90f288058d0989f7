//! Reads records from the files of a local log. It blocks.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use super::Inner;
use super::record::{self, Fields, Look};
use super::state::{RecordId, RecordPlace};

/// What is read from a file at once: some 2,000 events, which is the largest batch of the embedded store.
const CHUNK: u64 = 2 * 1024 * 1024;

/// What was read.
pub(super) struct Taken {
    pub(super) records: Vec<(RecordId, Fields)>,
    pub(super) cursor: RecordPlace,
}

/// Why nothing was.
pub(super) enum ReadError {
    /// This file is damaged, or gone.
    Damaged(u64),
    /// The disk does not work, or no file can be opened.
    Io(io::Error),
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// The next records, at most `limit`, and about a chunk.
pub(super) fn take(inner: &Inner, cursor: RecordPlace, limit: usize) -> Result<Taken, ReadError> {
    let mut taken = Taken { records: Vec::new(), cursor };
    let mut bytes = 0;
    while taken.records.len() < limit && bytes < CHUNK {
        let next = inner.state().next(taken.cursor);
        let Some((place, end)) = next else { break };
        taken.cursor = place;
        match take_chunk(inner, &mut taken, end, limit) {
            Ok(()) => bytes += taken.cursor.offset - place.offset,
            // Those before it first.
            Err(_) if !taken.records.is_empty() => break,
            Err(error) => return Err(error),
        }
    }
    Ok(taken)
}

/// What comes first from here on.
pub(super) fn first(inner: &Inner, from: RecordPlace) -> Option<Fields> {
    let taken = take(inner, from, 1).ok()?;
    taken.records.into_iter().next().map(|(_, fields)| fields)
}

/// Takes records from one file, as far as it was read in one piece.
fn take_chunk(
    inner: &Inner,
    Taken { records, cursor }: &mut Taken,
    end: u64,
    limit: usize,
) -> Result<(), ReadError> {
    let file = open(inner, cursor.number)?;
    let mut bytes = read(&file, *cursor, (end - cursor.offset).min(CHUNK))?;
    let (mut at, began) = (0, cursor.offset);
    while records.len() < limit && cursor.offset < end {
        match record::look(&bytes[at..], cursor.number) {
            Look::Record(record) => {
                let id = RecordId { place: *cursor, length: record.length as u64 };
                records.push((id, record.fields()));
                at += record.length;
                cursor.offset += id.length;
            }
            // The rest of it comes with the next chunk.
            Look::Cut(_) if cursor.offset > began => break,
            // It is longer than a chunk.
            Look::Cut(length) if bytes.len() < length && cursor.offset + length as u64 <= end => {
                bytes = read(&file, *cursor, length as u64)?;
                at = 0;
            }
            Look::Cut(_) | Look::Nothing => {
                cursor.offset = behind_gap(inner, *cursor, end)?;
                break;
            }
        }
    }
    Ok(())
}

/// The place of the next record, if a crash tore the record that is here.
fn behind_gap(inner: &Inner, cursor: RecordPlace, end: u64) -> Result<u64, ReadError> {
    let bytes = super::files::read_what_can_be(&inner.files.path(cursor.number))?;
    let mut next = None;
    let found = record::scan(&bytes, cursor.number, |offset, _| {
        if offset > cursor.offset && next.is_none() {
            next = Some(offset);
        }
    });
    match next {
        Some(next) if found.damaged == 0 && next < end => Ok(next),
        // The last record was synced, so it should be there.
        _ => Err(ReadError::Damaged(cursor.number)),
    }
}

pub(super) fn take_again(
    inner: &Inner,
    ids: &[RecordId],
) -> Result<Vec<(RecordId, Fields)>, ReadError> {
    ids.iter().map(|id| Ok((*id, fields_of(inner, *id)?))).collect()
}

pub(super) fn fields_of(inner: &Inner, id: RecordId) -> Result<Fields, ReadError> {
    let number = id.place.number;
    let bytes = read(&open(inner, number)?, id.place, id.length)?;
    match record::look(&bytes, number) {
        Look::Record(record) => Ok(record.fields()),
        Look::Cut(_) | Look::Nothing => Err(ReadError::Damaged(number)),
    }
}

fn open(inner: &Inner, number: u64) -> Result<File, ReadError> {
    let path = inner.files.path(number);
    super::files::options().read(true).open(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => ReadError::Damaged(number),
        _ => ReadError::Io(error),
    })
}

fn read(file: &File, place: RecordPlace, length: u64) -> Result<Vec<u8>, ReadError> {
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
    match file.read_exact_at(&mut bytes, place.offset) {
        Ok(()) => Ok(bytes),
        // EIO: a bad sector. Or the file was cut.
        Err(error)
            if error.kind() == io::ErrorKind::UnexpectedEof
                || error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()) =>
        {
            Err(ReadError::Damaged(place.number))
        }
        Err(error) => Err(ReadError::Io(error)),
    }
}
