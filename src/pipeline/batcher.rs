//! Group commit: the events of concurrent requests become one batch, and the requests are
//! answered when it is committed.
//!
//! There is no linger: while one commit runs, the next batch gathers by itself, so that a batch is
//! one event when it is quiet and many when it is not.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::timeout;

use super::Sink;
use crate::crash_points::{self, Point};
use crate::event::{Batch, Event};

/// Most events of one commit. 128 were measured at 8 times the time of one, so waiting for more
/// would cost more latency than it saves.
const BATCH_EVENTS: usize = 256;
/// Most bytes of one commit.
const BATCH_BYTES: usize = 256 * 1024;
/// Most events that wait: 16 batches. More would wait longer than Twilio does.
const QUEUE: usize = 16 * BATCH_EVENTS;
/// Longest wait of a request for its commit. Twilio gives up after 15 s.
const RECORD_TIMEOUT: Duration = Duration::from_secs(10);

/// Proof that an event is durable. Only the batcher makes one, after a commit; only from one
/// comes a 2xx.
#[derive(Debug)]
#[must_use = "an event that is recorded must be answered"]
pub struct Recorded(());

/// Why an event is not durable.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RecordError {
    /// The queue of waiting events is full.
    #[error("too many events wait to be committed")]
    Overloaded,
    /// The commit failed, or took too long; the event may be stored nevertheless.
    #[error("the event could not be committed")]
    NotDurable,
}

/// The events of one request.
#[derive(Debug)]
struct RecordRequest {
    events: Vec<Event>,
    answer: oneshot::Sender<Result<Recorded, RecordError>>,
    /// Their places in the queue.
    _places: OwnedSemaphorePermit,
}

/// Hands events to the batcher. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Recorder {
    requests: mpsc::UnboundedSender<RecordRequest>,
    /// What bounds the queue: a place for each event that may wait.
    places: Arc<Semaphore>,
}

impl Recorder {
    /// Records the events of one request, and returns when all of them are durable.
    ///
    /// # Errors
    /// See [`RecordError`]; some of the events may have been stored.
    pub async fn record(&self, events: Vec<Event>) -> Result<Recorded, RecordError> {
        let places = u32::try_from(events.len()).map_err(|_| RecordError::Overloaded)?;
        let places = Arc::clone(&self.places).try_acquire_many_owned(places);
        let _places = places.map_err(|_| RecordError::Overloaded)?;
        let (answer, recorded) = oneshot::channel();
        let request = RecordRequest { events, answer, _places };
        self.requests.send(request).map_err(|_| RecordError::NotDurable)?;
        match timeout(RECORD_TIMEOUT, recorded).await {
            Ok(Ok(recorded)) => recorded,
            // Too late, or the batcher is gone.
            Ok(Err(_)) | Err(_) => Err(RecordError::NotDurable),
        }
    }

    /// How many events wait for the batcher.
    #[must_use]
    pub fn depth(&self) -> usize {
        QUEUE - self.places.available_permits()
    }
}

/// The receiving end of a [`Recorder`].
#[derive(Debug)]
pub struct Queue(mpsc::UnboundedReceiver<RecordRequest>);

/// A recorder, and the queue that [`run`] drains.
#[must_use]
pub fn channel() -> (Recorder, Queue) {
    let (requests, queue) = mpsc::unbounded_channel();
    (Recorder { requests, places: Arc::new(Semaphore::new(QUEUE)) }, Queue(queue))
}

/// Commits what is recorded, until every [`Recorder`] is gone and the queue is empty.
pub async fn run(queue: Queue, sink: impl Sink) {
    let Queue(mut queue) = queue;
    let (mut events, mut answers) = (Vec::new(), Vec::new());
    while let Some(first) = queue.recv().await {
        gather(first, &mut queue, &mut events, &mut answers);
        crash_points::point(Point::Gathered);
        let ok = commit(&mut events, &sink).await;
        crash_points::point(Point::Recorded);
        for answer in answers.drain(..) {
            // A request that no longer waits was cut off by its client; its event is stored.
            let _ = answer.send(if ok { Ok(Recorded(())) } else { Err(RecordError::NotDurable) });
        }
    }
}

/// What has queued while the last commit ran, within the bounds of a batch.
fn gather(
    first: RecordRequest,
    queue: &mut mpsc::UnboundedReceiver<RecordRequest>,
    events: &mut Vec<Event>,
    answers: &mut Vec<oneshot::Sender<Result<Recorded, RecordError>>>,
) {
    let (mut next, mut bytes) = (Some(first), 0);
    while let Some(request) = next {
        bytes += request.events.iter().map(Event::size).sum::<usize>();
        events.extend(request.events);
        answers.push(request.answer);
        let room = events.len() < BATCH_EVENTS && bytes < BATCH_BYTES;
        next = if room { queue.try_recv().ok() } else { None };
    }
}

/// Whether all of them are durable. None is left.
async fn commit(events: &mut Vec<Event>, sink: &impl Sink) -> bool {
    while let Some(batch) = Batch::take_from(events) {
        if sink.commit(&batch).await.is_err() {
            events.clear();
            return false;
        }
    }
    true
}
