//! What is decided about sending, of values alone: what may be sent, when, and what came of it. No I/O; the time is an
//! argument.

pub mod call;
pub mod campaign;
pub mod consent;
pub mod country;
pub mod decision;
pub mod evidence;
pub mod follow_up;
pub mod gates;
pub mod not_a_number;
pub mod outcome;
pub mod pace;
pub mod quiet_hours;
pub mod recipient;
pub mod reconcile;
pub mod rejection;
pub mod segments;
pub mod suppression;
pub mod template;
pub mod throttle;

use crate::labels::labels;

labels! {
    /// Why something is sent. Gates, the default deadline and the default [`OnUnknown`] depend on it.
    pub enum Purpose {
        /// Something is wrong and a person must know.
        Alert = "alert",
        /// A one-time password, of no use in ten minutes.
        Otp = "otp",
        /// An order, a booking or an account of the recipient has caused it.
        Transactional = "transactional",
        /// The sender wants the recipient to buy something. It takes consent, and waits for hours that are not quiet.
        Marketing = "marketing",
    }
}

impl Purpose {
    /// On which side to err unless the request says: who asks for an alert or a password has a use for two, and none
    /// for none.
    #[must_use]
    pub const fn on_unknown(self) -> OnUnknown {
        match self {
            Self::Alert | Self::Otp => OnUnknown::Resend,
            Self::Transactional | Self::Marketing => OnUnknown::Report,
        }
    }
}

labels! {
    /// On which side to err if it is unknown whether a message was sent.
    pub enum OnUnknown {
        /// At most once: the outcome is reported as unknown.
        Report = "report",
        /// At least once: it is sent again if no trace of it is found.
        Resend = "resend",
    }
}

labels! {
    /// How an attempt reaches its recipient.
    pub enum Channel {
        /// By a text: SMS, or WhatsApp.
        Message = "message",
        /// By a call that says the text.
        Call = "call",
        /// By an email.
        Email = "email",
    }
}

labels! {
    /// What confirms a call.
    pub enum Confirm {
        /// The callee presses 1: the only proof that a person has heard the text.
        Digit = "digit",
        /// Twilio's detection says that a person has answered.
        Human = "human",
        /// It was answered, by a voicemail as well.
        Answered = "answered",
    }
}

/// How an attempt reaches its recipient, and what confirms it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reach {
    /// By a message, which its delivery confirms.
    Message,
    /// By a call, which this confirms.
    Call(Confirm),
    /// By an email, which its delivery confirms.
    Email,
}

impl Reach {
    /// By which channel.
    #[must_use]
    pub const fn channel(self) -> Channel {
        match self {
            Self::Message => Channel::Message,
            Self::Call(_) => Channel::Call,
            Self::Email => Channel::Email,
        }
    }
}

labels! {
    /// Where a notification stands.
    pub enum NotificationState {
        /// It is not settled: it waits, is being sent, or its confirmation is awaited.
        Open = "open",
        /// Proof of delivery came.
        Confirmed = "confirmed",
        /// It cannot be delivered.
        Failed = "failed",
        /// It was accepted, and no proof of delivery came in time.
        Unconfirmed = "unconfirmed",
        /// It is unknown whether it was sent.
        Unknown = "unknown",
        /// A gate said never. Nothing was sent.
        Refused = "refused",
        /// Its deadline passed before anything was sent.
        Expired = "expired",
        /// It was cancelled before anything was sent, or while its call rang.
        Cancelled = "cancelled",
    }
}

labels! {
    /// Where an attempt stands.
    pub enum AttemptState {
        /// It waits for its turn, or for the time until which a gate holds it.
        Due = "due",
        /// A process has it and a slot of its pace, and has written nothing to the provider.
        Claimed = "claimed",
        /// From the commit before the first byte until an answer is stored: the only state in which a crash leaves the
        /// outcome open.
        Writing = "writing",
        /// The provider has it, under a SID.
        Accepted = "accepted",
        /// Proof of delivery came.
        Confirmed = "confirmed",
        /// The provider refused it, or reported that it cannot be delivered.
        Failed = "failed",
        /// No proof of delivery came in time.
        Unconfirmed = "unconfirmed",
        /// The outcome of the POST is not known.
        Unknown = "unknown",
        /// A gate said never.
        Refused = "refused",
        /// The deadline passed before it was sent.
        Expired = "expired",
        /// It was cancelled before it was sent, or while its call rang, or withdrawn because another attempt is proven.
        Cancelled = "cancelled",
    }
}
