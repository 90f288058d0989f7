//! The sending half: it sends what was asked for, once, at the pace that its senders allow.

pub mod config;
pub mod metrics;
pub mod watch;

pub use self::config::Config;
pub use self::metrics::SendMetrics;
