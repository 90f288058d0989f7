//! [`Feed`]: the change feed of the store.

use super::{Store, on_store};
use crate::backend::feed::{FeedError, FeedPage, From};
use crate::backend::{postgres, sqlite};
use crate::event::Cursor;

/// Reads the change feed. Every read ends in seconds.
pub type Feed = Store<sqlite::Feed, postgres::Feed>;

impl Feed {
    /// The changes that were committed after a cursor, in the order of their commits, at most `limit`. None of them is
    /// ever taken back, nor one with a smaller id committed later.
    pub async fn changes(&self, from: &From, limit: u32) -> Result<FeedPage, FeedError> {
        on_store!(self, feed => feed.changes(from, limit))
    }

    /// The end as it is now.
    pub async fn end(&self) -> Result<Cursor, FeedError> {
        on_store!(self, feed => feed.end())
    }
}
