//! What retention reports, by table.

use prometheus::{Gauge, IntCounter};

use crate::labels::labels;
use crate::metrics::{Counters, Gauges, metrics};

labels! {
    /// What grows old. A closed set: it is a metric label.
    pub enum Table {
        /// The history.
        Events = "events",
        /// What is true now.
        Statuses = "statuses",
        /// The change feed.
        Changes = "changes",
        /// What no worker could store.
        DeadLetters = "dead_letters",
        /// What could not be moved out of the local log.
        Spool = "spool",
    }
}

metrics! {
    /// What retention did.
    #[derive(Clone, Debug)]
    pub struct Metrics {
        /// Rows deleted because of their age
        deleted: Counters<Table> = "offhook_retention_deleted_total" by ["table"],
        /// Steps of retention that failed
        pub errors: Counters<Table> = "offhook_retention_errors_total" by ["table"],
        /// Age of the oldest row of a table that has a retention; 0 if the table is empty
        oldest: Gauges<Table> = "offhook_retention_oldest_age_seconds" by ["table"],
        /// 1 while nothing is deleted from a table, since a clock seems to be wrong
        pub held: Gauges<Table> = "offhook_retention_held" by ["table"],
    }
}

impl Metrics {
    pub(super) fn of(&self, table: Table) -> TableMetrics {
        TableMetrics {
            deleted: self.deleted.of(table).clone(),
            errors: self.errors.of(table).clone(),
            oldest: self.oldest.of(table).clone(),
            held: self.held.of(table).clone(),
        }
    }
}

/// The metrics of one table.
pub(super) struct TableMetrics {
    pub(super) deleted: IntCounter,
    pub(super) errors: IntCounter,
    pub(super) oldest: Gauge,
    pub(super) held: Gauge,
}
