//! `offhook serve`: the server.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use sd_notify::NotifyState;
use tokio::runtime::Builder;
use tokio::signal::unix::Signal;
use tracing::{info, warn};

use super::{healthcheck, run_on};
use crate::app::{self, Listeners, Reloader};
use crate::backend::local_log::{absolute, volatile};
use crate::clock::Clock;
use crate::config::{Config, ConfigError, Deployment, Origin, Role, Sources};
use crate::{crash_points, process, shutdown, telemetry};

/// Longest wait for the reader of the log at the end.
const LAST_LINES: Duration = Duration::from_secs(1);

/// The arguments.
#[derive(Debug, Args)]
pub(super) struct Serve {
    /// What this process does, where several share a Postgres
    #[arg(long, value_enum, default_value_t = Role::All)]
    role: Role,
    /// For `torture`: how many seconds this process's clock is wrong by
    #[arg(long, hide = true, default_value_t = 0, allow_hyphen_values = true)]
    clock_offset: i64,
}

/// Runs until SIGTERM or SIGINT. SIGHUP reloads the configuration.
///
/// # Errors
/// A wrong configuration, an address in use, a store that cannot be opened, or an end that was not
/// clean.
pub(super) fn run(config: Option<PathBuf>, serve: &Serve) -> anyhow::Result<()> {
    let Serve { role, clock_offset } = *serve;
    process::prepare();
    let sources = Sources::of_process(config);
    crash_points::arm(&sources.environment);
    let mut config = Config::load(&sources, role)?;
    if clock_offset != 0 {
        config.clock = Clock::Shifted(clock_offset.saturating_mul(1_000_000));
    }
    let log = telemetry::start_log(&config.log);
    announce(&config, role);
    for ConfigError { key, origin, problem } in &config.warnings {
        let origin = origin.to_string();
        warn!(key, origin, problem, "the configuration is probably not what you meant");
    }
    let mut runtime = match config.deployment.threads() {
        1 => Builder::new_current_thread(),
        threads => {
            let mut several = Builder::new_multi_thread();
            several.worker_threads(threads);
            several
        }
    };
    let ended = run_on(&mut runtime, serve_until_stopped(config, &sources, role));
    log.flush(LAST_LINES);
    ended
}

/// What this process is, before anything else: a variable that was forgotten makes another deployment of it.
fn announce(config: &Config, role: Role) {
    let (version, deployment) = (env!("CARGO_PKG_VERSION"), config.deployment.name());
    let role = matches!(config.deployment, Deployment::Scaled(_)).then(|| role.as_str());
    // A free port is not known before it is bound.
    let listen = healthcheck::reachable(config.admin.listen);
    let console = (listen.port() != 0).then(|| format!("http://{listen}/"));
    let log = config.deployment.local_log().map(|log| &log.directory);
    let local_log = log.map(|directory| absolute(directory).display().to_string());
    info!(version, deployment, role, console, local_log, "offhook starts");
    if let Some(why) = log.and_then(|directory| volatile(directory)) {
        warn!(
            local_log,
            why,
            "callbacks that were answered and are not stored yet can be lost: give the local log a disk that outlives the \
             process"
        );
    }
}

async fn serve_until_stopped(config: Config, sources: &Sources, role: Role) -> anyhow::Result<()> {
    let stop = shutdown::on_signal().context("signals cannot be received")?;
    let hangup = shutdown::on_hangup().context("signals cannot be received")?;
    let listeners = Listeners::bind(&config).await?;
    let running = app::start(config, listeners, stop.clone()).await?;
    tell(&[NotifyState::Ready]);
    let reloader = running.reloader.clone();
    // It is cancelled by whatever makes the server stop, so neither waits for ever.
    let until_stopping = async {
        stop.run_until_cancelled(reload_on(hangup, &reloader, sources, role)).await;
        tell(&[NotifyState::Stopping]);
    };
    let (stopped, ()) = tokio::join!(running.stopped(), until_stopping);
    stopped?;
    info!("offhook has stopped");
    Ok(())
}

/// Reads the configuration again with every SIGHUP.
async fn reload_on(mut hangup: Signal, reloader: &Reloader, sources: &Sources, role: Role) {
    while hangup.recv().await.is_some() {
        // systemd 253 and later wait for this, and take no other time.
        match NotifyState::monotonic_usec_now() {
            Ok(now) => tell(&[NotifyState::Reloading, now]),
            Err(error) => warn!(error = %error, "the clock that systemd wants cannot be read"),
        }
        let sources = sources.clone();
        // Files are read, which may be on a slow disk.
        let next = tokio::task::spawn_blocking(move || Config::load(&sources, role)).await;
        reloader.take(&next.unwrap_or_else(|panicked| {
            let (key, origin) = ("all of it".to_owned(), Origin::Program);
            Err(ConfigError { key, origin, problem: panicked.to_string() })
        }));
        tell(&[NotifyState::Ready]);
    }
}

/// Tells systemd, where it is systemd that started us (`Type=notify`); else nothing happens.
fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        warn!(error = %error, "systemd cannot be notified of the state of the server");
    }
}
