//! What is known of the notifications.

use prometheus::{IntCounter, IntGauge};

use crate::metrics::metrics;

metrics! {
    /// Whether the growth of the change feed is heard of.
    #[derive(Clone, Debug)]
    pub struct Metrics {
        /// 1 while a connection listens for changes; 0 without `store.listen_url`, too
        pub listening: IntGauge = "offhook_feed_listening",
        /// Connections that should listen for changes and failed
        pub failures: IntCounter = "offhook_feed_listen_failures_total",
    }
}
