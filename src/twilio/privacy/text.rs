//! What becomes of a value that is not kept as it is.

use crate::event::key::hex;

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
