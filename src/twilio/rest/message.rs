//! [`Message`]: a message or a call as Twilio describes it, and a [`Page`] of a list of them.

use serde_json::Value;

use super::path;
use crate::clock::Timestamp;

/// What a request creates, and a list lists.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Created {
    /// A message.
    Message,
    /// A call.
    Call,
}

impl Created {
    fn is_sid(self, sid: &str) -> bool {
        match self {
            Self::Message => is_sid(sid, "SM") || is_sid(sid, "MM"),
            Self::Call => is_sid(sid, "CA"),
        }
    }

    /// The path of the account's list, and what a page of it calls its entries.
    fn list(self, account: &str) -> (String, &'static str) {
        match self {
            Self::Message => (path::messages(account), "messages"),
            Self::Call => (path::calls(account), "calls"),
        }
    }
}

/// A message that Twilio has; or a call, which has no segments and no text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message {
    /// `SM` or `MM`, of a call `CA`, and 32 hexadecimal digits.
    pub sid: String,
    /// The account that it belongs to.
    pub account: String,
    /// The status, in lower case: `queued`, `accepted`, `failed` …
    pub status: String,
    /// The code of the error with which it failed.
    pub error_code: Option<String>,
    /// Its parts, which are what is paid for. Of a Messaging Service's message 0 until a sender is assigned.
    pub num_segments: Option<u32>,
    /// The recipient.
    pub to: Option<String>,
    /// The sender. Of a Messaging Service's message `None` until one is assigned.
    pub from: Option<String>,
    /// The Messaging Service, if it was sent by one.
    pub service: Option<String>,
    /// The text as Twilio keeps it, which may not be what it was given: Smart Encoding and footers change it.
    pub body: Option<String>,
    /// When Twilio created it, by its clock, to the second.
    pub created: Option<Timestamp>,
    /// Whether an API request made it. A list by recipient also has what was received on that number.
    pub is_outgoing: bool,
}

impl Message {
    /// Reads the resource. `None` if it has no SID, account or status.
    pub(super) fn read(json: &Value, created: Created) -> Option<Self> {
        let status = text(&json["status"])?.to_ascii_lowercase();
        let sid = text(&json["sid"]).filter(|sid| created.is_sid(sid))?;
        Some(Self {
            sid,
            account: text(&json["account_sid"])?,
            status,
            error_code: code(&json["error_code"]),
            num_segments: number(&json["num_segments"]),
            to: text(&json["to"]),
            from: text(&json["from"]),
            service: text(&json["messaging_service_sid"]),
            body: json["body"].as_str().map(str::to_owned),
            created: json["date_created"].as_str().and_then(Timestamp::parse_rfc2822),
            is_outgoing: json["direction"].as_str().is_none_or(|it| it.starts_with("outbound")),
        })
    }
}

/// Some of the messages, or of the calls, of a list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Page {
    /// They, the newest first.
    pub messages: Vec<Message>,
    /// The path of the next page; `None` after the last one.
    pub next: Option<String>,
}

impl Page {
    /// Reads a page of the account's list. `None` if any of it cannot be read: a message that is left out would be
    /// taken for one that was never created, and so would those of a page that is not requested.
    pub(super) fn read(json: &Value, account: &str, created: Created) -> Option<Self> {
        let (list, name) = created.list(account);
        let entries = json.get(name)?.as_array()?.iter();
        let messages = entries.map(|entry| Message::read(entry, created));
        let next = match json.get("next_page_uri")? {
            Value::Null => None,
            next => Some(next.as_str().filter(|next| path::continues(&list, next))?.to_owned()),
        };
        Some(Self { messages: messages.collect::<Option<_>>()?, next })
    }
}

/// Two letters and 32 hexadecimal digits.
pub(super) fn is_sid(sid: &str, prefix: &str) -> bool {
    let digits = sid.strip_prefix(prefix);
    digits.is_some_and(|digits| digits.len() == 32 && digits.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// A text that says something, and can be stored.
pub(super) fn text(json: &Value) -> Option<String> {
    json.as_str().filter(|text| !text.is_empty() && !text.contains('\0')).map(str::to_owned)
}

/// Twilio writes some numbers as texts.
fn number(json: &Value) -> Option<u32> {
    match json {
        Value::String(text) => text.parse().ok(),
        json => json.as_u64().and_then(|number| number.try_into().ok()),
    }
}

/// A code of an error. 0 says that there was none.
pub(super) fn code(json: &Value) -> Option<String> {
    number(json).filter(|code| *code != 0).map(|code| code.to_string())
}
