//! What is kept of forwards: values, which know neither SQL nor HTTP.
//!
//! A forward has a row with its cursor and its lease. One process at a time holds the lease, and only that one writes
//! the cursor and what waits, each time on the condition that it still does.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::labels::labels;

labels! {
    /// Why nothing is forwarded.
    pub enum Disabled {
        /// The endpoint answered 410.
        Gone = "gone",
        /// No attempt has succeeded for long.
        Failing = "failing",
        /// The feed is another one than the cursor's, or ends before it: a backup was restored, or a copy was made.
        OtherFeed = "other_feed",
        /// An operator said so.
        Operator = "operator",
    }
}

/// A claim to be the one process that forwards to an endpoint.
#[derive(Clone, Debug)]
pub struct Claim {
    /// The forward's name.
    pub forward: String,
    /// The claimant, a name that is never used again.
    pub holder: String,
    /// How long it is to last, by the database's clock.
    pub lasts: Duration,
}

/// What came of a claim.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Claimed {
    /// The lease is held.
    Held(Held),
    /// Another process holds it.
    Taken,
    /// The forward is disabled.
    Disabled(Disabled),
    /// There is no such forward yet.
    Unknown,
}

/// Where a forward stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Held {
    /// The feed that the cursor is of.
    pub feed: String,
    /// The greatest change such that each one up to it is done, waits, or was given up.
    pub cursor: i64,
    /// How long no attempt has succeeded while some failed.
    pub failing_for: Option<Duration>,
}

/// A change that the cursor has passed, and that is still to be sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Waiting {
    /// The id of the change.
    pub change: i64,
    /// The account of the change.
    pub account: String,
    /// The SID of the change, which waits behind earlier changes of the same SID.
    pub sid: Option<String>,
    /// How often it was tried.
    pub tries: u32,
    /// The time until it may be tried again; `None` if it only waits for an earlier one.
    pub due_in: Option<Duration>,
}

/// A change that is not tried again, unless it is replayed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GivenUp {
    /// The id of the change.
    pub change: i64,
    /// The account of the change.
    pub account: String,
    /// The SID of the change.
    pub sid: Option<String>,
    /// How often it was tried.
    pub tries: u32,
    /// How the last attempt failed.
    pub failure: String,
}

/// What is written in one transaction. To write it twice leaves the same as once.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Progress {
    /// How far the cursor goes.
    pub cursor: i64,
    /// How long no attempt has succeeded while some failed.
    pub failing_for: Option<Duration>,
    /// What waits from now on, or waits for another time.
    pub waiting: Vec<Waiting>,
    /// What waits no longer.
    pub settled: Vec<i64>,
    /// What is given up; it waits no longer.
    pub given_up: Vec<GivenUp>,
    /// What was given up and is to be sent after all: it is among what waits.
    pub replayed: Vec<i64>,
    /// Whether nothing is to be forwarded from now on, and why.
    pub disable: Option<Disabled>,
}

/// Whether progress was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Written {
    /// The progress was written, and the lease is extended.
    Kept,
    /// Nothing was written: the lease is not held any more, or the forward is disabled.
    Lost,
}

/// What is to be sent again of what was given up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Replay {
    /// Everything that was given up.
    All,
    /// What concerns a SID.
    Sid(String),
    /// What was given up from then on.
    Since(Timestamp),
}

/// A forward as people see it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ForwardState {
    /// The name of the forward.
    pub name: String,
    /// The place of the forward in the feed.
    pub cursor: i64,
    /// How many changes lie behind the cursor; no more than [`MOST_BEHIND`] are counted.
    pub behind: u64,
    /// When the first change behind the cursor was stored.
    pub behind_since: Option<Timestamp>,
    /// The holder of the lease.
    pub holder: Option<String>,
    /// Why nothing is forwarded.
    pub disabled: Option<Disabled>,
    /// Since when.
    pub disabled_at: Option<Timestamp>,
    /// Since when no attempt has succeeded, while some failed.
    pub failing_since: Option<Timestamp>,
    /// How many changes wait.
    pub waiting: u64,
    /// How many were given up.
    pub given_up: u64,
}

/// A change that waits or was given up, as people see it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listed {
    /// The id of the change.
    pub change: i64,
    /// The account of the change.
    pub account: String,
    /// The SID of the change.
    pub sid: Option<String>,
    /// How often it was tried.
    pub tries: u32,
    /// How the last attempt failed; only of what was given up.
    pub failure: Option<String>,
    /// When the change is due or was given up; `None` if it waits for an earlier one.
    pub at: Option<Timestamp>,
    /// Whether it was given up, and will be sent after all.
    pub replayed: bool,
}

/// Most changes behind a cursor that are counted.
pub const MOST_BEHIND: u32 = 100_000;
/// Most rows of a list, and of one step of a replay or of a clean-up.
pub const ROWS_PER_PAGE: u32 = 1000;
