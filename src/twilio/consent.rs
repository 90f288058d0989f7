//! [`Listening`]: STOP and START in incoming messages, read from what was signed.

use super::fields::Fields;
use super::kind::incoming_message;
use super::params::Params;
use crate::event::consent::{AddressKey, Consent, SaidBy, Whose, Wish};
use crate::event::{Event, Kind};

/// The words by which Twilio itself stops messages to a number, and by which it lets them go on.
/// <https://help.twilio.com/articles/223134027>
const STOP_WORDS: [&str; 8] =
    ["STOP", "UNSUBSCRIBE", "END", "QUIT", "STOPALL", "REVOKE", "OPTOUT", "CANCEL"];
const START_WORDS: [&str; 3] = ["START", "YES", "UNSTOP"];

/// Whether this process heeds what recipients say, and how it tells the store who they are.
#[derive(Clone, Default, Debug)]
pub enum Listening {
    /// It sends nothing, and knows of no process that does: the message is only stored.
    #[default]
    Deaf,
    /// By the number: the store makes the hashes by a secret of its own.
    Plain,
    /// By the hashes of its addresses, made by the configured key.
    Hashing(AddressKey),
}

impl Listening {
    /// Notes what an incoming message says on its event, which is the only one of its request. A fallback request may
    /// bring such a message as well: the application behind the number did not take it.
    pub fn hear(&self, events: &mut [Event], params: &Params<'_>) {
        let [event] = events else { return };
        if matches!(event.kind, Kind::IncomingMessage | Kind::Fallback) {
            event.consent = self.consent(params);
        }
    }

    /// What an event says of the recipient of an email, whose address is a [mailbox](crate::event::consent::mailbox);
    /// `None` if it is not heeded.
    #[must_use]
    pub(crate) fn of_mailbox(&self, wish: Wish, by: SaidBy, address: String) -> Option<Consent> {
        let whose = match self {
            Self::Deaf => return None,
            Self::Plain => Whose::Email(address),
            Self::Hashing(key) => Whose::EmailHash(key.address(&address)),
        };
        Some(Consent { wish, by, whose })
    }

    fn consent(&self, params: &Params<'_>) -> Option<Consent> {
        if matches!(self, Self::Deaf) {
            return None;
        }
        incoming_message::recognise(&Fields::Form(params))?;
        let (wish, by) = wish(params)?;
        let number = number(&params.get("From")?)?;
        let whose = match self {
            Self::Deaf => return None,
            Self::Plain => Whose::Number(number),
            Self::Hashing(key) => Whose::Hashes(key.addresses(&number)),
        };
        Some(Consent { wish, by, whose })
    }
}

/// What a message says. Advanced Opt-Out knows the words that a Messaging Service is set to, and HELP is neither.
fn wish(params: &Params<'_>) -> Option<(Wish, SaidBy)> {
    match params.get("OptOutType").as_deref() {
        Some("STOP") => return Some((Wish::Stop, SaidBy::OptOutType)),
        Some("START") => return Some((Wish::Start, SaidBy::OptOutType)),
        Some("HELP") => return None,
        _ => {}
    }
    let body = params.get("Body")?;
    let is_among = |words: &[&str]| words.iter().any(|it| body.trim().eq_ignore_ascii_case(it));
    if is_among(&STOP_WORDS) {
        return Some((Wish::Stop, SaidBy::Word));
    }
    is_among(&START_WORDS).then_some((Wish::Start, SaidBy::Word))
}

/// The number of an address, in E.164 and without its channel. Only such ones are sent to.
pub(crate) fn number(from: &str) -> Option<String> {
    let number = from.rsplit(':').next().unwrap_or(from);
    let digits = number.strip_prefix('+')?;
    let fits = (7..=15).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    fits.then(|| number.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(body: &str, expected: Option<(Wish, SaidBy)>) {
        assert_eq!(wish(&Params::parse(body.as_bytes())), expected, "{body}");
    }

    #[test]
    fn the_whole_text_must_be_a_word() {
        let stop = Some((Wish::Stop, SaidBy::Word));
        for word in STOP_WORDS {
            check(&format!("Body={word}"), stop);
            check(&format!("Body=+{}%0A", word.to_lowercase()), stop);
        }
        for word in START_WORDS {
            check(&format!("Body=+{}+", word.to_lowercase()), Some((Wish::Start, SaidBy::Word)));
        }
        for none in ["", "Body=", "Body=Stop+it", "Body=HELP", "Body=nonstop", "Body=S+T+O+P"] {
            check(none, None);
        }
    }

    #[test]
    fn what_advanced_opt_out_has_read_counts_before_the_words() {
        check("OptOutType=STOP&Body=Arr%C3%AAt", Some((Wish::Stop, SaidBy::OptOutType)));
        check("OptOutType=START&Body=STOP", Some((Wish::Start, SaidBy::OptOutType)));
        check("OptOutType=HELP&Body=STOP", None);
        check("OptOutType=LATER&Body=STOP", Some((Wish::Stop, SaidBy::Word)));
    }

    #[test]
    fn only_a_number_is_a_recipient() {
        let check = |from: &str, expected: Option<&str>| {
            assert_eq!(number(from).as_deref(), expected, "{from}");
        };
        check("+12125550100", Some("+12125550100"));
        check("whatsapp:+12125550100", Some("+12125550100"));
        for none in ["12345", "messenger:1234567", "client:ana", "+12125550100x", "", "+123"] {
            check(none, None);
        }
    }
}
