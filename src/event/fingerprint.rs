//! [`Fingerprint`]: what an event says, in eight bytes, to notice two facts under one name.

use std::fmt;

/// The start of a hash over an event's sorted content. Two deliveries of one fact have the same;
/// two events of one key with different ones are two facts that share a name.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Fingerprint(u64);

impl Fingerprint {
    /// The fingerprint from a hash of the content.
    #[must_use]
    pub fn of(hash: &[u8; 32]) -> Self {
        let (start, _) = hash.split_first_chunk().expect("a hash has 32 bytes");
        Self(u64::from_be_bytes(*start))
    }

    /// Reads what its `Display` wrote.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        digits.then(|| u64::from_str_radix(text, 16).ok().map(Self))?
    }

    /// The fingerprint as a signed integer, for databases.
    #[must_use]
    pub fn to_i64(self) -> i64 {
        self.0.cast_signed()
    }

    /// Reads what [`Fingerprint::to_i64`] gave.
    #[must_use]
    pub fn from_i64(number: i64) -> Self {
        Self(number.cast_unsigned())
    }
}

/// 16 hexadecimal digits.
impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for number in [0, 1, -1, i64::MIN, i64::MAX] {
            let fingerprint = Fingerprint::from_i64(number);
            assert_eq!(fingerprint.to_i64(), number);
            assert_eq!(Fingerprint::parse(&fingerprint.to_string()), Some(fingerprint));
        }
        for wrong in ["", "1", "+123456789abcdef", "0123456789abcdefa", "0123456789abcdeg"] {
            assert_eq!(Fingerprint::parse(wrong), None, "{wrong}");
        }
    }
}
