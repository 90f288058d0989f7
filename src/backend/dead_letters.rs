//! [`DeadLetters`]: what no worker could store, to be looked at, replayed or purged.

use bytes::Bytes;

use super::{BackendError, redis};
use crate::clock::Timestamp;
use crate::event::Event;
use crate::event::codec::Malformed;

/// An entry that was put aside.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    /// Its name among the dead letters.
    pub id: String,
    /// When it was put aside, by the backend's clock.
    pub at: Timestamp,
    /// How often it had been delivered.
    pub deliveries: u32,
    /// Why it was put aside.
    pub reason: String,
    /// The event, unless what lay there was none.
    pub event: Result<Event, Malformed>,
    /// What lay there, as it was.
    pub fields: Vec<(Bytes, Bytes)>,
}

/// What to do with a dead letter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// Put it back into the stream, where a worker takes it as new.
    Replay,
    /// Delete it for good.
    Purge,
}

/// Where dead letters lie.
#[derive(Clone, Debug)]
pub enum DeadLetters {
    /// In the embedded mode nothing is delivered, so nothing is put aside.
    Absent,
    /// Beside the stream.
    Redis(redis::DeadLetters),
}

impl DeadLetters {
    /// The most of one page.
    pub const PAGE: usize = 500;

    /// Whether it can be the id of a dead letter: two numbers, `1764000000000-0`.
    #[must_use]
    pub fn is_id(text: &str) -> bool {
        let number = |text: &str| text.parse::<u64>().is_ok() && !text.starts_with('+');
        text.split_once('-').is_some_and(|(millis, rest)| number(millis) && number(rest))
    }

    /// Those after `after`, oldest first, at most `limit` and [`Self::PAGE`].
    ///
    /// # Errors
    /// The backend does not answer in time.
    pub async fn list(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, BackendError> {
        match self {
            Self::Absent => Ok(Vec::new()),
            Self::Redis(letters) => letters.list(after, limit.min(Self::PAGE)).await,
        }
    }

    /// The one of this id.
    ///
    /// # Errors
    /// The backend does not answer in time.
    pub async fn get(&self, id: &str) -> Result<Option<DeadLetter>, BackendError> {
        match self {
            _ if !Self::is_id(id) => Ok(None),
            Self::Absent => Ok(None),
            Self::Redis(letters) => letters.get(id).await,
        }
    }

    /// Replays or purges one, in one step; whether it was there.
    ///
    /// # Errors
    /// The backend does not answer in time; it may have been done all the same.
    pub async fn settle(&self, id: &str, action: Action) -> Result<bool, BackendError> {
        match self {
            _ if !Self::is_id(id) => Ok(false),
            Self::Absent => Ok(false),
            Self::Redis(letters) => letters.settle(id, action).await,
        }
    }

    /// How many there are.
    ///
    /// # Errors
    /// The backend does not answer in time.
    pub async fn count(&self) -> Result<u64, BackendError> {
        match self {
            Self::Absent => Ok(0),
            Self::Redis(letters) => letters.count().await,
        }
    }
}
