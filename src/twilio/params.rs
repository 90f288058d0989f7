//! [`Params`]: the pairs of a form or a query, in order, duplicates and blanks kept.

use std::borrow::Cow;
use std::ops::Range;

use memchr::{memchr, memchr_iter, memchr3_iter};

/// Decoded pairs as bytes, since a signed value need not be UTF-8.
///
/// Names and values are ranges of two buffers, what was sent and what had to be decoded, so that
/// reading a form allocates twice and not once per value.
#[derive(Clone, Default, Debug)]
pub struct Params<'a> {
    sent: &'a [u8],
    decoded: Vec<u8>,
    pairs: Vec<(Text, Text)>,
}

/// A name or a value. Small, since a form has forty of them: nothing of it is beyond 4 GiB.
#[derive(Clone, Debug)]
enum Text {
    /// As it was sent.
    Sent(u32, u32),
    /// Its escapes were decoded.
    Decoded(u32, u32),
}

impl Text {
    fn sent(range: Range<usize>) -> Self {
        Self::Sent(place(range.start), place(range.end))
    }

    fn decoded(range: Range<usize>) -> Self {
        Self::Decoded(place(range.start), place(range.end))
    }

    fn len(&self) -> usize {
        let (Self::Sent(start, end) | Self::Decoded(start, end)) = self;
        (end - start) as usize
    }
}

fn place(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

impl<'a> Params<'a> {
    /// Reads `application/x-www-form-urlencoded`: `+` is a space, `%XX` a byte, and a `%` that
    /// starts no such pair stands for itself. Nothing is an error: what was signed is kept.
    #[must_use]
    pub fn parse(form: &'a [u8]) -> Self {
        /// About what a pair of Twilio's takes, or a little less.
        const PAIR: usize = 32;
        let pairs = Vec::with_capacity(form.len() / PAIR + 1);
        let mut params = Self { sent: form, decoded: Vec::new(), pairs };
        let (mut start, mut escaped) = (0, false);
        // Once over all of it: most names and values are too short for a search of their own.
        for end in memchr3_iter(b'&', b'+', b'%', form).chain([form.len()]) {
            if form.get(end).is_some_and(|&byte| byte != b'&') {
                escaped = true;
                continue;
            }
            if start < end {
                let equals = memchr(b'=', &form[start..end]).map(|at| start + at);
                let (name, value) =
                    (start..equals.unwrap_or(end), equals.map_or(end, |at| at + 1)..end);
                let pair = match escaped {
                    true => (params.decoded(name), params.decoded(value)),
                    false => (Text::sent(name), Text::sent(value)),
                };
                params.pairs.push(pair);
            }
            (start, escaped) = (end + 1, false);
        }
        params
    }

    /// The text at `range` of what was sent, decoded if need be.
    fn decoded(&mut self, range: Range<usize>) -> Text {
        let sent = &self.sent[range.clone()];
        if !sent.iter().any(|byte| b"+%".contains(byte)) {
            return Text::sent(range);
        }
        // All of them together are no longer than what was sent.
        self.decoded.reserve(self.sent.len() - self.decoded.len());
        let start = self.decoded.len();
        for (place, part) in sent.split(|&byte| byte == b'+').enumerate() {
            if place > 0 {
                self.decoded.push(b' ');
            }
            self.decoded.extend(percent_encoding::percent_decode(part));
        }
        Text::decoded(start..self.decoded.len())
    }

    fn bytes(&self, text: &Text) -> &[u8] {
        match *text {
            Text::Sent(start, end) => &self.sent[start as usize..end as usize],
            Text::Decoded(start, end) => &self.decoded[start as usize..end as usize],
        }
    }

    fn pair(&self, (name, value): &(Text, Text)) -> (&[u8], &[u8]) {
        (self.bytes(name), self.bytes(value))
    }

    /// The first value of this name, if it is there and not blank. Invalid UTF-8 and NUL, which
    /// Postgres cannot hold in text, become U+FFFD.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Cow<'_, str>> {
        let (_, value) = self.find(name)?;
        let value = self.bytes(value);
        (!value.is_empty()).then(|| printable(value))
    }

    /// Whether a pair of this name is there, blank or not.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    /// The first pair of this name. Nearly all others have another length, which is known without
    /// looking at them.
    fn find(&self, name: &str) -> Option<&(Text, Text)> {
        let same = |key: &Text| key.len() == name.len() && self.bytes(key) == name.as_bytes();
        self.pairs.iter().find(|(key, _)| same(key))
    }

    /// The pairs in the order in which they were sent.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&[u8], &[u8])> {
        self.pairs.iter().map(|pair| self.pair(pair))
    }

    /// The pairs as Twilio signs them: sorted bytewise by name and then by value, a repeated pair
    /// once (as the python, node and php libraries do; go and java ignore repeated names).
    #[must_use]
    pub fn signed_pairs(&self) -> Vec<(&[u8], &[u8])> {
        let mut order: Vec<_> =
            self.pairs.iter().map(|pair| (start_of(self.bytes(&pair.0)), pair)).collect();
        order.sort_unstable_by(|(a, one), (b, other)| {
            a.cmp(b).then_with(|| self.pair(one).cmp(&self.pair(other)))
        });
        let mut pairs: Vec<_> = order.into_iter().map(|(_, pair)| self.pair(pair)).collect();
        pairs.dedup();
        pairs
    }

    /// The pairs as Twilio signs them, behind the URL: each name and its value, and nothing between.
    #[must_use]
    pub fn signed(&self) -> Vec<u8> {
        let pairs = self.signed_pairs();
        let length = pairs.iter().map(|(name, value)| name.len() + value.len()).sum();
        let mut signed = Vec::with_capacity(length);
        for (name, value) in pairs {
            signed.extend_from_slice(name);
            signed.extend_from_slice(value);
        }
        signed
    }

    /// At most how many pairs there are in a form, without reading it.
    #[must_use]
    pub fn count(form: &[u8]) -> usize {
        memchr_iter(b'&', form).count() + 1
    }

    /// The same with invalid UTF-8 replaced by U+FFFD, as most form libraries decode it; `None`
    /// if there is none.
    #[must_use]
    pub fn with_replacements(&self) -> Option<Params<'static>> {
        let valid = |bytes: &[u8]| std::str::from_utf8(bytes).is_ok();
        if self.iter().all(|(name, value)| valid(name) && valid(value)) {
            return None;
        }
        let mut replaced = Params::default();
        let mut lossy = |bytes: &[u8]| {
            let start = replaced.decoded.len();
            replaced.decoded.extend(String::from_utf8_lossy(bytes).as_bytes());
            Text::decoded(start..replaced.decoded.len())
        };
        let pairs = self.iter().map(|(name, value)| (lossy(name), lossy(value))).collect();
        Some(Params { pairs, ..replaced })
    }
}

/// The same pairs in the same order, however they were written.
impl PartialEq for Params<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Params<'_> {}

/// Text for a column: invalid UTF-8 and NUL become U+FFFD.
pub(crate) fn printable(bytes: &[u8]) -> Cow<'_, str> {
    match String::from_utf8_lossy(bytes) {
        text if memchr(0, text.as_bytes()).is_some() => Cow::Owned(text.replace('\0', "\u{FFFD}")),
        text => text,
    }
}

/// The first bytes of a text as a number, whose order is theirs: it tells most names apart, and is
/// compared at once.
pub(crate) fn start_of(text: &[u8]) -> u64 {
    u64::from_be_bytes(text.first_chunk().copied().unwrap_or_else(|| {
        let mut start = [0; 8];
        start[..text.len()].copy_from_slice(text);
        start
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(form: &str, expected: &[(&str, &str)]) {
        let params = Params::parse(form.as_bytes());
        let pairs: Vec<_> = params.iter().map(|(n, v)| (printable(n), printable(v))).collect();
        let pairs: Vec<_> = pairs.iter().map(|(n, v)| (n.as_ref(), v.as_ref())).collect();
        assert_eq!(pairs, expected, "{form}");
    }

    #[test]
    fn pairs_keep_their_order_their_duplicates_and_their_blanks() {
        check("b=2&a=1&b=1", &[("b", "2"), ("a", "1"), ("b", "1")]);
        check("a=&b&=c", &[("a", ""), ("b", ""), ("", "c")]);
        check("a=1&&b=2&", &[("a", "1"), ("b", "2")]);
        check("", &[]);
    }

    #[test]
    fn plus_and_percent_decode_and_bad_percents_stay() {
        check("a=%2B1+2&b=x%3Dy", &[("a", "+1 2"), ("b", "x=y")]);
        check("a=%&b=%4&c=%zz&d=%C3%B1", &[("a", "%"), ("b", "%4"), ("c", "%zz"), ("d", "ñ")]);
        check("a=1=2", &[("a", "1=2")]);
    }

    #[test]
    fn text_never_holds_nul_or_invalid_utf8() {
        let params = Params::parse(b"a=x%00y&b=%FF");
        assert_eq!(params.get("a").as_deref(), Some("x\u{FFFD}y"));
        assert_eq!(params.get("b").as_deref(), Some("\u{FFFD}"));
        assert_eq!(params.iter().next(), Some((&b"a"[..], &b"x\0y"[..])));
    }

    #[test]
    fn a_blank_value_is_there_but_is_no_value() {
        let params = Params::parse(b"a=");
        assert!(params.has("a") && params.get("a").is_none() && !params.has("b"));
    }
}
