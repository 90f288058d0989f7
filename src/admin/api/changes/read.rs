//! [`find`]: reads on in the feed, past what a filter does not take, in bounded work.

use super::ask::Filter;
use crate::admin::FeedDoors;
use crate::backend::feed::{CHANGES_PER_PAGE, FeedError, FeedPage, From};
use crate::event::{Change, Cursor};

/// Most changes that one request looks at: some hundredths of a second of the store's time.
pub(super) const MOST: u32 = 10 * CHANGES_PER_PAGE;

/// What was found.
#[derive(Debug)]
pub(super) struct Found {
    /// Those that the filter takes, each with its own cursor.
    pub(super) changes: Vec<(Cursor, Change)>,
    /// Behind the last that was looked at.
    pub(super) next: Cursor,
    /// How many were looked at.
    pub(super) looked_at: u32,
}

/// At most `limit` changes that the filter takes, of the next `most`.
pub(super) async fn find(
    doors: &FeedDoors,
    mut from: From,
    filter: &Filter,
    limit: u32,
    most: u32,
) -> Result<Found, FeedError> {
    let (mut changes, mut looked_at) = (Vec::new(), 0);
    loop {
        // Of those that a filter takes there may be few.
        let wanted = if filter.is_open() { limit } else { CHANGES_PER_PAGE }.min(most - looked_at);
        let FeedPage { changes: page, next } = doors.changes(&from, wanted).await?;
        let is_last = page.len() < wanted as usize;
        for change in page {
            looked_at += 1;
            if filter.takes(&change) {
                let cursor = Cursor { feed: next.feed.clone(), id: change.id };
                changes.push((cursor.clone(), change));
                if changes.len() == limit as usize {
                    return Ok(Found { changes, next: cursor, looked_at });
                }
            }
        }
        if is_last || looked_at >= most {
            return Ok(Found { changes, next, looked_at });
        }
        from = From::After(next);
    }
}
