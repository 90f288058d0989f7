//! [`Change`]: what a fresh event did to its SID, as the change feed reports it, and [`Cursor`], a place in the feed.

use std::fmt;

use super::own::Own;
use super::{EventKey, Kind, Resource};
use crate::clock::Timestamp;

/// A row of `changes`: one for each fresh event, written in the transaction that stored it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    /// The place in the feed. Greater ids were committed later. Some numbers are never used.
    pub id: i64,
    /// When it was stored, by the store's clock.
    pub stored_at: Timestamp,
    /// The account whose event it is.
    pub account: String,
    /// The event's name within the account.
    pub key: EventKey,
    /// The kind of the event.
    pub kind: Kind,
    /// The resource, if the event names one.
    pub sid: Option<String>,
    /// What kind of a resource it is, if the event reports its status.
    pub resource: Option<Resource>,
    /// The status that the event reports.
    pub status: Option<String>,
    /// The status of the SID before the transaction; `None` if it had none.
    pub previous: Option<String>,
    /// The status of the SID after the transaction; `None` if it has none.
    pub current: Option<String>,
    /// Whether this event became the current one: at most one of a transaction and a SID did.
    pub moved: bool,
    /// Twilio's `ErrorCode`, if the event reports one.
    pub error_code: Option<String>,
    /// The application's own parameters.
    pub own: Option<Own>,
}

/// Which feed it is: another one after a database was made anew.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct FeedId(String);

impl FeedId {
    /// The feed with this id, of 1 to 32 lower-case hexadecimal digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let is_digit = |byte: &u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte);
        let fits = (1..=32).contains(&text.len()) && text.as_bytes().iter().all(is_digit);
        fits.then(|| Self(text.to_owned()))
    }

    /// The digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A place in a feed: everything up to this id was read. Written `<feed id>.<id>`.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Cursor {
    /// The feed.
    pub feed: FeedId,
    /// The last [`Change::id`] that was read, at least 0.
    pub id: i64,
}

impl Cursor {
    /// Reads what [`Display`](fmt::Display) writes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (feed, id) = text.split_once('.')?;
        let is_number = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit());
        let id = id.parse().ok().filter(|_| is_number)?;
        Some(Self { feed: FeedId::parse(feed)?, id })
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.feed.as_str(), self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_is_written_and_nothing_else_is() {
        let text = "0123456789abcdef.42";
        assert_eq!(Cursor::parse(text).map(|cursor| cursor.to_string()).as_deref(), Some(text));
        let largest = format!("a.{}", i64::MAX);
        assert_eq!(Cursor::parse(&largest).map(|cursor| cursor.id), Some(i64::MAX));
        let wrong = [
            "",
            ".",
            "a",
            "a.",
            ".1",
            "a.-1",
            "a.+1",
            "a.1x",
            "g.1",
            "A.1",
            "a. 1",
            "a.1.2",
            "a.9223372036854775808",
            "012345678901234567890123456789012.1",
        ];
        for wrong in wrong {
            assert_eq!(Cursor::parse(wrong), None, "{wrong}");
        }
    }
}
