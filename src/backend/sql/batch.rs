//! A batch, as rows to be stored: what is read off its events, and what the fresh ones say of each SID.

use std::collections::BTreeMap;

use crate::event::{Batch, CurrentStatus};
use crate::twilio::details::EventDetails;

/// Reads the events of a batch. In the embedded and the direct deployment callbacks are answered by the same
/// thread, and a batch of 2,000 would keep it for 20 ms.
pub(in crate::backend) async fn details(batch: &Batch) -> Vec<EventDetails> {
    /// A fraction of a millisecond.
    const AT_ONCE: usize = 32;
    let mut details = Vec::with_capacity(batch.events().len());
    for events in batch.events().chunks(AT_ONCE) {
        details.extend(events.iter().map(EventDetails::of));
        tokio::task::yield_now().await;
    }
    details
}

/// Rows of `statuses` by SID and account.
pub(crate) type Statuses = BTreeMap<(String, String), CurrentStatus>;

/// Adds a row under its own name.
pub(crate) fn insert(statuses: &mut Statuses, row: CurrentStatus) {
    let (sid, account) = row.id();
    statuses.insert((sid.to_owned(), account.to_owned()), row);
}

/// What the fresh events say, one row per SID and account. Takes it out of the details.
pub(crate) fn fold(details: &mut [EventDetails], fresh: &[bool]) -> Statuses {
    let mut updates = Statuses::new();
    let fresh = details.iter_mut().zip(fresh).filter(|(_, fresh)| **fresh);
    for update in fresh.filter_map(|(details, _)| details.current.take()) {
        let (sid, account) = update.id();
        let merged = match updates.remove(&(sid.to_owned(), account.to_owned())) {
            Some(known) => known.merge(update),
            None => update,
        };
        insert(&mut updates, merged);
    }
    updates
}
