//! Which process forwards: each that moves events into the store, if it gets the lease.

use std::sync::Arc;

use anyhow::Context;
use secrecy::{ExposeSecret, SecretString};
use tokio_util::sync::CancellationToken;

use crate::backend::postgres::{self, Postgres};
use crate::backend::{FeedWatch, Store};
use crate::clock::Clock;
use crate::config::Config;
use crate::forward::{self, Endpoint, Runner, runner};
use crate::policy::PolicyInForce;

/// Connections that a forward needs: one that reads, one that writes.
const CONNECTIONS: u32 = 2;

/// Everything that is forwarded to.
#[derive(Clone)]
pub(super) struct Forwarding {
    to: Vec<(forward::Config, Arc<Endpoint>)>,
    clock: Clock,
    stop: CancellationToken,
}

impl Forwarding {
    /// Of a configuration.
    ///
    /// # Errors
    /// A certificate cannot be read.
    pub(super) fn new(
        config: &Config,
        policy: &PolicyInForce,
        stop: CancellationToken,
    ) -> anyhow::Result<Self> {
        let endpoint = |forward: &forward::Config| {
            let endpoint = Endpoint::new(forward, policy.inbound(), config.clock);
            let endpoint = endpoint.with_context(|| format!("forward {}", forward.name))?;
            Ok((forward.clone(), Arc::new(endpoint)))
        };
        let to = config.forwards.iter().map(endpoint).collect::<anyhow::Result<_>>()?;
        Ok(Self { to, clock: config.clock, stop })
    }

    /// Forwards from a store until the process stops; `watch` wakes when there is more.
    pub(super) async fn run(self, store: Store, watch: FeedWatch) {
        let Self { to, clock, stop } = self;
        let runners = to.into_iter().map(|(config, endpoint)| {
            let (feed, forwards) = (store.feed(), store.forwards());
            let watch = watch.clone();
            Runner { config, endpoint, feed, watch, forwards, clock, observer: () }
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
