//! Group commit: the events of concurrent requests become one batch, and the requests are
//! answered when it is committed.
//!
//! There is no linger: while one commit runs, the next batch gathers by itself, so that a batch is
//! one event when it is quiet and many when it is not.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::Sink;
use crate::event::{Batch, Event};
use crate::sabotage::{self, Point};

/// Most events of one commit. 128 were measured at 8 times the time of one, so waiting for more
/// would cost more latency than it saves.
const BATCH_EVENTS: usize = 256;
/// Most bytes of one commit.
const BATCH_BYTES: usize = 256 * 1024;
/// Most events that wait: 16 batches. More would wait longer than Twilio does.
const QUEUE: usize = 16 * BATCH_EVENTS;
/// Longest wait of a request for its commit. Twilio gives up after 15 s.
const PATIENCE: Duration = Duration::from_secs(10);

/// Proof that an event is durable. Only the batcher makes one, after a commit; only from one
/// comes a 2xx.
#[derive(Debug)]
#[must_use = "an event that is recorded must be answered"]
pub struct Recorded(());

/// Why an event is not durable.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RecordError {
    /// More events wait than may.
    #[error("too many events wait to be committed")]
    Overloaded,
    /// The commit failed, or took too long; the event may have been stored all the same.
    #[error("the event could not be committed")]
    NotDurable,
}

type Answer = oneshot::Sender<Result<Recorded, RecordError>>;

/// Hands events to the batcher. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Recorder(mpsc::Sender<(Event, Answer)>);

impl Recorder {
    /// Records an event, and returns when it is durable.
    ///
    /// # Errors
    /// See [`RecordError`].
    pub async fn record(&self, event: Event) -> Result<Recorded, RecordError> {
        self.record_all(vec![event]).await
    }

    /// Records several events of one request, and returns when all of them are durable.
    ///
    /// # Errors
    /// See [`RecordError`]; some of the events may have been stored.
    pub async fn record_all(&self, events: Vec<Event>) -> Result<Recorded, RecordError> {
        let mut answers = Vec::with_capacity(events.len());
        for event in events {
            let (answer, wait) = oneshot::channel();
            self.0.try_send((event, answer)).map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => RecordError::Overloaded,
                mpsc::error::TrySendError::Closed(_) => RecordError::NotDurable,
            })?;
            answers.push(wait);
        }
        let all = async {
            for wait in answers {
                let Recorded(()) = wait.await.unwrap_or(Err(RecordError::NotDurable))?;
            }
            Ok(Recorded(()))
        };
        timeout(PATIENCE, all).await.unwrap_or(Err(RecordError::NotDurable))
    }

    /// How many events wait for the batcher.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.0.max_capacity() - self.0.capacity()
    }
}

/// The receiving end of a [`Recorder`].
#[derive(Debug)]
pub struct Queue(mpsc::Receiver<(Event, Answer)>);

/// A recorder, and the queue that [`run`] drains.
#[must_use]
pub fn channel() -> (Recorder, Queue) {
    let (sender, receiver) = mpsc::channel(QUEUE);
    (Recorder(sender), Queue(receiver))
}

/// Commits what is recorded, until every [`Recorder`] is gone and the queue is empty.
pub async fn run(queue: Queue, sink: impl Sink) {
    let Queue(mut receiver) = queue;
    while let Some(first) = receiver.recv().await {
        let (events, answers) = gather(first, &mut receiver);
        sabotage::point(Point::Gathered);
        let ok = commit(events, &sink).await;
        sabotage::point(Point::Recorded);
        for answer in answers {
            // A request that no longer waits was cut off by its client; its event is stored.
            let _ = answer.send(if ok { Ok(Recorded(())) } else { Err(RecordError::NotDurable) });
        }
    }
}

/// What has queued while the last commit ran, within the bounds of a batch.
fn gather(
    first: (Event, Answer),
    receiver: &mut mpsc::Receiver<(Event, Answer)>,
) -> (Vec<Event>, Vec<Answer>) {
    let mut bytes = first.0.size();
    let (mut events, mut answers) = (vec![first.0], vec![first.1]);
    while events.len() < BATCH_EVENTS && bytes < BATCH_BYTES {
        let Ok((event, answer)) = receiver.try_recv() else { break };
        bytes += event.size();
        events.push(event);
        answers.push(answer);
    }
    (events, answers)
}

async fn commit(mut events: Vec<Event>, sink: &impl Sink) -> bool {
    while let Some(batch) = Batch::take_from(&mut events) {
        if sink.commit(&batch).await.is_err() {
            return false;
        }
    }
    true
}
