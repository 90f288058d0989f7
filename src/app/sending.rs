//! The sending half, where a sender is configured.

use std::sync::Arc;

use axum::Router;

use crate::backend::Outbox;
use crate::config::Config;
use crate::outbound::{Outbound, Rest, SendMetrics, api};
use crate::tasks::Tasks;

/// Starts what sends, and returns what it is asked by.
///
/// # Errors
/// The system's root certificates cannot be read.
pub(super) fn start(
    config: &Config,
    outbox: &Outbox,
    metrics: Option<SendMetrics>,
    tasks: &mut Tasks,
) -> anyhow::Result<Router> {
    let Some(sending) = config.outbound.clone() else { return Ok(Router::new()) };
    let sending = Arc::new(sending);
    let rest = Rest::new(
        &sending.api_url,
        sending.timeout,
        sending.max_in_flight as usize * sending.accounts.len(),
        config.clock,
    )?;
    if let Some(metrics) = metrics {
        let service = Outbound {
            config: Arc::clone(&sending),
            outbox: outbox.clone(),
            rest,
            privacy: Arc::clone(&config.privacy),
            clock: config.clock,
            metrics,
        };
        tasks.spawn("sending", service.run(tasks.stop()));
    }
    Ok(api::router(api::Api::new(sending, outbox.clone(), config.clock)))
}
