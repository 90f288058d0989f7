//! `[stream]`: the Redis stream of the scale-out mode.

use std::path::PathBuf;
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

use super::named;
use crate::backend::redis::{Connector, Names};
use crate::config::layers::Loaded;
use crate::config::secrets::{one_of, read};
use crate::config::{ConfigError, urls};
use crate::pipeline::spooled::AnswerAfter;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawStream {
    pub(crate) url: Option<SecretString>,
    pub(crate) url_file: Option<PathBuf>,
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) key: String,
    pub(crate) group: String,
    pub(crate) timeout_ms: u64,
    #[serde(deserialize_with = "named")]
    pub(crate) durability: AnswerAfter,
}

/// The stream's URL; without one there is no stream.
pub(crate) fn url(loaded: &Loaded) -> Result<Option<SecretString>, ConfigError> {
    let raw = &loaded.raw.stream;
    one_of(raw.url.clone(), &raw.url_file)
        .map_err(|problem| loaded.error("stream.url_file", problem))
}

/// How to reach this Redis.
pub(crate) fn connector(loaded: &Loaded, url: &SecretString) -> Result<Connector, ConfigError> {
    if let Some(problem) = urls::problem(url.expose_secret()) {
        return Err(loaded.error("stream.url", problem));
    }
    let ca = loaded.raw.stream.ca_file.as_ref().map(read).transpose();
    let ca = ca.map_err(|problem| loaded.error("stream.ca_file", problem))?;
    let connector = Connector::with_ca(url.expose_secret(), ca.as_deref().map(str::as_bytes));
    connector.map_err(|error| {
        loaded.error("stream.url", format!("it is not a URL like redis://host:6379: {error}"))
    })
}

/// The names in Redis.
pub(crate) fn names(loaded: &Loaded) -> Result<Names, ConfigError> {
    let raw = &loaded.raw.stream;
    for (key, value) in [("stream.key", &raw.key), ("stream.group", &raw.group)] {
        if value.is_empty() {
            return Err(loaded.error(key, "it is empty"));
        }
    }
    Ok(Names { stream: raw.key.clone(), group: raw.group.clone() })
}

/// Longest wait of a request for Redis.
pub(crate) fn timeout(loaded: &Loaded) -> Duration {
    Duration::from_millis(loaded.raw.stream.timeout_ms.max(1))
}

/// A time-out of 0.
pub(crate) fn warning(loaded: &Loaded) -> Option<ConfigError> {
    let problem = "with 0 nothing waits for Redis, and every event goes to the spool first: give it a value, or \
                   leave it out";
    loaded.zero("stream.timeout_ms", loaded.raw.stream.timeout_ms, problem)
}

#[cfg(test)]
mod tests {
    use crate::config::testing::check_warning;

    #[test]
    fn a_bound_of_0_is_warned_of() {
        let key = "stream.timeout_ms";
        check_warning(&[], "[stream]\ntimeout_ms = 0", key, "with 0");
    }
}
