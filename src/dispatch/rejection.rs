//! What follows from an error: for the attempt, for the sender and for the account. Read off Twilio's code, never off
//! the HTTP status: 63038 comes as a 429. SendGrid has no codes, so that of it there is a [`Refusal`].

use std::time::Duration;

use crate::labels::{Label as _, labels};
use crate::sendgrid::error::Refusal;
use crate::twilio::error::{self, Class};

labels! {
    /// Why an attempt did not get through, or has to wait.
    pub enum Reason {
        /// Too many requests at once.
        Throttled = "throttled",
        /// The account has used up its day.
        AccountStopped = "account_stopped",
        /// The sender is too fast for Twilio or the carrier.
        TooFast = "too_fast",
        /// The sender's configuration.
        Sender = "sender",
        /// The account's configuration.
        Account = "account",
        /// The recipient cannot be reached.
        Recipient = "recipient",
        /// The recipient opted out.
        OptedOut = "opted_out",
        /// The content is not let through.
        Content = "content",
        /// The recipient, or the carrier, could not be reached now.
        Later = "later",
        /// A code that is not in the table.
        Unclassified = "unclassified",
        /// An answer that has no code.
        NoCode = "no_code",
    }
}

/// Where an error was read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Heard {
    /// In the answer to the POST: it created nothing.
    Answer,
    /// In a callback, or in a message that was created and has failed at once: the provider has the message.
    Message,
}

/// What becomes of the attempt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// Nothing was created: it is due again.
    Due,
    /// It failed.
    Failed,
    /// Twilio cannot tell whether something was created.
    Unknown,
}

/// What else follows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Nothing.
    None,
    /// [`super::throttle`] says who waits.
    Backoff,
    /// The account sends nothing for so long.
    CoolAccount(Duration),
    /// The sender sends nothing for a [`cooldown`].
    CoolSender,
    /// The sender sends nothing until a person resumes it.
    PauseSender,
    /// The account sends nothing until a person resumes it.
    PauseAccount,
    /// The recipient is put on the list of those who must not be reached.
    Suppress,
    /// One more answer with an unlisted code: the sender pauses at [`UNCLASSIFIED_IN_A_ROW`] of them.
    CountUnclassified,
}

/// Answers with an unlisted code after which a sender is paused, if no other answer came between them.
pub const UNCLASSIFIED_IN_A_ROW: u32 = 5;
/// An account that has used up its day is tried again after this long: Twilio does not say when its day ends.
pub const ACCOUNT_STOPPED: Duration = Duration::from_secs(15 * 60);

/// What follows from an error.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Consequence {
    /// For the attempt.
    pub fate: Fate,
    /// For others.
    pub effect: Effect,
    /// What is stored, and counted.
    pub reason: Reason,
}

/// What follows from an error of this code; `None` is an answer without one, a 3xx or a 4xx: something on the way
/// answers in Twilio's place, or the request is wrong, and the next is as well.
#[must_use]
pub fn follows(code: Option<&str>, heard: Heard) -> Consequence {
    use Class::{AccountStopped, Content, Later, OptedOut, Recipient, Throttled, TooFast, Unclear};
    let Some(code) = code else {
        return of_answer(heard, Fate::Due, Effect::PauseAccount, Reason::NoCode);
    };
    let class = match Refusal::parse(code) {
        Some(refusal) => Some(refusal.class()),
        None => error::known(code).and_then(|known| known.class),
    };
    let (fate, effect, reason) = match class {
        Some(Throttled) => (Fate::Due, Effect::Backoff, Reason::Throttled),
        Some(AccountStopped) => {
            (Fate::Due, Effect::CoolAccount(ACCOUNT_STOPPED), Reason::AccountStopped)
        }
        Some(TooFast) => (Fate::Due, Effect::CoolSender, Reason::TooFast),
        Some(Class::Sender) => (Fate::Due, Effect::PauseSender, Reason::Sender),
        Some(Class::Account) => (Fate::Due, Effect::PauseAccount, Reason::Account),
        Some(Recipient) => (Fate::Failed, Effect::None, Reason::Recipient),
        Some(OptedOut) => (Fate::Failed, Effect::Suppress, Reason::OptedOut),
        Some(Content) => (Fate::Failed, Effect::None, Reason::Content),
        Some(Later) => (Fate::Failed, Effect::None, Reason::Later),
        Some(Unclear) => (Fate::Unknown, Effect::None, Reason::Unclassified),
        Some(Class::Endpoint) | None => {
            (Fate::Failed, Effect::CountUnclassified, Reason::Unclassified)
        }
    };
    of_answer(heard, fate, effect, reason)
}

/// What the provider has is not due again: it failed. Its unlisted codes come from carriers, and say nothing of the
/// sender; nor is a request repeated that was answered long ago.
fn of_answer(heard: Heard, fate: Fate, effect: Effect, reason: Reason) -> Consequence {
    match (heard, effect) {
        (Heard::Answer, _) => Consequence { fate, effect, reason },
        (Heard::Message, Effect::Backoff | Effect::CountUnclassified) => {
            Consequence { fate: Fate::Failed, effect: Effect::None, reason }
        }
        (Heard::Message, _) if reason == Reason::NoCode => {
            let reason = Reason::Unclassified;
            Consequence { fate: Fate::Failed, effect: Effect::None, reason }
        }
        (Heard::Message, _) => Consequence { fate: Fate::Failed, effect, reason },
    }
}

/// How soon after the end of a cooldown the next one is of the same row.
pub const IN_A_ROW_WITHIN: Duration = Duration::from_secs(300);

/// How long a sender that was too fast sends nothing: 10 s, and each time in a row twice as long as the `last` time, up
/// to 5 minutes.
#[must_use]
pub fn cooldown(last: Duration) -> Duration {
    const FIRST: Duration = Duration::from_secs(10);
    const LONGEST: Duration = Duration::from_secs(300);
    last.saturating_mul(2).clamp(FIRST, LONGEST)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_class_has_its_consequence_wherever_it_is_heard() {
        use Effect::*;
        use Fate::*;
        let check = |code: &str, reason, answer: (Fate, Effect), message: Effect| {
            let expected = Consequence { fate: answer.0, effect: answer.1, reason };
            assert_eq!(follows(Some(code), Heard::Answer), expected, "{code}");
            let expected = Consequence { fate: Failed, effect: message, reason };
            assert_eq!(follows(Some(code), Heard::Message), expected, "{code}");
        };
        let stopped = CoolAccount(ACCOUNT_STOPPED);
        check("20429", Reason::Throttled, (Due, Backoff), None);
        for code in ["63038", "30023", "30027"] {
            check(code, Reason::AccountStopped, (Due, stopped), stopped);
        }
        for code in ["21611", "30001", "30022", "14107", "63017", "63018", "22005", "10004"] {
            check(code, Reason::TooFast, (Due, CoolSender), CoolSender);
        }
        for code in ["21212", "21606", "21703", "21704", "21705", "30032", "30034", "63007"] {
            check(code, Reason::Sender, (Due, PauseSender), PauseSender);
        }
        for code in ["20003", "20005", "21608", "21609", "30002", "30037"] {
            check(code, Reason::Account, (Due, PauseAccount), PauseAccount);
        }
        for code in [
            "21211", "21214", "21217", "21408", "21215", "13227", "21216", "13225", "21612",
            "21614", "30004", "30005", "30006", "32203",
        ] {
            check(code, Reason::Recipient, (Failed, None), None);
        }
        check("21610", Reason::OptedOut, (Failed, Suppress), Suppress);
        for code in ["30007", "30450", "30610", "30640", "30047", "21617", "30019"] {
            check(code, Reason::Content, (Failed, None), None);
        }
        for code in ["30003", "30008", "30017", "30410", "30500", "30036"] {
            check(code, Reason::Later, (Failed, None), None);
        }
        check("20500", Reason::Unclassified, (Unknown, None), None);
        check("sendgrid_unauthorized", Reason::Account, (Due, PauseAccount), PauseAccount);
        check("sendgrid_from", Reason::Sender, (Due, PauseSender), PauseSender);
        check("sendgrid_recipient", Reason::Recipient, (Failed, None), None);
        check("sendgrid_too_large", Reason::Content, (Failed, None), None);
        for code in ["99999", "11200", "", "20429 "] {
            check(code, Reason::Unclassified, (Failed, CountUnclassified), None);
        }
    }

    #[test]
    fn an_answer_without_a_code_pauses_the_account_and_a_callback_without_one_does_not() {
        let expected = (Fate::Due, Effect::PauseAccount, Reason::NoCode);
        let of = |found: Consequence| (found.fate, found.effect, found.reason);
        assert_eq!(of(follows(None, Heard::Answer)), expected);
        let expected = (Fate::Failed, Effect::None, Reason::Unclassified);
        assert_eq!(of(follows(None, Heard::Message)), expected);
    }

    #[test]
    fn a_sender_that_is_too_fast_cools_down_for_10_s_doubling_to_5_minutes() {
        let next = |last: &Duration| Some(cooldown(*last));
        let waits = std::iter::successors(Some(cooldown(Duration::ZERO)), next).take(7);
        let waits: Vec<u64> = waits.map(|wait| wait.as_secs()).collect();
        assert_eq!(waits, [10, 20, 40, 80, 160, 300, 300]);
    }

    proptest! {
        #[test]
        fn what_the_provider_has_is_never_sent_again(code in "[0-9]{5}") {
            prop_assert_eq!(follows(Some(&code), Heard::Message).fate, Fate::Failed);
        }
    }
}
