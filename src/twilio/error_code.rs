//! Twilio's `ErrorCode` as a metric label: a closed set, though Twilio adds codes at will.
//!
//! <https://www.twilio.com/docs/api/errors> has them all, with what each means.

use super::fields::Fields;
use super::json;
use super::params::Params;
use crate::event::{Event, Format, Resource};

/// Codes that carriers, channels and Twilio report about messages once it has accepted them.
const MESSAGE: [&str; 42] = [
    "21610", "30001", "30002", "30003", "30004", "30005", "30006", "30007", "30008", "30009",
    "30010", "30017", "30018", "30019", "30022", "30023", "30024", "30032", "30033", "30034",
    "30035", "30036", "30038", "30039", "30044", "30450", "30453", "30500", "63001", "63003",
    "63005", "63007", "63012", "63013", "63016", "63018", "63020", "63021", "63024", "63032",
    "63036", "63049",
];
/// Codes about calls.
const CALL: [&str; 7] = ["13214", "13223", "13224", "13225", "13227", "32009", "32016"];

/// Of a failure whose code is not among those that have a label of their own.
pub const OTHER: &str = "other";
/// Of a failure about which Twilio says no code.
pub const NONE: &str = "none";

/// The labels that failures of this resource can have, [`OTHER`] and [`NONE`] aside.
#[must_use]
pub fn known(resource: Resource) -> &'static [&'static str] {
    match resource {
        Resource::Call => &CALL,
        Resource::Message => &MESSAGE,
        Resource::Recording | Resource::Conference | Resource::Transcription => &[],
    }
}

/// The label of an event that reports a failure.
#[must_use]
pub fn label(event: &Event, resource: Resource) -> &'static str {
    let Some(code) = code(event) else { return NONE };
    known(resource).iter().find(|known| **known == code).copied().unwrap_or(OTHER)
}

/// The code that an event reports; `None` if it reports none, or 0.
#[must_use]
pub fn code(event: &Event) -> Option<String> {
    match event.format {
        Format::Form => {
            let params = Params::parse(&event.body);
            Fields::Form(&params).error_code().map(|code| code.into_owned())
        }
        Format::Json => {
            let json = json::read(&event.body)?;
            Fields::of_cloud_data(&json["data"]).error_code().map(|code| code.into_owned())
        }
    }
}

/// The code that an event reports, wherever its kind has it: for all who show one. The debugger's is in the JSON
/// of a parameter.
#[must_use]
pub fn of(event: &Event) -> Option<String> {
    let payload = || {
        let params = (event.format == Format::Form).then(|| Params::parse(&event.body))?;
        let payload: serde_json::Value = serde_json::from_str(&params.get("Payload")?).ok()?;
        match payload.get("error_code")? {
            serde_json::Value::String(code) => Some(code.clone()),
            serde_json::Value::Number(code) => Some(code.to_string()),
            _ => None,
        }
    };
    code(event).or_else(payload).filter(|code| !code.is_empty() && code != "0")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{EventKey, Kind};

    fn check(format: Format, body: &str, expected: &str) {
        let key = EventKey::of(&["SM1", "undelivered"]).expect("printable");
        let event = Event {
            sid: Some("SM1".to_owned()),
            resource: Some(Resource::Message),
            status: Some("undelivered".to_owned()),
            format,
            body: body.to_owned().into(),
            ..Event::new(key, Kind::Message, "AC1")
        };
        assert_eq!(label(&event, Resource::Message), expected, "{body}");
    }

    #[test]
    fn a_code_that_is_known_is_its_own_label_and_every_other_is_other() {
        check(Format::Form, "MessageSid=SM1&ErrorCode=30003", "30003");
        check(Format::Form, "ErrorCode=99999", OTHER);
        check(Format::Form, "ErrorCode=%00", OTHER);
        check(Format::Form, "MessageSid=SM1", NONE);
        check(Format::Form, "ErrorCode=&MessageSid=SM1", NONE);
        check(Format::Form, "ErrorCode=0", NONE);
        check(Format::Json, r#"{"data":{"errorCode":30007}}"#, "30007");
        check(Format::Json, r#"{"data":{"errorCode":"1"}}"#, OTHER);
        check(Format::Json, "no JSON", NONE);
    }

    #[test]
    fn no_label_is_there_twice() {
        for resource in Resource::ALL {
            let mut labels = known(resource).to_vec();
            labels.extend([OTHER, NONE]);
            labels.sort_unstable();
            assert!(labels.windows(2).all(|pair| pair[0] < pair[1]), "{labels:?}");
        }
    }
}
