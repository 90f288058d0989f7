//! [`Claim`]: what the headers of a request say about its signature, and [`Signed`], a request whose signature is right.
//!
//! SendGrid signs the timestamp and the body behind it, byte for byte, by ECDSA on P-256 with SHA-256. Neither the URL
//! nor its query is signed.
//! <https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/getting-started-event-webhook-security-features>

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;

use super::keys::{VerificationKey, VerificationKeys};

/// The signature header.
pub const SIGNATURE_HEADER: &str = "x-twilio-email-event-webhook-signature";
/// The header with the time at which it was signed.
pub const TIMESTAMP_HEADER: &str = "x-twilio-email-event-webhook-timestamp";

/// What the headers claim.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Claim {
    signature: Vec<u8>,
    timestamp: String,
}

/// Why the headers claim nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ClaimError {
    /// One of the headers is not there.
    #[error("the request has no {0}")]
    Missing(&'static str),
    /// One of them is there several times, or is not what it should be.
    #[error("the signature is malformed: {0}")]
    Malformed(&'static str),
}

impl Claim {
    /// Reads the values of both headers.
    ///
    /// # Errors
    /// See [`ClaimError`].
    pub fn parse<'a>(
        signatures: impl IntoIterator<Item = &'a [u8]>,
        timestamps: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<Self, ClaimError> {
        /// Two numbers of 33 bytes at most, and what DER puts around them.
        const LONGEST: usize = 72;
        let signature = one(signatures, "X-Twilio-Email-Event-Webhook-Signature")?;
        let timestamp = one(timestamps, "X-Twilio-Email-Event-Webhook-Timestamp")?;
        if !(1..=20).contains(&timestamp.len()) || !timestamp.iter().all(u8::is_ascii_digit) {
            return Err(ClaimError::Malformed("the timestamp is not a number"));
        }
        if signature.len() > LONGEST.div_ceil(3) * 4 {
            return Err(ClaimError::Malformed("it is longer than a signature"));
        }
        let signature =
            BASE64.decode(signature).map_err(|_| ClaimError::Malformed("not base64"))?;
        if signature.first() != Some(&0x30) {
            return Err(ClaimError::Malformed("not DER"));
        }
        let timestamp = String::from_utf8_lossy(timestamp).into_owned();
        Ok(Self { signature, timestamp })
    }

    /// What is signed before the body.
    #[must_use]
    pub fn timestamp(&self) -> &str {
        &self.timestamp
    }

    /// Whether the key made the signature of [the timestamp](Self::timestamp) and the body behind it, both of which are
    /// `signed`: they lie in one piece, because a body is too large to be copied for it.
    #[must_use]
    pub fn is_by(&self, key: &VerificationKey, signed: &[u8]) -> bool {
        key.verifies(signed, &self.signature)
    }

    /// A verified request, if one of the keys made the signature. Each key costs a hash of the body and a verification.
    #[must_use]
    pub fn verify<'k>(&self, keys: &'k VerificationKeys, signed: &Bytes) -> Option<Signed<'k>> {
        keys.iter().find_map(|key| self.verify_by(key, signed))
    }

    /// The same with one key.
    #[must_use]
    pub fn verify_by<'k>(&self, key: &'k VerificationKey, signed: &Bytes) -> Option<Signed<'k>> {
        let body = signed.strip_prefix(self.timestamp.as_bytes())?;
        self.is_by(key, signed).then(|| Signed { body: signed.slice_ref(body), key })
    }
}

fn one<'a>(
    values: impl IntoIterator<Item = &'a [u8]>,
    name: &'static str,
) -> Result<&'a [u8], ClaimError> {
    let mut values = values.into_iter();
    let value = values.next().ok_or(ClaimError::Missing(name))?;
    match values.next() {
        None => Ok(value),
        Some(_) => Err(ClaimError::Malformed("a header is there twice")),
    }
}

/// A request that SendGrid signed. Only [`Claim`] makes one.
#[derive(Clone, Debug)]
pub struct Signed<'k> {
    body: Bytes,
    key: &'k VerificationKey,
}

impl<'k> Signed<'k> {
    /// What was sent.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The key that verified it.
    #[must_use]
    pub fn key(&self) -> &'k VerificationKey {
        self.key
    }
}

#[cfg(any(test, fuzzing))]
impl Signed<'static> {
    /// As if a key had verified it.
    pub(crate) fn of_test(body: &[u8]) -> Self {
        use std::sync::OnceLock;
        const KEY: &str = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE83T4O/n84iotIvIW4mdBgQ/7dAfSmpqIM8kF9mN1flpVKS3GRqe62gw+2fNNRaIN\
                           XvVpiglSI8eNEc6wEA3F+g==";
        static ONE: OnceLock<VerificationKey> = OnceLock::new();
        let key = ONE.get_or_init(|| VerificationKey::parse(0, KEY).expect("a key"));
        Self { body: Bytes::copy_from_slice(body), key }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn claim(signature: &str, timestamp: &str) -> Result<Claim, ClaimError> {
        Claim::parse([signature.as_bytes()], [timestamp.as_bytes()])
    }

    /// Those that SendGrid's own library is tested with, and one that shows that each byte of the body counts.
    #[test]
    fn the_published_vectors_come_out_as_they_say() {
        let vectors = include_str!("../../tests/fixtures/sendgrid_vectors.json");
        let vectors: Vec<Value> = serde_json::from_str(vectors).expect("they are JSON");
        let verdict = |vector: &Value| {
            let text = |name: &str| vector[name].as_str().expect("a text");
            let key = VerificationKey::parse(0, text("key")).expect("a key");
            let signed = Bytes::from(text("timestamp").to_owned() + text("body"));
            let claim = claim(text("signature"), text("timestamp")).ok()?;
            let keys = VerificationKeys::new(vec![key]);
            let found = claim.verify(&keys, &signed)?;
            assert_eq!(found.body(), text("body"));
            Some(())
        };
        for vector in &vectors {
            assert_eq!(verdict(vector).is_some(), vector["valid"] == true, "{}", vector["name"]);
        }
        let valid = vectors.iter().filter(|vector| vector["valid"] == true).count();
        assert_eq!((vectors.len(), valid), (7, 2));
    }

    #[test]
    fn headers_that_sendgrid_does_not_send_are_refused_before_the_body_is_read() {
        const RIGHT: &str = "MEUCIGHQVtGj+Y3LkG9fLcxf3qfI10QysgDWmMOVmxG0u6ZUAiEAyBiXDWzM+uOe5W0JuG+luQAbPIqHh89M15TluLtEZtM=";
        assert!(claim(RIGHT, "1600112502").is_ok());
        for (signature, timestamp) in [
            (RIGHT, "timestamp"),
            (RIGHT, ""),
            (RIGHT, "-1"),
            (RIGHT, "160011250216001125021"),
            ("", "1600112502"),
            ("ME!", "1600112502"),
            ("AAAA", "1600112502"),
            (&"M".repeat(100), "1600112502"),
        ] {
            let found = claim(signature, timestamp);
            assert!(matches!(found, Err(ClaimError::Malformed(_))), "{signature} {timestamp}");
        }
        let time = b"1600112502".as_slice();
        let twice = Claim::parse([RIGHT.as_bytes(), RIGHT.as_bytes()], [time]);
        assert!(matches!(twice, Err(ClaimError::Malformed(_))));
        assert!(matches!(Claim::parse([], [time]), Err(ClaimError::Missing(_))));
        assert!(matches!(Claim::parse([RIGHT.as_bytes()], []), Err(ClaimError::Missing(_))));
    }
}
