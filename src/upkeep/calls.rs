//! How many calls are in progress: asked of the store again and again, so that it is right after a
//! restart, whoever stored the events, and whichever callback was lost.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::backend::Reads;
use crate::clock::Clock;
use crate::config::Calls;
use crate::telemetry::metrics::Metrics;

/// As often as metrics are looked at, and more. The store answers from an index of open calls.
const EVERY: Duration = Duration::from_secs(5);

/// Shows it until told to stop. While the store does not answer, the last answer stays.
pub(crate) async fn watch(
    reader: Reads,
    calls: Calls,
    metrics: Metrics,
    stop: CancellationToken,
) -> &'static str {
    loop {
        match reader.calls_in_progress(Clock::System.now().before(calls.max_age)).await {
            Ok(in_progress) => metrics.show_calls(in_progress),
            Err(error) => debug!(error = %error, "calls in progress cannot be counted"),
        }
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = stop.cancelled() => return "watch of calls",
        }
    }
}
