//! [`read`]: JSON as far as it can be read. What is wrong with one value costs that value, and not
//! all others: half a surrogate becomes U+FFFD, and a number beyond bounds, or what is nested too
//! deep, becomes its text.

use std::borrow::Cow;

use serde_json::Value;

/// The greatest depth: what serde_json reads, with a margin.
const DEEPEST: usize = 100;

/// Reads JSON; `None` if it is not even that.
pub(crate) fn read(json: &[u8]) -> Option<Value> {
    serde_json::from_slice(json).ok().or_else(|| serde_json::from_str(&readable(json)).ok())
}

/// The same JSON with what cannot be read replaced. What is not JSON stays that.
pub(crate) fn readable(json: &[u8]) -> String {
    let text = String::from_utf8_lossy(json);
    let mut written = String::with_capacity(text.len());
    let mut depth = 0;
    let mut rest = &*text;
    while let Some(first) = rest.bytes().next() {
        let length = match first {
            b'"' => string_length(rest),
            b'-' | b'0'..=b'9' => number_length(rest),
            b'{' | b'[' if depth == DEEPEST => nested_length(rest),
            b'{' | b'[' => {
                depth += 1;
                1
            }
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                1
            }
            _ => rest.chars().next().map_or(1, char::len_utf8),
        };
        let (token, after) = rest.split_at(length);
        match first {
            b'"' => written.push_str(&whole_characters(token)),
            b'-' | b'0'..=b'9' if token.parse().is_ok_and(f64::is_infinite) => {
                written.push_str(&quoted(token));
            }
            b'{' | b'[' if length > 1 => written.push_str(&quoted(token)),
            _ => written.push_str(token),
        }
        rest = after;
    }
    written
}

/// A text of JSON.
fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// Up to the quotation mark that ends the string, which is included; all if none does.
fn string_length(text: &str) -> usize {
    let mut escaped = true;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            // The first one opens it.
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

fn number_length(text: &str) -> usize {
    let part = |byte: u8| byte.is_ascii_digit() || b"+-.eE".contains(&byte);
    text.bytes().position(|byte| !part(byte)).unwrap_or(text.len())
}

/// Up to the bracket that closes the first one; all if none does.
fn nested_length(text: &str) -> usize {
    let (mut at, mut depth) = (0, 0_usize);
    while at < text.len() {
        match text.as_bytes()[at] {
            b'"' => at += string_length(&text[at..]),
            b'{' | b'[' => {
                depth += 1;
                at += 1;
            }
            b'}' | b']' => {
                depth -= 1;
                at += 1;
                if depth == 0 {
                    return at;
                }
            }
            _ => at += 1,
        }
    }
    text.len()
}

/// A string whose halves of characters are U+FFFD, and whose control characters are escaped.
fn whole_characters(string: &str) -> Cow<'_, str> {
    let plain = |byte: u8| byte != b'\\' && !byte.is_ascii_control();
    if string.bytes().all(plain) {
        return Cow::Borrowed(string);
    }
    let mut written = String::with_capacity(string.len());
    let mut rest = string;
    while let Some(first) = rest.chars().next() {
        let length = match (first, unit(rest)) {
            ('\\', Some(0xD800..=0xDBFF)) if matches!(unit(&rest[6..]), Some(0xDC00..=0xDFFF)) => {
                written.push_str(&rest[..12]);
                12
            }
            ('\\', Some(0xD800..=0xDFFF)) => {
                written.push('\u{FFFD}');
                6
            }
            ('\\', _) => {
                // The escape, and what it escapes.
                let escaped = rest[1..].chars().next().map_or(0, char::len_utf8);
                written.push_str(&rest[..=escaped]);
                1 + escaped
            }
            (control, _) if control.is_ascii_control() => {
                written.push_str(&format!("\\u{:04x}", u32::from(control)));
                1
            }
            (other, _) => {
                written.push(other);
                other.len_utf8()
            }
        };
        rest = &rest[length..];
    }
    Cow::Owned(written)
}

/// The UTF-16 unit that is escaped at the start of a text: `\uD83D`.
fn unit(text: &str) -> Option<u16> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    let hexadecimal = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    hexadecimal.then(|| u16::from_str_radix(digits, 16).ok())?
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn check(text: &str, expected: Value) {
        assert_eq!(read(text.as_bytes()), Some(expected), "{text}");
    }

    #[test]
    fn one_bad_value_costs_that_value_alone() {
        check(r#"{"a":"cut \ud83d","b":1}"#, json!({ "a": "cut \u{FFFD}", "b": 1 }));
        check(r#"{"a":"\ude00\ud83d","b":1}"#, json!({ "a": "\u{FFFD}\u{FFFD}", "b": 1 }));
        check(r#"{"a":"\ud83d\ud83d\ude00"}"#, json!({ "a": "\u{FFFD}😀" }));
        check(r#"{"\ud83d":"\\ud83d \" \ud83d"}"#, json!({ "\u{FFFD}": "\\ud83d \" \u{FFFD}" }));
        check(r#"[1e999,-1E+400,1e2]"#, json!(["1e999", "-1E+400", 1e2]));
        check("[\"a\tb\u{1}\",\"\\ud800\"]", json!(["a\tb\u{1}", "\u{FFFD}"]));
        let invalid = read(b"{\"a\":\"\xff\xf0\",\"b\":1}").expect("the rest is JSON");
        assert_eq!(invalid["b"], 1);
        let deep = format!("{}\"}}]\"{}", "[".repeat(5000), "]".repeat(5000));
        let value = read(format!(r#"{{"deep":{deep},"b":1}}"#).as_bytes()).expect("JSON");
        assert_eq!(value["b"], 1);
    }

    #[test]
    fn what_is_not_json_stays_that() {
        for text in ["", "{", "nope", "{\"a\":", "\"", "\\", "\"\\", "[}", "-", "1e", "\u{FFFD}"] {
            assert_eq!(read(text.as_bytes()), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_not_and_good_json_is_as_it_was(text in "[\\[\\]{}\",:\\\\ud8e1-]{0,40}") {
            let strict: Option<Value> = serde_json::from_str(&text).ok();
            if let Some(strict) = strict {
                prop_assert_eq!(&read(text.as_bytes()), &Some(strict.clone()));
                prop_assert_eq!(serde_json::from_str::<Value>(&readable(text.as_bytes())).ok(), Some(strict));
            }
            let _ = read(text.as_bytes());
        }
    }
}
