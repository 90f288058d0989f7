//! [`Own`]: the application's own parameters, which it put into the query of the callback URL.

use super::Position;

/// Names that begin with this are offhook's own, and never the application's.
pub const RESERVED: &str = "offhook_";

/// Own parameters as a JSON object: names sorted; a repeated name has an array of its values.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Own(String);

impl Own {
    /// Reads the text of a JSON object, as a database may have written it: with spaces, and names in another order.
    #[must_use]
    pub fn parse(json: &str) -> Option<Self> {
        let object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(json).ok()?;
        (!object.is_empty()).then(|| Self(serde_json::Value::Object(object).to_string()))
    }

    /// Takes a JSON object that is written as [`Own::parse`] would write it. `None` if it is empty.
    pub(crate) fn written(json: String) -> Option<Self> {
        (json != "{}").then_some(Self(json))
    }

    /// The JSON text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The parameters as a JSON value.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::from_str(&self.0).unwrap_or(serde_json::Value::Null)
    }
}

/// The own parameters of the event of a SID that stands furthest along among those that have any.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct LatestOwn {
    /// The order of the parameters: the bytes of the event's [`Position`], and a hash of the parameters, so that a
    /// database and [`CurrentStatus::merge`](super::CurrentStatus::merge) agree of two that are at one place.
    pub order: Vec<u8>,
    /// The parameters.
    pub parameters: Own,
}

impl LatestOwn {
    /// The parameters of the event at this position.
    #[must_use]
    pub fn at(position: &Position, parameters: Own) -> Self {
        let mut hash = super::key::ContentHash::new(None);
        hash.piece(parameters.as_str().as_bytes());
        let mut order = position.to_bytes();
        order.extend_from_slice(&hash.finish()[..8]);
        Self { order, parameters }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_read_in_whatever_form_a_database_writes_it() {
        let own = Own::parse(r#"{"b": "2", "a": ["x", "y"]}"#).expect("an object");
        assert_eq!(own.as_str(), r#"{"a":["x","y"],"b":"2"}"#);
        for none in ["{}", "", "null", "[1]", "{"] {
            assert_eq!(Own::parse(none), None, "{none}");
        }
    }
}
