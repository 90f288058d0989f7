//! Numbers and addresses as Twilio and people write them: E.164, the channels that may stand before one, and what of
//! a text looks like a number.

use std::borrow::Cow;

use sha2::{Digest as _, Sha256};

use crate::event::key::hex;

/// Digits of a number: fewer are a code or an amount, more are not a number (E.164).
const DIGITS: std::ops::RangeInclusive<usize> = 7..=15;

/// What of an address is kept as an end of a status: at most 256 characters, which fit into an entry of an index. No
/// address that works is longer. The end of one that is has a hash of all of it instead, so that no two become one.
pub(crate) fn kept(address: &str) -> Cow<'_, str> {
    const CHARACTERS: usize = 256;
    const START: usize = 239;
    if address.char_indices().nth(CHARACTERS).is_none() {
        return Cow::Borrowed(address);
    }
    let start: String = address.chars().take(START).collect();
    let hash = hex(&Sha256::digest(address.as_bytes())[..8]);
    Cow::Owned(format!("{start}…{hash}"))
}

/// The channel of an address, with its colon, and the rest.
pub(crate) fn channel(address: &str) -> Option<(&str, &str)> {
    const CHANNELS: [&str; 8] =
        ["whatsapp", "messenger", "rcs", "client", "sip", "sips", "tel", "mailto"];
    let (channel, rest) = address.split_once(':')?;
    let known = CHANNELS.iter().any(|known| known.eq_ignore_ascii_case(channel));
    (known && !rest.is_empty()).then(|| address.split_at(channel.len() + 1))
}

/// The digits of what is written as a number is: digits, and what people put between and before them.
pub(crate) fn digits(text: &str) -> Option<String> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit() || b" +-().".contains(&byte));
    plain.then(|| text.chars().filter(char::is_ascii_digit).collect())
}

/// Whether there are as many digits as a number has.
pub(crate) fn is_number(digits: &str) -> bool {
    DIGITS.contains(&digits.len())
}

/// How a number of these digits may be written where it is stored: with its plus or without, as in WhatsApp's `WaId`,
/// and with the channel or without.
pub(crate) fn writings(digits: &str) -> [String; 4] {
    [
        format!("+{digits}"),
        digits.to_owned(),
        format!("whatsapp:+{digits}"),
        format!("whatsapp:{digits}"),
    ]
}

/// One writing of what is the same: of a number `+` and its digits, be it without its plus, as in
/// WhatsApp's `WaId`, or with a blank for it, as in a query that was not encoded.
pub(crate) fn canonical(value: &str) -> Cow<'_, str> {
    let value = value.trim();
    match digits(value).filter(|digits| is_number(digits)) {
        Some(digits) => Cow::Owned(format!("+{digits}")),
        None => Cow::Borrowed(value),
    }
}

/// The text with every number in it replaced; `None` if it contains no number. A number is a plus and digits in
/// groups; at the start a blank may stand for the plus.
pub(crate) fn replace_numbers(text: &str, become_: impl Fn(&str) -> String) -> Option<String> {
    let (mut written, mut copied, mut at) = (String::new(), 0, 0);
    while at < text.len() {
        let Some(start) = plus(text, at) else {
            at += 1;
            continue;
        };
        let end = number_end(text.as_bytes(), start);
        if end > start {
            let digits = text[start..end].chars().filter(char::is_ascii_digit);
            written.push_str(&text[copied..at]);
            written.push_str(&become_(&format!("+{}", digits.collect::<String>())));
            copied = end;
        }
        let run = digits_at(text.as_bytes(), start);
        at = end.max(start + run);
    }
    (copied > 0).then(|| written + &text[copied..])
}

/// The end of the number whose digits start here, or this place if it is not a number. Its groups may be apart, as in
/// `1 (555) 010-0002`.
fn number_end(text: &[u8], start: usize) -> usize {
    /// `) ` and ` (`
    const APART: usize = 2;
    let (mut at, mut end, mut digits) = (start, start, 0);
    loop {
        let run = digits_at(text, at);
        if run == 0 || digits + run > *DIGITS.end() {
            break;
        }
        digits += run;
        end = at + run;
        let separators = text[end..].iter().take_while(|byte| b" -.()".contains(byte)).count();
        if separators == 0 || separators > APART {
            break;
        }
        at = end + separators;
    }
    if DIGITS.contains(&digits) { end } else { start }
}

fn digits_at(text: &[u8], at: usize) -> usize {
    text[at..].iter().take_while(|byte| byte.is_ascii_digit()).count()
}

/// Behind the plus that is at this place: itself, or a `%2B` that was not decoded, however often it was
/// encoded.
fn plus(text: &str, at: usize) -> Option<usize> {
    let rest = &text.as_bytes()[at..];
    match rest {
        [b'+', ..] => Some(at + 1),
        [b' ', ..] if at == 0 => Some(1),
        [b'%', encoded @ ..] => {
            let again = encoded.chunks_exact(2).take_while(|pair| *pair == b"25").count() * 2;
            matches!(encoded[again..], [b'2', b'B' | b'b', ..]).then_some(at + 1 + again + 2)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_an_address_so_much_is_kept_as_an_index_takes() {
        let long = "ü".repeat(300);
        let of_long = kept(&long);
        assert_eq!(of_long.chars().count(), 256);
        assert!(of_long.starts_with(&"ü".repeat(239)) && !of_long.starts_with(&"ü".repeat(240)));
        assert_ne!(kept(&"ü".repeat(301)), of_long);
        for whole in ["", "+15550100", &"x".repeat(256)] {
            assert_eq!(kept(whole), whole);
        }
    }

    #[test]
    fn a_number_has_one_writing() {
        let check = |written: &str, expected: &str| assert_eq!(canonical(written), expected);
        for number in ["+15550100", "15550100", " 15550100", "+1 (555) 010-0", "1.555.0100"] {
            check(number, "+15550100");
        }
        for other in ["123456", "1234567890123456", "client:ana", "+1555010x", ""] {
            check(other, other);
        }
    }

    #[test]
    fn a_channel_is_one_that_twilio_has() {
        assert_eq!(channel("whatsapp:+15550100"), Some(("whatsapp:", "+15550100")));
        assert_eq!(channel("SIP:ana@h.example"), Some(("SIP:", "ana@h.example")));
        for none in ["+15550100", "note:+15550100", "sip:", "12:30"] {
            assert_eq!(channel(none), None, "{none}");
        }
    }

    #[test]
    fn numbers_in_a_text_are_found_with_their_groups() {
        let check = |text: &str, expected: Option<&str>| {
            let found = replace_numbers(text, |number| format!("[{number}]"));
            assert_eq!(found.as_deref(), expected, "{text}");
        };
        check("call +1 (555) 010-0 now", Some("call [+15550100] now"));
        check(" 15550100", Some("[+15550100]"));
        check("To=%2B15550100&a=1", Some("To=[+15550100]&a=1"));
        for none in ["15550100", "+123", "+1234567890123456", ""] {
            check(none, None);
        }
    }
}
