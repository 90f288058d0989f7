//! [`Request`]: the HTTP request that brought an event. Forwarding needs it to send the same again.

use crate::labels::{Label, labels};

/// How the parameters were sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Method {
    /// The parameters are in the query.
    Get,
    /// The parameters are in the body.
    Post,
}

impl Method {
    /// The name in the stream and the store.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
        }
    }

    /// The method of this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Get, Self::Post].into_iter().find(|method| method.as_str() == name)
    }
}

labels! {
    /// A route whose requests become events. A closed set.
    pub enum Route {
        /// Status callbacks of every kind.
        Status = "status",
        /// Event Streams.
        EventStreams = "event-streams",
        /// Twilio's debugger.
        Debugger = "debugger",
        /// The URL of incoming messages.
        IncomingMessage = "incoming-message",
        /// The fallback URL of calls.
        VoiceFallback = "voice-fallback",
        /// The fallback URL of messages.
        SmsFallback = "sms-fallback",
        /// What the callee of a call that offhook made has keyed in.
        VoiceConfirm = "voice-confirm",
        /// SendGrid's signed Event Webhook.
        EmailEvents = "email-events",
    }
}

/// A request to no route is one of the closed set as well.
impl Label for Option<Route> {
    fn all() -> impl Iterator<Item = Self> {
        Route::ALL.into_iter().map(Some).chain([None])
    }

    fn name(self) -> &'static str {
        self.map_or("other", Route::as_str)
    }

    fn place(self) -> usize {
        self.map_or(Route::ALL.len(), Label::place)
    }
}

/// The request that brought an event.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Request {
    /// How its parameters were sent.
    pub method: Method,
    /// The route of the request.
    pub route: Route,
    /// Twilio's `I-Twilio-Idempotency-Token`, which is not signed.
    pub idempotency_token: Option<String>,
}
