//! Checks what is sent with the verifier of the public listener, and with the vectors that Twilio published.

use secrecy::SecretString;
use serde::Deserialize;

use super::*;
use crate::event::{EventKey, Method as Sent, Request};
use crate::twilio::keyring::{Algorithm, SharedKey};
use crate::twilio::signature::{Claim, SignedRequest};

const TARGET: &str = "https://app.example.com/twilio/status";

fn target(url: &str) -> Target {
    Target::parse(url).expect("it is a URL of HTTP")
}

/// AC1 has two tokens and a key, and speaks for AC3; AC2 has a token.
fn keyring() -> Keyring {
    let tokens = |tokens: &[&str]| -> Vec<SecretString> {
        tokens.iter().map(|&token| token.into()).collect()
    };
    let key = SharedKey {
        id: "key1".into(),
        secret: "0123456789abcdef".into(),
        algorithm: Algorithm::HmacSha256,
    };
    let first = Account::new("AC1".into(), "main".into(), &tokens(&["first", "second"]), &[key]);
    let second = Account::new("AC2".into(), "other".into(), &tokens(&["of AC2"]), &[]);
    Keyring::new(vec![first.with_subaccounts(vec!["AC3".into()]), second]).expect("it has secrets")
}

fn event(method: Sent, query: &str, body: &str) -> Event {
    Event {
        query: query.to_owned(),
        body: Bytes::copy_from_slice(body.as_bytes()),
        request: Some(Request {
            method,
            route: Route::Status,
            idempotency_token: Some("a-token".to_owned()),
        }),
        ..Event::new(EventKey::of(&["CA1", "ringing"]).expect("printable"), Kind::Call, "AC1")
    }
}

fn json(kind: Kind, query: &str, body: &str) -> Event {
    Event { kind, format: Format::Json, ..event(Sent::Post, query, body) }
}

fn sent(event: &Event, with: &SignWith) -> Outgoing {
    request(event, &target(TARGET), with, &keyring()).expect("something signs for its account")
}

/// Its secret's id, if the public listener would take it at that URL.
fn verified(sent: &Outgoing, ring: &Keyring) -> Result<String, String> {
    let content = match (&sent.method, sent.headers.get(CONTENT_TYPE)) {
        (&Method::GET, _) => Content::Query,
        (_, Some(content_type)) if content_type == JSON => Content::Json,
        _ => Content::Form,
    };
    let header = |name| sent.headers.get(name).map(HeaderValue::as_bytes);
    let claim = Claim::parse(header(&SIGNATURE), header(&SETTINGS)).expect("it is well formed");
    let request = SignedRequest::new(sent.url.as_str(), content, &sent.body, claim);
    let verified = request.verify(ring).map_err(|error| error.to_string())?;
    Ok(verified.verified().secret.id().to_owned())
}

#[test]
fn a_form_is_sent_as_it_came_and_signed_for_its_new_url() {
    let body = "CallSid=CA1&AccountSid=AC1&From=%2B15550100&B=a%20b&A=1+2&Empty=";
    let query = "order_id=A-1+%2F&x=%c3%bc";
    let sent = sent(&event(Sent::Post, query, body), &SignWith::AuthToken);
    assert_eq!((&sent.method, &sent.body[..]), (&Method::POST, body.as_bytes()));
    assert_eq!(sent.url.as_str(), format!("{TARGET}?{query}"));
    assert_eq!(sent.headers[CONTENT_TYPE], "application/x-www-form-urlencoded; charset=UTF-8");
    assert_eq!(sent.headers[TOKEN_HEADER], "a-token");
    assert_eq!(verified(&sent, &keyring()).as_deref(), Ok("auth_token_1"));
}

#[test]
fn a_get_stays_one_behind_the_targets_own_query() {
    let params = "AccountSid=AC1&CallSid=CA1&CallStatus=ringing&order_id=A-1";
    let event = event(Sent::Get, "", params);
    let target = target("https://app.example.com/status?tenant=7");
    let sent = request(&event, &target, &SignWith::AuthToken, &keyring()).expect("it is signed");
    assert_eq!((&sent.method, sent.body.len()), (&Method::GET, 0));
    assert_eq!(sent.url.query(), Some(&*format!("tenant=7&{params}")));
    assert!(!sent.headers.contains_key(CONTENT_TYPE));
    assert_eq!(verified(&sent, &keyring()).as_deref(), Ok("auth_token_1"));
}

#[test]
fn an_element_of_event_streams_goes_by_itself_with_a_hash_of_its_own() {
    let element = r#"{"id":"EV1","type":"com.twilio.messaging.message.delivered"}"#;
    let query = "a=1&bodySHA256=0123456789abcdef&b=2&bodySHA256=f";
    let sent = sent(&json(Kind::EventStream, query, element), &SignWith::AuthToken);
    let body = format!("[{element}]");
    assert_eq!(&sent.body[..], body.as_bytes());
    let hash = body_hash(body.as_bytes());
    assert_eq!(sent.url.query(), Some(&*format!("a=1&b=2&bodySHA256={hash}")));
    assert_eq!(sent.headers[CONTENT_TYPE], "application/json");
    assert_eq!(verified(&sent, &keyring()).as_deref(), Ok("auth_token_1"));
}

#[test]
fn json_that_was_kept_whole_is_sent_as_it_is() {
    let check = |event: &Event| {
        let sent = sent(event, &SignWith::AuthToken);
        assert_eq!(sent.body, event.body);
        assert_eq!(verified(&sent, &keyring()).as_deref(), Ok("auth_token_1"));
    };
    check(&json(Kind::Other, "bodySHA256=0", r#"{"a":1}"#));
    check(&json(Kind::EventStream, "", " [{},{}]"));
    check(&json(Kind::Other, "", "no JSON"));
}

#[test]
fn each_account_is_signed_for_with_its_own_secret() {
    let of = |account: &str| Event {
        account: account.to_owned(),
        ..event(Sent::Post, "", "CallSid=CA1")
    };
    let signature = |account: &str, with: &SignWith| {
        let sent = request(&of(account), &target(TARGET), with, &keyring())?;
        Some(sent.headers[&SIGNATURE].to_str().expect("it is base64").to_owned())
    };
    let with = |token: &str| {
        let secret = Secret::auth_token(&token.into());
        Some(sign(&secret, TARGET, Content::Form, b"CallSid=CA1"))
    };
    let token = SignWith::AuthToken;
    assert_eq!(signature("AC1", &token), with("first"));
    assert_eq!(signature("AC2", &token), with("of AC2"));
    assert_eq!(signature("AC3", &token), with("first"), "its parent speaks for it");
    assert_eq!(signature("AC4", &token), None);
    let own = SignWith::Own(Secret::auth_token(&"own".into()));
    assert_eq!(signature("AC4", &own), with("own"));
    let key = SignWith::SharedKey("key1".to_owned());
    assert_eq!(signature("AC2", &key), None);
    let unknown = SignWith::SharedKey("auth_token_1".to_owned());
    assert_eq!(signature("AC1", &unknown), None, "an auth token is no shared key");
}

#[test]
fn a_shared_key_is_named_beside_its_signature() {
    let with = SignWith::SharedKey("key1".to_owned());
    let sent = sent(&event(Sent::Post, "", "AccountSid=AC1&CallSid=CA1"), &with);
    assert_eq!(sent.headers[SETTINGS_HEADER], "key=key1,algorithm=HMAC_SHA256");
    assert_eq!(verified(&sent, &keyring()).as_deref(), Ok("key1"));
}

#[test]
fn what_an_older_version_stored_is_sent_as_twilio_does_by_default() {
    let old = Event { request: None, ..event(Sent::Get, "", "AccountSid=AC1&CallSid=CA1") };
    let sent = sent(&old, &SignWith::AuthToken);
    assert_eq!((&sent.method, sent.headers.contains_key(TOKEN_HEADER)), (&Method::POST, false));
    assert_eq!(verified(&sent, &keyring()).as_deref(), Ok("auth_token_1"));
}

#[derive(Deserialize)]
struct Vector {
    id: String,
    token: String,
    url: String,
    method: String,
    params: Option<Vec<(String, String)>>,
    signature: String,
    valid: bool,
}

/// A callback that Twilio sent to a URL, forwarded to that URL, has Twilio's own signature.
#[test]
fn what_is_forwarded_has_the_signatures_that_twilio_published() {
    let text = include_str!("../../../../tests/fixtures/signature_vectors.json");
    let vectors: Vec<Vector> = serde_json::from_str(text).expect("the fixture is JSON");
    let mut same = 0;
    for vector in vectors.iter().filter(|vector| vector.valid && vector.method == "POST") {
        let Some(params) = &vector.params else { continue };
        let (base, query) = vector.url.split_once('?').unwrap_or((&vector.url, ""));
        let Ok(target) = Target::parse(base) else { continue };
        // Twilio's own ways with ports and users are for the verifier to know.
        if target.with_query(query).as_str() != vector.url {
            continue;
        }
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(params).finish();
        let with = SignWith::Own(Secret::auth_token(&vector.token.as_str().into()));
        let sent = request(&event(Sent::Post, query, &body), &target, &with, &keyring());
        let sent = sent.expect("its own secret signs");
        let signed = sent.headers[&SIGNATURE] == *vector.signature;
        let other = verified(&sent, &of_token(&vector.token)).is_ok();
        assert!(signed || other, "{}", vector.id);
        same += usize::from(signed);
    }
    assert!(same >= 20, "only {same} vectors are compared");
}

fn of_token(token: &str) -> Keyring {
    let account = Account::new("AC1".into(), "main".into(), &[token.into()], &[]);
    Keyring::new(vec![account]).expect("it has a token")
}
