//! [`EventKey`] and [`EventId`]: an event's identity, by which duplicates are recognised everywhere.

use std::fmt;

use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};

/// The key of hashes that cannot be made without it.
pub type Secret = Hmac<Sha256>;

/// `<CallSid>-<CallStatus>` and the like: printable ASCII, at most [`EventKey::MAX`] bytes. Names an
/// event among those of its account; see [`EventId`].
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct EventKey(String);

impl EventKey {
    /// The longest key. Ours have about 50 bytes; an index entry hangs off each.
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

    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EventKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which event it is, among those of every account: another account can sign a callback about the
/// same SID, and that is another event. Ordered by key first, so that a look-up by key has an index.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct EventId {
    /// The name within the account.
    pub key: EventKey,
    /// The account that signed it.
    pub account: String,
}

/// A hash of what an event says, for an event that has no name of its own. The length of each piece
/// goes before it, so that no two lists of pieces give the same.
pub struct ContentHash {
    secret: Option<Secret>,
    /// Gathered, and hashed at once: forty short pieces one by one take twice as long.
    pieces: Vec<u8>,
}

impl ContentHash {
    /// What a callback has at the most, as a rule.
    const USUAL: usize = 2048;

    /// With a `secret`, the hash reveals the content only to its holder.
    #[must_use]
    pub fn new(secret: Option<Secret>) -> Self {
        Self { secret, pieces: Vec::with_capacity(Self::USUAL) }
    }

    /// Adds a piece.
    pub fn piece(&mut self, piece: &[u8]) {
        self.pieces.extend_from_slice(&(piece.len() as u64).to_be_bytes());
        self.pieces.extend_from_slice(piece);
    }

    /// Adds pairs, and where they end.
    pub fn pairs<'p>(&mut self, pairs: impl IntoIterator<Item = (&'p [u8], &'p [u8])>) {
        let mut count: u64 = 0;
        for (name, value) in pairs {
            self.piece(name);
            self.piece(value);
            count += 1;
        }
        self.piece(&count.to_be_bytes());
    }

    /// The hash.
    #[must_use]
    pub fn finish(self) -> [u8; 32] {
        match self.secret {
            None => Sha256::digest(&self.pieces).into(),
            Some(mac) => mac.chain_update(&self.pieces).finalize().into_bytes().into(),
        }
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
    fn no_two_lists_of_pairs_have_one_hash() {
        let of = |query: &[(&str, &str)], body: &[(&str, &str)]| {
            let mut hash = ContentHash::new(None);
            for pairs in [query, body] {
                hash.pairs(pairs.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes())));
            }
            hash.finish()
        };
        type Pairs = &'static [(&'static str, &'static str)];
        let lists: [(Pairs, Pairs); 6] = [
            (&[], &[]),
            (&[("ab", "c")], &[]),
            (&[("a", "bc")], &[]),
            (&[], &[("ab", "c")]),
            (&[], &[("ab", "c"), ("", "")]),
            (&[("", "")], &[("ab", "c")]),
        ];
        let mut hashes: Vec<_> = lists.iter().map(|(query, body)| of(query, body)).collect();
        hashes.sort_unstable();
        hashes.dedup();
        assert_eq!(hashes.len(), lists.len());
    }
}
