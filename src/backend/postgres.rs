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
    /// Postgres is away, the database is newer than this version, or a permission is missing.
    pub async fn migrate(&self) -> Result<(), BackendError> {
        let migrated = timeout(MIGRATION, MIGRATIONS.run(&self.0)).await;
        let late = |_| BackendError("migrations took too long".to_owned());
        migrated.map_err(late)?.map_err(|error| match error {
            sqlx::migrate::MigrateError::Execute(error) => error.into(),
            other => BackendError(format!("migrations: {other}")),
        })
    }

    /// Closes the connections.
    pub async fn close(&self) {
        let _ = timeout(CONNECT, self.0.close()).await;
    }
}
