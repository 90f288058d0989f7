//! [`HealthWatch`]: whether a receiver can take callbacks, for a load balancer. The same as `/readyz`, but
//! checked periodically instead of once per probe, because any client may ask.

use std::time::Duration;

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::rest;
use crate::backend::{Need, Probe};

/// The interval of the checks: shorter than that of a balancer.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);
/// Longest wait for one dependency.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);

/// Watches what a receiver needs.
#[derive(Debug)]
pub struct HealthWatch<S> {
    /// What the process depends on.
    pub probes: Vec<(Need, Probe)>,
    /// Takes whether callbacks can be taken.
    pub show: S,
}

impl<S: Fn(bool) + Send> HealthWatch<S> {
    /// Runs until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let Self { mut probes, show } = self;
        // What is optional to this process does not keep it from taking callbacks.
        probes.retain(|(need, _)| *need != Need::Optional);
        loop {
            let mut there = Vec::with_capacity(probes.len());
            for (need, probe) in &probes {
                let answer = timeout(ANSWER_TIMEOUT, probe.check()).await;
                there.push((*need, matches!(answer, Ok(Ok(())))));
            }
            show(Need::are_met(there));
            if !rest(PROBE_INTERVAL, &stop).await {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc::unbounded_channel;

    use super::*;
    use crate::backend::Store;
    use crate::backend::local_log::{Bounds, LocalLog};
    use crate::backend::postgres::{Handles, Postgres};

    /// What is shown first, of a process with a local log and a Postgres that does not answer.
    async fn shown(postgres: Need) -> Option<bool> {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let bounds = Bounds { max_bytes: 1 << 20, min_free_bytes: 0 };
        let log = LocalLog::open(directory.path(), bounds).await.expect("a new directory");
        let away = Postgres::new("postgres://127.0.0.1:1/none").expect("a URL");
        let away = Probe::Store(Store::Postgres(Handles::new(away)).health());
        let (show, mut shown) = unbounded_channel();
        let watch = HealthWatch {
            probes: vec![(Need::Must, Probe::Spool(log)), (postgres, away)],
            show: move |there| show.send(there).expect("it is awaited"),
        };
        let stop = CancellationToken::new();
        let first = async {
            let first = shown.recv().await;
            stop.cancel();
            first
        };
        let ((), first) = tokio::join!(watch.run(stop.clone()), first);
        first
    }

    #[tokio::test]
    async fn what_is_needed_decides_and_what_is_optional_does_not() {
        assert_eq!(shown(Need::Optional).await, Some(true));
        assert_eq!(shown(Need::Must).await, Some(false));
    }
}
