//! [`FeedDoors`]: the change feed over HTTP, and how many may stand in its doors.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::backend::{Feed, FeedWatch};

/// Most that wait for a page at one time. Like each of [`STREAMS`] it holds a connection.
const POLLS: usize = 64;
/// Most that watch the feed at one time.
const STREAMS: usize = 64;

/// The change feed, and who waits for it.
#[derive(Clone, Debug)]
pub struct FeedDoors {
    /// What is read.
    pub feed: Feed,
    /// Wakes those who wait.
    pub watch: FeedWatch,
    polls: Arc<Semaphore>,
    streams: Arc<Semaphore>,
}

/// A place among those who wait, until it is dropped.
pub(super) type Seat = OwnedSemaphorePermit;

impl FeedDoors {
    /// Of a feed, whose readers `watch` wakes.
    #[must_use]
    pub fn new(feed: Feed, watch: FeedWatch) -> Self {
        let (polls, streams) = (Semaphore::new(POLLS), Semaphore::new(STREAMS));
        Self { feed, watch, polls: Arc::new(polls), streams: Arc::new(streams) }
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
