//! From what was written to what is meant, or the first thing that is wrong with it.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use sqlx::postgres::PgConnectOptions;

use super::layers::Loaded;
use super::raw::{RawAccount, RawNumber, RawSharedKey};
use super::warnings::trimmed;
use super::{Calls, Config, ConfigError, Deployment, LocalLog, Log, Role, Scaled, Traces};
use crate::backend::local_log::Bounds;
use crate::backend::redis::{Connector, Names};
use crate::clock::Clock;
use crate::inbound::{Fallback, PerNumber};
use crate::twilio::keyring::{Account, Algorithm, Keyring, Secret, SharedKey};
use crate::twilio::privacy::{Class, KeyError, Privacy, Treatment, Treatments};
use crate::twilio::public_url::PublicUrl;
use crate::twilio::twiml::{Medium, Twiml};
use crate::worker::retention;
use crate::{admin, worker};

/// Checks the whole.
pub(crate) fn resolve(loaded: &Loaded, role: Role) -> Result<Config, ConfigError> {
    let raw = &loaded.raw;
    let filter = raw.log.filter.clone();
    if tracing_subscriber::EnvFilter::try_new(&filter).is_err() {
        return Err(loaded.error("log.filter", "it is no filter; write `info` or `offhook=debug`"));
    }
    if raw.inbound.health_is_a_route() {
        return Err(loaded.error("inbound.health_path", "it is a route of callbacks: use another"));
    }
    let (keyring, warnings) = accounts(loaded)?;
    Ok(Config {
        keyring: Arc::new(keyring),
        public_url: public_url(loaded)?,
        inbound: raw.inbound.clone(),
        fallback: fallback(loaded)?,
        privacy: Arc::new(privacy(loaded)?),
        admin: admin(loaded)?,
        deployment: deployment(loaded, role)?,
        migrate: raw.store.migrate,
        calls: Calls { limit: raw.calls.limit, max_age: Duration::from_secs(raw.calls.max_age_s) },
        retention: retention(loaded)?,
        log: Log { format: raw.log.format, filter },
        traces: traces(loaded)?,
        clock: Clock::System,
        fixed: loaded.fixed.clone(),
        warnings,
    })
}

fn public_url(loaded: &Loaded) -> Result<PublicUrl, ConfigError> {
    let Some(url) = &loaded.raw.public_url else {
        return Err(loaded.error(
            "public_url",
            "Twilio signs the URL that it was given, so offhook must know it: set it, or \
             OFFHOOK_PUBLIC_URL, to the base of that URL, such as https://hooks.example.com",
        ));
    };
    PublicUrl::parse(url).map_err(|error| loaded.error("public_url", error.to_string()))
}

/// Every account with its secrets, and what is most likely not meant.
fn accounts(loaded: &Loaded) -> Result<(Keyring, Vec<ConfigError>), ConfigError> {
    let raw = &loaded.raw.account;
    if raw.is_empty() {
        return Err(loaded.error(
            "account",
            "without an account no callback can be verified: set TWILIO_ACCOUNT_SID and \
             TWILIO_AUTH_TOKEN, or add an [[account]] with sid and auth_tokens to the file",
        ));
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
    let name = raw.name.clone().unwrap_or_else(|| format!("account_{}", place + 1));
    let warnings = super::warnings::of_account(&sid, &auth_tokens, &shared_keys);
    let warnings = warnings.into_iter().map(|(name, problem)| wrong(name, problem)).collect();
    let account = Account::new(sid, name, &auth_tokens, &shared_keys)
        .retiring(&raw.retiring)
        .with_subaccounts(subaccounts);
    let ids: Vec<&str> = account.secrets().iter().map(Secret::id).collect();
    // Without what is there: a token may have been put in the place of its id.
    if raw.retiring.iter().any(|id| !ids.contains(&id.as_str())) {
        let problem =
            format!("it names ids of the account's secrets, which are {}", ids.join(", "));
        return Err(wrong("retiring", problem));
    }
    Ok((account, warnings))
}

/// An HMAC takes an empty key, and then anybody can sign: a variable that was not set, most likely.
fn is_blank(secret: &SecretString) -> bool {
    secret.expose_secret().trim().is_empty()
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

fn admin(loaded: &Loaded) -> Result<admin::Config, ConfigError> {
    let raw = &loaded.raw.admin;
    let token = admin_token(loaded, "admin.token", raw.token.as_ref(), &raw.token_file)?;
    let key = "admin.read_token";
    let read_token = admin_token(loaded, key, raw.read_token.as_ref(), &raw.read_token_file)?;
    let same =
        |token: &SecretString, other: &SecretString| token.expose_secret() == other.expose_secret();
    match (&token, &read_token) {
        (None, Some(_)) => {
            let problem = "without admin.token nobody is asked for it: set that one as well";
            return Err(loaded.error(key, problem));
        }
        (Some(token), Some(read)) if same(token, read) => {
            return Err(loaded.error(key, "it is admin.token, which may change everything"));
        }
        _ => {}
    }
    if token.is_none() && !raw.listen.ip().is_loopback() {
        return Err(loaded.error(
            "admin.listen",
            "elsewhere than on loopback it would show everybody what your callers did: set \
             admin.token (or token_file), or listen on 127.0.0.1",
        ));
    }
    Ok(admin::Config { listen: raw.listen, token, read_token })
}

/// One of the private listener's tokens. Elsewhere than on loopback it must be one that nobody guesses.
fn admin_token(
    loaded: &Loaded,
    key: &str,
    token: Option<&SecretString>,
    file: &Option<PathBuf>,
) -> Result<Option<SecretString>, ConfigError> {
    let token = one_of(token.map(trimmed), file)
        .map_err(|problem| loaded.error(&format!("{key}_file"), problem))?;
    if token.as_ref().is_some_and(is_blank) {
        return Err(loaded.error(key, "it is empty"));
    }
    let loopback = loaded.raw.admin.listen.ip().is_loopback();
    if !loopback && token.as_ref().is_some_and(is_guessed) {
        let key = if file.is_some() { &format!("{key}_file") } else { key };
        return Err(loaded.error(key, guessed("")));
    }
    Ok(token)
}

/// Whether it has fewer characters than what `openssl rand -hex 12` prints.
pub(super) fn is_guessed(token: &SecretString) -> bool {
    token.expose_secret().chars().count() < SHORTEST_TOKEN
}

/// What is wrong with it.
pub(super) fn guessed(meanwhile: &str) -> String {
    format!(
        "it has fewer than {SHORTEST_TOKEN} characters, so that it may be guessed{meanwhile}: take what \
         `openssl rand -hex 24` prints"
    )
}

const SHORTEST_TOKEN: usize = 24;

fn traces(loaded: &Loaded) -> Result<Option<Traces>, ConfigError> {
    let raw = &loaded.raw.traces;
    let sample_ratio = raw.sample_ratio;
    if !(0.0..=1.0).contains(&sample_ratio) {
        return Err(loaded.error("traces.sample_ratio", "it is a share, from 0.0 to 1.0"));
    }
    let Some(endpoint) = raw.endpoint.clone().filter(|endpoint| !endpoint.is_empty()) else {
        return Ok(None);
    };
    let wrong = |problem| Err(loaded.error("traces.endpoint", problem));
    if !cfg!(feature = "otel") {
        return wrong("this offhook was built without traces: build it with `--features otel`");
    }
    // As the exporter reads it, too, which quotes what it cannot read, and there may be a token in it.
    let is_sent = endpoint.parse::<axum::http::Uri>().is_ok();
    match reqwest::Url::parse(&endpoint) {
        Ok(url) if is_sent && ["http", "https"].contains(&url.scheme()) => {
            Ok(Some(Traces { endpoint, sample_ratio }))
        }
        _ => wrong("it is no URL like http://localhost:4318/v1/traces"),
    }
}

fn deployment(loaded: &Loaded, role: Role) -> Result<Deployment, ConfigError> {
    let raw = &loaded.raw;
    // Both are set when a file takes the place of the default, so the later one counts.
    let url = match &raw.store.url_file {
        Some(path) if loaded.overrides("store.url_file", "store.url") => SecretString::from(
            read(path).map_err(|problem| loaded.error("store.url_file", problem))?,
        ),
        _ => raw.store.url.clone().unwrap_or_default(),
    };
    let stream = || {
        one_of(raw.stream.url.clone(), &raw.stream.url_file)
            .map_err(|problem| loaded.error("stream.url_file", problem))
    };
    let scheme = url.expose_secret().split(':').next().unwrap_or_default().to_owned();
    match scheme.as_str() {
        "sqlite" if role != Role::All => Err(loaded.error(
            "store.url",
            "a SQLite store belongs to one process, which receives and stores: --role needs a \
             postgres:// store",
        )),
        "sqlite" => embedded(loaded, url.expose_secret()),
        "postgres" | "postgresql" => {
            check_postgres(loaded, &url)?;
            match stream()? {
                Some(stream) => scaled(loaded, role, url, stream),
                None => direct(loaded, role, url),
            }
        }
        _ => Err(loaded.error("store.url", "it must start with sqlite: or postgres://")),
    }
}

fn embedded(loaded: &Loaded, url: &str) -> Result<Deployment, ConfigError> {
    // A REDIS_URL or REDIS_URL_FILE that lies about in the environment is not meant, nor read; one in our own
    // settings is.
    let set = [
        ("stream.url", loaded.raw.stream.url.is_some()),
        ("stream.url_file", loaded.raw.stream.url_file.is_some()),
    ];
    let meant = set.iter().find(|(key, set)| *set && !loaded.origin(key).contains("REDIS_URL"));
    if let Some((key, _)) = meant {
        return Err(loaded.error(
            key,
            "a SQLite store uses no stream: remove it, or set store.url to a postgres:// URL",
        ));
    }
    Ok(Deployment::Embedded { log: local_log(loaded, beside(url))?, store: url.to_owned() })
}

/// Of a `sqlite:` URL, where its log lies: beside the file, so that whoever moves, copies or mounts the one
/// has the other, and two processes with a file each have a log each.
fn beside(url: &str) -> PathBuf {
    let path = url.trim_start_matches("sqlite:").trim_start_matches("//");
    let path = path.split('?').next().unwrap_or_default();
    PathBuf::from(format!("{path}-log"))
}

fn local_log(loaded: &Loaded, directory: PathBuf) -> Result<LocalLog, ConfigError> {
    let raw = &loaded.raw.spool;
    if raw.min_free_bytes < Bounds::LEAST_FREE {
        let least = Bounds::LEAST_FREE;
        let problem =
            format!("it must be at least {least}: a disk without it stops whatever else is on it");
        return Err(loaded.error("spool.min_free_bytes", problem));
    }
    let bounds = Bounds { max_bytes: raw.max_bytes, min_free_bytes: raw.min_free_bytes };
    Ok(LocalLog { directory, bounds })
}

fn check_postgres(loaded: &Loaded, store: &SecretString) -> Result<(), ConfigError> {
    if let Some(problem) = super::urls::problem(store.expose_secret()) {
        return Err(loaded.error("store.url", problem));
    }
    postgres_url(store.expose_secret()).map_err(|problem| {
        let like = "it is not a URL like postgres://user@host/name";
        loaded.error("store.url", format!("{like}: {problem}"))
    })
}

fn direct(loaded: &Loaded, role: Role, store: SecretString) -> Result<Deployment, ConfigError> {
    if role != Role::All {
        return Err(loaded.error(
            "stream.url",
            "--role needs a stream between receivers and workers: set stream.url, or REDIS_URL, to a \
             redis:// URL; without one, a single process receives and stores",
        ));
    }
    let log = local_log(loaded, loaded.raw.spool.directory.clone())?;
    Ok(Deployment::Direct { log, store })
}

fn scaled(
    loaded: &Loaded,
    role: Role,
    store: SecretString,
    stream: SecretString,
) -> Result<Deployment, ConfigError> {
    let raw = &loaded.raw;
    if let Some(problem) = super::urls::problem(stream.expose_secret()) {
        return Err(loaded.error("stream.url", problem));
    }
    let ca = raw.stream.ca_file.as_ref().map(read).transpose();
    let ca = ca.map_err(|problem| loaded.error("stream.ca_file", problem))?;
    let connector = Connector::with_ca(stream.expose_secret(), ca.as_deref().map(str::as_bytes));
    let stream = connector.map_err(|error| {
        loaded.error("stream.url", format!("it is not a URL like redis://host:6379: {error}"))
    })?;
    for (key, value) in [("stream.key", &raw.stream.key), ("stream.group", &raw.stream.group)] {
        if value.is_empty() {
            return Err(loaded.error(key, "it is empty"));
        }
    }
    if !(1..=64).contains(&raw.worker.consumers) {
        return Err(loaded.error("worker.consumers", "it must be from 1 to 64"));
    }
    if raw.worker.max_deliveries == 0 {
        return Err(loaded.error("worker.max_deliveries", "it must be at least 1"));
    }
    Ok(Deployment::Scaled(Box::new(Scaled {
        role,
        store,
        stream,
        names: Names { stream: raw.stream.key.clone(), group: raw.stream.group.clone() },
        stream_timeout: Duration::from_millis(raw.stream.timeout_ms.max(1)),
        durability: raw.stream.durability,
        spool: local_log(loaded, raw.spool.directory.clone())?,
        worker: worker::Config {
            consumers: raw.worker.consumers,
            reclaim_idle: Duration::from_millis(raw.worker.reclaim_idle_ms),
            max_deliveries: raw.worker.max_deliveries,
            mark_ttl: Duration::from_secs(raw.worker.mark_ttl_s),
            trim_every: Duration::from_millis(raw.worker.trim_every_ms.max(100)),
        },
    })))
}

/// What is wrong with a URL of Postgres, without the words of its library, which quote values.
fn postgres_url(url: &str) -> Result<(), String> {
    // Its own errors are fixed texts.
    let parsed = reqwest::Url::parse(url).map_err(|error| error.to_string())?;
    if PgConnectOptions::from_str(url).is_ok() {
        return Ok(());
    }
    let alone = |name: &str, value: &str| {
        let mut alone = reqwest::Url::parse("postgres://h/d").expect("a URL");
        alone.query_pairs_mut().append_pair(name, value);
        PgConnectOptions::from_str(alone.as_str()).is_ok()
    };
    const KNOWN: [&str; 4] = ["sslmode", "ssl-mode", "port", "statement-cache-capacity"];
    let mut pairs = parsed.query_pairs();
    match pairs.find(|(name, value)| KNOWN.contains(&&**name) && !alone(name, value)) {
        Some((name, _)) => Err(format!("the value of {name} does not fit")),
        None => Err("a part of it cannot be read".to_owned()),
    }
}

fn retention(loaded: &Loaded) -> Result<retention::Config, ConfigError> {
    const DAY: u64 = 24 * 60 * 60;
    let raw = &loaded.raw.retention;
    let age = |days: u32| (days > 0).then(|| Duration::from_secs(u64::from(days) * DAY));
    let statuses = u64::from(raw.statuses_days);
    let wrong = |problem| Err(loaded.error("retention.statuses_days", problem));
    // Of a status that is gone, an old event that comes again would make one that is wrong.
    if statuses > 0 && (raw.events_days == 0 || statuses < u64::from(raw.events_days)) {
        let events = match raw.events_days {
            0 => "for ever".to_owned(),
            days => format!("for {days} days"),
        };
        return wrong(format!(
            "a status must not go before its events, which are kept {events}: raise it, or lower \
             retention.events_days"
        ));
    }
    let calls = loaded.raw.calls.max_age_s;
    if statuses > 0 && statuses * DAY < calls {
        return wrong(format!(
            "a call counts as being in progress for {calls} s (calls.max_age_s), and its status must \
             not go before: raise it, or lower calls.max_age_s"
        ));
    }
    Ok(retention::Config {
        events: age(raw.events_days),
        statuses: age(raw.statuses_days),
        dead_letters: age(raw.dead_letters_days),
    })
}

fn fallback(loaded: &Loaded) -> Result<Fallback, ConfigError> {
    let raw = &loaded.raw.fallback;
    let twiml = |key: &str, text: &Option<String>, file: &Option<PathBuf>, medium| {
        let (key, file_key) = (format!("fallback.{key}"), format!("fallback.{key}_file"));
        let file = file.as_ref().filter(|_| loaded.overrides(&file_key, &key));
        let found = twiml(text.as_ref(), file, medium);
        found
            .map_err(|problem| loaded.error(if file.is_some() { &file_key } else { &key }, problem))
    };
    let mut numbers = HashMap::new();
    for number in &raw.number {
        let RawNumber { number, voice, voice_file, sms, sms_file } = number;
        let per_number = PerNumber {
            voice: twiml("number.voice", voice, voice_file, Medium::Voice)?,
            sms: twiml("number.sms", sms, sms_file, Medium::Sms)?,
        };
        if numbers.insert(number.clone(), per_number).is_some() {
            return Err(loaded.error("fallback.number", "a number is there twice"));
        }
    }
    let voice = twiml("voice", &raw.voice, &raw.voice_file, Medium::Voice)?;
    let sms = twiml("sms", &raw.sms, &raw.sms_file, Medium::Sms)?;
    Ok(Fallback { voice: voice.unwrap_or(Twiml::EMPTY), sms: sms.unwrap_or(Twiml::EMPTY), numbers })
}

fn privacy(loaded: &Loaded) -> Result<Privacy, ConfigError> {
    let raw = &loaded.raw.privacy;
    let key = one_of(raw.key.clone(), &raw.key_file)
        .map_err(|problem| loaded.error("privacy.key_file", problem))?;
    let treatments = [
        ("privacy.numbers", raw.numbers),
        ("privacy.names", raw.names),
        ("privacy.bodies", raw.bodies),
    ];
    let also = [
        (&raw.also_numbers, Class::Numbers),
        (&raw.also_names, Class::Names),
        (&raw.also_bodies, Class::Bodies),
    ];
    let also =
        also.into_iter().flat_map(|(names, class)| names.iter().map(move |name| (&**name, class)));
    let [(_, numbers), (_, names), (_, bodies)] = treatments;
    Privacy::new(Treatments { numbers, names, bodies }, also, key.as_ref()).map_err(|error| {
        let needs = treatments.iter().find(|(_, treatment)| *treatment != Treatment::Plain);
        let key = match (error, needs) {
            (KeyError::Missing, Some((key, _))) => key,
            _ if raw.key_file.is_some() => "privacy.key_file",
            _ => "privacy.key",
        };
        loaded.error(key, error.to_string())
    })
}

fn twiml(
    text: Option<&String>,
    file: Option<&PathBuf>,
    medium: Medium,
) -> Result<Option<Twiml>, String> {
    let text = match file {
        Some(path) => Some(read(path)?),
        None => text.cloned(),
    };
    text.map(|text| Twiml::parse(&text, medium).map_err(|error| error.to_string())).transpose()
}

/// A secret, as it is or from its file.
fn one_of(
    secret: Option<SecretString>,
    file: &Option<PathBuf>,
) -> Result<Option<SecretString>, String> {
    match (secret, file) {
        (Some(_), Some(_)) => Err("it is set both as a value and as a file: keep one".to_owned()),
        (None, Some(path)) => Ok(Some(read(path)?.into())),
        (secret, None) => Ok(secret),
    }
}

fn read(path: &PathBuf) -> Result<String, String> {
    let text = std::fs::read_to_string(path);
    let text = text.map_err(|error| format!("{} cannot be read: {error}", shown(path)))?;
    let text = text.trim().to_owned();
    if text.is_empty() { Err(format!("{} is empty", shown(path))) } else { Ok(text) }
}

/// A path, if it cannot be the secret itself in the place of its file.
fn shown(path: &Path) -> String {
    let plain = path.to_str().is_some_and(|text| {
        let begins = ["./", "../"].iter().any(|start| text.starts_with(start));
        // Base64 may begin with a slash.
        let absolute = text.strip_prefix('/').is_some_and(|rest| rest.contains('/'));
        (begins || absolute) && !text.contains([':', '@', '+', '='])
    });
    if plain { path.display().to_string() } else { "the file that it names".to_owned() }
}
