//! [`Forwards`]: where forwards stand.

use std::time::Duration;

use super::{Store, on_store};
use crate::backend::forwards::{
    Claim, Claimed, ForwardState, Listed, Progress, Replay, Waiting, Written,
};
use crate::backend::sql::forwards::List;
use crate::backend::{BackendError, postgres, sqlite};
use crate::clock::Timestamp;
use crate::event::{Change, Cursor, Event};

/// Where forwards stand: their cursors, what waits, and what was given up. Every call ends in seconds.
///
/// One process at a time has the lease of a forward. What it [writes](Forwards::write) is written only while it has.
pub type Forwards = Store<sqlite::Forwards, postgres::Forwards>;

impl Forwards {
    /// Takes the lease, or takes it for longer.
    pub async fn claim(&self, claim: &Claim) -> Result<Claimed, BackendError> {
        on_store!(self, forwards => forwards.claim(claim))
    }

    /// Makes a forward that begins after a cursor, unless there is one of this name.
    pub async fn create(&self, forward: &str, at: &Cursor) -> Result<(), BackendError> {
        on_store!(self, forwards => forwards.create(forward, at))
    }

    /// Writes progress in one transaction, and takes the lease for longer; or writes nothing, if the lease is not held
    /// any more.
    pub async fn write(&self, claim: &Claim, progress: &Progress) -> Result<Written, BackendError> {
        on_store!(self, forwards => forwards.write(claim, progress))
    }

    /// Gives the lease back, if it is held.
    pub async fn release(&self, claim: &Claim) -> Result<(), BackendError> {
        on_store!(self, forwards => forwards.release(claim))
    }

    /// Everything that waits, in the feed's order.
    pub async fn waiting(&self, forward: &str) -> Result<Vec<Waiting>, BackendError> {
        on_store!(self, forwards => forwards.waiting(forward))
    }

    /// What was given up and is to be sent after all, in the feed's order, at most `limit`.
    pub async fn replays(&self, forward: &str, limit: u32) -> Result<Vec<Waiting>, BackendError> {
        on_store!(self, forwards => forwards.replays(forward, limit))
    }

    /// The changes among these that are still in the feed, each with its event if that is still in the store.
    pub async fn load(&self, ids: &[i64]) -> Result<Vec<(Change, Option<Event>)>, BackendError> {
        on_store!(self, forwards => forwards.load(ids))
    }

    /// Forgets some of what was given up and is not in the feed any more; some of what waits and is not either.
    pub async fn forget(&self, forward: &str) -> Result<Vec<i64>, BackendError> {
        on_store!(self, forwards => forwards.forget(forward))
    }

    /// Every forward that the store knows, also those that the configuration no longer has.
    pub async fn states(&self) -> Result<Vec<ForwardState>, BackendError> {
        on_store!(self, forwards => forwards.states())
    }

    /// A page of what waits of a forward, behind a change.
    pub async fn list_waiting(
        &self,
        forward: &str,
        after: i64,
        limit: u32,
    ) -> Result<Vec<Listed>, BackendError> {
        on_store!(self, forwards => forwards.list(List::Waiting, forward, after, limit))
    }

    /// A page of what was given up of a forward, behind a change.
    pub async fn list_given_up(
        &self,
        forward: &str,
        after: i64,
        limit: u32,
    ) -> Result<Vec<Listed>, BackendError> {
        on_store!(self, forwards => forwards.list(List::GivenUp, forward, after, limit))
    }

    /// Lets the process that forwards send again what was given up; of how many changes, at most
    /// [`ROWS_PER_PAGE`](crate::backend::forwards::ROWS_PER_PAGE) at a time.
    pub async fn replay(&self, forward: &str, replay: &Replay) -> Result<u64, BackendError> {
        on_store!(self, forwards => forwards.replay(forward, replay))
    }

    /// Lets nothing be forwarded from now on; whether something was.
    pub async fn disable(&self, forward: &str) -> Result<bool, BackendError> {
        on_store!(self, forwards => forwards.disable(forward))
    }

    /// Lets a forward that was disabled go on where it stopped; whether one was. If its cursor is of another feed, or
    /// beyond the end of this one, it goes on from `end`, and what waited or was given up there is forgotten.
    pub async fn enable(&self, forward: &str, end: &Cursor) -> Result<bool, BackendError> {
        on_store!(self, forwards => forwards.enable(forward, end))
    }

    /// Since when what was stored is still needed by an enabled one of these forwards: since the first change that it has
    /// not forwarded, or for its age if that one is older. In bounded time, however far one of them is behind.
    pub async fn needed_since(
        &self,
        of: &[(String, Duration)],
    ) -> Result<Option<Timestamp>, BackendError> {
        let mut since: Option<Timestamp> = None;
        for (forward, max_age) in of {
            let needed = on_store!(self, forwards => forwards.needed_since(forward, *max_age))?;
            since = since.into_iter().chain(needed).min();
        }
        Ok(since)
    }
}
