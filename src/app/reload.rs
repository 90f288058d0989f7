//! A reload: what may change without a restart does, for every request that begins after it.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tracing::{error, info, warn};

use super::console;
use super::forwards::Forwarding;
use crate::admin::ConfiguredSender;
use crate::clock::Clock;
use crate::config::{Config, ConfigError, RestartOnly};
use crate::outbound::{InForce, SendMetrics};
use crate::policy::{InboundPolicy, Policy, PolicyInForce};
use crate::telemetry::reloads::Reloads;
use crate::twilio::consent::Listening;
use crate::{inbound, outbound};

/// A handle on a running server, to change its policy.
#[derive(Clone)]
pub struct Reloader {
    pub(super) started_with: RestartOnly,
    pub(super) policy: PolicyInForce,
    /// The metrics with a series for each secret; `None` for a worker, which verifies nothing.
    pub(super) inbound: Option<Arc<inbound::Metrics>>,
    pub(super) forwarding: Forwarding,
    pub(super) sending: Sending,
    pub(super) metrics: Reloads,
    pub(super) clock: Clock,
}

/// What of the sending half a reload changes.
#[derive(Clone)]
pub(super) struct Sending {
    /// `None` if no sender was configured at the start.
    pub(super) config: Option<InForce>,
    /// `None` if this process sends nothing.
    pub(super) metrics: Option<SendMetrics>,
    /// The senders that the console shows.
    pub(super) shown: Arc<ArcSwap<Vec<ConfiguredSender>>>,
}

impl Sending {
    /// Whether it was taken: if not, everything about sending stays as it was.
    fn take(&self, next: Option<&outbound::Config>) -> bool {
        let taken = match (&self.config, next) {
            (Some(config), Some(next)) => config.replace(next),
            (None, None) => true,
            _ => false,
        };
        if !taken {
            warn!(
                key = "sender",
                "the accounts that senders belong to have changed, which needs a restart: everything about sending stays \
                 as it was"
            );
            return false;
        }
        let Some(config) = self.config.as_ref().map(InForce::now) else { return true };
        if let Some(metrics) = &self.metrics {
            metrics.show_senders(&config);
        }
        self.shown.store(Arc::new(console::senders(Some(&config))));
        true
    }
}

impl Reloader {
    /// Takes a configuration that was read again. One that is wrong changes nothing.
    pub fn take(&self, next: &Result<Config, ConfigError>) {
        const WRONG: &str = "the new configuration is wrong: the old one stays in force";
        let config = match next {
            Ok(config) => config,
            Err(ConfigError { key, origin, problem }) => {
                self.metrics.failed();
                let origin = origin.to_string();
                error!(key, origin, problem, "{WRONG}");
                return;
            }
        };
        let forwards = match self.forwarding.next(config) {
            Ok(forwards) => forwards,
            Err(error) => {
                self.metrics.failed();
                let problem = format!("{error:#}");
                error!(key = "forward", problem, "{WRONG}");
                return;
            }
        };
        for ConfigError { key, origin, problem } in &config.warnings {
            let origin = origin.to_string();
            warn!(key, origin, problem, "the configuration is probably not what you meant");
        }
        let needs_restart = self.started_with.changed(&config.restart_only);
        if !needs_restart.is_empty() {
            let keys = needs_restart.join(", ");
            warn!(keys, "a changed key needs a restart; the rest is in force");
        }
        // A new secret has its series before it can match, an old one until it no longer does.
        if let Some(metrics) = &self.inbound {
            metrics.show_secrets(&config.keyring, &config.email_keys);
        }
        self.forwarding.take(forwards);
        // What recipients say is kept by the hashes by which what sends looks for it: as long as that stays, so does this.
        let has_other_key = needs_restart.iter().any(|key| key.starts_with(SUPPRESSION_KEY));
        let listening = match self.sending.take(config.outbound.as_ref()) && !has_other_key {
            true => config.listening.clone(),
            false => self.policy.inbound().now().listening.clone(),
        };
        self.policy.replace(policy(config, listening));
        if let Some(metrics) = &self.inbound {
            metrics.forget_secrets_but(&config.keyring, &config.email_keys);
        }
        self.metrics.taken(self.clock.now());
        info!(accounts = config.keyring.accounts().len(), "configuration reloaded");
    }
}

/// With and without `_file`.
const SUPPRESSION_KEY: &str = "outbound.suppression_key";

/// What a reload may change.
pub(super) fn policy(config: &Config, listening: Listening) -> Policy {
    Policy::new(InboundPolicy {
        keyring: Arc::clone(&config.keyring),
        email_keys: Arc::clone(&config.email_keys),
        fallback: config.fallback.clone(),
        incoming: config.incoming.clone(),
        voice_confirm: config.voice_confirm.clone(),
        listening,
        privacy: Arc::clone(&config.privacy),
    })
}
