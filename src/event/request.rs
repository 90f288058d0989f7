//! [`Request`]: the HTTP request that brought an event. Forwarding needs it to send the same again.

/// How the parameters were sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Method {
    /// In the query.
    Get,
    /// In the body.
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

/// A route whose requests become events. A closed set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Route {
    /// Status callbacks of every kind.
    Status,
    /// Event Streams.
    EventStreams,
    /// Twilio's debugger.
    Debugger,
    /// The fallback URL of calls.
    VoiceFallback,
    /// The fallback URL of messages.
    SmsFallback,
}

impl Route {
    /// Every route.
    pub const ALL: [Self; 5] =
        [Self::Status, Self::EventStreams, Self::Debugger, Self::VoiceFallback, Self::SmsFallback];

    /// The name in metrics, logs, the stream and the store: the path below the prefix.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::EventStreams => "event-streams",
            Self::Debugger => "debugger",
            Self::VoiceFallback => "voice-fallback",
            Self::SmsFallback => "sms-fallback",
        }
    }

    /// The route of this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|route| route.as_str() == name)
    }
}

/// The request that brought an event.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Request {
    /// How its parameters were sent.
    pub method: Method,
    /// Where it went.
    pub route: Route,
    /// Twilio's `I-Twilio-Idempotency-Token`, which is not signed.
    pub idempotency_token: Option<String>,
}
