//! `[traces]`: where traces go, if they are taken.

use serde::Deserialize;

use crate::config::ConfigError;
use crate::config::layers::Loaded;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawTraces {
    pub(crate) endpoint: Option<String>,
    pub(crate) sample_ratio: f64,
}

/// Traces, which only a build with the feature `otel` takes.
#[derive(Debug, Clone, PartialEq)]
pub struct Traces {
    /// The URL of a collector.
    pub endpoint: String,
    /// The share of requests that is traced.
    pub sample_ratio: f64,
}

/// Where traces are sent, if requests are traced.
pub(crate) fn resolve(loaded: &Loaded) -> Result<Option<Traces>, ConfigError> {
    let raw = &loaded.raw.traces;
    let sample_ratio = raw.sample_ratio;
    if !(0.0..=1.0).contains(&sample_ratio) {
        return Err(loaded.error("traces.sample_ratio", "it is a share, from 0.0 to 1.0"));
    }
    let Some(endpoint) = raw.endpoint.clone().filter(|endpoint| !endpoint.is_empty()) else {
        return Ok(None);
    };
    let wrong = |problem| Err(loaded.error("traces.endpoint", problem));
    if !cfg!(feature = "otel") {
        return wrong("this offhook was built without traces: build it with `--features otel`");
    }
    // As the exporter reads it, too, which quotes what it cannot read, and there may be a token in it.
    let is_sent = endpoint.parse::<axum::http::Uri>().is_ok();
    match reqwest::Url::parse(&endpoint) {
        Ok(url) if is_sent && ["http", "https"].contains(&url.scheme()) => {
            Ok(Some(Traces { endpoint, sample_ratio }))
        }
        _ => wrong("it is not a valid URL: write one such as http://localhost:4318/v1/traces"),
    }
}

#[cfg(test)]
mod tests {
    use crate::config::testing::{MINIMAL, check_error, load};

    #[test]
    fn an_endpoint_is_a_url_and_is_not_shown() {
        let spaced = load(&MINIMAL, "[traces]\nendpoint = 'http://h/v1?key=t0 ken'");
        assert!(!spaced.as_ref().is_err_and(|error| error.contains("ken")), "{spaced:?}");
        check_error(spaced, &["traces.endpoint", "my.toml"]);
    }
}
