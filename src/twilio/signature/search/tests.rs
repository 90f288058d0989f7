use bytes::Bytes;
use secrecy::SecretString;

use super::*;
use crate::twilio::keyring::{Algorithm, SharedKey};
use crate::twilio::signature::{Claim, sign};

/// Each account has two tokens.
fn accounts(count: usize) -> Keyring {
    let accounts = (0..count).map(|n| {
        let tokens = [format!("a{n}").into(), format!("b{n}").into()];
        Account::new(format!("AC{n}"), format!("account_{n}"), &tokens, &[])
    });
    Keyring::new(accounts.collect()).expect("tokens")
}

/// How it ends, how many bytes were hashed by then, and in how many steps.
fn searched(
    ring: &Keyring,
    url: &str,
    content: Content,
    body: &Bytes,
    signature: &str,
) -> (Result<(), SignatureError>, usize, usize) {
    let claim = Claim::parse([signature.as_bytes()], None).expect("well-formed");
    let mut search = match SignedRequest::new(url, content, body, claim).search(ring) {
        Ok(search) => search,
        Err(error) => return (Err(error), 0, 0),
    };
    let (mut hashed, mut steps) = (0, 0);
    loop {
        steps += 1;
        match search.step() {
            Step::Ended(ended) => return (ended.map(|_| ()), hashed, steps),
            Step::More(rest) => search = rest,
        }
        hashed = search.hashed;
    }
}

const FORGED: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAA=";

/// As long as it may be, with all that makes it expensive.
fn worst(account: &str, pairs: usize) -> Bytes {
    let mut form = format!("{account}Bad=%FF");
    for n in (0..pairs).rev() {
        form.push_str(&format!("&n{n}=x"));
    }
    let padding = "x".repeat(64 * 1024 - form.len() - 3);
    format!("{form}&z={padding}").into()
}

#[test]
fn a_forged_form_costs_no_more_than_so_many_bytes_however_many_secrets_there_are() {
    let url = "https://u:p@h.example:8443/status?x='&y=%27";
    let ring = accounts(20);
    for account in ["", "AccountSid=AC1&", "AccountSid=AC19&", "AccountSid=AC99&"] {
        let body = worst(account, 900);
        let (ended, hashed, steps) = searched(&ring, url, Content::Form, &body, FORGED);
        assert!(ended.is_err(), "{account}");
        assert!(hashed <= MOST_HASHED, "{account}: {hashed}");
        assert!(steps > 1 && steps <= MOST_HASHED / STEP + 1, "{account}: {steps}");
    }
    let (ended, ..) = searched(&ring, url, Content::Form, &worst("AccountSid=AC1&", 9), FORGED);
    assert_eq!(ended, Err(SignatureError::TooCostly));
    // What is read twice costs twice.
    for odd in ["a&".repeat(10_000), "%FE=+&".repeat(10_000), "\u{ff}=\u{fe}&".repeat(8_000)] {
        for account in ["", "AccountSid=AC1&", "AccountSid=AC99&"] {
            let body = Bytes::from(format!("{account}Bad=%FF&{odd}"));
            let (ended, hashed, steps) = searched(&ring, url, Content::Form, &body, FORGED);
            assert!(ended.is_err() && hashed <= MOST_HASHED, "{account}: {hashed}");
            assert!(steps <= MOST_HASHED / STEP + 1, "{account}: {steps}");
        }
    }
    // Nor where there is nothing to try it with.
    let sha256 = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    let claim = Claim::parse([sha256.as_bytes()], [&b"algorithm=HMAC_SHA256"[..]]);
    let long = format!("https://h.example:8443/status?{}", "'%27+%20:%3A".repeat(2_500));
    let body = Bytes::new();
    let request = SignedRequest::new(&long, Content::Query, &body, claim.expect("well-formed"));
    let search = request.search(&ring).expect("it needs no secret");
    assert!(matches!(search.step(), Step::Ended(Err(SignatureError::Mismatch))));
    // A query is as long as a head may be.
    let long = format!("https://h.example:8443/status?x='&{}", "y=%27&".repeat(2_500));
    for content in [Content::Query, Content::Json] {
        let body = Bytes::new();
        let long = format!("{long}bodySHA256={}", body_hash(&body));
        let (ended, hashed, _) = searched(&ring, &long, content, &body, FORGED);
        assert!(ended.is_err() && hashed <= MOST_HASHED, "{content:?}: {hashed}");
    }
}

#[test]
fn what_twilio_sends_is_never_too_costly() {
    let ring = accounts(200);
    let token = Secret::auth_token(&"b199".into());
    // The port that was signed is the last that is tried.
    let (sent, signed) = ("https://h.example/e?x='", "https://h.example:443/e?x=%27");
    let check = |content: Content, url: &str, right: &str, body: Bytes| {
        let signature = sign(&token, right, content, &body);
        let (ended, ..) = searched(&ring, url, content, &body, &signature);
        assert_eq!(ended, Ok(()), "{content:?} {url}");
    };
    let named = Bytes::from(format!("AccountSid=AC199&Body={}", "x".repeat(60_000)));
    check(Content::Form, sent, sent, named.clone());
    check(Content::Form, sent, signed, named);
    let unnamed = Bytes::from(format!("Body={}", "x".repeat(2_000)));
    check(Content::Form, sent, sent, unnamed);
    let json = Bytes::from("x".repeat(60_000));
    let hash = format!("&bodySHA256={}", body_hash(&json));
    check(Content::Json, &(sent.to_owned() + &hash), &(signed.to_owned() + &hash), json);
    check(Content::Query, sent, signed, Bytes::new());
    let pairs = |count: usize| (0..count).map(|n| format!("&n{n}=")).collect::<String>();
    for count in [200, 5_000, 10_000] {
        let many = Bytes::from(format!("AccountSid=AC199{}", pairs(count)));
        check(Content::Form, sent, sent, many);
    }
    let repeated = Bytes::from(format!("AccountSid=AC199&{}", "a&".repeat(10_000)));
    check(Content::Form, sent, sent, repeated);
    let more = Bytes::from(format!("AccountSid=AC199{}", pairs(MOST_PAIRS)));
    let (ended, ..) =
        searched(&ring, sent, Content::Form, &more, &sign(&token, sent, Content::Form, &more));
    assert_eq!(ended, Err(SignatureError::TooCostly));
}

#[test]
fn other_writings_are_tried_for_the_account_that_a_form_names_or_the_only_one() {
    let (sent, signed) = ("https://h.example:8443/s", "https://h.example/s");
    let check = |accounts_: usize, body: &'static str, expected| {
        let body = Bytes::from_static(body.as_bytes());
        let signature = sign(&Secret::auth_token(&"a0".into()), signed, Content::Form, &body);
        let (ended, ..) = searched(&accounts(accounts_), sent, Content::Form, &body, &signature);
        assert_eq!(ended, expected, "{accounts_} {body:?}");
    };
    check(2, "AccountSid=AC0", Ok(()));
    check(1, "A=1", Ok(()));
    check(2, "A=1", Err(SignatureError::Mismatch));
}

/// The time that a refusal takes does not reveal which accounts are configured.
#[test]
fn every_account_costs_what_the_one_with_most_secrets_costs() {
    let token = |n: usize| SecretString::from(format!("t{n}"));
    let of = |sid: &str, count| {
        let tokens: Vec<_> = (0..count).map(token).collect();
        Account::new(sid.into(), sid.into(), &tokens, &[])
    };
    let key = |n: usize| SharedKey {
        id: format!("K{n}"),
        secret: "k3y".into(),
        algorithm: Algorithm::HmacSha256,
    };
    let shared = Account::new("AC4".into(), "four".into(), &[], &[key(1), key(2)]);
    let ring =
        Keyring::new(vec![of("AC1", 1), of("AC2", 2), of("AC3", 5), shared]).expect("tokens");
    let url = "https://h.example/status";
    let cost = |sid: &str, bytes: usize, settings: Option<&str>, signature: &str| {
        let body = Bytes::from(format!("AccountSid={sid}&A={}", "x".repeat(bytes)));
        let claim = Claim::parse([signature.as_bytes()], settings.map(str::as_bytes));
        let claim = claim.expect("well-formed");
        let mut search = SignedRequest::new(url, Content::Form, &body, claim).search(&ring).ok()?;
        let mut hashed = 0;
        while let Tried::Nothing = search.try_next() {
            hashed = search.hashed;
        }
        Some(hashed)
    };
    // But for the other URL, which some write down twice.
    let assert_alike = |one: Option<usize>, other: Option<usize>, what: &str| {
        let apart = one.expect("searched").abs_diff(other.expect("searched"));
        assert!(apart <= 2 * PER_WRITTEN * url.len(), "{what}: {apart}");
    };
    for bytes in [1_000, 60_000] {
        let unknown = cost("AC9", bytes, None, FORGED);
        assert!(unknown.is_some_and(|hashed| hashed >= 5 * bytes));
        for known in ["AC1", "AC2", "AC3", "AC4"] {
            assert_alike(cost(known, bytes, None, FORGED), unknown, known);
        }
        let sha256 = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
        let of_key = |sid: &str, id: &str| {
            cost(sid, bytes, Some(&format!("key={id},algorithm=HMAC_SHA256")), sha256)
        };
        let unknown = of_key("AC9", "K1");
        for (sid, id) in [("AC1", "K1"), ("AC4", "K1"), ("AC4", "K9")] {
            assert_alike(of_key(sid, id), unknown, sid);
        }
    }
}
