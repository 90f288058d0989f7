//! [`Claim`]: what the headers of a request say about its signature.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::labels::Label as _;
use crate::twilio::keyring::{Algorithm, ClaimedKey};

/// The signature header.
pub const SIGNATURE_HEADER: &str = "x-twilio-signature";
/// The header that names a shared key and its algorithm.
pub const SETTINGS_HEADER: &str = "x-twilio-webhooks-signature-settings";

/// What the headers claim: a signature, and how it was made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Claim {
    signature: Signature,
    key_id: Option<String>,
}

/// A signature has the length of its algorithm, and no other.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Signature {
    Sha1([u8; 20]),
    Sha256([u8; 32]),
}

impl Signature {
    fn new(bytes: &[u8], algorithm: Algorithm) -> Option<Self> {
        Some(match algorithm {
            Algorithm::HmacSha1 => Self::Sha1(bytes.try_into().ok()?),
            Algorithm::HmacSha256 => Self::Sha256(bytes.try_into().ok()?),
        })
    }

    fn algorithm(&self) -> Algorithm {
        match self {
            Self::Sha1(_) => Algorithm::HmacSha1,
            Self::Sha256(_) => Algorithm::HmacSha256,
        }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::Sha1(bytes) => bytes,
            Self::Sha256(bytes) => bytes,
        }
    }
}

/// Why the headers claim nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ClaimError {
    /// There is no signature header.
    #[error("the request has no X-Twilio-Signature")]
    Missing,
    /// Several headers, bad base64, a wrong length, an unknown algorithm.
    #[error("the signature is malformed: {0}")]
    Malformed(&'static str),
}

impl Claim {
    /// Reads the values of the signature header and of the settings header
    /// (`key=<id>,algorithm=HMAC_SHA256`). Without an algorithm it is HMAC-SHA1 with the auth
    /// token.
    ///
    /// # Errors
    /// See [`ClaimError`].
    pub fn parse<'a>(
        signatures: impl IntoIterator<Item = &'a [u8]>,
        settings: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<Self, ClaimError> {
        let mut signatures = signatures.into_iter();
        let signature = signatures.next().ok_or(ClaimError::Missing)?;
        if signatures.next().is_some() {
            return Err(ClaimError::Malformed("more than one signature header"));
        }
        let (key_id, algorithm) = parse_settings(settings)?;
        // The longest well-formed one is 44 characters; nothing longer than 64 fits.
        let mut decoded = [0; 48];
        let length = STANDARD.decode_slice(signature, &mut decoded);
        let length = length.map_err(|_| ClaimError::Malformed("not base64"))?;
        let signature = Signature::new(&decoded[..length], algorithm);
        let signature = signature.ok_or(ClaimError::Malformed("wrong length for its algorithm"))?;
        Ok(Self { signature, key_id })
    }
}

impl Claim {
    /// Which secret is said to have made it.
    pub(super) fn key(&self) -> ClaimedKey<'_> {
        ClaimedKey { key_id: self.key_id.as_deref(), algorithm: self.signature.algorithm() }
    }

    /// The signature, as many bytes as its algorithm gives.
    pub(super) fn signature(&self) -> &[u8] {
        self.signature.bytes()
    }
}

fn parse_settings<'a>(
    values: impl IntoIterator<Item = &'a [u8]>,
) -> Result<(Option<String>, Algorithm), ClaimError> {
    let mut values = values.into_iter();
    let Some(value) = values.next() else { return Ok((None, Algorithm::HmacSha1)) };
    if values.next().is_some() {
        return Err(ClaimError::Malformed("more than one settings header"));
    }
    let value = std::str::from_utf8(value)
        .map_err(|_| ClaimError::Malformed("settings header is not text"))?;
    let (mut key, mut algorithm) = (None, None);
    for part in value.split(',') {
        match part.trim().split_once('=') {
            Some(("key", id)) => key = Some(id.to_owned()),
            Some(("algorithm", name)) => {
                let known = Algorithm::parse(name);
                algorithm = Some(known.ok_or(ClaimError::Malformed("unknown algorithm"))?);
            }
            _ => {}
        }
    }
    Ok(match algorithm {
        Some(algorithm) => (key, algorithm),
        None => (None, Algorithm::HmacSha1),
    })
}
