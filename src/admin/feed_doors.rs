//! [`FeedDoors`]: the change feed over HTTP, and how many may stand in its doors.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};
use tokio::time::timeout;

use crate::backend::feed::{FeedError, FeedPage, From};
use crate::backend::{BackendError, Feed, FeedWatch};
use crate::event::Cursor;

/// Most that wait for a page at one time. Like each of [`STREAMS`] it holds a connection.
const POLLS: usize = 64;
/// Most that watch the feed at one time.
const STREAMS: usize = 64;
/// Pages that are read at one time: what is stored wakes all who wait, and a commit must not wait for a connection
/// behind them.
const READS: usize = 2;
/// Longest wait for one's turn to read.
const TURN: Duration = Duration::from_secs(5);

/// The change feed, and who waits for it.
#[derive(Clone, Debug)]
pub struct FeedDoors {
    /// What is read.
    pub feed: Feed,
    /// Wakes those who wait.
    pub watch: FeedWatch,
    polls: Arc<Semaphore>,
    streams: Arc<Semaphore>,
    reads: Arc<Semaphore>,
}

/// A place among those who wait, until it is dropped.
pub(super) type Seat = OwnedSemaphorePermit;

impl FeedDoors {
    /// Of a feed, whose readers `watch` wakes.
    #[must_use]
    pub fn new(feed: Feed, watch: FeedWatch) -> Self {
        let [polls, streams, reads] =
            [POLLS, STREAMS, READS].map(|most| Arc::new(Semaphore::new(most)));
        Self { feed, watch, polls, streams, reads }
    }

    /// A page, when it is its turn.
    pub(super) async fn changes(&self, from: &From, limit: u32) -> Result<FeedPage, FeedError> {
        let _turn = self.turn().await?;
        self.feed.changes(from, limit).await
    }

    /// The end as it is now, when it is its turn.
    pub(super) async fn end(&self) -> Result<Cursor, FeedError> {
        let _turn = self.turn().await?;
        self.feed.end().await
    }

    async fn turn(&self) -> Result<SemaphorePermit<'_>, BackendError> {
        let late = |_| BackendError("other readers of the feed took too long".to_owned());
        Ok(timeout(TURN, self.reads.acquire()).await.map_err(late)?.expect("it is never closed"))
    }

    /// With so many seats of each kind.
    #[cfg(test)]
    pub(super) fn with_seats(self, seats: usize) -> Self {
        let seats = || Arc::new(Semaphore::new(seats));
        Self { polls: seats(), streams: seats(), ..self }
    }

    /// A seat of one that waits for a page; `None` if all are taken.
    pub(super) fn poll(&self) -> Option<Seat> {
        Arc::clone(&self.polls).try_acquire_owned().ok()
    }

    /// A seat of one that watches; `None` if all are taken.
    pub(super) fn stream(&self) -> Option<Seat> {
        Arc::clone(&self.streams).try_acquire_owned().ok()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;
    use crate::backend::Store;
    use crate::backend::sqlite::{Database, Handles, SqliteStore};

    #[tokio::test]
    async fn those_who_are_woken_at_once_read_in_turn() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let url = format!("sqlite:{}", directory.path().join("offhook.db").display());
        let database = Arc::new(Database::lock(&url).expect("a file of our own"));
        database.migrate().await.expect("a new file");
        let sink = SqliteStore::open(database).await.expect("a new file");
        let store = Store::Sqlite(Handles::new(&sink));
        let doors = FeedDoors::new(store.feed(), store.feed_watch());
        let mut others = Vec::new();
        for _ in 0..READS {
            others.push(doors.turn().await.expect("nobody reads"));
        }
        let mut read = std::pin::pin!(doors.changes(&From::Start, 1));
        assert!(read.as_mut().now_or_never().is_none());
        others.pop();
        assert!(read.await.expect("it is its turn").changes.is_empty());
    }
}
