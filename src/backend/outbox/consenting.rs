//! The log of consents: who has agreed to be sent marketing.

use crate::clock::Timestamp;

/// A new entry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewConsent {
    /// The address, as it may be kept.
    pub to: String,
    /// Its hash.
    pub to_hash: String,
    /// What the person said.
    pub agreement: Agreement,
    /// Where it comes from.
    pub source: String,
    /// When the person said it; `None` for now. What is later than the store's clock counts as said now: nothing else could
    /// take it back.
    pub at: Option<Timestamp>,
}

/// What a person said about marketing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Agreement {
    /// To be sent it, in answer to this text.
    Given(String),
    /// To be sent none any more.
    Withdrawn,
}

/// An entry of the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConsentEntry {
    /// The address, if it was not purged.
    pub to: Option<String>,
    /// Its hash.
    pub to_hash: String,
    /// What the person said.
    pub agreement: Agreement,
    /// Where it comes from.
    pub source: String,
    /// When the person said it.
    pub at: Timestamp,
    /// When it was stored.
    pub stored_at: Timestamp,
}
