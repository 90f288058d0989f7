//! `offhook serve`: the server.

use std::path::PathBuf;

use anyhow::Context;
use tracing::info;

use crate::app::{self, Listeners};
use crate::config::{Config, Role, Sources};
use crate::{shutdown, telemetry};

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// A wrong configuration, an address in use, a store that cannot be opened, or an end that was not
/// clean.
pub(super) async fn run(config: Option<PathBuf>, role: Role) -> anyhow::Result<()> {
    let config = Config::load(&Sources::of_process(config), role)?;
    telemetry::start_log(&config.log);
    let stop = shutdown::on_signal().context("signals cannot be listened to")?;
    let listeners = Listeners::bind(&config).await?;
    app::start(config, listeners, stop).await?.stopped().await?;
    info!("offhook has stopped");
    Ok(())
}
