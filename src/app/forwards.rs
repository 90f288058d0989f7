//! Which process forwards: each that moves events into the store, if it gets the lease.

use std::sync::Arc;

use anyhow::Context;
use secrecy::{ExposeSecret, SecretString};
use tokio_util::sync::CancellationToken;

use super::console;
use crate::admin::{ConfiguredForward, ForwardHandles};
use crate::backend::postgres::{self, Postgres};
use crate::backend::{FeedWatch, Store};
use crate::clock::Clock;
use crate::config::Config;
use crate::forward::{self, Endpoint, ForwardMetrics, Runner, runner};
use crate::policy::PolicyInForce;

/// Connections that a forward needs: one that reads, one that writes.
const CONNECTIONS: u32 = 2;

/// Everything that is forwarded to.
#[derive(Clone)]
pub(super) struct Forwarding {
    to: Vec<To>,
    clock: Clock,
    stop: CancellationToken,
}

/// One endpoint that is forwarded to.
#[derive(Clone)]
struct To {
    config: forward::Config,
    endpoint: Arc<Endpoint>,
    metrics: ForwardMetrics,
}

impl Forwarding {
    /// The forwards of a configuration.
    ///
    /// # Errors
    /// A certificate cannot be read.
    pub(super) fn new(
        config: &Config,
        policy: &PolicyInForce,
        metrics: &forward::Metrics,
        stop: CancellationToken,
    ) -> anyhow::Result<Self> {
        let endpoint = |forward: &forward::Config| {
            let endpoint = Endpoint::new(forward, policy.inbound(), config.clock);
            let endpoint = endpoint.with_context(|| format!("forward {}", forward.name))?;
            let (endpoint, metrics) = (Arc::new(endpoint), metrics.of(&forward.name));
            Ok(To { config: forward.clone(), endpoint, metrics })
        };
        let to = config.forwards.iter().map(endpoint).collect::<anyhow::Result<_>>()?;
        Ok(Self { to, clock: config.clock, stop })
    }

    /// The metrics that the console reads.
    pub(super) fn handles(&self) -> Vec<ForwardHandles> {
        self.to.iter().map(|to| console::forward(&to.metrics)).collect()
    }

    /// What may be shown of each.
    pub(super) fn shown(&self) -> Vec<ConfiguredForward> {
        let shown = |To { config, .. }: &To| ConfiguredForward {
            name: config.name.clone(),
            url: config.target.to_string(),
            form: config.form.as_str(),
        };
        self.to.iter().map(shown).collect()
    }

    /// Forwards from a store until the process stops; `watch` wakes when there is more.
    pub(super) async fn run(self, store: Store, watch: FeedWatch) {
        let Self { to, clock, stop } = self;
        let runners = to.into_iter().map(|To { config, endpoint, metrics }| {
            let (feed, forwards) = (store.feed(), store.forwards());
            let watch = watch.clone();
            Runner { config, endpoint, feed, watch, forwards, clock, observer: metrics }
        });
        runner::run_all(runners.collect(), &stop).await;
    }

    /// The same from a Postgres, on connections that nothing else waits for.
    pub(super) async fn run_on_postgres(self, postgres: Postgres, watch: FeedWatch) {
        self.run(Store::Postgres(postgres::Handles::new(postgres.clone())), watch).await;
        postgres.close().await;
    }

    /// Those connections.
    ///
    /// # Errors
    /// The URL is not valid.
    pub(super) fn connections(&self, url: &SecretString) -> anyhow::Result<Postgres> {
        let forwards = u32::try_from(self.to.len()).unwrap_or(u32::MAX);
        let writers = forwards.saturating_mul(CONNECTIONS);
        Postgres::with_writers(url.expose_secret(), writers).context("store.url")
    }
}
