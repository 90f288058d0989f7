//! The local log of this process: how it is opened, and what metrics show of it.

use anyhow::Context;

use crate::backend::local_log::LocalLog;
use crate::config;
use crate::telemetry::metrics::Metrics;
use crate::upkeep::local_log::LocalLogState;

/// Opens it.
///
/// # Errors
/// The directory cannot be written, or another process has it.
pub(super) async fn open(log: &config::LocalLog) -> anyhow::Result<LocalLog> {
    LocalLog::open(&log.directory, log.bounds).await.context("spool.directory")
}

/// If everything goes through the log, its events wait for the store; otherwise they wait for the stream.
pub(super) fn show(metrics: &Metrics, state: LocalLogState) {
    metrics.show_local_log(state.fill.bytes, state.dead_letters, state.damaged);
    match state.oldest_age {
        Some(oldest) => metrics.stream().show_local_log(state.fill.events, oldest),
        None => metrics.show_spooled(state.fill.events),
    }
}
