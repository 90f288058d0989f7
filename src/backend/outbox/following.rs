//! Statuses that say nothing final for long, and are asked for at Twilio.

use crate::clock::Timestamp;
use crate::event::Resource;

/// A status that is asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FollowUp {
    /// The account.
    pub account: String,
    /// What it is about.
    pub sid: String,
    /// What that is.
    pub resource: Resource,
    /// When it was first heard of.
    pub first_seen: Timestamp,
}

/// Which statuses are to be followed up.
#[derive(Clone, Debug)]
pub struct FollowUpAsk {
    /// Of these accounts.
    pub accounts: Vec<String>,
    /// Of what.
    pub resource: Resource,
    /// First heard of before this time.
    pub before: Timestamp,
    /// And not before this one.
    pub since: Timestamp,
}

/// What came of asking for a status.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Followed {
    /// Twilio said something final.
    Ended,
    /// It is asked for again at this time.
    Again(Timestamp),
    /// Twilio never said anything final, or has no such thing: it is not asked for again.
    Never,
}
