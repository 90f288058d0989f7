//! [`Templates`]: an hour of callbacks as bytes, sent over and over, each time about other calls and
//! messages. Needs no memory for what is to come, and a microsecond or so for each request.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::clock::{Clock, Timestamp};
use crate::lab::sample::Signed;
use crate::lab::traffic::{Traffic, Volume};
use crate::twilio::keyring::Secret;
use crate::twilio::params::Params;
use crate::twilio::signature::SIGNATURE_HEADER;

const HOUR_MICROS: i64 = 3_600_000_000;

/// As many messages as calls, whose callbacks have about 20 parameters. No forms but those that a
/// status callback URL gets, so that other servers can be asked, too.
const VOLUME: Volume = Volume {
    calls: 300,
    messages: 300,
    conferences: 4,
    event_streams: 0,
    fallbacks: 0,
    forgeries: 0,
    duplicates: 3,
    late: 10,
};

/// Callbacks without end, all different but for what Twilio repeats.
pub(super) struct Templates {
    secret: Arc<Secret>,
    templates: Vec<Template>,
    seed: u64,
    next: AtomicU64,
}

/// A callback with blanks for its SIDs and its signature.
struct Template {
    /// The head, up to the signature.
    head: String,
    /// From behind the signature.
    rest: Segments,
    signed: Segments,
    key: Segments,
    /// Whether it is not the repetition of an earlier one.
    is_new: bool,
}

/// A callback that was filled in. Reused.
#[derive(Default)]
pub(super) struct Filled {
    /// As it goes over the wire.
    pub(super) request: String,
    /// Whether it is sent for the first time.
    pub(super) is_new: bool,
    signed: String,
    number: u64,
}

impl Templates {
    /// Of callbacks signed for `url`, which are sent to a `path` of a `host`.
    pub(super) fn of_an_hour(
        url: &str,
        path: &str,
        host: &str,
        account: &str,
        secret: Arc<Secret>,
    ) -> Self {
        let seed = rand::random();
        let start = Timestamp::from_micros(Clock::System.now().micros() - HOUR_MICROS);
        let traffic = Traffic::hour(seed, account, start, VOLUME);
        let mut known = HashSet::new();
        let templates = traffic.requests.into_iter().map(|request| {
            let key = request.keys.into_iter().next().expect("a status callback is an event");
            let is_new = known.insert(key.clone());
            Template::of(request.callback.post(url, &secret), path, host, key, is_new)
        });
        Self { templates: templates.collect(), secret, seed, next: AtomicU64::new(0) }
    }

    /// The next callback.
    pub(super) fn write(&self, filled: &mut Filled) {
        filled.number = self.next.fetch_add(1, Ordering::Relaxed);
        let (template, round) = self.place(filled.number);
        filled.is_new = template.is_new;
        filled.signed.clear();
        template.signed.fill(round, &mut filled.signed);
        let signature = self.secret.sign(&filled.signed, &[]);
        filled.request.clear();
        filled.request.push_str(&template.head);
        STANDARD.encode_string(signature, &mut filled.request);
        template.rest.fill(round, &mut filled.request);
    }

    /// The key of its event.
    pub(super) fn key(&self, filled: &Filled) -> String {
        let (template, round) = self.place(filled.number);
        let mut key = String::with_capacity(64);
        template.key.fill(round, &mut key);
        key
    }

    /// What a number stands for: which template, and what makes this round's SIDs.
    fn place(&self, number: u64) -> (&Template, u128) {
        let length = self.templates.len() as u64;
        let (round, place) = (number / length, number % length);
        let half = |seed: u64| u128::from(scatter(seed.wrapping_add(round)));
        (&self.templates[place as usize], half(self.seed) << 64 | half(!self.seed))
    }
}

impl Template {
    fn of(request: Signed, path: &str, host: &str, key: String, is_new: bool) -> Self {
        let body = String::from_utf8_lossy(&request.body);
        let mut signed = request.url.clone();
        for (name, value) in Params::parse(&request.body).signed_pairs() {
            signed.push_str(&String::from_utf8_lossy(name));
            signed.push_str(&String::from_utf8_lossy(value));
        }
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: {host}\r\nuser-agent: TwilioProxy/1.1\r\n\
             accept: */*\r\ncontent-type: {}\r\ncontent-length: {}\r\n{SIGNATURE_HEADER}: ",
            request.content_type().expect("a POST has one"),
            body.len(),
        );
        let rest = Segments::of(format!("\r\n\r\n{body}"));
        Self { head, rest, signed: Segments::of(signed), key: Segments::of(key), is_new }
    }
}

/// A text with SIDs in it, in place of which others can be written.
struct Segments {
    text: String,
    /// Where the digits of a SID are, and their value.
    sids: Vec<(usize, u128)>,
}

impl Segments {
    /// Digits of a SID, after two letters.
    const DIGITS: usize = 32;

    /// Finds the SIDs in the text, but for accounts.
    fn of(text: String) -> Self {
        let bytes = text.as_bytes();
        let is_sid = |sid: &[u8]| {
            let (letters, digits) = sid.split_at(2);
            letters.iter().all(u8::is_ascii_uppercase)
                && letters != b"AC"
                && digits.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        };
        let places = bytes.windows(2 + Self::DIGITS).enumerate().filter(|(_, sid)| is_sid(sid));
        let digits = places.filter_map(|(at, _)| {
            let at = at + 2;
            Some((at, u128::from_str_radix(text.get(at..at + Self::DIGITS)?, 16).ok()?))
        });
        Self { sids: digits.collect(), text }
    }

    /// Adds the text to `out`, with SIDs of this round: what was the same stays the same.
    fn fill(&self, round: u128, out: &mut String) {
        let mut done = 0;
        for &(at, digits) in &self.sids {
            out.push_str(&self.text[done..at]);
            let _ = write!(out, "{:032x}", digits ^ round);
            done = at + Self::DIGITS;
        }
        out.push_str(&self.text[done..]);
    }
}

/// A different number for each, all over the place, as SIDs are: an index must not see them in
/// order. The steps are those of the SplitMix64 generator.
fn scatter(number: u64) -> u64 {
    let mut bits = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::event::Route;
    use crate::twilio::callback::{Arrival, events};
    use crate::twilio::keyring::{Account, Keyring};
    use crate::twilio::privacy::Privacy;
    use crate::twilio::signature::{Claim, Content, SignedRequest};

    const URL: &str = "https://hooks.example.com/status?team=7";

    /// The keys of the first events up to `length`, as a receiver sees them.
    fn keys(templates: &Templates, keyring: &Keyring, length: usize) -> Vec<String> {
        let mut filled = Filled::default();
        let keys = (0..length).map(|_| {
            templates.write(&mut filled);
            let (head, body) = filled.request.split_once("\r\n\r\n").expect("a head");
            let signature = head.rsplit(": ").next().expect("the last header");
            let claim = Claim::parse([signature.as_bytes()], None).expect("well-formed");
            let body = Bytes::copy_from_slice(body.as_bytes());
            assert!(head.contains(&format!("content-length: {}\r\n", body.len())));
            let request = SignedRequest::new(URL, Content::Form, &body, claim);
            let request = request.verify(keyring).expect("signed");
            let at = Timestamp::from_micros(0);
            let arrival = Arrival { route: Route::Status, token: None, at };
            let events = events(&request, arrival, &Privacy::default());
            let [event] = &events.expect("it names an account")[..] else {
                panic!("a form is one event")
            };
            assert_eq!(event.key.as_str(), templates.key(&filled));
            event.key.as_str().to_owned()
        });
        keys.collect()
    }

    #[test]
    fn every_callback_is_signed_and_no_lap_repeats_another() {
        let token = "12345".into();
        let account = Account::new("AC1".into(), "main".into(), std::slice::from_ref(&token), &[]);
        let keyring = Keyring::new(vec![account]).expect("has a token");
        let secret = Arc::new(Secret::auth_token(&token));
        let templates =
            Templates::of_an_hour(URL, "/status?team=7", "hooks.example.com", "AC1", secret);
        let length = templates.templates.len();
        let mut seen = HashSet::new();
        for _ in 0..3 {
            let before = seen.len();
            seen.extend(keys(&templates, &keyring, length));
            let new = templates.templates.iter().filter(|template| template.is_new).count();
            assert!(new < length, "some are repeated");
            assert_eq!(seen.len() - before, new, "and all others are new");
        }
    }
}
