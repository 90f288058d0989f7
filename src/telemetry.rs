//! Logs, metrics and traces of the process: where lines and spans go, and what the pipeline tells.

pub mod log;
pub mod metrics;
#[cfg(feature = "otel")]
mod otlp;
pub mod outcomes;
pub mod reloads;
pub mod stream;

use std::io::IsTerminal as _;

use prometheus::Registry;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use crate::config::{Config, Log, LogFormat, lets_errors_through};
use crate::spans::Spans;

/// Never logged, at whatever level.
const SILENT: &str = "sqlx::postgres::notice=off";

/// Starts the log, on standard error and on a thread of its own. `RUST_LOG` overrides the configured
/// filter.
pub fn start_log(log: &Log) -> log::Queue {
    let set = EnvFilter::try_from_default_env();
    let blind = match &set {
        Ok(set) => !lets_errors_through(&set.to_string()),
        Err(_) => !lets_errors_through(&log.filter),
    };
    let mut filter = set.unwrap_or_else(|_| EnvFilter::new(&log.filter));
    // A typing error in the filter must not hide that nothing can be stored.
    if blind {
        filter = filter.add_directive("offhook=warn".parse().expect("a directive"));
    }
    // What a trigger in the user's database has to say may quote a row.
    let filter = filter.add_directive(SILENT.parse().expect("a directive"));
    let queue = log::Queue::start();
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(queue.clone())
        .with_ansi(std::io::stderr().is_terminal());
    // A log that is started twice keeps its first form: tests do that.
    let _ = match log.format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    queue
}

/// Where to tell spans: a collector's, if the configuration has one. A task sends them, until `stop`.
///
/// # Errors
/// The HTTP client cannot be made, or a name of a metric is taken.
#[cfg(feature = "otel")]
pub fn start_traces(
    config: &Config,
    registry: &Registry,
    tasks: &mut JoinSet<()>,
    stop: &CancellationToken,
) -> anyhow::Result<Spans> {
    let Some(traces) = &config.traces else { return Ok(Spans::default()) };
    otlp::start(traces, config.clock, registry, tasks, stop.clone())
}

/// Where to tell spans: nowhere, since this build takes no traces.
///
/// # Errors
/// None.
#[cfg(not(feature = "otel"))]
pub fn start_traces(
    _: &Config,
    _: &Registry,
    _: &mut JoinSet<()>,
    _: &CancellationToken,
) -> anyhow::Result<Spans> {
    Ok(Spans::default())
}
