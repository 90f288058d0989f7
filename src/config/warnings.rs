//! What can be read, and most likely is not meant: said by `check`, by `doctor`, and at the start of `serve`.

use std::str::FromStr as _;

use secrecy::{ExposeSecret as _, SecretString};
use tracing::Level;
use tracing_subscriber::filter::Targets;

use super::layers::Loaded;
use super::resolve::{guessed, is_guessed};
use super::{Config, ConfigError, Deployment};
use crate::event::Route;
use crate::twilio::keyring::SharedKey;

/// Each of them, in the order of the file.
pub(super) fn of(loaded: &Loaded, config: &Config) -> Vec<ConfigError> {
    let mut found = public_url(loaded, config);
    found.extend(tokens(loaded, config));
    found.extend(bounds(loaded));
    found.extend(unused_redis(loaded, config));
    if !lets_errors_through(&config.log.filter) {
        let problem = "no line of offhook passes it, as if there were no log: write `info`, or \
                       `offhook=debug`. Errors and warnings are logged all the same";
        found.push(loaded.error("log.filter", problem));
    }
    found
}

/// Whether a line about an error would be logged.
#[must_use]
pub fn lets_errors_through(filter: &str) -> bool {
    // What has spans and fields in it is written by somebody who knows.
    filter.contains('[')
        || Targets::from_str(filter)
            .is_ok_and(|targets| targets.would_enable("offhook", &Level::ERROR))
}

fn public_url(loaded: &Loaded, config: &Config) -> Vec<ConfigError> {
    let (url, prefix) = (config.public_url.as_str(), config.inbound.path_prefix.as_str());
    let mut found = Vec::new();
    let last = url.rsplit('/').next().unwrap_or_default();
    if Route::ALL.iter().any(|route| route.as_str() == last) {
        let problem = format!(
            "it ends with /{last}, which is a route: Twilio would have to be given …/{last}/status. Leave it out"
        );
        found.push(loaded.error("public_url", problem));
    }
    if !prefix.is_empty() && url.ends_with(prefix) {
        let problem = format!(
            "public_url ends with {prefix} as well, so that Twilio would have to be given …{prefix}{prefix}/status: \
             if the balancer takes {prefix} off the path, leave it out here, or else there"
        );
        found.push(loaded.error("inbound.path_prefix", problem));
    }
    found
}

/// What is wrong with the form of a secret; the secret is not in it.
pub(super) fn of_account(
    sid: &str,
    auth_tokens: &[SecretString],
    shared_keys: &[SharedKey],
) -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    let hex = |text: &str| text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !sid.strip_prefix("AC").is_some_and(hex) {
        let problem = "it is not the SID of an account: AC and 32 digits of hexadecimal. Every callback would be \
                       refused as one of an unknown account";
        found.push(("sid", problem.to_owned()));
    }
    for (place, token) in auth_tokens.iter().enumerate() {
        let problem = match token.expose_secret() {
            token if hex(token) => continue,
            token if is_quoted(token) => "has quotes around it, which would be a part of it",
            token if token.starts_with("SK") => {
                "looks like the SID of an API key: API keys sign no callbacks, the account's auth token does"
            }
            token if token.contains(char::is_whitespace) => "has blanks in it",
            _ => {
                "does not have the form of one, 32 digits of hexadecimal. The secret of an API key signs no \
                  callbacks"
            }
        };
        let problem = format!("token {} {problem}: copy it again from Twilio's console", place + 1);
        found.push(("auth_tokens", problem));
    }
    let quoted = |key: &SharedKey| is_quoted(key.secret.expose_secret());
    if let Some(place) = shared_keys.iter().position(quoted) {
        let problem = format!(
            "the secret of shared key {} has quotes around it, which would be a part of it",
            place + 1
        );
        found.push(("shared_keys", problem));
    }
    found
}

fn is_quoted(secret: &str) -> bool {
    ['"', '\'', '`'].into_iter().any(|quote| secret.starts_with(quote) || secret.ends_with(quote))
}

/// On loopback a short token is only warned of: it is asked by who is on the machine already.
fn tokens(loaded: &Loaded, config: &Config) -> Vec<ConfigError> {
    let tokens =
        [("admin.token", &config.admin.token), ("admin.read_token", &config.admin.read_token)];
    let short = tokens.into_iter().filter(|(_, token)| token.as_ref().is_some_and(is_guessed));
    let found = short.map(|(key, _)| {
        let file = format!("{key}_file");
        let key = if loaded.origin(key) == "not set" { &file } else { key };
        loaded.error(key, guessed(" by whoever is on this machine"))
    });
    found.collect()
}

/// Of some keys 0 means that nothing works; of others, that there is no bound.
fn bounds(loaded: &Loaded) -> Vec<ConfigError> {
    const REFUSED: &str = "with 0 every callback is refused: give it a value, or leave it out";
    const CUT: &str = "with 0 every connection is cut at once: give it a value, or leave it out";
    const BUSY: &str = "with 0 it is done without a pause: give it a value, or leave it out";
    let (inbound, stream) = (&loaded.raw.inbound, &loaded.raw.stream);
    let (spool, worker) = (&loaded.raw.spool, &loaded.raw.worker);
    let bounds = [
        ("inbound.body_limit", inbound.body_limit as u64, REFUSED),
        ("inbound.body_timeout_ms", inbound.body_timeout_ms, REFUSED),
        ("inbound.header_timeout_ms", inbound.header_timeout_ms, CUT),
        ("inbound.idle_timeout_ms", inbound.idle_timeout_ms, CUT),
        ("inbound.request_timeout_ms", inbound.request_timeout_ms, CUT),
        (
            "stream.timeout_ms",
            stream.timeout_ms,
            "with 0 nothing waits for Redis, and every event goes to the spool first: give it a value, or leave it \
             out",
        ),
        (
            "spool.max_bytes",
            spool.max_bytes,
            "with 0 the spool takes nothing: while Redis is down, every callback is refused",
        ),
        ("worker.reclaim_idle_ms", worker.reclaim_idle_ms, BUSY),
        ("worker.trim_every_ms", worker.trim_every_ms, BUSY),
        (
            "calls.max_age_s",
            loaded.raw.calls.max_age_s,
            "with 0 no call counts as being in progress: give it a value, or leave it out",
        ),
    ];
    let zero = bounds.into_iter().filter(|(_, value, _)| *value == 0);
    zero.map(|(key, _, problem)| loaded.error(key, problem)).collect()
}

/// A Redis that is set by the conventional variable beside a store that uses none: most likely the URL of the
/// other store was forgotten.
fn unused_redis(loaded: &Loaded, config: &Config) -> Option<ConfigError> {
    let Deployment::Embedded { store, .. } = &config.deployment else { return None };
    let keys = ["stream.url", "stream.url_file"];
    let key = keys.into_iter().find(|key| loaded.origin(key).contains("REDIS_URL"))?;
    let problem = format!(
        "it is not used: without a Postgres, this process keeps everything in {store}. Set DATABASE_URL, or \
         store.url, to a postgres:// URL if you mean to scale out"
    );
    Some(loaded.error(key, problem))
}

/// Without what stands around it: an environment's line end, or a blank that was pasted along.
pub(super) fn trimmed(secret: &SecretString) -> SecretString {
    secret.expose_secret().trim().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_that_lets_nothing_through_is_found() {
        for good in [
            "info",
            "debug",
            "offhook=debug",
            "warn,offhook::http=trace",
            "offhook[span]=info",
            "error",
        ] {
            assert!(lets_errors_through(good), "{good}");
        }
        for bad in ["offhok=debug", "verbose!!", "off", "sqlx=info", "offhook=off"] {
            assert!(!lets_errors_through(bad), "{bad}");
        }
    }
}
