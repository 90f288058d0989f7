//! `[inbound]`: the public listener.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::time::Duration;

use serde::Deserialize;

use super::sendgrid;
use crate::config::ConfigError;
use crate::config::layers::Loaded;
use crate::event::Route;
use crate::http::Limits;
use crate::inbound::{Config, HealthPath, PathPrefix};
use crate::twilio::public_url::PublicUrl;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawInbound {
    pub(crate) listen: SocketAddr,
    pub(crate) path_prefix: PathPrefix,
    pub(crate) health_path: HealthPath,
    pub(crate) body_limit: usize,
    pub(crate) body_timeout_ms: u64,
    pub(crate) header_timeout_ms: u64,
    pub(crate) idle_timeout_ms: u64,
    pub(crate) request_timeout_ms: u64,
    pub(crate) max_connections: NonZeroUsize,
    pub(crate) max_connections_per_address: usize,
    pub(crate) body_memory: usize,
}

/// The public listener.
pub(crate) fn resolve(loaded: &Loaded) -> Result<Config, ConfigError> {
    let raw = &loaded.raw.inbound;
    if health_is_a_route(&raw.path_prefix, &raw.health_path) {
        return Err(loaded.error("inbound.health_path", "it is a route of callbacks: use another"));
    }
    Ok(Config {
        listen: raw.listen,
        path_prefix: raw.path_prefix.clone(),
        health_path: raw.health_path.clone(),
        body_limit: raw.body_limit,
        event_body_limit: sendgrid::event_body_limit(loaded),
        body_timeout: millis(raw.body_timeout_ms),
        body_memory: raw.body_memory,
        limits: Limits {
            header_timeout: millis(raw.header_timeout_ms),
            idle_timeout: millis(raw.idle_timeout_ms),
            request_timeout: millis(raw.request_timeout_ms),
            max_connections: raw.max_connections.get(),
            max_connections_per_address: raw.max_connections_per_address,
            ..Limits::default()
        },
    })
}

fn health_is_a_route(prefix: &PathPrefix, health: &HealthPath) -> bool {
    health.as_str().is_some_and(|path| {
        let below = path.strip_prefix(prefix.as_str()).unwrap_or_default();
        let name = below.trim_end_matches('/').strip_prefix('/').unwrap_or_default();
        Route::ALL.iter().any(|route| route.as_str() == name)
    })
}

/// At most a day, which no time can be too late for.
fn millis(ms: u64) -> Duration {
    const DAY_MS: u64 = 24 * 60 * 60 * 1000;
    Duration::from_millis(ms.min(DAY_MS))
}

/// A prefix that stands in `public_url` as well, and bounds of 0, which nothing passes.
pub(crate) fn warnings(loaded: &Loaded, url: &PublicUrl) -> impl Iterator<Item = ConfigError> {
    const REFUSED: &str = "with 0 every callback is refused: give it a value, or leave it out";
    const CUT: &str = "with 0 every connection is cut at once: give it a value, or leave it out";
    let raw = &loaded.raw.inbound;
    let bounds = [
        ("inbound.body_limit", raw.body_limit as u64, REFUSED),
        ("inbound.body_timeout_ms", raw.body_timeout_ms, REFUSED),
        ("inbound.header_timeout_ms", raw.header_timeout_ms, CUT),
        ("inbound.idle_timeout_ms", raw.idle_timeout_ms, CUT),
        ("inbound.request_timeout_ms", raw.request_timeout_ms, CUT),
    ];
    let zero =
        bounds.into_iter().filter_map(|(key, value, problem)| loaded.zero(key, value, problem));
    twice(loaded, url).into_iter().chain(zero).chain(too_little_memory(loaded))
}

fn too_little_memory(loaded: &Loaded) -> Option<ConfigError> {
    let raw = &loaded.raw.inbound;
    (raw.body_memory < raw.body_limit).then(|| {
        let problem = "it is less than inbound.body_limit, so that larger bodies are always refused: raise it";
        loaded.error("inbound.body_memory", problem)
    })
}

fn twice(loaded: &Loaded, url: &PublicUrl) -> Option<ConfigError> {
    let prefix = loaded.raw.inbound.path_prefix.as_str();
    let twice = !prefix.is_empty() && url.as_str().ends_with(prefix);
    twice.then(|| {
        let problem = format!(
            "public_url ends with {prefix} as well, so that Twilio would have to be given …{prefix}{prefix}/status: \
             if the balancer takes {prefix} off the path, leave it out here, or else there"
        );
        loaded.error("inbound.path_prefix", problem)
    })
}

#[cfg(test)]
mod tests {
    use crate::config::testing::{MINIMAL, check_error, check_warning, load};

    #[test]
    fn a_prefix_is_a_path_and_is_warned_of_if_public_url_has_it_too() {
        check_error(load(&MINIMAL, "[inbound]\npath_prefix = 'x/'"), &["path_prefix", "my.toml"]);
        let url = [("OFFHOOK_PUBLIC_URL", "https://h.example/twilio")];
        let prefix = "[inbound]\npath_prefix = '/twilio'";
        check_warning(&url, prefix, "inbound.path_prefix", "/twilio/twilio/status");
    }

    #[test]
    fn probes_are_not_answered_on_a_route_of_callbacks() {
        for path in ["/status", "/status/", "/voice-fallback"] {
            let file = format!("[inbound]\nhealth_path = '{path}'");
            check_error(load(&MINIMAL, &file), &["inbound.health_path", "my.toml", "a route"]);
        }
        let below = "[inbound]\npath_prefix = '/hooks'\nhealth_path = '/hooks/status'";
        check_error(load(&MINIMAL, below), &["inbound.health_path", "a route"]);
        let beside = "[inbound]\npath_prefix = '/hooks'\nhealth_path = '/status'";
        assert!(load(&MINIMAL, beside).is_ok());
    }

    #[test]
    fn memory_that_does_not_hold_one_body_is_warned_of() {
        let file = "[inbound]\nbody_limit = 65536\nbody_memory = 65535";
        check_warning(&[], file, "inbound.body_memory", "less than inbound.body_limit");
        let enough = load(&MINIMAL, "[inbound]\nbody_limit = 65536\nbody_memory = 65536");
        let warned = enough.expect("it is right").warnings;
        assert!(!warned.iter().any(|warning| warning.to_string().contains("body_memory")));
    }

    #[test]
    fn a_bound_of_0_is_warned_of() {
        for name in [
            "body_limit",
            "body_timeout_ms",
            "header_timeout_ms",
            "idle_timeout_ms",
            "request_timeout_ms",
        ] {
            let file = format!("[inbound]\n{name} = 0");
            check_warning(&[], &file, &format!("inbound.{name}"), "with 0");
        }
    }
}
