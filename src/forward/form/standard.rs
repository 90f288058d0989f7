//! The form `standard`: JSON of a change, signed by the specification of Standard Webhooks, for which there are
//! verifiers in most languages.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::Sha256;

/// How a secret begins.
const PREFIX: &str = "whsec_";
/// Of a key, in bytes: fewer could be guessed, and the specification allows no more.
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
    /// [`NotASecret`] if one of them is none.
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
