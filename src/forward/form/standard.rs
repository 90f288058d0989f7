//! The form `standard`: JSON of a change, signed by the specification of Standard Webhooks, for which there are
//! verifiers in most languages.
//!
//! An event has one id for good: over all tries, in a replay, after a backup was restored. So an application that
//! remembers the ids that it has dealt with deals with each event once.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use super::Outgoing;
use crate::clock::Timestamp;
use crate::event::key::hex;
use crate::event::{Change, Kind, Resource};
use crate::forward::target::Target;

/// The header of [`id`].
pub const ID_HEADER: &str = "webhook-id";
/// The header of the time of this try, in seconds since 1970.
pub const TIMESTAMP_HEADER: &str = "webhook-timestamp";
/// The header of the signatures.
pub const SIGNATURE_HEADER: &str = "webhook-signature";

/// How a secret begins.
const PREFIX: &str = "whsec_";
/// The length of a key, in bytes: a shorter one could be guessed, and the specification allows no more.
const KEY: std::ops::RangeInclusive<usize> = 24..=64;

/// The secrets of one endpoint: what is sent is signed with each, so that the endpoint can change from one to the
/// other at any time.
#[derive(Clone)]
pub struct Secrets(Vec<Hmac<Sha256>>);

/// A secret does not have the form that the specification gives.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "it is not a secret of Standard Webhooks, which is whsec_ and 24 to 64 bytes in base64: take what `echo \
     whsec_$(openssl rand -base64 32)` prints"
)]
pub struct NotASecret;

impl Secrets {
    /// These secrets.
    ///
    /// # Errors
    /// [`NotASecret`] if one of them is not valid.
    pub fn new(secrets: &[SecretString]) -> Result<Self, NotASecret> {
        secrets.iter().map(|secret| key(secret.expose_secret())).collect::<Result<_, _>>().map(Self)
    }

    /// The value of `webhook-signature`: one for each secret.
    #[must_use]
    pub fn sign(&self, id: &str, timestamp_s: i64, body: &[u8]) -> String {
        let head = format!("{id}.{timestamp_s}.");
        let signatures = self.0.iter().map(|key| {
            let mac = key.clone().chain_update(head.as_bytes()).chain_update(body);
            format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
        });
        signatures.collect::<Vec<_>>().join(" ")
    }
}

/// The request for a change, tried at this time.
#[must_use]
pub fn request(change: &Change, target: &Target, secrets: &Secrets, now: Timestamp) -> Outgoing {
    let (id, body) = (id(change), body(change));
    let timestamp_s = now.micros().div_euclid(1_000_000);
    let signature = secrets.sign(&id, timestamp_s, &body);
    let values = [
        (ID_HEADER, id),
        (TIMESTAMP_HEADER, timestamp_s.to_string()),
        (SIGNATURE_HEADER, signature),
    ];
    let value =
        |text| HeaderValue::try_from(text).expect("base64, digits and blanks are printable");
    let headers = values.map(|(name, text)| (HeaderName::from_static(name), value(text)));
    let mut headers = HeaderMap::from_iter(headers);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Outgoing { method: Method::POST, url: target.with_query(""), headers, body }
}

/// `evt_` and 32 hexadecimal digits: of the event's name and its account, so that it is the same whenever it is sent.
#[must_use]
pub fn id(change: &Change) -> String {
    let hash = Sha256::new()
        .chain_update(change.account.as_bytes())
        .chain_update([0])
        .chain_update(change.key.as_str().as_bytes());
    format!("evt_{}", hex(&hash.finalize()[..16]))
}

/// What is sent: the fields of the specification, and in `data` the row of the change feed.
#[derive(Serialize)]
struct Message<'c> {
    r#type: String,
    timestamp: Timestamp,
    data: Data<'c>,
}

/// The columns of `changes`, by their names.
#[derive(Serialize)]
struct Data<'c> {
    id: i64,
    stored_at: Timestamp,
    account: &'c str,
    key: &'c str,
    kind: Kind,
    sid: Option<&'c str>,
    resource: Option<Resource>,
    status: Option<&'c str>,
    previous: Option<&'c str>,
    current: Option<&'c str>,
    moved: bool,
    error_code: Option<&'c str>,
    own: Option<&'c RawValue>,
}

/// The JSON of a change.
fn body(change: &Change) -> Bytes {
    let own = change.own.as_ref().and_then(|own| serde_json::from_str(own.as_str()).ok());
    let r#type = match &change.status {
        Some(status) => format!("{}.{status}", change.kind.as_str()),
        None => change.kind.as_str().to_owned(),
    };
    let data = Data {
        id: change.id,
        stored_at: change.stored_at,
        account: &change.account,
        key: change.key.as_str(),
        kind: change.kind,
        sid: change.sid.as_deref(),
        resource: change.resource,
        status: change.status.as_deref(),
        previous: change.previous.as_deref(),
        current: change.current.as_deref(),
        moved: change.moved,
        error_code: change.error_code.as_deref(),
        own,
    };
    let message = Message { r#type, timestamp: change.stored_at, data };
    serde_json::to_vec(&message).expect("its fields are text, numbers and JSON").into()
}

fn key(secret: &str) -> Result<Hmac<Sha256>, NotASecret> {
    let encoded = secret.strip_prefix(PREFIX).ok_or(NotASecret)?;
    let bytes = STANDARD.decode(encoded).map_err(|_| NotASecret)?;
    if !KEY.contains(&bytes.len()) {
        return Err(NotASecret);
    }
    Ok(Hmac::new_from_slice(&bytes).expect("HMAC takes a key of any length"))
}

/// How many there are.
impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} secrets", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::change;
    use super::*;

    /// The example of the reference libraries, which are handed this key, id, time and body.
    const KNOWN: [&str; 4] = [
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        r#"{"test": 2432232314}"#,
        "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    ];
    const KNOWN_TIME: i64 = 1_614_265_330;

    fn secrets(secrets: &[&str]) -> Secrets {
        let secrets: Vec<SecretString> = secrets.iter().map(|&secret| secret.into()).collect();
        Secrets::new(&secrets).expect("they are secrets")
    }

    #[test]
    fn a_message_is_signed_as_the_reference_libraries_do() {
        let [secret, id, body, signature] = KNOWN;
        assert_eq!(secrets(&[secret]).sign(id, KNOWN_TIME, body.as_bytes()), signature);
    }

    #[test]
    fn each_secret_signs_while_they_change() {
        let [secret, id, body, signature] = KNOWN;
        let other = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
        let both = secrets(&[other, secret]).sign(id, KNOWN_TIME, body.as_bytes());
        let signatures: Vec<&str> = both.split(' ').collect();
        assert_eq!((signatures.len(), signatures[1]), (2, signature));
        assert_ne!(signatures[0], signature);
    }

    #[test]
    fn what_is_no_secret_of_the_specification_is_refused() {
        let short = format!("whsec_{}", STANDARD.encode([0; 23]));
        let long = format!("whsec_{}", STANDARD.encode([0; 65]));
        for wrong in ["", "whsec_", "t0ken", "whsec_%%%%", &short, &long, &long[6..]] {
            assert!(Secrets::new(&[wrong.into()]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_message_says_what_the_feed_says() {
        let message: serde_json::Value =
            serde_json::from_slice(&body(&change("completed"))).expect("it is JSON");
        let expected = serde_json::json!({
            "type": "call.completed",
            "timestamp": "2026-11-24T08:00:00.000000Z",
            "data": {
                "id": 7,
                "stored_at": "2026-11-24T08:00:00.000000Z",
                "account": "AC1",
                "key": "CA1-completed",
                "kind": "call",
                "sid": "CA1",
                "resource": "call",
                "status": "completed",
                "previous": null,
                "current": "completed",
                "moved": true,
                "error_code": null,
                "own": { "order_id": "A-1" },
            },
        });
        assert_eq!(message, expected);
        let silent = Change { status: None, own: None, ..change("completed") };
        let message: serde_json::Value =
            serde_json::from_slice(&body(&silent)).expect("it is JSON");
        assert_eq!((&message["type"], &message["data"]["own"]), (&"call".into(), &().into()));
    }

    #[test]
    fn the_id_is_that_of_the_event_whenever_it_is_sent() {
        let target = Target::parse("https://h/x?a=1").expect("it is a URL");
        let secrets = secrets(&[KNOWN[0]]);
        let send = |change: &Change, at_s: i64| {
            let now = Timestamp::from_micros(at_s * 1_000_000 + 999_999);
            let sent = request(change, &target, &secrets, now);
            assert_eq!(sent.url.as_str(), "https://h/x?a=1");
            let header = |name: &str| sent.headers[name].to_str().expect("it is text").to_owned();
            let [id, time, signature] = [ID_HEADER, TIMESTAMP_HEADER, SIGNATURE_HEADER].map(header);
            assert_eq!(
                (&time, &signature),
                (&at_s.to_string(), &secrets.sign(&id, at_s, &sent.body))
            );
            id
        };
        let first = send(&change("completed"), KNOWN_TIME);
        let again = Change { id: 9, previous: Some("ringing".to_owned()), ..change("completed") };
        assert_eq!(send(&again, KNOWN_TIME + 3600), first);
        let of_another = Change { account: "AC2".to_owned(), ..change("completed") };
        assert_ne!(send(&of_another, KNOWN_TIME), first);
        assert_ne!(send(&change("ringing"), KNOWN_TIME), first);
        assert!(!first.contains('.'), "{first}");
    }
}
