//! [`VerificationKeys`]: by which keys requests of SendGrid's Event Webhook may be signed. Several, so that one can be
//! replaced without a gap. They are public: nothing about them is secret.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::agreement::{ECDH_P256, EphemeralPrivateKey, UnparsedPublicKey as Peer, agree_ephemeral};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};

/// What stands before the point of each key in SubjectPublicKeyInfo: an EC key on the curve P-256 (RFC 5480).
pub(crate) const SPKI_P256: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// Most keys. Each costs a forged request a verification, some 0.1 ms.
pub const MOST: usize = 8;

/// One public key, as SendGrid's console shows it.
#[derive(Clone)]
pub struct VerificationKey {
    id: String,
    key: UnparsedPublicKey<Vec<u8>>,
}

/// Why a text is not a key. Never repeats the text, which may be a secret in the wrong place.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum KeyError {
    /// Not base64.
    #[error(
        "it is not base64: copy the whole verification key from SendGrid's console again, without quotes or line breaks"
    )]
    NotBase64,
    /// A key of another kind, or none.
    #[error(
        "it is not a public key of ECDSA on P-256, which has 124 characters and begins with MFkwEwYHKoZIzj0C: copy the \
         verification key of the signed Event Webhook from SendGrid's console"
    )]
    NotP256,
    /// The point is not on the curve.
    #[error(
        "a character of it is wrong, so that it verifies nothing: copy it from SendGrid's console again"
    )]
    NotOnCurve,
}

impl VerificationKey {
    /// Reads the base64 of a SubjectPublicKeyInfo. `place` is its place in the configuration, from 0, and gives it its
    /// id.
    ///
    /// # Errors
    /// See [`KeyError`].
    pub fn parse(place: usize, text: &str) -> Result<Self, KeyError> {
        let der = BASE64.decode(text.trim()).map_err(|_| KeyError::NotBase64)?;
        let point = der.strip_prefix(&SPKI_P256).ok_or(KeyError::NotP256)?;
        // Uncompressed, with both coordinates.
        if point.len() != 65 || point[0] != 4 {
            return Err(KeyError::NotP256);
        }
        if !is_on_curve(point) {
            return Err(KeyError::NotOnCurve);
        }
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point.to_vec());
        Ok(Self { id: format!("verification_key_{}", place + 1), key })
    }

    /// Its name in logs and metrics: `verification_key_<n>` with its place in the configuration, from 1.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Whether `signature`, in DER, is of these bytes and by this key.
    #[must_use]
    pub fn verifies(&self, signed: &[u8], signature: &[u8]) -> bool {
        self.key.verify(signed, signature).is_ok()
    }
}

impl std::fmt::Debug for VerificationKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VerificationKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Whether a key agreement with this point works, which is how ring says that a point is on the curve: a verification
/// says no more than that a signature is wrong. The random key is forgotten; the answer does not depend on it.
fn is_on_curve(point: &[u8]) -> bool {
    let mine = EphemeralPrivateKey::generate(&ECDH_P256, &SystemRandom::new());
    let Ok(mine) = mine else { return true };
    agree_ephemeral(mine, &Peer::new(&ECDH_P256, point), |_| ()).is_ok()
}

/// The accepted keys, in the order in which they are tried.
#[derive(Clone, Debug, Default)]
pub struct VerificationKeys(Vec<VerificationKey>);

impl VerificationKeys {
    /// These keys.
    #[must_use]
    pub fn new(keys: Vec<VerificationKey>) -> Self {
        Self(keys)
    }

    /// The keys.
    pub fn iter(&self) -> impl Iterator<Item = &VerificationKey> {
        self.0.iter()
    }

    /// Whether no key is configured, so that no email event is accepted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE83T4O/n84iotIvIW4mdBgQ/7dAfSmpqIM8kF9mN1flpVKS3GRqe62gw+2fNNRaIN\
                       XvVpiglSI8eNEc6wEA3F+g==";

    #[test]
    fn a_key_is_read_and_a_mangled_one_is_not() {
        let check = |text: &str, expected: Result<&str, KeyError>| {
            let read = VerificationKey::parse(1, text);
            assert_eq!(read.as_ref().map(VerificationKey::id).map_err(|error| *error), expected);
        };
        check(KEY, Ok("verification_key_2"));
        check(&format!(" {KEY}\n"), Ok("verification_key_2"));
        check(&format!("-----BEGIN PUBLIC KEY-----\n{KEY}"), Err(KeyError::NotBase64));
        check("", Err(KeyError::NotP256));
        check(&KEY[..KEY.len() - 8], Err(KeyError::NotP256));
        // An Ed25519 key.
        check(
            "MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=",
            Err(KeyError::NotP256),
        );
        check(&KEY.replace("83T4O", "83T5O"), Err(KeyError::NotOnCurve));
    }
}
