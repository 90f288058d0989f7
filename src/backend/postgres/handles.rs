//! [`Handles`] and [`Health`]: the scale-out store as services are handed it.

use sqlx::{PgConnection, Row};
use tokio::time::timeout;

use super::{CONNECT, Feed, Forwards, Outbox, Postgres, Query, RowPurge};
use crate::backend::{BackendError, DurabilityReport, FeedWatch};

/// The scale-out store.
#[derive(Clone, Debug)]
pub struct Handles {
    postgres: Postgres,
    query: Query,
}

impl Handles {
    /// Connects when first asked.
    #[must_use]
    pub fn new(postgres: Postgres) -> Self {
        Self { query: Query::new(postgres.clone()), postgres }
    }

    pub(in crate::backend) fn query(&self) -> Query {
        self.query.clone()
    }

    pub(in crate::backend) fn purge(&self) -> RowPurge {
        RowPurge::new(self.postgres.clone())
    }

    pub(in crate::backend) fn feed(&self) -> Feed {
        Feed::new(self.postgres.clone())
    }

    pub(in crate::backend) fn feed_watch(&self) -> FeedWatch {
        self.postgres.feed_watch.clone()
    }

    pub(in crate::backend) fn forwards(&self) -> Forwards {
        Forwards::new(self.postgres.clone())
    }

    pub(in crate::backend) fn outbox(&self) -> Outbox {
        Outbox::new(self.postgres.clone())
    }

    pub(in crate::backend) fn health(&self) -> Health {
        Health(self.postgres.clone())
    }
}

/// Whether the scale-out store can do its job.
#[derive(Clone, Debug)]
pub struct Health(Postgres);

impl Health {
    /// Connects when first asked.
    #[must_use]
    pub fn new(postgres: Postgres) -> Self {
        Self(postgres)
    }

    /// What a commit means with its settings, for this role and database.
    pub async fn durability(&self) -> Result<DurabilityReport, BackendError> {
        let sql = "SELECT current_setting('synchronous_commit'), current_setting('fsync')";
        let ask = async |connection: &mut PgConnection, keep| {
            sqlx::query(sql).persistent(keep).fetch_one(connection).await
        };
        let row = self.0.run(ask).await?;
        let (commit, fsync): (String, String) = (row.try_get(0)?, row.try_get(1)?);
        Ok(DurabilityReport::of_postgres(&commit, &fsync))
    }

    /// Whether it answers, and a worker can store: the tables are there, and may be written. A session that
    /// finds that it may not is thrown away, so that the next one finds out whether that is over.
    pub(in crate::backend) async fn check(&self) -> Result<(), BackendError> {
        const SQL: &str = "SELECT pg_is_in_recovery(), \
            current_setting('transaction_read_only') = 'on', \
            has_table_privilege('events', 'INSERT'), \
            has_table_privilege('statuses', 'INSERT') \
            AND has_table_privilege('statuses', 'UPDATE'), \
            has_table_privilege('changes', 'INSERT') \
            AND has_sequence_privilege('changes_id_seq', 'USAGE'), \
            has_table_privilege('wakes', 'INSERT'), \
            EXISTS (SELECT 1 FROM events) OR EXISTS (SELECT 1 FROM statuses)";
        let ask = async |connection: &mut PgConnection, keep| {
            let row = sqlx::query(SQL).persistent(keep).fetch_one(connection).await?;
            let wrong = if row.try_get(0)? {
                "it is a standby, which cannot be written"
            } else if row.try_get(1)? {
                "its sessions are read-only (default_transaction_read_only)"
            } else if !row.try_get(2)? {
                "our role may not insert into events"
            } else if !row.try_get(3)? {
                "our role may not insert into statuses and update it"
            } else if !row.try_get(4)? {
                "our role may not insert into changes and use changes_id_seq"
            } else if !row.try_get(5)? {
                "our role may not insert into wakes"
            } else {
                return Ok(());
            };
            Err(sqlx::Error::Protocol(wrong.to_owned()))
        };
        let late = |_| BackendError("no answer in time".to_owned());
        let checked = timeout(CONNECT, self.0.run(ask)).await.map_err(late)?;
        checked.map_err(|error| match error {
            sqlx::Error::Protocol(wrong) => BackendError(wrong),
            error => error.into(),
        })
    }
}
