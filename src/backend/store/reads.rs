//! [`Reads`]: what is read of the store.

use super::{Store, on_store};
use crate::backend::search::{Counts, EventSearch, StatusSearch};
use crate::backend::{BackendError, StoredEvent, postgres, sqlite};
use crate::clock::Timestamp;
use crate::event::CurrentStatus;

/// Reads the store. Every read ends in seconds; see [`BackendError`] for how it fails.
pub type Reads = Store<sqlite::Query, postgres::Query>;

impl Reads {
    /// Far more calls than an account may have at a time, and milliseconds to count.
    pub const MOST_CALLS: u32 = 100_000;

    /// Open conferences of which the participants are counted: of a full one, some hundred events are read.
    pub const MOST_CONFERENCES: u32 = 200;

    /// The current status of a SID in each account that has reported it, at most
    /// [`ACCOUNTS`](crate::backend::search::ACCOUNTS).
    pub async fn statuses_of(&self, sid: &str) -> Result<Vec<CurrentStatus>, BackendError> {
        on_store!(self, query => query.statuses_of(sid))
    }

    /// The events of a SID, and of what names it as its call, in the order in which they were
    /// received, at most `limit`; of one account, or of all.
    pub async fn events_of(
        &self,
        sid: &str,
        account: Option<&str>,
        limit: u32,
    ) -> Result<Vec<StoredEvent>, BackendError> {
        on_store!(self, query => query.events_of(sid, account, limit))
    }

    /// How many calls of which the first event came after `since` have no final status; no more
    /// than [`Reads::MOST_CALLS`] are counted.
    pub async fn calls_in_progress(&self, since: Timestamp) -> Result<u64, BackendError> {
        on_store!(self, query => query.calls_in_progress(since, Self::MOST_CALLS))
    }

    /// How many participants the fullest conference has of which the first event came after `since`, by those of its
    /// events that say that one joined or left; 0 if none is open. No more than [`Reads::MOST_CONFERENCES`] are looked
    /// at, the latest.
    pub async fn participants(&self, since: Timestamp) -> Result<u64, BackendError> {
        on_store!(self, query => query.participants(since, Self::MOST_CONFERENCES))
    }

    /// How many events were received from `from` on and before `to`; no more than `most` are counted.
    pub async fn received(
        &self,
        from: Timestamp,
        to: Timestamp,
        most: u32,
    ) -> Result<u64, BackendError> {
        on_store!(self, query => query.received(from, to, most))
    }

    /// The keys among these whose events are stored.
    pub async fn stored(&self, keys: &[String]) -> Result<Vec<String>, BackendError> {
        on_store!(self, query => query.stored(keys))
    }

    /// A page of statuses.
    pub async fn find_statuses(
        &self,
        search: &StatusSearch,
    ) -> Result<Vec<CurrentStatus>, BackendError> {
        on_store!(self, query => query.find_statuses(search))
    }

    /// A page of events.
    pub async fn find_events(
        &self,
        search: &EventSearch,
    ) -> Result<Vec<StoredEvent>, BackendError> {
        on_store!(self, query => query.find_events(search))
    }

    /// How much of what came since then.
    pub async fn counts(&self, since: Timestamp) -> Result<Counts, BackendError> {
        on_store!(self, query => query.counts(since))
    }
}
