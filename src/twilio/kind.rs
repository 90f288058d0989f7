//! The kinds of callbacks, a file each: how one is recognised, its key, its SID and resource, and the
//! order of its statuses.
//!
//! Only their parameters distinguish them, since users point every kind at one URL. Facts that
//! are not documented otherwise are from the field names of Twilio's documentation.

pub(crate) mod amd;
pub(crate) mod call;
pub(crate) mod conference;
pub(crate) mod debugger;
pub(crate) mod event_stream;
pub(crate) mod fallback;
pub(crate) mod incoming_message;
pub(crate) mod message;
pub(crate) mod other;
pub(crate) mod recording;
pub(crate) mod transcription;
pub mod twiml_request;

use super::fields::Fields;
use crate::clock::Timestamp;
use crate::event::{EventKey, Kind, Resource};

/// What the parameters say of an event.
pub(super) struct Recognised {
    pub(super) identity: Identity,
    pub(super) kind: Kind,
    pub(super) sid: Option<String>,
    pub(super) resource: Option<Resource>,
    pub(super) status: Option<String>,
    pub(super) sequence: Option<i64>,
    pub(super) occurred_at: Option<Timestamp>,
}

/// What distinguishes an event from all others of its account.
pub(super) enum Identity {
    /// A name of its own.
    Key(EventKey),
    /// Its whole content.
    Content,
    /// Its whole content, among the events of this SID and status.
    ContentOf(String, String),
}

impl Identity {
    /// A key of these parts, with the error code behind them if there is one: the row is made of it,
    /// so the same status with another code is another fact.
    fn with_error(sid: &str, status: &str, fields: &Fields<'_>) -> Option<Self> {
        match fields.error_code().as_deref().map(|code| EventKey::of(&[sid, status, code])) {
            None => EventKey::of(&[sid, status]).map(Self::Key),
            Some(Some(key)) => Some(Self::Key(key)),
            Some(None) => Some(Self::ContentOf(sid.to_owned(), status.to_owned())),
        }
    }
}

impl Recognised {
    /// An event that has only an identity and a SID that it is about.
    fn mention(kind: Kind, sid: Option<String>) -> Self {
        Self {
            identity: Identity::Content,
            kind,
            sid,
            resource: None,
            status: None,
            sequence: None,
            occurred_at: None,
        }
    }
}

type Recogniser = fn(&Fields<'_>) -> Option<Recognised>;

/// The kinds of forms, the most particular first: nearly all of them carry a `CallSid`. Synchronous
/// detection puts `AnsweredBy` into the call's own callbacks, so the asynchronous one comes last: it
/// has no status.
const FORMS: [Recogniser; 9] = [
    transcription::recognise,
    conference::recognise,
    debugger::recognise,
    incoming_message::recognise,
    message::recognise,
    recording::recognise,
    call::recognise,
    twiml_request::recognise,
    amd::recognise,
];

/// What a form or a query is. What no kind recognises is [`Kind::Other`], and is kept.
pub(super) fn of_form(fields: &Fields<'_>) -> Recognised {
    let recognised = FORMS.iter().find_map(|recognise| recognise(fields));
    recognised.unwrap_or_else(|| other::recognise(fields))
}

/// What an element of JSON is that is no CloudEvent.
pub(super) fn of_element(fields: &Fields<'_>) -> Recognised {
    other::recognise(fields)
}
