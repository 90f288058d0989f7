//! [`Consent`]: what the sender of an incoming message says about being reached, as it travels with its event. It is read
//! from what was signed, before `[privacy]` applies.

use std::fmt;

use hmac::{KeyInit as _, Mac as _};
use secrecy::{ExposeSecret as _, SecretString};

use super::key::{Secret, hex};
use crate::labels::{Label as _, labels};

labels! {
    /// What a recipient wishes.
    pub enum Wish {
        /// To be sent nothing any more.
        Stop = "stop",
        /// To be sent messages again.
        Start = "start",
    }
}

labels! {
    /// What says so.
    pub enum SaidBy {
        /// Twilio's `OptOutType`: its Advanced Opt-Out has read the message.
        OptOutType = "opt_out_type",
        /// The whole text of the message is one of the words that Twilio heeds.
        Word = "stop_word",
    }
}

/// Whose wish it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Whose {
    /// A number in E.164, of which the store makes the hashes by a secret of its own. Only where `[privacy]` lets numbers
    /// be kept.
    Number(String),
    /// The keyed hash of each address at which the number is reached, in the order of [`addresses`].
    Hashes([String; 2]),
}

/// What a recipient says about being reached.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Consent {
    /// What the recipient wishes.
    pub wish: Wish,
    /// What says so.
    pub by: SaidBy,
    /// Who it is.
    pub whose: Whose,
}

impl Consent {
    /// Reads what [`Display`](fmt::Display) writes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let (wish, by) = (Wish::parse(words.next()?)?, SaidBy::parse(words.next()?)?);
        let whose = match [words.next()?, words.next()?, words.next().unwrap_or_default()] {
            ["number", number, ""] => Whose::Number(number.to_owned()),
            ["hashes", first, second] if is_hash(first) && is_hash(second) => {
                Whose::Hashes([first.to_owned(), second.to_owned()])
            }
            _ => return None,
        };
        words.next().is_none().then_some(Self { wish, by, whose })
    }
}

impl fmt::Display for Consent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ", self.wish.name(), self.by.name())?;
        match &self.whose {
            Whose::Number(number) => write!(f, "number {number}"),
            Whose::Hashes([first, second]) => write!(f, "hashes {first} {second}"),
        }
    }
}

/// Whether a text is the hash of an address: 64 lower-case hexadecimal digits.
#[must_use]
pub fn is_hash(text: &str) -> bool {
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    text.len() == 64 && text.bytes().all(is_digit)
}

/// Every address at which a number is reached, one for each channel: who must not be reached by SMS must not be reached by
/// WhatsApp.
#[must_use]
pub fn addresses(number: &str) -> [String; 2] {
    [number.to_owned(), format!("whatsapp:{number}")]
}

/// Makes the keyed hashes of addresses. The same key makes the same hashes in every process.
#[derive(Clone)]
pub struct AddressKey(Secret);

impl AddressKey {
    /// The hashes by this key.
    #[must_use]
    pub fn new(key: &SecretString) -> Self {
        Self(secret(key))
    }

    /// The hash of an address.
    #[must_use]
    pub fn address(&self, to: &str) -> String {
        keyed(&self.0, &["address", to])
    }

    /// The hash of each address at which a number is reached.
    #[must_use]
    pub fn addresses(&self, number: &str) -> [String; 2] {
        addresses(number).map(|to| self.address(&to))
    }

    /// What tells whether another key is the same.
    #[must_use]
    pub fn check(&self) -> String {
        keyed(&self.0, &["check"])
    }
}

/// Without the key.
impl fmt::Debug for AddressKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AddressKey").finish_non_exhaustive()
    }
}

/// The key of hashes.
#[must_use]
pub fn secret(key: &SecretString) -> Secret {
    let key = key.expose_secret().as_bytes();
    Secret::new_from_slice(key).expect("HMAC takes a key of any length")
}

/// A keyed hash of parts, in lower-case hexadecimal.
#[must_use]
pub fn keyed(secret: &Secret, parts: &[&str]) -> String {
    let mut mac = secret.clone();
    for part in parts {
        // With its length, so that no two lists of parts are one text.
        mac.update(&(part.len() as u64).to_be_bytes());
        mac.update(part.as_bytes());
    }
    hex(&mac.finalize().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_is_read_as_it_is_written_and_nothing_else_is() {
        let hashes = AddressKey::new(&"k".into()).addresses("+12125550100");
        for whose in [Whose::Number("+12125550100".to_owned()), Whose::Hashes(hashes)] {
            for wish in Wish::ALL {
                for by in SaidBy::ALL {
                    let consent = Consent { wish, by, whose: whose.clone() };
                    assert_eq!(Consent::parse(&consent.to_string()), Some(consent));
                }
            }
        }
        for wrong in [
            "",
            "stop",
            "stop stop_word",
            "stop stop_word number",
            "stop stop_word number +1 +2",
            "stop stop_word hashes a b",
            "go stop_word number +1",
        ] {
            assert_eq!(Consent::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn hashes_differ_by_channel_and_by_key_and_reveal_none() {
        let (one, other) = (AddressKey::new(&"one".into()), AddressKey::new(&"other".into()));
        let [sms, whatsapp] = one.addresses("+12125550100");
        assert!(is_hash(&sms) && is_hash(&whatsapp) && sms != whatsapp);
        assert_eq!(sms, one.address("+12125550100"));
        assert_ne!(sms, other.address("+12125550100"));
        assert_ne!(one.check(), other.check());
        assert_eq!(format!("{one:?}"), "AddressKey { .. }");
    }
}
