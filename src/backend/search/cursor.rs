//! [`Cursor`]: where the next page of a search goes on.

use std::fmt;

use crate::clock::Timestamp;

/// Where the next page begins: behind this time and name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cursor {
    /// The time at which the last row of a page was first seen or received.
    pub at: Timestamp,
    /// The SID or the key of the row.
    pub id: String,
    /// The account of the row.
    pub account: String,
}

impl Cursor {
    /// Behind a row, whose time is given as text; `None` if that is not a time.
    pub(crate) fn behind(at: &str, id: &str, account: &str) -> Option<Self> {
        let at = Timestamp::parse_rfc3339(at)?;
        Some(Self { at, id: id.to_owned(), account: account.to_owned() })
    }

    /// Reads what its `Display` wrote.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (at, rest) = text.split_once('~')?;
        let (account, id) = rest.split_once('~')?;
        let at = Timestamp::parse_rfc3339(at)?;
        Some(Self { at, id: id.to_owned(), account: account.to_owned() })
    }

    /// Every text of it, to look for what a store cannot hold.
    pub(crate) fn texts(&self) -> [&str; 2] {
        [&self.id, &self.account]
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A key may have the separator in it, so it comes last.
        write!(f, "{}~{}~{}", self.at, self.account, self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_was_written() {
        let at = Timestamp::from_micros(17);
        let cursor = Cursor { at, id: "a~b".to_owned(), account: "AC1".to_owned() };
        assert_eq!(Cursor::parse(&cursor.to_string()), Some(cursor));
        for wrong in ["", "~", "CA1", "2026-11-24T08:00:00Z", "2026-11-24T08:00:00Z~CA1"] {
            assert_eq!(Cursor::parse(wrong), None, "{wrong}");
        }
    }
}
