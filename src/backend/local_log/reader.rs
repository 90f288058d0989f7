//! [`Reader`]: returns what waits in a local log, oldest first. There is only one, so nothing is
//! ever idle in another's hands.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::fetch::{ReadError, Taken, fields_of, take, take_again};
use super::state::{RecordId, RecordPlace};
use super::{DISK_TIMEOUT, LocalLog};
use crate::crash_points::{self, Point};
use crate::event::{Event, codec};
use crate::pipeline::{Claimed, Delivery, Mark, Settled, Source, SourceError};

/// How long a read waits for something new.
const BLOCK: Duration = Duration::from_secs(2);
/// When settled records are no longer needed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Release {
    /// At once: the store has synced it.
    AtOnce,
    /// When [`LocalLog::release`] is called.
    WhenTold,
}

/// Reads a local log.
#[derive(Debug)]
pub struct Reader {
    log: LocalLog,
    release: Release,
    cursor: RecordPlace,
    /// What was handed out and is not settled. It comes again before anything else.
    taken: BTreeSet<RecordId>,
}

impl Reader {
    pub(super) fn new(log: LocalLog, release: Release) -> Self {
        let cursor = log.settled().place;
        Self { log, release, cursor, taken: BTreeSet::new() }
    }

    /// Reads on a thread that may block, and quarantines what turns out to be damaged.
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
        let read = timeout(DISK_TIMEOUT, reading).await.map_err(late)?;
        match read.map_err(|error| SourceError(error.to_string()))? {
            Ok((deliveries, cursor)) => {
                self.cursor = cursor;
                self.taken.extend(deliveries.iter().map(|delivery| delivery.id));
                Ok(deliveries)
            }
            Err(ReadError::Damaged(number)) => {
                let moved = self.log.0.quarantine(number).await;
                moved.map_err(|error| SourceError(error.to_string()))?;
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
    /// Writes how far everything is settled, so that the next process does not read it again.
    fn drop(&mut self) {
        if self.is_to_release() {
            self.log.0.release(self.log.settled());
        }
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
        let dead_letters = self.log.dead_letters();
        let written = spawn_blocking(move || {
            let fields = fields_of(&inner, wanted).map_err(|error| match error {
                ReadError::Damaged(_) => io::Error::other("the record cannot be read any more"),
                ReadError::Io(error) => error,
            })?;
            dead_letters.put(wanted, &fields, deliveries, &reason)
        });
        let written = written.await.map_err(|error| SourceError(error.to_string()))?;
        written
            .map_err(|error| SourceError(format!("a dead letter cannot be written: {error}")))?;
        crash_points::point(Point::PutAside);
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
