//! The one abstraction: commit a batch. Knows no Redis, no SQL, no HTTP.
//!
//! A [`Sink`] commits, a [`Source`] returns what must be committed. A [`batcher`] stands before
//! a sink and groups the events of concurrent requests; the [`pump`] moves events from a source
//! into a sink. Both the worker and the spool's drainer are a pump. [`expiry`] is about getting rid
//! of what was committed long ago.

pub mod batcher;
pub mod expiry;
pub mod pending;
pub mod pump;
pub mod spooled;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

pub use self::batcher::{RecordError, Recorded, Recorder};
pub use self::pending::{Delivery, Pending, Settled, SettledEntry};
use crate::event::{Batch, Differing, Event, EventKey, Fingerprint};
use crate::labels::labels;

/// What went wrong, for the log: a fragment that fits "failed to …". Holds no values of events.
pub type Cause = String;

/// Commits batches, all or nothing.
///
/// - `Ok` is a promise: the events survive a crash of this process and of the backend.
/// - After an error none of the batch is visible, or it is unknown, and committing again is
///   correct.
/// - Committing the same batch twice leaves the same state as once; so do two sinks of one
///   backend that commit overlapping batches at the same time.
/// - It returns in bounded time, whatever the backend does.
pub trait Sink: Send + Sync + 'static {
    /// Commits a batch.
    fn commit(&self, batch: &Batch) -> impl Future<Output = Result<Outcome, CommitError>> + Send;
}

/// What a commit did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Appended to a log, which does not look for duplicates.
    Appended,
    /// Stored, each event once.
    Stored {
        /// For each event of the batch, in its order: whether the store did not have it before.
        fresh: Vec<bool>,
        /// How many SIDs were, with this batch, reported in two terminal statuses that exclude
        /// each other.
        contradicted: usize,
        /// How many SIDs had already, before this batch, a status further along than all that the
        /// batch says of them.
        late: usize,
        /// The duplicates that say something else than the event that the store has under their
        /// name, in the order of the batch.
        differing: Vec<Differing>,
    },
}

/// Why a batch was not committed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CommitError {
    /// The backend is away, slow or busy: worth trying again.
    #[error("{0}")]
    Transient(Cause),
    /// The backend was not done with it in time: with fewer events it may be.
    #[error("{0}")]
    Late(Cause),
    /// The backend refuses something in the batch as data: trying again changes nothing.
    #[error("the data is refused: {0}")]
    Refused(Cause),
    /// No room is left: trying again helps once there is.
    #[error("no room is left: {0}")]
    Full(Cause),
}

labels! {
    /// What kind of a [`CommitError`] it was. A closed set: it is a metric label.
    pub enum CommitFailure {
        /// Worth trying again.
        Transient = "transient",
        /// The data is refused.
        Refused = "refused",
        /// No room is left.
        Full = "full",
    }
}

impl CommitError {
    /// The kind of the error, without the cause.
    #[must_use]
    pub fn failure(&self) -> CommitFailure {
        match self {
            Self::Transient(_) | Self::Late(_) => CommitFailure::Transient,
            Self::Refused(_) => CommitFailure::Refused,
            Self::Full(_) => CommitFailure::Full,
        }
    }
}

/// Hands out events at least once: what is not settled comes back, to this reader or another.
///
/// - A delivery belongs to its reader until it is settled, dead-lettered or released, or until it
///   has been idle long enough that another reader claims it.
/// - Every call returns in bounded time. After an error the next call starts afresh, on a new
///   connection if need be.
pub trait Source: Send + 'static {
    /// Names one delivery.
    type Id: Clone + Send + Sync + std::fmt::Debug + 'static;

    /// Whether there may be something to [`read`](Self::read), after a bounded wait if there is not. This wait
    /// may be given up at any time, and nothing is lost with it. One that can only wait by reading says so at
    /// once, and waits then.
    fn ready(&mut self) -> impl Future<Output = bool> + Send {
        std::future::ready(true)
    }

    /// The next deliveries, at most `limit`, waiting a bounded time if there are none.
    fn read(
        &mut self,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<Delivery<Self::Id>>, SourceError>> + Send;

    /// Deliveries that another reader left idle, at most `limit`. They are this reader's now.
    fn claim(
        &mut self,
        limit: usize,
    ) -> impl Future<Output = Result<Claimed<Self::Id>, SourceError>> + Send;

    /// Which of these events a worker has marked as stored, after storing them. A hint that saves
    /// work: `None` is never wrong.
    fn marked(
        &mut self,
        events: &[Event],
    ) -> impl Future<Output = Result<Vec<Option<Mark>>, SourceError>> + Send;

    /// Settles deliveries: marks their events as stored, and never hands them out again.
    fn ack(
        &mut self,
        settled: &Settled<Self::Id>,
    ) -> impl Future<Output = Result<(), SourceError>> + Send;

    /// Makes a dead letter of a delivery, with the reason, and never hands it out again.
    fn dead_letter(
        &mut self,
        id: &Self::Id,
        deliveries: u32,
        reason: &str,
    ) -> impl Future<Output = Result<(), SourceError>> + Send;

    /// Says that these deliveries are still being worked on, so that no other reader claims them.
    fn renew(&mut self, ids: &[Self::Id]) -> impl Future<Output = Result<(), SourceError>> + Send;

    /// Gives deliveries back: another reader may claim them at once, and this one does not count.
    fn release(
        &mut self,
        deliveries: &[(Self::Id, u32)],
    ) -> impl Future<Output = Result<(), SourceError>> + Send;

    /// Says that this reader is gone for good. What is still its own is for others to claim.
    fn leave(&mut self) -> impl Future<Output = Result<(), SourceError>> + Send {
        std::future::ready(Ok(()))
    }
}

/// Says that an event is in the store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mark {
    /// What the event says that is stored; `None` if that is not known.
    pub fingerprint: Option<Fingerprint>,
}

/// What was claimed from other readers.
#[derive(Clone, Debug)]
pub struct Claimed<I> {
    /// Deliveries that are this reader's now.
    pub deliveries: Vec<Delivery<I>>,
    /// How many more were idle, and are in the source no longer: another client deleted them.
    pub vanished: usize,
}

/// A source does not answer: worth trying again.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct SourceError(pub Cause);

/// Told of what the pipeline does; metrics and logs hang off it. Must return at once.
pub trait Observer: Send + Sync + 'static {
    /// A batch was committed.
    fn committed(&self, _batch: &Batch, _outcome: &Outcome, _took: Duration) {}
    /// A batch was not committed.
    fn commit_failed(&self, _batch: &Batch, _error: &CommitError, _took: Duration) {}
    /// The log takes no batches: the spool does.
    fn circuit_opened(&self, _error: &CommitError) {}
    /// The log takes batches again.
    fn circuit_closed(&self) {}
    /// Deliveries were duplicates by their marks; of them, these say something else than what is
    /// stored.
    fn skipped(&self, _deliveries: usize, _differing: &[Differing]) {}
    /// Deliveries were claimed from another reader.
    fn claimed(&self, _deliveries: usize) {}
    /// Deliveries that were pending have been deleted from the source.
    fn vanished(&self, _deliveries: usize) {}
    /// A delivery became a dead letter.
    fn dead_lettered(&self, _key: Option<&EventKey>, _reason: &str) {}
    /// The source did not answer.
    fn source_failed(&self, _error: &SourceError) {}
    /// The source answered: what was read of it is done with.
    fn source_answered(&self) {}
}

impl<K: Sink> Sink for Arc<K> {
    fn commit(&self, batch: &Batch) -> impl Future<Output = Result<Outcome, CommitError>> + Send {
        K::commit(self, batch)
    }
}

/// A sink that reports its commits to an observer.
#[derive(Debug)]
pub struct Observed<K, O> {
    sink: K,
    observer: Arc<O>,
}

impl<K, O> Observed<K, O> {
    /// Tells `observer` of every commit of `sink`.
    #[must_use]
    pub fn new(sink: K, observer: Arc<O>) -> Self {
        Self { sink, observer }
    }
}

impl<K: Sink, O: Observer> Sink for Observed<K, O> {
    async fn commit(&self, batch: &Batch) -> Result<Outcome, CommitError> {
        let started = Instant::now();
        let result = self.sink.commit(batch).await;
        match &result {
            Ok(outcome) => self.observer.committed(batch, outcome, started.elapsed()),
            Err(error) => self.observer.commit_failed(batch, error, started.elapsed()),
        }
        result
    }
}
