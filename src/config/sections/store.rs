//! `[store]`: where events end.

use std::path::PathBuf;
use std::str::FromStr as _;

use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use sqlx::postgres::PgConnectOptions;

use crate::config::layers::Loaded;
use crate::config::secrets::read;
use crate::config::{ConfigError, urls};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawStore {
    pub(crate) url: Option<SecretString>,
    pub(crate) url_file: Option<PathBuf>,
    pub(crate) migrate: bool,
}

/// The store's URL, whose scheme decides the mode.
pub(crate) fn url(loaded: &Loaded) -> Result<SecretString, ConfigError> {
    let raw = &loaded.raw.store;
    // Both are set when a file takes the place of the default, so the later one counts.
    match &raw.url_file {
        Some(path) if loaded.overrides("store.url_file", "store.url") => {
            let url = read(path).map_err(|problem| loaded.error("store.url_file", problem))?;
            Ok(url.into())
        }
        _ => Ok(raw.url.clone().unwrap_or_default()),
    }
}

/// Whether it can be a Postgres at all.
pub(crate) fn check_postgres(loaded: &Loaded, store: &SecretString) -> Result<(), ConfigError> {
    if let Some(problem) = urls::problem(store.expose_secret()) {
        return Err(loaded.error("store.url", problem));
    }
    postgres_url(store.expose_secret()).map_err(|problem| {
        let like = "it is not a URL like postgres://user@host/name";
        loaded.error("store.url", format!("{like}: {problem}"))
    })
}

/// What is wrong with a URL of Postgres, without the words of its library, which quote values.
fn postgres_url(url: &str) -> Result<(), String> {
    // Its own errors are fixed texts.
    let parsed = reqwest::Url::parse(url).map_err(|error| error.to_string())?;
    if PgConnectOptions::from_str(url).is_ok() {
        return Ok(());
    }
    let alone = |name: &str, value: &str| {
        let mut alone = reqwest::Url::parse("postgres://h/d").expect("a URL");
        alone.query_pairs_mut().append_pair(name, value);
        PgConnectOptions::from_str(alone.as_str()).is_ok()
    };
    const KNOWN: [&str; 4] = ["sslmode", "ssl-mode", "port", "statement-cache-capacity"];
    let mut pairs = parsed.query_pairs();
    match pairs.find(|(name, value)| KNOWN.contains(&&**name) && !alone(name, value)) {
        Some((name, _)) => Err(format!("the value of {name} does not fit")),
        None => Err("a part of it cannot be read".to_owned()),
    }
}
