//! `[[forward]]`: where changes are sent on to, which of them, and what signs them.

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use super::{NOT_A_NAME, named};
use crate::config::ConfigError;
use crate::config::layers::Loaded;
use crate::config::secrets::{is_blank, one_of, read, trimmed};
use crate::event::Kind;
use crate::forward::filter::{ANSWERED_KINDS, ASKING_KINDS, STATUS_KINDS};
use crate::forward::form::standard;
use crate::forward::form::twilio::SignWith;
use crate::forward::{Beginning, Config, Filter, Form, Target};
use crate::sendgrid::events::ACCOUNT;
use crate::twilio::keyring::{Account, Keyring, Secret};
use crate::twilio::privacy::{Privacy, Treatments};

/// The built-in file has these defaults only as comments, because a list has no defaults there; a test checks that they
/// agree.
const TIMEOUT_MS: u64 = 10_000;
const IN_FLIGHT: u32 = 32;
const MAX_WAITING: u32 = 10_000;
const DISABLE_AFTER_S: u64 = 259_200;
const MAX_AGE_DAYS: u32 = 7;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawForward {
    pub(crate) name: String,
    pub(crate) url: Option<SecretString>,
    pub(crate) url_file: Option<PathBuf>,
    #[serde(deserialize_with = "named")]
    pub(crate) form: RawForm,
    #[serde(default)]
    pub(crate) kinds: Vec<Name<Kind>>,
    #[serde(default)]
    pub(crate) statuses: Vec<String>,
    #[serde(default)]
    pub(crate) final_only: bool,
    #[serde(default)]
    pub(crate) accounts: Vec<String>,
    pub(crate) sign_with: Option<String>,
    #[serde(default)]
    pub(crate) secrets: Vec<SecretString>,
    pub(crate) secrets_file: Option<PathBuf>,
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) timeout_ms: Option<u64>,
    pub(crate) in_flight: Option<u32>,
    pub(crate) max_waiting: Option<u32>,
    pub(crate) disable_after_s: Option<u64>,
    pub(crate) max_age_days: Option<u32>,
    #[serde(default, deserialize_with = "named")]
    pub(crate) from: Beginning,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum RawForm {
    Twilio,
    Standard,
}

/// One of a closed set, by its name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Name<L>(L);

impl<'de> Deserialize<'de> for Name<Kind> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let name = String::deserialize(from)?.to_lowercase();
        Kind::parse_typed(&name).map(Name).ok_or_else(|| {
            let names = Kind::ALL.map(|kind| format!("`{}`", kind.typed()));
            D::Error::custom(format!("{NOT_A_NAME}{}", names.join(", ")))
        })
    }
}

/// Every forward, in the order of the configuration.
pub(crate) fn resolve(
    loaded: &Loaded,
    keyring: &Keyring,
    privacy: &Privacy,
) -> Result<Vec<Config>, ConfigError> {
    let mut forwards: Vec<Config> = Vec::with_capacity(loaded.raw.forward.len());
    let mut names = HashSet::new();
    for (place, raw) in loaded.raw.forward.iter().enumerate() {
        // Before its files are read: of one that is being changed, the next reload takes the rest.
        let fingerprint = loaded.fingerprint("forward", place);
        let found = forward(raw, loaded.raw.public_url.as_deref(), keyring, privacy);
        let found = found.map(|forward| Config { fingerprint, ..forward });
        let found = found.and_then(|forward| match names.insert(forward.name.clone()) {
            true => Ok(forward),
            false => Err((
                "name",
                "another forward has this name: by it the store knows where each is".to_owned(),
            )),
        });
        forwards.push(found.map_err(|(name, problem)| wrong(loaded, place, name, problem))?);
    }
    Ok(forwards)
}

fn wrong(loaded: &Loaded, place: usize, name: &str, problem: String) -> ConfigError {
    let key = format!("forward[{place}].{name}");
    ConfigError { key, origin: loaded.origin("forward"), problem }
}

/// The key that is wrong, and how.
type Wrong = (&'static str, String);

fn forward(
    raw: &RawForward,
    public_url: Option<&str>,
    keyring: &Keyring,
    privacy: &Privacy,
) -> Result<Config, Wrong> {
    let name = name(&raw.name)?;
    let target = target(raw, public_url)?;
    let filter = filter(raw, keyring)?;
    let form = match raw.form {
        RawForm::Twilio => Form::Twilio(as_twilio(raw, &filter, keyring, privacy)?),
        RawForm::Standard => Form::Standard(as_standard(raw)?),
    };
    let ca = raw.ca_file.as_ref().map(read).transpose();
    let ca = ca.map_err(|problem| ("ca_file", problem))?.map(String::into_bytes);
    let timeout = positive("timeout_ms", raw.timeout_ms.unwrap_or(TIMEOUT_MS))?;
    let disable_after =
        positive("disable_after_s", raw.disable_after_s.unwrap_or(DISABLE_AFTER_S))?;
    let max_age_days = u64::from(raw.max_age_days.unwrap_or(MAX_AGE_DAYS));
    Ok(Config {
        name,
        target,
        form,
        filter,
        ca,
        timeout: Duration::from_millis(timeout),
        in_flight: positive("in_flight", raw.in_flight.unwrap_or(IN_FLIGHT))?,
        max_waiting: positive("max_waiting", raw.max_waiting.unwrap_or(MAX_WAITING))?,
        disable_after: Duration::from_secs(disable_after),
        max_age: Duration::from_secs(max_age_days * 24 * 60 * 60),
        from: raw.from,
        fingerprint: 0,
    })
}

fn positive<N: From<u8> + PartialEq>(name: &'static str, value: N) -> Result<N, Wrong> {
    let problem = "with 0 nothing is ever forwarded: give it a value, or leave it out";
    if value == N::from(0) { Err((name, problem.to_owned())) } else { Ok(value) }
}

fn name(name: &str) -> Result<String, Wrong> {
    /// The name appears in metrics, in paths of the API, and in front of a row of a table.
    const LONGEST: usize = 40;
    let letters =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
    let name = name.trim();
    if (1..=LONGEST).contains(&name.len()) && name.bytes().all(letters) {
        return Ok(name.to_owned());
    }
    let problem = format!("it is not a name: 1 to {LONGEST} of a to z, 0 to 9, - and _");
    Err(("name", problem))
}

fn target(raw: &RawForward, public_url: Option<&str>) -> Result<Target, Wrong> {
    let url = one_of(raw.url.clone(), &raw.url_file).map_err(|problem| ("url_file", problem))?;
    let url = url.ok_or_else(|| ("url", "it is missing: set it to where changes go".to_owned()))?;
    let target = Target::parse(url.expose_secret()).map_err(|error| ("url", error.to_string()))?;
    if public_url.is_some_and(|base| target.is_below(base)) {
        let problem = "it lies below public_url, so that offhook would forward to itself: set it to \
                       the URL of your application";
        return Err(("url", problem.to_owned()));
    }
    Ok(target)
}

fn filter(raw: &RawForward, keyring: &Keyring) -> Result<Filter, Wrong> {
    let kinds: Vec<Kind> = raw.kinds.iter().map(|Name(kind)| *kind).collect();
    let answered = kinds.iter().find(|kind| ANSWERED_KINDS.contains(kind));
    if let (RawForm::Twilio, Some(kind)) = (raw.form, answered) {
        let problem = format!(
            "Twilio waits for the answer to `{}` and acts by it, and that of a forwarded one is thrown away: leave \
             it out, and let Twilio ask your application itself",
            kind.as_str()
        );
        return Err(("kinds", problem));
    }
    if raw.form == RawForm::Twilio && kinds.contains(&Kind::Email) {
        let problem = "Twilio's signature is not what SendGrid signs email events with, and only SendGrid can sign as it \
                       does: forward them in form \"standard\"";
        return Err(("kinds", problem.to_owned()));
    }
    let kinds = match (raw.form, kinds.is_empty()) {
        (_, false) => kinds,
        (RawForm::Twilio, true) => STATUS_KINDS.to_vec(),
        (RawForm::Standard, true) => {
            Kind::ALL.into_iter().filter(|kind| !ASKING_KINDS.contains(kind)).collect()
        }
    };
    let statuses: Vec<_> = raw.statuses.iter().map(|it| it.trim().to_lowercase()).collect();
    if statuses.iter().any(String::is_empty) {
        return Err(("statuses", "one of them is empty".to_owned()));
    }
    let accounts: Vec<_> = raw.accounts.iter().map(|sid| sid.trim().to_owned()).collect();
    let known = |sid: &String| {
        let is_email = raw.form == RawForm::Standard && sid == ACCOUNT;
        is_email || keyring.accounts().iter().any(|account| account.speaks_for(sid))
    };
    if !accounts.iter().all(known) {
        let problem = "it names an account whose callbacks are not accepted: each must be the sid, or \
                       one of the subaccounts, of an [[account]]";
        return Err(("accounts", problem.to_owned()));
    }
    Ok(Filter { kinds, statuses, final_only: raw.final_only, accounts })
}

/// What signs in form `twilio`.
fn as_twilio(
    raw: &RawForward,
    filter: &Filter,
    keyring: &Keyring,
    privacy: &Privacy,
) -> Result<SignWith, Wrong> {
    if privacy.treatments() != Treatments::default() {
        let problem = "form \"twilio\" sends callbacks as Twilio sent them, and [privacy] does not keep \
                       them so: set privacy.numbers, privacy.names and privacy.bodies to \"plain\", or \
                       form to \"standard\"";
        return Err(("form", problem.to_owned()));
    }
    let with = match (raw.sign_with.as_deref().map(str::trim), &secrets(raw)?[..]) {
        (None, [secret]) => return Ok(SignWith::Own(Secret::auth_token(secret))),
        (None | Some("auth_token"), []) => SignWith::AuthToken,
        (Some(id), []) => SignWith::SharedKey(id.to_owned()),
        (Some(_), _) => {
            let problem = "there are secrets as well, and only one can sign: leave one of both out";
            return Err(("sign_with", problem.to_owned()));
        }
        (None, _) => {
            let problem = "Twilio's form has room for one signature: leave one secret";
            return Err(("secrets", problem.to_owned()));
        }
    };
    let meant = |account: &&Account| {
        let speaks_for = |sid: &String| account.speaks_for(sid);
        filter.accounts.is_empty() || filter.accounts.iter().any(speaks_for)
    };
    match keyring.accounts().iter().filter(meant).find(|account| !with.serves(account)) {
        None => Ok(with),
        Some(account) => {
            let what = match with {
                SignWith::SharedKey(_) => "a shared key of this id",
                SignWith::AuthToken | SignWith::Own(_) => "an auth token",
            };
            let problem = format!(
                "account {} does not have {what} to sign with: add it there, leave the account out of \
                 accounts, or set secrets to one secret of this endpoint's own",
                account.name()
            );
            Err(("sign_with", problem))
        }
    }
}

/// What signs in form `standard`.
fn as_standard(raw: &RawForward) -> Result<standard::Secrets, Wrong> {
    if raw.sign_with.is_some() {
        let problem = "it is for form \"twilio\": in this form, secrets sign";
        return Err(("sign_with", problem.to_owned()));
    }
    let secrets = secrets(raw)?;
    if secrets.is_empty() {
        let problem =
            "form \"standard\" needs one: what `echo whsec_$(openssl rand -base64 32)` prints";
        return Err(("secrets", problem.to_owned()));
    }
    standard::Secrets::new(&secrets).map_err(|error| ("secrets", error.to_string()))
}

/// The secrets in the list, and those of the file, one per line.
fn secrets(raw: &RawForward) -> Result<Vec<SecretString>, Wrong> {
    let mut secrets: Vec<_> = raw.secrets.iter().map(trimmed).collect();
    if let Some(path) = &raw.secrets_file {
        let text = read(path).map_err(|problem| ("secrets_file", problem))?;
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        secrets.extend(lines.map(SecretString::from));
    }
    if secrets.iter().any(is_blank) {
        return Err(("secrets", "one of them is empty".to_owned()));
    }
    Ok(secrets)
}

/// What goes over the wire in the open.
pub(crate) fn warnings(loaded: &Loaded, forwards: &[Config]) -> Vec<ConfigError> {
    let exposed = forwards.iter().enumerate().filter(|(_, forward)| forward.target.is_exposed());
    let problem = "it is http to another machine, so that what your callers did can be read on the way: take https";
    exposed.map(|(place, _)| wrong(loaded, place, "url", problem.to_owned())).collect()
}

#[cfg(test)]
mod tests;
