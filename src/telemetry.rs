//! Logs, metrics and traces of the process: where lines and spans go, and what the pipeline reports.

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

use crate::config::{Config, Log, LogFormat, lets_errors_through, variable};
use crate::spans::Spans;

/// Starts the log, on standard error and on a thread of its own. `RUST_LOG` overrides the configured
/// filter.
pub fn start_log(log: &Log) -> log::Queue {
    let set = variable("RUST_LOG");
    let filter = filter(set.as_deref(), &log.filter);
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

/// Which lines are logged: as `RUST_LOG` says if that can be read, and else as configured.
fn filter(set: Option<&str>, configured: &str) -> EnvFilter {
    /// A notice of a trigger in the user's database may quote a row, so none is logged, at whatever level.
    const NOTICES: &str = "sqlx::postgres::notice=off";
    /// Each statement and each connection is a line of sqlx, and offhook logs its own.
    const SQLX: &str = "sqlx=warn";
    let set = set.and_then(|set| Some((set, EnvFilter::try_new(set).ok()?)));
    let (text, mut filter) = set.unwrap_or_else(|| (configured, EnvFilter::new(configured)));
    // A typing error in the filter must not hide that nothing can be stored.
    if !lets_errors_through(text) {
        filter = filter.add_directive("offhook=warn".parse().expect("a directive"));
    }
    if !text.contains("sqlx") {
        filter = filter.add_directive(SQLX.parse().expect("a directive"));
    }
    filter.add_directive(NOTICES.parse().expect("a directive"))
}

/// Where to report spans: to a collector, if the configuration has one. A task sends them, until `stop`.
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

/// Where to report spans: nowhere, because this build has no traces.
///
/// # Errors
/// No traces in this build.
#[cfg(not(feature = "otel"))]
pub fn start_traces(
    _: &Config,
    _: &Registry,
    _: &mut JoinSet<()>,
    _: &CancellationToken,
) -> anyhow::Result<Spans> {
    Ok(Spans::default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sqlx_is_silent_below_a_warning_unless_it_is_asked_for() {
        let check = |set: Option<&str>, configured: &str, parts: &[&str]| {
            let filter = filter(set, configured).to_string();
            let directives: Vec<&str> = filter.split(',').collect();
            assert!(directives.contains(&"sqlx::postgres::notice=off"), "{filter}");
            assert!(parts.iter().all(|part| directives.contains(part)), "{parts:?}: {filter}");
        };
        check(None, "info", &["info", "sqlx=warn"]);
        check(Some("debug"), "info", &["debug", "sqlx=warn"]);
        check(Some("info,sqlx=debug"), "warn", &["info", "sqlx=debug"]);
        check(Some("a=b=c"), "info", &["info"]);
        check(None, "offhok=debug", &["offhook=warn"]);
    }
}
