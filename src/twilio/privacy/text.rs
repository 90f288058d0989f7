//! How a value is written: as what it is compared, masked and hashed.

use std::borrow::Cow;

use crate::event::key::hex;

/// Digits of a number: fewer are a code or an amount, more are no number (E.164).
const DIGITS: std::ops::RangeInclusive<usize> = 7..=15;

/// The channel of an address, with its colon, and the rest.
pub(super) fn channel(address: &str) -> Option<(&str, &str)> {
    const CHANNELS: [&str; 8] =
        ["whatsapp", "messenger", "rcs", "client", "sip", "sips", "tel", "mailto"];
    let (channel, rest) = address.split_once(':')?;
    let known = CHANNELS.iter().any(|known| known.eq_ignore_ascii_case(channel));
    (known && !rest.is_empty()).then(|| address.split_at(channel.len() + 1))
}

/// One writing of what is the same: of a number `+` and its digits, be it without its plus, as in
/// WhatsApp's `WaId`, or with a blank for it, as in a query that somebody did not encode.
pub(super) fn canonical(value: &str) -> Cow<'_, str> {
    let value = value.trim();
    if !value.bytes().all(|byte| byte.is_ascii_digit() || b" +-().".contains(&byte)) {
        return Cow::Borrowed(value);
    }
    let digits: String = value.chars().filter(char::is_ascii_digit).collect();
    match DIGITS.contains(&digits.len()) {
        true => Cow::Owned(format!("+{digits}")),
        false => Cow::Borrowed(value),
    }
}

/// The last four characters, if they are at most half of it. Says nothing about its length.
pub(super) fn masked(value: &str) -> String {
    const SHOWN: usize = 4;
    let ending = value.char_indices().rev().nth(SHOWN - 1).map_or(0, |(at, _)| at);
    let long = value.chars().count() >= 2 * SHOWN;
    format!("****{}", if long { &value[ending..] } else { "" })
}

/// A hash as it is stored: 128 bits of it, which no two values share by chance.
pub(super) fn hashed(mac: &[u8]) -> String {
    format!("hash:{}", hex(&mac[..16]))
}

/// The text with every number in it replaced; `None` if there is none. A number is a plus, and its
/// digits in groups; at the start a blank may stand for the plus.
pub(super) fn replace_numbers(text: &str, become_: impl Fn(&str) -> String) -> Option<String> {
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

/// Where a number ends whose digits start here; here, if it is none. Its groups may be apart, as in
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
