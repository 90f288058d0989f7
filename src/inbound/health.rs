//! [`Health`]: whether this receiver can make a callback durable, for a load balancer that can reach only the
//! public listener. [`HealthPath`] is where it asks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

/// Whether a callback could be made durable when that was last looked at. All clones are one; it begins with
/// no. A request reads it without waiting: a flood of probes asks no backend anything.
#[derive(Clone, Default, Debug)]
pub struct Health(Arc<AtomicBool>);

impl Health {
    /// Records whether the receiver can accept callbacks.
    pub fn set(&self, able: bool) {
        self.0.store(able, Ordering::Relaxed);
    }

    /// The answer to a probe.
    pub(super) fn answer(&self, draining: bool) -> Response {
        let able = self.0.load(Ordering::Relaxed);
        let (status, text) = match (draining, able) {
            (true, _) => (StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
            (false, false) => (StatusCode::SERVICE_UNAVAILABLE, "cannot make a callback durable\n"),
            (false, true) => (StatusCode::OK, "ok\n"),
        };
        const HEADERS: [(HeaderName, HeaderValue); 2] = [
            (CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8")),
            (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        ];
        (status, HEADERS, text).into_response()
    }
}

/// The path of the health route on the public listener, without the prefix of the routes. If it is empty, there is no
/// health route.
#[derive(Clone, Default, PartialEq, Eq, Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct HealthPath(String);

/// Why a text is not a path for probes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("it must be empty, or start with `/` and have only letters, digits and `-._~/` in it")]
pub struct HealthPathError;

impl HealthPath {
    /// Reads a path.
    ///
    /// # Errors
    /// No slash in front, an empty segment, or a character that is not the same in every URL.
    pub fn parse(text: &str) -> Result<Self, HealthPathError> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
        let rooted = text.starts_with('/') && !text.contains("//");
        match text.is_empty() || rooted && text.bytes().all(plain) {
            true => Ok(Self(text.to_owned())),
            false => Err(HealthPathError),
        }
    }

    /// The path, if there is one.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        Some(self.0.as_str()).filter(|path| !path.is_empty())
    }
}

impl TryFrom<String> for HealthPath {
    type Error = HealthPathError;

    fn try_from(text: String) -> Result<Self, HealthPathError> {
        Self::parse(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_for_probes_is_empty_or_a_plain_path() {
        let check = |text: &str, expected: Option<Option<&str>>| {
            let path = HealthPath::parse(text).ok();
            assert_eq!(path.as_ref().map(HealthPath::as_str), expected, "{text}");
        };
        check("", Some(None));
        check("/", Some(Some("/")));
        check("/healthz", Some(Some("/healthz")));
        check("/a/b-1/", Some(Some("/a/b-1/")));
        for bad in ["healthz", "//", "/a//b", "/{id}", "/a b", "/a?b", "/é", "/%41", "/*x"] {
            check(bad, None);
        }
    }

    #[test]
    fn it_begins_with_no() {
        let health = Health::default();
        assert_eq!(health.answer(false).status(), 503);
        health.clone().set(true);
        assert_eq!(health.answer(false).status(), 200);
        assert_eq!(health.answer(true).status(), 503);
    }
}
