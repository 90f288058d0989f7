//! [`Fallback`]: which TwiML a fallback URL answers with.

use std::collections::HashMap;

use super::params::Params;
use super::twiml::{Medium, Twiml};

/// What the fallback URLs answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fallback {
    /// The answer to a call.
    pub voice: Twiml,
    /// The answer to a message.
    pub sms: Twiml,
    /// The answers by called number, which Twilio writes as in `To`: `+15551230000`,
    /// `whatsapp:+15551230000`.
    pub numbers: HashMap<String, PerNumber>,
}

/// What is answered for one number; what is not set here is as for all.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct PerNumber {
    /// The answer to a call.
    pub voice: Option<Twiml>,
    /// The answer to a message.
    pub sms: Option<Twiml>,
}

/// What a callee hears after pressing a key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VoiceConfirm {
    /// After the digit 1, which confirms the call.
    pub confirmed: Twiml,
    /// After any other key, which does not.
    pub not_confirmed: Twiml,
}

/// Without words: the call ends.
impl Default for VoiceConfirm {
    fn default() -> Self {
        Self { confirmed: Twiml::EMPTY, not_confirmed: Twiml::EMPTY }
    }
}

impl Fallback {
    /// The answer to a request of this medium, by the number that was called.
    #[must_use]
    pub fn twiml(&self, medium: Medium, params: &Params<'_>) -> &Twiml {
        let number = params.get("To").and_then(|to| self.numbers.get(to.as_ref()));
        let (own, default) = match medium {
            Medium::Voice => (number.and_then(|number| number.voice.as_ref()), &self.voice),
            Medium::Sms => (number.and_then(|number| number.sms.as_ref()), &self.sms),
        };
        own.unwrap_or(default)
    }
}
