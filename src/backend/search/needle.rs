//! [`Needle`]: what was typed to find a SID.

use crate::twilio::address;
use crate::twilio::privacy::Privacy;

/// What was typed to find a SID: a whole one, a part of one, or a number.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Needle {
    /// The start of a SID, or all of it.
    Prefix(String),
    /// Any part of a SID.
    Part(String),
    /// A number or an address, in each form in which it may be stored: with its channel or without,
    /// and as `[privacy]` makes it.
    Address(Vec<String>),
}

impl Needle {
    /// Reads what was typed; `None` if that is nothing.
    ///
    /// Digits alone are a number if there are as many as a number has. Two letters at the start
    /// are those of a SID.
    #[must_use]
    pub fn parse(text: &str, privacy: &Privacy) -> Option<Self> {
        let forms_of = |forms: &[String]| {
            let mut forms: Vec<_> = forms.iter().flat_map(|form| privacy.forms(form)).collect();
            forms.sort();
            forms.dedup();
            Some(Self::Address(forms))
        };
        let text = text.trim();
        if text.is_empty() {
            return None;
        }
        // The last is a number that was masked.
        if text.contains([':', '@', '*']) {
            return forms_of(&[text.to_owned()]);
        }
        if let Some(digits) = address::digits(text)
            && (text.starts_with('+') || address::is_number(&digits))
        {
            return forms_of(&address::writings(&digits));
        }
        let head = text.get(..2).filter(|head| head.bytes().all(|b| b.is_ascii_alphabetic()));
        let hexadecimal = |rest: &str| rest.bytes().all(|byte| byte.is_ascii_hexdigit());
        Some(match head {
            // An id of an email is no SID of Twilio's, and its case counts.
            Some(_) if !hexadecimal(&text[2..]) => Self::Prefix(text.to_owned()),
            Some(head) if !hexadecimal(head) || head.bytes().all(|b| b.is_ascii_uppercase()) => {
                Self::Prefix(format!("{}{}", head.to_ascii_uppercase(), &text[2..]))
            }
            _ => Self::Part(text.to_owned()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::twilio::privacy::{Treatment, Treatments};

    fn check(typed: &str, expected: Option<Needle>) {
        assert_eq!(Needle::parse(typed, &Privacy::default()), expected, "{typed}");
    }

    #[test]
    fn what_is_typed_is_a_sid_a_part_of_one_or_a_number() {
        let prefix = |text: &str| Some(Needle::Prefix(text.to_owned()));
        let part = |text: &str| Some(Needle::Part(text.to_owned()));
        check("", None);
        check("  ", None);
        check(" CA0123 ", prefix("CA0123"));
        check("sm00", prefix("SM00"));
        check("CA", prefix("CA"));
        check("ca0f", part("ca0f"));
        check("0f3c", part("0f3c"));
        check("1234", part("1234"));
        check("é", part("é"));
        check("qNwBLgPQQjW6", prefix("qNwBLgPQQjW6"));
        check("Ana@H.example", {
            let forms = ["Ana@H.example", "ana@h.example"].map(str::to_owned);
            Some(Needle::Address(forms.into()))
        });
        let number = |plus: &str, digits: &str| {
            let forms = [plus.to_owned(), digits.to_owned()];
            let whatsapp = forms.clone().map(|form| format!("whatsapp:{form}"));
            let mut forms = [forms, whatsapp].concat();
            forms.sort();
            Some(Needle::Address(forms))
        };
        check("+1 (555) 010-0", number("+15550100", "15550100"));
        check("15550100", number("+15550100", "15550100"));
        check("client:ana", Some(Needle::Address(vec!["client:ana".to_owned()])));
        check("****0100", Some(Needle::Address(vec!["****0100".to_owned()])));
    }

    #[test]
    fn a_number_is_also_sought_as_it_is_hashed() {
        let key = "0123456789abcdef0123456789abcdef".into();
        let treatments = Treatments { numbers: Treatment::Hash, ..Treatments::default() };
        let privacy = Privacy::new(treatments, [], Some(&key)).expect("the key is long enough");
        let Some(Needle::Address(forms)) = Needle::parse("15550100", &privacy) else {
            panic!("it is a number")
        };
        let hashed: Vec<_> = forms.iter().filter(|form| form.contains("hash:")).collect();
        // One for the number, however it is typed, and one for it on WhatsApp.
        assert_eq!((forms.len(), hashed.len()), (6, 2), "{forms:?}");
        assert_eq!(*hashed[1], format!("whatsapp:{}", hashed[0]));
    }
}
