//! [`Keyring`]: whose secrets a signature may have been made with.
//!
//! Several accounts, since a sub-account's callbacks are signed with its own token; per account
//! several secrets, so that one can be rotated without a gap.

use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha1::Sha1;
use sha2::Sha256;

use crate::labels::labels;

labels! {
    /// How a signature is made.
    pub enum Algorithm {
        /// HMAC-SHA1: auth tokens, and shared keys that say so.
        HmacSha1 = "HMAC_SHA1",
        /// HMAC-SHA256: shared keys.
        HmacSha256 = "HMAC_SHA256",
    }
}

/// A key with its padding already hashed, which saves two of the compressions of each signature.
#[derive(Clone)]
enum Key {
    Sha1(Hmac<Sha1>),
    Sha256(Hmac<Sha256>),
}

/// One secret of an account. Has no `Debug`: it is never printed.
#[derive(Clone)]
pub struct Secret {
    id: String,
    shared: bool,
    retiring: bool,
    key: Key,
}

impl Secret {
    fn new(id: String, shared: bool, algorithm: Algorithm, secret: &SecretString) -> Self {
        let bytes = secret.expose_secret().as_bytes();
        let key = match algorithm {
            Algorithm::HmacSha1 => {
                Key::Sha1(Hmac::new_from_slice(bytes).expect("HMAC takes a key of any length"))
            }
            Algorithm::HmacSha256 => {
                Key::Sha256(Hmac::new_from_slice(bytes).expect("HMAC takes a key of any length"))
            }
        };
        Self { id, shared, retiring: false, key }
    }

    /// An auth token by itself, as [`sign`](Secret::sign) needs it.
    #[must_use]
    pub fn auth_token(token: &SecretString) -> Self {
        Self::new("auth_token_1".into(), false, Algorithm::HmacSha1, token)
    }

    /// A shared key by itself.
    #[must_use]
    pub fn shared_key(key: &SharedKey) -> Self {
        Self::new(key.id.clone(), true, key.algorithm, &key.secret)
    }

    /// A name for logs and metrics that gives nothing away: the shared key's id, or
    /// `auth_token_<n>` with the place in the configuration, from 1.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Whether it is a shared key, and not an auth token.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.shared
    }

    /// Whether it is about to be removed, so that nothing should be signed with it any more.
    #[must_use]
    pub fn is_retiring(&self) -> bool {
        self.retiring
    }

    /// The algorithm that it signs with.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        match self.key {
            Key::Sha1(_) => Algorithm::HmacSha1,
            Key::Sha256(_) => Algorithm::HmacSha256,
        }
    }

    /// The signature of a URL and of [what is signed](super::params::Params::signed) of a form.
    #[must_use]
    pub fn sign(&self, url: &str, params: &[u8]) -> Vec<u8> {
        match &self.key {
            Key::Sha1(mac) => fed(mac, url, params).finalize().into_bytes().to_vec(),
            Key::Sha256(mac) => fed(mac, url, params).finalize().into_bytes().to_vec(),
        }
    }

    /// Whether `signature` is that of the URL and the parameters, in constant time.
    #[must_use]
    pub fn verifies(&self, url: &str, params: &[u8], signature: &[u8]) -> bool {
        match &self.key {
            Key::Sha1(mac) => fed(mac, url, params).verify_slice(signature).is_ok(),
            Key::Sha256(mac) => fed(mac, url, params).verify_slice(signature).is_ok(),
        }
    }
}

fn fed<M: Mac + Clone>(mac: &M, url: &str, params: &[u8]) -> M {
    let mut mac = mac.clone();
    mac.update(url.as_bytes());
    mac.update(params);
    mac
}

/// A key of Twilio's SharedKeys.
#[derive(Clone, Debug)]
pub struct SharedKey {
    /// The id of the key, as the settings header names it.
    pub id: String,
    /// The secret.
    pub secret: SecretString,
    /// The algorithm that it is used with, and no other.
    pub algorithm: Algorithm,
}

/// An account and its secrets.
pub struct Account {
    sid: String,
    name: String,
    subaccounts: Vec<String>,
    secrets: Vec<Secret>,
}

impl Account {
    /// An account. `name` stands for it in metrics, where a SID must not.
    #[must_use]
    pub fn new(sid: String, name: String, tokens: &[SecretString], keys: &[SharedKey]) -> Self {
        let tokens = tokens.iter().enumerate().map(|(place, token)| {
            Secret::new(format!("auth_token_{}", place + 1), false, Algorithm::HmacSha1, token)
        });
        let secrets = tokens.chain(keys.iter().map(Secret::shared_key)).collect();
        Self { sid, name, subaccounts: Vec::new(), secrets }
    }

    /// The same with these sub-accounts: what it signs about one of them is that one's own.
    #[must_use]
    pub fn with_subaccounts(self, subaccounts: Vec<String>) -> Self {
        Self { subaccounts, ..self }
    }

    /// The same, with the secrets of these ids about to be removed.
    #[must_use]
    pub fn retiring(mut self, ids: &[String]) -> Self {
        for secret in &mut self.secrets {
            secret.retiring = ids.contains(&secret.id);
        }
        self
    }

    /// `AC…`.
    #[must_use]
    pub fn sid(&self) -> &str {
        &self.sid
    }

    /// Whether it may speak for the account of this SID: its own, or that of a sub-account.
    #[must_use]
    pub fn speaks_for(&self, sid: &str) -> bool {
        self.sid == sid || self.subaccounts.iter().any(|known| known == sid)
    }

    /// The name in metrics.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The sub-accounts that it may speak for.
    #[must_use]
    pub fn subaccounts(&self) -> &[String] {
        &self.subaccounts
    }

    /// The account's secrets, in the order of the configuration: auth tokens, then shared keys.
    #[must_use]
    pub fn secrets(&self) -> &[Secret] {
        &self.secrets
    }

    /// The account's primary auth token, with which Twilio signs.
    #[must_use]
    pub fn auth_token(&self) -> Option<&Secret> {
        self.secrets.iter().find(|secret| !secret.shared)
    }
}

/// The accounts that may have signed a form or a query, by what it says. An untrusted hint.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Named<'a> {
    /// `AccountSid`: what it is about.
    pub account: Option<&'a str>,
    /// `ParentAccountSid`: the debugger also reports to an account what happened in its sub-accounts
    /// (<https://www.twilio.com/docs/usage/troubleshooting/debugging-event-webhooks>).
    pub parent: Option<&'a str>,
}

impl Named<'_> {
    /// Whether this account may have signed a request that names these.
    fn allows(self, known: &Account) -> bool {
        match self.account {
            None => true,
            Some(sid) => known.speaks_for(sid) || self.parent == Some(&known.sid),
        }
    }
}

/// Which of an account's secrets a request claims to be signed with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ClaimedKey<'a> {
    /// The shared key's id; `None` is any secret of the algorithm.
    pub key_id: Option<&'a str>,
    /// The algorithm.
    pub algorithm: Algorithm,
}

/// All configured accounts. There may be none where only email events are taken.
pub struct Keyring {
    accounts: Vec<Account>,
    decoys: [Secret; 2],
    /// How many secrets of each algorithm the account has that has most of them.
    most: [usize; 2],
}

/// Shows the accounts; a secret is never printed.
impl std::fmt::Debug for Keyring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.accounts.iter().map(Account::sid)).finish()
    }
}

/// The keyring would hold no secret at all.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("no account has a secret")]
pub struct NoSecret;

impl Keyring {
    /// A keyring of these accounts.
    ///
    /// # Errors
    /// [`NoSecret`] if there is nothing to verify with.
    pub fn new(accounts: Vec<Account>) -> Result<Self, NoSecret> {
        if accounts.iter().all(|account| account.secrets.is_empty()) {
            return Err(NoSecret);
        }
        Ok(Self::of(accounts))
    }

    /// A keyring by which no callback is verified.
    #[must_use]
    pub fn none() -> Self {
        Self::of(Vec::new())
    }

    fn of(accounts: Vec<Account>) -> Self {
        let decoy = |algorithm| {
            Secret::new(String::new(), false, algorithm, &SecretString::from("no account has this"))
        };
        let most = Algorithm::ALL.map(|algorithm| {
            let of = |account: &Account| {
                account.secrets.iter().filter(|secret| secret.algorithm() == algorithm).count()
            };
            accounts.iter().map(of).max().unwrap_or_default()
        });
        Self { accounts, decoys: Algorithm::ALL.map(decoy), most }
    }

    /// The accounts, in the order of the configuration.
    #[must_use]
    pub fn accounts(&self) -> &[Account] {
        &self.accounts
    }

    /// The account of this SID.
    #[must_use]
    pub fn account(&self, sid: &str) -> Option<&Account> {
        self.accounts.iter().find(|known| known.sid == sid)
    }

    /// The secrets to try for a request that names these accounts; all of them if it names none.
    pub(crate) fn lookup<'k, 'w>(
        &'k self,
        named: Named<'w>,
        wanted: ClaimedKey<'w>,
    ) -> impl Iterator<Item = (&'k Account, &'k Secret)> + use<'k, 'w> {
        self.accounts
            .iter()
            .filter(move |known| named.allows(known))
            .flat_map(|known| known.secrets.iter().map(move |secret| (known, secret)))
            .filter(move |(_, secret)| {
                secret.algorithm() == wanted.algorithm
                    && wanted.key_id.is_none_or(|id| secret.shared && secret.id == id)
            })
    }

    /// A secret that verifies nothing, and how often it is to be tried besides `tried` secrets, so that
    /// every account that a request may name, known or not, costs what the one with most secrets does.
    pub(crate) fn decoys(&self, algorithm: Algorithm, tried: usize) -> (&Secret, usize) {
        let place = match algorithm {
            Algorithm::HmacSha1 => 0,
            Algorithm::HmacSha256 => 1,
        };
        (&self.decoys[place], self.most[place].max(1).saturating_sub(tried))
    }

    /// Whether any account may have signed a request that names these.
    #[must_use]
    pub fn knows(&self, named: Named<'_>) -> bool {
        self.accounts.iter().any(|account| named.allows(account))
    }
}
