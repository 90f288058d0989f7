//! `[store]`: where events end.

use std::path::PathBuf;
use std::str::FromStr as _;

use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use sqlx::postgres::PgConnectOptions;

use crate::config::layers::Loaded;
use crate::config::secrets::{one_of, read};
use crate::config::{ConfigError, Origin, urls};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawStore {
    pub(crate) url: Option<SecretString>,
    pub(crate) url_file: Option<PathBuf>,
    pub(crate) listen_url: Option<SecretString>,
    pub(crate) listen_url_file: Option<PathBuf>,
    pub(crate) migrate: bool,
    pub(crate) notify: bool,
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
    check_url(loaded, "store.url", store)
}

/// The keys that set a URL for notifications.
const LISTEN_URLS: [&str; 2] = ["store.listen_url", "store.listen_url_file"];

/// The Postgres behind the pooler, if its notifications are to be listened to.
pub(crate) fn listen_url(loaded: &Loaded) -> Result<Option<SecretString>, ConfigError> {
    let [key, file_key] = LISTEN_URLS;
    let raw = &loaded.raw.store;
    let url = one_of(raw.listen_url.clone(), &raw.listen_url_file)
        .map_err(|problem| loaded.error(file_key, problem))?;
    if let Some(url) = &url {
        let scheme = url.expose_secret().split(':').next().unwrap_or_default();
        if !matches!(scheme, "postgres" | "postgresql") {
            return Err(loaded.error(key, "it must start with postgres://, as store.url does"));
        }
        check_url(loaded, key, url)?;
    }
    Ok(url)
}

/// A SQLite store has no notifications: its readers are woken within the process.
pub(crate) fn no_listen_url(loaded: &Loaded) -> Result<(), ConfigError> {
    match LISTEN_URLS.into_iter().find(|key| loaded.origin(key) != Origin::NotSet) {
        Some(key) => Err(loaded.error(
            key,
            "a SQLite store wakes its readers by itself: remove it, or set store.url to a \
             postgres:// URL",
        )),
        None => Ok(()),
    }
}

/// Warns of notifications that no process of this configuration sends.
pub(crate) fn warning(loaded: &Loaded) -> Option<ConfigError> {
    let key = LISTEN_URLS.into_iter().find(|key| loaded.origin(key) != Origin::NotSet)?;
    let problem = "with store.notify = false nothing is heard there, and changes are handed out up to a second \
                   late: leave that out, or this";
    (!loaded.raw.store.notify).then(|| loaded.error(key, problem))
}

fn check_url(loaded: &Loaded, key: &str, url: &SecretString) -> Result<(), ConfigError> {
    if let Some(problem) = urls::problem(url.expose_secret()) {
        return Err(loaded.error(key, problem));
    }
    postgres_url(url.expose_secret()).map_err(|problem| {
        let like = "it is not a URL like postgres://user@host/name";
        loaded.error(key, format!("{like}: {problem}"))
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

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use crate::config::Deployment;
    use crate::config::testing::{MINIMAL, check_error, check_warning, load, minimal};

    #[test]
    fn notifications_that_nothing_sends_are_warned_of() {
        let file = "[store]\nlisten_url = 'postgres://h/d'\nnotify = false";
        let postgres = [("DATABASE_URL", "postgres://h/d")];
        check_warning(&postgres, file, "store.listen_url", "store.notify = false");
    }

    #[test]
    fn notifications_are_listened_to_on_a_postgres_of_their_own_url() {
        let postgres = minimal(&[("DATABASE_URL", "postgres://pooler/d")]);
        let listens = |file: &str| match load(&postgres, file).map(|config| config.deployment) {
            Ok(Deployment::Direct { listen, .. }) => {
                Ok(listen.map(|url| url.expose_secret().to_owned()))
            }
            Ok(other) => panic!("{}", other.name()),
            Err(error) => Err(error),
        };
        assert_eq!(listens(""), Ok(None));
        let url = "[store]\nlisten_url = 'postgres://direct/d'";
        assert_eq!(listens(url), Ok(Some("postgres://direct/d".to_owned())));

        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("url");
        std::fs::write(&path, "postgres://from/file\n").expect("it can be written");
        let of_file = format!("[store]\nlisten_url_file = '{}'", path.display());
        assert_eq!(listens(&of_file), Ok(Some("postgres://from/file".to_owned())));

        let both = format!("{of_file}\nlisten_url = 'postgres://u:t0ken@h/d'");
        check_error(load(&postgres, &both), &["store.listen_url_file", "keep one"]);
        for wrong in ["redis://u:t0ken@h", "postgres://u:t0k#en@h/d", "postgres://h/?port=t0ken"] {
            let file = format!("[store]\nlisten_url = '{wrong}'");
            check_error(load(&postgres, &file), &["store.listen_url (", "my.toml"]);
        }
        for key in ["listen_url = 'postgres://h/d'", "listen_url_file = '/nowhere'"] {
            let file = format!("[store]\n{key}");
            check_error(load(&MINIMAL, &file), &["store.listen_url", "my.toml", "remove it"]);
        }
    }
}
