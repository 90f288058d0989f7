//! Twilio's error codes: where an event has its own ([`of`]), what the known ones mean, what follows from them, and
//! which have a label of their own in metrics, which must be a closed set although Twilio adds codes at will.
//!
//! <https://www.twilio.com/docs/api/errors> has all of them, with what to do.

use super::fields::Fields;
use super::json;
use super::params::Params;
use crate::event::{Event, Format, Kind, Resource};
use crate::sendgrid::kind as email;

/// What a sender does about an error.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Class {
    /// Too many requests at once: nothing was created, so ask again in a moment.
    Throttled,
    /// The account has used up what it may send in a day: nothing more gets through for a while.
    AccountStopped,
    /// Slow down: the sender's queue, or the carrier's lane, is full.
    TooFast,
    /// The sender must be fixed: until then nothing that it sends gets through.
    Sender,
    /// The account must be fixed: until then nothing that it sends gets through.
    Account,
    /// What answers Twilio must be fixed: a URL, or the TwiML behind it.
    Endpoint,
    /// Try again later: the recipient or the carrier may be back by then.
    Later,
    /// Never send there again: the recipient cannot be reached.
    Recipient,
    /// The recipient opted out: never send there again.
    OptedOut,
    /// Say something else: what was sent is not let through.
    Content,
    /// Twilio cannot tell whether it did what was asked.
    Unclear,
}

/// One code.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Known {
    /// The code, as Twilio writes it.
    pub code: &'static str,
    /// The resource whose failures have it as a label.
    label_of: Option<Resource>,
    /// What to do about it, where that is known.
    pub class: Option<Class>,
    /// The meaning in a few words.
    pub meaning: Option<&'static str>,
}

impl Known {
    const fn new(code: &'static str, class: Class, meaning: &'static str) -> Self {
        Self { code, label_of: None, class: Some(class), meaning: Some(meaning) }
    }

    /// Reported about calls.
    const fn call(code: &'static str, class: Class, meaning: &'static str) -> Self {
        Self { label_of: Some(Resource::Call), ..Self::new(code, class, meaning) }
    }

    /// Reported about messages that Twilio has accepted, by carriers, channels and Twilio itself.
    const fn message(code: &'static str, class: Class, meaning: &'static str) -> Self {
        Self { label_of: Some(Resource::Message), ..Self::new(code, class, meaning) }
    }

    /// Its class is known, and no more is said of it here.
    const fn classed(code: &'static str, class: Class) -> Self {
        Self { code, label_of: None, class: Some(class), meaning: None }
    }

    /// Seen often enough for a label, and no more is said of it here.
    const fn label(code: &'static str, resource: Resource) -> Self {
        Self { code, label_of: Some(resource), class: None, meaning: None }
    }
}

use Class::{
    Account, AccountStopped, Content, Endpoint, Later, OptedOut, Recipient, Sender, Throttled,
    TooFast, Unclear,
};
use Resource::{Call, Message};

/// The known errors, in the order of their codes.
const TABLE: [Known; 109] = [
    Known::new("10004", TooFast, "Too many calls at once"),
    Known::new("11200", Endpoint, "HTTP retrieval failure: your URL answered with an error"),
    Known::new("11205", Endpoint, "HTTP connection failure: your URL could not be reached"),
    Known::new("11210", Endpoint, "HTTP bad host name"),
    Known::new("11220", Endpoint, "TLS handshake error"),
    Known::new("11235", Endpoint, "TLS certificate not accepted"),
    Known::new("11236", Endpoint, "TLS certificate not accepted"),
    Known::new("11237", Endpoint, "TLS certificate not accepted"),
    Known::new("11750", Endpoint, "Response body too large"),
    Known::new("12100", Endpoint, "Document parse failure: the TwiML is no XML"),
    Known::new("12200", Endpoint, "Schema validation: the TwiML has something unknown"),
    Known::new("12300", Endpoint, "Invalid Content-Type"),
    Known::call("13214", Sender, "Dial: invalid caller ID"),
    Known::call("13223", Recipient, "Dial: invalid phone number format"),
    Known::call("13224", Recipient, "Dial: Twilio does not call this number, or it is invalid"),
    Known::call("13225", Recipient, "Dial: forbidden phone number"),
    Known::call("13227", Recipient, "Dial: no permission for this region"),
    Known::new("14107", TooFast, "Too many messages in a short time"),
    Known::new("15003", Endpoint, "Your answer to a status callback was not accepted"),
    Known::new("20003", Account, "Authentication failed: wrong SID, token or key"),
    Known::new("20005", Account, "The account is not active"),
    Known::new("20006", Account, "Access denied"),
    Known::new("20008", Account, "Test credentials cannot do this"),
    Known::new("20429", Throttled, "Too many requests"),
    Known::new("20500", Unclear, "Internal error at Twilio"),
    Known::new("21202", Recipient, "'To' is a premium number"),
    Known::new("21203", Recipient, "Calls abroad are not enabled"),
    Known::new("21205", Account, "Invalid URL"),
    Known::new("21210", Sender, "'From' is not a verified number"),
    Known::new("21211", Recipient, "Invalid 'To' number"),
    Known::new("21212", Sender, "Invalid 'From' number"),
    Known::new("21214", Recipient, "'To' cannot be reached"),
    Known::new("21215", Recipient, "No permission to call this region"),
    Known::new("21216", Recipient, "The account may not call this number"),
    Known::new("21217", Recipient, "The number does not appear to be valid"),
    Known::new("21219", Account, "A trial account calls verified numbers only"),
    Known::new("21408", Recipient, "No permission for this region"),
    Known::new("21602", Content, "The message has no body"),
    Known::new("21603", Sender, "'From' is missing"),
    Known::new("21605", Content, "The body is too long"),
    Known::new("21606", Sender, "'From' cannot send messages to this 'To'"),
    Known::new("21607", Sender, "'From' must be a number that can send messages"),
    Known::new("21608", Account, "A trial account sends to verified numbers only"),
    Known::new("21609", Account, "Invalid StatusCallback URL"),
    Known::message("21610", OptedOut, "The recipient has opted out"),
    Known::new("21611", TooFast, "The sender's queue is full"),
    Known::new("21612", Recipient, "This 'To' and 'From' do not go together"),
    Known::new("21614", Recipient, "'To' is no mobile number"),
    Known::new("21617", Content, "The body has more than 1,600 characters"),
    Known::new("21619", Content, "The message has neither a body nor media"),
    Known::new("21635", Recipient, "'To' is a landline"),
    Known::new("21660", Sender, "'From' does not belong to this account"),
    Known::new("21661", Sender, "'From' cannot send messages"),
    Known::new("21703", Sender, "The Messaging Service has no number"),
    Known::new("21704", Sender, "The Messaging Service has no sender for this message"),
    Known::new("21705", Sender, "Invalid Messaging Service"),
    Known::new("22005", TooFast, "The account's queue of calls is full"),
    Known::message("30001", TooFast, "Queue overflow"),
    Known::message("30002", Account, "Account suspended"),
    Known::message("30003", Later, "Unreachable destination handset"),
    Known::message("30004", Recipient, "Message blocked"),
    Known::message("30005", Recipient, "Unknown destination handset"),
    Known::message("30006", Recipient, "Landline or unreachable carrier"),
    Known::message("30007", Content, "Message filtered by the carrier"),
    Known::message("30008", Later, "Unknown error"),
    Known::message("30009", Later, "A part of the message is missing"),
    Known::message("30010", Sender, "Message price exceeds the maximum"),
    Known::message("30017", Later, "Congestion in the carrier's network"),
    Known::message("30018", Sender, "The carrier wants the sender to be registered first"),
    Known::message("30019", Content, "The content is larger than the carrier takes"),
    Known::message("30022", TooFast, "US A2P 10DLC: rate limit exceeded"),
    Known::message("30023", AccountStopped, "US A2P 10DLC: daily message cap reached"),
    Known::message("30024", Sender, "The carrier does not know the sender"),
    Known::new("30027", AccountStopped, "US A2P 10DLC: daily limit of T-Mobile reached"),
    Known::message("30032", Sender, "Toll-free number not verified"),
    Known::message("30033", Sender, "US A2P 10DLC: the campaign is suspended"),
    Known::message("30034", Sender, "US A2P 10DLC: message from an unregistered number"),
    Known::message("30035", Sender, "US A2P 10DLC: the number is being configured"),
    Known::message("30036", Later, "Validity period expired"),
    Known::new("30037", Account, "Outbound messaging is disabled"),
    Known::message("30038", Content, "Filtered: the carrier takes no one-time passwords"),
    Known::message("30039", Content, "A loop of messages"),
    Known::message("30044", Content, "Longer than a trial account may send"),
    Known::classed("30047", Content),
    Known::new("30410", Later, "Time-out at the carrier"),
    Known::message("30450", Content, "Blocked for a while: suspected of SMS pumping"),
    Known::message("30453", Content, "Blocked: suspected of fraud"),
    Known::message("30500", Later, "Internal error at the carrier"),
    Known::classed("30610", Content),
    Known::classed("30640", Content),
    Known::label("32009", Call),
    Known::label("32016", Call),
    Known::new("32203", Recipient, "Number blocked"),
    Known::label("63001", Message),
    Known::message("63003", Recipient, "The channel could not find the recipient"),
    Known::message("63005", Content, "The channel did not accept the content"),
    Known::message("63007", Sender, "The channel could not find the sender"),
    Known::message("63012", Later, "Internal error in the channel"),
    Known::message("63013", Content, "The content violates a policy of the channel"),
    Known::message("63016", Content, "Free-form message outside of the allowed window"),
    Known::new("63017", TooFast, "Rate limit of the channel exceeded"),
    Known::message("63018", TooFast, "Rate limit of the channel exceeded"),
    Known::label("63020", Message),
    Known::message("63021", Content, "The channel found the content invalid"),
    Known::message("63024", Recipient, "The channel found the recipient invalid"),
    Known::label("63032", Message),
    Known::label("63036", Message),
    Known::new("63038", AccountStopped, "Daily limit of messages reached"),
    Known::label("63049", Message),
];

/// The label of a failure whose code has no label of its own.
pub const OTHER: &str = "other";
/// The label of a failure for which Twilio gives no code.
pub const NONE: &str = "none";

/// What is known of a code.
#[must_use]
pub fn known(code: &str) -> Option<&'static Known> {
    TABLE.iter().find(|known| known.code == code)
}

/// What a code means, in a few words.
#[must_use]
pub fn meaning(code: &str) -> Option<&'static str> {
    known(code)?.meaning
}

/// The labels that failures of this resource can have, [`OTHER`] and [`NONE`] included.
pub fn labels(resource: Resource) -> impl Iterator<Item = &'static str> {
    let own = TABLE.iter().filter(move |known| known.label_of == Some(resource));
    own.map(|known| known.code).chain([OTHER, NONE])
}

/// The label of an event that reports a failure.
#[must_use]
pub fn label(event: &Event, resource: Resource) -> &'static str {
    let Some(code) = of(event) else { return NONE };
    let known = known(&code).filter(|known| known.label_of == Some(resource));
    known.map_or(OTHER, |known| known.code)
}

/// The code that an event reports, wherever its kind has it: a form's `ErrorCode`, the same of an Event Streams
/// event, or the debugger's, which is in the JSON of a parameter. 0 and an empty text say that there was no error.
#[must_use]
pub fn of(event: &Event) -> Option<String> {
    match event.format {
        Format::Form => {
            let params = Params::parse(&event.body);
            let own = Fields::Form(&params).error_code().map(|code| code.into_owned());
            own.or_else(|| of_debugger(&params))
        }
        Format::Json => {
            let json = json::read(&event.body)?;
            if event.kind == Kind::Email {
                return email::error(&json);
            }
            Fields::of_cloud_data(&json["data"]).error_code().map(|code| code.into_owned())
        }
    }
}

fn of_debugger(params: &Params<'_>) -> Option<String> {
    let payload: serde_json::Value = serde_json::from_str(&params.get("Payload")?).ok()?;
    Fields::Json(&payload).error_code().map(|code| code.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::EventKey;

    fn event(format: Format, body: &str) -> Event {
        let key = EventKey::of(&["SM1", "undelivered"]).expect("printable");
        Event {
            sid: Some("SM1".to_owned()),
            resource: Some(Resource::Message),
            status: Some("undelivered".to_owned()),
            format,
            body: body.to_owned().into(),
            ..Event::new(key, Kind::Message, "AC1")
        }
    }

    #[test]
    fn a_code_that_is_known_is_its_own_label_and_every_other_is_other() {
        let check = |format, body: &str, expected: &str| {
            assert_eq!(label(&event(format, body), Resource::Message), expected, "{body}");
        };
        check(Format::Form, "MessageSid=SM1&ErrorCode=30003", "30003");
        check(Format::Form, "ErrorCode=99999", OTHER);
        check(Format::Form, "ErrorCode=13224", OTHER);
        check(Format::Form, "ErrorCode=%00", OTHER);
        check(Format::Form, "MessageSid=SM1", NONE);
        check(Format::Form, "ErrorCode=&MessageSid=SM1", NONE);
        check(Format::Form, "ErrorCode=0", NONE);
        check(Format::Json, r#"{"data":{"errorCode":30007}}"#, "30007");
        check(Format::Json, r#"{"data":{"errorCode":"1"}}"#, OTHER);
        check(Format::Json, "no JSON", NONE);
    }

    #[test]
    fn a_code_is_found_wherever_an_event_has_it_and_0_is_no_error() {
        let check = |format, body: &str, expected: Option<&str>| {
            assert_eq!(of(&event(format, body)).as_deref(), expected, "{body}");
        };
        check(Format::Form, "ErrorCode=30003", Some("30003"));
        check(Format::Form, "Payload=%7B%22error_code%22%3A%2211200%22%7D", Some("11200"));
        check(Format::Form, "Payload=%7B%22error_code%22%3A11200%7D", Some("11200"));
        check(Format::Json, r#"{"data":{"errorCode":"30003"}}"#, Some("30003"));
        let request = r#"{"data":{"request":{"parameters":{"ErrorCode":"30003"}}}}"#;
        check(Format::Json, request, Some("30003"));
        for none in
            ["ErrorCode=0", "ErrorCode=", "Payload=nonsense", "Payload=%7B%22error_code%22%3A0%7D"]
        {
            check(Format::Form, none, None);
        }
        for none in [r#"{"data":{"errorCode":0}}"#, r#"{"data":{"errorCode":"0"}}"#, "{}"] {
            check(Format::Json, none, None);
        }
    }

    #[test]
    fn no_code_is_there_twice_and_each_has_the_form_of_one() {
        assert!(TABLE.windows(2).all(|pair| pair[0].code < pair[1].code));
        assert!(TABLE.iter().all(|known| known.code.parse::<u32>().is_ok_and(|code| code > 9999)));
        assert_eq!(Resource::ALL.map(|resource| labels(resource).count()), [9, 44, 2, 2, 2, 2]);
    }
}
