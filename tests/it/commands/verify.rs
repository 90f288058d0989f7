//! `offhook verify`: why a signature is right or wrong. A right one is never shown.

use offhook::config::Role;
use offhook::twilio::keyring::Secret;
use offhook::twilio::signature::{BODY_HASH, Content, body_hash, sign};

use crate::harness::{ACCOUNT, OTHER_TOKEN, PUBLIC_URL, Settings, TOKEN, fixture, run};

struct Request {
    url: String,
    content: Content,
    body: Vec<u8>,
}

impl Request {
    fn form() -> Self {
        let body = fixture("call.form");
        Self { url: format!("{PUBLIC_URL}/status"), content: Content::Form, body }
    }

    fn json() -> Self {
        let body = fixture("event_streams.json");
        let url = format!("{PUBLIC_URL}/event-streams?{BODY_HASH}={}", body_hash(&body));
        Self { url, content: Content::Json, body }
    }

    fn get() -> Self {
        let url = format!(
            "{PUBLIC_URL}/status?CallSid=CA1&AccountSid={ACCOUNT}&CallStatus=busy&CallbackSource=call-progress-events"
        );
        Self { url, content: Content::Query, body: Vec::new() }
    }

    fn signed_by(&self, token: &str) -> String {
        sign(&Secret::auth_token(&token.into()), &self.url, self.content, &self.body)
    }

    /// Whether it is right, and what is printed.
    #[track_caller]
    fn verify(&self, signature: &str, more: &[&str]) -> (bool, String) {
        let body = tempfile::NamedTempFile::new().expect("a temporary file");
        std::fs::write(body.path(), &self.body).expect("the file is ours");
        let path = body.path().display().to_string();
        let method = if self.content == Content::Query { "get" } else { "POST" };
        let arguments = ["verify", "--url", &self.url, "--signature", signature];
        let rest = ["--method", method, "--body", &path];
        let settings = Settings::new(Role::All);
        let ended = run(&settings, &[&arguments[..], &rest, more].concat());
        let printed = format!("{}{}", ended.out, ended.error);
        let right = self.signed_by(TOKEN);
        assert!(!printed.contains(&right), "it shows the right signature: {printed}");
        assert!(!printed.contains(TOKEN), "it shows a secret: {printed}");
        assert!(matches!(ended.code, Some(0 | 1)), "{ended:?}");
        (ended.code == Some(0), printed)
    }
}

#[test]
fn a_right_signature_is_said_to_be_right_with_the_url_and_the_key() {
    for request in [Request::form(), Request::json(), Request::get()] {
        let (right, printed) = request.verify(&request.signed_by(TOKEN), &[]);
        assert!(right, "{printed}");
        for part in [&request.url, ACCOUNT, "auth_token"] {
            assert!(printed.contains(part), "`{part}` is not in: {printed}");
        }
    }
}

#[test]
fn a_wrong_signature_is_said_to_be_wrong_with_what_was_tried() {
    for request in [Request::form(), Request::json(), Request::get()] {
        let (right, printed) = request.verify(&request.signed_by(OTHER_TOKEN), &[]);
        assert!(!right, "{printed}");
        let port = request.url.replacen(".com/", ".com:443/", 1);
        for part in ["the signature is wrong; tried:", &request.url, &port, ACCOUNT] {
            assert!(printed.contains(part), "`{part}` is not in: {printed}");
        }
    }
}

#[test]
fn a_changed_body_is_wrong_and_a_scheme_that_a_proxy_changed_is_named() {
    let mut request = Request::form();
    let signature = request.signed_by(TOKEN);
    request.url = request.url.replace("https://", "http://");
    let (right, printed) = request.verify(&signature, &[]);
    assert!(!right && printed.contains("matches with the other scheme"), "{printed}");

    let mut request = Request::form();
    request.body.extend(b"&CallDuration=1");
    let (right, printed) = request.verify(&signature, &[]);
    assert!(!right && printed.contains("the signature is wrong"), "{printed}");
}

#[test]
fn what_cannot_be_a_signature_is_wrong_before_anything_is_tried() {
    let (right, printed) = Request::form().verify("bm9uZQ==", &[]);
    assert!(!right && !printed.contains("tried"), "{printed}");
    let (right, printed) = Request::form().verify("", &[]);
    assert!(!right, "{printed}");
}
