//! The shape of the configuration as it is written, before it is checked.

use std::path::PathBuf;

use secrecy::SecretString;
use serde::de::{Error as _, IntoDeserializer as _, value};
use serde::{Deserialize, Deserializer};

use crate::inbound;
use crate::twilio::keyring::Algorithm;
use crate::twilio::privacy::Treatment;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Raw {
    pub(crate) public_url: Option<String>,
    #[serde(default)]
    pub(crate) account: Vec<RawAccount>,
    pub(crate) inbound: inbound::Config,
    pub(crate) admin: RawAdmin,
    pub(crate) store: RawStore,
    pub(crate) stream: RawStream,
    pub(crate) spool: RawSpool,
    pub(crate) worker: RawWorker,
    pub(crate) calls: RawCalls,
    pub(crate) retention: RawRetention,
    pub(crate) fallback: RawFallback,
    pub(crate) privacy: RawPrivacy,
    pub(crate) log: RawLog,
    pub(crate) traces: RawTraces,
}

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

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawAdmin {
    pub(crate) listen: std::net::SocketAddr,
    pub(crate) token: Option<SecretString>,
    pub(crate) token_file: Option<PathBuf>,
    pub(crate) read_token: Option<SecretString>,
    pub(crate) read_token_file: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawStore {
    pub(crate) url: Option<SecretString>,
    pub(crate) url_file: Option<PathBuf>,
    pub(crate) migrate: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawStream {
    pub(crate) url: Option<SecretString>,
    pub(crate) url_file: Option<PathBuf>,
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) key: String,
    pub(crate) group: String,
    pub(crate) timeout_ms: u64,
    #[serde(deserialize_with = "named")]
    pub(crate) durability: Durability,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawSpool {
    pub(crate) directory: PathBuf,
    pub(crate) max_bytes: u64,
    pub(crate) min_free_bytes: u64,
}

/// Where a callback must be before it is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// In the stream; in the spool while the stream is down or slow.
    Stream,
    /// In the spool.
    Spool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawWorker {
    pub(crate) consumers: u32,
    pub(crate) reclaim_idle_ms: u64,
    pub(crate) max_deliveries: u32,
    pub(crate) mark_ttl_s: u64,
    pub(crate) trim_every_ms: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawCalls {
    pub(crate) limit: u64,
    pub(crate) max_age_s: u64,
}

/// Days; 0 is for ever.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawRetention {
    pub(crate) events_days: u32,
    pub(crate) statuses_days: u32,
    pub(crate) dead_letters_days: u32,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawFallback {
    pub(crate) voice: Option<String>,
    pub(crate) voice_file: Option<PathBuf>,
    pub(crate) sms: Option<String>,
    pub(crate) sms_file: Option<PathBuf>,
    #[serde(default)]
    pub(crate) number: Vec<RawNumber>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawNumber {
    pub(crate) number: String,
    pub(crate) voice: Option<String>,
    pub(crate) voice_file: Option<PathBuf>,
    pub(crate) sms: Option<String>,
    pub(crate) sms_file: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawPrivacy {
    #[serde(deserialize_with = "named")]
    pub(crate) numbers: Treatment,
    #[serde(deserialize_with = "named")]
    pub(crate) names: Treatment,
    #[serde(deserialize_with = "named")]
    pub(crate) bodies: Treatment,
    pub(crate) key: Option<SecretString>,
    pub(crate) key_file: Option<PathBuf>,
    pub(crate) also_numbers: Vec<String>,
    pub(crate) also_names: Vec<String>,
    pub(crate) also_bodies: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawLog {
    #[serde(deserialize_with = "named")]
    pub(crate) format: LogFormat,
    pub(crate) filter: String,
}

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawTraces {
    pub(crate) endpoint: Option<String>,
    pub(crate) sample_ratio: f64,
}

/// How the error of [`named`] begins.
pub(crate) const NOT_A_NAME: &str = "it must be one of ";

/// One of several names, in whatever case. Serde's error lists the names, the library's does not; what
/// was given is left out, since it may be a secret in the wrong place.
fn named<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<T, D::Error> {
    let name = String::deserialize(from)?.to_lowercase();
    T::deserialize(name.into_deserializer()).map_err(|error: value::Error| {
        let text = error.to_string();
        let names = text.rsplit_once("expected ").map_or("", |(_, names)| names);
        D::Error::custom(format!("{NOT_A_NAME}{}", names.trim_start_matches("one of ")))
    })
}

/// An algorithm by Twilio's name for it.
fn algorithm<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Algorithm>, D::Error> {
    let Some(name) = Option::<String>::deserialize(from)? else { return Ok(None) };
    Algorithm::parse(&name).map(Some).ok_or_else(|| {
        let names = Algorithm::ALL.map(|algorithm| format!("`{}`", algorithm.as_str()));
        D::Error::custom(format!("{NOT_A_NAME}{}", names.join(", ")))
    })
}
