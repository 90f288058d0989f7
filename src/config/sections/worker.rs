//! `[worker]`: how a worker works.

use std::time::Duration;

use serde::Deserialize;

use crate::config::ConfigError;
use crate::config::layers::Loaded;
use crate::worker::Config;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawWorker {
    pub(crate) consumers: u32,
    pub(crate) reclaim_idle_ms: u64,
    pub(crate) max_deliveries: u32,
    pub(crate) mark_ttl_s: u64,
    pub(crate) trim_every_ms: u64,
}

/// How a worker works.
pub(crate) fn resolve(loaded: &Loaded) -> Result<Config, ConfigError> {
    let raw = &loaded.raw.worker;
    if !(1..=64).contains(&raw.consumers) {
        return Err(loaded.error("worker.consumers", "it must be from 1 to 64"));
    }
    if raw.max_deliveries == 0 {
        return Err(loaded.error("worker.max_deliveries", "it must be at least 1"));
    }
    Ok(Config {
        consumers: raw.consumers,
        reclaim_idle: Duration::from_millis(raw.reclaim_idle_ms),
        max_deliveries: raw.max_deliveries,
        mark_ttl: Duration::from_secs(raw.mark_ttl_s),
        trim_every: Duration::from_millis(raw.trim_every_ms.max(100)),
    })
}

/// Pauses of 0.
pub(crate) fn warnings(loaded: &Loaded) -> impl Iterator<Item = ConfigError> {
    const BUSY: &str = "with 0 it is done without a pause: give it a value, or leave it out";
    let raw = &loaded.raw.worker;
    let pauses = [
        ("worker.reclaim_idle_ms", raw.reclaim_idle_ms),
        ("worker.trim_every_ms", raw.trim_every_ms),
    ];
    pauses.into_iter().filter_map(|(key, value)| loaded.zero(key, value, BUSY))
}

#[cfg(test)]
mod tests {
    use crate::config::testing::check_warning;

    #[test]
    fn a_bound_of_0_is_warned_of() {
        for name in ["reclaim_idle_ms", "trim_every_ms"] {
            let file = format!("[worker]\n{name} = 0");
            check_warning(&[], &file, &format!("worker.{name}"), "with 0");
        }
    }
}
