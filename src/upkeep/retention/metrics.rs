//! What retention reports, by table.

use prometheus::{Gauge, GaugeVec, IntCounter, IntCounterVec, Opts, Registry};

/// What grows old. A closed set: it is a metric label.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Table {
    /// The history.
    Events,
    /// What is true now.
    Statuses,
    /// What no worker could store.
    DeadLetters,
    /// What could not be moved out of the local log.
    Spool,
}

impl Table {
    const ALL: [Self; 4] = [Self::Events, Self::Statuses, Self::DeadLetters, Self::Spool];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Statuses => "statuses",
            Self::DeadLetters => "dead_letters",
            Self::Spool => "spool",
        }
    }
}

/// What retention did.
#[derive(Clone, Debug)]
pub struct Metrics {
    deleted: IntCounterVec,
    errors: IntCounterVec,
    oldest: GaugeVec,
    held: GaugeVec,
}

impl Metrics {
    /// Registers every series, at zero.
    ///
    /// # Errors
    /// A name is registered already.
    pub fn new(registry: &Registry) -> prometheus::Result<Self> {
        let options = |name: &str, help: &str| Opts::new(name, help);
        let deleted =
            options("offhook_retention_deleted_total", "Rows deleted because of their age");
        let errors = options("offhook_retention_errors_total", "Steps of retention that failed");
        let oldest = options(
            "offhook_retention_oldest_age_seconds",
            "Age of the oldest row of a table that has a retention; 0 if there is none",
        );
        let held = options(
            "offhook_retention_held",
            "1 while nothing is deleted from a table, since a clock seems to be wrong",
        );
        let metrics = Self {
            deleted: IntCounterVec::new(deleted, &["table"])?,
            errors: IntCounterVec::new(errors, &["table"])?,
            oldest: GaugeVec::new(oldest, &["table"])?,
            held: GaugeVec::new(held, &["table"])?,
        };
        registry.register(Box::new(metrics.deleted.clone()))?;
        registry.register(Box::new(metrics.errors.clone()))?;
        registry.register(Box::new(metrics.oldest.clone()))?;
        registry.register(Box::new(metrics.held.clone()))?;
        for table in Table::ALL {
            metrics.of(table);
        }
        Ok(metrics)
    }

    pub(super) fn of(&self, table: Table) -> TableMetrics {
        let label = &[table.as_str()];
        TableMetrics {
            deleted: self.deleted.with_label_values(label),
            errors: self.errors.with_label_values(label),
            oldest: self.oldest.with_label_values(label),
            held: self.held.with_label_values(label),
        }
    }
}

pub(super) struct TableMetrics {
    pub(super) deleted: IntCounter,
    pub(super) errors: IntCounter,
    pub(super) oldest: Gauge,
    pub(super) held: Gauge,
}
