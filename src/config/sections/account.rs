//! `[[account]]`: whose callbacks are accepted, and the secrets that they are signed with.

use std::collections::HashSet;
use std::path::PathBuf;

use secrecy::{ExposeSecret as _, SecretString};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use super::NOT_A_NAME;
use crate::config::ConfigError;
use crate::config::layers::Loaded;
use crate::config::secrets::{is_blank, one_of, read, trimmed};
use crate::dispatch::pace::Rate;
use crate::labels::Label as _;
use crate::twilio::keyring::{Account, Algorithm, Keyring, Secret, SharedKey};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawAccount {
    pub(crate) sid: String,
    pub(crate) name: Option<String>,
    #[serde(default)]
    pub(crate) auth_tokens: Vec<SecretString>,
    pub(crate) auth_tokens_file: Option<PathBuf>,
    #[serde(default)]
    pub(crate) shared_keys: Vec<RawSharedKey>,
    #[serde(default)]
    pub(crate) retiring: Vec<String>,
    #[serde(default)]
    pub(crate) subaccounts: Vec<String>,
    pub(crate) calls_limit: Option<u32>,
    pub(crate) calls_per_second: Option<f64>,
}

/// Open calls of an account unless it says more, as of a number that Twilio lets call one at a time.
const CALLS_LIMIT: u32 = 1;

/// The entry of an account, which its sub-accounts share.
fn entry<'l>(loaded: &'l Loaded, sid: &str) -> Option<&'l RawAccount> {
    let is = |raw: &&RawAccount| {
        raw.sid.trim() == sid || raw.subaccounts.iter().any(|other| other.trim() == sid)
    };
    loaded.raw.account.iter().find(is)
}

/// How many open calls an account may have.
pub(super) fn calls_limit(loaded: &Loaded, sid: &str) -> u32 {
    entry(loaded, sid).and_then(|raw| raw.calls_limit).unwrap_or(CALLS_LIMIT)
}

/// How many calls an account may begin per second, if it says so. It was checked.
pub(super) fn calls_rate(loaded: &Loaded, sid: &str) -> Option<Rate> {
    entry(loaded, sid).and_then(|raw| raw.calls_per_second).and_then(Rate::per_second)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawSharedKey {
    pub(crate) id: String,
    pub(crate) secret: Option<SecretString>,
    pub(crate) secret_file: Option<PathBuf>,
    #[serde(default, deserialize_with = "algorithm")]
    pub(crate) algorithm: Option<Algorithm>,
}

/// An algorithm by Twilio's name for it.
fn algorithm<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Algorithm>, D::Error> {
    let Some(name) = Option::<String>::deserialize(from)? else { return Ok(None) };
    Algorithm::parse(&name).map(Some).ok_or_else(|| {
        let names = Algorithm::ALL.map(|algorithm| format!("`{}`", algorithm.as_str()));
        D::Error::custom(format!("{NOT_A_NAME}{}", names.join(", ")))
    })
}

/// Every account with its secrets, and what is most likely not meant. Without one only email events can be verified.
pub(crate) fn resolve(loaded: &Loaded) -> Result<(Keyring, Vec<ConfigError>), ConfigError> {
    let raw = &loaded.raw.account;
    match (raw.is_empty(), loaded.raw.sendgrid.verification_keys.is_empty()) {
        (false, _) => {}
        // It takes email events alone.
        (true, false) => return Ok((Keyring::none(), Vec::new())),
        (true, true) => {
            return Err(loaded.error(
                "account",
                "without an account no callback can be verified: set TWILIO_ACCOUNT_SID and \
                 TWILIO_AUTH_TOKEN, or add an [[account]] with sid and auth_tokens to the file",
            ));
        }
    }
    let (mut accounts, mut warnings) = (Vec::with_capacity(raw.len()), Vec::new());
    for (place, raw) in raw.iter().enumerate() {
        let (account, found) = account(loaded, place, raw)?;
        accounts.push(account);
        warnings.extend(found);
    }
    let mut sids = HashSet::new();
    if let Some(twice) = accounts.iter().find(|account| !sids.insert(account.sid())) {
        let problem = format!("{} is there twice; put its secrets into one entry", twice.sid());
        return Err(loaded.error("account", problem));
    }
    let mut names = HashSet::new();
    if let Some(twice) = accounts.iter().position(|account| !names.insert(account.name())) {
        return Err(ConfigError {
            key: format!("account[{twice}].name"),
            origin: loaded.origin("account"),
            problem: "another account has this name; metrics need it once".to_owned(),
        });
    }
    let mut parents = HashSet::new();
    let mut subaccounts = accounts.iter().flat_map(Account::subaccounts);
    if let Some(twice) = subaccounts.find(|sid| !parents.insert(*sid)) {
        let problem = format!("the sub-account {twice} is listed twice; it has one parent");
        return Err(loaded.error("account", problem));
    }
    match Keyring::new(accounts) {
        Ok(keyring) => Ok((keyring, warnings)),
        Err(error) => Err(loaded.error("account", error.to_string())),
    }
}

fn account(
    loaded: &Loaded,
    place: usize,
    raw: &RawAccount,
) -> Result<(Account, Vec<ConfigError>), ConfigError> {
    let key = |name: &str| format!("account[{place}].{name}");
    let wrong = |name: &str, problem: String| ConfigError {
        key: key(name),
        origin: loaded.origin("account"),
        problem,
    };
    let account_sid = |name: &str, text: &str| {
        let sid = text.trim();
        let ok = sid.starts_with("AC") && sid.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let problem = "it is not the SID of an account, which has 34 characters: AC and 32 digits of \
                       hexadecimal, as in Twilio's console";
        ok.then(|| sid.to_owned()).ok_or_else(|| wrong(name, problem.to_owned()))
    };
    let sid = account_sid("sid", &raw.sid)?;
    let subaccounts = raw.subaccounts.iter().map(|sid| account_sid("subaccounts", sid));
    let subaccounts: Vec<String> = subaccounts.collect::<Result<_, _>>()?;
    if subaccounts.contains(&sid) {
        return Err(wrong("subaccounts", format!("{sid} cannot be a sub-account of itself")));
    }
    let mut auth_tokens: Vec<_> = raw.auth_tokens.iter().map(trimmed).collect();
    if let Some(path) = &raw.auth_tokens_file {
        let text = read(path).map_err(|problem| wrong("auth_tokens_file", problem))?;
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        auth_tokens.extend(lines.map(SecretString::from));
    }
    if auth_tokens.iter().any(is_blank) {
        return Err(wrong("auth_tokens", "a token is empty".to_owned()));
    }
    // By their places: what stands as an id may be the secret.
    let shared_keys = raw.shared_keys.iter().enumerate().map(|(place, raw)| {
        shared_key(raw)
            .map_err(|(name, problem)| wrong(&format!("shared_keys[{place}].{name}"), problem))
    });
    let shared_keys = shared_keys.collect::<Result<Vec<_>, _>>()?;
    let mut ids = HashSet::new();
    if let Some(twice) = shared_keys.iter().position(|key| !ids.insert(&key.id)) {
        let problem = "another key has this id: by it metrics and `retiring` tell them apart";
        return Err(wrong(&format!("shared_keys[{twice}].id"), problem.to_owned()));
    }
    if auth_tokens.is_empty() && shared_keys.is_empty() {
        let problem = "the account has no secret: set TWILIO_AUTH_TOKEN, or auth_tokens in the \
                       file, to its auth token";
        return Err(wrong("auth_tokens", problem.to_owned()));
    }
    if raw.calls_limit == Some(0) {
        let problem = "with 0 no call is ever made: give it a value, or leave it out";
        return Err(wrong("calls_limit", problem.to_owned()));
    }
    if raw.calls_per_second.is_some_and(|rate| Rate::per_second(rate).is_none()) {
        let problem = "it must be more than 0 and at most 10000";
        return Err(wrong("calls_per_second", problem.to_owned()));
    }
    let name = raw.name.clone().unwrap_or_else(|| format!("account_{}", place + 1));
    let warnings = of_account(&sid, &auth_tokens, &shared_keys);
    let warnings = warnings.into_iter().map(|(name, problem)| wrong(name, problem)).collect();
    let account = Account::new(sid, name, &auth_tokens, &shared_keys)
        .retiring(&raw.retiring)
        .with_subaccounts(subaccounts);
    let ids: Vec<&str> = account.secrets().iter().map(Secret::id).collect();
    // Without the value: it may be a token in the place of its id.
    if raw.retiring.iter().any(|id| !ids.contains(&id.as_str())) {
        let problem =
            format!("it names ids of the account's secrets, which are {}", ids.join(", "));
        return Err(wrong("retiring", problem));
    }
    Ok((account, warnings))
}

/// The first auth token of the entry of this SID, which was checked before: what requests to the API can be
/// authenticated with.
pub(crate) fn first_token(loaded: &Loaded, sid: &str) -> Option<SecretString> {
    let entry = loaded.raw.account.iter().find(|entry| entry.sid.trim() == sid)?;
    if let Some(token) = entry.auth_tokens.first() {
        return Some(trimmed(token));
    }
    let text = read(entry.auth_tokens_file.as_ref()?).ok()?;
    text.lines().map(str::trim).find(|line| !line.is_empty()).map(SecretString::from)
}

/// The key, or which part of it is wrong, and how.
fn shared_key(raw: &RawSharedKey) -> Result<SharedKey, (&'static str, String)> {
    /// Fewer may be guessed, and are not what Twilio gives.
    const SHORTEST: usize = 16;
    let id = raw.id.trim();
    if id.is_empty() || id.contains([',', '=']) || id.contains(char::is_whitespace) {
        return Err(("id", "a shared key needs the id that Twilio gave it".to_owned()));
    }
    if id.strip_prefix("auth_token_").is_some_and(|n| n.bytes().all(|byte| byte.is_ascii_digit())) {
        let problem = format!("{id} is what an auth token is called: give the key another id");
        return Err(("id", problem));
    }
    let wrong = |problem: String| ("secret", problem);
    let secret = one_of(raw.secret.as_ref().map(trimmed), &raw.secret_file);
    let secret = secret.map_err(|problem| ("secret_file", problem))?;
    let secret = secret.ok_or_else(|| wrong("the shared key has no secret".to_owned()))?;
    if is_blank(&secret) {
        return Err(wrong("it is empty".to_owned()));
    }
    if secret.expose_secret().chars().count() < SHORTEST {
        return Err(wrong(format!(
            "it has fewer than {SHORTEST} characters, so that it may be guessed: take the one that \
             Twilio gave"
        )));
    }
    let algorithm = raw.algorithm.unwrap_or(Algorithm::HmacSha256);
    Ok(SharedKey { id: id.to_owned(), secret, algorithm })
}

/// What is wrong with the form of a secret; the secret is not in it.
fn of_account(
    sid: &str,
    auth_tokens: &[SecretString],
    shared_keys: &[SharedKey],
) -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    let hex = |text: &str| text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !sid.strip_prefix("AC").is_some_and(hex) {
        let problem = "it is not the SID of an account: AC and 32 digits of hexadecimal. Every callback would be \
                       refused as one of an unknown account";
        found.push(("sid", problem.to_owned()));
    }
    for (place, token) in auth_tokens.iter().enumerate() {
        let problem = match token.expose_secret() {
            token if hex(token) => continue,
            token if is_quoted(token) => "has quotes around it, which would be a part of it",
            token if token.starts_with("SK") => {
                "looks like the SID of an API key: API keys sign no callbacks, the account's auth token does"
            }
            token if token.contains(char::is_whitespace) => "has blanks in it",
            _ => {
                "does not have the form of one, 32 digits of hexadecimal. The secret of an API key signs no \
                  callbacks"
            }
        };
        let problem = format!("token {} {problem}: copy it again from Twilio's console", place + 1);
        found.push(("auth_tokens", problem));
    }
    let quoted = |key: &SharedKey| is_quoted(key.secret.expose_secret());
    if let Some(place) = shared_keys.iter().position(quoted) {
        let problem = format!(
            "the secret of shared key {} has quotes around it, which would be a part of it",
            place + 1
        );
        found.push(("shared_keys", problem));
    }
    found
}

fn is_quoted(secret: &str) -> bool {
    ['"', '\'', '`'].into_iter().any(|quote| secret.starts_with(quote) || secret.ends_with(quote))
}

#[cfg(test)]
mod tests;
