//! [`EventKey`]: an event's identity, by which duplicates are recognised everywhere.

use std::borrow::Borrow;
use std::fmt;

use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};

use crate::clock::Timestamp;

/// What makes a hash that nobody without it can.
pub type Secret = Hmac<Sha256>;

/// `<CallSid>-<CallStatus>` and the like: printable ASCII, at most [`EventKey::MAX`] bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct EventKey(String);

impl EventKey {
    /// The longest key. Ours have about 50 bytes; a Redis key and an index entry hang off each.
    pub const MAX: usize = 200;

    /// A key of parts joined by `-`; `None` if a part is empty, too long or not printable ASCII.
    #[must_use]
    pub fn of(parts: &[&str]) -> Option<Self> {
        if parts.iter().any(|part| part.is_empty()) {
            return None;
        }
        let key = parts.join("-");
        Self::is_one(&key).then_some(Self(key))
    }

    /// Reads a key that was written before.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::is_one(text).then(|| Self(text.to_owned()))
    }

    fn is_one(text: &str) -> bool {
        !text.is_empty()
            && text.len() <= Self::MAX
            && text.bytes().all(|byte| byte.is_ascii_graphic())
    }

    /// The key of something well signed that this version does not recognise. With a `secret`
    /// nobody else can tell by it what was in the body.
    #[must_use]
    pub fn of_unrecognised(secret: Option<Secret>, query: &str, body: &[u8]) -> Self {
        // A GET without parameters of its own still differs by its query.
        let said = if body.is_empty() { query.as_bytes() } else { body };
        Self(format!("other-{}", digest(secret, [said, b""])))
    }

    /// The key of a fallback request. Its parameters repeat a call's SID and status, so that they
    /// cannot be its identity. Twilio's idempotency token is, if one was sent; else each request
    /// is its own.
    #[must_use]
    pub fn of_fallback(
        token: Option<&str>,
        secret: Option<Secret>,
        body: &[u8],
        received_at: Timestamp,
    ) -> Self {
        if let Some(key) = token.and_then(|token| Self::of(&["fallback", token])) {
            return key;
        }
        let at = received_at.micros().to_be_bytes();
        Self(format!("fallback-{}", digest(secret, [body, &at])))
    }

    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// SHA-256 of all parts one after the other, or its HMAC.
fn digest(secret: Option<Secret>, parts: [&[u8]; 2]) -> String {
    let parts = parts.concat();
    match secret {
        None => hex(&Sha256::digest(&parts)),
        Some(mac) => hex(&mac.chain_update(&parts).finalize().into_bytes()),
    }
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

impl fmt::Display for EventKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Borrow<str> for EventKey {
    fn borrow(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_joins_its_parts() {
        let key = EventKey::of(&["CA1", "completed"]);
        assert_eq!(key.as_ref().map(EventKey::as_str), Some("CA1-completed"));
    }

    #[test]
    fn what_cannot_be_a_key_is_none() {
        for parts in [&["CA1", ""][..], &["CA 1", "x"], &["CA1\0", "x"], &["Ä", "x"], &["", ""]] {
            assert_eq!(EventKey::of(parts), None, "{parts:?}");
        }
        assert_eq!(EventKey::of(&["C", &"x".repeat(EventKey::MAX)]), None);
    }

    #[test]
    fn a_fallback_without_token_is_its_own_event_each_time() {
        let at = |micros| {
            EventKey::of_fallback(None, None, b"CallSid=CA1", Timestamp::from_micros(micros))
        };
        assert_ne!(at(1), at(2));
        assert_eq!(
            EventKey::of_fallback(Some("t-1"), None, b"a", Timestamp::from_micros(1)),
            EventKey::of_fallback(Some("t-1"), None, b"b", Timestamp::from_micros(2)),
        );
    }
}
