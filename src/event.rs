//! An [`Event`]: one signed fact from Twilio or SendGrid, as a value. No I/O, no parsing of requests.

pub mod attempt;
pub mod batch;
pub mod callee;
pub mod change;
pub mod codec;
pub mod consent;
pub mod fingerprint;
pub mod key;
pub mod own;
pub mod request;
pub mod status;
pub mod trace;

use bytes::Bytes;

pub use self::attempt::AttemptId;
pub use self::batch::{Batch, Differing};
pub use self::callee::Callee;
pub use self::change::{Change, Cursor, FeedId};
pub use self::consent::Consent;
pub use self::fingerprint::Fingerprint;
pub use self::key::{EventId, EventKey};
pub use self::own::{LatestOwn, Own};
pub use self::request::{Method, Request, Route};
pub use self::status::{CurrentStatus, Position, Resource};
pub use self::trace::TraceContext;
use crate::clock::Timestamp;
use crate::labels::labels;

labels! {
    /// The kind of an event. A closed set: it is a metric label.
    pub enum Kind {
        /// A call's status.
        Call = "call",
        /// A message's status: SMS, MMS, WhatsApp, RCS.
        Message = "message",
        /// A recording's status.
        Recording = "recording",
        /// Something happened in a conference.
        Conference = "conference",
        /// Asynchronous answering-machine detection.
        Amd = "amd",
        /// What SendGrid reports of an email, or of its recipient.
        Email = "email",
        /// A piece or the status of a transcription.
        Transcription = "transcription",
        /// Twilio's debugger webhook.
        Debugger = "debugger",
        /// One CloudEvent from Event Streams.
        EventStream = "event_stream",
        /// A call's TwiML asked what to do next: its answer URL, a Gather, a Dial … It repeats the call's
        /// SID and status, and is not a status callback.
        TwimlRequest = "twiml_request",
        /// A message that came in: Twilio asked what to answer.
        IncomingMessage = "incoming_message",
        /// Twilio asked a fallback URL what to do.
        Fallback = "fallback",
        /// Correctly signed, but unknown to this version: stored anyway.
        Other = "other",
    }
}

impl Kind {
    /// As people type it and read it: `event-stream`. Data has [`as_str`](Self::as_str), `event_stream`: tables, the
    /// API, metrics.
    #[must_use]
    pub const fn typed(self) -> &'static str {
        match self {
            Self::EventStream => "event-stream",
            Self::TwimlRequest => "twiml-request",
            Self::IncomingMessage => "incoming-message",
            other => other.as_str(),
        }
    }

    /// The kind of a name in either spelling.
    #[must_use]
    pub fn parse_typed(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| name == kind.typed() || name == kind.as_str())
    }
}

labels! {
    /// Whether the store had an event already. A closed set: it is a metric label.
    pub enum Freshness {
        /// The store had the event.
        Duplicate = "duplicate",
        /// The store did not have the event.
        Fresh = "fresh",
    }
}

impl Freshness {
    /// The freshness of an event, from whether it was fresh.
    #[must_use]
    pub fn of(fresh: bool) -> Self {
        if fresh { Self::Fresh } else { Self::Duplicate }
    }
}

/// How the body is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// `application/x-www-form-urlencoded`; for a GET, the body is the raw query.
    Form,
    /// JSON; of an Event Streams array, one element.
    Json,
}

impl Format {
    /// The name in the stream and the store.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Form => "form",
            Self::Json => "json",
        }
    }

    /// The format of this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Form, Self::Json].into_iter().find(|format| format.as_str() == name)
    }
}

/// One signed fact from Twilio.
///
/// Two events with one [`id`](Event::id) are the same event, however often it was delivered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Event {
    /// The name within the account, `<CallSid>-<CallStatus>` and the like.
    pub key: EventKey,
    /// The kind of the event.
    pub kind: Kind,
    /// The account whose secret signed it, or the sub-account that this one signed for.
    pub account: String,
    /// Another account that it names, for which the one that signed it may not speak: it moves no
    /// status then.
    pub about_account: Option<String>,
    /// The resource, if it names one: `CA…`, `SM…`, `RE…`, `CF…`, `GT…`, `NO…`; of an email, SendGrid's message id.
    pub sid: Option<String>,
    /// The resource whose current status this event moves; `None` is history only.
    pub resource: Option<Resource>,
    /// The status it reports, in lower case.
    pub status: Option<String>,
    /// Twilio's `SequenceNumber` or `SequenceId`.
    pub sequence: Option<i64>,
    /// Twilio's time.
    pub occurred_at: Option<Timestamp>,
    /// When a receiver got it. Not part of any order.
    pub received_at: Timestamp,
    /// How `body` is written.
    pub format: Format,
    /// The query of the callback URL, where users put identifiers of their own; empty for a GET,
    /// whose query is the body.
    pub query: String,
    /// The parameters exactly as they were signed, but for what `[privacy]` treats.
    pub body: Bytes,
    /// What it says, in eight bytes; `None` if a version wrote it that did not know this.
    pub fingerprint: Option<Fingerprint>,
    /// The request that brought it; `None` if a version wrote it that did not keep this.
    pub request: Option<Request>,
    /// The attempt to send something that it belongs to, read from what was signed; `None` for all that offhook has not
    /// sent.
    pub attempt: Option<AttemptId>,
    /// What the callee of a call of such an attempt has done, read from what was signed.
    pub callee: Option<Callee>,
    /// What an incoming message or an email event says about being reached, read from what was signed. Not stored with the event: it is an
    /// entry of the log of suppressions.
    pub consent: Option<Consent>,
    /// The trace of that request, if it is traced. Not stored.
    pub trace: Option<TraceContext>,
}

impl Event {
    /// An event of which no more is known than this.
    #[must_use]
    pub fn new(key: EventKey, kind: Kind, account: &str) -> Self {
        Self {
            key,
            kind,
            account: account.to_owned(),
            about_account: None,
            sid: None,
            resource: None,
            status: None,
            sequence: None,
            occurred_at: None,
            received_at: Timestamp::from_micros(0),
            format: Format::Form,
            query: String::new(),
            body: Bytes::new(),
            fingerprint: None,
            request: None,
            attempt: None,
            callee: None,
            consent: None,
            trace: None,
        }
    }

    /// Which event it is.
    #[must_use]
    pub fn id(&self) -> EventId {
        EventId { key: self.key.clone(), account: self.account.clone() }
    }

    /// What [`Event::id`] is ordered by, without a copy.
    #[must_use]
    pub fn id_parts(&self) -> (&EventKey, &str) {
        (&self.key, &self.account)
    }

    /// The place of the event among those of its SID.
    #[must_use]
    pub fn position(&self) -> Option<Position> {
        let (resource, status) = (self.resource?, self.status.as_deref()?);
        Some(Position {
            rank: resource.rank(status),
            sequence: self.sequence,
            occurred_at: self.occurred_at,
            status: status.to_owned(),
        })
    }

    /// About how many bytes it holds, to bound batches and queues.
    #[must_use]
    pub fn size(&self) -> usize {
        /// Fields other than these three are short; measured 150–200 bytes.
        const REST: usize = 256;
        self.body.len() + self.query.len() + self.key.as_str().len() + REST
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_one_spelling_for_people_and_both_are_understood() {
        for kind in Kind::ALL {
            assert_eq!(kind.typed(), kind.as_str().replace('_', "-"));
            for name in [kind.typed(), kind.as_str()] {
                assert_eq!(Kind::parse_typed(name), Some(kind));
            }
        }
        assert_eq!(Kind::parse_typed("event stream"), None);
    }
}
