//! [`MailKey`]: what the pretend SendGrid signs its events with.

use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};

/// What stands before the point of a public key on P-256 in its SubjectPublicKeyInfo (RFC 5480).
const SPKI: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// A key on P-256.
pub struct MailKey {
    pair: EcdsaKeyPair,
    random: SystemRandom,
    pkcs8: Vec<u8>,
}

impl MailKey {
    /// A new one.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn generate() -> io::Result<Self> {
        let random = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random);
        Self::parse(pkcs8.map_err(|_| io::Error::other("there are no random numbers"))?.as_ref())
    }

    /// One that was written before, as PKCS #8.
    ///
    /// # Errors
    /// It is not such a key.
    pub fn parse(pkcs8: &[u8]) -> io::Result<Self> {
        let random = SystemRandom::new();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8, &random);
        let wrong =
            |_| io::Error::new(io::ErrorKind::InvalidData, "it is not a PKCS #8 key of P-256");
        Ok(Self { pair: pair.map_err(wrong)?, random, pkcs8: pkcs8.to_vec() })
    }

    /// The key as PKCS #8.
    #[must_use]
    pub fn pkcs8(&self) -> &[u8] {
        &self.pkcs8
    }

    /// The public key, as SendGrid's console shows it and `sendgrid.verification_keys` takes it.
    #[must_use]
    pub fn public(&self) -> String {
        STANDARD.encode([&SPKI[..], self.pair.public_key().as_ref()].concat())
    }

    /// The signature of a request of events.
    #[must_use]
    pub fn sign(&self, timestamp: &str, body: &[u8]) -> String {
        let signed = [timestamp.as_bytes(), body].concat();
        let signature = self.pair.sign(&self.random, &signed);
        STANDARD.encode(signature.expect("a key on P-256 signs everything"))
    }
}
