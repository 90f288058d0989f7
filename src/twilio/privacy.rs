//! [`Privacy`]: what becomes of numbers, names and bodies before anything is kept or shown.
//!
//! Read in this order: [`Treatment`] (what can become of a value), [`Class`] (which parameters are
//! which), [`Privacy::apply`] (an event), [`Privacy::forms`] (how to look for a number then). How
//! forms and JSON are walked through is in `rewrite`.
//!
//! Knows no request and no store: an event has its key, its SID and its status by then, and all of
//! them come from what was signed.

mod class;
mod rewrite;
mod text;

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use sha2::Sha256;

pub use self::class::Class;
use crate::event::consent::mailbox;
use crate::event::{Event, Format, Route};
use crate::twilio::address;

/// What becomes of a value, the mildest first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Treatment {
    /// The value stays as it was signed.
    #[default]
    Plain,
    /// `****0100`: its last four characters, or none of less than eight.
    Mask,
    /// `hash:` and 32 hexadecimal digits: the start of its HMAC-SHA256. Equal values stay equal, and
    /// a number is its `+` and its digits, however it was written.
    Hash,
    /// The parameter is removed, with its name.
    Drop,
}

impl fmt::Display for Treatment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain => "plain",
            Self::Mask => "mask",
            Self::Hash => "hash",
            Self::Drop => "drop",
        })
    }
}

/// A treatment for each class.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Treatments {
    /// The treatment of [`Class::Numbers`].
    pub numbers: Treatment,
    /// The treatment of [`Class::Names`].
    pub names: Treatment,
    /// The treatment of [`Class::Bodies`].
    pub bodies: Treatment,
}

/// Why a key does not do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum KeyError {
    /// There is no key, and not everything is plain.
    #[error(
        "what is not plain needs a key that nobody can guess, since a bare hash of a number is \
         found by trying all numbers: set privacy.key_file to a file with what \
         `openssl rand -hex 32` prints"
    )]
    Missing,
    /// The key is so short that it may be guessed.
    #[error(
        "it has less than {} characters, so that it may be guessed: take what \
         `openssl rand -hex 32` prints",
        Privacy::SHORTEST_KEY
    )]
    Short,
}

/// What becomes of which parameter. Immutable; the plain one costs nothing.
///
/// Every process of a deployment needs the same one: receivers apply it, and searches ask it how a number is
/// stored.
#[derive(Clone, Default)]
pub struct Privacy {
    treatments: Treatments,
    /// Names of parameters that users have classified, as [`class::plain_name`] writes them.
    also: HashMap<String, Class>,
    /// There is one unless all is plain.
    key: Option<Hmac<Sha256>>,
    /// The same for email events, whose parameters have meanings of their own.
    of_email: Option<Box<Self>>,
}

/// Shows everything except the key.
impl fmt::Debug for Privacy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { treatments, also, key: _, of_email: _ } = self;
        f.debug_struct("Privacy").field("treatments", treatments).field("also", also).finish()
    }
}

impl Privacy {
    /// The shortest key, in characters: 128 bits, if they are hexadecimal digits.
    pub const SHORTEST_KEY: usize = 32;

    /// These treatments. `also` are parameters that belong to a class besides those that
    /// [`Class::of`] knows.
    ///
    /// # Errors
    /// There is no key and not everything is plain, or the key is too short.
    pub fn new<'a>(
        treatments: Treatments,
        also: impl IntoIterator<Item = (&'a str, Class)>,
        key: Option<&SecretString>,
    ) -> Result<Self, KeyError> {
        let key = key.map(|key| key.expose_secret().as_bytes());
        if key.is_some_and(|key| key.len() < Self::SHORTEST_KEY) {
            return Err(KeyError::Short);
        }
        if treatments == Treatments::default() {
            return Ok(Self::default());
        }
        let key = Hmac::new_from_slice(key.ok_or(KeyError::Missing)?);
        let key = Some(key.expect("HMAC takes a key of any length"));
        let also = also.into_iter().map(|(name, class)| (class::plain_name(name), class));
        let also: HashMap<String, Class> = also.collect();
        let emails = class::OF_EMAIL.map(|(name, class)| (name.to_owned(), class));
        let emails = emails.into_iter().chain(also.clone()).collect();
        let of_email = Self { treatments, also: emails, key: key.clone(), of_email: None };
        Ok(Self { treatments, also, key, of_email: Some(Box::new(of_email)) })
    }

    /// What becomes of each class.
    #[must_use]
    pub fn treatments(&self) -> Treatments {
        self.treatments
    }

    /// Reduces the body and the query of an event to what may be kept and shown. What is plain stays byte for byte.
    /// Never fails: what cannot be read is treated as a whole, in the strictest way that is set.
    pub fn apply(&self, event: &mut Event) {
        if self.is_plain() {
            return;
        }
        let is_email =
            event.request.as_ref().is_some_and(|request| request.route == Route::EmailEvents);
        if let (true, Some(of_email)) = (is_email, &self.of_email) {
            return of_email.reduce(event);
        }
        self.reduce(event);
    }

    fn reduce(&self, event: &mut Event) {
        if let Some(query) = self.form(event.query.as_bytes(), 0) {
            event.query = String::from_utf8_lossy(&query).into_owned();
        }
        let body = match event.format {
            Format::Form => self.form(&event.body, 0).map(Bytes::from),
            Format::Json => self.json_body(&event.body).map(Bytes::from),
        };
        if let Some(body) = body {
            event.body = body;
        }
    }

    /// Each form in which a number or an address that is searched for may be stored: as it is, from before this was
    /// set, and what this makes of it.
    ///
    /// A masked number is shared by all that end like it, and a dropped one is stored nowhere:
    /// a caller that deletes what it finds must check [`tells_numbers_apart`](Self::tells_numbers_apart).
    #[must_use]
    pub fn forms(&self, sought: &str) -> Vec<String> {
        let mut forms = vec![sought.to_owned()];
        // An email address is stored in its one writing, also as a hash.
        let mailbox = mailbox(sought).filter(|mailbox| mailbox != sought);
        forms.extend(mailbox);
        for at in 0..forms.len() {
            let treated = self.treated(Class::Numbers, &forms[at]);
            if !treated.is_empty() && !forms.contains(&treated) {
                forms.push(treated);
            }
        }
        forms
    }

    /// Whether a stored number is that of one person only.
    #[must_use]
    pub fn tells_numbers_apart(&self) -> bool {
        matches!(self.treatments.numbers, Treatment::Plain | Treatment::Hash)
    }

    /// The key that hashes the identity of an event without one of its own; `None` if a plain hash will do. A plain
    /// hash of a body whose other half is stored would reveal the treated half.
    #[must_use]
    pub fn identity(&self) -> Option<Hmac<Sha256>> {
        // So that no hash of a value is that of an identity.
        self.key.clone().map(|mac| mac.chain_update(b"identity\0"))
    }

    /// What becomes of a value that is no parameter; empty if it is dropped.
    #[must_use]
    pub fn value(&self, class: Class, value: &str) -> String {
        self.treated(class, value)
    }

    /// Whether everything stays as it is.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.key.is_none()
    }

    fn class(&self, name: &str) -> Option<Class> {
        let name = class::plain_name(name);
        self.also.get(&name).copied().or_else(|| Class::of(&name))
    }

    fn treatment(&self, class: Class) -> Treatment {
        match class {
            Class::Numbers => self.treatments.numbers,
            Class::Names => self.treatments.names,
            Class::Bodies => self.treatments.bodies,
            Class::Mixed => self.strictest(),
            Class::BodyHash => Treatment::Drop,
        }
    }

    fn strictest(&self) -> Treatment {
        let Treatments { numbers, names, bodies } = self.treatments;
        numbers.max(names).max(bodies)
    }

    /// What becomes of a value of this class; empty if it is dropped. The channel of an address
    /// stays before it: `whatsapp:hash:…`, with the hash that the number has by itself.
    fn treated(&self, class: Class, value: &str) -> String {
        let treatment = self.treatment(class);
        let (channel, address) = match class {
            Class::Numbers => address::channel(value).unwrap_or(("", value)),
            Class::Names | Class::Bodies | Class::Mixed | Class::BodyHash => ("", value),
        };
        match treatment {
            Treatment::Drop => String::new(),
            // What is left of a mailbox must not tell how it was written.
            _ if class == Class::Numbers && self.of_email.is_none() => {
                let address = mailbox(address).map_or(Cow::Borrowed(address), Cow::Owned);
                format!("{channel}{}", self.treat(treatment, &address))
            }
            _ => format!("{channel}{}", self.treat(treatment, address)),
        }
    }

    fn treat<'a>(&self, treatment: Treatment, value: &'a str) -> Cow<'a, str> {
        match (treatment, &self.key) {
            (Treatment::Plain, _) => Cow::Borrowed(value),
            (Treatment::Mask, _) => text::masked(&address::canonical(value)).into(),
            (Treatment::Hash, Some(key)) => {
                let mac = key.clone().chain_update(address::canonical(value).as_bytes());
                text::hashed(&mac.finalize().into_bytes()).into()
            }
            // Without a key all is plain.
            (Treatment::Drop | Treatment::Hash, _) => Cow::Borrowed(""),
        }
    }
}

#[cfg(test)]
mod tests;
