//! [`Reloads`]: whether the configuration in force is the one that was written last.

use prometheus::{IntCounter, IntGauge, Opts, Registry};

use super::metrics::{counters, register};
use crate::clock::Timestamp;

/// Metrics of reloads. The configuration of the start counts as a success.
#[derive(Clone)]
pub struct Reloads {
    ok: IntCounter,
    failed: IntCounter,
    last_successful: IntGauge,
    last_success: IntGauge,
}

impl Reloads {
    /// Registers them, of a process that starts `now`.
    ///
    /// # Errors
    /// A name is registered already.
    pub fn new(registry: &Registry, now: Timestamp) -> prometheus::Result<Self> {
        let gauge = |name: &str, help: &str| {
            register(registry, IntGauge::with_opts(Opts::new(name, help))?)
        };
        let reloads = counters(
            registry,
            "offhook_config_reloads_total",
            "Times that the configuration was read again, and whether it was taken",
            &["result"],
        )?;
        let reloads = Self {
            ok: reloads.with_label_values(&["ok"]),
            failed: reloads.with_label_values(&["failed"]),
            last_successful: gauge(
                "offhook_config_last_reload_successful",
                "0 while what was written last is wrong, so that an older configuration is in force",
            )?,
            last_success: gauge(
                "offhook_config_last_reload_success_timestamp_seconds",
                "When the configuration that is in force was read",
            )?,
        };
        reloads.in_force_since(now);
        Ok(reloads)
    }

    /// It was taken.
    pub fn taken(&self, now: Timestamp) {
        self.ok.inc();
        self.in_force_since(now);
    }

    /// It is wrong, and the old one goes on.
    pub fn failed(&self) {
        self.failed.inc();
        self.last_successful.set(0);
    }

    fn in_force_since(&self, now: Timestamp) {
        self.last_successful.set(1);
        self.last_success.set(now.micros() / 1_000_000);
    }
}
