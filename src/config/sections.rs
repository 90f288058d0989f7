//! The shape of the configuration as it is written: one file for each section, with its keys, what is checked of
//! them and what is warned of, and its tests.

pub(crate) mod account;
pub(crate) mod admin;
pub(crate) mod calls;
pub(crate) mod campaigns;
pub(crate) mod fallback;
pub(crate) mod forward;
pub(crate) mod inbound;
pub(crate) mod incoming_message;
pub(crate) mod log;
pub(crate) mod outbound;
pub(crate) mod privacy;
pub(crate) mod public_url;
pub(crate) mod quiet_hours;
pub(crate) mod retention;
pub(crate) mod route;
pub(crate) mod sender;
pub(crate) mod sendgrid;
pub(crate) mod spool;
pub(crate) mod store;
pub(crate) mod stream;
pub(crate) mod traces;
pub(crate) mod twilio;
pub(crate) mod worker;

use serde::de::{Error as _, IntoDeserializer as _, value};
use serde::{Deserialize, Deserializer};

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Raw {
    pub(crate) public_url: Option<String>,
    #[serde(default)]
    pub(crate) account: Vec<account::RawAccount>,
    pub(crate) inbound: inbound::RawInbound,
    pub(crate) admin: admin::RawAdmin,
    pub(crate) store: store::RawStore,
    pub(crate) stream: stream::RawStream,
    pub(crate) spool: spool::RawSpool,
    pub(crate) worker: worker::RawWorker,
    pub(crate) calls: calls::RawCalls,
    pub(crate) retention: retention::RawRetention,
    pub(crate) fallback: fallback::RawFallback,
    pub(crate) incoming_message: incoming_message::RawIncomingMessage,
    pub(crate) quiet_hours: quiet_hours::RawQuietHours,
    pub(crate) campaigns: campaigns::RawCampaigns,
    #[serde(default)]
    pub(crate) forward: Vec<forward::RawForward>,
    pub(crate) twilio: twilio::RawTwilio,
    pub(crate) sendgrid: sendgrid::RawSendgrid,
    #[serde(default)]
    pub(crate) sender: Vec<sender::RawSender>,
    #[serde(default)]
    pub(crate) route: Vec<route::RawRoute>,
    pub(crate) outbound: outbound::RawOutbound,
    pub(crate) privacy: privacy::RawPrivacy,
    pub(crate) log: log::RawLog,
    pub(crate) traces: traces::RawTraces,
}

/// How the error of [`named`] begins.
pub(crate) const NOT_A_NAME: &str = "it must be one of ";

/// One of several names, in any case. Serde's error lists the names, the library's does not. The given value is left
/// out, since it may be a secret in the wrong place.
fn named<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<T, D::Error> {
    let name = String::deserialize(from)?.to_lowercase();
    T::deserialize(name.into_deserializer()).map_err(|error: value::Error| {
        let text = error.to_string();
        let names = text.rsplit_once("expected ").map_or("", |(_, names)| names);
        D::Error::custom(format!("{NOT_A_NAME}{}", names.trim_start_matches("one of ")))
    })
}
