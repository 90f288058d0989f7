//! What is carried of the outbox: rows of its tables as JSON, each with its columns by name, and the keys of its hashes.

use serde_json::Value;

use crate::clock::Timestamp;
use crate::labels::labels;

labels! {
    /// A table of the outbox. The order is that in which they are copied, so that what a row refers to is there.
    pub enum OutboxTable {
        /// When the next slot of each pace is free.
        Paces = "paces",
        /// What holds each sender.
        Senders = "senders",
        /// What holds each account.
        SendingAccounts = "sending_accounts",
        /// Who must not be reached.
        Suppressions = "suppressions",
        /// What was asked for at once.
        Campaigns = "campaigns",
        /// Who is to be reached by it.
        Recipients = "recipients",
        /// What of its list cannot be sent to.
        InvalidRows = "invalid_rows",
        /// Who has agreed to marketing.
        Consents = "consents",
        /// What was asked for.
        Notifications = "notifications",
        /// The steps of what goes by a route.
        Steps = "steps",
        /// Each request to a provider.
        Attempts = "attempts",
        /// The SIDs of attempts.
        AttemptSids = "attempt_sids",
    }
}

impl OutboxTable {
    /// Whether the target must have each of its rows. The other tables go on by themselves.
    #[must_use]
    pub fn is_compared(self) -> bool {
        match self {
            Self::Suppressions
            | Self::Consents
            | Self::Campaigns
            | Self::Recipients
            | Self::Notifications
            | Self::Steps
            | Self::Attempts => true,
            Self::Paces
            | Self::Senders
            | Self::SendingAccounts
            | Self::InvalidRows
            | Self::AttemptSids => false,
        }
    }
}

/// A row of one of these tables.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OutboxRow {
    /// Its place among the rows of the source.
    pub place: i64,
    /// Its columns.
    pub columns: Value,
}

impl OutboxRow {
    /// The name of the row: its id, or of a suppression or a consent the hash of the address.
    #[must_use]
    pub fn name(&self) -> &str {
        let is_of_address = ["stop", "given"].iter().any(|it| self.columns.get(it).is_some());
        ["to_hash", "id", "name", "account", "sid"]
            .iter()
            .filter(|column| **column != "to_hash" || is_of_address)
            .find_map(|column| self.columns.get(column)?.as_str())
            .unwrap_or_default()
    }

    /// The time that retention counts its age from; `None` if it does not grow old.
    #[must_use]
    pub fn age_from(&self) -> Option<Timestamp> {
        Timestamp::parse_rfc3339(self.columns.get("created_at")?.as_str()?)
    }
}

/// The row of `outbox`: what the store's hashes are keyed by, and which deployment it sends for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OutboxKeys {
    /// Keys the hashes.
    pub secret: String,
    /// Check value of the key of addresses.
    pub suppression: Option<String>,
    /// Hash of the deployment.
    pub identity: Option<String>,
}

/// Why a store is held whose outbox was copied, or is the copy.
pub const COPIED: &str = "copied";
