//! [`Entry`]: an event of one SID in the order in which they were received, and what is odd about
//! it. No I/O.

use std::time::Duration;

use crate::backend::StoredEvent;
use crate::clock::Timestamp;
use crate::event::{EventKey, Kind, Position};

/// An event among those of its SID.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) stored: StoredEvent,
    /// From Twilio's time to ours. Twilio's has no fractions of a second.
    pub(super) delay: Option<Duration>,
    /// From the one before it.
    pub(super) gap: Duration,
    /// One that stands further along had been received before it.
    pub(super) out_of_order: bool,
    /// When it came again, as far as this process remembers.
    pub(super) came_again: Vec<Timestamp>,
}

/// Of the events of one SID, as they were received.
pub(super) fn entries(
    events: Vec<StoredEvent>,
    came_again: impl Fn(&EventKey) -> Vec<Timestamp>,
) -> Vec<Entry> {
    let mut furthest: Option<(Position, Timestamp)> = None;
    let mut before: Option<Timestamp> = None;
    let mut entries = Vec::with_capacity(events.len());
    for stored in events {
        let event = &stored.event;
        let at = event.received_at;
        let position = event.position();
        let behind = |(furthest, since): &(Position, Timestamp)| {
            // Of those that came at one moment none was first.
            position.as_ref().is_some_and(|position| position < furthest) && *since < at
        };
        let out_of_order = furthest.as_ref().is_some_and(behind);
        if let Some(position) = position.clone() {
            let further = furthest.as_ref().is_none_or(|(furthest, _)| *furthest < position);
            if further {
                furthest = Some((position, at));
            }
        }
        entries.push(Entry {
            delay: delay(&stored),
            gap: before.map_or(Duration::ZERO, |before| at.since(before)),
            out_of_order,
            came_again: came_again(&event.key),
            stored,
        });
        before = Some(at);
    }
    entries
}

/// A carrier's time of a message has neither seconds nor a zone, and says nothing about a delay.
fn delay(StoredEvent { event, .. }: &StoredEvent) -> Option<Duration> {
    let occurred = event.occurred_at.filter(|_| event.kind != Kind::Message)?;
    (occurred <= event.received_at).then(|| event.received_at.since(occurred))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Event, Format, Resource};

    fn stored(status: &str, received: i64, occurred: Option<i64>) -> StoredEvent {
        let event = Event {
            key: EventKey::of(&["CA1", status]).expect("printable"),
            kind: Kind::Call,
            account: "AC1".into(),
            sid: Some("CA1".into()),
            resource: Some(Resource::Call),
            status: Some(status.into()),
            sequence: None,
            occurred_at: occurred.map(|seconds| Timestamp::from_micros(seconds * 1_000_000)),
            received_at: Timestamp::from_micros(received * 1_000_000),
            trace: None,
            format: Format::Form,
            query: String::new(),
            body: "".into(),
        };
        StoredEvent { event, params: "{}".into() }
    }

    #[test]
    fn what_comes_after_something_further_along_is_out_of_order() {
        let events = vec![
            stored("initiated", 1, None),
            stored("completed", 2, None),
            // At the same moment: none of the two was first.
            stored("in-progress", 2, None),
            stored("ringing", 3, None),
        ];
        let entries = entries(events, |_| Vec::new());
        let odd: Vec<bool> = entries.iter().map(|entry| entry.out_of_order).collect();
        assert_eq!(odd, [false, false, false, true]);
        let gaps: Vec<u64> = entries.iter().map(|entry| entry.gap.as_secs()).collect();
        assert_eq!(gaps, [0, 1, 0, 1]);
    }

    #[test]
    fn a_delay_is_never_before_its_event() {
        let check = |received, occurred, expected: Option<u64>| {
            let delay = delay(&stored("ringing", received, occurred));
            assert_eq!(delay.map(|delay| delay.as_secs()), expected);
        };
        check(5, Some(3), Some(2));
        check(5, Some(6), None);
        check(5, None, None);
    }
}
