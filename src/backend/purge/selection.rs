//! [`Selection`]: what is to be purged.

use std::borrow::Cow;

use bytes::Bytes;

use crate::backend::search::Needle;
use crate::clock::Timestamp;
use crate::event::Event;
use crate::event::consent::mailbox;
use crate::twilio::details::EventDetails;
use crate::twilio::params::Params;
use crate::twilio::privacy::Privacy;

/// What to delete. A row must match every field that is set; with none set, everything matches.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Selection {
    /// About this SID.
    pub sid: Option<String>,
    /// A number or an address, in each form in which it may be stored.
    pub addresses: Vec<String>,
    /// The keyed hashes of that number, by which what was sent is found once its address is not kept any more.
    pub to_hashes: Vec<String>,
    /// The account.
    pub account: Option<String>,
    /// Only rows from before this time.
    pub before: Option<Timestamp>,
}

impl Selection {
    /// The forms of a number or an address; `None` if the text is neither, or a number that was
    /// masked. Where numbers are stored so that those of several people are the same, it is only as
    /// it was before.
    #[must_use]
    pub fn addresses(text: &str, privacy: &Privacy) -> Option<Vec<String>> {
        let plain = Privacy::default();
        let privacy = if privacy.tells_numbers_apart() { privacy } else { &plain };
        match Needle::parse(text, privacy)? {
            Needle::Address(forms) if !text.contains('*') => Some(forms),
            Needle::Address(_) | Needle::Prefix(_) | Needle::Part(_) => None,
        }
    }

    /// Whether it is everything about a person, whenever and wherever it was.
    pub(in crate::backend) fn is_of_a_person(&self) -> bool {
        let Self { sid, addresses, account, before, .. } = self;
        !addresses.is_empty() && sid.is_none() && account.is_none() && before.is_none()
    }

    /// Every text of it, to look for what a store cannot hold.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        let options = [&self.sid, &self.account].into_iter().filter_map(Option::as_deref);
        options.chain(self.addresses.iter().map(String::as_str))
    }

    /// What of the addresses must be in a text for any of them to be.
    pub(in crate::backend) fn cores(&self) -> impl Iterator<Item = &str> {
        let shorter = |form: &String| {
            self.addresses.iter().any(|other| other != form && form.contains(other.as_str()))
        };
        self.addresses.iter().filter(move |form| !shorter(form)).map(String::as_str)
    }

    /// Whether the text holds one of the addresses, and not just the digits of a longer number or
    /// the start of a longer name.
    fn is_in(&self, text: &str) -> bool {
        self.cores().any(|core| {
            let (text, core) = (as_compared(core, text), as_compared(core, core));
            text.match_indices(&*core).any(|(at, _)| {
                let before = text[..at].chars().next_back();
                let after = text[at + core.len()..].chars().next();
                let digit = |c: char| c.is_ascii_digit();
                let inside = core.starts_with(digit) && before.is_some_and(digit);
                !inside && after.is_none_or(|c| !c.is_alphanumeric() && c != '_')
            })
        })
    }

    /// Whether one of the addresses is a value among the parameters, which are JSON.
    fn is_value(&self, params: &str) -> bool {
        self.addresses.iter().any(|form| {
            let value = format!("\"{}\"", as_compared(form, form));
            as_compared(form, params).contains(&value)
        })
    }

    /// Whether an event has one of the addresses. In one that has a status of its own it must be a
    /// whole value: what a message says does not make it a message of the person it speaks of.
    pub(in crate::backend) fn is_meant(&self, params: &str, query: &str, has_status: bool) -> bool {
        let is_said = if has_status { self.is_value(params) } else { self.is_in(params) };
        is_said || self.is_asked(query)
    }

    /// Whether the query of a callback URL has one of the addresses, however it is encoded.
    pub(in crate::backend) fn is_asked(&self, query: &str) -> bool {
        let params = Params::parse(query.as_bytes());
        let is_in = |text: &[u8]| self.is_in(&String::from_utf8_lossy(text));
        // A `+` may be meant, and would be a blank.
        self.is_in(query) || params.iter().any(|(name, value)| is_in(name) || is_in(value))
    }

    /// Whether an event is selected, by what it says itself.
    pub(in crate::backend) fn takes(&self, event: &Event) -> bool {
        let is = |wanted: &Option<String>, have: Option<&str>| {
            wanted.as_deref().is_none_or(|wanted| Some(wanted) == have)
        };
        is(&self.sid, event.sid.as_deref())
            && is(&self.account, Some(&event.account))
            && self.before.is_none_or(|before| event.received_at < before)
            && (self.addresses.is_empty()
                || self.is_meant(
                    &EventDetails::of(event).params,
                    &event.query,
                    event.resource.is_some(),
                ))
    }

    /// Whether a dead letter of this time that is not an event is selected: by its bytes.
    pub(in crate::backend) fn takes_fields(
        &self,
        fields: &[(Bytes, Bytes)],
        at: Timestamp,
    ) -> bool {
        let texts: Vec<_> =
            fields.iter().map(|(_, value)| String::from_utf8_lossy(value)).collect();
        let holds = |wanted: &Option<String>| {
            let wanted = wanted.as_deref();
            wanted.is_none_or(|wanted| texts.iter().any(|text| text.contains(wanted)))
        };
        holds(&self.sid)
            && holds(&self.account)
            && self.before.is_none_or(|before| at < before)
            && (self.addresses.is_empty() || texts.iter().any(|text| self.is_in(text)))
    }
}

/// Whether an address is compared without regard to case: that of an email is, and senders write it as they like.
pub(in crate::backend) fn ignores_case(address: &str) -> bool {
    mailbox(address).is_some()
}

/// A text in which this address is looked for.
fn as_compared<'t>(address: &str, text: &'t str) -> Cow<'t, str> {
    match ignores_case(address) {
        true => Cow::Owned(text.to_lowercase()),
        false => Cow::Borrowed(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::twilio::privacy::{Treatment, Treatments};

    #[test]
    fn a_number_is_found_in_a_text_but_not_in_a_longer_one() {
        let plain = Privacy::default();
        let check = |typed: &str, text: &str, expected: bool| {
            let addresses = Selection::addresses(typed, &plain).expect("an address");
            let selection = Selection { addresses, ..Selection::default() };
            assert_eq!(selection.is_in(text), expected, "{typed} in {text}");
        };
        for text in ["+15550100", "\"whatsapp:+15550100\"", "To=%2B15550100&From=1", "é15550100é "]
        {
            check("+1 555 0100", text, !text.starts_with('é'));
        }
        for text in ["", "+155501001", "+115550100", "1555010"] {
            check("+15550100", text, false);
        }
        check("+15550100", "+155501001, +15550100", true);
        check("client:ana", "{\"From\":\"client:ana\"}", true);
        check("client:ana", "{\"From\":\"client:anabel\"}", false);
        for (text, expected) in [
            ("{\"email\":\"Ana@H.example\"}", true),
            ("{\"reason\":\"<ana@h.example> unknown\"}", true),
            ("{\"email\":\"ana@h.examples\"}", false),
        ] {
            check("ANA@h.example", text, expected);
        }
        for none in ["CA0123", " ", "****0100"] {
            assert_eq!(Selection::addresses(none, &plain), None, "{none}");
        }
    }

    #[test]
    fn a_hashed_number_is_sought_as_it_is_stored_and_a_masked_one_is_not() {
        let privacy = |numbers| {
            let treatments = Treatments { numbers, ..Treatments::default() };
            Privacy::new(treatments, [], Some(&"k".repeat(32).into())).expect("a long key")
        };
        let forms = |numbers| Selection::addresses("+15550100", &privacy(numbers));
        let stored = |numbers| privacy(numbers).forms("+15550100").pop().expect("at least one");
        let hashed = forms(Treatment::Hash).expect("an address");
        assert!(hashed.contains(&stored(Treatment::Hash)), "{hashed:?}");
        let masked = forms(Treatment::Mask).expect("an address");
        assert!(!masked.contains(&stored(Treatment::Mask)), "{masked:?}");
    }

    #[test]
    fn who_is_spoken_of_in_a_message_is_not_its_sender() {
        let addresses = vec!["+15550100".to_owned(), "15550100".to_owned()];
        let selection = Selection { addresses, ..Selection::default() };
        let (says, is) = (r#"{"Body":"ask +15550100"}"#, r#"{"To":"+15550100"}"#);
        assert_eq!([says, is].map(|params| selection.is_meant(params, "", true)), [false, true]);
        assert_eq!([says, is].map(|params| selection.is_meant(params, "", false)), [true, true]);
        assert!(selection.is_meant("{}", "who=%2B15550100", true));
        assert!(!selection.is_meant("{}", "who=%2B155501001", true));
    }
}
