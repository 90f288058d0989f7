//! [`Search`]: tries the URLs and secrets that a signature may have been made with, the likeliest first,
//! and bounds what a forged request can make it do.

use std::borrow::Cow;

use super::{
    Content, SignatureError, SignedRequest, Unverified, Verified, accounts, body_hash,
    check_body_hash, signed, without_fragment,
};
use crate::twilio::keyring::{Account, Keyring, Named, Secret};
use crate::twilio::params::Params;
use crate::twilio::public_url::candidates;

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

impl<'a> SignedRequest<'a, Unverified> {
    /// Begins to check the signature. `AccountSid` only narrows the search: it is not verified yet.
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
        let key = claim.key();
        let [about, parent] = accounts(&self.params);
        let named = Named { account: about.as_deref(), parent: parent.as_deref() };
        let secrets: Vec<_> = keyring.lookup(named, key).collect();
        let decoys = match named.account {
            Some(_) => keyring.decoys(key.algorithm, secrets.len()),
            None => keyring.decoys(key.algorithm, usize::MAX),
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
            // If the request is long or has many parameters, the likeliest are still tried.
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

    /// The other URLs that also cover the body, once the request's own URL does: for JSON, those that carry its hash.
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

pub(super) fn has_too_many(form: &[u8]) -> bool {
    Params::count(form) > MOST_PAIRS
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
    /// The search has ended.
    Ended(Result<SignedRequest<'a, Verified<'k>>, SignatureError>),
}

impl<'a, 'k> Search<'a, 'k> {
    /// The account that it says it is of, if that is configured: it is not verified yet.
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
        let right = secret.verifies(&self.url, signed, claim.signature());
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

    /// All URLs except the one that was sent, the likeliest first.
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
        // None of the rest could match.
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

#[cfg(test)]
mod tests;
