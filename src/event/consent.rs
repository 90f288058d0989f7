//! [`Consent`]: what the sender of an incoming message or the recipient of an email says about being reached, as it travels
//! with its event. It is read from what was signed, before `[privacy]` applies.

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
        /// The recipient of an email follows its link for unsubscribing, or subscribes again.
        Unsubscribe = "unsubscribe",
        /// The recipient of an email calls it spam.
        Complaint = "spamreport",
        /// The recipient's server says that there is no such address.
        Bounce = "bounce",
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
    /// An email address as [`mailbox`] writes it, of which the store makes the hash.
    Email(String),
    /// The keyed hash of an email address.
    EmailHash(String),
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
            ["email", address, ""] => Whose::Email(mailbox(address)?),
            ["email_hash", hash, ""] if is_hash(hash) => Whose::EmailHash(hash.to_owned()),
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
            Whose::Email(address) => write!(f, "email {address}"),
            Whose::EmailHash(hash) => write!(f, "email_hash {hash}"),
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

/// An email address in the one writing in which it is compared and hashed: without blanks around it, in lower case. `None` if
/// it cannot be one.
#[must_use]
pub fn mailbox(text: &str) -> Option<String> {
    /// What SMTP allows, with a margin for names beyond ASCII.
    const LONGEST: usize = 400;
    let text = text.trim();
    let is_plain = |c: char| !c.is_whitespace() && !c.is_control();
    let (name, host) = text.rsplit_once('@')?;
    let fits = !name.is_empty() && !host.is_empty() && text.len() <= LONGEST;
    (fits && text.chars().all(is_plain)).then(|| text.to_lowercase())
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
        let email = "ana@h.example".to_owned();
        let hash = AddressKey::new(&"k".into()).address(&email);
        for whose in [
            Whose::Number("+12125550100".to_owned()),
            Whose::Hashes(hashes),
            Whose::Email(email),
            Whose::EmailHash(hash),
        ] {
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
            "stop spamreport email ana",
            "stop spamreport email_hash 12",
        ] {
            assert_eq!(Consent::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn an_email_address_has_one_writing() {
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(mailbox(text).as_deref(), expected, "{text}");
        };
        check(" Ana.B+x@H.Example\r\n", Some("ana.b+x@h.example"));
        check("\"a@b\"@h", Some("\"a@b\"@h"));
        for none in
            ["", "ana", "@h", "ana@", "ana b@h", "a\u{0}@h", &format!("{}@h", "a".repeat(400))]
        {
            check(none, None);
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
