//! [`Batch`]: events that are committed together. Bounded, folded by key, sorted by key.

use super::{Event, EventKey};

/// Events to commit together: at least one, at most [`Batch::MAX_EVENTS`], each key once, sorted
/// by key, so that two writers lock rows in the same order.
#[derive(Clone, Debug)]
pub struct Batch {
    events: Vec<Event>,
    folded: usize,
}

impl Batch {
    /// The most that one commit holds. A pump into the embedded store takes as many; a receiver and a
    /// worker fewer.
    pub const MAX_EVENTS: usize = 2048;

    /// Takes up to [`Batch::MAX_EVENTS`] from the front of `events`, folding those of one key
    /// into the first. `None` if there are none.
    #[must_use]
    pub fn take_from(events: &mut Vec<Event>) -> Option<Self> {
        let taken = events.len().min(Self::MAX_EVENTS);
        let mut batch: Vec<Event> = events.drain(..taken).collect();
        // Stable: of two events with one key, the first that came stays.
        batch.sort_by(|a, b| a.key.cmp(&b.key));
        batch.dedup_by(|later, first| later.key == first.key);
        let folded = taken - batch.len();
        (!batch.is_empty()).then_some(Self { events: batch, folded })
    }

    /// The events, sorted by key.
    #[must_use]
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// How many duplicates were folded away.
    #[must_use]
    pub fn folded(&self) -> usize {
        self.folded
    }

    /// The place of this key.
    #[must_use]
    pub fn position(&self, key: &EventKey) -> Option<usize> {
        self.events.binary_search_by(|event| event.key.cmp(key)).ok()
    }

    /// The two halves, to look for the event that a store refuses. `None` if there is but one.
    #[must_use]
    pub fn halves(&self) -> Option<(Self, Self)> {
        let (left, right) = self.events.split_at(self.events.len() / 2);
        let half = |events: &[Event]| Self { events: events.to_vec(), folded: 0 };
        (!left.is_empty()).then(|| (half(left), half(right)))
    }
}

impl IntoIterator for Batch {
    type Item = Event;
    type IntoIter = std::vec::IntoIter<Event>;

    fn into_iter(self) -> Self::IntoIter {
        self.events.into_iter()
    }
}

impl From<Event> for Batch {
    fn from(event: Event) -> Self {
        Self { events: vec![event], folded: 0 }
    }
}
