//! `[outbound]`: who may ask to send, to whom, and how carefully.

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

use super::sender::{self, Senders, same};
use super::{account, campaigns, quiet_hours, route, sendgrid, twilio};
use crate::admin;
use crate::config::ConfigError;
use crate::config::layers::Loaded;
use crate::config::secrets::{is_blank, one_of, trimmed};
use crate::dispatch::Channel;
use crate::dispatch::country::Country;
use crate::dispatch::follow_up::Times;
use crate::dispatch::gates::Rules;
use crate::dispatch::recipient::Recipient;
use crate::event::Route;
use crate::event::consent::AddressKey;
use crate::inbound;
use crate::outbound::Config;
use crate::outbound::config::{Account, Sender, Token};
use crate::twilio::consent::Listening;
use crate::twilio::fallback::VoiceConfirm;
use crate::twilio::keyring::{self, Keyring};
use crate::twilio::privacy::{Treatment, Treatments};
use crate::twilio::public_url::PublicUrl;
use crate::twilio::twiml::{Medium, Twiml};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawOutbound {
    pub(crate) tokens: Vec<RawToken>,
    pub(crate) countries: Vec<String>,
    pub(crate) only_to: Vec<String>,
    pub(crate) max_per_day: u32,
    pub(crate) max_per_recipient_hour: u32,
    pub(crate) max_calls_per_recipient_hour: u32,
    pub(crate) call_confirmed: String,
    pub(crate) call_not_confirmed: String,
    pub(crate) max_in_flight: u32,
    pub(crate) suppression_key: Option<SecretString>,
    pub(crate) suppression_key_file: Option<PathBuf>,
    pub(crate) claim_lease_ms: u64,
    pub(crate) writing_lease_ms: u64,
    pub(crate) timeout_ms: u64,
    pub(crate) look_after_s: Vec<u64>,
    pub(crate) reconcile_after_s: Vec<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawToken {
    pub(crate) id: String,
    pub(crate) token: Option<SecretString>,
    pub(crate) token_file: Option<PathBuf>,
}

/// What the sending half rests on.
pub(crate) struct Surroundings<'c> {
    pub(crate) keyring: &'c Keyring,
    pub(crate) public_url: &'c PublicUrl,
    pub(crate) inbound: &'c inbound::Config,
    pub(crate) admin: &'c admin::Config,
}

/// The sending half, and what is most likely not meant; `None` without a sender.
pub(crate) fn resolve(
    loaded: &Loaded,
    around: &Surroundings<'_>,
) -> Result<(Option<Config>, Vec<ConfigError>), ConfigError> {
    // Checked even if nothing is sent: a mistake is found when it is made.
    let api_url = twilio::api_url(loaded)?;
    let mail = sendgrid::api(loaded)?;
    let Senders { senders, paces, mut warnings } = sender::resolve(loaded, around.keyring)?;
    let routes = route::resolve(loaded, &senders)?;
    let tokens = tokens(loaded, around.admin)?;
    let rules = rules(loaded, &senders)?;
    let campaigns = campaigns::resolve(loaded, &senders)?;
    let raw = &loaded.raw.outbound;
    let looks = looks(loaded, &api_url)?;
    let follow_up = follow_up(loaded, &api_url)?;
    let suppression_key = suppression_key(loaded)?;
    check_times(loaded)?;
    if senders.is_empty() {
        return Ok((None, Vec::new()));
    }
    warnings.extend(twilio::warning(loaded, &api_url));
    let mails = senders.iter().any(|sender| sender.channel() == Channel::Email);
    let mail = mails.then_some(mail);
    warnings.extend(mail.as_ref().and_then(|mail| sendgrid::warning(loaded, &mail.url)));
    warnings.extend(unreachable(loaded, around.public_url, &api_url));
    let accounts = accounts(loaded, &senders, around.keyring);
    let url = |route: Route| {
        let prefix = around.inbound.path_prefix.as_str();
        around.public_url.join(&format!("{prefix}/{}", route.as_str()))
    };
    let config = Config {
        api_url,
        callback_url: url(Route::Status),
        confirm_url: url(Route::VoiceConfirm),
        mail,
        senders,
        routes,
        accounts,
        paces,
        rules,
        campaigns,
        tokens,
        suppression_key,
        max_in_flight: raw.max_in_flight,
        claim_lease: Duration::from_millis(raw.claim_lease_ms),
        writing_lease: Duration::from_millis(raw.writing_lease_ms),
        timeout: Duration::from_millis(raw.timeout_ms),
        follow_up,
        calls_max_age: Duration::from_secs(loaded.raw.calls.max_age_s),
        looks,
    };
    Ok((Some(config), warnings))
}

/// What a callee hears after pressing a key.
pub(crate) fn voice_confirm(loaded: &Loaded) -> Result<VoiceConfirm, ConfigError> {
    let raw = &loaded.raw.outbound;
    let twiml = |name: &str, text: &str| {
        let twiml = Twiml::parse(text, Medium::Voice);
        twiml.map_err(|error| loaded.error(&format!("outbound.{name}"), error.to_string()))
    };
    Ok(VoiceConfirm {
        confirmed: twiml("call_confirmed", &raw.call_confirmed)?,
        not_confirmed: twiml("call_not_confirmed", &raw.call_not_confirmed)?,
    })
}

/// The accounts of the senders, by their names in metrics.
fn accounts(loaded: &Loaded, senders: &[Sender], keyring: &Keyring) -> Vec<Account> {
    let account = |sender: &Sender| Account {
        sid: sender.account.clone(),
        calls_limit: account::calls_limit(loaded, &sender.account),
        name: match sender.channel() {
            Channel::Email => sender.account.clone(),
            _ => account_name(keyring, &sender.account)
                .expect("a sender's account is in the keyring"),
        },
    };
    let mut accounts: Vec<Account> = senders.iter().map(account).collect();
    accounts.sort_unstable();
    accounts.dedup();
    accounts
}

/// The name of an account in metrics: a sub-account has its parent's, and its place there.
pub(crate) fn account_name(keyring: &Keyring, sid: &str) -> Option<String> {
    if let Some(entry) = keyring.account(sid) {
        return Some(entry.name().to_owned());
    }
    let place = |entry: &keyring::Account| entry.subaccounts().iter().position(|it| it == sid);
    let mut entries = keyring.accounts().iter();
    let (parent, place) = entries.find_map(|entry| Some((entry.name(), place(entry)? + 1)))?;
    Some(format!("{parent}_{place}"))
}

/// Whether Twilio itself could not reach the public URL.
fn unreachable(loaded: &Loaded, public_url: &PublicUrl, api_url: &str) -> Option<ConfigError> {
    let url = public_url.as_str();
    let is_open = !url.to_ascii_lowercase().starts_with("https://");
    let problem = if twilio::is_local(url) {
        "Twilio cannot reach this machine by it, so that no message would ever be confirmed: set it to a URL that \
         leads here from outside"
    } else {
        "it is http, so that the callbacks that confirm a message can be read and held back on their way: take https"
    };
    (is_open && !twilio::is_local(api_url)).then(|| loaded.error("public_url", problem))
}

fn tokens(loaded: &Loaded, admin: &admin::Config) -> Result<Vec<Token>, ConfigError> {
    /// Who guesses one sends at your expense.
    const SHORTEST: usize = 24;
    let (mut tokens, mut ids) = (Vec::new(), HashSet::new());
    for (place, raw) in loaded.raw.outbound.tokens.iter().enumerate() {
        let wrong = |name: &str, problem: &str| ConfigError {
            key: format!("outbound.tokens[{place}].{name}"),
            origin: loaded.origin("outbound.tokens"),
            problem: problem.to_owned(),
        };
        let id = sender::name("id", &raw.id).map_err(|(name, problem)| wrong(name, &problem))?;
        if !ids.insert(id.clone()) {
            return Err(wrong("id", "another token has this id, by which the log names it"));
        }
        let token = one_of(raw.token.as_ref().map(trimmed), &raw.token_file);
        let token = token.map_err(|problem| wrong("token_file", &problem))?;
        let token = token.ok_or_else(|| wrong("token", "it is missing: set it, or token_file"))?;
        if is_blank(&token) {
            return Err(wrong("token", "it is empty"));
        }
        if token.expose_secret().chars().count() < SHORTEST {
            let problem = "it has fewer than 24 characters, so that it may be guessed: take what \
                           `openssl rand -hex 24` prints";
            return Err(wrong("token", problem));
        }
        let admins = [&admin.token, &admin.read_token].into_iter().flatten();
        if admins.into_iter().any(|admin| same(admin, &token)) {
            let problem = "it is a token of [admin], and sending costs money: take another one";
            return Err(wrong("token", problem));
        }
        if tokens.iter().any(|other: &Token| same(&other.token, &token)) {
            return Err(wrong("token", "another id has the same token: take another one"));
        }
        tokens.push(Token { id, token });
    }
    Ok(tokens)
}

fn rules(loaded: &Loaded, senders: &[Sender]) -> Result<Rules, ConfigError> {
    let raw = &loaded.raw.outbound;
    let wrong = |name: &str, place: usize, problem: &str| ConfigError {
        key: format!("outbound.{name}[{place}]"),
        origin: loaded.origin(&format!("outbound.{name}")),
        problem: problem.to_owned(),
    };
    let countries = raw.countries.iter().enumerate().map(|(place, code)| {
        let problem = "it is not a country: two capital letters, as in \"US\" or \"GB\"";
        Country::parse(code.trim()).ok_or_else(|| wrong("countries", place, problem))
    });
    let mut countries = countries.collect::<Result<Vec<_>, _>>()?;
    if countries.is_empty() {
        countries = sender::countries(senders);
    }
    // An email address is in no country.
    let is_in_one = |sender: &Sender| sender.channel() != Channel::Email;
    if countries.is_empty() && senders.iter().any(is_in_one) {
        let problem = "no sender has a number that says in which country it is: list the countries to which messages \
                       may go, as in [\"US\"]";
        return Err(loaded.error("outbound.countries", problem));
    }
    let only_to = raw.only_to.iter().enumerate().map(|(place, number)| {
        let problem = "it is not a number in E.164, such as +15550100, nor an email address";
        let to = number.trim();
        Recipient::parse(to)
            .filter(|_| !to.contains(':'))
            .ok_or_else(|| wrong("only_to", place, problem))
    });
    Ok(Rules {
        countries,
        only_to: only_to.collect::<Result<Vec<_>, _>>()?,
        max_per_recipient_hour: positive(
            loaded,
            "max_per_recipient_hour",
            raw.max_per_recipient_hour,
        )?,
        max_calls_per_recipient_hour: positive(
            loaded,
            "max_calls_per_recipient_hour",
            raw.max_calls_per_recipient_hour,
        )?,
        max_per_day: positive(loaded, "max_per_day", raw.max_per_day)?,
        quiet_hours: quiet_hours::resolve(loaded)?,
    })
}

fn positive(loaded: &Loaded, name: &str, value: u32) -> Result<u32, ConfigError> {
    let problem = "with 0 nothing is ever sent: give it a value, or leave it out";
    match loaded.zero(&format!("outbound.{name}"), value.into(), problem) {
        Some(error) => Err(error),
        None => Ok(value),
    }
}

/// What `offhook_attempt` rests on: a request ends before its outcome counts as unknown.
fn check_times(loaded: &Loaded) -> Result<(), ConfigError> {
    let raw = &loaded.raw.outbound;
    positive(loaded, "max_in_flight", raw.max_in_flight)?;
    // A process gives back what it has had for 100 ms between claim and write-ahead.
    const SHORTEST_CLAIM_MS: u64 = 500;
    if raw.claim_lease_ms < SHORTEST_CLAIM_MS {
        let problem = format!(
            "a slow commit would lose the attempt to another process: give it at least {SHORTEST_CLAIM_MS}"
        );
        return Err(loaded.error("outbound.claim_lease_ms", problem));
    }
    const SHORTEST_TIMEOUT_MS: u64 = 1_000;
    if raw.timeout_ms < SHORTEST_TIMEOUT_MS {
        let problem = format!(
            "Twilio takes up to seconds to answer, and the outcome of what it does not answer in time is unknown: give \
             it at least {SHORTEST_TIMEOUT_MS}"
        );
        return Err(loaded.error("outbound.timeout_ms", problem));
    }
    /// What the answer may need to be stored.
    const MARGIN_MS: u64 = 5_000;
    if raw.writing_lease_ms < raw.timeout_ms.saturating_add(MARGIN_MS) {
        let problem = format!(
            "the outcome would count as unknown while a request may still be answered: give it at least \
             outbound.timeout_ms and {MARGIN_MS}, or lower outbound.timeout_ms"
        );
        return Err(loaded.error("outbound.writing_lease_ms", problem));
    }
    Ok(())
}

fn looks(loaded: &Loaded, api_url: &str) -> Result<Vec<Duration>, ConfigError> {
    const MOST: usize = 20;
    // Twilio's lists lag: what is looked up sooner is not there yet, although it was sent. What stands in for Twilio on
    // this machine does as it is told.
    let first_s = if twilio::is_local(api_url) { 1 } else { 60 };
    let times = &loaded.raw.outbound.look_after_s;
    let ascends = times.windows(2).all(|pair| pair[0] < pair[1]);
    let in_bounds = times.first().is_some_and(|first| *first >= first_s) && times.len() <= MOST;
    if !ascends || !in_bounds {
        let problem = format!(
            "it must be 1 to {MOST} times in seconds, each later than the one before it, and none before {first_s}, \
             because Twilio's lists lag"
        );
        return Err(loaded.error("outbound.look_after_s", problem));
    }
    Ok(times.iter().copied().map(Duration::from_secs).collect())
}

fn follow_up(loaded: &Loaded, api_url: &str) -> Result<Times, ConfigError> {
    // Callbacks come within minutes. What stands in for Twilio on this machine does as it is told.
    let first_s = if twilio::is_local(api_url) { 1 } else { 600 };
    let times = &loaded.raw.outbound.reconcile_after_s;
    let is_early = times.first().is_some_and(|first| *first < first_s);
    let read = Times::new(times.iter().copied().map(Duration::from_secs).collect());
    read.filter(|_| !is_early).ok_or_else(|| {
        let problem = format!(
            "it must be 1 to 5 times in seconds, each later than the one before it, and none before {first_s}, while \
             callbacks may still come"
        );
        loaded.error("outbound.reconcile_after_s", problem)
    })
}

fn suppression_key(loaded: &Loaded) -> Result<Option<SecretString>, ConfigError> {
    /// Numbers are few, so that a short key is found by trying.
    const SHORTEST: usize = 32;
    let raw = &loaded.raw.outbound;
    let key = one_of(raw.suppression_key.as_ref().map(trimmed), &raw.suppression_key_file);
    let key = key.map_err(|problem| loaded.error("outbound.suppression_key_file", problem))?;
    if key.as_ref().is_some_and(|key| key.expose_secret().len() < SHORTEST) {
        let name = if raw.suppression_key_file.is_some() { "_file" } else { "" };
        let problem = "it has less than 32 characters: use what `openssl rand -hex 32` prints";
        return Err(loaded.error(&format!("outbound.suppression_key{name}"), problem));
    }
    Ok(key)
}

/// How what recipients say in incoming messages reaches the store: by the hashes of the configured key, which every process
/// that receives needs, or else by their numbers. Without a sender and a key it is not heeded, nor where neither numbers
/// nor a key may say who it is: that is a warning, because a key cannot be added once there are hashes.
pub(crate) fn listening(
    loaded: &Loaded,
    outbound: Option<&Config>,
    privacy: Treatments,
) -> Result<(Listening, Option<ConfigError>), ConfigError> {
    Ok(match (suppression_key(loaded)?, outbound) {
        (Some(key), _) => (Listening::Hashing(AddressKey::new(&key)), None),
        (None, None) => (Listening::Deaf, None),
        (None, Some(_)) if privacy.numbers == Treatment::Plain => (Listening::Plain, None),
        (None, Some(_)) => {
            let problem = "privacy.numbers keeps no number, so that without this key a STOP in an incoming message is not \
                           heeded until Twilio answers 21610: before the first message is sent, set it to what \
                           `openssl rand -hex 32` prints";
            (Listening::Deaf, Some(loaded.error("outbound.suppression_key", problem)))
        }
    })
}

#[cfg(test)]
mod tests;
