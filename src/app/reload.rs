//! A reload: what may change without a restart does, for every request that begins after it.

use std::sync::Arc;

use tracing::{error, info, warn};

use crate::clock::Clock;
use crate::config::{Config, ConfigError, RestartOnly};
use crate::inbound;
use crate::policy::{Policy, PolicyInForce};
use crate::telemetry::reloads::Reloads;

/// A handle on a running server, to change its policy.
#[derive(Clone)]
pub struct Reloader {
    pub(super) started_with: RestartOnly,
    pub(super) policy: PolicyInForce,
    /// The metrics with a series for each secret; `None` for a worker, which verifies nothing.
    pub(super) inbound: Option<Arc<inbound::Metrics>>,
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
                error!(
                    key,
                    origin, problem, "the new configuration is wrong: the old one stays in force"
                );
                return;
            }
        };
        for ConfigError { key, origin, problem } in &config.warnings {
            let origin = origin.to_string();
            warn!(key, origin, problem, "the configuration is probably not what you meant");
        }
        let needs_restart = self.started_with.changed(&config.restart_only).join(", ");
        if !needs_restart.is_empty() {
            warn!(keys = needs_restart, "a changed key needs a restart; the rest is in force");
        }
        // A new secret has its series before it can match, an old one until it no longer does.
        if let Some(metrics) = &self.inbound {
            metrics.show_secrets(&config.keyring);
        }
        self.policy.replace(policy(config));
        if let Some(metrics) = &self.inbound {
            metrics.forget_secrets_but(&config.keyring);
        }
        self.metrics.taken(self.clock.now());
        info!(accounts = config.keyring.accounts().len(), "configuration reloaded");
    }
}

/// What a reload may change.
pub(super) fn policy(config: &Config) -> Policy {
    let (keyring, privacy) = (Arc::clone(&config.keyring), Arc::clone(&config.privacy));
    Policy::new(keyring, config.fallback.clone(), privacy)
}
