//! The change feed, as its readers see it: where to begin, a page, and why a cursor is not valid.

use super::BackendError;
use crate::event::{Change, Cursor};
use crate::labels::labels;

/// Most changes of one page.
pub const CHANGES_PER_PAGE: u32 = 1_000;

/// Where a reader begins.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum From {
    /// At the oldest change that is kept.
    Start,
    /// Behind this cursor.
    After(Cursor),
}

/// Some of the feed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FeedPage {
    /// The changes in the order of their ids, which is that of their commits.
    pub changes: Vec<Change>,
    /// The cursor from which to continue.
    pub next: Cursor,
}

labels! {
    /// Why what comes after a cursor cannot be read from this feed without a gap.
    pub enum Gone {
        /// Retention has deleted changes after it.
        Cut = "cut",
        /// The cursor is of another feed: the database was created anew.
        OtherFeed = "other_feed",
        /// This feed has never been as far: a backup was restored.
        BeyondTheEnd = "beyond_the_end",
    }
}

impl Gone {
    /// What to tell a reader.
    #[must_use]
    pub fn explanation(self) -> &'static str {
        match self {
            Self::Cut => "retention has deleted changes after this cursor",
            Self::OtherFeed => "this cursor is of another feed: the database was made anew",
            Self::BeyondTheEnd => {
                "this cursor is beyond the end of the feed: a backup was restored"
            }
        }
    }
}

/// Why nothing is read.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FeedError {
    /// Something after the cursor is missing, or it is not a cursor of this feed.
    #[error("{}", .0.explanation())]
    Gone(Gone),
    /// The store does not answer.
    #[error(transparent)]
    Backend(#[from] BackendError),
}

impl std::convert::From<Gone> for FeedError {
    fn from(gone: Gone) -> Self {
        Self::Gone(gone)
    }
}

impl std::convert::From<sqlx::Error> for FeedError {
    fn from(error: sqlx::Error) -> Self {
        Self::Backend(error.into())
    }
}
