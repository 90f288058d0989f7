//! [`Callback`]: a request as Twilio would send it, or nearly.

use std::fmt;

use offhook::lab::email::EmailKey;
use offhook::sendgrid::signature as sendgrid;
use offhook::twilio::keyring::{Secret, SharedKey};
use offhook::twilio::signature::{
    BODY_HASH, Content, SETTINGS_HEADER, SIGNATURE_HEADER, body_hash, sign,
};
use reqwest::Method;

use super::settings::{ACCOUNT, PUBLIC_URL, TOKEN};

/// When SendGrid is said to have signed.
const EMAIL_TIME: &str = "1764000000";

/// A body from `tests/fixtures/callbacks`.
pub(crate) fn fixture(name: &str) -> Vec<u8> {
    let path = format!("{}/tests/fixtures/callbacks/{name}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    text.strip_suffix(b"\n").expect("a file of text").to_vec()
}

/// What is said in `X-Twilio-Signature`.
#[derive(Clone, Debug)]
pub(crate) enum Signature {
    /// By this auth token.
    Token(&'static str),
    /// By this shared key, which the settings header names.
    SharedKey(SharedKey),
    /// Nothing.
    Missing,
    /// This text.
    Text(&'static str),
    /// One that a test has made.
    Own(String),
    /// One of SendGrid's, for [`EMAIL_TIME`].
    Email(String),
}

/// A request to an offhook.
#[derive(Clone)]
pub(crate) struct Callback {
    method: Method,
    path: String,
    /// Without its `?`.
    query: String,
    content_type: Option<&'static str>,
    body: Vec<u8>,
    signature: Signature,
    /// `I-Twilio-Idempotency-Token`
    token: Option<&'static str>,
    content: Content,
}

impl Callback {
    /// A call that ended, and the key of its event; each number is another call.
    pub(crate) fn call(number: usize) -> (Self, String) {
        let sid = format!("CA{number:032x}");
        let body = format!(
            "CallSid={sid}&AccountSid={ACCOUNT}&CallStatus=completed&CallbackSource=call-progress-events"
        );
        (Self::form(body), format!("{sid}-completed"))
    }

    /// A form, POSTed to `/status`.
    pub(crate) fn form(body: impl Into<Vec<u8>>) -> Self {
        Self {
            method: Method::POST,
            path: "/status".to_owned(),
            query: String::new(),
            content_type: Some("application/x-www-form-urlencoded; charset=UTF-8"),
            body: body.into(),
            signature: Signature::Token(TOKEN),
            token: None,
            content: Content::Form,
        }
    }

    /// JSON, POSTed to `/event-streams` with its hash in the query.
    pub(crate) fn json(body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        Self {
            path: "/event-streams".to_owned(),
            query: format!("{BODY_HASH}={}", body_hash(&body)),
            content_type: Some("application/json"),
            content: Content::Json,
            ..Self::form(body)
        }
    }

    /// Email events, POSTed to `/email-events` and signed by this key.
    pub(crate) fn email(key: &EmailKey, body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        let signature = Signature::Email(key.sign(EMAIL_TIME, &body));
        Self {
            path: "/email-events".to_owned(),
            query: String::new(),
            signature,
            ..Self::json(body)
        }
    }

    /// A GET of `/status`.
    pub(crate) fn get(query: impl Into<String>) -> Self {
        Self {
            method: Method::GET,
            query: query.into(),
            content_type: None,
            content: Content::Query,
            ..Self::form("")
        }
    }

    /// To another path than the usual.
    pub(crate) fn to(self, path: &str) -> Self {
        Self { path: path.to_owned(), ..self }
    }

    pub(crate) fn with_query(self, query: &str) -> Self {
        Self { query: query.to_owned(), ..self }
    }

    pub(crate) fn signed(self, signature: Signature) -> Self {
        Self { signature, ..self }
    }

    /// With another method than the one that it was signed for.
    pub(crate) fn with_method(self, method: Method) -> Self {
        Self { method, ..self }
    }

    pub(crate) fn with_content_type(self, content_type: Option<&'static str>) -> Self {
        Self { content_type, ..self }
    }

    pub(crate) fn with_body(self, body: Vec<u8>) -> Self {
        Self { body, ..self }
    }

    pub(crate) fn method(&self) -> Method {
        self.method.clone()
    }

    pub(crate) fn body(&self) -> &[u8] {
        &self.body
    }

    /// With Twilio's idempotency token.
    pub(crate) fn with_token(self, token: &'static str) -> Self {
        Self { token: Some(token), ..self }
    }

    /// Path and query.
    pub(crate) fn target(&self) -> String {
        match self.query.is_empty() {
            true => self.path.clone(),
            false => format!("{}?{}", self.path, self.query),
        }
    }

    /// Every header, named as Twilio names them.
    pub(crate) fn headers(&self) -> Vec<(&'static str, String)> {
        let mut headers = vec![("user-agent", "TwilioProxy/1.1".to_owned())];
        headers.extend(self.content_type.map(|value| ("content-type", value.to_owned())));
        headers.extend(self.token.map(|value| ("i-twilio-idempotency-token", value.to_owned())));
        let by = |secret: &Secret| {
            let url = format!("{PUBLIC_URL}{}", self.target());
            (SIGNATURE_HEADER, sign(secret, &url, self.content, &self.body))
        };
        match &self.signature {
            Signature::Token(token) => headers.push(by(&Secret::auth_token(&(*token).into()))),
            Signature::SharedKey(key) => {
                headers.push(by(&Secret::shared_key(key)));
                let settings = format!("key={},algorithm={}", key.id, key.algorithm.as_str());
                headers.push((SETTINGS_HEADER, settings));
            }
            Signature::Missing => {}
            Signature::Text(text) => headers.push((SIGNATURE_HEADER, (*text).to_owned())),
            Signature::Own(text) => headers.push((SIGNATURE_HEADER, text.clone())),
            Signature::Email(text) => {
                headers.push((sendgrid::SIGNATURE_HEADER, text.clone()));
                headers.push((sendgrid::TIMESTAMP_HEADER, EMAIL_TIME.to_owned()));
            }
        }
        headers
    }
}

impl fmt::Display for Callback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let start = &self.body[..self.body.len().min(1000)];
        write!(f, "{} {} {}", self.method, self.target(), String::from_utf8_lossy(start))
    }
}
