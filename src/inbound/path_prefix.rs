//! [`PathPrefix`]: where below its root the public listener has its routes.

use serde::Deserialize;

/// Empty, or a path with a slash in front and none at its end: `/hooks/twilio`.
#[derive(Clone, Default, PartialEq, Eq, Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct PathPrefix(String);

/// Why a text is not a path prefix.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "a path prefix is empty, or starts with `/` and has only letters, digits and `-._~/` in it"
)]
pub struct PathPrefixError;

impl PathPrefix {
    /// Reads a prefix.
    ///
    /// # Errors
    /// No slash in front, an empty segment, or a character that is not the same in every URL.
    pub fn parse(text: &str) -> Result<Self, PathPrefixError> {
        let text = text.strip_suffix('/').unwrap_or(text);
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
        let rooted = text.is_empty() || text.starts_with('/');
        match rooted && !text.contains("//") && !text.ends_with('/') && text.bytes().all(plain) {
            true => Ok(Self(text.to_owned())),
            false => Err(PathPrefixError),
        }
    }

    /// The prefix as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for PathPrefix {
    type Error = PathPrefixError;

    fn try_from(text: String) -> Result<Self, PathPrefixError> {
        Self::parse(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Option<&str>) {
        let parsed = PathPrefix::parse(text);
        assert_eq!(parsed.as_ref().ok().map(PathPrefix::as_str), expected, "{text}");
    }

    #[test]
    fn a_prefix_joins_with_a_route_without_surprises() {
        check("", Some(""));
        check("/", Some(""));
        check("/hooks", Some("/hooks"));
        check("/hooks/twilio-1/", Some("/hooks/twilio-1"));
        for bad in ["hooks", "//", "/a//b", "/a//", "/{id}", "/a b", "/a?b", "/é", "/%41", "/:a"] {
            check(bad, None);
        }
    }
}
