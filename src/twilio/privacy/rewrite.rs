//! Walks through what was sent and writes it again where something in it is treated: forms, JSON,
//! and either of them inside a value of the other, as in the debugger's `Payload`. Order,
//! duplicates and everything plain stay as they were.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{Class, Privacy, Treatment};
use crate::twilio::address;

/// The greatest depth of formats within formats. Twilio's callbacks have 8. Each level is read anew, so this
/// bounds the work as well as the stack.
const DEEPEST: usize = 24;

/// Whether a text begins like JSON, perhaps in a text of JSON, or did before it was cut.
fn is_like_json(text: &str) -> bool {
    let quotes = |c: char| is_invisible(c) || matches!(c, '"' | '\\');
    text.trim_start_matches(quotes).starts_with(['{', '['])
}

/// What may stand before JSON and is not seen: blanks, marks of direction and of order, and what is left of a byte
/// order mark that was read as another encoding's.
fn is_invisible(c: char) -> bool {
    c.is_whitespace()
        || c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{fff9}'..='\u{ffff}'
            | 'ï' | '»' | '¿')
}

/// What becomes of a part.
enum Fate<T> {
    Stays,
    Becomes(T),
    Goes,
}

impl<T> Fate<T> {
    fn map<U>(self, write: impl FnOnce(T) -> U) -> Fate<U> {
        match self {
            Self::Stays => Fate::Stays,
            Self::Becomes(text) => Fate::Becomes(write(text)),
            Self::Goes => Fate::Goes,
        }
    }

    fn stays(&self) -> bool {
        matches!(self, Self::Stays)
    }
}

/// What is empty now has gone.
fn becomes(text: String) -> Fate<String> {
    if text.is_empty() { Fate::Goes } else { Fate::Becomes(text) }
}

impl Privacy {
    /// A form or a query; `None` if it stays as it is.
    pub(super) fn form(&self, form: &[u8], depth: usize) -> Option<Vec<u8>> {
        let mut pairs = Vec::new();
        let mut left = Some(form);
        while let Some(form) = left {
            let end = memchr::memchr(b'&', form);
            let (pair, rest) = (&form[..end.unwrap_or(form.len())], end.map(|at| &form[at + 1..]));
            if is_cut_json(pair) {
                // Its own `&` and `=` cannot be distinguished from those of the form.
                let text = String::from_utf8_lossy(form);
                pairs.push((form, self.unreadable(&text).map(|text| encoded(&text))));
                break;
            }
            pairs.push((pair, self.pair(pair, depth)));
            left = rest;
        }
        if pairs.iter().all(|(_, fate)| fate.stays()) {
            return None;
        }
        let left = pairs.iter().filter_map(|(pair, fate)| match fate {
            Fate::Stays => Some(*pair),
            Fate::Becomes(written) => Some(written.as_slice()),
            Fate::Goes => None,
        });
        Some(left.collect::<Vec<_>>().join(&b'&'))
    }

    fn pair(&self, pair: &[u8], depth: usize) -> Fate<Vec<u8>> {
        let Some((name, value)) = form_urlencoded::parse(pair).next() else { return Fate::Stays };
        let Some(equals) = memchr::memchr(b'=', pair) else {
            // It may be all value.
            return self.text(None, &name, depth).map(|text| encoded(&text));
        };
        let fate = self.text(self.class(&name), &value, depth);
        // A number may be a name: `?%2B15550100=1`.
        let Some(treated) = self.numbers(&name) else {
            return fate.map(|text| [&pair[..=equals], &encoded(&text)].concat());
        };
        let value = match fate {
            Fate::Stays => pair[equals + 1..].to_vec(),
            Fate::Becomes(text) => encoded(&text),
            Fate::Goes => return Fate::Goes,
        };
        match treated.trim().is_empty() {
            true => Fate::Goes,
            false => Fate::Becomes([&encoded(&treated)[..], b"=", &value].concat()),
        }
    }

    /// A body of JSON; `None` if it stays as it is. A body that is not JSON is treated as one text.
    pub(super) fn json_body(&self, body: &[u8]) -> Option<String> {
        let fate = match serde_json::from_slice::<&RawValue>(body) {
            Ok(json) => self.json(json, None, 0),
            Err(_) => self.unreadable(&String::from_utf8_lossy(body)).map(|text| quoted(&text)),
        };
        match fate {
            Fate::Stays => None,
            Fate::Becomes(json) => Some(json),
            Fate::Goes => Some("null".to_owned()),
        }
    }

    /// A value of JSON, in something of this class.
    fn json(&self, json: &RawValue, class: Option<Class>, depth: usize) -> Fate<String> {
        let raw = json.get();
        match raw.as_bytes().first() {
            Some(b'"') => match serde_json::from_str::<String>(raw) {
                Ok(text) => self.text(class, &text, depth).map(|text| quoted(&text)),
                Err(_) => self.unreadable(raw).map(|text| quoted(&text)),
            },
            Some(b'{' | b'[') if depth >= DEEPEST => self.unreadable(raw).map(|text| quoted(&text)),
            Some(b'{') => match serde_json::from_str::<Members<'_>>(raw) {
                Ok(Members(members)) => self.members(members, class, depth + 1),
                Err(_) => self.unreadable(raw).map(|text| quoted(&text)),
            },
            Some(b'[') => {
                let elements: Vec<&RawValue> = serde_json::from_str(raw).unwrap_or_default();
                let part = |json: &RawValue| self.json(json, class, depth + 1);
                joined(elements.iter().map(|json| (String::new(), json.get(), part(json))), "[]")
            }
            Some(b'-' | b'0'..=b'9') if class.is_some() => {
                self.text(class, raw, depth).map(|text| quoted(&text))
            }
            _ => Fate::Stays,
        }
    }

    fn members<'j>(
        &self,
        members: Vec<(String, &'j RawValue)>,
        class: Option<Class>,
        depth: usize,
    ) -> Fate<String> {
        let part = |(name, json): (String, &'j RawValue)| {
            let fate = self.json(json, self.class(&name).or(class), depth);
            let Some(treated) = self.numbers(&name) else {
                return (format!("{}:", quoted(&name)), json.get(), fate);
            };
            // A number as a name goes with what it names, if it goes.
            let fate = match fate {
                _ if treated.trim().is_empty() => Fate::Goes,
                Fate::Stays => Fate::Becomes(json.get().to_owned()),
                other => other,
            };
            (format!("{}:", quoted(&treated)), json.get(), fate)
        };
        joined(members.into_iter().map(part), "{}")
    }

    /// A text of this class. One without is looked into: it may be JSON, or a URL with a query, or
    /// an address, or have numbers in it.
    fn text(&self, class: Option<Class>, value: &str, depth: usize) -> Fate<String> {
        if value.trim().is_empty() {
            return Fate::Stays;
        }
        if let Some(class) = class {
            return match self.treatment(class) {
                Treatment::Plain => Fate::Stays,
                _ => becomes(self.treated(class, value)),
            };
        }
        let start = value.trim_start_matches(is_invisible);
        if start.starts_with(['{', '[', '"']) {
            match serde_json::from_str::<&RawValue>(start) {
                Ok(json) => return self.json(json, None, depth + 1),
                // Cut off, perhaps. Words in quotation marks are no JSON.
                Err(_) if is_like_json(start) => return self.unreadable(value),
                Err(_) => {}
            }
        }
        if address::channel(value).is_some() {
            return self.text(Some(Class::Numbers), value, depth);
        }
        self.url(value, depth).unwrap_or_else(|| self.numbers(value).map_or(Fate::Stays, becomes))
    }

    /// A URL with a query, and perhaps words around it, or a form; `None` if it is neither.
    fn url(&self, value: &str, depth: usize) -> Option<Fate<String>> {
        let (place, query) = self.query(value)?;
        if depth >= DEEPEST {
            return Some(self.unreadable(value));
        }
        let form = self.form(query.as_bytes(), depth + 1);
        let form = form.map(|form| format!("{place}{}", String::from_utf8_lossy(&form)));
        // In the words behind it a plus is a plus, and not a blank as in a query.
        let numbers = self.numbers(form.as_deref().unwrap_or(value));
        Some(numbers.or(form).map_or(Fate::Stays, Fate::Becomes))
    }

    /// A text that holds a query or a form: what stands before it, and the pairs.
    fn query<'v>(&self, value: &'v str) -> Option<(&'v str, &'v str)> {
        let (place, query) = value.split_at(value.find('?').map_or(0, |at| at + 1));
        if !place.is_empty() && place.contains("://") {
            return Some((place, query));
        }
        // Words may have a question mark and an equals sign in them: it is one if it names something
        // that is treated.
        let named = form_urlencoded::parse(query.as_bytes()).any(|(name, value)| {
            !value.is_empty()
                && self.class(&name).is_some_and(|class| self.treatment(class) != Treatment::Plain)
        });
        (query.contains('=') && named).then_some((place, query))
    }

    /// A text with its numbers treated; `None` if it has none.
    fn numbers(&self, value: &str) -> Option<String> {
        if self.treatment(Class::Numbers) == Treatment::Plain {
            return None;
        }
        address::replace_numbers(value, |number| self.treated(Class::Numbers, number))
    }

    /// What cannot be looked into may hold anything.
    fn unreadable(&self, value: &str) -> Fate<String> {
        becomes(self.treat(self.strictest(), value).into_owned())
    }
}

/// An object or an array of these parts: what stands before each, as it was, and what becomes of it.
fn joined<'j>(
    parts: impl Iterator<Item = (String, &'j str, Fate<String>)>,
    brackets: &str,
) -> Fate<String> {
    let parts: Vec<_> = parts.collect();
    if parts.iter().all(|(_, _, fate)| fate.stays()) {
        return Fate::Stays;
    }
    let left = parts.into_iter().filter_map(|(name, was, fate)| match fate {
        Fate::Stays => Some(name + was),
        Fate::Becomes(json) => Some(name + &json),
        Fate::Goes => None,
    });
    let (open, close) = brackets.split_at(1);
    Fate::Becomes(format!("{open}{}{close}", left.collect::<Vec<_>>().join(",")))
}

/// Whether a pair of a form has no name but the start of a text of JSON that an `=` or `&` cut off.
fn is_cut_json(pair: &[u8]) -> bool {
    let Some((name, _)) = form_urlencoded::parse(pair).next() else { return false };
    let cut = || serde_json::from_str::<&RawValue>(name.trim_start_matches(is_invisible)).is_err();
    is_like_json(&name) && cut()
}

/// A value of a form.
fn encoded(text: &str) -> Vec<u8> {
    form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().into_bytes()
}

/// A text of JSON.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// The members of an object in their order, duplicates kept.
struct Members<'j>(Vec<(String, &'j RawValue)>);

impl<'j> Deserialize<'j> for Members<'j> {
    fn deserialize<D: Deserializer<'j>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'j> Visitor<'j> for InOrder {
            type Value = Members<'j>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'j>>(self, mut map: A) -> Result<Members<'j>, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}
