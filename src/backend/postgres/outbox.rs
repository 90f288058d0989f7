//! [`Outbox`]: what is to be sent, in the scale-out store.

use sqlx::PgConnection;

use super::Postgres;
use super::store::store_within;
use crate::backend::BackendError;
use crate::backend::sql::session::PostgresSession;
use crate::event::Batch;

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
        let done = self.0.transact(async |connection: &mut PgConnection, keep| {
            work(&mut PostgresSession { connection, keep }).await
        });
        Ok(done.await?)
    }

    /// Reads.
    pub(in crate::backend) async fn read<T>(
        &self,
        work: impl AsyncFnOnce(&mut PostgresSession<'_>) -> Result<T, sqlx::Error>,
    ) -> Result<T, BackendError> {
        let done = self.0.run(async |connection: &mut PgConnection, keep| {
            work(&mut PostgresSession { connection, keep }).await
        });
        Ok(done.await?)
    }

    /// Does some work, and stores events, in one transaction.
    pub(in crate::backend) async fn store<T>(
        &self,
        events: &Batch,
        work: impl AsyncFnOnce(&mut PostgresSession<'_>) -> Result<T, sqlx::Error>,
    ) -> Result<T, BackendError> {
        let done = self.0.transact(async |connection: &mut PgConnection, keep| {
            let done = work(&mut PostgresSession { connection: &mut *connection, keep }).await?;
            // Last, since it takes the lock of the feed.
            store_within(connection, events, keep).await?;
            Ok(done)
        });
        let done = done.await?;
        self.0.feed_watch.grew();
        Ok(done)
    }
}
