//! Which URL, which secret: what Twilio may have signed.

use super::request::{ACCOUNT, BASE, CALL, Request, TOKEN, token};
use super::server::{Server, Setup, account};
use crate::inbound::PathPrefix;
use crate::twilio::keyring::{Algorithm, Secret, SharedKey};

const SETTINGS: &str = "X-Twilio-Webhooks-Signature-Settings";

/// The status with which a request is answered by a server of its own.
async fn check(setup: Setup, request: &Request, expected: u16) {
    let server = Server::start_with(setup).await;
    let response = server.ask(request).await;
    let head = request.head();
    assert_eq!(response.status, expected, "{head}");
    server.stop().await;
}

#[tokio::test]
async fn path_and_query_are_signed_byte_for_byte() {
    let server = Server::start().await;
    let queries = [
        "?",
        "?a=%2F&b=%2f",
        "?a=/&b=:",
        "?it='s",
        "?it=%27s",
        "?a=1&a=2&a=1",
        "?a=b%20c+d%2Bd",
        "?%zz=%",
        "?a=%C3%B1",
        "?a=ñ",
        "?a={x}&b=[y]|z",
        "?a=1;b=2",
        "?&&=&a",
        "?a=?b?c",
        "?a=%00",
        "?bodySHA256=00&bodySHA256=00",
    ];
    for query in queries {
        let target = format!("/status{query}");
        // What is signed as it should be and has nothing of Twilio's in it has lost its parameters.
        let lost = if query.contains("bodySHA256") { 429 } else { 400 };
        for (request, expected) in
            [(Request::form(&target, CALL), 200), (Request::get(&target), lost)]
        {
            let response = server.ask(&request.clone().signed()).await;
            assert_eq!(response.status, expected, "{target}");
            // One byte more was not signed.
            let url = format!("{BASE}{target}&");
            let response = server.ask(&request.signed_for(&url, &token(TOKEN))).await;
            assert_eq!(response.status, 403, "{target}");
        }
    }
    // The same to a browser, another string to Twilio.
    for (sent, signed) in [
        ("/status?a=%2F", "/status?a=%2f"),
        ("/status?a=%2F", "/status?a=/"),
        ("/status?a=b+c", "/status?a=b%2Bc"),
        ("/status?", "/status"),
        ("/status?a=1&b=2", "/status?b=2&a=1"),
        ("/status?a=1&a=1", "/status?a=1"),
    ] {
        let url = format!("{BASE}{signed}");
        let request = Request::form(sent, CALL).signed_for(&url, &token(TOKEN));
        assert_eq!(server.ask(&request).await.status, 403, "{sent}");
    }
    // But for characters that encoders in the field write in two ways.
    let sip = ("sip%3a1%40h", "sip:1@h");
    for (sent, signed) in [("'", "%27"), ("%27", "'"), ("+", "%20"), ("%20", "+"), sip] {
        let url = format!("{BASE}/status?it={signed}s");
        let request = Request::form(&format!("/status?it={sent}s"), CALL);
        let response = server.ask(&request.signed_for(&url, &token(TOKEN))).await;
        assert_eq!(response.status, 200, "{sent}");
    }
    server.stop().await;
}

#[tokio::test]
async fn the_raw_query_is_stored() {
    let server = Server::start().await;
    let request = Request::form("/status?order=%2F'&order=&x", CALL).signed();
    assert_eq!(server.ask(&request).await.status, 200);
    let query = format!(
        "AccountSid={ACCOUNT}&CallSid=CA2&CallStatus=busy&CallbackSource=call-progress-events&a=%2F'"
    );
    assert_eq!(server.ask(&Request::get(&format!("/status?{query}")).signed()).await.status, 200);
    let stored = server.stored().await;
    let seen: Vec<_> = stored.iter().map(|event| (event.query.as_str(), &event.body[..])).collect();
    assert_eq!(seen, [("order=%2F'&order=&x", CALL.as_bytes()), ("", query.as_bytes())]);
    server.stop().await;
}

#[tokio::test]
async fn headers_of_the_request_have_no_say_in_its_url() {
    let forwarded = |request: Request| {
        request
            .header("X-Forwarded-Host", "evil.example")
            .header("X-Forwarded-Proto", "http")
            .header("X-Forwarded-Prefix", "/evil")
            .header("X-Original-URL", "/evil")
            .header("Forwarded", "host=evil.example;proto=http")
    };
    let call = Request::form("/status", CALL);
    check(Setup::default(), &forwarded(call.clone()).signed(), 200).await;
    // The listener was asked as `h`.
    for url in ["https://evil.example/status", "http://h/status", "https://h/status"] {
        let forged = forwarded(call.clone()).signed_for(url, &token(TOKEN));
        check(Setup::default(), &forged, 403).await;
    }
    // Nor has a target that names a host.
    let absolute = Request::form("http://evil.example/status", CALL);
    let url = format!("{BASE}/status");
    check(Setup::default(), &absolute.clone().signed_for(&url, &token(TOKEN)), 200).await;
    let evil = absolute.signed_for("http://evil.example/status", &token(TOKEN));
    check(Setup::default(), &evil, 403).await;
}

#[tokio::test]
async fn the_port_may_be_signed_or_not() {
    let call = || Request::form("/status", CALL);
    for (public, signed, expected) in [
        ("https://h.example:8443", "https://h.example:8443/status", 200),
        ("https://h.example:8443", "https://h.example/status", 200),
        ("https://h.example", "https://h.example:443/status", 200),
        ("https://h.example", "https://h.example:8443/status", 403),
        ("https://h.example", "http://h.example/status", 403),
        ("https://u:p@h.example", "https://h.example/status", 200),
        ("https://h.example/base", "https://h.example/base/status", 200),
        ("https://h.example/base", "https://h.example/status", 403),
    ] {
        let setup = Setup { public_url: public, ..Setup::default() };
        check(setup, &call().signed_for(signed, &token(TOKEN)), expected).await;
    }
}

#[tokio::test]
async fn a_prefix_stands_before_every_route_and_is_signed() {
    let setup = || {
        let mut setup = Setup::default();
        setup.config.path_prefix = PathPrefix::parse("/hooks/twilio").expect("a prefix");
        setup
    };
    for route in ["status", "event-streams", "debugger", "voice-fallback", "sms-fallback"] {
        let request = Request::form(&format!("/hooks/twilio/{route}"), CALL);
        check(setup(), &request.clone().signed(), 200).await;
        let url = format!("{BASE}/{route}");
        check(setup(), &request.signed_for(&url, &token(TOKEN)), 403).await;
        check(setup(), &Request::form(&format!("/{route}"), CALL).signed(), 404).await;
    }
    check(setup(), &Request::form("/hooks/twiliostatus", CALL).signed(), 404).await;
}

#[tokio::test]
async fn while_tokens_rotate_each_is_accepted_and_the_metric_says_which() {
    let accounts = vec![account(&[TOKEN, "the next"], &[])];
    let server = Server::start_with(Setup { accounts, ..Setup::default() }).await;
    for (secret, expected) in [(TOKEN, 200), ("the next", 200), ("the next", 200), ("none", 403)] {
        let request = Request::form("/status", CALL).signed_with(&token(secret));
        assert_eq!(server.ask(&request).await.status, expected, "{secret}");
    }
    let matches = server.metric("offhook_secret_matches_total");
    assert_eq!(matches, ["main,auth_token_1=1", "main,auth_token_2=2"]);
    server.stop().await;
}

fn shared_key(id: &str, secret: &str, algorithm: Algorithm) -> SharedKey {
    SharedKey { id: id.into(), secret: secret.into(), algorithm }
}

#[tokio::test]
async fn a_shared_key_signs_with_its_own_algorithm_and_by_its_own_id() {
    let keys = [
        shared_key("one", "s1", Algorithm::HmacSha256),
        shared_key("two", "s2", Algorithm::HmacSha256),
    ];
    let accounts = vec![account(&[TOKEN], &keys)];
    let server = Server::start_with(Setup { accounts, ..Setup::default() }).await;
    let by = |secret: &str, settings: &str| {
        let secret = Secret::shared_key(&shared_key("", secret, Algorithm::HmacSha256));
        Request::form("/status", CALL).signed_with(&secret).header(SETTINGS, settings)
    };
    for (secret, settings, expected) in [
        ("s1", "key=one,algorithm=HMAC_SHA256", 200),
        ("s2", "algorithm=HMAC_SHA256, key=two", 200),
        ("s2", "algorithm=HMAC_SHA256", 200),
        ("s1", "key=two,algorithm=HMAC_SHA256", 403),
        ("s1", "key=three,algorithm=HMAC_SHA256", 403),
        ("s3", "key=one,algorithm=HMAC_SHA256", 403),
        // Not a signature of that length.
        ("s1", "key=one,algorithm=HMAC_SHA1", 403),
        ("s1", "key=one", 403),
        ("s1", "key=one,algorithm=none", 403),
    ] {
        let response = server.ask(&by(secret, settings)).await;
        assert_eq!(response.status, expected, "{settings}");
    }
    // Without an algorithm it is the auth token.
    let plain = Request::form("/status", CALL).signed().header(SETTINGS, "key=one");
    assert_eq!(server.ask(&plain).await.status, 200);
    let matches = server.metric("offhook_secret_matches_total");
    assert_eq!(matches, ["main,auth_token_1=1", "main,one=1", "main,two=2"]);
    server.stop().await;
}
