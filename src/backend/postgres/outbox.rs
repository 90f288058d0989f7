//! [`Outbox`]: what is to be sent, in the scale-out store.

use super::Postgres;
use super::session::Around;
use super::store::{self, store_within};
use crate::backend::BackendError;
use crate::backend::sql::error::cause;
use crate::backend::sql::outbox::{failed, is_malformed};
use crate::backend::sql::session::PostgresSession;
use crate::event::Batch;
use crate::pipeline::CommitError;

/// Keeps what is to be sent.
#[derive(Clone, Debug)]
pub struct Outbox(Postgres);

impl Outbox {
    pub(super) fn new(postgres: Postgres) -> Self {
        Self(postgres)
    }

    /// Does some work in a transaction.
    pub(in crate::backend) async fn transact<T>(
        &self,
        work: impl AsyncFnOnce(&mut PostgresSession<'_>) -> Result<T, sqlx::Error>,
    ) -> Result<T, BackendError> {
        self.commit(work).await.map_err(failed)
    }

    /// The same, for a client that waits for it. All transactions run beside each other here.
    pub(in crate::backend) async fn transact_now<T>(
        &self,
        work: impl AsyncFnOnce(&mut PostgresSession<'_>) -> Result<T, sqlx::Error>,
    ) -> Result<T, BackendError> {
        self.transact(work).await
    }

    /// Does some work in a transaction, and says whether trying again can help.
    pub(in crate::backend) async fn commit<T>(
        &self,
        work: impl AsyncFnOnce(&mut PostgresSession<'_>) -> Result<T, sqlx::Error>,
    ) -> Result<T, CommitError> {
        let done = self.0.run_session(Around::BY_KEY, work).await;
        done.map_err(|error| classify(&error))
    }

    /// Reads.
    pub(in crate::backend) async fn read<T>(
        &self,
        work: impl AsyncFnOnce(&mut PostgresSession<'_>) -> Result<T, sqlx::Error>,
    ) -> Result<T, BackendError> {
        Ok(self.0.run_session(Around::Nothing, work).await?)
    }

    /// Does some work, and stores events, in one transaction.
    pub(in crate::backend) async fn store<T>(
        &self,
        events: &Batch,
        work: impl AsyncFnOnce(&mut PostgresSession<'_>) -> Result<T, sqlx::Error>,
    ) -> Result<T, CommitError> {
        let work = async |on: &mut PostgresSession<'_>| {
            let done = work(on).await?;
            // Last, since it takes the lock of the feed.
            store_within(on.connection, events, on.keep).await?;
            Ok(done)
        };
        let done = self.0.run_session(Around::BY_KEY, work).await;
        let done = done.map_err(|error| classify(&error))?;
        self.0.feed_watch.grew();
        Ok(done)
    }
}

fn classify(error: &sqlx::Error) -> CommitError {
    match is_malformed(error) {
        true => CommitError::Refused(cause(error)),
        false => store::classify(error),
    }
}
