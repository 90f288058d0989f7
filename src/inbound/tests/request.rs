//! [`Request`]: the bytes that Twilio would send, or an attacker.

use secrecy::SecretString;

use crate::twilio::keyring::Secret;
use crate::twilio::signature::{BODY_HASH, Content, body_hash, sign};

/// The URL that Twilio has; the listener itself is somewhere on loopback.
pub(super) const BASE: &str = "https://hooks.example.com";
pub(super) const ACCOUNT: &str = "AC0123456789abcdef0123456789abcdef";
pub(super) const TOKEN: &str = "t0ken";
/// A call's callback, with a number that no log may show.
pub(super) const CALL: &str = "AccountSid=AC0123456789abcdef0123456789abcdef&CallSid=CA1&CallStatus=ringing&CallbackSource=call-progress-events&From=%2B15550100";

/// A request, written out byte for byte.
#[derive(Clone)]
pub(super) struct Request {
    method: &'static str,
    target: String,
    content: Content,
    headers: String,
    body: Vec<u8>,
}

impl Request {
    pub(super) fn form(target: &str, body: impl Into<Vec<u8>>) -> Self {
        let kind = "Content-Type: application/x-www-form-urlencoded; charset=UTF-8\r\n";
        Self::new("POST", target, Content::Form, kind, body.into())
    }

    /// With its hash in the query, as Twilio puts it there.
    pub(super) fn json(target: &str, body: &str) -> Self {
        let target = format!("{target}?{BODY_HASH}={}", body_hash(body.as_bytes()));
        Self::json_without_hash(&target, body)
    }

    pub(super) fn json_without_hash(target: &str, body: &str) -> Self {
        Self::new("POST", target, Content::Json, "Content-Type: application/json\r\n", body.into())
    }

    pub(super) fn get(target: &str) -> Self {
        Self::new("GET", target, Content::Query, "", Vec::new())
    }

    fn new(
        method: &'static str,
        target: &str,
        content: Content,
        headers: &str,
        body: Vec<u8>,
    ) -> Self {
        Self { method, target: target.to_owned(), content, headers: headers.to_owned(), body }
    }

    pub(super) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push_str(&format!("{name}: {value}\r\n"));
        self
    }

    /// Signed as Twilio signs it, with the account's token.
    pub(super) fn signed(self) -> Self {
        self.signed_with(&token(TOKEN))
    }

    pub(super) fn signed_with(self, secret: &Secret) -> Self {
        let url = format!("{BASE}{}", self.target);
        self.signed_for(&url, secret)
    }

    /// Signed for this URL, which may not be the one that is requested.
    pub(super) fn signed_for(self, url: &str, secret: &Secret) -> Self {
        let signature = sign(secret, url, self.content, &self.body);
        self.header("X-Twilio-Signature", &signature)
    }

    /// The head, without the blank line that ends it, and without the length of the body.
    pub(super) fn head(&self) -> String {
        format!("{} {} HTTP/1.1\r\nHost: h\r\n{}", self.method, self.target, self.headers)
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.head().into_bytes();
        if !self.body.is_empty() {
            bytes.extend(format!("Content-Length: {}\r\n", self.body.len()).bytes());
        }
        bytes.extend(b"\r\n");
        bytes.extend(&self.body);
        bytes
    }
}

pub(super) fn token(token: &str) -> Secret {
    Secret::auth_token(&SecretString::from(token))
}
