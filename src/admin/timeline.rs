//! [`Entry`]: an event of one SID in the order in which they were received, and what is odd about
//! it; [`Known`], what the store has of a SID.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::backend::{BackendError, Reads, StoredEvent};
use crate::clock::Timestamp;
use crate::event::{CurrentStatus, EventId, Kind, Position};

/// What is known of a SID.
pub(super) enum Known {
    /// Of one account: its row, unless no event moved a status, and its events. Neither if nothing is
    /// known.
    One(Option<Box<CurrentStatus>>, Vec<StoredEvent>),
    /// Of several, one of which must be picked.
    Several(Vec<String>),
}

impl Known {
    /// Asks the store, for at most `limit` events. An empty `account` is any.
    ///
    /// # Errors
    /// The store does not answer in time.
    pub(super) async fn of(
        reader: &Reads,
        sid: &str,
        account: &str,
        limit: u32,
    ) -> Result<Self, BackendError> {
        let account = Some(account).filter(|account| !account.is_empty());
        let mut statuses = reader.statuses_of(sid).await?;
        statuses.retain(|current| account.is_none_or(|account| current.account == account));
        let events = reader.events_of(sid, account, limit).await?;
        let of_events = events.iter().map(|stored| &stored.event.account);
        let accounts: BTreeSet<&String> =
            statuses.iter().map(|current| &current.account).chain(of_events).collect();
        if accounts.len() > 1 {
            return Ok(Self::Several(accounts.into_iter().cloned().collect()));
        }
        Ok(Self::One(statuses.pop().map(Box::new), events))
    }
}

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
    sid: &str,
    events: Vec<StoredEvent>,
    came_again: impl Fn(&EventId) -> Vec<Timestamp>,
) -> Vec<Entry> {
    let mut furthest: Option<(Position, Timestamp)> = None;
    let mut before: Option<Timestamp> = None;
    let mut entries = Vec::with_capacity(events.len());
    for stored in events {
        let event = &stored.event;
        let at = event.received_at;
        // What only names the call has an order of its own.
        let position = event.position().filter(|_| event.sid.as_deref() == Some(sid));
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
            came_again: came_again(&event.id()),
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
    use crate::event::{Event, EventKey, Resource};

    fn stored(status: &str, received: i64, occurred: Option<i64>) -> StoredEvent {
        let key = EventKey::of(&["CA1", status]).expect("printable");
        let event = Event {
            sid: Some("CA1".into()),
            resource: Some(Resource::Call),
            status: Some(status.into()),
            occurred_at: occurred.map(|seconds| Timestamp::from_micros(seconds * 1_000_000)),
            received_at: Timestamp::from_micros(received * 1_000_000),
            ..Event::new(key, Kind::Call, "AC1")
        };
        StoredEvent { event, params: "{}".into(), own: None }
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
        let entries = entries("CA1", events, |_| Vec::new());
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
