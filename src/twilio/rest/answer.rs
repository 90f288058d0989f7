//! [`Answer`]: what Twilio answered, and what it means for what was asked.

use std::time::Duration;

use serde_json::Value;

use super::message::{self, Created, Message, Page};
use crate::clock::Timestamp;
use crate::labels::labels;
use crate::twilio::json;

/// Too many requests at once: Twilio did not process this one.
const THROTTLED: &str = "20429";
/// An internal error. Twilio's own documentation says that a POST must not be repeated after it.
const INTERNAL: &str = "20500";
/// Longest wait that is taken from a header: a longer one is a mistake.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 60 * 60);

/// An HTTP answer.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// The HTTP status.
    pub status: u16,
    /// The value of `Retry-After`.
    pub retry_after: Option<&'a str>,
    /// The body, which need not be JSON: what stands before Twilio answers, too.
    pub body: &'a [u8],
}

/// What came of creating a message or a call.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CreateAnswer {
    /// Twilio has created it. Its status may be final already, and may be `failed`.
    Accepted(Box<Message>),
    /// Nothing was created, because of too many requests at once: it can be sent again.
    Throttled {
        /// How long to wait, if Twilio says so.
        retry_after: Option<Duration>,
    },
    /// Nothing was created, for this reason.
    Rejected {
        /// Twilio's code.
        code: String,
    },
    /// Nothing was created, and it was not Twilio's API that refused: a redirect, or a refusal without a code, as from a
    /// proxy or of a wrong URL.
    Foreign {
        /// The HTTP status.
        status: u16,
    },
    /// Perhaps it was created.
    Unknown(Doubt),
}

labels! {
    /// Why it is not known whether a message or a call was created.
    pub enum Doubt {
        /// No answer came in time.
        TimedOut = "timed_out",
        /// The connection ended after the request may have been sent.
        Disconnected = "disconnected",
        /// HTTP 408: a part of the request arrived.
        RequestTimeout = "request_timeout",
        /// HTTP 5xx, or Twilio's code 20500.
        ServerError = "server_error",
        /// HTTP 2xx, and no message in it that can be read, or no status that HTTP has.
        Unreadable = "unreadable",
        /// The process that sent the request did not store an answer.
        ProcessLost = "process_lost",
    }
}

/// What came of asking for something. Asking again does no harm.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ReadAnswer<T> {
    /// This.
    Found(T),
    /// Twilio has no such thing.
    Missing,
    /// Too many requests at once.
    Throttled {
        /// How long to wait, if Twilio says so.
        retry_after: Option<Duration>,
    },
    /// Nothing can be concluded from it.
    Failed {
        /// The HTTP status.
        status: u16,
        /// Twilio's code, if it gave one.
        code: Option<String>,
    },
}

impl<T> ReadAnswer<T> {
    /// The same about something else.
    #[must_use]
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> ReadAnswer<U> {
        match self {
            Self::Found(found) => ReadAnswer::Found(change(found)),
            Self::Missing => ReadAnswer::Missing,
            Self::Throttled { retry_after } => ReadAnswer::Throttled { retry_after },
            Self::Failed { status, code } => ReadAnswer::Failed { status, code },
        }
    }
}

impl Answer<'_> {
    /// The meaning of the answer to a request that creates a message or a call. `now` is for a `Retry-After` that names a
    /// time.
    #[must_use]
    pub fn to_create(self, created: Created, now: Timestamp) -> CreateAnswer {
        let read = |json: Value| Message::read(&json, created);
        match self.status {
            200..=299 => match self.json().and_then(read) {
                Some(message) => CreateAnswer::Accepted(Box::new(message)),
                None => CreateAnswer::Unknown(Doubt::Unreadable),
            },
            408 => CreateAnswer::Unknown(Doubt::RequestTimeout),
            300..=499 => self.refusal(now),
            500..=599 => CreateAnswer::Unknown(Doubt::ServerError),
            _ => CreateAnswer::Unknown(Doubt::Unreadable),
        }
    }

    fn refusal(self, now: Timestamp) -> CreateAnswer {
        match self.code().as_deref() {
            Some(INTERNAL) => CreateAnswer::Unknown(Doubt::ServerError),
            _ if self.is_throttled() => {
                CreateAnswer::Throttled { retry_after: self.retry_after(now) }
            }
            Some(code) => CreateAnswer::Rejected { code: code.to_owned() },
            None => CreateAnswer::Foreign { status: self.status },
        }
    }

    /// The meaning of the answer to a fetch or a change of one message or call.
    #[must_use]
    pub fn to_fetch(self, created: Created, now: Timestamp) -> ReadAnswer<Message> {
        self.to_get(now, |json| Message::read(json, created))
    }

    /// The meaning of the answer to a page of the account's list.
    #[must_use]
    pub fn to_list(self, created: Created, account: &str, now: Timestamp) -> ReadAnswer<Page> {
        self.to_get(now, |json| Page::read(json, account, created))
    }

    /// The meaning of the answer to a fetch of an account: its status.
    #[must_use]
    pub fn to_account(self, now: Timestamp) -> ReadAnswer<String> {
        self.to_get(now, |json| json["status"].as_str().map(str::to_owned))
    }

    pub(super) fn to_get<T>(
        self,
        now: Timestamp,
        read: impl Fn(&Value) -> Option<T>,
    ) -> ReadAnswer<T> {
        /// The resource was not found.
        const NOT_FOUND: &str = "20404";
        let failed = || ReadAnswer::Failed { status: self.status, code: self.code() };
        match self.status {
            200..=299 => self.json().as_ref().and_then(read).map_or_else(failed, ReadAnswer::Found),
            400..=499 if self.is_throttled() => {
                ReadAnswer::Throttled { retry_after: self.retry_after(now) }
            }
            // A proxy that knows no such path says nothing about the message.
            404 if self.code().as_deref() == Some(NOT_FOUND) => ReadAnswer::Missing,
            _ => failed(),
        }
    }

    /// By Twilio's code; a 429 without any is what HTTP says that it is.
    fn is_throttled(self) -> bool {
        match self.code() {
            Some(code) => code == THROTTLED,
            None => self.status == 429,
        }
    }

    /// Twilio's code of what it refused.
    fn code(self) -> Option<String> {
        message::code(&self.json()?["code"])
    }

    fn json(self) -> Option<Value> {
        json::read(self.body).filter(Value::is_object)
    }

    /// Seconds or a time.
    fn retry_after(self, now: Timestamp) -> Option<Duration> {
        let text = self.retry_after?.trim();
        let wait = match text.parse() {
            Ok(seconds) => Duration::from_secs(seconds),
            Err(_) => Timestamp::parse_rfc2822(text)?.since(now),
        };
        Some(wait.min(LONGEST_WAIT))
    }
}

#[cfg(test)]
mod tests;
