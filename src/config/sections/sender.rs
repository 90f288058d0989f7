//! `[[sender]]`: what messages are sent from, how fast, and with which credentials.

use std::collections::{BTreeMap, HashSet};
use std::ops::RangeInclusive;
use std::path::PathBuf;

use secrecy::{ExposeSecret as _, SecretString};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use super::{NOT_A_NAME, account, sendgrid};
use crate::config::ConfigError;
use crate::config::layers::Loaded;
use crate::config::secrets::{is_blank, one_of, trimmed};
use crate::dispatch::Confirm;
use crate::dispatch::call::CallPlan;
use crate::dispatch::country::{Country, Number};
use crate::dispatch::pace::{Rate, SenderKind};
use crate::dispatch::recipient::Mailbox;
use crate::labels::Label as _;
use crate::outbound::config::{Credentials, Origin, Pace, Sender};
use crate::twilio::keyring::{Account, Keyring};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawSender {
    pub(crate) name: String,
    pub(crate) from: Option<String>,
    pub(crate) messaging_service_sid: Option<String>,
    #[serde(default, deserialize_with = "kind")]
    pub(crate) kind: Option<SenderKind>,
    pub(crate) account: Option<String>,
    pub(crate) rate: Option<f64>,
    pub(crate) pool: Option<RawPool>,
    pub(crate) pace: Option<String>,
    #[serde(default, deserialize_with = "confirm")]
    pub(crate) confirm: Option<Confirm>,
    pub(crate) language: Option<String>,
    pub(crate) voice: Option<String>,
    pub(crate) timeout_s: Option<u32>,
    pub(crate) time_limit_s: Option<u32>,
    pub(crate) api_key_sid: Option<String>,
    pub(crate) api_key_secret: Option<SecretString>,
    pub(crate) api_key_secret_file: Option<PathBuf>,
}

/// How many numbers of each kind a Messaging Service has.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawPool {
    #[serde(default)]
    pub(crate) long_code: u32,
    #[serde(default)]
    pub(crate) toll_free: u32,
    #[serde(default)]
    pub(crate) short_code: u32,
}

/// A kind by its name.
fn kind<'de, D: Deserializer<'de>>(from: D) -> Result<Option<SenderKind>, D::Error> {
    let Some(name) = Option::<String>::deserialize(from)? else { return Ok(None) };
    SenderKind::parse(&name.to_lowercase()).map(Some).ok_or_else(|| {
        let names = SenderKind::ALL.map(|kind| format!("`{}`", kind.as_str()));
        D::Error::custom(format!("{NOT_A_NAME}{}", names.join(", ")))
    })
}

/// What confirms a call, by its name.
pub(super) fn confirm<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Confirm>, D::Error> {
    let Some(name) = Option::<String>::deserialize(from)? else { return Ok(None) };
    Confirm::parse(&name.to_lowercase()).map(Some).ok_or_else(|| {
        let names = Confirm::ALL.map(|confirm| format!("`{}`", confirm.as_str()));
        D::Error::custom(format!("{NOT_A_NAME}{}", names.join(", ")))
    })
}

/// How long a call rings unless configured, in seconds: most voicemails answer later.
const TIMEOUT_S: u32 = 20;
/// How long a call lasts at most unless configured, in seconds.
const TIME_LIMIT_S: u32 = 120;

/// Every sender in the order of the configuration, and the paces.
#[derive(Debug, Default)]
pub(crate) struct Senders {
    pub(crate) senders: Vec<Sender>,
    pub(crate) paces: Vec<Pace>,
    /// What is most likely not meant.
    pub(crate) warnings: Vec<ConfigError>,
}

/// The key that is wrong, and how.
type Wrong = (&'static str, String);

/// Every sender.
pub(crate) fn resolve(loaded: &Loaded, keyring: &Keyring) -> Result<Senders, ConfigError> {
    let (mut found, mut names) = (Senders::default(), HashSet::new());
    // By the pace's name: its rate, and the place of the sender that gave it.
    let mut rates: BTreeMap<String, (Rate, usize)> = BTreeMap::new();
    for (place, raw) in loaded.raw.sender.iter().enumerate() {
        let at_fault = |(name, problem): Wrong| wrong(loaded, place, name, problem);
        let sender = sender(loaded, raw, keyring).map_err(at_fault)?;
        if !names.insert(sender.name.clone()) {
            let problem =
                "another sender has this name, by which requests choose one: give each its own";
            return Err(at_fault(("name", problem.to_owned())));
        }
        if let Some(rate) = own_rate(raw).map_err(at_fault)? {
            let known = rates.entry(sender.pace.clone()).or_insert((rate, place));
            if known.0 != rate {
                let problem = format!(
                    "sender[{}] gives the pace {} another rate, and a pace has one: give it once",
                    known.1, sender.pace
                );
                return Err(at_fault(("rate", problem)));
            }
        }
        found.senders.push(sender);
    }
    if let Some((place, pace)) = foreign_pace(&found.senders) {
        let problem = format!(
            "{pace} is the name of another sender, which has a pace of its own: give the pace another name, and name \
             it at each sender that shares it"
        );
        return Err(wrong(loaded, place, "pace", problem));
    }
    if let Some((place, pace)) = pace_of_two_accounts(&found.senders) {
        let problem = format!(
            "senders of another account have the pace {pace}, and a pace is of one account: give each account's senders \
             a pace of their own"
        );
        return Err(wrong(loaded, place, "pace", problem));
    }
    for (place, sender) in found.senders.iter().enumerate() {
        if found.paces.iter().any(|pace| pace.name == sender.pace) {
            continue;
        }
        let rate = match &sender.call {
            Some(_) => account::calls_rate(loaded, &sender.account),
            None => rates.get(&sender.pace).map(|(rate, _)| *rate),
        };
        if rate.is_none() && sender.kind == SenderKind::Other {
            let problem = format!(
                "without it {} units are sent per second, which may be too fast or too slow: set it, or pool, to what \
                 its numbers or its 10DLC campaign may send",
                sender.kind.usual_rate()
            );
            found.warnings.push(wrong(loaded, place, "rate", problem));
        }
        let rate = rate.or_else(|| Rate::per_second(sender.kind.usual_rate()));
        let rate = rate.expect("usual rates are within the bounds");
        found.paces.push(Pace { name: sender.pace.clone(), rate });
    }
    Ok(found)
}

fn wrong(loaded: &Loaded, place: usize, name: &str, problem: String) -> ConfigError {
    let key = format!("sender[{place}].{name}");
    ConfigError { key, origin: loaded.origin("sender"), problem }
}

/// A sender that names as its pace what is another sender's own, by its name.
fn foreign_pace(senders: &[Sender]) -> Option<(usize, &str)> {
    let is_own = |name: &str| senders.iter().any(|other| other.name == name && other.pace == name);
    let mut all = senders.iter().enumerate();
    let (place, sender) = all.find(|(_, it)| it.pace != it.name && is_own(&it.pace))?;
    Some((place, &sender.pace))
}

/// A sender whose pace is another account's as well. What an account is throttled or paused by holds its paces.
fn pace_of_two_accounts(senders: &[Sender]) -> Option<(usize, &str)> {
    let mut all = senders.iter().enumerate();
    let (place, sender) = all.find(|(place, it)| {
        senders[..*place].iter().any(|one| one.pace == it.pace && one.account != it.account)
    })?;
    Some((place, &sender.pace))
}

fn sender(loaded: &Loaded, raw: &RawSender, keyring: &Keyring) -> Result<Sender, Wrong> {
    let name = name("name", &raw.name)?;
    let from = raw.from.as_deref().unwrap_or_default();
    if raw.kind == Some(SenderKind::Email) || from.contains('@') {
        return mail(loaded, raw, name);
    }
    let origin = origin(raw)?;
    let kind = match &origin {
        Origin::From(from) => from_kind(from, raw.kind)?,
        Origin::MessagingService(_) if raw.kind == Some(SenderKind::Voice) => {
            let problem =
                "a Messaging Service cannot call: set from to a number of the account instead";
            return Err(("messaging_service_sid", problem.to_owned()));
        }
        Origin::MessagingService(_) | Origin::Mailbox(_) => raw.kind.unwrap_or(SenderKind::Other),
    };
    let account = account_of(raw, keyring)?;
    let (sid, entry) = account;
    let credentials = credentials(loaded, raw, entry)?;
    let call = call(raw, kind)?;
    let pace = match (&raw.pace, &call) {
        // No name of a pace has a colon.
        (_, Some(_)) => format!("calls:{sid}"),
        (Some(pace), None) => self::name("pace", pace)?,
        (None, None) => name.clone(),
    };
    Ok(Sender { name, origin, kind, account: sid, credentials, pace, call })
}

/// A sender of emails, which belongs to no account of Twilio's.
fn mail(loaded: &Loaded, raw: &RawSender, name: String) -> Result<Sender, Wrong> {
    let of_twilio = [
        ("messaging_service_sid", raw.messaging_service_sid.is_some()),
        ("account", raw.account.is_some()),
        ("pool", raw.pool.is_some()),
        ("api_key_sid", raw.api_key_sid.is_some()),
        ("api_key_secret", raw.api_key_secret.is_some()),
        ("api_key_secret_file", raw.api_key_secret_file.is_some()),
    ];
    if let Some((key, _)) = of_twilio.into_iter().find(|(_, is_set)| *is_set) {
        let problem =
            "it is Twilio's, and emails go by SendGrid: leave it out; the key is sendgrid.api_key";
        return Err((key, problem.to_owned()));
    }
    let kind = raw.kind.unwrap_or(SenderKind::Email);
    if kind != SenderKind::Email {
        let problem = "from is an email address: set kind to \"email\", or leave it out";
        return Err(("kind", problem.to_owned()));
    }
    call(raw, kind)?;
    let mailbox = raw.from.as_deref().and_then(Mailbox::parse).ok_or_else(|| {
        let problem = "it is not an email address, such as alerts@example.com or Example <alerts@example.com>";
        ("from", problem.to_owned())
    })?;
    let password = sendgrid::api_key(loaded).map_err(|problem| ("from", problem))?;
    let pace = match &raw.pace {
        Some(pace) => self::name("pace", pace)?,
        None => name.clone(),
    };
    let account = crate::sendgrid::ACCOUNT.to_owned();
    let credentials = Credentials { user: account.clone(), password };
    Ok(Sender {
        name,
        origin: Origin::Mailbox(mailbox),
        kind,
        account,
        credentials,
        pace,
        call: None,
    })
}

/// How a sender of calls calls; `None` for one of messages.
fn call(raw: &RawSender, kind: SenderKind) -> Result<Option<CallPlan>, Wrong> {
    /// Twilio's longest time to ring is 600 s; a call that rings for less than 5 s is hardly heard.
    const RINGS: RangeInclusive<u32> = 5..=600;
    /// Twilio ends a call after 4 h by itself.
    const LASTS: RangeInclusive<u32> = 10..=14_400;
    let of_calls = [
        ("confirm", raw.confirm.is_some()),
        ("language", raw.language.is_some()),
        ("voice", raw.voice.is_some()),
        ("timeout_s", raw.timeout_s.is_some()),
        ("time_limit_s", raw.time_limit_s.is_some()),
    ];
    if kind != SenderKind::Voice {
        let problem = "it is of a sender that calls: leave it out, or set kind = \"voice\"";
        let set = of_calls.into_iter().find(|(_, is_set)| *is_set);
        return set.map_or(Ok(None), |(key, _)| Err((key, problem.to_owned())));
    }
    let of_messages =
        [("rate", raw.rate.is_some()), ("pool", raw.pool.is_some()), ("pace", raw.pace.is_some())];
    if let Some((key, _)) = of_messages.into_iter().find(|(_, is_set)| *is_set) {
        let problem = "all calls of an account share one pace: leave it out, and set calls_per_second at the [[account]]";
        return Err((key, problem.to_owned()));
    }
    let within = |key, value: Option<u32>, default: u32, range: RangeInclusive<u32>| {
        let problem = format!("it is not from {} to {}", range.start(), range.end());
        Some(value.unwrap_or(default)).filter(|it| range.contains(it)).ok_or((key, problem))
    };
    Ok(Some(CallPlan {
        confirm: raw.confirm.unwrap_or(Confirm::Digit),
        language: word("language", raw.language.as_deref())?,
        voice: word("voice", raw.voice.as_deref())?,
        timeout_s: within("timeout_s", raw.timeout_s, TIMEOUT_S, RINGS)?,
        time_limit_s: within("time_limit_s", raw.time_limit_s, TIME_LIMIT_S, LASTS)?,
    }))
}

/// A language or a voice, as Twilio calls it.
fn word(key: &'static str, value: Option<&str>) -> Result<Option<String>, Wrong> {
    const LONGEST: usize = 80;
    let Some(value) = value.map(str::trim) else { return Ok(None) };
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if (1..=LONGEST).contains(&value.len()) && value.bytes().all(fits) {
        return Ok(Some(value.to_owned()));
    }
    Err((key, "it is not a name of Twilio's, such as en-GB or Polly.Amy".to_owned()))
}

pub(super) fn name(key: &'static str, name: &str) -> Result<String, Wrong> {
    /// The name appears in metrics, in paths of the API, and in a column.
    const LONGEST: usize = 40;
    let letters =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
    let name = name.trim();
    if (1..=LONGEST).contains(&name.len()) && name.bytes().all(letters) {
        return Ok(name.to_owned());
    }
    Err((key, format!("it is not a name: 1 to {LONGEST} of a to z, 0 to 9, - and _")))
}

fn origin(raw: &RawSender) -> Result<Origin, Wrong> {
    match (&raw.from, &raw.messaging_service_sid) {
        (Some(_), Some(_)) => {
            let problem = "messaging_service_sid is set as well: keep the one that sends";
            Err(("from", problem.to_owned()))
        }
        (None, None) => {
            let problem = "it is missing: set it to a number of the account, such as +15550100, or set \
                           messaging_service_sid";
            Err(("from", problem.to_owned()))
        }
        (Some(from), None) => Ok(Origin::From(from.trim().to_owned())),
        (None, Some(sid)) => {
            let sid = sid.trim();
            let fits = sid.strip_prefix("MG").is_some_and(|rest| {
                !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_alphanumeric())
            });
            let problem = "it is not the SID of a Messaging Service: MG and 32 digits of hexadecimal, as in Twilio's \
                           console";
            let sid = fits.then(|| Origin::MessagingService(sid.to_owned()));
            sid.ok_or_else(|| ("messaging_service_sid", problem.to_owned()))
        }
    }
}

/// The kind of a number, a short code, a name or a WhatsApp address.
fn from_kind(from: &str, said: Option<SenderKind>) -> Result<SenderKind, Wrong> {
    let number = from.strip_prefix("whatsapp:").unwrap_or(from);
    let seen = SenderKind::of(from);
    let is_right = match seen {
        SenderKind::LongCode | SenderKind::TollFree | SenderKind::Whatsapp | SenderKind::Voice => {
            Number::parse(number).is_some()
        }
        SenderKind::ShortCode => (3..=8).contains(&from.len()),
        SenderKind::Email => false,
        // A name, as some countries take it.
        SenderKind::Other => {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b" -_&+".contains(&byte);
            (1..=11).contains(&from.len())
                && from.bytes().all(plain)
                && from.bytes().any(|byte| byte.is_ascii_alphabetic())
        }
    };
    if !is_right {
        let problem = "it is not a sender: a number in E.164 such as +15550100, a short code, a name of at most 11 \
                       characters, or whatsapp: and a number";
        return Err(("from", problem.to_owned()));
    }
    if said == Some(SenderKind::Voice)
        && !matches!(seen, SenderKind::LongCode | SenderKind::TollFree)
    {
        let problem =
            "it cannot call: set it to a number of the account in E.164, such as +15550100";
        return Err(("from", problem.to_owned()));
    }
    let on_whatsapp = |kind: SenderKind| kind == SenderKind::Whatsapp;
    match said {
        Some(kind) if on_whatsapp(kind) != on_whatsapp(seen) => {
            let problem = "a WhatsApp sender has whatsapp: in front of its number in from, and no other has: make both \
                           say the same";
            Err(("kind", problem.to_owned()))
        }
        said => Ok(said.unwrap_or(seen)),
    }
}

/// The account that is charged, and the entry whose secrets sign for it.
fn account_of<'k>(raw: &RawSender, keyring: &'k Keyring) -> Result<(String, &'k Account), Wrong> {
    let Some(sid) = raw.account.as_deref().map(str::trim) else {
        return match keyring.accounts() {
            [only] => Ok((only.sid().to_owned(), only)),
            [] => {
                let problem = "there is no [[account]] that could sign callbacks, so that no message would ever be confirmed: add one";
                Err(("account", problem.to_owned()))
            }
            _ => {
                let problem = "there are several accounts: set it to the sid of the one that the sender belongs to";
                Err(("account", problem.to_owned()))
            }
        };
    };
    let exact = keyring.account(sid);
    let entry = exact.or_else(|| keyring.accounts().iter().find(|entry| entry.speaks_for(sid)));
    let problem = "callbacks of this account are not accepted, so that no message would ever be confirmed: set it to the \
                   sid, or one of the subaccounts, of an [[account]], or add one";
    let entry = entry.ok_or_else(|| ("account", problem.to_owned()))?;
    Ok((sid.to_owned(), entry))
}

fn credentials(loaded: &Loaded, raw: &RawSender, entry: &Account) -> Result<Credentials, Wrong> {
    let secret = one_of(raw.api_key_secret.as_ref().map(trimmed), &raw.api_key_secret_file);
    let secret = secret.map_err(|problem| ("api_key_secret_file", problem))?;
    if secret.as_ref().is_some_and(is_blank) {
        return Err(("api_key_secret", "it is empty".to_owned()));
    }
    match (raw.api_key_sid.as_deref().map(str::trim), secret) {
        (Some(sid), Some(password)) => {
            let fits =
                sid.starts_with("SK") && sid.bytes().all(|byte| byte.is_ascii_alphanumeric());
            let problem = "it is not the SID of an API key: SK and 32 digits of hexadecimal, as in Twilio's console";
            let user = fits.then(|| sid.to_owned());
            let user = user.ok_or_else(|| ("api_key_sid", problem.to_owned()))?;
            Ok(Credentials { user, password })
        }
        (Some(_), None) => {
            let problem = "the API key has no secret: set it, or api_key_secret_file, or leave api_key_sid out to use \
                           the account's auth token";
            Err(("api_key_secret", problem.to_owned()))
        }
        (None, Some(_)) => {
            let problem =
                "it is missing: the secret belongs to an API key, whose SID begins with SK";
            Err(("api_key_sid", problem.to_owned()))
        }
        (None, None) => {
            let token = account::first_token(loaded, entry.sid());
            let problem = format!(
                "account {} has no auth token to use instead: create an API key, and set api_key_sid and \
                 api_key_secret",
                entry.name()
            );
            let password = token.ok_or(("api_key_sid", problem))?;
            Ok(Credentials { user: entry.sid().to_owned(), password })
        }
    }
}

/// The rate that the sender gives, itself or by its pool.
fn own_rate(raw: &RawSender) -> Result<Option<Rate>, Wrong> {
    let (key, rate) = match (raw.rate, &raw.pool) {
        (Some(_), Some(_)) => {
            let problem = "pool is set as well, and each gives a rate: keep one";
            return Err(("rate", problem.to_owned()));
        }
        (None, None) => return Ok(None),
        (Some(rate), None) => ("rate", rate),
        (None, Some(_)) if raw.messaging_service_sid.is_none() => {
            let problem = "only a Messaging Service has a pool: leave it out, or set rate";
            return Err(("pool", problem.to_owned()));
        }
        (None, Some(pool)) => {
            let of = |kind: SenderKind, numbers: u32| kind.usual_rate() * f64::from(numbers);
            let rate = of(SenderKind::LongCode, pool.long_code)
                + of(SenderKind::TollFree, pool.toll_free)
                + of(SenderKind::ShortCode, pool.short_code);
            ("pool", rate)
        }
    };
    let problem = "it must give more than 0 units per second, and at most 10000";
    Rate::per_second(rate).map(Some).ok_or_else(|| (key, problem.to_owned()))
}

/// The countries of the senders that have a number.
pub(crate) fn countries(senders: &[Sender]) -> Vec<Country> {
    let mut found: Vec<_> = senders
        .iter()
        .filter_map(|sender| match &sender.origin {
            Origin::From(from) => {
                Number::parse(from.strip_prefix("whatsapp:").unwrap_or(from))?.country()
            }
            Origin::MessagingService(_) | Origin::Mailbox(_) => None,
        })
        .collect();
    found.sort_unstable();
    found.dedup();
    found
}

/// Whether two secrets are the same.
pub(crate) fn same(one: &SecretString, other: &SecretString) -> bool {
    one.expose_secret() == other.expose_secret()
}

#[cfg(test)]
mod tests;
