//! The scale-out store.

mod query;
mod store;

use std::str::FromStr;
use std::time::Duration;

use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions, PgPool};
use tokio::time::timeout;

pub use self::query::Query;
pub use self::store::PostgresStore;
use super::BackendError;

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/postgres");

/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// Longest wait for a statement. A batch takes milliseconds; a lock may take a while.
const STATEMENT: Duration = Duration::from_secs(30);
/// Longest wait for migrations, which wait for one another when several processes start.
const MIGRATION: Duration = Duration::from_secs(300);

/// Why the tables are not up to date.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// Postgres does not answer, or refuses for now: a permission may be granted yet.
    #[error("migrations: {0}")]
    Away(BackendError),
    /// The database was migrated by another version, which this one does not know.
    #[error("migrations: {0}; run the version that made these tables, or a newer one")]
    Unfit(BackendError),
}

/// Connections to one Postgres. Cheap to clone; connects when first asked.
#[derive(Clone, Debug)]
pub struct Postgres(PgPool);

impl Postgres {
    /// Of a `postgres://` URL.
    ///
    /// # Errors
    /// The URL is none. Its own text, which may hold a password, is not in the error.
    pub fn new(url: &str) -> Result<Self, BackendError> {
        let options = PgConnectOptions::from_str(url).map_err(BackendError::from)?;
        let options = options.application_name("offhook").disable_statement_logging();
        let pool = PgPoolOptions::new()
            // One writes; a console page and a probe read.
            .max_connections(4)
            .acquire_timeout(CONNECT)
            .connect_lazy_with(options);
        Ok(Self(pool))
    }

    /// Brings the tables up to date. Processes that start together wait for one another.
    ///
    /// # Errors
    /// See [`MigrateError`].
    pub async fn migrate(&self) -> Result<(), MigrateError> {
        use sqlx::migrate::MigrateError::{Execute, ExecuteMigration};
        let migrated = timeout(MIGRATION, MIGRATIONS.run(&self.0)).await;
        let late = |_| MigrateError::Away(BackendError("migrations took too long".to_owned()));
        migrated.map_err(late)?.map_err(|error| match error {
            Execute(error) | ExecuteMigration(error, _) => MigrateError::Away(error.into()),
            other => MigrateError::Unfit(BackendError(other.to_string())),
        })
    }

    /// Closes the connections.
    pub async fn close(&self) {
        let _ = timeout(CONNECT, self.0.close()).await;
    }
}
