//! What is not as it should be is refused, by the right code, and leaves nothing behind.

use offhook::twilio::keyring::{Algorithm, SharedKey};
use reqwest::{Method, StatusCode};

use crate::harness::{
    Callback, OTHER_ACCOUNT, OTHER_TOKEN, Raw, Signature, Testbed, both_modes, fixture, header,
};

both_modes! {
    every_wrong_request_is_refused_and_nothing_of_it_is_stored,
    a_chunked_body_is_measured_as_it_comes,
    a_request_of_each_secret_is_accepted,
}

fn call() -> Callback {
    Callback::form(fixture("call.form"))
}

fn json() -> Callback {
    Callback::json(fixture("event_streams.json"))
}

/// What is wrong, the code, the reason in the metrics.
fn wrong() -> Vec<(&'static str, Callback, u16, &'static str)> {
    let large = || [fixture("call.form"), vec![b'x'; 65_536]].concat();
    let signed = |text| call().signed(Signature::Text(text));
    let of = |account: &str| {
        let body = String::from_utf8(fixture("call.form")).expect("text");
        Callback::form(body.replace("AC00000000000000000000000000000001", account))
    };
    let changed = |callback: Callback, more: &[u8]| {
        let signature = callback.headers().into_iter().find(|(name, _)| name.contains("signature"));
        let signature = signature.expect("it is signed").1.leak();
        let body = [callback.body(), more].concat();
        callback.signed(Signature::Text(signature)).with_body(body)
    };
    vec![
        ("PUT", call().with_method(Method::PUT), 405, "method_not_allowed"),
        ("DELETE", call().with_method(Method::DELETE), 405, "method_not_allowed"),
        ("no route", call().to("/").signed(Signature::Missing), 404, "unknown_route"),
        ("forged", call().to("/").signed(Signature::Token("x")), 404, "unknown_route"),
        ("signed, to no route", call().to("/Status"), 404, "signed_unknown_route"),
        ("signed, with a slash too many", call().to("//status"), 404, "signed_unknown_route"),
        ("the other listener's", call().to("/metrics"), 404, "signed_unknown_route"),
        ("text", call().with_content_type(Some("text/plain")), 415, "unsupported_content_type"),
        ("no type", call().with_content_type(None), 415, "unsupported_content_type"),
        ("a large form", Callback::form(large()), 413, "body_too_large"),
        ("large JSON", Callback::json(large()), 413, "body_too_large"),
        ("no signature", call().signed(Signature::Missing), 400, "missing_signature"),
        ("no base64", signed("?"), 403, "malformed_signature"),
        ("a short one", signed("AAAA"), 403, "malformed_signature"),
        ("another's", signed("AAAAAAAAAAAAAAAAAAAAAAAAAAA="), 403, "wrong_signature"),
        ("a token that is not ours", call().signed(Signature::Token("x")), 403, "wrong_signature"),
        (
            "a changed body",
            changed(call(), b"&CallStatus=busy&CallbackSource=call-progress-events"),
            403,
            "wrong_signature",
        ),
        ("a changed URL", changed(call(), b"").with_query("a=b"), 403, "wrong_signature"),
        ("another route", changed(call(), b"").to("/debugger"), 403, "wrong_signature"),
        ("no account of ours", of("AC9"), 403, "unknown_account"),
        ("JSON without its hash", json().with_query(""), 403, "missing_body_hash"),
        ("JSON with another's hash", json().with_query("bodySHA256=0"), 403, "wrong_body_hash"),
        ("changed JSON", changed(json(), b" "), 403, "wrong_body_hash"),
        (
            "a fallback without signature",
            call().to("/voice-fallback").signed(Signature::Missing),
            400,
            "missing_signature",
        ),
    ]
}

async fn every_wrong_request_is_refused_and_nothing_of_it_is_stored(testbed: Testbed) {
    let offhook = testbed.start();
    for (what, callback, code, reason) in wrong() {
        let series = format!("offhook_refusals_total{{reason=\"{reason}\"}}");
        let before = offhook.client.metric(&series).await;
        let answer = offhook.client.send(&callback).await;
        assert_eq!(answer.status(), code, "{what}");
        // Twilio reads text aloud.
        assert_eq!(header(&answer, "content-type").as_deref(), Some("application/json"), "{what}");
        let told = answer.text().await.expect("the whole answer");
        let expected = match code {
            403 => "forbidden",
            404 => "unknown_route",
            _ => reason,
        };
        assert_eq!(told, format!("{{\"error\":\"{expected}\"}}"), "{what}");
        assert_eq!(offhook.client.metric(&series).await, before + 1.0, "{what}");
    }
    // What comes after it in the stream is stored, and nothing else is.
    offhook.client.accepts(&call()).await;
    let contents = testbed.contents_of(1).await;
    assert_eq!(contents.keys(), ["CA00000000000000000000000000000010-completed"]);
}

async fn a_chunked_body_is_measured_as_it_comes(testbed: Testbed) {
    let offhook = testbed.start();
    let address = offhook.client.inbound();
    let chunk =
        |bytes: &[u8]| [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat();

    // Nobody says how long it will be, and the end never comes.
    let mut endless = Raw::connect(address).await;
    endless.write_head(&call(), "transfer-encoding: chunked\r\n").await;
    for _ in 0..5 {
        endless.write(chunk(&[b'x'; 16 * 1024])).await;
    }
    let answer = endless.read_to_end().await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");

    let mut whole = Raw::connect(address).await;
    let callback = call();
    whole.write_head(&callback, "transfer-encoding: chunked\r\n").await;
    for part in callback.body().chunks(100) {
        whole.write(chunk(part)).await;
    }
    whole.write("0\r\n\r\n").await;
    let answer = whole.read_until("<Response/>").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    testbed.contents_of(1).await;
}

async fn a_request_of_each_secret_is_accepted(mut testbed: Testbed) {
    let key = |id: &str, secret: &str, algorithm| SharedKey {
        id: id.to_owned(),
        secret: secret.into(),
        algorithm,
    };
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    let text = format!(
        "[[account]]\nsid = \"AC00000000000000000000000000000001\"\nname = \"main\"\n\
         auth_tokens = [\"old\", \"new\"]\nshared_keys = [\n\
         {{ id = \"WK1\", secret = \"s1-0123456789abcdef\", algorithm = \"HMAC_SHA256\" }},\n\
         {{ id = \"WK2\", secret = \"s2-0123456789abcdef\", algorithm = \"HMAC_SHA1\" }}]\n\
         [[account]]\nsid = \"{OTHER_ACCOUNT}\"\nauth_tokens = [\"{OTHER_TOKEN}\"]\n"
    );
    std::fs::write(file.path(), text).expect("the file is ours");
    let path = file.path().display().to_string();
    testbed.settings = testbed.settings.clone().set("OFFHOOK_CONFIG", path);
    let offhook = testbed.start();

    let body = String::from_utf8(fixture("call.form")).expect("text");
    let theirs = body.replace("AC00000000000000000000000000000001", OTHER_ACCOUNT);
    let sha256 = key("WK1", "s1-0123456789abcdef", Algorithm::HmacSha256);
    let sha1 = key("WK2", "s2-0123456789abcdef", Algorithm::HmacSha1);
    for (signature, body, account, id) in [
        (Signature::Token("old"), &body, "main", "auth_token_1"),
        (Signature::Token("new"), &body, "main", "auth_token_2"),
        (Signature::SharedKey(sha256), &body, "main", "WK1"),
        (Signature::SharedKey(sha1), &body, "main", "WK2"),
        (Signature::Token(OTHER_TOKEN), &theirs, "account_2", "auth_token_1"),
    ] {
        offhook.client.accepts(&Callback::form(body.as_str()).signed(signature)).await;
        let series =
            format!("offhook_secret_matches_total{{account=\"{account}\",key_id=\"{id}\"}}");
        assert_eq!(offhook.client.metric(&series).await, 1.0, "{series}");
    }
    // One account's secret does not sign for another.
    let forged = Callback::form(theirs.as_str()).signed(Signature::Token("old"));
    assert_eq!(offhook.client.send(&forged).await.status(), StatusCode::FORBIDDEN);
}
