//! [`Batch`]: events that are committed together. Bounded, folded by key, sorted by key.

use super::{Event, EventId, Fingerprint};

/// Events to commit together: at least one, at most [`Batch::MAX_EVENTS`], each once, sorted by key
/// and account, so that two writers lock rows in the same order.
#[derive(Clone, Debug)]
pub struct Batch {
    events: Vec<Event>,
    folded: usize,
    differing: Vec<Differing>,
}

/// A duplicate that says something else than the event whose name it has: two facts share a name,
/// and only one of them is kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Differing {
    /// The name.
    pub event: EventId,
    /// What the one that is kept says.
    pub kept: Fingerprint,
    /// What the one says that is not.
    pub came: Fingerprint,
}

impl Differing {
    /// Compares an event that came with another of the same name, which is kept. What an older version
    /// wrote has no fingerprint, and is not compared.
    #[must_use]
    pub fn of(came: &Event, kept: Option<Fingerprint>) -> Option<Self> {
        let (kept, came_with) = (kept?, came.fingerprint?);
        (kept != came_with).then(|| Self { event: came.id(), kept, came: came_with })
    }
}

impl Batch {
    /// The most that one commit holds. A pump into the embedded store takes as many; a receiver and a
    /// worker fewer.
    pub const MAX_EVENTS: usize = 2048;

    /// Takes up to [`Batch::MAX_EVENTS`] from the front of `events`, folding those of one name into
    /// the first. `None` if it is empty.
    #[must_use]
    pub fn take_from(events: &mut Vec<Event>) -> Option<Self> {
        let taken = events.len().min(Self::MAX_EVENTS);
        let mut batch: Vec<Event> = events.drain(..taken).collect();
        // Stable: of two events with one name, the first that came stays.
        batch.sort_by(|a, b| a.id_parts().cmp(&b.id_parts()));
        let mut differing = Vec::new();
        batch.dedup_by(|later, first| {
            let same = later.id_parts() == first.id_parts();
            if same {
                differing.extend(Differing::of(later, first.fingerprint));
            }
            same
        });
        let folded = taken - batch.len();
        (!batch.is_empty()).then_some(Self { events: batch, folded, differing })
    }

    /// The events, sorted by key and account.
    #[must_use]
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// How many duplicates were folded away.
    #[must_use]
    pub fn folded(&self) -> usize {
        self.folded
    }

    /// Those of them that differ from the event into which they were folded.
    #[must_use]
    pub fn differing(&self) -> &[Differing] {
        &self.differing
    }

    /// The place of the event of this key and account.
    #[must_use]
    pub fn position(&self, key: &str, account: &str) -> Option<usize> {
        let wanted = (key, account);
        let place = |event: &Event| (event.key.as_str(), event.account.as_str()).cmp(&wanted);
        self.events.binary_search_by(place).ok()
    }

    /// The two halves, for a store that refuses one of the events, or needs too long for all of them. `None` if
    /// there is but one.
    #[must_use]
    pub fn halves(&self) -> Option<(Self, Self)> {
        let (left, right) = self.events.split_at(self.events.len() / 2);
        let half =
            |events: &[Event]| Self { events: events.to_vec(), folded: 0, differing: Vec::new() };
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
        Self { events: vec![event], folded: 0, differing: Vec::new() }
    }
}
