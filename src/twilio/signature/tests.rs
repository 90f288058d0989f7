use std::fs;

use proptest::prelude::*;
use secrecy::SecretString;
use serde::Deserialize;

use super::*;
use crate::twilio::keyring::{Algorithm, SharedKey};

const SID: &str = "AC1";

#[derive(Deserialize)]
struct Vector {
    id: String,
    token: String,
    url: String,
    params: Option<Vec<(String, String)>>,
    body: Option<String>,
    content_type: Option<String>,
    signature: String,
    valid: bool,
}

fn keyring(tokens: &[&str], keys: &[SharedKey]) -> Keyring {
    let tokens: Vec<SecretString> = tokens.iter().map(|&token| token.into()).collect();
    Keyring::new(vec![Account::new(SID.into(), "main".into(), &tokens, keys)]).expect("has a token")
}

fn form(params: &[(String, String)]) -> Bytes {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(params).finish().into()
}

fn verify(
    keyring: &Keyring,
    url: &str,
    content: Content,
    body: &Bytes,
    signature: &str,
    settings: Option<&str>,
) -> Result<String, String> {
    let settings = settings.map(str::as_bytes);
    let claim =
        Claim::parse([signature.as_bytes()], settings).map_err(|error| error.to_string())?;
    SignedRequest::new(url, content, body, claim)
        .verify(keyring)
        .map(|request| request.verified().secret.id().to_owned())
        .map_err(|error| error.to_string())
}

#[test]
fn every_published_vector_is_judged_as_twilio_judges_it() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/signature_vectors.json");
    let vectors: Vec<Vector> =
        serde_json::from_str(&fs::read_to_string(path).expect("the fixture is there"))
            .expect("the fixture is JSON");
    assert_eq!(vectors.iter().filter(|vector| vector.valid).count(), 51);
    assert_eq!(vectors.iter().filter(|vector| !vector.valid).count(), 19);

    let wrong: Vec<_> = vectors
        .iter()
        .filter(|vector| {
            let (content, body) = match (&vector.params, &vector.body) {
                (Some(params), _) => (Content::Form, form(params)),
                (None, Some(body))
                    if vector.content_type.as_deref() == Some("application/json") =>
                {
                    (Content::Json, Bytes::from(body.clone()))
                }
                (None, body) => (Content::Form, body.clone().unwrap_or_default().into()),
            };
            let keyring = keyring(&[&vector.token], &[]);
            let verdict = verify(&keyring, &vector.url, content, &body, &vector.signature, None);
            verdict.is_ok() != vector.valid
        })
        .map(|vector| vector.id.as_str())
        .collect();
    assert_eq!(wrong, Vec::<&str>::new());
}

#[test]
fn each_of_several_secrets_verifies_and_is_named() {
    let key = |id: &str, algorithm| SharedKey { id: id.into(), secret: "k3y".into(), algorithm };
    let keys = [key("SK1", Algorithm::HmacSha256), key("SK2", Algorithm::HmacSha1)];
    let ring = keyring(&["old", "new"], &keys);
    let (url, body) = ("https://h.example/status", Bytes::from_static(b"AccountSid=AC1&A=1"));
    let check = |secret: &Secret, settings: Option<&str>, expected: Result<&str, &str>| {
        let signature = sign(secret, url, Content::Form, &body);
        let verdict = verify(&ring, url, Content::Form, &body, &signature, settings);
        assert_eq!(verdict.as_deref().map_err(String::as_str), expected, "{settings:?}");
    };
    check(&Secret::auth_token(&"old".into()), None, Ok("auth_token_1"));
    check(&Secret::auth_token(&"new".into()), None, Ok("auth_token_2"));
    check(&Secret::auth_token(&"new".into()), Some("key=SK9"), Ok("auth_token_2"));
    check(&Secret::auth_token(&"gone".into()), None, Err("the signature is wrong"));

    let (sha256, sha1) = (Secret::shared_key(&keys[0]), Secret::shared_key(&keys[1]));
    check(&sha256, Some("key=SK1,algorithm=HMAC_SHA256"), Ok("SK1"));
    check(&sha256, Some("algorithm=HMAC_SHA256, key=SK1"), Ok("SK1"));
    check(&sha256, Some("algorithm=HMAC_SHA256"), Ok("SK1"));
    check(&sha1, Some("key=SK2,algorithm=HMAC_SHA1"), Ok("SK2"));
    // A key is used with its own algorithm only, and only under its own id.
    check(&sha1, Some("key=SK1,algorithm=HMAC_SHA1"), Err("the signature is wrong"));
    check(&sha256, Some("key=SK2,algorithm=HMAC_SHA256"), Err("the signature is wrong"));
    let malformed = "the signature is malformed: ";
    check(&sha256, None, Err(&format!("{malformed}wrong length for its algorithm")));
    check(&sha1, Some("key=SK2,algorithm=MD5"), Err(&format!("{malformed}unknown algorithm")));
}

#[test]
fn an_account_is_looked_up_by_its_sid_and_an_unknown_one_is_refused() {
    let account = |sid: &str, token: &str| {
        Account::new(sid.into(), sid.into(), &[SecretString::from(token)], &[])
    };
    let ring = Keyring::new(vec![account("AC1", "one"), account("AC2", "two")]).expect("tokens");
    let url = "https://h.example/status";
    let check = |token: &str, body: &'static str, expected: Result<(), SignatureError>| {
        let body = Bytes::from_static(body.as_bytes());
        let signature = sign(&Secret::auth_token(&token.into()), url, Content::Form, &body);
        let claim = Claim::parse([signature.as_bytes()], None).expect("well-formed");
        let verdict = SignedRequest::new(url, Content::Form, &body, claim).verify(&ring);
        assert_eq!(verdict.map(|_| ()), expected, "{token}");
    };
    check("two", "AccountSid=AC2", Ok(()));
    check("two", "NoAccount=1", Ok(()));
    check("two", "AccountSid=AC1", Err(SignatureError::Mismatch));
    check("two", "AccountSid=AC3", Err(SignatureError::UnknownAccount));
    check("no account has this", "AccountSid=AC3", Err(SignatureError::UnknownAccount));
}

#[test]
fn json_needs_its_hash_in_the_url() {
    let ring = keyring(&["12345"], &[]);
    let body = Bytes::from_static(b"[{\"id\":\"EZ1\"}]");
    let token = Secret::auth_token(&"12345".into());
    let check = |url: &str, expected: Result<&str, &str>| {
        let signature = sign(&token, url, Content::Json, &body);
        let verdict = verify(&ring, url, Content::Json, &body, &signature, None);
        assert_eq!(verdict.as_deref().map_err(String::as_str), expected);
    };
    let hash = body_hash(&body);
    check(&format!("https://h.example/e?a=1&bodySHA256={hash}"), Ok("auth_token_1"));
    check(&format!("https://h.example/e?bodySHA256={hash}&bodySHA256={hash}"), Ok("auth_token_1"));
    check("https://h.example/e?a=1", Err("a JSON body needs bodySHA256 in the URL"));
    let wrong = Err("the body does not have the SHA-256 that the URL says");
    check(&format!("https://h.example/e?bodySHA256={}", hash.to_uppercase()), wrong);
    check("https://h.example/e?bodySHA256=", wrong);
}

#[test]
fn a_get_is_signed_by_its_url_alone() {
    let ring = keyring(&["12345"], &[]);
    let url = "https://h.example/status?AccountSid=AC1&CallSid=CA1&bodySHA256=x&bodySHA256=x";
    let signature = sign(&Secret::auth_token(&"12345".into()), url, Content::Query, b"");
    let verdict = verify(&ring, url, Content::Query, &Bytes::new(), &signature, None);
    assert_eq!(verdict.as_deref(), Ok("auth_token_1"));
}

#[test]
fn invalid_utf8_verifies_signed_either_way() {
    let ring = keyring(&["12345"], &[]);
    let (url, body) = ("https://h.example/s", Bytes::from_static(b"A=%FF&B=1"));
    let token = Secret::auth_token(&"12345".into());
    let raw = sign(&token, url, Content::Form, &body);
    let replaced = sign(&token, url, Content::Form, "A=\u{FFFD}&B=1".as_bytes());
    assert!(verify(&ring, url, Content::Form, &body, &raw, None).is_ok());
    assert!(verify(&ring, url, Content::Form, &body, &replaced, None).is_ok());
}

#[test]
fn headers_that_claim_nothing_are_told_apart() {
    let long = "A".repeat(10_000);
    let check = |signatures: &[&str], settings: &[&str], expected: ClaimError| {
        let claim = Claim::parse(
            signatures.iter().map(|value| value.as_bytes()),
            settings.iter().map(|value| value.as_bytes()),
        );
        assert_eq!(claim, Err(expected), "{signatures:?} {settings:?}");
    };
    let good = "L/OH5YylLD5NRKLltdqwSvS0BnU=";
    check(&[], &[], ClaimError::Missing);
    check(&[""], &[], ClaimError::Malformed("wrong length for its algorithm"));
    check(&["AAAA"], &[], ClaimError::Malformed("wrong length for its algorithm"));
    check(&["not base64!"], &[], ClaimError::Malformed("not base64"));
    check(&[&long], &[], ClaimError::Malformed("not base64"));
    check(&[good, good], &[], ClaimError::Malformed("more than one signature header"));
    check(&[good], &["", ""], ClaimError::Malformed("more than one settings header"));
    check(&[good], &["algorithm=none"], ClaimError::Malformed("unknown algorithm"));
}

proptest! {
    /// The message by an independent, allocation-happy reading of the documentation.
    #[test]
    fn the_verifier_agrees_with_a_plain_reading_of_the_documentation(
        params in prop::collection::vec(("[A-Ca-c]{0,2}", "\\PC{0,4}"), 0..8),
        path in "/[a-z/]{0,8}",
    ) {
        use hmac::{Hmac, KeyInit, Mac};
        let url = format!("https://h.example{path}?q=1");
        let mut names: Vec<&String> = params.iter().map(|(name, _)| name).collect();
        names.sort();
        names.dedup();
        let mut message = url.clone();
        for name in names {
            let mut values: Vec<&String> =
                params.iter().filter(|(other, _)| other == name).map(|(_, value)| value).collect();
            values.sort();
            values.dedup();
            for value in values {
                message.push_str(name);
                message.push_str(value);
            }
        }
        let mut mac = Hmac::<sha1::Sha1>::new_from_slice(b"12345").expect("any length");
        mac.update(message.as_bytes());
        let signature = STANDARD.encode(mac.finalize().into_bytes());
        let verdict = verify(&keyring(&["12345"], &[]), &url, Content::Form, &form(&params), &signature, None);
        // An `AccountSid` among the parameters is impossible with these names.
        prop_assert_eq!(verdict.as_deref(), Ok("auth_token_1"));
    }

    #[test]
    fn any_header_and_any_body_are_judged_without_a_panic(
        signature in prop::collection::vec(any::<u8>(), 0..70),
        settings in prop::option::of(prop::collection::vec(any::<u8>(), 0..40)),
        body in prop::collection::vec(any::<u8>(), 0..100),
        url in "\\PC{0,40}",
    ) {
        let ring = keyring(&["12345"], &[]);
        let body = Bytes::from(body);
        if let Ok(claim) = Claim::parse([&signature[..]], settings.as_deref()) {
            for content in [Content::Form, Content::Json, Content::Query] {
                prop_assert!(SignedRequest::new(&url, content, &body, claim.clone()).verify(&ring).is_err());
            }
        }
    }
}

#[test]
fn a_parent_signs_for_its_sub_accounts_and_for_nobody_else() {
    let [one, two] = ["token-one", "token-two"].map(SecretString::from);
    let account = |sid: &str, token: &SecretString| {
        Account::new(sid.into(), sid.into(), std::slice::from_ref(token), &[])
    };
    let parent = account("AC1", &one).with_subaccounts(vec!["AC4".into()]);
    let ring = Keyring::new(vec![parent, account("AC2", &two)]).expect("has tokens");
    let url = "https://h.example/debugger";
    let check = |body: &str, expected: Result<&str, SignatureError>| {
        let body = Bytes::copy_from_slice(body.as_bytes());
        let signature = sign(&Secret::auth_token(&one), url, Content::Form, &body);
        let claim = Claim::parse([signature.as_bytes()], None).expect("well-formed");
        let verified = SignedRequest::new(url, Content::Form, &body, claim).verify(&ring);
        let signer = verified.map(|request| request.verified().account.sid().to_owned());
        assert_eq!(signer.as_deref(), expected.as_ref().map(|sid| *sid), "{body:?}");
    };
    check("AccountSid=AC1&Sid=NO1", Ok("AC1"));
    check("AccountSid=AC4&Sid=NO1", Ok("AC1"));
    check("AccountSid=AC9&ParentAccountSid=AC1&Sid=NO1", Ok("AC1"));
    check("AccountSid=AC2&ParentAccountSid=AC1&Sid=NO1", Ok("AC1"));
    check("AccountSid=AC2&Sid=NO1", Err(SignatureError::Mismatch));
    check("AccountSid=AC9&Sid=NO1", Err(SignatureError::UnknownAccount));
    check("AccountSid=AC9&ParentAccountSid=AC8&Sid=NO1", Err(SignatureError::UnknownAccount));
}
