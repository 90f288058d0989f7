//! `[admin]`: the private listener and its tokens.

use std::net::SocketAddr;
use std::path::PathBuf;

use axum::http::uri::{Scheme, Uri};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

use crate::admin::{self, Runbook};
use crate::config::layers::Loaded;
use crate::config::secrets::{is_blank, one_of, trimmed};
use crate::config::{ConfigError, Origin};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawAdmin {
    pub(crate) listen: SocketAddr,
    pub(crate) token: Option<SecretString>,
    pub(crate) token_file: Option<PathBuf>,
    pub(crate) read_token: Option<SecretString>,
    pub(crate) read_token_file: Option<PathBuf>,
    pub(crate) runbook_url: Option<String>,
}

/// The private listener.
pub(crate) fn resolve(loaded: &Loaded) -> Result<admin::Config, ConfigError> {
    let raw = &loaded.raw.admin;
    let token = admin_token(loaded, "admin.token", raw.token.as_ref(), &raw.token_file)?;
    let key = "admin.read_token";
    let read_token = admin_token(loaded, key, raw.read_token.as_ref(), &raw.read_token_file)?;
    let same =
        |token: &SecretString, other: &SecretString| token.expose_secret() == other.expose_secret();
    match (&token, &read_token) {
        (None, Some(_)) => {
            let problem = "it has no effect without admin.token: set that one as well";
            return Err(loaded.error(key, problem));
        }
        (Some(token), Some(read)) if same(token, read) => {
            return Err(loaded.error(key, "it is admin.token, which may change everything"));
        }
        _ => {}
    }
    if token.is_none() && !raw.listen.ip().is_loopback() {
        return Err(loaded.error(
            "admin.listen",
            "on any address other than loopback, anyone could read your callers' data: set \
             admin.token (or token_file), or listen on 127.0.0.1",
        ));
    }
    let runbook = match &raw.runbook_url {
        Some(url) => runbook(url).map_err(|problem| loaded.error("admin.runbook_url", problem))?,
        None => Runbook::default(),
    };
    Ok(admin::Config { listen: raw.listen, token, read_token, runbook })
}

/// A page for people, to which `#` and the name of a section are added.
fn runbook(url: &str) -> Result<Runbook, &'static str> {
    const PAGE: &str = "must be the URL of a page, such as https://wiki.example.com/offhook";
    let uri: Uri = url.parse().map_err(|_| PAGE)?;
    let web = uri.scheme().is_some_and(|scheme| [Scheme::HTTP, Scheme::HTTPS].contains(scheme));
    if url.contains('#') {
        return Err("must not have a fragment: the section is added behind a `#`");
    }
    if web { Ok(Runbook::elsewhere(url)) } else { Err(PAGE) }
}

/// One of the private listener's tokens. Elsewhere than on loopback it must be hard to guess.
fn admin_token(
    loaded: &Loaded,
    key: &str,
    token: Option<&SecretString>,
    file: &Option<PathBuf>,
) -> Result<Option<SecretString>, ConfigError> {
    let token = one_of(token.map(trimmed), file)
        .map_err(|problem| loaded.error(&format!("{key}_file"), problem))?;
    if token.as_ref().is_some_and(is_blank) {
        return Err(loaded.error(key, "it is empty"));
    }
    let loopback = loaded.raw.admin.listen.ip().is_loopback();
    if !loopback && token.as_ref().is_some_and(is_guessed) {
        let key = if file.is_some() { &format!("{key}_file") } else { key };
        return Err(loaded.error(key, guessed("")));
    }
    Ok(token)
}

/// Whether it has fewer characters than what `openssl rand -hex 12` prints.
fn is_guessed(token: &SecretString) -> bool {
    token.expose_secret().chars().count() < SHORTEST_TOKEN
}

/// What is wrong with it.
fn guessed(meanwhile: &str) -> String {
    format!(
        "it has fewer than {SHORTEST_TOKEN} characters, so that it may be guessed{meanwhile}: take what \
         `openssl rand -hex 24` prints"
    )
}

const SHORTEST_TOKEN: usize = 24;

/// On loopback a short token is only warned of: it is asked by who is on the machine already.
pub(crate) fn warnings(loaded: &Loaded, config: &admin::Config) -> Vec<ConfigError> {
    let tokens = [("admin.token", &config.token), ("admin.read_token", &config.read_token)];
    let short = tokens.into_iter().filter(|(_, token)| token.as_ref().is_some_and(is_guessed));
    let found = short.map(|(key, _)| {
        let file = format!("{key}_file");
        let key = if loaded.origin(key) == Origin::NotSet { &file } else { key };
        loaded.error(key, guessed(" by other users of this machine"))
    });
    found.collect()
}

#[cfg(test)]
mod tests {
    use crate::admin::Runbook;
    use crate::config::testing::{MINIMAL, check_error, load};

    /// A few characters are guessed from everywhere; on loopback, by who is on the machine already.
    #[test]
    fn a_short_admin_token_is_refused_but_on_loopback() {
        let admin = |text: &str| load(&MINIMAL, &format!("[admin]\n{text}"));
        let (open, long) = ("listen = '0.0.0.0:1'", "0123456789abcdef01234567");
        for short in ["x", "changeme", "0123456789abcdef0123456"] {
            check_error(
                admin(&format!("{open}\ntoken = '{short}'")),
                &["admin.token (", "my.toml", "fewer than 24", "openssl"],
            );
            let read = format!("{open}\ntoken = '{long}'\nread_token = '{short}'");
            check_error(admin(&read), &["admin.read_token (", "fewer than 24"]);
            let local = admin(&format!("token = '{short}'")).expect("on loopback");
            let found = local.warnings.iter().find(|warning| warning.key == "admin.token");
            assert!(found.is_some_and(|found| found.to_string().contains("my.toml")));
        }
        let both = format!("{open}\ntoken = '{long}'\nread_token = '{long}x'");
        let config = admin(&both).expect("both are long");
        assert!(config.admin.read_token.is_some());
        assert!(config.warnings.iter().all(|warning| !warning.key.starts_with("admin")));
        check_error(
            admin(&format!("token = '{long}'\nread_token = '{long}'")),
            &["admin.read_token"],
        );
        check_error(admin(&format!("read_token = '{long}'")), &["admin.read_token", "admin.token"]);
    }

    #[test]
    fn a_runbook_of_ones_own_is_the_url_of_a_page() {
        let admin = |url: &str| load(&MINIMAL, &format!("[admin]\nrunbook_url = '{url}'"));
        let config = admin("https://wiki.example.com/offhook?v=2").expect("a page");
        let elsewhere = Runbook::elsewhere("https://wiki.example.com/offhook?v=2");
        assert_eq!(config.admin.runbook, elsewhere);
        for wrong in ["", "wiki", "/help", "ftp://h/x", "https://", "javascript:alert(1)"] {
            check_error(admin(wrong), &["admin.runbook_url", "my.toml", "the URL of a page"]);
        }
        check_error(admin("https://h.example/x#y"), &["admin.runbook_url", "a fragment"]);
    }

    #[test]
    fn off_loopback_it_needs_a_token_and_one_that_is_not_empty() {
        check_error(
            load(&MINIMAL, "[admin]\nlisten = '0.0.0.0:1'"),
            &["admin.listen", "my.toml", "admin.token"],
        );
        check_error(load(&MINIMAL, "[admin]\ntoken = ' '"), &["admin.token", "empty"]);
    }
}
