//! `offhook serve`: the server.

use std::path::PathBuf;

use anyhow::Context;
use sd_notify::NotifyState;
use tracing::{info, warn};

use crate::app::{self, Listeners};
use crate::clock::Clock;
use crate::config::{Config, Role, Sources};
use crate::{sabotage, shutdown, telemetry};

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// A wrong configuration, an address in use, a store that cannot be opened, or an end that was not
/// clean.
pub(super) async fn run(
    config: Option<PathBuf>,
    role: Role,
    clock_offset: i64,
) -> anyhow::Result<()> {
    let sources = Sources::of_process(config);
    sabotage::arm(&sources.environment);
    let mut config = Config::load(&sources, role)?;
    if clock_offset != 0 {
        config.clock = Clock::Shifted(clock_offset.saturating_mul(1_000_000));
    }
    telemetry::start_log(&config.log);
    let stop = shutdown::on_signal().context("signals cannot be listened to")?;
    let listeners = Listeners::bind(&config).await?;
    let running = app::start(config, listeners, stop.clone()).await?;
    tell(&NotifyState::Ready);
    // It is cancelled by whatever makes the server stop, so neither waits for ever.
    let stopping = async {
        stop.cancelled().await;
        tell(&NotifyState::Stopping);
    };
    let (stopped, ()) = tokio::join!(running.stopped(), stopping);
    stopped?;
    info!("offhook has stopped");
    Ok(())
}

/// Tells systemd, where it is systemd that started us (`Type=notify`); else nothing happens.
fn tell(state: &NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(std::slice::from_ref(state)) {
        warn!(error = %error, "systemd cannot be told about the state of the server");
    }
}
