//! [`Reader`]: hands out what waits in a local log, oldest first. There is only one, so nothing is
//! ever idle in another's hands.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::record::{self, Look};
use super::state::{Place, RecordId};
use super::{Inner, LocalLog, PATIENCE};
use crate::event::{Event, codec};
use crate::pipeline::{Claimed, Delivery, Mark, Settled, Source, SourceError};
use crate::sabotage::{self, Point};

/// How long a read waits for something new.
const BLOCK: Duration = Duration::from_secs(2);
/// What is read from a file at once: some 2,000 events, which is the largest batch of the embedded store.
const CHUNK: u64 = 2 * 1024 * 1024;

/// When what is settled is needed no more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Release {
    /// At once: the store has synced it.
    AtOnce,
    /// When [`LocalLog::release`] says so.
    WhenTold,
}

/// Reads a local log.
#[derive(Debug)]
pub struct Reader {
    log: LocalLog,
    release: Release,
    cursor: Place,
    /// What was handed out and is not settled. It comes again before anything else.
    taken: BTreeSet<RecordId>,
}

type Fields = Vec<(Bytes, Bytes)>;

/// What was read.
struct Taken {
    records: Vec<(RecordId, Fields)>,
    cursor: Place,
}

/// Why nothing was.
enum ReadError {
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

impl Reader {
    pub(super) fn new(log: LocalLog, release: Release) -> Self {
        let cursor = log.settled().place;
        Self { log, release, cursor, taken: BTreeSet::new() }
    }

    /// Reads on a thread that may block, and puts aside what turns out to be damaged.
    async fn take(&mut self, limit: usize) -> Result<Vec<Delivery<RecordId>>, SourceError> {
        let (inner, cursor) = (Arc::clone(&self.log.0), self.cursor);
        let again: Vec<RecordId> = self.taken.iter().copied().take(limit).collect();
        let release = self.is_to_release();
        let reading = spawn_blocking(move || {
            if release {
                let settled = inner.state().settled();
                inner.release(settled);
            }
            let Taken { records, cursor } = match again.is_empty() {
                true => take(&inner, cursor, limit)?,
                false => Taken { records: take_again(&inner, &again)?, cursor },
            };
            // Here, since the thread that waits for it answers callbacks too.
            let delivery = |(id, fields)| Delivery { id, count: 1, event: codec::decode(fields) };
            Ok((records.into_iter().map(delivery).collect::<Vec<_>>(), cursor))
        });
        let late = |_| SourceError("the disk took too long".to_owned());
        let read = timeout(PATIENCE, reading).await.map_err(late)?;
        match read.map_err(|error| SourceError(error.to_string()))? {
            Ok((deliveries, cursor)) => {
                self.cursor = cursor;
                self.taken.extend(deliveries.iter().map(|delivery| delivery.id));
                Ok(deliveries)
            }
            Err(ReadError::Damaged(number)) => {
                let aside = self.log.0.put_aside(number).await;
                aside.map_err(|error| SourceError(error.to_string()))?;
                self.taken.retain(|id| id.place.number != number);
                self.advance();
                Ok(Vec::new())
            }
            Err(ReadError::Io(error)) => Err(SourceError(format!("the local log: {error}"))),
        }
    }

    fn has_some(&self) -> bool {
        !self.taken.is_empty() || self.log.0.state().next(self.cursor).is_some()
    }

    fn is_to_release(&self) -> bool {
        self.release == Release::AtOnce && self.log.is_behind()
    }

    /// What is in hand; what is settled already counts no second time.
    fn settle(&mut self, ids: &[RecordId]) {
        let ids: Vec<_> = ids.iter().copied().filter(|id| self.taken.remove(id)).collect();
        self.log.0.state().settle(ids.into_iter());
        self.advance();
        self.log.0.settled.notify_one();
    }

    fn advance(&self) {
        if self.taken.is_empty() {
            let mut state = self.log.0.state();
            state.advance(self.cursor);
            if self.release == Release::AtOnce {
                state.forgive();
            }
        }
    }
}

impl Drop for Reader {
    /// So that the next process does not get everything again.
    fn drop(&mut self) {
        if self.is_to_release() {
            self.log.0.release(self.log.settled());
        }
    }
}

/// The next records, at most `limit`, and about a chunk.
fn take(inner: &Inner, cursor: Place, limit: usize) -> Result<Taken, ReadError> {
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
pub(super) fn first(inner: &Inner, from: Place) -> Option<Fields> {
    let taken = take(inner, from, 1).ok()?;
    taken.records.into_iter().next().map(|(_, fields)| fields)
}

/// From one file, as far as that was read at once.
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

/// Where the next record lies, if what is here is no record because a crash tore it.
fn behind_gap(inner: &Inner, cursor: Place, end: u64) -> Result<u64, ReadError> {
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

fn take_again(inner: &Inner, ids: &[RecordId]) -> Result<Vec<(RecordId, Fields)>, ReadError> {
    ids.iter().map(|id| Ok((*id, fields_of(inner, *id)?))).collect()
}

fn fields_of(inner: &Inner, id: RecordId) -> Result<Fields, ReadError> {
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

fn read(file: &File, place: Place, length: u64) -> Result<Vec<u8>, ReadError> {
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
    match file.read_exact_at(&mut bytes, place.offset) {
        Ok(()) => Ok(bytes),
        // EIO: a bad sector. It is shorter: somebody cut it.
        Err(error)
            if error.kind() == io::ErrorKind::UnexpectedEof
                || error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()) =>
        {
            Err(ReadError::Damaged(place.number))
        }
        Err(error) => Err(ReadError::Io(error)),
    }
}

impl Source for Reader {
    type Id = RecordId;

    async fn ready(&mut self) -> bool {
        if self.has_some() {
            return true;
        }
        if self.is_to_release() {
            self.log.release(self.log.settled()).await;
        }
        // What was appended meanwhile has left its notice.
        let _ = timeout(BLOCK, self.log.0.appended.notified()).await;
        self.has_some()
    }

    async fn read(&mut self, limit: usize) -> Result<Vec<Delivery<RecordId>>, SourceError> {
        if !self.ready().await {
            return Ok(Vec::new());
        }
        self.take(limit).await
    }

    async fn claim(&mut self, _: usize) -> Result<Claimed<RecordId>, SourceError> {
        Ok(Claimed { deliveries: Vec::new(), vanished: 0 })
    }

    async fn marked(&mut self, events: &[Event]) -> Result<Vec<Option<Mark>>, SourceError> {
        Ok(vec![None; events.len()])
    }

    async fn ack(&mut self, settled: &Settled<RecordId>) -> Result<(), SourceError> {
        let ids: Vec<RecordId> = settled.entries().iter().map(|entry| entry.id).collect();
        self.settle(&ids);
        Ok(())
    }

    async fn dead_letter(
        &mut self,
        id: &RecordId,
        deliveries: u32,
        reason: &str,
    ) -> Result<(), SourceError> {
        let (inner, wanted, reason) = (Arc::clone(&self.log.0), *id, reason.to_owned());
        let letters = self.log.dead_letters();
        let written = spawn_blocking(move || {
            let fields = fields_of(&inner, wanted).map_err(|error| match error {
                ReadError::Damaged(_) => io::Error::other("the record cannot be read any more"),
                ReadError::Io(error) => error,
            })?;
            letters.put(wanted, &fields, deliveries, &reason)
        });
        let written = written.await.map_err(|error| SourceError(error.to_string()))?;
        written
            .map_err(|error| SourceError(format!("a dead letter cannot be written: {error}")))?;
        sabotage::point(Point::PutAside);
        self.settle(&[*id]);
        Ok(())
    }

    async fn renew(&mut self, _: &[RecordId]) -> Result<(), SourceError> {
        Ok(())
    }

    async fn release(&mut self, _: &[(RecordId, u32)]) -> Result<(), SourceError> {
        Ok(())
    }
}
