//! [`Details`]: what a store keeps of an event besides its header: the parameters as JSON, and
//! the row of `statuses` that the event alone would make.
//!
//! Taken from the body when the event is stored, not when it is received: the receiver
//! only needs the key.

use std::borrow::Cow;

use serde::{Serialize, Serializer as _};
use serde_json::Value;

use super::params::{Params, printable, start_of};
use crate::event::status::LatestError;
use crate::event::{Current, Event, Format};

/// What a store keeps of an event besides its header.
#[derive(Clone, Debug)]
pub struct Details {
    /// The parameters as a JSON object, or the CloudEvent; `null` for a body that is not JSON
    /// though it was sent as such. Holds no NUL and no lone surrogate, which `jsonb` refuses:
    /// U+FFFD stands for them, and the body itself is kept beside it.
    pub params: String,
    /// The row that the event alone would make; `None` if it moves no status.
    pub current: Option<Current>,
}

impl Details {
    /// Reads an event's body.
    #[must_use]
    pub fn of(event: &Event) -> Self {
        match event.format {
            Format::Form => {
                let params = Params::parse(&event.body);
                Self { current: current(event, &Fields::Form(&params)), params: to_json(&params) }
            }
            Format::Json => {
                let json = serde_json::from_slice(&event.body).unwrap_or(Value::Null);
                let current = current(event, &Fields::of_cloud_data(&json["data"]));
                Self { current, params: without_nul(json).to_string() }
            }
        }
    }
}

fn current(event: &Event, fields: &Fields<'_>) -> Option<Current> {
    let (resource, sid, position) = (event.resource?, event.sid.clone()?, event.position()?);
    let text = |name: &str| fields.get(name).map(Cow::into_owned);
    let number = |name: &str| fields.get(name)?.parse::<i64>().ok();
    let error = text("ErrorCode").filter(|code| code != "0");
    Some(Current {
        sid,
        resource,
        account: event.account.clone(),
        from: text("From"),
        to: text("To"),
        duration: number("CallDuration").or_else(|| number("RecordingDuration")),
        error: error.map(|code| LatestError { position: position.clone(), code }),
        terminals: Current::terminal_bit(resource, &position.status),
        position,
        first_seen: event.received_at,
        updated: event.received_at,
    })
}

/// Parameters by their names in a form, wherever they are: `MessageSid` is `messageSid` in a
/// CloudEvent.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fields<'a> {
    Form(&'a Params<'a>),
    Json(&'a Value),
}

impl<'a> Fields<'a> {
    /// Of the `data` of a CloudEvent. Those about calls repeat the callback's own parameters
    /// under `request.parameters`.
    pub(crate) fn of_cloud_data(data: &'a Value) -> Self {
        Self::Json(data.pointer("/request/parameters").unwrap_or(data))
    }

    /// The value of this name, if it is there and not blank.
    pub(crate) fn get(&self, name: &str) -> Option<Cow<'a, str>> {
        match self {
            Self::Form(params) => params.get(name),
            Self::Json(json) => {
                let same = |key: &str| {
                    let key = key.chars().filter(|&c| c != '_');
                    key.map(|c| c.to_ascii_lowercase())
                        .eq(name.chars().map(|c| c.to_ascii_lowercase()))
                };
                let (_, value) = json.as_object()?.iter().find(|(key, _)| same(key))?;
                match value {
                    Value::String(text) if text.is_empty() => None,
                    Value::String(text) => Some(printable(text.as_bytes())),
                    Value::Number(number) => Some(number.to_string().into()),
                    _ => None,
                }
            }
        }
    }
}

/// One value as a string, several of one name as an array in the order in which they were sent.
#[derive(Serialize)]
#[serde(untagged)]
enum OneOrMany<'a> {
    One(&'a str),
    Many(Vec<&'a str>),
}

/// An object with its names sorted.
fn to_json(params: &Params<'_>) -> String {
    let mut pairs: Vec<(Cow<'_, str>, Cow<'_, str>)> =
        params.iter().map(|(name, value)| (printable(name), printable(value))).collect();
    // Stable, so that the values of one name keep their order.
    pairs.sort_by(|(a, _), (b, _)| {
        start_of(a.as_bytes()).cmp(&start_of(b.as_bytes())).then_with(|| a.cmp(b))
    });
    let object = pairs.chunk_by(|(a, _), (b, _)| a == b).map(|same| match same {
        [(name, value)] => (name, OneOrMany::One(value)),
        _ => (&same[0].0, OneOrMany::Many(same.iter().map(|(_, value)| &**value).collect())),
    });
    let mut json = Vec::new();
    serde_json::Serializer::new(&mut json)
        .collect_map(object)
        .expect("strings always serialize, and a Vec takes them");
    String::from_utf8(json).expect("JSON is UTF-8")
}

fn without_nul(json: Value) -> Value {
    let clean = |text: String| match text.contains('\0') {
        true => text.replace('\0', "\u{FFFD}"),
        false => text,
    };
    match json {
        Value::String(text) => Value::String(clean(text)),
        Value::Array(values) => Value::Array(values.into_iter().map(without_nul).collect()),
        Value::Object(map) => Value::Object(
            map.into_iter().map(|(name, value)| (clean(name), without_nul(value))).collect(),
        ),
        other => other,
    }
}
