//! A reload: what may change without a restart does, for every request that begins after it.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tracing::{error, info, warn};

use crate::clock::Clock;
use crate::config::{Config, ConfigError, RestartOnly};
use crate::inbound::{Terms, TermsInForce};
use crate::telemetry::reloads::Reloads;
use crate::twilio::privacy::Privacy;

/// A hold on a server that runs, to change what it goes by.
#[derive(Clone)]
pub struct Reloader {
    pub(super) started_with: RestartOnly,
    /// `None` for a worker, which has none.
    pub(super) terms: Option<Arc<TermsInForce>>,
    /// By which the admin listener searches.
    pub(super) privacy: Arc<ArcSwap<Privacy>>,
    pub(super) metrics: Reloads,
    pub(super) clock: Clock,
}

impl Reloader {
    /// Takes a configuration that was read again. One that is wrong changes nothing.
    pub fn take(&self, next: &Result<Config, ConfigError>) {
        let config = match next {
            Ok(config) => config,
            Err(ConfigError { key, origin, problem }) => {
                self.metrics.failed();
                let origin = origin.to_string();
                error!(key, origin, problem, "configuration is wrong: the old one stays in force");
                return;
            }
        };
        for ConfigError { key, origin, problem } in &config.warnings {
            let origin = origin.to_string();
            warn!(
                key,
                origin, problem, "configuration can be read, and is most likely not meant so"
            );
        }
        let needs_restart = self.started_with.changed(&config.restart_only).join(", ");
        if !needs_restart.is_empty() {
            warn!(keys = needs_restart, "changed, and needs a restart: the rest is taken");
        }
        if let Some(in_force) = &self.terms {
            in_force.replace(terms(config));
        }
        self.privacy.store(Arc::clone(&config.privacy));
        self.metrics.taken(self.clock.now());
        info!(accounts = config.keyring.accounts().len(), "configuration reloaded");
    }
}

/// What the public listener goes by.
pub(super) fn terms(config: &Config) -> Terms {
    Terms {
        keyring: Arc::clone(&config.keyring),
        fallback: config.fallback.clone(),
        privacy: Arc::clone(&config.privacy),
    }
}
