//! What was read and is not settled. [`Settled`] is proof that an event is in the store, and an
//! ack takes nothing else.

use std::collections::HashMap;

use super::{CommitError, Mark, Sink};
use crate::event::codec::Malformed;
use crate::event::{Batch, Differing, Event, EventId, EventKey, Fingerprint};

/// An event that a source handed out.
#[derive(Clone, Debug)]
pub struct Delivery<I> {
    /// Its name.
    pub id: I,
    /// How often it was handed out, this time included.
    pub count: u32,
    /// The event, unless what lay there is none.
    pub event: Result<Event, Malformed>,
}

/// Deliveries whose events must be committed. Those of one name are one event.
#[derive(Clone, Debug)]
pub struct Pending<I> {
    batch: Batch,
    deliveries: HashMap<EventId, Vec<(I, u32)>>,
}

/// Proof that the events of these deliveries are in the store: our own commit succeeded, or a
/// mark says that somebody's did.
#[derive(Clone, Debug)]
pub struct Settled<I>(Vec<Entry<I>>);

/// A delivery whose event is in the store.
#[derive(Clone, Debug)]
pub struct Entry<I> {
    /// Its name.
    pub id: I,
    /// Which event.
    pub event: EventId,
    /// What that says.
    pub fingerprint: Option<Fingerprint>,
}

/// An event that the sink refuses as data, found among its batch.
#[derive(Clone, Debug)]
pub struct Refused<I> {
    /// Its key.
    pub key: EventKey,
    /// Why.
    pub why: String,
    /// Its deliveries, and how often each was handed out.
    pub deliveries: Vec<(I, u32)>,
}

/// What came of a commit.
#[derive(Debug)]
pub struct Commit<I> {
    /// The events that are in the store now.
    pub settled: Settled<I>,
    /// The events that never will be.
    pub refused: Vec<Refused<I>>,
}

impl<I: Clone> Pending<I> {
    /// Of at most [`Batch::MAX_EVENTS`] deliveries; `None` if there are none. What is no event is
    /// left out.
    #[must_use]
    pub fn new(deliveries: Vec<Delivery<I>>) -> Option<Self> {
        debug_assert!(deliveries.len() <= Batch::MAX_EVENTS, "a source was asked for no more");
        let mut by_event: HashMap<EventId, Vec<(I, u32)>> = HashMap::new();
        let mut events = Vec::with_capacity(deliveries.len());
        for Delivery { id, count, event } in deliveries {
            let Ok(event) = event else { continue };
            by_event.entry(event.id()).or_default().push((id, count));
            events.push(event);
        }
        Some(Self { batch: Batch::take_from(&mut events)?, deliveries: by_event })
    }

    /// The events, each once, sorted.
    #[must_use]
    pub fn events(&self) -> &[Event] {
        self.batch.events()
    }

    /// Every delivery, and how often it was handed out.
    #[must_use]
    pub fn deliveries(&self) -> Vec<(I, u32)> {
        self.deliveries.values().flatten().cloned().collect()
    }

    /// Sets apart what is marked as stored, and says which of it differs from what is; `marks` is in
    /// the order of [`events`](Self::events).
    #[must_use]
    pub fn split_marked(
        mut self,
        marks: &[Option<Mark>],
    ) -> (Settled<I>, Vec<Differing>, Option<Self>) {
        let (mut settled, mut rest, mut differing) = (Vec::new(), Vec::new(), Vec::new());
        for (event, mark) in self.batch.into_iter().zip(marks) {
            let Some(mark) = mark else {
                rest.push(event);
                continue;
            };
            differing.extend(Differing::of(&event, mark.fingerprint));
            settled.extend(entries(&self.deliveries, &event));
            self.deliveries.remove(&event.id());
        }
        let rest =
            Batch::take_from(&mut rest).map(|batch| Self { batch, deliveries: self.deliveries });
        (Settled(settled), differing, rest)
    }

    /// Commits. If the sink refuses the batch as data, halves it until what it refuses stands
    /// alone, so that one event cannot hold up the others.
    ///
    /// # Errors
    /// The sink's, with which nothing is settled: commit again.
    pub async fn commit(&self, sink: &impl Sink) -> Result<Commit<I>, CommitError> {
        let mut commit = Commit { settled: Settled(Vec::new()), refused: Vec::new() };
        let mut stack = vec![self.batch.clone()];
        while let Some(batch) = stack.pop() {
            match sink.commit(&batch).await {
                Ok(_) => {
                    let events = batch.events().iter();
                    commit.settled.0.extend(events.flat_map(|it| entries(&self.deliveries, it)));
                }
                Err(CommitError::Refused(why)) => match batch.halves() {
                    Some((left, right)) => stack.extend([right, left]),
                    None => commit.refused.extend(batch.into_iter().map(|event| Refused {
                        deliveries: self.deliveries.get(&event.id()).cloned().unwrap_or_default(),
                        key: event.key,
                        why: why.clone(),
                    })),
                },
                Err(error) => return Err(error),
            }
        }
        Ok(commit)
    }
}

/// The deliveries of an event, as they are once it is stored.
fn entries<I: Clone>(
    deliveries: &HashMap<EventId, Vec<(I, u32)>>,
    event: &Event,
) -> impl Iterator<Item = Entry<I>> {
    let deliveries = deliveries.get(&event.id()).into_iter().flatten();
    deliveries.map(|(id, _)| Entry {
        id: id.clone(),
        event: event.id(),
        fingerprint: event.fingerprint,
    })
}

impl<I> Settled<I> {
    /// The deliveries and their events.
    #[must_use]
    pub fn entries(&self) -> &[Entry<I>] {
        &self.0
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
