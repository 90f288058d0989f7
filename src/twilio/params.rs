//! [`Params`]: the pairs of a form or a query, in order, duplicates and blanks kept.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::OnceLock;

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
    /// The places of the pairs in the order in which they are signed, computed on first use: by the signature, and by
    /// the recognition of duplicates.
    order: OnceLock<Vec<(u64, u32)>>,
}

/// A name or a value. Small, since a form has forty of them: nothing of it is beyond 4 GiB.
#[derive(Clone, Debug)]
enum Text {
    /// A part of what was sent, which needed no decoding.
    Sent(u32, u32),
    /// A part of the buffer of decoded texts.
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
        let pairs = Vec::with_capacity(Self::count(form));
        let mut params = Self { sent: form, pairs, ..Self::default() };
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
        // Together they are no longer than what was sent.
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
        let mut pairs: Vec<_> = self.order().iter().map(|&(_, place)| self.nth(place)).collect();
        pairs.dedup();
        pairs
    }

    /// The pairs as Twilio signs them, behind the URL: each name and its value, and nothing between.
    #[must_use]
    pub fn signed(&self) -> Vec<u8> {
        // Each text was longer before it was decoded, or it is in `decoded` alone.
        let mut signed = Vec::with_capacity(self.sent.len().max(self.decoded.len()));
        let mut last = None;
        for &(_, place) in self.order() {
            let pair = self.nth(place);
            if last.replace(pair) != Some(pair) {
                signed.extend_from_slice(pair.0);
                signed.extend_from_slice(pair.1);
            }
        }
        signed
    }

    fn nth(&self, place: u32) -> (&[u8], &[u8]) {
        self.pair(&self.pairs[place as usize])
    }

    /// The places of the pairs, sorted by name and then by value.
    ///
    /// Twilio sends a few dozen pairs, which are compared with each other. Many pairs are sorted by seven bytes
    /// at a time, since their sender may have chosen them to differ late: that takes time in proportion to the
    /// length of the form, whatever it contains.
    fn order(&self) -> &[(u64, u32)] {
        self.order.get_or_init(|| self.sorted())
    }

    fn sorted(&self) -> Vec<(u64, u32)> {
        /// Up to this many pairs are compared with each other.
        const FEW: usize = 128;
        /// Up to this many pairs with the same beginning are compared with each other.
        const ALIKE: usize = 16;
        let mut order: Vec<_> = (0..place(self.pairs.len())).map(|place| (0, place)).collect();
        if order.len() <= FEW {
            for (start, place) in &mut order {
                *start = start_of(self.nth(*place).0);
            }
            order.sort_unstable_by(|(a, one), (b, other)| {
                a.cmp(b).then_with(|| self.nth(*one).cmp(&self.nth(*other)))
            });
            return order;
        }
        let mut unsorted = vec![(0..order.len(), Part::Name, 0)];
        while let Some((run, part, from)) = unsorted.pop() {
            let (first, run) = (run.start, &mut order[run]);
            if run.len() <= ALIKE {
                run.sort_unstable_by(|(_, one), (_, other)| self.nth(*one).cmp(&self.nth(*other)));
                continue;
            }
            for (chunk, place) in run.iter_mut() {
                let (name, value) = self.nth(*place);
                *chunk = chunk_of(&(if part == Part::Name { name } else { value })[from..]);
            }
            run.sort_unstable_by_key(|&(chunk, _)| chunk);
            let mut start = first;
            for alike in run.chunk_by(|(one, _), (other, _)| one == other) {
                let end = start + alike.len();
                let next = match (part, goes_on(alike[0].0)) {
                    (_, true) => Some((part, from + CHUNK)),
                    (Part::Name, false) => Some((Part::Value, 0)),
                    (Part::Value, false) => None,
                };
                let next = next.filter(|_| alike.len() > 1);
                unsorted.extend(next.map(|(part, from)| (start..end, part, from)));
                start = end;
            }
        }
        order
    }

    /// At most how many pairs there are in a form, without reading it.
    #[must_use]
    pub fn count(form: &[u8]) -> usize {
        memchr_iter(b'&', form).count() + 1
    }

    /// The same with invalid UTF-8 replaced by U+FFFD, as most form libraries decode it; `None`
    /// if nothing was replaced.
    #[must_use]
    pub fn with_replacements(&self) -> Option<Params<'static>> {
        if self.is_utf8() {
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

    /// Whether every name and value is.
    #[must_use]
    pub fn is_utf8(&self) -> bool {
        let valid = |bytes: &[u8]| std::str::from_utf8(bytes).is_ok();
        // What stands between the texts of a form is ASCII, so they are if all of it is; but half a character
        // may be at the end of one that was decoded, and the other half at the start of the next.
        let (sent, decoded) = (valid(self.sent), self.decoded.is_ascii());
        let looked_at = |text: &Text| match text {
            Text::Sent(..) => sent || valid(self.bytes(text)),
            Text::Decoded(..) => decoded || valid(self.bytes(text)),
        };
        self.pairs.iter().all(|(name, value)| looked_at(name) && looked_at(value))
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

/// The first bytes of a text as a number, whose order is the text's: it distinguishes most names, and is
/// compared in one step.
pub(crate) fn start_of(text: &[u8]) -> u64 {
    u64::from_be_bytes(text.first_chunk().copied().unwrap_or_else(|| {
        let mut start = [0; 8];
        start[..text.len()].copy_from_slice(text);
        start
    }))
}

/// What of a pair is sorted by.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Name,
    Value,
}

/// Bytes of a text that are compared at once.
const CHUNK: usize = 7;

/// The first seven bytes of a text and how many there are, eight for more than seven, as a number whose order
/// is that of the texts: of two that begin alike the shorter one comes first.
fn chunk_of(text: &[u8]) -> u64 {
    let (mut chunk, length) = ([0; CHUNK + 1], text.len().min(CHUNK));
    match text.first_chunk() {
        Some(first) => chunk = *first,
        // A byte at a time: for so few a call that copies memory takes longer.
        None => chunk.iter_mut().zip(text).for_each(|(to, byte)| *to = *byte),
    }
    chunk[CHUNK] = if text.len() > CHUNK { LONGER } else { length as u8 };
    u64::from_be_bytes(chunk)
}

/// Marks a chunk whose text continues.
const LONGER: u8 = CHUNK as u8 + 1;

fn goes_on(chunk: u64) -> bool {
    chunk.to_be_bytes()[CHUNK] == LONGER
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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

    proptest! {
        /// Many are sorted in another way than few, and in the same order.
        #[test]
        fn however_many_pairs_there_are_they_are_sorted_bytewise(
            alphabet in prop::sample::select(vec!["a", "ab", "\0a", "a\u{7f}\u{ff}"]),
            lengths in prop::collection::vec((0_usize..24, 0_usize..24, any::<u64>()), 0..600),
        ) {
            let letters: Vec<char> = alphabet.chars().collect();
            let text = |length: usize, seed: u64| (0..length).fold(String::new(), |text, at| {
                // Long beginnings that are alike.
                let letter = if at + 3 < length { 0 } else { (seed >> (8 * (at % 8))) as usize };
                text + &form_urlencoded::byte_serialize(&[letters[letter % letters.len()] as u8]).collect::<String>()
            });
            let pairs = lengths.iter().map(|&(name, value, seed)| {
                format!("{}={}", text(name, seed), text(value, seed >> 32))
            });
            let form = pairs.collect::<Vec<_>>().join("&");
            let params = Params::parse(form.as_bytes());
            let mut expected: Vec<_> = params.iter().collect();
            expected.sort();
            expected.dedup();
            prop_assert_eq!(params.signed_pairs(), &expected[..]);
            let joined: Vec<u8> = expected.iter().flat_map(|(name, value)| [*name, *value].concat()).collect();
            prop_assert_eq!(params.signed(), joined);
        }
    }

    #[test]
    fn it_is_utf8_if_each_text_is() {
        let replaced = |form: &'static [u8]| {
            let params = Params::parse(form);
            params
                .with_replacements()
                .map(|replaced| String::from_utf8_lossy(&replaced.signed()).into_owned())
        };
        assert_eq!(replaced(b"a=%C3%B1&b=\xc3\xb1&c=1"), None);
        assert_eq!(replaced(b"a=%C3&%B1=2").as_deref(), Some("a\u{FFFD}\u{FFFD}2"));
        assert_eq!(replaced(b"a=\xc3&\xb1=2").as_deref(), Some("a\u{FFFD}\u{FFFD}2"));
        // Half of a character as it is, half of it escaped.
        assert_eq!(replaced(b"a=\xc3%B1"), None);
    }
}
