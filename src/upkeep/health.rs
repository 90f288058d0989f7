//! What the public listener tells a load balancer: the same that `/readyz` says of a receiver, looked at again
//! and again instead of once for each probe, since anybody may ask.

use std::time::Duration;

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::backend::{Need, Probe};
use crate::inbound::Health;

/// More often than a balancer asks.
const EVERY: Duration = Duration::from_secs(1);
/// Longest wait for one dependency.
const PATIENCE: Duration = Duration::from_secs(1);

/// Looks until told to stop.
pub(crate) async fn watch(
    probes: Vec<(Need, Probe)>,
    health: Health,
    stop: CancellationToken,
) -> &'static str {
    // What is optional to this process does not keep it from taking callbacks.
    let needed: Vec<_> = probes.into_iter().filter(|(need, _)| *need != Need::Optional).collect();
    loop {
        let mut there = Vec::with_capacity(needed.len());
        for (need, probe) in &needed {
            let answer = timeout(PATIENCE, probe.check()).await;
            there.push((*need, matches!(answer, Ok(Ok(())))));
        }
        health.set(Need::are_met(there));
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = stop.cancelled() => return "health watch",
        }
    }
}
