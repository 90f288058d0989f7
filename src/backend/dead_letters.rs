//! [`DeadLetters`]: what no worker could store, to be looked at, replayed or purged.

use bytes::Bytes;

use super::local_log::LocalDeadLetters;
use super::{BackendError, redis};
use crate::clock::Timestamp;
use crate::event::Event;
use crate::event::codec::Malformed;
use crate::labels::labels;

/// An event that no worker could store, or an entry that is not one.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    /// The id of the dead letter.
    pub id: String,
    /// When the event became a dead letter, by the backend's clock.
    pub at: Timestamp,
    /// How often it had been delivered.
    pub deliveries: u32,
    /// Why it is one.
    pub reason: String,
    /// The event, unless what lay there was none.
    pub event: Result<Event, Malformed>,
    /// What lay there, as it was.
    pub fields: Vec<(Bytes, Bytes)>,
}

labels! {
    /// What to do with a dead letter.
    pub enum Action {
        /// Put it back into the log that it came from, as new.
        Replay = "replay",
        /// Delete it for good.
        Purge = "purge",
    }
}

/// The dead letters that this process can reach. All of them are one list, in the
/// order of their ids.
#[derive(Clone, Default, Debug)]
pub struct DeadLetters {
    /// Beside the stream: what no worker could store.
    pub stream: Option<redis::StreamDeadLetters>,
    /// The dead letters in the local log of this process, which could not be moved out of it.
    pub local: Option<LocalDeadLetters>,
}

impl DeadLetters {
    /// The most of one page.
    pub const PER_PAGE: usize = 500;

    /// Whether it can be the id of a dead letter: two numbers, `1764000000000-0`.
    #[must_use]
    pub fn is_id(text: &str) -> bool {
        parse_id(text).is_some()
    }

    /// The dead letters after `after`, oldest first, at most `limit` and [`Self::PER_PAGE`].
    pub async fn list(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, BackendError> {
        let limit = limit.min(Self::PER_PAGE);
        let mut dead_letters = match &self.stream {
            Some(stream) => stream.list(after, limit).await?,
            None => Vec::new(),
        };
        if let Some(local) = &self.local {
            dead_letters.extend(local.list(after, limit).await?);
            dead_letters.sort_by_key(|letter| parse_id(&letter.id));
            dead_letters.truncate(limit);
        }
        Ok(dead_letters)
    }

    /// The one of this id.
    pub async fn get(&self, id: &str) -> Result<Option<DeadLetter>, BackendError> {
        if !Self::is_id(id) {
            return Ok(None);
        }
        if let Some(local) = &self.local
            && let Some(letter) = local.get(id).await?
        {
            return Ok(Some(letter));
        }
        match &self.stream {
            Some(stream) => stream.get(id).await,
            None => Ok(None),
        }
    }

    /// Replays or purges one, in one step; whether it was there.
    ///
    /// # Errors
    /// The backend does not answer in time; the change may be done nevertheless.
    pub async fn resolve(&self, id: &str, action: Action) -> Result<bool, BackendError> {
        if !Self::is_id(id) {
            return Ok(false);
        }
        if let Some(local) = &self.local
            && local.resolve(id, action).await?
        {
            return Ok(true);
        }
        match &self.stream {
            Some(stream) => stream.resolve(id, action).await,
            None => Ok(false),
        }
    }

    /// How many there are.
    pub async fn count(&self) -> Result<u64, BackendError> {
        let stream = match &self.stream {
            Some(stream) => stream.count().await?,
            None => 0,
        };
        let local = match &self.local {
            Some(local) => local.count().await?,
            None => 0,
        };
        Ok(stream + local)
    }

    /// Only those of the stream.
    pub(super) fn of_stream(&self) -> Self {
        Self { stream: self.stream.clone(), local: None }
    }

    /// Only those of the local log.
    pub(super) fn of_local_log(&self) -> Self {
        Self { stream: None, local: self.local.clone() }
    }
}

/// The two numbers of an id, by which they are in order.
pub(super) fn parse_id(text: &str) -> Option<(u64, u64)> {
    let number = |digits: &str| digits.parse().ok().filter(|_| !digits.starts_with('+'));
    let (millis, rest) = text.split_once('-')?;
    Some((number(millis)?, number(rest)?))
}
