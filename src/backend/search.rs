//! What is asked of a store, whichever it is: [`StatusSearch`] and [`EventSearch`], whose answers
//! come in pages, and [`Counts`] of a span of time.

mod cursor;
mod needle;
mod own;

pub use self::cursor::Cursor;
pub use self::needle::Needle;
pub use self::own::OwnParameter;
use crate::clock::Timestamp;
use crate::event::{Kind, Resource};

/// The most of one page.
pub const ROWS_PER_PAGE: u32 = 500;
/// The most accounts of one SID that a read returns.
pub const ACCOUNTS: u32 = 100;

/// From, inclusive, and until, exclusive.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct TimeRange {
    /// The earliest time.
    pub since: Option<Timestamp>,
    /// The time before which everything lies.
    pub until: Option<Timestamp>,
}

/// Which statuses, the most recently first seen SID on top. A row must match every field that is set.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct StatusSearch {
    /// The SID, the part of one, or the number to find.
    pub needle: Option<Needle>,
    /// The resource.
    pub resource: Option<Resource>,
    /// The current status.
    pub status: Option<String>,
    /// The account.
    pub account: Option<String>,
    /// The latest `ErrorCode`.
    pub error: Option<String>,
    /// A parameter of the application's own.
    pub own: Option<OwnParameter>,
    /// The time at which the SID was first seen.
    pub span: TimeRange,
    /// Behind the last page.
    pub after: Option<Cursor>,
    /// Most rows of the page; [`ROWS_PER_PAGE`] at most.
    pub limit: u32,
}

/// Which events, the last received on top. A row must match every field that is set.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct EventSearch {
    /// About what.
    pub sid: Option<String>,
    /// The kind.
    pub kind: Option<Kind>,
    /// The status that it reports.
    pub status: Option<String>,
    /// The account.
    pub account: Option<String>,
    /// A parameter of the application's own.
    pub own: Option<OwnParameter>,
    /// The time of receipt.
    pub span: TimeRange,
    /// Behind the last page.
    pub after: Option<Cursor>,
    /// Most rows of the page; [`ROWS_PER_PAGE`] at most.
    pub limit: u32,
}

/// What the store got since some time.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Counts {
    /// Events by kind.
    pub events: Vec<(String, i64)>,
    /// SIDs that were first seen since then, by what they are and by their status now.
    pub statuses: Vec<(String, String, i64)>,
    /// The most frequent errors among them, at most [`Counts::ERRORS`].
    pub errors: Vec<(String, i64)>,
}

impl Counts {
    /// The most errors that are counted.
    pub const ERRORS: u32 = 20;
}

impl StatusSearch {
    /// Every text of it, to look for what a store cannot hold.
    pub(crate) fn texts(&self) -> impl Iterator<Item = &str> {
        let needle: Vec<&str> = match &self.needle {
            Some(Needle::Prefix(text) | Needle::Part(text)) => vec![text],
            Some(Needle::Address(forms)) => forms.iter().map(String::as_str).collect(),
            None => Vec::new(),
        };
        let rest = [&self.status, &self.account, &self.error];
        let after = self.after.iter().flat_map(Cursor::texts);
        let own = self.own.iter().flat_map(OwnParameter::texts);
        needle
            .into_iter()
            .chain(rest.into_iter().filter_map(Option::as_deref))
            .chain(own)
            .chain(after)
    }
}

impl EventSearch {
    /// Every text of it, to look for what a store cannot hold.
    pub(crate) fn texts(&self) -> impl Iterator<Item = &str> {
        let all = [&self.sid, &self.status, &self.account];
        let after = self.after.iter().flat_map(Cursor::texts);
        let own = self.own.iter().flat_map(OwnParameter::texts);
        all.into_iter().filter_map(Option::as_deref).chain(own).chain(after)
    }
}
