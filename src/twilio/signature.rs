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

use super::keyring::{Account, Algorithm, ClaimedKey, Keyring, Named, Secret};
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
    fn wanted(&self) -> ClaimedKey<'_> {
        ClaimedKey { key_id: self.key_id.as_deref(), algorithm: self.signature.algorithm() }
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
    /// It has more than [`MOST_PAIRS`], or [`MOST_HASHED`] bytes were hashed before everything was tried.
    #[error("it has more parameters, or takes more work to check, than what Twilio sends")]
    TooCostly,
}

/// Parameters of one form: Twilio sends fewer than 200. A form of 64 kB could have 32,000, and sorting
/// them would cost a forger nothing and the receiver 2.5 ms.
pub const MOST_PAIRS: usize = 10_240;
/// Bytes that are hashed for one request, or as much other work: of a form of 2 kB with 450 secrets, of one of
/// 64 kB with 7 writings and secrets, of one that has very many parameters besides with 4. Without a bound
/// a forged form costs as many times that as there are secrets; this is about 1 ms.
pub const MOST_HASHED: usize = 1024 * 1024;
/// Bytes that are hashed in one [step](Search::step), unless one hash takes more: 25 µs of work.
const STEP: usize = 32 * 1024;
/// What a hash costs besides its bytes, as bytes.
const PER_HASH: usize = 128;
/// What it costs to receive and read a byte, as bytes that are hashed.
const PER_BYTE: usize = 8;
/// What it costs to read, sort and join a parameter, as bytes that are hashed.
const PER_PAIR: usize = 32;
/// What a byte of another writing of a URL costs, as bytes that are hashed.
const PER_WRITTEN: usize = 4;

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
            Content::Form if has_too_many(body) => Params::default(),
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

    /// Begins to check the signature. `AccountSid` only narrows the search: nobody has vouched for it
    /// yet.
    ///
    /// Another writing of the URL or of the form is tried for the account that a form names, or if
    /// there is only one. What names none, as JSON does, is tried with every secret; a form as it is,
    /// and what is signed by its URL alone, which is short, in every writing.
    ///
    /// # Errors
    /// See [`SignatureError`]; those that need no secret.
    pub fn search<'k>(self, keyring: &'k Keyring) -> Result<Search<'a, 'k>, SignatureError> {
        self.search_among(&[], MOST_HASHED, keyring)
    }

    /// The same where it may have been signed to another URL, of which all are tried as they are before
    /// any is in another writing; hashes `most` bytes. The parameters are those of its own URL.
    ///
    /// # Errors
    /// The same.
    pub fn search_among<'k>(
        self,
        others: &'a [String],
        most: usize,
        keyring: &'k Keyring,
    ) -> Result<Search<'a, 'k>, SignatureError> {
        if self.content == Content::Form && has_too_many(self.body) {
            return Err(SignatureError::TooCostly);
        }
        let others = self.with_body_hash(others)?;
        let Unverified(claim) = &self.state;
        let wanted = claim.wanted();
        let [about, parent] = accounts(&self.params);
        let named = Named { account: about.as_deref(), parent: parent.as_deref() };
        let secrets: Vec<_> = keyring.lookup(named, wanted).collect();
        let decoys = match named.account {
            Some(_) => keyring.decoys(wanted.algorithm, secrets.len()),
            None => keyring.decoys(wanted.algorithm, usize::MAX),
        };
        let alone = keyring.accounts().len() == 1;
        let secrets_are_none = secrets.is_empty();
        Ok(Search {
            every_writing: named.account.is_some() || alone || self.content != Content::Form,
            known: keyring.knows(named),
            claimed: named.account.and_then(|sid| keyring.account(sid)),
            secrets,
            decoys,
            signed: signed(self.content, &self.params),
            url: without_fragment(self.url).into(),
            of: self.url,
            others,
            left: None,
            round: Round { decoys: secrets_are_none, replaced: false, secret: 0 },
            // Of whatever is long or has many, the likeliest are still tried.
            hashed: (self.cost_of_bytes() + self.cost_of_pairs()).min(most / 4 * 3),
            tried: false,
            most,
            request: self,
        })
    }

    fn cost_of_bytes(&self) -> usize {
        PER_BYTE * (self.body.len() + 2 * self.url.len())
    }

    fn cost_of_pairs(&self) -> usize {
        PER_PAIR * self.params.iter().len()
    }

    /// Every combination of candidate URL and secret, in the order in which they are tried.
    #[must_use]
    pub fn trials(&self, keyring: &Keyring) -> Vec<Trial> {
        let Unverified(claim) = &self.state;
        let wanted = claim.wanted();
        let signed = signed(self.content, &self.params);
        let [about, parent] = accounts(&self.params);
        let named = Named { account: about.as_deref(), parent: parent.as_deref() };
        let mut trials = Vec::new();
        for url in candidates(self.url) {
            for (account, secret) in keyring.lookup(named, wanted) {
                trials.push(Trial {
                    matched: secret.verifies(&url, &signed, claim.signature.bytes()),
                    url: url.clone().into_owned(),
                    account: account.sid().to_owned(),
                    secret: secret.id().to_owned(),
                });
            }
        }
        trials
    }

    /// Of other URLs those that cover the body, too, once its own does: of JSON, those that carry its hash.
    fn with_body_hash(&self, others: &'a [String]) -> Result<Vec<&'a str>, SignatureError> {
        let others = others.iter().map(String::as_str);
        if self.content != Content::Json {
            return Ok(others.collect());
        }
        let actual = body_hash(self.body);
        check_body_hash(self.url, &actual)?;
        Ok(others.filter(|url| check_body_hash(url, &actual).is_ok()).collect())
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

fn has_too_many(form: &[u8]) -> bool {
    Params::count(form) > MOST_PAIRS
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

/// A search for the secret that made a signature. It is taken a step at a time, so that who takes them
/// can do something else in between.
pub struct Search<'a, 'k> {
    request: SignedRequest<'a, Unverified>,
    /// Whether the account that it names, if it names one, is known.
    known: bool,
    claimed: Option<&'k Account>,
    every_writing: bool,
    secrets: Vec<(&'k Account, &'k Secret)>,
    /// Tried after all secrets, and how often.
    decoys: (&'k Secret, usize),
    /// What is tried: the URL, which one that is a writing of, and what is signed after it.
    url: Cow<'a, str>,
    of: &'a str,
    signed: Vec<u8>,
    /// Other URLs that it may have been signed to.
    others: Vec<&'a str>,
    /// What else may have been signed. Nearly always it is what was sent, so the rest is not even
    /// written down before.
    left: Option<Left<'a>>,
    round: Round,
    /// The work so far, in bytes.
    hashed: usize,
    tried: bool,
    most: usize,
}

/// A URL and a writing of it.
type Written<'a> = (&'a str, Cow<'a, str>);

/// What is left to try besides what was sent.
struct Left<'a> {
    urls: Box<dyn Iterator<Item = Written<'a>> + Send + 'a>,
    /// Invalid UTF-8: whether Twilio signs the bytes or their replacement is not documented.
    replaced: Option<Vec<u8>>,
}

/// What is tried next, of the writing that is tried.
#[derive(Clone, Copy)]
struct Round {
    decoys: bool,
    replaced: bool,
    secret: usize,
}

/// What a step of a search came to.
#[expect(clippy::large_enum_variant, reason = "it is taken apart at once")]
pub enum Step<'a, 'k> {
    /// There is more to try.
    More(Search<'a, 'k>),
    /// That was all.
    Ended(Result<SignedRequest<'a, Verified<'k>>, SignatureError>),
}

impl<'a, 'k> Search<'a, 'k> {
    /// The account that it says it is of, if that is configured: nobody has vouched for it yet.
    #[must_use]
    pub fn claimed(&self) -> Option<&'k Account> {
        self.claimed
    }

    /// Tries the likeliest that were not yet tried, as many as can be hashed in a few dozen µs.
    #[must_use]
    pub fn step(mut self) -> Step<'a, 'k> {
        let until = self.hashed + STEP;
        while self.hashed < until {
            match self.try_next() {
                Tried::Nothing => {}
                Tried::Right(account, secret) => return Step::Ended(Ok(self.by(account, secret))),
                Tried::All if self.known => return Step::Ended(Err(SignatureError::Mismatch)),
                Tried::All => return Step::Ended(Err(SignatureError::UnknownAccount)),
                Tried::TooMuch => return Step::Ended(Err(SignatureError::TooCostly)),
            }
        }
        Step::More(self)
    }

    /// Takes all steps at once.
    ///
    /// # Errors
    /// See [`SignatureError`].
    pub fn end(mut self) -> Result<SignedRequest<'a, Verified<'k>>, SignatureError> {
        loop {
            match self.step() {
                Step::Ended(ended) => return ended,
                Step::More(rest) => self = rest,
            }
        }
    }

    fn by(self, account: &'k Account, secret: &'k Secret) -> SignedRequest<'a, Verified<'k>> {
        let (url, state) = (self.of, Verified { account, secret });
        let SignedRequest { content, body, params, .. } = self.request;
        SignedRequest { url, content, body, params, state }
    }

    fn try_next(&mut self) -> Tried<'k> {
        let Round { decoys, replaced, secret } = self.round;
        let (decoy, repeats) = self.decoys;
        if secret == if decoys { repeats } else { self.secrets.len() } {
            return self.next_round();
        }
        self.round.secret += 1;
        let Unverified(claim) = &self.request.state;
        let signed = match &self.left {
            Some(Left { replaced: Some(other), .. }) if replaced => other,
            _ => &self.signed,
        };
        let cost = self.url.len() + signed.len() + PER_HASH;
        if self.tried && self.hashed + cost > self.most {
            return self.too_much();
        }
        self.tried = true;
        let (account, secret) = match decoys {
            true => (None, decoy),
            false => (Some(self.secrets[secret].0), self.secrets[secret].1),
        };
        let right = secret.verifies(&self.url, signed, claim.signature.bytes());
        self.hashed += cost;
        match account {
            Some(account) if right => Tried::Right(account, secret),
            _ => {
                std::hint::black_box(right);
                Tried::Nothing
            }
        }
    }

    /// The next writing with every secret; after the last, all writings again with decoys.
    fn next_round(&mut self) -> Tried<'k> {
        self.round.secret = 0;
        if self.secrets.is_empty() && self.decoys.1 == 0 {
            return Tried::All;
        }
        let Some(left) = self.left() else { return self.too_much() };
        let has_replaced = left.replaced.is_some();
        if has_replaced && !self.round.replaced {
            self.round.replaced = true;
            return Tried::Nothing;
        }
        self.round.replaced = false;
        if self.hashed > self.most {
            return self.too_much();
        }
        if let Some((of, url)) = self.left.as_mut().and_then(|left| left.urls.next()) {
            self.hashed += PER_WRITTEN * url.len();
            (self.of, self.url) = (of, url);
            return Tried::Nothing;
        }
        if self.round.decoys || self.decoys.1 == 0 {
            return Tried::All;
        }
        self.round.decoys = true;
        (self.of, self.url) = (self.request.url, without_fragment(self.request.url).into());
        let urls = self.urls();
        if let Some(left) = &mut self.left {
            left.urls = urls;
        }
        Tried::Nothing
    }

    /// What is left, which is found out when it is needed; `None` if that is too much work.
    fn left(&mut self) -> Option<&Left<'a>> {
        if self.left.is_none() {
            let SignedRequest { content, params, .. } = &self.request;
            let mut replaced = None;
            if self.every_writing && *content == Content::Form && !params.is_utf8() {
                // All of it is read and sorted again.
                let cost = self.request.cost_of_pairs();
                if self.hashed + cost > self.most {
                    return None;
                }
                replaced = params.with_replacements().map(|replaced| replaced.signed());
                self.hashed += cost;
            }
            self.left = Some(Left { urls: self.urls(), replaced });
        }
        self.left.as_ref()
    }

    /// All but the one that was sent, the likeliest first.
    fn urls(&self) -> Box<dyn Iterator<Item = Written<'a>> + Send + 'a> {
        let as_they_are = self.others.clone().into_iter();
        let as_they_are = as_they_are.map(|url| (url, Cow::Borrowed(without_fragment(url))));
        if !self.every_writing {
            return Box::new(as_they_are);
        }
        let all = std::iter::once(self.request.url).chain(self.others.clone());
        let written = |url| candidates(url).skip(1).map(move |written| (url, written));
        Box::new(as_they_are.chain(all.flat_map(written)))
    }

    fn too_much(&self) -> Tried<'k> {
        // Of what is left nothing could match.
        if self.round.decoys { Tried::All } else { Tried::TooMuch }
    }
}

/// What came of one trial.
enum Tried<'k> {
    Nothing,
    Right(&'k Account, &'k Secret),
    /// There is nothing left to try.
    All,
    TooMuch,
}

/// Twilio takes its connection overrides from the fragment, and signs the rest.
fn without_fragment(url: &str) -> &str {
    url.split('#').next().unwrap_or(url)
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

    /// The URL that was signed, of those that were tried, as it was given.
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
#[path = "signature_tests.rs"]
mod tests;
