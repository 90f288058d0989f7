//! [`LogWithSpool`]: a log with a spool behind it. When the log errs or is slow, the batch goes to the
//! spool; a [`Circuit`] keeps the batches after it from waiting for a log that is down, and the
//! drainer, a pump from the spool into the log, closes it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{CommitError, Observer, Outcome, Sink};
use crate::crash_points::{self, Point};
use crate::event::Batch;

/// Whether the log is believed to be down. Cheap to clone; all clones are one.
#[derive(Clone, Default, Debug)]
pub struct Circuit(Arc<AtomicBool>);

impl Circuit {
    /// Whether batches go to the spool without asking the log.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// Whether it was closed before.
    fn open(&self) -> bool {
        !self.0.swap(true, Ordering::AcqRel)
    }

    /// Whether it was open before.
    fn close(&self) -> bool {
        self.0.swap(false, Ordering::AcqRel)
    }
}

/// Where a callback must be before it is answered, as `stream.durability` names it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AnswerAfter {
    /// In the log; in the spool while the log is down or slow.
    #[serde(rename = "stream")]
    Log,
    /// In the spool, always: the log may not sync.
    Spool,
}

/// Commits to `log`, and to `spool` what that does not take in time.
#[derive(Debug)]
pub struct LogWithSpool<L, S, O> {
    log: CircuitLog<L, O>,
    spool: S,
    answer_after: AnswerAfter,
}

impl<L: Sink, S: Sink, O: Observer> LogWithSpool<L, S, O> {
    /// `log` must err by itself when it is slow: that is how long a request waits for it.
    #[must_use]
    pub fn new(log: CircuitLog<L, O>, spool: S, answer_after: AnswerAfter) -> Self {
        Self { log, spool, answer_after }
    }

    async fn log_first(&self, batch: &Batch) -> Result<Outcome, CommitError> {
        let error = match self.log.commit(batch).await {
            Ok(outcome) => return Ok(outcome),
            Err(error) => error,
        };
        if self.log.circuit.open() {
            self.log.observer.circuit_opened(&error);
        }
        self.to_spool(batch).await
    }

    async fn to_spool(&self, batch: &Batch) -> Result<Outcome, CommitError> {
        crash_points::point(Point::Unspooled);
        let outcome = self.spool.commit(batch).await?;
        crash_points::point(Point::Spooled);
        Ok(outcome)
    }

    /// The log is the last chance, and closes the circuit when there is nothing to drain.
    async fn log_last(&self, batch: &Batch) -> Result<Outcome, CommitError> {
        match self.to_spool(batch).await {
            Ok(outcome) => Ok(outcome),
            Err(error) => self.log.commit(batch).await.map_err(|_| error),
        }
    }
}

impl<L: Sink, S: Sink, O: Observer> Sink for LogWithSpool<L, S, O> {
    async fn commit(&self, batch: &Batch) -> Result<Outcome, CommitError> {
        match self.answer_after {
            AnswerAfter::Spool => self.to_spool(batch).await,
            AnswerAfter::Log if self.log.circuit.is_open() => self.log_last(batch).await,
            AnswerAfter::Log => self.log_first(batch).await,
        }
    }
}

/// A log whose every success closes the circuit: what the drainer writes to.
#[derive(Debug)]
pub struct CircuitLog<L, O> {
    log: L,
    circuit: Circuit,
    observer: Arc<O>,
}

impl<L: Sink, O: Observer> CircuitLog<L, O> {
    /// Closes `circuit` when `log` takes a batch.
    #[must_use]
    pub fn new(log: L, circuit: Circuit, observer: Arc<O>) -> Self {
        Self { log, circuit, observer }
    }
}

impl<L: Sink, O: Observer> Sink for CircuitLog<L, O> {
    async fn commit(&self, batch: &Batch) -> Result<Outcome, CommitError> {
        let outcome = self.log.commit(batch).await?;
        if self.circuit.close() {
            self.observer.circuit_closed();
        }
        Ok(outcome)
    }
}
