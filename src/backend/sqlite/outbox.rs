//! [`Outbox`]: what is to be sent, in the embedded store.
//!
//! Its transactions are synced before they return, unlike those of events, which the local log keeps until they are:
//! a POST may follow each of them. Those that come at once share a sync.

use std::sync::Arc;

use super::group::Urgency;
use super::query::Query;
use super::store::store_within;
use super::writer::Writer;
use crate::backend::BackendError;
use crate::backend::sql::outbox::failed;
use crate::backend::sql::session::SqliteSession;
use crate::event::Batch;
use crate::pipeline::CommitError;

/// Keeps what is to be sent.
#[derive(Clone, Debug)]
pub struct Outbox {
    query: Query,
    writer: Arc<Writer>,
}

impl Outbox {
    /// Reads on connections of its own, which no search holds.
    pub(super) fn new(writer: &Arc<Writer>) -> Self {
        Self { query: Query::new(writer.database()), writer: Arc::clone(writer) }
    }

    /// Does some work in a transaction.
    pub(in crate::backend) async fn transact<T>(
        &self,
        work: impl AsyncFnOnce(&mut SqliteSession<'_>) -> Result<T, sqlx::Error>,
    ) -> Result<T, BackendError> {
        self.commit(work).await.map_err(failed)
    }

    /// The same, before all other work, and committed at once: a client waits for it.
    pub(in crate::backend) async fn transact_now<T>(
        &self,
        work: impl AsyncFnOnce(&mut SqliteSession<'_>) -> Result<T, sqlx::Error>,
    ) -> Result<T, BackendError> {
        self.writer.group.run(&self.writer, Urgency::Asked, work).await.map_err(failed)
    }

    /// Does some work in a transaction, and says whether trying again can help.
    pub(in crate::backend) async fn commit<T>(
        &self,
        work: impl AsyncFnOnce(&mut SqliteSession<'_>) -> Result<T, sqlx::Error>,
    ) -> Result<T, CommitError> {
        self.writer.group.run(&self.writer, Urgency::Background, work).await
    }

    /// Reads.
    pub(in crate::backend) async fn read<T>(
        &self,
        work: impl AsyncFnOnce(&mut SqliteSession<'_>) -> Result<T, sqlx::Error>,
    ) -> Result<T, BackendError> {
        self.query.read_session(work).await
    }

    /// Does some work, and stores events, in one transaction.
    pub(in crate::backend) async fn store<T>(
        &self,
        events: &Batch,
        work: impl AsyncFnOnce(&mut SqliteSession<'_>) -> Result<T, sqlx::Error>,
    ) -> Result<T, CommitError> {
        let done = self.commit(async |on: &mut SqliteSession<'_>| {
            let done = work(on).await?;
            store_within(on.0, events).await?;
            Ok(done)
        });
        let done = done.await?;
        self.writer.feed_watch.grew();
        Ok(done)
    }
}
