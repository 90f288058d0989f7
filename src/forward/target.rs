//! [`Target`]: the URL that a forward sends to.

use std::fmt;

use reqwest::Url;
use secrecy::SecretString;

/// The target of a forward, an HTTP URL of the configuration. Its `Debug` shows neither its user, nor its password, nor
/// its query, which may hold a token.
#[derive(Clone)]
pub struct Target {
    /// Without user and password.
    url: Url,
    credentials: Option<(String, SecretString)>,
}

/// Why a URL cannot be forwarded to. The URL is not in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TargetError {
    /// It is not a URL, or not an HTTP URL.
    #[error("it is not a URL like https://app.example.com/twilio/status")]
    NotHttp,
    /// The URL has a fragment.
    #[error("it has a fragment, which is never sent: leave out what begins with #")]
    Fragment,
}

impl Target {
    /// Reads a URL. Its user and password are sent as HTTP's basic authentication.
    ///
    /// # Errors
    /// See [`TargetError`].
    pub fn parse(text: &str) -> Result<Self, TargetError> {
        let mut url = Url::parse(text.trim()).map_err(|_| TargetError::NotHttp)?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err(TargetError::NotHttp);
        }
        if url.fragment().is_some() {
            return Err(TargetError::Fragment);
        }
        let decoded = |text: &str| {
            percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
        };
        let password = decoded(url.password().unwrap_or_default());
        let user = decoded(url.username());
        let credentials =
            (!user.is_empty() || !password.is_empty()).then(|| (user, password.into()));
        let stripped = url.set_username("").and_then(|()| url.set_password(None));
        stripped.map_err(|()| TargetError::NotHttp)?;
        Ok(Self { url, credentials })
    }

    /// The URL with this raw query behind its own, as it goes over the wire. Twilio signs it without user and
    /// password.
    #[must_use]
    pub fn with_query(&self, query: &str) -> Url {
        let mut url = self.url.clone();
        let own = url.query().filter(|own| !own.is_empty());
        match (own, query) {
            (_, "") => {}
            (None, more) => url.set_query(Some(more)),
            (Some(own), more) => url.set_query(Some(&format!("{own}&{more}"))),
        }
        url
    }

    /// The user and password of its basic authentication.
    #[must_use]
    pub fn credentials(&self) -> Option<(&str, &SecretString)> {
        self.credentials.as_ref().map(|(user, password)| (user.as_str(), password))
    }

    /// Whether requests to it can be read on their way: HTTP without TLS, to another machine.
    #[must_use]
    pub fn is_exposed(&self) -> bool {
        let host = self.url.host_str().unwrap_or_default();
        let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
        let local = host == "localhost" || address.is_ok_and(|address| address.is_loopback());
        self.url.scheme() == "http" && !local
    }

    /// Whether it lies at or below this URL.
    #[must_use]
    pub fn is_below(&self, base: &str) -> bool {
        let Ok(base) = Url::parse(base) else { return false };
        let path = base.path().trim_end_matches('/');
        let below = self.url.path().strip_prefix(path);
        let same = self.url.origin() == base.origin();
        same && below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

/// What may be shown of it: scheme, host, port and path.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut url = self.url.clone();
        url.set_query(None);
        f.write_str(url.as_str())
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Target").field(&self.to_string()).finish()
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    fn target(url: &str) -> Target {
        Target::parse(url).expect("it is a URL of HTTP")
    }

    #[test]
    fn a_query_stands_behind_the_targets_own_as_it_was_written() {
        let check = |url: &str, query: &str, expected: &str| {
            assert_eq!(target(url).with_query(query).as_str(), expected);
        };
        check("https://h/x", "", "https://h/x");
        check("https://h/x", "a=1+%2f&b", "https://h/x?a=1+%2f&b");
        check("https://h/x?", "a=1", "https://h/x?a=1");
        check("https://h/x?t=%20", "a=1", "https://h/x?t=%20&a=1");
        check("https://u:p@h:8443", "a=1", "https://h:8443/?a=1");
    }

    #[test]
    fn what_may_be_a_secret_is_not_shown() {
        let target = target("https://us%40er:p%3Ass@h/x?token=t0ken");
        assert_eq!(target.to_string(), "https://h/x");
        assert_eq!(format!("{target:?}"), "Target(\"https://h/x\")");
        let (user, password) = target.credentials().expect("it has a user");
        assert_eq!((user, password.expose_secret()), ("us@er", "p:ss"));
    }

    #[test]
    fn only_http_can_be_forwarded_to() {
        for wrong in ["", "app.example.com", "/status", "ftp://h/", "mailto:a@h", "unix:/run/x"] {
            assert_eq!(Target::parse(wrong).err(), Some(TargetError::NotHttp), "{wrong}");
        }
        assert_eq!(Target::parse("https://h/#rc=5").err(), Some(TargetError::Fragment));
    }

    #[test]
    fn it_is_known_who_can_read_it_and_where_it_leads() {
        for (url, exposed) in [
            ("https://h/", false),
            ("http://h/", true),
            ("http://127.0.0.1:3000/", false),
            ("http://[::1]:3000/", false),
            ("http://localhost/", false),
            ("http://10.0.0.1/", true),
        ] {
            assert_eq!(target(url).is_exposed(), exposed, "{url}");
        }
        let base = "https://hooks.example.com/twilio";
        assert!(target("https://hooks.example.com:443/twilio/status?a=1").is_below(base));
        assert!(target("https://hooks.example.com/twilio").is_below(base));
        assert!(!target("https://hooks.example.com/twilio-old/status").is_below(base));
        assert!(!target("https://app.example.com/twilio/status").is_below(base));
    }
}
