//! [`PublicUrl`]: the base of every URL that was given to Twilio, and [`candidates`]: the URLs that
//! it may have signed.
//!
//! Twilio signs the URL as it requested it, byte for byte, so no URL library, which would
//! re-encode it, touches it. `Host` and `X-Forwarded-*` are not read: the sender of a request chooses them.

use std::borrow::Cow;

/// Scheme, authority and perhaps a path, without a trailing slash: `https://hooks.example.com`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PublicUrl(String);

/// Why a text is not a public URL.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PublicUrlError {
    /// It starts neither with `https://` nor with `http://`.
    #[error("it must start with https:// or http://")]
    Scheme,
    /// It names no host, or a character in it cannot stand in a URL.
    #[error("it must name a host and hold no spaces or control characters")]
    Host,
    /// It has a query or a fragment.
    #[error("it must end before `?` and `#`; offhook appends the path and query of each request")]
    Tail,
}

impl PublicUrl {
    /// Reads a base URL.
    ///
    /// # Errors
    /// Another scheme than http(s), no host, a query or a fragment.
    pub fn parse(text: &str) -> Result<Self, PublicUrlError> {
        let text = text.trim_end_matches('/');
        let lower = text.to_ascii_lowercase();
        if !lower.starts_with("https://") && !lower.starts_with("http://") {
            return Err(PublicUrlError::Scheme);
        }
        if text.contains(['?', '#']) {
            return Err(PublicUrlError::Tail);
        }
        let parts = Parts::of(text).ok_or(PublicUrlError::Host)?;
        if parts.host.is_empty() || text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(PublicUrlError::Host);
        }
        Ok(Self(text.to_owned()))
    }

    /// The URL of a request: this base, then its raw path and raw query.
    #[must_use]
    pub fn join(&self, path_and_query: &str) -> String {
        let mut url = String::with_capacity(self.0.len() + path_and_query.len());
        url.push_str(&self.0);
        url.push_str(path_and_query);
        url
    }

    /// The base as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The parts of a URL, as slices of it.
struct Parts<'a> {
    /// The scheme, including `://`.
    scheme: &'a str,
    /// The user info, including `@`; may be empty.
    userinfo: &'a str,
    /// An IPv6 address keeps its brackets.
    host: &'a str,
    /// The port, including `:`; may be empty.
    port: &'a str,
    /// Path and query.
    rest: &'a str,
}

impl<'a> Parts<'a> {
    fn of(url: &'a str) -> Option<Self> {
        let (scheme, after) = url.split_at(url.find("://")? + 3);
        let (authority, rest) = after.split_at(after.find(['/', '?']).unwrap_or(after.len()));
        let (userinfo, host_port) = authority.split_at(authority.rfind('@').map_or(0, |at| at + 1));
        let after_brackets = host_port.find(']').map_or(0, |at| at + 1);
        let port_at = host_port[after_brackets..].find(':').map(|at| at + after_brackets);
        let (host, port) = host_port.split_at(port_at.unwrap_or(host_port.len()));
        Some(Self { scheme, userinfo, host, port, rest })
    }

    fn default_port(&self) -> &'static str {
        if self.scheme.eq_ignore_ascii_case("https://") { ":443" } else { ":80" }
    }
}

/// The URLs that Twilio may have signed for a request of `url`, the likeliest first, each once.
///
/// As it is; without its port (voice over HTTPS drops it, SMS keeps it); with the scheme's default
/// port (official libraries accept that too); each also without userinfo, which Twilio drops; each
/// also with the query in the other writings that were seen in the field (see [`writings`]). A
/// fragment is never signed: Twilio takes its connection overrides from there.
pub fn candidates(url: &str) -> impl Iterator<Item = Cow<'_, str>> + Send {
    let url = url.split('#').next().unwrap_or(url);
    let others = Parts::of(url).into_iter().flat_map(|parts| {
        let origins = origins(&parts);
        writings(parts.rest).flat_map(move |rest| {
            origins.clone().into_iter().map(move |origin| Cow::Owned(origin + &rest))
        })
    });
    // The first of the others is the same.
    std::iter::once(Cow::Borrowed(url)).chain(others.skip(1))
}

/// What may stand before the path, each once; as it is comes first.
fn origins(parts: &Parts<'_>) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for userinfo in [parts.userinfo, ""] {
        for port in [parts.port, "", parts.default_port()] {
            let origin = [parts.scheme, userinfo, parts.host, port].concat();
            if !all.contains(&origin) {
                all.push(origin);
            }
        }
    }
    all
}

/// Characters that an encoder writes in one way or the other: each plain, and its escape.
type Class = &'static [(&'static str, &'static str)];

/// How the characters of a class are written.
#[derive(Clone, Copy)]
enum Writing {
    AsIs,
    Plain,
    Escaped,
}

impl Writing {
    /// The different ones of a query.
    fn of(class: Class, query: &str) -> Vec<Self> {
        let lower = |escaped: &str| query.contains(&escaped.to_ascii_lowercase());
        let has_plain = class.iter().any(|(plain, _)| query.contains(plain));
        let has_escaped = class.iter().any(|(_, escaped)| query.contains(escaped));
        let has_lower = class
            .iter()
            .any(|(_, escaped)| *escaped != escaped.to_ascii_lowercase() && lower(escaped));
        let mut all = vec![Self::AsIs];
        if has_escaped || has_lower {
            all.push(Self::Plain);
        }
        if has_plain || has_lower {
            all.push(Self::Escaped);
        }
        all
    }

    fn write(self, class: Class, query: String) -> String {
        class.iter().fold(query, |query, (plain, escaped)| match self {
            Self::AsIs => query,
            Self::Plain => {
                query.replace(escaped, plain).replace(&escaped.to_ascii_lowercase(), plain)
            }
            Self::Escaped => {
                query.replace(plain, escaped).replace(&escaped.to_ascii_lowercase(), escaped)
            }
        })
    }
}

/// The writings of a query that mean the same, each class of characters in one writing throughout:
/// the one that signs writes a query with one encoder. `+` and `%20` for a blank, `'` and `:` and
/// `@` and their escapes. The URL as sent comes first; the path stays as it is. Each is made only when it
/// is needed, because a query may be long and a forged request is not worth all of them.
fn writings(rest: &str) -> impl Iterator<Item = Cow<'_, str>> + Send {
    const CLASSES: [Class; 3] = [&[("'", "%27")], &[("+", "%20")], &[(":", "%3A"), ("@", "%40")]];
    let (path, query) = rest.split_at(rest.find('?').unwrap_or(rest.len()));
    let ways = CLASSES.map(|class| Writing::of(class, query));
    (0..ways.iter().map(Vec::len).product()).map(move |mut nth: usize| {
        if nth == 0 {
            return Cow::Borrowed(rest);
        }
        let mut written = query.to_owned();
        for (class, ways) in CLASSES.iter().zip(&ways) {
            written = ways[nth % ways.len()].write(class, written);
            nth /= ways.len();
        }
        Cow::Owned(format!("{path}{written}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(url: &str, expected: &[&str]) {
        assert_eq!(candidates(url).collect::<Vec<_>>(), expected, "{url}");
    }

    #[test]
    fn the_raw_url_comes_first_then_the_ports() {
        check(
            "https://h.example:8443/a?b=1",
            &[
                "https://h.example:8443/a?b=1",
                "https://h.example/a?b=1",
                "https://h.example:443/a?b=1",
            ],
        );
        check("http://h.example/a", &["http://h.example/a", "http://h.example:80/a"]);
        check(
            "https://[::1]:8443/a",
            &["https://[::1]:8443/a", "https://[::1]/a", "https://[::1]:443/a"],
        );
        check("https://[::1]/a", &["https://[::1]/a", "https://[::1]:443/a"]);
    }

    #[test]
    fn fragment_and_userinfo_are_dropped() {
        check(
            "https://u:p@h.example/a#rc=5",
            &[
                "https://u:p@h.example/a",
                "https://u:p@h.example:443/a",
                "https://h.example/a",
                "https://h.example:443/a",
            ],
        );
    }

    #[test]
    fn an_apostrophe_is_tried_both_ways_in_the_query_only() {
        let both: Vec<_> = candidates("http://h.example:80/it's?a='&b=%27").collect();
        assert!(both.contains(&"http://h.example:80/it's?a='&b='".into()));
        assert!(both.contains(&"http://h.example/it's?a=%27&b=%27".into()));
        assert!(!both.iter().any(|url| url.contains("it%27s")));
    }

    #[test]
    fn a_query_is_tried_in_the_writings_of_other_encoders() {
        let query = |url: &str| {
            let all: Vec<_> = candidates(url).collect();
            let queries = all.iter().filter_map(|url| url.strip_prefix("http://h.example/a:@+?"));
            queries.map(str::to_owned).collect::<Vec<_>>()
        };
        let check = |wire: &str, signed: &[&str]| {
            let tried = query(&format!("http://h.example/a:@+?{wire}"));
            assert_eq!(tried[0], wire);
            for signed in signed {
                assert!(tried.iter().any(|tried| tried == signed), "{signed} of {wire}: {tried:?}");
            }
        };
        check("name=Jane+Doe", &["name=Jane%20Doe"]);
        check("name=Jane%20Doe", &["name=Jane+Doe"]);
        check("to=sip%3a1%40h.example", &["to=sip:1@h.example", "to=sip%3A1%40h.example"]);
        check("to=sip:1@h.example", &["to=sip%3A1%40h.example"]);
        let all = ["a='+%3A", "a=%27%20:", "a='%20:", "a=%27+:", "a=%27%20%3A", "a='%20%3A"];
        check("a='+:", &all);
        assert_eq!(query("http://h.example/a:@+?b=1&c=%C3%B1"), ["b=1&c=%C3%B1"]);
        // However it is written, the work is bounded: three classes, three ports, two userinfos.
        let most: Vec<_> = candidates("http://u:p@h.example:81/?a='%27+%20:%3A@%40").collect();
        assert_eq!(most.len(), 6 * 27);
        let different: std::collections::HashSet<_> = most.iter().collect();
        assert_eq!(different.len(), most.len());
    }

    #[test]
    fn a_base_url_is_checked() {
        assert_eq!(
            PublicUrl::parse("https://a.example/x/").map(|url| url.0),
            Ok("https://a.example/x".into())
        );
        assert_eq!(PublicUrl::parse("a.example"), Err(PublicUrlError::Scheme));
        assert_eq!(PublicUrl::parse("https://"), Err(PublicUrlError::Scheme));
        assert_eq!(PublicUrl::parse("https://:80"), Err(PublicUrlError::Host));
        assert_eq!(PublicUrl::parse("https://a b"), Err(PublicUrlError::Host));
        assert_eq!(PublicUrl::parse("https://a.example/?x"), Err(PublicUrlError::Tail));
    }
}
