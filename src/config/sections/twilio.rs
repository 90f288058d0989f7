//! `[twilio]`: where Twilio's API is.

use reqwest::Url;
use serde::Deserialize;

use crate::config::ConfigError;
use crate::config::layers::Loaded;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawTwilio {
    pub(crate) api_url: String,
}

const KEY: &str = "twilio.api_url";

/// The base of the API, without a slash at its end.
pub(crate) fn api_url(loaded: &Loaded) -> Result<String, ConfigError> {
    let text = loaded.raw.twilio.api_url.trim();
    let wrong = |problem: &str| loaded.error(KEY, problem);
    let not_a_url = "it must be the base of Twilio's API, such as https://api.twilio.com";
    let url = Url::parse(text).map_err(|_| wrong(not_a_url))?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(wrong(not_a_url));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong(
            "it has a user or a password: requests are authenticated with a sender's api_key_sid \
             and api_key_secret, or its account's token; leave them out here",
        ));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(wrong("it must end before `?` and `#`: leave out what follows"));
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

/// Whether a URL stays on this machine.
pub(crate) fn is_local(url: &str) -> bool {
    let Ok(url) = Url::parse(url) else { return false };
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

/// The credentials go over the wire in the open.
pub(crate) fn warning(loaded: &Loaded, api_url: &str) -> Option<ConfigError> {
    let is_exposed = api_url.starts_with("http://") && !is_local(api_url);
    let problem = "it is http to another machine, so that the credentials of your accounts can be read on the way: \
                   take https";
    is_exposed.then(|| loaded.error(KEY, problem))
}
