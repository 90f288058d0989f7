//! [`EventDetails`]: what a store keeps of an event besides its header: the parameters as JSON, and
//! the row of `statuses` that the event alone would make.
//!
//! Taken from the body when the event is stored, not when it is received: the receiver
//! only needs the key.

use std::borrow::Cow;

use serde::{Serialize, Serializer as _};
use serde_json::Value;

use super::address::kept;
use super::fields::Fields;
use super::json;
use super::params::{Params, printable, start_of};
use crate::event::own::RESERVED;
use crate::event::status::{LatestError, Lifecycle};
use crate::event::{CurrentStatus, Event, Format, Kind, LatestOwn, Method, Own, Resource};
use crate::sendgrid::kind as email;

/// What a store keeps of an event besides its header.
#[derive(Clone, Debug)]
pub struct EventDetails {
    /// The parameters as a JSON object, or the CloudEvent; `null` for a body that is not JSON
    /// though it was sent as such. Holds no NUL and no lone surrogate, which `jsonb` refuses:
    /// U+FFFD stands for them, and the body itself is kept beside it.
    pub params: String,
    /// The call that it names besides its own SID: whose recording it is, whose participant.
    pub call_sid: Option<String>,
    /// Twilio's `ErrorCode`, if it reports one.
    pub error_code: Option<String>,
    /// The parameters that the application put into the callback URL.
    pub own: Option<Own>,
    /// The row that the event alone would make; `None` if it moves no status.
    pub current: Option<CurrentStatus>,
}

impl EventDetails {
    /// Reads an event's body.
    #[must_use]
    pub fn of(event: &Event) -> Self {
        match event.format {
            Format::Form => {
                let params = Params::parse(&event.body);
                Self::from(event, &Fields::Form(&params), to_json(&params, |_| true))
            }
            Format::Json => {
                let json = json::read(&event.body).unwrap_or(Value::Null);
                if event.kind == Kind::Email {
                    return Self::of_email(event, json);
                }
                let fields = Fields::of_cloud_data(&json["data"]);
                // A copy, because the row needs it too.
                Self::from(event, &fields, without_nul(json.clone()).to_string())
            }
        }
    }

    /// Of what SendGrid reports. Who the recipient is has one writing, so that a search finds every mail of an address.
    fn of_email(event: &Event, object: Value) -> Self {
        let error_code = email::error(&object);
        let to = Fields::Json(&object).get("email").map(|address| address.trim().to_lowercase());
        let to = to.filter(|address| !address.is_empty());
        let to = to.map(|address| kept(&address).into_owned());
        let current = event.resource.zip(event.sid.clone()).zip(event.position());
        let current = current.map(|((resource, sid), position)| CurrentStatus {
            sid,
            resource,
            account: event.account.clone(),
            from: None,
            to,
            direction: Some("outbound".to_owned()),
            duration: None,
            error: error_code.clone().map(|code| LatestError { position: position.clone(), code }),
            own: None,
            terminals: CurrentStatus::terminal_bit(resource, &position.status),
            position,
            first_seen: event.received_at,
            updated: event.received_at,
        });
        let params = without_nul(object).to_string();
        Self { params, call_sid: None, error_code, own: own(event), current }
    }

    fn from(event: &Event, fields: &Fields<'_>, params: String) -> Self {
        let call_sid = fields.word("CallSid").filter(|call| event.sid.as_ref() != Some(call));
        let error_code = fields.error_code().map(Cow::into_owned);
        let own = own(event);
        let current = current(event, fields, error_code.as_deref(), own.as_ref());
        Self { params, call_sid, error_code, own, current }
    }
}

/// What the application put into the callback URL. The query of a GET has Twilio's parameters too, all of which begin
/// with a capital letter. `bodySHA256` is Twilio's as well: it comes with JSON.
/// <https://www.twilio.com/docs/usage/security>
fn own(event: &Event) -> Option<Own> {
    let is_get = event.request.as_ref().is_some_and(|request| request.method == Method::Get);
    let query = if is_get { &event.body[..] } else { event.query.as_bytes() };
    if query.is_empty() {
        return None;
    }
    let is_twilios = |name: &str| {
        name == "bodySHA256"
            || (is_get && name.starts_with(|letter: char| letter.is_ascii_uppercase()))
    };
    let is_own = |name: &str| !(name.is_empty() || name.starts_with(RESERVED) || is_twilios(name));
    let params = Params::parse(query);
    Own::written(to_json(&params, is_own))
}

fn current(
    event: &Event,
    fields: &Fields<'_>,
    error_code: Option<&str>,
    own: Option<&Own>,
) -> Option<CurrentStatus> {
    let (resource, sid, position) = (event.resource?, event.sid.clone()?, event.position()?);
    let end = |name: &str| fields.get(name).map(|address| kept(&address).into_owned());
    // Each only where it is the resource's own: the action of a `<Record>` says how long the recording
    // took, and not the call.
    let duration = match resource {
        Resource::Call => fields.integer("CallDuration"),
        Resource::Recording => fields.integer("RecordingDuration"),
        Resource::Message | Resource::Conference | Resource::Transcription | Resource::Email => {
            None
        }
    };
    Some(CurrentStatus {
        sid,
        resource,
        account: event.account.clone(),
        from: end("From"),
        to: end("To"),
        direction: direction(resource, &position.status, fields),
        duration,
        error: error_code
            .map(|code| LatestError { position: position.clone(), code: code.to_owned() }),
        own: own.map(|own| LatestOwn::at(&position, own.clone())),
        terminals: CurrentStatus::terminal_bit(resource, &position.status),
        position,
        first_seen: event.received_at,
        updated: event.received_at,
    })
}

/// Which way it went. Calls say so. Of messages, a callback does not: what was received came in, and all else that is
/// known happens to what goes out.
fn direction(resource: Resource, status: &str, fields: &Fields<'_>) -> Option<String> {
    let said = || fields.status("Direction");
    match (resource, status) {
        (Resource::Call, _) => said(),
        (Resource::Message, "receiving" | "received") => said().or(Some("inbound".to_owned())),
        (Resource::Message, status) if resource.rank(status) > Lifecycle::UNKNOWN => {
            said().or(Some("outbound".to_owned()))
        }
        (Resource::Message, _) => said(),
        (
            Resource::Recording | Resource::Conference | Resource::Transcription | Resource::Email,
            _,
        ) => None,
    }
}

/// One value as a string, several of one name as an array in the order in which they were sent.
#[derive(Serialize)]
#[serde(untagged)]
enum OneOrMany<'a> {
    One(&'a str),
    Many(Vec<&'a str>),
}

/// An object of the parameters of these names, sorted.
fn to_json(params: &Params<'_>, is_wanted: impl Fn(&str) -> bool) -> String {
    let mut pairs: Vec<(Cow<'_, str>, Cow<'_, str>)> =
        params.iter().map(|(name, value)| (printable(name), printable(value))).collect();
    pairs.retain(|(name, _)| is_wanted(name));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_says_its_direction_and_a_message_has_that_of_its_status() {
        use Resource::{Call, Message, Recording};
        let check = |resource: Resource, status: &str, body: &str, expected: Option<&str>| {
            let params = Params::parse(body.as_bytes());
            let direction = direction(resource, status, &Fields::Form(&params));
            assert_eq!(direction.as_deref(), expected, "{status} {body}");
        };
        check(Call, "completed", "Direction=outbound-dial", Some("outbound-dial"));
        check(Call, "completed", "", None);
        check(Message, "delivered", "", Some("outbound"));
        check(Message, "undelivered", "Direction=outbound-api", Some("outbound-api"));
        check(Message, "received", "", Some("inbound"));
        check(Message, "unheard-of", "", None);
        check(Recording, "completed", "Direction=inbound", None);
    }
}
