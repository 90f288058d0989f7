//! The form `twilio`: the callback as Twilio sent it, signed again for the URL that it goes to. A handler that checks
//! `X-Twilio-Signature` with its account's auth token cannot tell the difference, and needs no change.
//!
//! What is the same: the method, the parameters byte for byte, the query of the callback URL, the idempotency token.
//! What is not: the URL, and so the signature. Of a JSON request with several elements each is an event of its own, and
//! goes by itself, as a request with one element and a `bodySHA256` of its own.

use std::fmt;

use bytes::Bytes;
use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};

use super::Outgoing;
use crate::event::{self, Event, Format, Kind, Route};
use crate::forward::target::Target;
use crate::labels::Label as _;
use crate::twilio::keyring::{Account, Keyring, Secret};
use crate::twilio::params::Params;
use crate::twilio::signature::{
    BODY_HASH, Content, SETTINGS_HEADER, SIGNATURE_HEADER, body_hash, sign,
};

/// Twilio's name for one request, over all its tries. Not signed.
pub const TOKEN_HEADER: &str = "i-twilio-idempotency-token";

const FORM: HeaderValue =
    HeaderValue::from_static("application/x-www-form-urlencoded; charset=UTF-8");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const SIGNATURE: HeaderName = HeaderName::from_static(SIGNATURE_HEADER);
const SETTINGS: HeaderName = HeaderName::from_static(SETTINGS_HEADER);
const TOKEN: HeaderName = HeaderName::from_static(TOKEN_HEADER);

/// What signs a callback that is forwarded.
#[derive(Clone)]
pub enum SignWith {
    /// The first auth token of the account that it is about, as Twilio does.
    AuthToken,
    /// The shared key with this id, of that account.
    SharedKey(String),
    /// A secret that only the endpoint and offhook know, in the place of an auth token.
    Own(Secret),
}

impl SignWith {
    /// The secret for an event of this account: that of the account's own entry, else of the one that may speak for
    /// it, as Twilio signs for a sub-account.
    fn secret<'k>(&'k self, keyring: &'k Keyring, account: &str) -> Option<&'k Secret> {
        let parent = || keyring.accounts().iter().find(|known| known.speaks_for(account));
        let entry = || keyring.account(account).or_else(parent);
        match self {
            Self::AuthToken => entry()?.auth_token(),
            Self::SharedKey(id) => entry()?.secrets().iter().find(|secret| is_key(secret, id)),
            Self::Own(secret) => Some(secret),
        }
    }

    /// Whether callbacks of this account can be signed.
    #[must_use]
    pub fn serves(&self, account: &Account) -> bool {
        match self {
            Self::AuthToken => account.auth_token().is_some(),
            Self::SharedKey(id) => account.secrets().iter().any(|secret| is_key(secret, id)),
            Self::Own(_) => true,
        }
    }
}

fn is_key(secret: &Secret, id: &str) -> bool {
    secret.is_shared() && secret.id() == id
}

/// Which secret, and never the secret.
impl fmt::Debug for SignWith {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AuthToken => "the auth token",
            Self::SharedKey(_) => "a shared key",
            Self::Own(_) => "a secret of its own",
        })
    }
}

/// The request for an event; `None` if nothing signs for its account.
#[must_use]
pub fn request(
    event: &Event,
    target: &Target,
    with: &SignWith,
    keyring: &Keyring,
) -> Option<Outgoing> {
    let secret = with.secret(keyring, &event.account)?;
    let Callback { content, query, body } = Callback::of(event);
    let url = target.with_query(&query);
    let mut headers = HeaderMap::new();
    let (method, content_type) = match content {
        Content::Query => (Method::GET, None),
        Content::Form => (Method::POST, Some(FORM)),
        Content::Json => (Method::POST, Some(JSON)),
    };
    headers.extend(content_type.map(|it| (CONTENT_TYPE, it)));
    let signature = sign(secret, url.as_str(), content, &body);
    headers.extend(HeaderValue::try_from(signature).ok().map(|it| (SIGNATURE, it)));
    if secret.is_shared() {
        let settings = format!("key={},algorithm={}", secret.id(), secret.algorithm().name());
        headers.extend(HeaderValue::try_from(settings).ok().map(|it| (SETTINGS, it)));
    }
    let token = event.request.as_ref().and_then(|request| request.idempotency_token.as_deref());
    let token = token.and_then(|token| HeaderValue::from_str(token).ok());
    headers.extend(token.map(|it| (TOKEN, it)));
    Some(Outgoing { method, url, headers, body })
}

/// What Twilio sent, but for the URL.
struct Callback {
    content: Content,
    /// Raw: behind the target's own.
    query: String,
    body: Bytes,
}

impl Callback {
    fn of(event: &Event) -> Self {
        // An event of a version that did not keep the method was a POST: that is Twilio's default.
        let method = event.request.as_ref().map_or(event::Method::Post, |request| request.method);
        match (event.format, method) {
            (Format::Form, event::Method::Get) => Self {
                content: Content::Query,
                query: String::from_utf8_lossy(&event.body).into_owned(),
                body: Bytes::new(),
            },
            (Format::Form, event::Method::Post) => Self {
                content: Content::Form,
                query: event.query.clone(),
                body: event.body.clone(),
            },
            (Format::Json, _) => {
                let body = element(event);
                let hash = format!("{BODY_HASH}={}", body_hash(&body));
                let kept = without_hash(&event.query);
                let query = if kept.is_empty() { hash } else { format!("{kept}&{hash}") };
                Self { content: Content::Json, query, body }
            }
        }
    }
}

/// Event Streams sends arrays, of which each element became an event. What was kept whole is one already.
fn element(event: &Event) -> Bytes {
    let streamed = event.kind == Kind::EventStream
        || event.request.as_ref().is_some_and(|request| request.route == Route::EventStreams);
    let is_array = event.body.trim_ascii_start().starts_with(b"[");
    match streamed && !is_array {
        true => [b"[", &event.body[..], b"]"].concat().into(),
        false => event.body.clone(),
    }
}

/// A raw query without the hash of the body that Twilio sent, the rest as it was written.
fn without_hash(query: &str) -> String {
    let is_hash = |pair: &str| Params::parse(pair.as_bytes()).has(BODY_HASH);
    let kept = query.split('&').filter(|pair| !is_hash(pair));
    kept.collect::<Vec<_>>().join("&")
}

#[cfg(test)]
mod tests;
