//! Which process forwards: each that moves events into the store, if it gets the lease.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use arc_swap::ArcSwap;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::watch;
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

/// Everything that is forwarded to. Cheap to clone; all clones share what a reload changes.
#[derive(Clone)]
pub(super) struct Forwarding {
    to: watch::Sender<Vec<To>>,
    handles: Arc<ArcSwap<Vec<ForwardHandles>>>,
    shown: Arc<ArcSwap<Vec<ConfiguredForward>>>,
    needed: Arc<ArcSwap<Vec<(String, Duration)>>>,
    policy: PolicyInForce,
    metrics: forward::Metrics,
    clock: Clock,
    stop: CancellationToken,
}

/// One endpoint that is forwarded to.
#[derive(Clone)]
pub(super) struct To {
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
        metrics: forward::Metrics,
        stop: CancellationToken,
    ) -> anyhow::Result<Self> {
        let forwarding = Self {
            to: watch::Sender::default(),
            handles: Arc::default(),
            shown: Arc::default(),
            needed: Arc::default(),
            policy: policy.clone(),
            metrics,
            clock: config.clock,
            stop,
        };
        forwarding.take(forwarding.next(config)?);
        Ok(forwarding)
    }

    /// The forwards of a configuration: as they are now where nothing of them has changed, so that they go on.
    ///
    /// # Errors
    /// A certificate cannot be read.
    pub(super) fn next(&self, config: &Config) -> anyhow::Result<Vec<To>> {
        let now = self.to.borrow();
        let to = |forward: &forward::Config| {
            let same = |to: &&To| {
                to.config.name == forward.name && to.config.fingerprint == forward.fingerprint
            };
            if let Some(to) = now.iter().find(same) {
                return Ok(to.clone());
            }
            let endpoint = Endpoint::new(forward, self.policy.inbound(), self.clock);
            let endpoint = endpoint.with_context(|| format!("forward {}", forward.name))?;
            let metrics = self.metrics.of(&forward.name);
            Ok(To { config: forward.clone(), endpoint: Arc::new(endpoint), metrics })
        };
        config.forwards.iter().map(to).collect()
    }

    /// Forwards to these from now on, and to no others.
    pub(super) fn take(&self, next: Vec<To>) {
        let shown = |To { config, .. }: &To| ConfiguredForward {
            name: config.name.clone(),
            url: config.target.to_string(),
            form: config.form.as_str(),
        };
        let needed = |To { config, .. }: &To| (config.name.clone(), config.max_age);
        self.shown.store(Arc::new(next.iter().map(shown).collect()));
        self.needed.store(Arc::new(next.iter().map(needed).collect()));
        let handles = next.iter().map(|to| console::forward(&to.metrics)).collect();
        self.handles.store(Arc::new(handles));
        for gone in self.to.send_replace(next) {
            if !self.to.borrow().iter().any(|to| to.config.name == gone.config.name) {
                self.metrics.forget(&gone.config.name);
            }
        }
    }

    /// The metrics that the console reads.
    pub(super) fn handles(&self) -> Arc<ArcSwap<Vec<ForwardHandles>>> {
        Arc::clone(&self.handles)
    }

    /// What may be shown of each.
    pub(super) fn shown(&self) -> Arc<ArcSwap<Vec<ConfiguredForward>>> {
        Arc::clone(&self.shown)
    }

    /// Until which age each keeps what it needs.
    pub(super) fn needed(&self) -> Arc<ArcSwap<Vec<(String, Duration)>>> {
        Arc::clone(&self.needed)
    }

    /// Forwards from a store until the process stops; `watch` wakes when there is more.
    pub(super) async fn run(self, store: Store, watch: FeedWatch) {
        let clock = self.clock;
        let runner = |To { config, endpoint, metrics }: &To| Runner {
            config: config.clone(),
            endpoint: Arc::clone(endpoint),
            feed: store.feed(),
            watch: watch.clone(),
            forwards: store.forwards(),
            clock,
            observer: metrics.clone(),
        };
        runner::run_those(self.to.subscribe(), runner, self.stop.clone()).await;
    }

    /// The same from a Postgres, on connections that nothing else waits for.
    pub(super) async fn run_on_postgres(self, postgres: Postgres, watch: FeedWatch) {
        self.run(Store::Postgres(postgres::Handles::new(postgres.clone())), watch).await;
        postgres.close().await;
    }

    /// Those connections. There are not more of them if a reload brings another forward: then they are shared.
    ///
    /// # Errors
    /// The URL is not valid.
    pub(super) fn connections(&self, url: &SecretString) -> anyhow::Result<Postgres> {
        let forwards = u32::try_from(self.to.borrow().len()).unwrap_or(u32::MAX);
        let writers = forwards.saturating_mul(CONNECTIONS);
        Postgres::with_writers(url.expose_secret(), writers).context("store.url")
    }
}
