//! [`Parameter`]: one of the application's own, as a callback URL carries it.

use std::fmt::Write as _;
use std::str::FromStr;

use crate::event::own::RESERVED;

/// Twilio puts this one there.
const BODY_HASH: &str = "bodySHA256";
/// A callback URL has to fit into the head of a request, with room to spare.
const LONGEST_QUERY: usize = 4096;

/// One of them, as it was given: `order_id=A-1`.
#[derive(Clone, Debug)]
pub(super) struct Parameter {
    pub(super) name: String,
    pub(super) value: String,
}

impl FromStr for Parameter {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, value) =
            text.split_once('=').ok_or("it must be NAME=VALUE, such as order_id=A-1")?;
        if name.is_empty() {
            return Err("the name before `=` is empty");
        }
        if name.starts_with(RESERVED) {
            return Err("names that begin with `offhook_` are reserved: choose another name");
        }
        if name == BODY_HASH {
            return Err("`bodySHA256` is Twilio's own: choose another name");
        }
        Ok(Self { name: name.to_owned(), value: value.to_owned() })
    }
}

/// The query that carries them; empty if there are none.
///
/// Every character that some encoder escapes and another does not is escaped, so that nothing on the way has a
/// reason to write it differently: Twilio signs what it requests. Sorted, so that the same parameters make the
/// same URL.
pub(super) fn query(own: &[Parameter]) -> anyhow::Result<String> {
    if own.is_empty() {
        return Ok(String::new());
    }
    let pair = |own: &Parameter| format!("{}={}", encode(&own.name), encode(&own.value));
    let mut pairs: Vec<String> = own.iter().map(pair).collect();
    pairs.sort();
    let query = format!("?{}", pairs.join("&"));
    anyhow::ensure!(
        query.len() <= LONGEST_QUERY,
        "the parameters take {} bytes of the URL, at most {LONGEST_QUERY} are allowed: pass an id, and look the rest up \
         by it",
        query.len()
    );
    Ok(query)
}

/// Leaves letters, digits and `-._~`, which RFC 3986 calls unreserved.
fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            write!(encoded, "%{byte:02X}").expect("a string takes what is written");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::twilio::params::Params;

    fn own(texts: &[&str]) -> Vec<Parameter> {
        texts.iter().map(|text| text.parse().expect("a parameter")).collect()
    }

    #[test]
    fn parameters_are_sorted_and_encoded() {
        let check = |texts: &[&str], expected: &str| {
            assert_eq!(query(&own(texts)).expect("short"), expected);
        };
        check(&[], "");
        check(&["tenant=7", "order_id=A-1"], "?order_id=A-1&tenant=7");
        check(&["note=it's: a+b @ ü (*)"], "?note=it%27s%3A%20a%2Bb%20%40%20%C3%BC%20%28%2A%29");
        check(&["q=a=b&c#d", "empty="], "?empty=&q=a%3Db%26c%23d");
    }

    #[test]
    fn what_is_encoded_is_read_back() {
        let texts = ["note=it's: a+b @ ü (*) #1 50%", "order_id=A/1002"];
        let query = query(&own(&texts)).expect("short");
        let params = Params::parse(query.trim_start_matches('?').as_bytes());
        assert_eq!(params.get("note").as_deref(), Some("it's: a+b @ ü (*) #1 50%"));
        assert_eq!(params.get("order_id").as_deref(), Some("A/1002"));
    }

    #[test]
    fn names_of_others_are_refused() {
        for (text, part) in [
            ("order_id", "NAME=VALUE"),
            ("=1", "empty"),
            ("offhook_forward=1", "reserved"),
            ("bodySHA256=1", "Twilio"),
        ] {
            let error = text.parse::<Parameter>().expect_err(text);
            assert!(error.contains(part), "{text}: {error}");
        }
        let long = format!("note={}", "x".repeat(LONGEST_QUERY));
        let error = query(&own(&[&long])).expect_err("too long").to_string();
        assert!(error.contains("4096"), "{error}");
    }
}
