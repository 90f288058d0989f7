//! [`Backoff`]: how long to wait before trying again.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use tokio_util::sync::CancellationToken;

/// Waits that double from 50 ms to 5 s, each with jitter, so that many processes which lost one
/// server do not all come back to it at the same moment. Never ends by itself.
#[derive(Debug)]
pub struct Backoff(ExponentialBackoff);

impl Backoff {
    /// The longest wait, before jitter.
    pub const MAX: Duration = Duration::from_secs(5);

    /// Starts again from the shortest wait.
    pub fn reset(&mut self) {
        *self = Self::default();
    }

    /// How long the next wait is.
    pub fn next_wait(&mut self) -> Duration {
        self.0.next().unwrap_or(Self::MAX)
    }

    /// Waits, or returns early on a stop.
    pub async fn wait(&mut self, stop: &CancellationToken) {
        let wait = tokio::time::sleep(self.next_wait());
        tokio::select! {
            () = wait => {}
            () = stop.cancelled() => {}
        }
    }
}

impl Default for Backoff {
    fn default() -> Self {
        let builder = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(50))
            .with_max_delay(Self::MAX)
            .without_max_times()
            .with_jitter();
        Self(builder.build())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_bound_and_start_again() {
        let mut backoff = Backoff::default();
        let first = backoff.next_wait();
        assert!((50..=100).contains(&first.as_millis()), "{first:?}");
        let waits: Vec<_> = (0..40).map(|_| backoff.next_wait()).collect();
        assert!(waits.iter().all(|wait| *wait <= 2 * Backoff::MAX), "{waits:?}");
        assert!(waits[39] >= Backoff::MAX);
        backoff.reset();
        assert!(backoff.next_wait() < Duration::from_millis(150));
    }
}
