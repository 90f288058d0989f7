//! `offhook migrate`: brings the tables up to date, and ends.

use std::path::PathBuf;

use anyhow::anyhow;
use clap::Args;
use secrecy::ExposeSecret;
use serde_json::json;

use super::output::Format;
use crate::backend::postgres::{MigrateError, Postgres};
use crate::backend::sqlite::Database;
use crate::config::{Config, Role, Sources, StoreUrl};

/// The arguments.
#[derive(Debug, Args)]
pub(super) struct Migrate {
    #[command(flatten)]
    format: Format,
}

/// Migrates the configured store. Safe when several processes do so at the same time.
///
/// # Errors
/// A wrong configuration, a store that is away or in use, or one newer than this version.
pub(super) async fn run(config: Option<PathBuf>, migrate: &Migrate) -> anyhow::Result<()> {
    let config = Config::load(&Sources::of_process(config), Role::All)?;
    let store = match config.deployment.store() {
        StoreUrl::Sqlite(store) => {
            let database = Database::lock(store)?;
            database.migrate().await?;
            database.path().display().to_string()
        }
        StoreUrl::Postgres(store) => {
            let postgres = Postgres::new(store.expose_secret())?;
            let migrated = postgres.migrate().await;
            postgres.close().await;
            migrated.map_err(explain)?;
            "Postgres".to_owned()
        }
    };
    let result = json!({ "store": store, "up_to_date": true });
    migrate.format.print(&result, |_| format!("{store} is up to date\n"));
    Ok(())
}

/// With what to do, where that is not in the error.
fn explain(error: MigrateError) -> anyhow::Error {
    match error {
        MigrateError::Away(_) => {
            anyhow!("{error}; start Postgres, or fix DATABASE_URL (store.url)")
        }
        MigrateError::Unfit(_) => error.into(),
    }
}
