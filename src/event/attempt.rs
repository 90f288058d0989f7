//! [`AttemptId`]: which attempt to send something a callback belongs to.

use std::fmt;

/// The name of an attempt in the query of the callback URL that its request gives Twilio, which Twilio signs.
pub const ATTEMPT_PARAMETER: &str = "offhook_attempt";

/// One attempt: one POST to a provider that may have had an effect. 128 random bits, written as 32 lower-case
/// hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct AttemptId(u128);

impl AttemptId {
    /// The attempt of these bits.
    #[must_use]
    pub const fn new(bits: u128) -> Self {
        Self(bits)
    }

    /// Reads what [`Display`](fmt::Display) writes, and nothing else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        let fits = text.len() == 32 && text.bytes().all(is_digit);
        fits.then(|| u128::from_str_radix(text, 16).ok().map(Self))?
    }
}

impl fmt::Display for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_as_it_is_written_and_nothing_else_is() {
        let id = AttemptId::new(0x0123_4567_89ab_cdef);
        assert_eq!(id.to_string(), "00000000000000000123456789abcdef");
        assert_eq!(AttemptId::parse(&id.to_string()), Some(id));
        let upper = id.to_string().to_uppercase();
        for wrong in [
            "",
            "1",
            &upper,
            "+0000000000000000123456789abcdef",
            "0x000000000000000123456789abcdef",
        ] {
            assert_eq!(AttemptId::parse(wrong), None, "{wrong}");
        }
    }
}
