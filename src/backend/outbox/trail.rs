//! What became of the attempts of a notification, and when, for people who look at it.

use crate::clock::Timestamp;
use crate::event::AttemptId;

/// What became of one attempt.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Trail {
    /// The attempt.
    pub id: AttemptId,
    /// The name of its sender.
    pub sender: String,
    /// The sender's account.
    pub account: String,
    /// When it was settled; `None` if it is not.
    pub settled_at: Option<Timestamp>,
    /// The messages or calls that it is proven to have made, in the order of the proofs.
    pub proven: Vec<Proven>,
}

/// A message or a call of an attempt.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Proven {
    /// Its SID.
    pub sid: String,
    /// What proves it: `answer`, `callback` or `look-up`.
    pub by: String,
    /// When that was stored.
    pub at: Timestamp,
}
