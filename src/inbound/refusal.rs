//! The answer to a refused request. The client learns less than the log and the metrics.

use axum::http::header::{ALLOW, CONNECTION, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};

use crate::event::Route;
use crate::pipeline::RecordError;
pub use crate::recent::Refusal;
use crate::sendgrid::signature as sendgrid;
use crate::twilio::callback::Lost;
use crate::twilio::signature::{ClaimError, SignatureError};

/// When to come back after a 503, in seconds: as long as the longest wait between two attempts to
/// reach a backend.
const RETRY_AFTER_S: HeaderValue = HeaderValue::from_static("5");
/// When to come back after a 429, in seconds: a person has to fix a proxy first.
const RETRY_AFTER_MENDED_S: HeaderValue = HeaderValue::from_static("60");

impl Refusal {
    /// The one table: status, and whether the body was read by then.
    const fn row(self) -> (StatusCode, BodyRead) {
        use BodyRead::{No, Yes};
        match self {
            Self::MethodNotAllowed => (StatusCode::METHOD_NOT_ALLOWED, No),
            Self::UnknownRoute => (StatusCode::NOT_FOUND, No),
            Self::NoVerificationKey => (StatusCode::NOT_FOUND, No),
            Self::SignedUnknownRoute => (StatusCode::NOT_FOUND, Yes),
            Self::UnsupportedContentType => (StatusCode::UNSUPPORTED_MEDIA_TYPE, No),
            Self::BodyTooLarge => (StatusCode::PAYLOAD_TOO_LARGE, No),
            Self::SlowBody => (StatusCode::REQUEST_TIMEOUT, No),
            Self::BrokenBody => (StatusCode::BAD_REQUEST, No),
            Self::MissingSignature => (StatusCode::BAD_REQUEST, No),
            Self::MalformedSignature => (StatusCode::FORBIDDEN, No),
            Self::WrongSignature => (StatusCode::FORBIDDEN, Yes),
            Self::UnknownAccount => (StatusCode::FORBIDDEN, Yes),
            Self::MissingBodyHash => (StatusCode::FORBIDDEN, Yes),
            Self::WrongBodyHash => (StatusCode::FORBIDDEN, Yes),
            Self::TooCostly => (StatusCode::FORBIDDEN, Yes),
            Self::NoRoom => (StatusCode::SERVICE_UNAVAILABLE, No),
            Self::LostParameters => (StatusCode::BAD_REQUEST, Yes),
            // A 400 would make Event Streams discard it.
            Self::LostBody => (StatusCode::TOO_MANY_REQUESTS, Yes),
            Self::Overloaded => (StatusCode::SERVICE_UNAVAILABLE, Yes),
            Self::NotDurable => (StatusCode::SERVICE_UNAVAILABLE, Yes),
        }
    }

    /// What it is answered with.
    #[must_use]
    pub const fn status(self) -> StatusCode {
        self.row().0
    }

    /// The usual cause and what to do, for the people who run the server.
    pub(super) fn usual_cause(self, route: Option<Route>) -> &'static str {
        let of_email = (route == Some(Route::EmailEvents)).then(|| self.usual_cause_of_email());
        of_email.flatten().unwrap_or_else(|| self.usual_cause_of_callback())
    }

    /// What is different where SendGrid should have sent it.
    fn usual_cause_of_email(self) -> Option<&'static str> {
        Some(match self {
            Self::MethodNotAllowed => "not SendGrid: it sends POST only",
            Self::UnsupportedContentType => "not SendGrid: it sends JSON only",
            Self::BodyTooLarge => "more than sendgrid.event_body_limit: raise it",
            Self::MissingSignature => {
                "not SendGrid, or its signed Event Webhook is not switched on, or a proxy in front removes the headers \
                 X-Twilio-Email-Event-Webhook-Signature and …-Timestamp"
            }
            Self::MalformedSignature => {
                "not SendGrid, or a proxy in front changes the headers X-Twilio-Email-Event-Webhook-Signature and \
                 …-Timestamp"
            }
            Self::WrongSignature => {
                "no key of sendgrid.verification_keys gives this signature: SendGrid makes another key when its signed \
                 Event Webhook is switched off and on, something in front changes the body, or the request was forged"
            }
            Self::NoRoom => {
                "bodies of email events that come slowly hold all of their memory: an attack, or a proxy in front that \
                 passes them on as they come"
            }
            _ => return None,
        })
    }

    fn usual_cause_of_callback(self) -> &'static str {
        match self {
            Self::MethodNotAllowed => "not Twilio: it sends GET and POST only",
            Self::UnknownRoute => {
                "a scanner, or the URL at Twilio has a wrong path: compare it with the routes, and \
                 with inbound.path_prefix"
            }
            Self::NoVerificationKey => {
                "email events come, and sendgrid.verification_keys is empty: copy the key of SendGrid's signed Event \
                 Webhook there, or switch the webhook off"
            }
            Self::SignedUnknownRoute => {
                "your account signed it, and the path is not a route, so that callbacks are being lost: \
                 correct the URL at Twilio, or, if a proxy changes the path, its rule"
            }
            Self::UnsupportedContentType => "not Twilio: it sends forms and JSON only",
            Self::BodyTooLarge => "more than inbound.body_limit: Twilio sends at most 64 kB",
            Self::SlowBody => "a slow client, or a proxy that holds the body back",
            Self::BrokenBody => "a client or a proxy that gave up",
            Self::MissingSignature => {
                "not Twilio, or a proxy in front removes the header X-Twilio-Signature"
            }
            Self::MalformedSignature => {
                "not Twilio, or a proxy in front changes the header X-Twilio-Signature"
            }
            Self::WrongSignature => {
                "no secret of the account gives this signature: the auth token is another one or was \
                 changed, public_url is not what Twilio was given, or the request was forged"
            }
            Self::UnknownAccount => {
                "the account is not configured: a sub-account needs an [[account]] of its own"
            }
            Self::MissingBodyHash => {
                "JSON whose URL has no bodySHA256: not Twilio, or a proxy in front changes the query"
            }
            Self::WrongBodyHash => "a proxy in front changes the body, or the request was forged",
            Self::TooCostly => {
                "forged: it has more parameters than Twilio sends, or is so long that not every URL and \
                 secret was tried"
            }
            Self::NoRoom => {
                "bodies that come slowly hold all of inbound.body_memory: an attack, or a proxy in front \
                 that passes them on as they come"
            }
            Self::LostParameters | Self::LostBody => {
                "a proxy in front redirects, which turns a POST into a GET without its parameters: let \
                 it answer at the public URL itself"
            }
            Self::Overloaded => {
                "more callbacks than can be made durable: look at commit latency and at the disk"
            }
            Self::NotDurable => "nothing could be written: look at the store, Redis and the spool",
        }
    }

    /// What the client learns. Every 403 looks the same, so that an attacker learns neither which accounts exist nor
    /// how close the forgery was.
    fn told(self) -> &'static str {
        match self.status() {
            StatusCode::FORBIDDEN => "forbidden",
            StatusCode::NOT_FOUND => Self::UnknownRoute.as_str(),
            _ => self.as_str(),
        }
    }

    /// The answer. It is JSON, because Twilio would read `text/plain` aloud or send it as a text message.
    ///
    /// If the body of the request was not read, the connection cannot be used again. The answer says so, so that a load
    /// balancer does not send the next request into it.
    pub(super) fn response(self, route: Option<Route>, body: BodyRead) -> Response {
        let text = format!(r#"{{"error":"{}"}}"#, self.told());
        let mut response = (self.status(), text).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        match self.status() {
            StatusCode::METHOD_NOT_ALLOWED => {
                let allowed = if route == Some(Route::EmailEvents) { "POST" } else { "GET, POST" };
                headers.insert(ALLOW, HeaderValue::from_static(allowed));
            }
            StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(RETRY_AFTER, RETRY_AFTER_S);
            }
            StatusCode::TOO_MANY_REQUESTS => {
                headers.insert(RETRY_AFTER, RETRY_AFTER_MENDED_S);
            }
            _ => {}
        }
        if body == BodyRead::No && self.row().1 == BodyRead::No {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

/// Whether nothing of a request's body is left to read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum BodyRead {
    /// It was read in full, or there is no body.
    Yes,
    /// Some may be left.
    No,
}

impl From<ClaimError> for Refusal {
    fn from(error: ClaimError) -> Self {
        match error {
            ClaimError::Missing => Self::MissingSignature,
            ClaimError::Malformed(_) => Self::MalformedSignature,
        }
    }
}

impl From<sendgrid::ClaimError> for Refusal {
    fn from(error: sendgrid::ClaimError) -> Self {
        match error {
            sendgrid::ClaimError::Missing(_) => Self::MissingSignature,
            sendgrid::ClaimError::Malformed(_) => Self::MalformedSignature,
        }
    }
}

impl From<SignatureError> for Refusal {
    fn from(error: SignatureError) -> Self {
        match error {
            SignatureError::UnknownAccount => Self::UnknownAccount,
            SignatureError::MissingBodyHash => Self::MissingBodyHash,
            SignatureError::WrongBodyHash => Self::WrongBodyHash,
            SignatureError::Mismatch => Self::WrongSignature,
            SignatureError::TooCostly => Self::TooCostly,
        }
    }
}

impl From<Lost> for Refusal {
    fn from(lost: Lost) -> Self {
        match lost {
            Lost::Parameters => Self::LostParameters,
            Lost::Body => Self::LostBody,
        }
    }
}

impl From<RecordError> for Refusal {
    fn from(error: RecordError) -> Self {
        match error {
            RecordError::Overloaded => Self::Overloaded,
            RecordError::NotDurable => Self::NotDurable,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_403_cannot_be_told_from_another() {
        let forbidden = Refusal::ALL.iter().filter(|refusal| refusal.status() == 403);
        let told: Vec<_> = forbidden.map(|refusal| refusal.told()).collect();
        assert_eq!(told, ["forbidden"; 6]);
    }
}
