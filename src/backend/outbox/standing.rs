//! What holds senders, accounts and everything; who must not be reached; what the deployment is.

use crate::clock::Timestamp;
use crate::dispatch::suppression::Source;

/// What holds a sender, an account or everything.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct SenderState {
    /// The sender.
    pub name: String,
    /// Why it is paused.
    pub paused: Option<String>,
    /// Since when.
    pub paused_at: Option<Timestamp>,
    /// Until when it waits.
    pub cooldown_until: Option<Timestamp>,
    /// Attempts that are due, those included that a gate holds.
    pub due: u64,
    /// Attempts that a gate holds.
    pub held: u64,
    /// Attempts in writing.
    pub writing: u64,
    /// When the oldest of those that are due and not held was due.
    pub oldest_due: Option<Timestamp>,
    /// Attempts whose outcome is unknown.
    pub unknown: u64,
    /// Those of them that are still looked for.
    pub sought: u64,
}

/// What holds an account.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AccountState {
    /// The account.
    pub account: String,
    /// Why it is paused.
    pub paused: Option<String>,
    /// Since when.
    pub paused_at: Option<Timestamp>,
    /// Until when it waits.
    pub cooldown_until: Option<Timestamp>,
    /// The calls that attempts hold a permit for.
    pub calls: u64,
}

/// The whole of it.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct SendingState {
    /// Why nothing is sent.
    pub held: Option<String>,
    /// Senders that the store knows.
    pub senders: Vec<SenderState>,
    /// Accounts that the store knows.
    pub accounts: Vec<AccountState>,
}

/// A new entry of the log of suppressions.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewSuppression {
    /// The address, if it may be kept.
    pub to: Option<String>,
    /// Its hash.
    pub to_hash: String,
    /// Whether it stops, or lifts.
    pub stop: bool,
    /// Where it comes from.
    pub source: Source,
}

/// An entry of the log of suppressions: the one that stops messages to its address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Suppression {
    /// The address, if it was not purged.
    pub to: Option<String>,
    /// Its hash.
    pub to_hash: String,
    /// Where it comes from.
    pub source: String,
    /// Since when.
    pub at: Timestamp,
}

/// A key of hashes for a store that has none yet.
#[must_use]
pub fn new_secret() -> String {
    format!("{:032x}{:032x}", rand::random::<u128>(), rand::random::<u128>())
}

/// What a deployment is, as the store remembers it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    /// Keys the hashes of requests.
    pub secret: String,
    /// Check value of the key of addresses.
    pub suppression: Option<String>,
    /// Hash of the public URL and the accounts.
    pub identity: Option<String>,
    /// Why nothing is sent.
    pub held: Option<String>,
}
