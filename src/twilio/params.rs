//! [`Params`]: the pairs of a form or a query, in order, duplicates and blanks kept.

use std::borrow::Cow;

/// Decoded pairs as bytes, since a signed value need not be UTF-8.
#[derive(Clone, Default, Debug, PartialEq, Eq)]
pub struct Params<'a>(Vec<Pair<'a>>);

/// Name and value.
type Pair<'a> = (Cow<'a, [u8]>, Cow<'a, [u8]>);

impl<'a> Params<'a> {
    /// Reads `application/x-www-form-urlencoded`: `+` is a space, `%XX` a byte, and a `%` that
    /// starts no such pair stands for itself. Nothing is an error: what was signed is kept.
    #[must_use]
    pub fn parse(form: &'a [u8]) -> Self {
        let pairs = form.split(|&byte| byte == b'&').filter(|pair| !pair.is_empty());
        Self(
            pairs
                .map(|pair| match pair.iter().position(|&byte| byte == b'=') {
                    Some(at) => (decode(&pair[..at]), decode(&pair[at + 1..])),
                    None => (decode(pair), Cow::Borrowed(&[][..])),
                })
                .collect(),
        )
    }

    /// The first value of this name, if it is there and not blank. Invalid UTF-8 and NUL, which
    /// Postgres cannot hold in text, become U+FFFD.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Cow<'_, str>> {
        let (_, value) = self.0.iter().find(|(key, _)| key.as_ref() == name.as_bytes())?;
        (!value.is_empty()).then(|| printable(value))
    }

    /// Whether a pair of this name is there, blank or not.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(key, _)| key.as_ref() == name.as_bytes())
    }

    /// The pairs in the order in which they were sent.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.0.iter().map(|(name, value)| (name.as_ref(), value.as_ref()))
    }

    /// The pairs as Twilio signs them: sorted bytewise by name and then by value, a repeated pair
    /// once (as the python, node and php libraries do; go and java ignore repeated names).
    #[must_use]
    pub fn signed_pairs(&self) -> Vec<(&[u8], &[u8])> {
        let mut pairs: Vec<_> = self.iter().collect();
        pairs.sort_unstable();
        pairs.dedup();
        pairs
    }

    /// The same with invalid UTF-8 replaced by U+FFFD, as most form libraries decode it; `None`
    /// if there is none.
    #[must_use]
    pub fn with_replacements(&self) -> Option<Params<'static>> {
        let valid = |bytes: &[u8]| std::str::from_utf8(bytes).is_ok();
        if self.iter().all(|(name, value)| valid(name) && valid(value)) {
            return None;
        }
        let lossy = |bytes: &[u8]| Cow::Owned(String::from_utf8_lossy(bytes).into_owned().into());
        Some(Params(self.iter().map(|(name, value)| (lossy(name), lossy(value))).collect()))
    }
}

/// Text for a column: invalid UTF-8 and NUL become U+FFFD.
pub(crate) fn printable(bytes: &[u8]) -> Cow<'_, str> {
    match String::from_utf8_lossy(bytes) {
        text if text.contains('\0') => Cow::Owned(text.replace('\0', "\u{FFFD}")),
        text => text,
    }
}

fn decode(bytes: &[u8]) -> Cow<'_, [u8]> {
    if !bytes.iter().any(|&byte| byte == b'+' || byte == b'%') {
        return Cow::Borrowed(bytes);
    }
    let spaced: Vec<u8> = bytes.iter().map(|&b| if b == b'+' { b' ' } else { b }).collect();
    Cow::Owned(percent_encoding::percent_decode(&spaced).collect())
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
