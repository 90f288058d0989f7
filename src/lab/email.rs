//! [`EmailKey`]: signs email events as SendGrid does, by a key of its own.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};

use crate::sendgrid::keys::SPKI_P256;

/// A private key, made anew, and its public half.
#[derive(Debug)]
pub struct EmailKey {
    pair: EcdsaKeyPair,
    random: SystemRandom,
}

impl Default for EmailKey {
    fn default() -> Self {
        let (kind, random) = (&ECDSA_P256_SHA256_ASN1_SIGNING, SystemRandom::new());
        let document =
            EcdsaKeyPair::generate_pkcs8(kind, &random).expect("the system has random bytes");
        let pair = EcdsaKeyPair::from_pkcs8(kind, document.as_ref(), &random);
        Self { pair: pair.expect("it was made for this curve"), random }
    }
}

impl EmailKey {
    /// The public key, as `sendgrid.verification_keys` takes it.
    #[must_use]
    pub fn public(&self) -> String {
        BASE64.encode([&SPKI_P256, self.pair.public_key().as_ref()].concat())
    }

    /// The value of the signature header, of a body and of the timestamp header.
    #[must_use]
    pub fn sign(&self, timestamp: &str, body: &[u8]) -> String {
        let signed = [timestamp.as_bytes(), body].concat();
        let signature = self.pair.sign(&self.random, &signed).expect("the system has random bytes");
        BASE64.encode(signature)
    }
}
