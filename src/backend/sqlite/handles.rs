//! [`Handles`] and [`Health`]: the embedded store as services are handed it.

use std::sync::Arc;

use super::feed::Feed;
use super::forwards::Forwards;
use super::outbox::Outbox;
use super::query::Query;
use super::writer::Writer;
use super::{Database, RowPurge, SqliteStore};
use crate::backend::{BackendError, FeedWatch};

/// The embedded store: read on connections of its own, written by its one writer.
#[derive(Clone, Debug)]
pub struct Handles {
    writer: Arc<Writer>,
    query: Query,
}

impl Handles {
    /// The handle of a store.
    #[must_use]
    pub fn new(store: &SqliteStore) -> Self {
        let writer = Arc::clone(&store.0);
        Self { query: Query::new(writer.database()), writer }
    }

    pub(in crate::backend) fn query(&self) -> Query {
        self.query.clone()
    }

    pub(in crate::backend) fn purge(&self) -> RowPurge {
        RowPurge::new(Arc::clone(&self.writer), self.query.clone())
    }

    pub(in crate::backend) fn feed(&self) -> Feed {
        Feed::new(&self.writer)
    }

    pub(in crate::backend) fn feed_watch(&self) -> FeedWatch {
        self.writer.feed_watch.clone()
    }

    pub(in crate::backend) fn forwards(&self) -> Forwards {
        Forwards::new(&self.writer)
    }

    pub(in crate::backend) fn outbox(&self) -> Outbox {
        Outbox::new(&self.writer)
    }

    /// On a connection of its own, which no search holds.
    pub(in crate::backend) fn health(&self) -> Health {
        let database = Arc::clone(self.writer.database());
        Health { query: Query::new(&database), database }
    }
}

/// Whether the embedded store can do its job.
#[derive(Clone, Debug)]
pub struct Health {
    database: Arc<Database>,
    query: Query,
}

impl Health {
    pub(in crate::backend) async fn check(&self) -> Result<(), BackendError> {
        if let Some(failure) = self.database.failure() {
            return Err(BackendError(failure.to_owned()));
        }
        self.query.ping().await
    }
}
