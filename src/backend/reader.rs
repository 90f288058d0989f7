//! [`Reader`]: the store as the admin service reads it.

use super::search::{Counts, EventSearch, StatusSearch};
use super::{BackendError, StoredEvent, postgres, sqlite};
use crate::clock::Timestamp;
use crate::event::Current;

/// Reads the store, whichever it is.
#[derive(Clone, Debug)]
pub enum Reader {
    /// The embedded store.
    Sqlite(sqlite::Query),
    /// The scale-out store.
    Postgres(postgres::Query),
}

impl Reader {
    /// Far more calls than an account may have at a time, and milliseconds to count.
    pub const MOST_CALLS: u32 = 100_000;

    /// The current status of a SID in each account that has reported it, at most
    /// [`ACCOUNTS`](super::search::ACCOUNTS).
    ///
    /// # Errors
    /// The store does not answer in time.
    pub async fn statuses_of(&self, sid: &str) -> Result<Vec<Current>, BackendError> {
        match self {
            Self::Sqlite(query) => query.statuses_of(sid).await,
            Self::Postgres(query) => query.statuses_of(sid).await,
        }
    }

    /// How many calls of which the first event came after `since` have no final status; no more
    /// than [`Reader::MOST_CALLS`] are counted.
    ///
    /// # Errors
    /// The store does not answer in time.
    pub async fn calls_in_progress(&self, since: Timestamp) -> Result<u64, BackendError> {
        match self {
            Self::Sqlite(query) => query.calls_in_progress(since, Self::MOST_CALLS).await,
            Self::Postgres(query) => query.calls_in_progress(since, Self::MOST_CALLS).await,
        }
    }

    /// How many events were received from `from` on and before `to`; no more than `most` are counted.
    ///
    /// # Errors
    /// The store does not answer in time.
    pub async fn received(
        &self,
        from: Timestamp,
        to: Timestamp,
        most: u32,
    ) -> Result<u64, BackendError> {
        match self {
            Self::Sqlite(query) => query.received(from, to, most).await,
            Self::Postgres(query) => query.received(from, to, most).await,
        }
    }

    /// The events of a SID, and of what names it as its call, in the order in which they were
    /// received, at most `limit`; of one account, or of all.
    ///
    /// # Errors
    /// The store does not answer in time.
    pub async fn events(
        &self,
        sid: &str,
        account: Option<&str>,
        limit: u32,
    ) -> Result<Vec<StoredEvent>, BackendError> {
        match self {
            Self::Sqlite(query) => query.events(sid, account, limit).await,
            Self::Postgres(query) => query.events(sid, account, limit).await,
        }
    }

    /// Those of the keys whose events are stored.
    ///
    /// # Errors
    /// The store does not answer in time.
    pub async fn stored(&self, keys: &[String]) -> Result<Vec<String>, BackendError> {
        match self {
            Self::Sqlite(query) => query.stored(keys).await,
            Self::Postgres(query) => query.stored(keys).await,
        }
    }

    /// A page of statuses.
    ///
    /// # Errors
    /// The store does not answer in time.
    pub async fn find_statuses(&self, search: &StatusSearch) -> Result<Vec<Current>, BackendError> {
        match self {
            Self::Sqlite(query) => query.find_statuses(search).await,
            Self::Postgres(query) => query.find_statuses(search).await,
        }
    }

    /// A page of events.
    ///
    /// # Errors
    /// The store does not answer in time.
    pub async fn find_events(
        &self,
        search: &EventSearch,
    ) -> Result<Vec<StoredEvent>, BackendError> {
        match self {
            Self::Sqlite(query) => query.find_events(search).await,
            Self::Postgres(query) => query.find_events(search).await,
        }
    }

    /// How much of what came since then.
    ///
    /// # Errors
    /// The store does not answer in time.
    pub async fn counts(&self, since: Timestamp) -> Result<Counts, BackendError> {
        match self {
            Self::Sqlite(query) => query.counts(since).await,
            Self::Postgres(query) => query.counts(since).await,
        }
    }
}
