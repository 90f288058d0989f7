//! [`NotANumber`]: why a text is not a number in E.164, so that its writer finds the mistake.

use thiserror::Error;

/// What is wrong with a text that is not a number. The country is never guessed, and nothing is mended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum NotANumber {
    /// `4.9E+11`, which has lost the digits.
    #[error(
        "it is in scientific notation, in which a spreadsheet writes a long number: the digits are lost; format the \
         column as text, and enter the numbers again"
    )]
    Scientific,
    /// `4917012345678.0`, or with a comma.
    #[error("it has decimals, with which a spreadsheet writes a number: format the column as text")]
    Decimals,
    /// `0049…`.
    #[error("it begins with 00: write `+` and the country code, as in +15550100")]
    Zeros,
    /// Digits and no more.
    #[error(
        "it has no `+` with a country code before it, as in +15550100: the country is never guessed"
    )]
    NoPlus,
    /// `+1 (555) 0100`.
    #[error("it has blanks, dashes, dots or brackets in it: write it as +15550100")]
    Punctuation,
    /// `+0…`.
    #[error("it begins with +0, which is no country code")]
    NoCountry,
    /// Too few digits, or too many.
    #[error("it has {0} digits, and a number in E.164 has 7 to 15")]
    Length(usize),
    /// Something else.
    #[error("it is not a number in E.164, such as +15550100: the country is never guessed")]
    Other,
}

impl NotANumber {
    /// Why this text is not a number in E.164, which it is known not to be. It may have a channel before it.
    #[must_use]
    pub fn of(text: &str) -> Self {
        let text = text.rsplit(':').next().unwrap_or(text).trim();
        let digits = text.bytes().filter(u8::is_ascii_digit).count();
        let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|it| it.is_ascii_digit());
        let is_of = |signs: &str| text.chars().all(|it| it.is_ascii_digit() || signs.contains(it));
        let with_decimals = || text.trim_start_matches('+').split_once(['.', ',']);
        match text.strip_prefix('+') {
            _ if is_scientific(text) => Self::Scientific,
            _ if with_decimals().is_some_and(|(whole, rest)| {
                whole.len() >= 7 && is_digits(whole) && is_digits(rest)
            }) =>
            {
                Self::Decimals
            }
            Some(rest) if is_digits(rest) && rest.starts_with('0') => Self::NoCountry,
            Some(rest) if is_digits(rest) => Self::Length(digits),
            None if text.starts_with("00") && is_digits(text) => Self::Zeros,
            None if is_digits(text) => Self::NoPlus,
            _ if digits > 0 && is_of("+ -./()\u{a0}\u{2010}\u{2011}\u{2013}") => Self::Punctuation,
            _ => Self::Other,
        }
    }
}

/// `4.9E+11`, `4,9e11`.
fn is_scientific(text: &str) -> bool {
    let Some((number, exponent)) = text.split_once(['e', 'E']) else { return false };
    let exponent = exponent.strip_prefix('+').unwrap_or(exponent);
    let is_digit = |byte: u8| byte.is_ascii_digit();
    number.bytes().any(is_digit)
        && number.bytes().all(|byte| is_digit(byte) || b"+.,".contains(&byte))
        && (1..=2).contains(&exponent.len())
        && exponent.bytes().all(is_digit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mistake_is_named() {
        let check = |text: &str, expected| assert_eq!(NotANumber::of(text), expected, "{text}");
        for text in ["4.9E+11", "4,91701E+12", "4e11", "+4.9E11"] {
            check(text, NotANumber::Scientific);
        }
        check("4917012345678.0", NotANumber::Decimals);
        check("004917012345678", NotANumber::Zeros);
        check("4917012345678", NotANumber::NoPlus);
        check("whatsapp:4917012345678", NotANumber::NoPlus);
        check("017012345678", NotANumber::NoPlus);
        for text in ["+49 170 1234567", "(212) 555-0100", "+1.212.555.0100"] {
            check(text, NotANumber::Punctuation);
        }
        check("+0491701234567", NotANumber::NoCountry);
        check("+123456", NotANumber::Length(6));
        check("+1234567890123456", NotANumber::Length(16));
        for text in ["", "Ana", "ana@example.com", "+49x", "e11"] {
            check(text, NotANumber::Other);
        }
    }
}
