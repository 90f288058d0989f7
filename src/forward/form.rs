//! [`Form`]: what a change looks like on the wire, and what signs it. Pure functions: no I/O, and the time is an
//! argument.

pub mod standard;
pub mod twilio;

use bytes::Bytes;
use reqwest::header::HeaderMap;
use reqwest::{Method, Url};

/// What a change looks like, and what signs it.
#[derive(Clone, Debug)]
pub enum Form {
    /// The callback as Twilio sent it, signed again for the URL that it goes to.
    Twilio(twilio::SignWith),
    /// JSON of the change, by the specification of Standard Webhooks.
    Standard(standard::Secrets),
}

impl Form {
    /// Whether it needs the event, and not the change alone.
    #[must_use]
    pub fn needs_event(&self) -> bool {
        matches!(self, Self::Twilio(_))
    }

    /// The name in the configuration.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Twilio(_) => "twilio",
            Self::Standard(_) => "standard",
        }
    }
}

/// A request, ready to be sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outgoing {
    /// GET or POST.
    pub method: Method,
    /// Without user and password.
    pub url: Url,
    /// The content type, and the signature with what belongs to it.
    pub headers: HeaderMap,
    /// Empty for GET.
    pub body: Bytes,
}
