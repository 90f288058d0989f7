//! [`RecentEvents`]: events as they are committed, for subscribers, and the last of them for subscribers that come a
//! little later. An observer like any other, so the hot path never waits for a subscriber: one
//! that does not keep up loses its subscription.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::broadcast;

use crate::clock::{Clock, Timestamp};
use crate::event::{Batch, Event, EventId};
use crate::pipeline::{Observed, Observer, Outcome, Sink};

/// The last events that are remembered: some pages of a screen. As many of each second at most: who
/// comes later sees no more of it, and each is a copy that a callback waits for.
const REMEMBERED: usize = 256;
/// Events that a watcher may be behind: a second of a busy server.
const BEHIND: usize = 1024;
/// Duplicates that are remembered.
const DUPLICATES: usize = 2048;

/// How far events have come when this process sees them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EventStage {
    /// They were received and are durable; another process stores them.
    Received,
    /// They are in the store.
    Stored,
}

impl EventStage {
    /// The name in the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Received => "received",
            Self::Stored => "stored",
        }
    }
}

/// An event that was committed.
#[derive(Clone, Debug)]
pub struct RecentEvent {
    /// Counts from 1 in each process.
    pub number: u64,
    /// What was committed.
    pub event: Event,
    /// When.
    pub at: Timestamp,
    /// Whether the store had it before; a log does not look.
    pub duplicate: Option<bool>,
}

/// Hands out what is committed. Cheap to clone; all clones are one.
#[derive(Clone, Debug)]
pub struct RecentEvents {
    stage: EventStage,
    clock: Clock,
    sender: broadcast::Sender<Arc<RecentEvent>>,
    memory: Arc<Mutex<Remembered>>,
}

#[derive(Debug, Default)]
struct Remembered {
    count: u64,
    /// How many were remembered in this second, counted from the epoch.
    lately: (i64, usize),
    last: VecDeque<Arc<RecentEvent>>,
    duplicates: VecDeque<(EventId, Timestamp)>,
}

impl RecentEvents {
    /// The memory of a process that sees this much.
    #[must_use]
    pub fn new(stage: EventStage, clock: Clock) -> Self {
        let (sender, _) = broadcast::channel(BEHIND);
        Self { stage, clock, sender, memory: Arc::default() }
    }

    /// What this process can see of its events.
    #[must_use]
    pub fn stage(&self) -> EventStage {
        self.stage
    }

    /// A sink whose commits are shown.
    #[must_use]
    pub fn observed<K: Sink>(&self, sink: K) -> Observed<K, Self> {
        Observed::new(sink, Arc::new(self.clone()))
    }

    /// The last ones, oldest first.
    #[must_use]
    pub fn last(&self) -> Vec<Arc<RecentEvent>> {
        self.memory().last.iter().cloned().collect()
    }

    /// When known events came again, as far as is remembered.
    #[must_use]
    pub fn came_again(&self, event: &EventId) -> Vec<Timestamp> {
        let memory = self.memory();
        let same = memory.duplicates.iter().filter(|(known, _)| known == event);
        same.map(|(_, at)| *at).collect()
    }

    /// How many watch.
    #[must_use]
    pub fn watchers(&self) -> usize {
        self.sender.receiver_count()
    }

    /// Watches what is committed from now on; behind `number`, if that is given and remembered.
    #[must_use]
    pub fn watch(&self, number: Option<u64>) -> EventSubscription {
        let memory = self.memory();
        // Under the lock, so that nothing is missed and nothing comes twice.
        let receiver = self.sender.subscribe();
        let known = |number| memory.last.iter().filter(move |seen| seen.number > number).cloned();
        let backlog = number.map_or_else(VecDeque::new, |number| known(number).collect());
        EventSubscription { backlog, receiver }
    }

    fn memory(&self) -> std::sync::MutexGuard<'_, Remembered> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observer for RecentEvents {
    fn committed(&self, batch: &Batch, outcome: &Outcome, _took: Duration) {
        let at = self.clock.now();
        let fresh = |place: usize| match outcome {
            Outcome::Stored { fresh, .. } => fresh.get(place).copied(),
            Outcome::Appended => None,
        };
        // An event that is neither watched nor remembered is not copied.
        let events = batch.events();
        let mut memory = self.memory();
        let skipped = match self.watchers() {
            0 => events.len().saturating_sub(memory.room(at)),
            _ => 0,
        };
        memory.count += skipped as u64;
        for (place, event) in events.iter().enumerate() {
            let duplicate = fresh(place).map(|fresh| !fresh);
            if duplicate == Some(true) {
                push_bounded(&mut memory.duplicates, (event.id(), at), DUPLICATES);
            }
            if place < skipped {
                continue;
            }
            memory.count += 1;
            memory.lately.1 += 1;
            let number = memory.count;
            let seen = Arc::new(RecentEvent { number, event: event.clone(), at, duplicate });
            push_bounded(&mut memory.last, Arc::clone(&seen), REMEMBERED);
            // An error means that there is no subscriber.
            let _ = self.sender.send(seen);
        }
    }
}

impl Remembered {
    /// How many more may be remembered in this second.
    fn room(&mut self, at: Timestamp) -> usize {
        let second = at.micros() / 1_000_000;
        if self.lately.0 != second {
            self.lately = (second, 0);
        }
        REMEMBERED.saturating_sub(self.lately.1)
    }
}

fn push_bounded<T>(memory: &mut VecDeque<T>, value: T, most: usize) {
    if memory.len() == most {
        memory.pop_front();
    }
    memory.push_back(value);
}

/// Receives what is committed, until it falls too far behind.
#[derive(Debug)]
pub struct EventSubscription {
    backlog: VecDeque<Arc<RecentEvent>>,
    receiver: broadcast::Receiver<Arc<RecentEvent>>,
}

impl EventSubscription {
    /// The next event; `None` once the watcher is too far behind, or nothing will come any more.
    pub async fn next(&mut self) -> Option<Arc<RecentEvent>> {
        if let Some(seen) = self.backlog.pop_front() {
            return Some(seen);
        }
        self.receiver.recv().await.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;
    use crate::event::{EventKey, Kind};

    fn batch(keys: std::ops::Range<usize>) -> Batch {
        let event = |key: usize| {
            let key = EventKey::of(&["CA1", &format!("{key:06}")]).expect("printable");
            Event::new(key, Kind::Call, "AC1")
        };
        let mut events = keys.map(event).collect();
        Batch::take_from(&mut events).expect("not empty")
    }

    fn live() -> RecentEvents {
        RecentEvents::new(EventStage::Received, Clock::Fixed(Timestamp::from_micros(7)))
    }

    fn commit(live: &RecentEvents, keys: std::ops::Range<usize>) {
        live.committed(&batch(keys), &Outcome::Appended, Duration::ZERO);
    }

    #[tokio::test]
    async fn a_watcher_sees_what_comes_and_what_it_missed_meanwhile() {
        let live = live();
        commit(&live, 0..2);
        let mut watcher = live.watch(None);
        commit(&live, 2..3);
        assert_eq!(watcher.next().await.expect("one").number, 3);
        drop(watcher);
        commit(&live, 3..4);
        let mut again = live.watch(Some(2));
        commit(&live, 4..5);
        for number in [3, 4, 5] {
            assert_eq!(again.next().await.expect("one").number, number);
        }
    }

    #[tokio::test]
    async fn a_watcher_that_does_not_keep_up_loses_its_seat() {
        let live = live();
        let mut watcher = live.watch(None);
        for start in 0..=BEHIND / 100 {
            commit(&live, start * 100..start * 100 + 100);
        }
        assert!(watcher.next().await.is_none());
    }

    #[test]
    fn what_is_remembered_is_bounded_and_the_count_goes_on() {
        let live = live();
        for _ in 0..4 {
            commit(&live, 0..500);
        }
        let last = live.last();
        assert_eq!(last.len(), REMEMBERED);
        assert_eq!(last.last().expect("some").number, 500, "of one second, no more");
        let _watcher = live.watch(None);
        commit(&live, 0..500);
        let last = live.last();
        assert_eq!(last.len(), REMEMBERED);
        assert_eq!(last.last().expect("some").number, 2500);
    }

    #[test]
    fn each_second_has_room_for_as_many_again() {
        let hand = ManualClock::at(Timestamp::from_micros(7));
        let live = RecentEvents::new(EventStage::Received, Clock::Manual(hand));
        commit(&live, 0..500);
        commit(&live, 500..600);
        assert_eq!(live.last().last().expect("some").number, 500, "the second has no room left");
        hand.advance(Duration::from_secs(1));
        commit(&live, 600..700);
        assert_eq!(live.last().last().expect("some").number, 700);
    }

    #[test]
    fn an_event_that_came_again_is_remembered() {
        let live = live();
        let outcome = Outcome::Stored {
            fresh: vec![true, false],
            late: 0,
            contradicted: 0,
            differing: Vec::new(),
        };
        let batch = batch(0..2);
        live.committed(&batch, &outcome, Duration::ZERO);
        let again = |place: usize| live.came_again(&batch.events()[place].id()).len();
        assert_eq!((again(0), again(1)), (0, 1));
    }
}
