//! Calls: what is known of others when one is made, and those that are to be cancelled while they ring.

use crate::clock::Timestamp;
use crate::event::AttemptId;
use crate::labels::labels;

/// What the store knows of calls when one is about to be made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KnownCalls {
    /// When calls to the recipient were made in the last hour, the newest first.
    pub recent: Vec<Timestamp>,
    /// The account's open calls.
    pub open: u64,
    /// How many there may be.
    pub limit: u32,
}

/// A call that is to be cancelled at Twilio.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HangUp {
    /// Its attempt.
    pub id: AttemptId,
    /// Its account.
    pub account: String,
    /// Its sender.
    pub sender: String,
    /// The call.
    pub sid: String,
    /// How often it was tried, this time included.
    pub tries: u32,
}

labels! {
    /// What came of the cancellation of a call that was ringing.
    pub enum HungUp {
        /// Twilio took it. The call's callback says how it ended.
        Done = "done",
        /// It was answered, or over.
        TooLate = "too_late",
        /// It is tried again.
        Again = "again",
        /// It was tried often enough, or Twilio refused it for good.
        GivenUp = "given_up",
    }
}
