//! [`Reloads`]: whether the configuration in force is the one that was written last.

use prometheus::{IntGauge, Registry};

use crate::clock::Timestamp;
use crate::labels::labels;
use crate::metrics::{Counters, metrics};

labels! {
    /// Whether a configuration was taken. A closed set: it is a metric label.
    pub enum Reload {
        /// The new configuration was applied.
        Ok = "ok",
        /// The new configuration is wrong.
        Failed = "failed",
    }
}

metrics! {
    /// Metrics of reloads. The configuration of the start counts as a success.
    #[derive(Clone)]
    pub struct Reloads {
        /// Times that the configuration was read again, and whether it was taken
        reloads: Counters<Reload> = "offhook_config_reloads_total" by ["result"],
        /// 0 while what was written last is wrong, so that an older configuration is in force
        pub last_successful: IntGauge = "offhook_config_last_reload_successful",
        /// When the configuration in force was read
        last_success: IntGauge = "offhook_config_last_reload_success_timestamp_seconds",
    }
}

impl Reloads {
    /// Registers them, of a process that starts `now`.
    ///
    /// # Errors
    /// A name is registered already.
    pub fn new(registry: &Registry, now: Timestamp) -> prometheus::Result<Self> {
        let reloads = Self::register(registry)?;
        reloads.in_force_since(now);
        Ok(reloads)
    }

    /// Counts a reload that was applied.
    pub fn taken(&self, now: Timestamp) {
        self.reloads.of(Reload::Ok).inc();
        self.in_force_since(now);
    }

    /// Counts a reload that failed; the old configuration stays in force.
    pub fn failed(&self) {
        self.reloads.of(Reload::Failed).inc();
        self.last_successful.set(0);
    }

    fn in_force_since(&self, now: Timestamp) {
        self.last_successful.set(1);
        self.last_success.set(now.micros() / 1_000_000);
    }
}
