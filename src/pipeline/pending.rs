//! What was read and is not settled. [`Settled`] is proof that an event is in the store, and an
//! ack takes nothing else.

use std::borrow::Cow;

use super::{CommitError, Mark, Sink};
use crate::event::codec::Malformed;
use crate::event::{Batch, Differing, Event, EventId, EventKey, Fingerprint};

/// An event that a source handed out.
#[derive(Clone, Debug)]
pub struct Delivery<I> {
    /// The id of the delivery.
    pub id: I,
    /// How often it was handed out, this time included.
    pub count: u32,
    /// The event, or why the entry could not be decoded.
    pub event: Result<Event, Malformed>,
}

/// Deliveries whose events must be committed. Those of one name are one event.
#[derive(Clone, Debug)]
pub struct Pending<I> {
    batch: Batch,
    /// Those of each event, in the order of the batch.
    deliveries: Vec<Handed<I>>,
}

/// The deliveries of one event, and how often each was handed out.
type Handed<I> = Vec<(I, u32)>;

/// Proof that the events of these deliveries are in the store: our own commit succeeded, or a
/// mark says that another process's did.
#[derive(Clone, Debug)]
pub struct Settled<I>(Vec<SettledEntry<I>>);

/// A delivery whose event is in the store.
#[derive(Clone, Debug)]
pub struct SettledEntry<I> {
    /// The id of the delivery.
    pub id: I,
    /// Which event.
    pub event: EventId,
    /// What that says.
    pub fingerprint: Option<Fingerprint>,
}

/// An event that the sink refuses as data, found among its batch.
#[derive(Clone, Debug)]
pub struct Refused<I> {
    /// The key of the event.
    pub key: EventKey,
    /// Why.
    pub why: String,
    /// The deliveries of the event, and how often each was delivered.
    pub deliveries: Handed<I>,
}

/// What came of a commit.
#[derive(Debug)]
pub struct CommitResult<I> {
    /// The events that are in the store now.
    pub settled: Settled<I>,
    /// The events that never will be.
    pub refused: Vec<Refused<I>>,
    /// Whether the sink took too long for the batch as a whole.
    pub was_late: bool,
}

impl<I: Clone> Pending<I> {
    /// Takes at most [`Batch::MAX_EVENTS`] deliveries; `None` if there are no events among them. Deliveries that are
    /// not events are left out.
    #[must_use]
    pub fn new(deliveries: Vec<Delivery<I>>) -> Option<Self> {
        debug_assert!(deliveries.len() <= Batch::MAX_EVENTS, "a source was asked for no more");
        let are_events = deliveries.into_iter().filter_map(|Delivery { id, count, event }| {
            event.ok().map(|event| (event, (id, count)))
        });
        let mut read: Vec<(Event, (I, u32))> = are_events.collect();
        // As a batch is sorted.
        read.sort_by(|(a, _), (b, _)| a.id_parts().cmp(&b.id_parts()));
        let mut events: Vec<Event> = Vec::with_capacity(read.len());
        let mut deliveries: Vec<Handed<I>> = Vec::with_capacity(read.len());
        for (event, delivery) in read {
            let is_same = events.last().is_some_and(|last| last.id_parts() == event.id_parts());
            match deliveries.last_mut().filter(|_| is_same) {
                Some(handed) => handed.push(delivery),
                None => deliveries.push(vec![delivery]),
            }
            events.push(event);
        }
        Some(Self { batch: Batch::take_from(&mut events)?, deliveries })
    }

    /// The events, each once, sorted.
    #[must_use]
    pub fn events(&self) -> &[Event] {
        self.batch.events()
    }

    /// Every delivery, and how often it was handed out.
    #[must_use]
    pub fn deliveries(&self) -> Vec<(I, u32)> {
        self.deliveries.iter().flatten().cloned().collect()
    }

    /// Sets apart what is marked as stored, and says which of it differs from what is; `marks` is in
    /// the order of [`events`](Self::events).
    #[must_use]
    pub fn split_marked(
        self,
        marks: &[Option<Mark>],
    ) -> (Settled<I>, Vec<Differing>, Option<Self>) {
        let (mut settled, mut differing) = (Vec::new(), Vec::new());
        let (mut rest, mut deliveries) = (Vec::new(), Vec::new());
        for ((event, handed), mark) in self.batch.into_iter().zip(self.deliveries).zip(marks) {
            match mark {
                Some(mark) => {
                    differing.extend(Differing::of(&event, mark.fingerprint));
                    settled.extend(entries(&event, &handed));
                }
                None => {
                    rest.push(event);
                    deliveries.push(handed);
                }
            }
        }
        let rest = Batch::take_from(&mut rest).map(|batch| Self { batch, deliveries });
        (Settled(settled), differing, rest)
    }

    /// Commits. If the sink rejects the batch as data, halves it until the rejected event is alone, so that one event
    /// cannot hold up the others. If the sink takes too long, halves the batch as well: on a slow disk, the whole batch
    /// would be retried for ever and never finish in time.
    ///
    /// # Errors
    /// The sink's, with which nothing is settled: commit again. What was committed of it is then a duplicate.
    pub async fn commit(&self, sink: &impl Sink) -> Result<CommitResult<I>, CommitError> {
        let mut commit =
            CommitResult { settled: Settled(Vec::new()), refused: Vec::new(), was_late: false };
        // Each with the deliveries of its events.
        let mut stack = vec![(Cow::Borrowed(&self.batch), &*self.deliveries)];
        while let Some((batch, deliveries)) = stack.pop() {
            let halves = || {
                let (left, right) = batch.halves()?;
                let (of_left, of_right) = deliveries.split_at(left.events().len());
                Some([(Cow::Owned(right), of_right), (Cow::Owned(left), of_left)])
            };
            match sink.commit(&batch).await {
                Ok(_) => {
                    let of_each = batch.events().iter().zip(deliveries);
                    commit.settled.0.extend(of_each.flat_map(|(it, handed)| entries(it, handed)));
                }
                Err(CommitError::Refused(why)) => match halves() {
                    Some(halves) => stack.extend(halves),
                    None => commit.refused.extend(batch.events().iter().zip(deliveries).map(
                        |(event, handed)| Refused {
                            key: event.key.clone(),
                            why: why.clone(),
                            deliveries: handed.clone(),
                        },
                    )),
                },
                Err(CommitError::Late(why)) => match halves() {
                    Some(halves) => {
                        commit.was_late = true;
                        stack.extend(halves);
                    }
                    None => return Err(CommitError::Late(why)),
                },
                Err(error @ (CommitError::Transient(_) | CommitError::Full(_))) => {
                    return Err(error);
                }
            }
        }
        Ok(commit)
    }
}

/// The deliveries of an event, as they are once it is stored.
fn entries<I: Clone>(event: &Event, handed: &Handed<I>) -> impl Iterator<Item = SettledEntry<I>> {
    handed.iter().map(|(id, _)| SettledEntry {
        id: id.clone(),
        event: event.id(),
        fingerprint: event.fingerprint,
    })
}

impl<I> Settled<I> {
    /// The deliveries and their events.
    #[must_use]
    pub fn entries(&self) -> &[SettledEntry<I>] {
        &self.0
    }

    /// Whether it is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::super::Outcome;
    use super::*;
    use crate::event::Kind;

    /// A store that does at most this many events in time; which batches it was given.
    struct Slow {
        most: usize,
        tried: Mutex<Vec<usize>>,
    }

    impl Sink for Slow {
        async fn commit(&self, batch: &Batch) -> Result<Outcome, CommitError> {
            let events = batch.events().len();
            self.tried.lock().expect("no test panics with it").push(events);
            match events <= self.most {
                true => Ok(Outcome::Appended),
                false => Err(CommitError::Late("the disk took too long".to_owned())),
            }
        }
    }

    fn pending(events: u32) -> Pending<u32> {
        let delivery = |n: u32| {
            let key = EventKey::of(&["other", &n.to_string()]).expect("printable");
            Delivery { id: n, count: 1, event: Ok(Event::new(key, Kind::Other, "AC1")) }
        };
        Pending::new((0..events).map(delivery).collect()).expect("some")
    }

    #[tokio::test]
    async fn what_is_too_much_at_once_is_committed_in_parts() {
        let slow = Slow { most: 3, tried: Mutex::default() };
        let commit = pending(8).commit(&slow).await.expect("two at a time are done in time");
        let mut settled: Vec<u32> = commit.settled.entries().iter().map(|entry| entry.id).collect();
        settled.sort_unstable();
        assert_eq!(settled, (0..8).collect::<Vec<_>>());
        assert!(commit.refused.is_empty());
        assert!(commit.was_late);
        assert_eq!(slow.tried.into_inner().expect("as above"), [8, 4, 2, 2, 4, 2, 2]);
    }

    /// A store that refuses this event, and with it each batch that has it.
    struct Refusing(EventKey);

    impl Sink for Refusing {
        async fn commit(&self, batch: &Batch) -> Result<Outcome, CommitError> {
            match batch.events().iter().any(|event| event.key == self.0) {
                true => Err(CommitError::Refused("too large".to_owned())),
                false => Ok(Outcome::Appended),
            }
        }
    }

    #[tokio::test]
    async fn each_delivery_ends_as_its_own_event_does() {
        let key = |n: u32| EventKey::of(&["other", &n.to_string()]).expect("printable");
        // Of six events, each delivered twice: the one before the events are sorted, the other behind all of them.
        let delivery = |id: u32| {
            let event = Event::new(key(id * 5 % 6), Kind::Other, "AC1");
            Delivery { id, count: 1 + id / 6, event: Ok(event) }
        };
        let pending = Pending::new((0..12).map(delivery).collect()).expect("some");
        let mark = Mark { fingerprint: None };
        let marks: Vec<_> =
            pending.events().iter().map(|event| (event.key == key(4)).then_some(mark)).collect();
        let ids = |settled: &Settled<u32>| {
            let mut ids: Vec<u32> = settled.entries().iter().map(|entry| entry.id).collect();
            ids.sort_unstable();
            ids
        };
        let (settled, _, rest) = pending.split_marked(&marks);
        assert_eq!(ids(&settled), [2, 8]);

        let commit = rest.expect("five").commit(&Refusing(key(1))).await.expect("it answers");
        assert_eq!(ids(&commit.settled), [0, 1, 3, 4, 6, 7, 9, 10]);
        let refused: Vec<_> = commit.refused.iter().map(|it| (&it.key, &*it.deliveries)).collect();
        assert_eq!(refused, [(&key(1), &[(5, 1), (11, 2)][..])]);
    }

    #[tokio::test]
    async fn a_sink_that_is_in_time_for_nothing_is_an_error_soon() {
        let slow = Slow { most: 0, tried: Mutex::default() };
        let error = pending(2048).commit(&slow).await.expect_err("it hangs");
        assert!(matches!(error, CommitError::Late(_)));
        assert_eq!(slow.tried.into_inner().expect("as above").len(), 12);
    }
}
