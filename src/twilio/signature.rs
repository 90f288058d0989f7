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

use super::keyring::{Account, Algorithm, Keyring, Named, Secret, Wanted};
use super::params::Params;
use super::public_url::candidates;
use crate::event::key::hex;

/// The signature header.
pub const SIGNATURE_HEADER: &str = "x-twilio-signature";
/// The header that names a shared key and its algorithm.
pub const SETTINGS_HEADER: &str = "x-twilio-webhooks-signature-settings";
/// The query parameter that carries a JSON body's hash.
pub const BODY_HASH: &str = "bodySHA256";

/// What the headers claim: a signature, and how it was made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Claim {
    signature: Signature,
    key_id: Option<String>,
}

/// A signature has the length of its algorithm, and no other.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Signature {
    Sha1([u8; 20]),
    Sha256([u8; 32]),
}

impl Signature {
    fn new(bytes: &[u8], algorithm: Algorithm) -> Option<Self> {
        Some(match algorithm {
            Algorithm::HmacSha1 => Self::Sha1(bytes.try_into().ok()?),
            Algorithm::HmacSha256 => Self::Sha256(bytes.try_into().ok()?),
        })
    }

    fn algorithm(&self) -> Algorithm {
        match self {
            Self::Sha1(_) => Algorithm::HmacSha1,
            Self::Sha256(_) => Algorithm::HmacSha256,
        }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::Sha1(bytes) => bytes,
            Self::Sha256(bytes) => bytes,
        }
    }
}

/// Why the headers claim nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ClaimError {
    /// There is no signature header.
    #[error("the request has no X-Twilio-Signature")]
    Missing,
    /// Several headers, bad base64, a wrong length, an unknown algorithm.
    #[error("the signature is malformed: {0}")]
    Malformed(&'static str),
}

impl Claim {
    /// Reads the values of the signature header and of the settings header
    /// (`key=<id>,algorithm=HMAC_SHA256`). Without an algorithm it is HMAC-SHA1 with the auth
    /// token.
    ///
    /// # Errors
    /// See [`ClaimError`].
    pub fn parse<'a>(
        signatures: impl IntoIterator<Item = &'a [u8]>,
        settings: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<Self, ClaimError> {
        let mut signatures = signatures.into_iter();
        let signature = signatures.next().ok_or(ClaimError::Missing)?;
        if signatures.next().is_some() {
            return Err(ClaimError::Malformed("more than one signature header"));
        }
        let (key_id, algorithm) = parse_settings(settings)?;
        // The longest well-formed one is 44 characters; nothing longer than 64 fits.
        let mut decoded = [0; 48];
        let length = STANDARD.decode_slice(signature, &mut decoded);
        let length = length.map_err(|_| ClaimError::Malformed("not base64"))?;
        let signature = Signature::new(&decoded[..length], algorithm);
        let signature = signature.ok_or(ClaimError::Malformed("wrong length for its algorithm"))?;
        Ok(Self { signature, key_id })
    }
}

impl Claim {
    fn wanted(&self) -> Wanted<'_> {
        Wanted { key_id: self.key_id.as_deref(), algorithm: self.signature.algorithm() }
    }
}

fn parse_settings<'a>(
    values: impl IntoIterator<Item = &'a [u8]>,
) -> Result<(Option<String>, Algorithm), ClaimError> {
    let mut values = values.into_iter();
    let Some(value) = values.next() else { return Ok((None, Algorithm::HmacSha1)) };
    if values.next().is_some() {
        return Err(ClaimError::Malformed("more than one settings header"));
    }
    let value = std::str::from_utf8(value)
        .map_err(|_| ClaimError::Malformed("settings header is not text"))?;
    let (mut key, mut algorithm) = (None, None);
    for part in value.split(',') {
        match part.trim().split_once('=') {
            Some(("key", id)) => key = Some(id.to_owned()),
            Some(("algorithm", name)) => {
                let known = Algorithm::parse(name);
                algorithm = Some(known.ok_or(ClaimError::Malformed("unknown algorithm"))?);
            }
            _ => {}
        }
    }
    Ok(match algorithm {
        Some(algorithm) => (key, algorithm),
        None => (None, Algorithm::HmacSha1),
    })
}

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

/// A request whose signature nobody has checked.
#[derive(Debug)]
pub struct Unverified(Claim);

/// Proof that the signature was checked, and with what.
pub struct Verified<'k> {
    /// Whose secret it was.
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
    /// Its `AccountSid` is none of ours.
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
            Content::Form => Params::parse(body),
            Content::Json => Params::default(),
        };
        Self { url, content, body, params, state: Unverified(claim) }
    }

    /// Checks the signature against every candidate URL and every secret that it may have been
    /// made with. `AccountSid` only narrows the search: nobody has vouched for it yet.
    ///
    /// # Errors
    /// See [`SignatureError`]. An unknown account costs the same work as a wrong signature.
    pub fn verify<'k>(
        self,
        keyring: &'k Keyring,
    ) -> Result<SignedRequest<'a, Verified<'k>>, SignatureError> {
        self.check_body_hash()?;
        let Self { url, content, body, params, state: Unverified(claim) } = self;
        let (wanted, signature) = (claim.wanted(), claim.signature.bytes());
        let [about, parent] = accounts(&params);
        let named = Named { account: about.as_deref(), parent: parent.as_deref() };

        let matched = if keyring.knows(named) {
            find(url, content, &params, signature, || keyring.lookup(named, wanted))
        } else {
            let decoy = keyring.decoy(wanted.algorithm);
            let none = &keyring.accounts()[0];
            let found = find(url, content, &params, signature, || std::iter::once((none, decoy)));
            std::hint::black_box(found.is_some());
            return Err(SignatureError::UnknownAccount);
        };
        let (account, secret) = matched.ok_or(SignatureError::Mismatch)?;
        Ok(SignedRequest { url, content, body, params, state: Verified { account, secret } })
    }

    /// Every combination of candidate URL and secret, in the order in which they are tried.
    #[must_use]
    pub fn trials(&self, keyring: &Keyring) -> Vec<Trial> {
        let Unverified(claim) = &self.state;
        let wanted = claim.wanted();
        let pairs = signed_pairs(self.content, &self.params);
        let [about, parent] = accounts(&self.params);
        let named = Named { account: about.as_deref(), parent: parent.as_deref() };
        let mut trials = Vec::new();
        for url in candidates(self.url) {
            for (account, secret) in keyring.lookup(named, wanted) {
                trials.push(Trial {
                    matched: secret.verifies(&url, &pairs, claim.signature.bytes()),
                    url: url.clone().into_owned(),
                    account: account.sid().to_owned(),
                    secret: secret.id().to_owned(),
                });
            }
        }
        trials
    }

    fn check_body_hash(&self) -> Result<(), SignatureError> {
        if self.content != Content::Json {
            return Ok(());
        }
        let query = Params::parse(query_of(self.url).as_bytes());
        let mut hashes = query.iter().filter(|(name, _)| *name == BODY_HASH.as_bytes()).peekable();
        hashes.peek().ok_or(SignatureError::MissingBodyHash)?;
        let actual = body_hash(self.body);
        match hashes.any(|(_, claimed)| claimed == actual.as_bytes()) {
            true => Ok(()),
            false => Err(SignatureError::WrongBodyHash),
        }
    }
}

/// The account that the parameters are about, and its parent, if they name them.
fn accounts<'p>(params: &'p Params<'_>) -> [Option<Cow<'p, str>>; 2] {
    ["AccountSid", "ParentAccountSid"].map(|name| params.get(name))
}

/// The pairs that are signed after the URL.
fn signed_pairs<'p>(content: Content, params: &'p Params<'_>) -> Vec<(&'p [u8], &'p [u8])> {
    match content {
        Content::Form => params.signed_pairs(),
        Content::Query | Content::Json => Vec::new(),
    }
}

/// The first secret that gives `signature` for one of the candidate URLs.
fn find<'k, I: Iterator<Item = (&'k Account, &'k Secret)>>(
    url: &str,
    content: Content,
    params: &Params<'_>,
    signature: &[u8],
    secrets: impl Fn() -> I,
) -> Option<(&'k Account, &'k Secret)> {
    let pairs = signed_pairs(content, params);
    let try_all = |url: &str, pairs: &[(&[u8], &[u8])]| {
        secrets().find(|(_, secret)| secret.verifies(url, pairs, signature))
    };
    // Nearly always it is the first, so the others are not even written down before.
    let raw = url.split('#').next().unwrap_or(url);
    if let Some(found) = try_all(raw, &pairs) {
        return Some(found);
    }
    let urls = candidates(url);
    if let Some(found) = urls.iter().skip(1).find_map(|url| try_all(url, &pairs)) {
        return Some(found);
    }
    // Invalid UTF-8: whether Twilio signs the bytes or their replacement is not documented.
    let replaced = (content == Content::Form).then(|| params.with_replacements()).flatten()?;
    let pairs = replaced.signed_pairs();
    urls.iter().find_map(|url| try_all(url, &pairs))
}

impl<'a, 'k> SignedRequest<'a, Verified<'k>> {
    /// Who signed it, and with what.
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

    /// The raw query, without its `?`.
    #[must_use]
    pub fn query(&self) -> &'a str {
        query_of(self.url)
    }
}

fn query_of(url: &str) -> &str {
    let url = url.split('#').next().unwrap_or(url);
    url.split_once('?').map_or("", |(_, query)| query)
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
    STANDARD.encode(secret.sign(url.split('#').next().unwrap_or(url), &params.signed_pairs()))
}

#[cfg(test)]
#[path = "signature_tests.rs"]
mod tests;
