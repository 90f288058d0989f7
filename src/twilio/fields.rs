//! [`Fields`]: what a request or an element of JSON says, by the names that parameters have in a
//! form, and what the values of such parameters can be.

use std::borrow::Cow;

use serde_json::Value;

use super::params::{Params, printable};

/// Parameters by their names in a form, wherever they are: `MessageSid` is `messageSid` in a
/// CloudEvent.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fields<'a> {
    /// The fields of a form or a query.
    Form(&'a Params<'a>),
    /// The fields of a JSON object.
    Json(&'a Value),
}

impl<'a> Fields<'a> {
    /// The fields of the `data` of a CloudEvent. Those about calls repeat the callback's own parameters
    /// under `request.parameters`.
    pub(crate) fn of_cloud_data(data: &'a Value) -> Self {
        Self::Json(data.pointer("/request/parameters").unwrap_or(data))
    }

    /// The value of this name, if it is there and not blank.
    pub(crate) fn get(&self, name: &str) -> Option<Cow<'a, str>> {
        match self {
            Self::Form(params) => params.get(name),
            Self::Json(json) => {
                let (_, value) = json.as_object()?.iter().find(|(key, _)| same(key, name))?;
                text(value)
            }
        }
    }

    /// Whether one of these names is there, blank or not.
    pub(crate) fn has_any(&self, names: &[&str]) -> bool {
        match self {
            Self::Form(params) => names.iter().any(|name| params.has(name)),
            Self::Json(json) => json.as_object().is_some_and(|members| {
                members.keys().any(|key| names.iter().any(|name| same(key, name)))
            }),
        }
    }

    /// Every name and value that is not blank, in the order in which they were sent.
    pub(crate) fn all(&self) -> Vec<(Cow<'a, str>, Cow<'a, str>)> {
        match self {
            Self::Form(params) => {
                let pairs = params.iter().filter(|(_, value)| !value.is_empty());
                pairs.map(|(name, value)| (printable(name), printable(value))).collect()
            }
            Self::Json(json) => {
                let members = json.as_object().into_iter().flatten();
                let member = |(name, value): (&'a String, &'a Value)| {
                    Some((Cow::Borrowed(name.as_str()), text(value)?))
                };
                members.filter_map(member).collect()
            }
        }
    }

    /// A value that can be part of a key.
    pub(crate) fn word(&self, name: &str) -> Option<String> {
        self.get(name).filter(|text| is_word(text)).map(Cow::into_owned)
    }

    /// A status in the spelling of callbacks.
    pub(crate) fn status(&self, name: &str) -> Option<String> {
        status_of(&self.get(name)?)
    }

    /// A whole number.
    pub(crate) fn integer(&self, name: &str) -> Option<i64> {
        self.get(name)?.parse().ok()
    }

    /// Twilio's `ErrorCode`, if it says one; 0 says that there was no error.
    pub(crate) fn error_code(&self) -> Option<Cow<'a, str>> {
        self.get("ErrorCode").filter(|code| code != "0")
    }
}

/// Whether a member of JSON has this name of a parameter.
fn same(key: &str, name: &str) -> bool {
    let key = key.bytes().filter(|&byte| byte != b'_').map(|byte| byte.to_ascii_lowercase());
    key.eq(name.bytes().map(|byte| byte.to_ascii_lowercase()))
}

fn text(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) if text.is_empty() => None,
        Value::String(text) => Some(printable(text.as_bytes())),
        Value::Number(number) => Some(number.to_string().into()),
        _ => None,
    }
}

/// A status in the spelling of callbacks: Event Streams writes `NO_ANSWER` for `no-answer`.
/// What has lower-case letters, `machine_end_beep`, stays as it is.
pub(crate) fn status_of(text: &str) -> Option<String> {
    if !is_word(text) {
        return None;
    }
    let shouted = !text.bytes().any(|byte| byte.is_ascii_lowercase());
    Some(if shouted { text.to_ascii_lowercase().replace('_', "-") } else { text.to_owned() })
}

/// Whether it can be part of a key: letters, digits and `-_.`, and not long.
pub(crate) fn is_word(text: &str) -> bool {
    /// SIDs have 34 characters, the longest status 28.
    const MAX: usize = 64;
    let ok = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    !text.is_empty() && text.len() <= MAX && text.bytes().all(ok)
}

/// Whether it is a SID of Twilio's: two capital letters and 32 hexadecimal digits.
pub(crate) fn is_sid(text: &[u8]) -> bool {
    let Some((prefix, digits)) = text.split_at_checked(2) else { return false };
    prefix.iter().all(u8::is_ascii_uppercase)
        && digits.len() == 32
        && digits.iter().all(u8::is_ascii_hexdigit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_has_one_name_in_forms_and_in_json() {
        let json = serde_json::json!({ "messageSid": "SM1", "error_code": 30003, "to": "" });
        let fields = Fields::Json(&json);
        assert_eq!(fields.get("MessageSid").as_deref(), Some("SM1"));
        assert_eq!(fields.error_code().as_deref(), Some("30003"));
        assert_eq!(fields.get("To"), None);
        assert!(fields.has_any(&["From", "To"]) && !fields.has_any(&["From"]));
        assert_eq!(fields.all().len(), 2);
    }

    #[test]
    fn a_sid_is_two_letters_and_32_digits() {
        let digits = "0123456789abcdefABCDEF0123456789";
        for (text, expected) in [
            (format!("CA{digits}"), true),
            (format!("ZZ{digits}"), true),
            (format!("ca{digits}"), false),
            (format!("CA{digits}0"), false),
            (format!("CA{}g", &digits[1..]), false),
            ("CA1".to_owned(), false),
            ("é".to_owned(), false),
            (String::new(), false),
        ] {
            assert_eq!(is_sid(text.as_bytes()), expected, "{text}");
        }
    }
}
