//! `offhook migrate`: brings the tables up to date, and ends.

use std::path::PathBuf;

use secrecy::ExposeSecret;

use super::terminal::outln;
use crate::backend::postgres::Postgres;
use crate::backend::sqlite::Database;
use crate::config::{Config, Role, Sources, StoreUrl};

/// Migrates the configured store. Safe when several processes do so at the same time.
///
/// # Errors
/// A wrong configuration, a store that is away or in use, or one newer than this version.
pub(super) async fn run(config: Option<PathBuf>) -> anyhow::Result<()> {
    let config = Config::load(&Sources::of_process(config), Role::All)?;
    match config.deployment.store() {
        StoreUrl::Sqlite(store) => {
            let database = Database::lock(store)?;
            database.migrate().await?;
            outln!("{} is up to date", database.path().display());
        }
        StoreUrl::Postgres(store) => {
            let postgres = Postgres::new(store.expose_secret())?;
            postgres.migrate().await?;
            postgres.close().await;
            outln!("the Postgres tables are up to date");
        }
    }
    Ok(())
}
