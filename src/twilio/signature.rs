//! `X-Twilio-Signature`: an [`Unverified`] request becomes a [`Verified`] one here and nowhere
//! else, and only a verified one becomes an event.
//!
//! What is signed, by Twilio's documentation (<https://www.twilio.com/docs/usage/security>): the
//! full URL; of a form POST, then each parameter's name and value, sorted; of JSON, the URL alone,
//! which then carries the body's SHA-256 as `bodySHA256`.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::keyring::{Account, Keyring, Named, Secret};
use super::params::Params;
use super::public_url::candidates;
use crate::event::key::hex;

mod claim;
mod search;

pub use self::claim::{Claim, ClaimError, SETTINGS_HEADER, SIGNATURE_HEADER};
pub use self::search::{MOST_HASHED, MOST_PAIRS, Search, Step};

/// The query parameter that carries a JSON body's hash.
pub const BODY_HASH: &str = "bodySHA256";

/// Where the parameters are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Content {
    /// In the query: GET. The URL is all that is signed.
    Query,
    /// In a form body, which is signed with the URL.
    Form,
    /// In a JSON body, whose hash is in the URL.
    Json,
}

/// A request whose signature has not been checked.
#[derive(Debug)]
pub struct Unverified(Claim);

/// Proof that the signature was checked, and with what.
pub struct Verified<'k> {
    /// The account of the secret.
    pub account: &'k Account,
    /// Which secret it was.
    pub secret: &'k Secret,
}

/// A signed request: [`Unverified`] until [`verify`](SignedRequest::verify) says otherwise.
#[derive(Debug)]
pub struct SignedRequest<'a, S> {
    url: &'a str,
    content: Content,
    body: &'a Bytes,
    params: Params<'a>,
    state: S,
}

/// Why a signature does not hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SignatureError {
    /// Its `AccountSid` is not configured.
    #[error("the account is not configured")]
    UnknownAccount,
    /// JSON without `bodySHA256` in the URL: its body is not covered by the signature.
    #[error("a JSON body needs bodySHA256 in the URL")]
    MissingBodyHash,
    /// The body is not the one whose hash is in the URL.
    #[error("the body does not have the SHA-256 that the URL says")]
    WrongBodyHash,
    /// No candidate URL and no secret gives this signature.
    #[error("the signature is wrong")]
    Mismatch,
    /// It has more parameters than [`MOST_PAIRS`], or [`MOST_HASHED`] bytes were hashed before everything was tried.
    #[error("it has more parameters, or takes more work to check, than what Twilio sends")]
    TooCostly,
}

/// One combination that was tried, to explain a refusal. Never holds a signature.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Trial {
    /// The URL.
    pub url: String,
    /// The account's SID.
    pub account: String,
    /// [`Secret::id`].
    pub secret: String,
    /// Whether this was it.
    pub matched: bool,
}

impl<'a> SignedRequest<'a, Unverified> {
    /// A request of the public `url`, as Twilio requested it, with path and query raw. For
    /// [`Content::Query`] the `body` is empty.
    #[must_use]
    pub fn new(url: &'a str, content: Content, body: &'a Bytes, claim: Claim) -> Self {
        let params = match content {
            Content::Query => Params::parse(query_of(url).as_bytes()),
            // One that is refused for its pairs is not read.
            Content::Form if search::has_too_many(body) => Params::default(),
            Content::Form => Params::parse(body),
            Content::Json => Params::default(),
        };
        Self { url, content, body, params, state: Unverified(claim) }
    }

    /// Checks the signature against the URLs and secrets that it may have been made with, all at
    /// once. See [`search`](Self::search).
    ///
    /// # Errors
    /// See [`SignatureError`].
    pub fn verify<'k>(
        self,
        keyring: &'k Keyring,
    ) -> Result<SignedRequest<'a, Verified<'k>>, SignatureError> {
        self.search(keyring)?.end()
    }

    /// Every combination of candidate URL and secret, in the order in which they are tried.
    #[must_use]
    pub fn trials(&self, keyring: &Keyring) -> Vec<Trial> {
        let Unverified(claim) = &self.state;
        let key = claim.key();
        let signed = signed(self.content, &self.params);
        let [about, parent] = accounts(&self.params);
        let named = Named { account: about.as_deref(), parent: parent.as_deref() };
        let mut trials = Vec::new();
        for url in candidates(self.url) {
            for (account, secret) in keyring.lookup(named, key) {
                trials.push(Trial {
                    matched: secret.verifies(&url, &signed, claim.signature()),
                    url: url.clone().into_owned(),
                    account: account.sid().to_owned(),
                    secret: secret.id().to_owned(),
                });
            }
        }
        trials
    }
}

fn check_body_hash(url: &str, actual: &str) -> Result<(), SignatureError> {
    let query = Params::parse(query_of(url).as_bytes());
    let mut hashes = query.iter().filter(|(name, _)| *name == BODY_HASH.as_bytes()).peekable();
    hashes.peek().ok_or(SignatureError::MissingBodyHash)?;
    match hashes.any(|(_, claimed)| claimed == actual.as_bytes()) {
        true => Ok(()),
        false => Err(SignatureError::WrongBodyHash),
    }
}

/// The account that the parameters are about, and its parent, if they name them.
fn accounts<'p>(params: &'p Params<'_>) -> [Option<Cow<'p, str>>; 2] {
    ["AccountSid", "ParentAccountSid"].map(|name| params.get(name))
}

/// What is signed after the URL.
fn signed(content: Content, params: &Params<'_>) -> Vec<u8> {
    match content {
        Content::Form => params.signed(),
        Content::Query | Content::Json => Vec::new(),
    }
}

/// Twilio takes its connection overrides from the fragment, and signs the rest.
fn without_fragment(url: &str) -> &str {
    url.split('#').next().unwrap_or(url)
}

impl<'a, 'k> SignedRequest<'a, Verified<'k>> {
    /// The account and the secret that signed it.
    #[must_use]
    pub fn verified(&self) -> &Verified<'k> {
        &self.state
    }

    /// The parameters of a form or a query; none for JSON.
    #[must_use]
    pub fn params(&self) -> &Params<'a> {
        &self.params
    }

    /// Where the parameters are.
    #[must_use]
    pub fn content(&self) -> Content {
        self.content
    }

    /// The body, as it was signed.
    #[must_use]
    pub fn body(&self) -> &'a Bytes {
        self.body
    }

    /// The one of the tried URLs that was signed, as it was given.
    #[must_use]
    pub fn url(&self) -> &'a str {
        self.url
    }

    /// The raw query, without its `?`.
    #[must_use]
    pub fn query(&self) -> &'a str {
        query_of(self.url)
    }
}

fn query_of(url: &str) -> &str {
    without_fragment(url).split_once('?').map_or("", |(_, query)| query)
}

/// What `bodySHA256` is for this body: lower-case hexadecimal.
#[must_use]
pub fn body_hash(body: &[u8]) -> String {
    hex(&Sha256::digest(body))
}

/// The value of `X-Twilio-Signature` for a request of `url`: what Twilio would send. For JSON the
/// URL must carry `bodySHA256` already.
#[must_use]
pub fn sign(secret: &Secret, url: &str, content: Content, body: &[u8]) -> String {
    let params = match content {
        Content::Form => Params::parse(body),
        Content::Query | Content::Json => Params::default(),
    };
    STANDARD.encode(secret.sign(without_fragment(url), &params.signed()))
}

#[cfg(test)]
mod tests;
