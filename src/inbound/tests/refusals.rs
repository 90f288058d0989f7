//! Each reason to refuse, with what is answered, counted and logged.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::instrument::WithSubscriber as _;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use super::request::{ACCOUNT, BASE, CALL, Request, TOKEN, token};
use super::server::{Behind, LONG, Server, Setup};
use crate::clock::Timestamp;
use crate::event::{Event, EventKey, Kind};
use crate::inbound::{HealthPath, PathPrefix, Refusal};
use crate::lab::test_client::Response;
use crate::pipeline::RecordError;
use crate::twilio::signature::body_hash;

const JSON: &str = r#"{"id":"EV1","type":"com.twilio.voice.status-callback.call.completed"}"#;
/// As long as one, and none.
const NO_SIGNATURE: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// The answer for a reason, whether or not the connection ends with it.
#[track_caller]
fn check(response: &Response, refusal: Refusal, status: u16, told: &str, closes: bool) {
    let what = refusal.as_str();
    assert_eq!(response.status, status, "{what}");
    assert_eq!(response.body, format!(r#"{{"error":"{told}"}}"#), "{what}");
    assert_eq!(response.header("content-type"), Some("application/json"), "{what}");
    assert_eq!(response.header("connection"), closes.then_some("close"), "{what}");
    assert_eq!(response.header("retry-after"), (status == 503).then_some("5"), "{what}");
    assert_eq!(response.header("allow"), (status == 405).then_some("get, post"), "{what}");
}

/// Whether it was counted, and nothing else.
#[track_caller]
fn check_counted(server: &Server, refusal: Refusal) {
    let counted = format!("{}=1", refusal.as_str());
    assert_eq!(server.metric("offhook_refusals_total"), [counted]);
    let requests = server.metric("offhook_requests_total");
    assert!(
        matches!(&requests[..], [one] if one.starts_with("refused,") && one.ends_with("=1")),
        "{requests:?}"
    );
}

async fn check_refused(request: Request, refusal: Refusal, status: u16, told: &str, closes: bool) {
    let server = Server::start().await;
    let response = server.ask(&request).await;
    check(&response, refusal, status, told, closes);
    check_counted(&server, refusal);
    assert_eq!(server.metric("offhook_secret_matches_total"), [""; 0]);
    assert_eq!(server.stored().await, [], "{}", refusal.as_str());
    server.stop().await;
}

fn call() -> Request {
    Request::form("/status", CALL)
}

#[tokio::test]
async fn what_cannot_be_twilios_is_refused_by_its_head() {
    use Refusal::*;
    let typed = |kind: &str| {
        let post = Request::get("/status").signed().bytes();
        let post = String::from_utf8(post).expect("ASCII").replace("GET", "POST");
        format!("{}Content-Type: {kind}\r\nContent-Length: 1\r\n\r\nx", &post[..post.len() - 2])
    };
    let server = Server::start().await;
    let mut client = server.client().await;
    client.send(typed("text/plain")).await;
    let response = client.response().await.expect("an answer");
    check(&response, UnsupportedContentType, 415, "unsupported_content_type", true);
    check_counted(&server, UnsupportedContentType);
    client.closed().await;
    server.stop().await;

    check_refused(call(), MissingSignature, 400, "missing_signature", true).await;
    for malformed in ["", "nonsense", NO_SIGNATURE, &format!("{NO_SIGNATURE}={NO_SIGNATURE}=")] {
        let request = call().header("X-Twilio-Signature", malformed);
        check_refused(request, MalformedSignature, 403, "forbidden", true).await;
    }
    let twice = call().signed().header("X-Twilio-Signature", &format!("{NO_SIGNATURE}="));
    check_refused(twice, MalformedSignature, 403, "forbidden", true).await;
    let unknown = call().signed().header("X-Twilio-Webhooks-Signature-Settings", "algorithm=MD5");
    check_refused(unknown, MalformedSignature, 403, "forbidden", true).await;

    for unknown in ["/", "/status/x", "/STATUS", "//status", "/status//", "/%73tatus", "/metrics"] {
        let unsigned = Request::form(unknown, CALL);
        check_refused(unsigned, UnknownRoute, 404, "unknown_route", true).await;
        let forged = Request::form(unknown, CALL).signed_with(&token("another"));
        check_refused(forged, UnknownRoute, 404, "unknown_route", true).await;
    }
    // Without a body nothing is left to read, and the connection goes on.
    check_refused(Request::get("/nowhere"), UnknownRoute, 404, "unknown_route", false).await;
    check_refused(Request::get("/status"), MissingSignature, 400, "missing_signature", false).await;
}

#[tokio::test]
async fn what_twilio_signed_to_no_route_is_told_from_a_scanner() {
    let to = |path: &str| format!("{BASE}{path}");
    // As asked; and of a public URL with a path, what a proxy takes off, or adds a second time.
    for (base, prefix, asked, signed) in [
        (BASE, "", "/STATUS", to("/STATUS")),
        (BASE, "", "//status", to("//status")),
        (BASE, "", "/status%2F", to("/status%2F")),
        (BASE, "", "/status?a=1", to("/Status?a=1")),
        (BASE, "/twilio", "/status", to("/twilio/status")),
        ("https://hooks.example.com/in", "", "/in/status", to("/in/status")),
    ] {
        let mut setup = Setup { public_url: base, ..Setup::default() };
        setup.config.path_prefix = PathPrefix::parse(prefix).expect("a prefix");
        let server = Server::start_with(setup).await;
        let request = Request::form(asked, CALL).signed_for(&signed, &token(TOKEN));
        let response = server.ask(&request).await;
        if asked == "/status?a=1" {
            assert_eq!(response.status, 403, "it is a route, and was signed to another");
        } else {
            let refusal = Refusal::SignedUnknownRoute;
            check(&response, refusal, 404, "unknown_route", false);
            check_counted(&server, refusal);
            let seen = server.until_refused(|_| true).await;
            assert_eq!(seen.reason, Refusal::SignedUnknownRoute);
            assert_eq!(seen.account.as_deref(), Some(ACCOUNT));
            assert!(seen.hint.contains("callbacks are being lost"), "{}", seen.hint);
        }
        server.stop().await;
    }
}

#[tokio::test]
async fn why_a_signature_is_wrong_is_found_out_after_the_answer() {
    let server = Server::start().await;
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(log.clone()).finish();
    let guard = tracing::subscriber::set_default(subscriber);
    let asked = async {
        // Another process forges, and names accounts that are not configured.
        for n in 0..50 {
            let forged = CALL.replace(ACCOUNT, &format!("AC{n}"));
            let forged = Request::form("/status", forged).signed_with(&token("another"));
            assert_eq!(server.ask(&forged).await.status, 403);
        }
        let other_scheme = call().signed_for("http://hooks.example.com/status", &token(TOKEN));
        assert_eq!(server.ask(&other_scheme).await.status, 403);
        server.until_refused(|refused| refused.explained).await
    };
    let seen = asked.with_current_subscriber().await;
    drop(guard);
    assert_eq!((seen.reason, seen.account.as_deref()), (Refusal::WrongSignature, Some(ACCOUNT)));
    assert!(seen.hint.contains("http or https"), "{}", seen.hint);
    assert!(seen.urls.iter().any(|url| url == "https://hooks.example.com/status"), "{seen:?}");
    let counted = server.refusals.counted();
    assert_eq!(
        (counted[&Refusal::UnknownAccount].times, counted[&Refusal::WrongSignature].times),
        (50, 1)
    );
    let log = String::from_utf8(log.0.lock().expect("no test panics here").clone()).expect("text");
    assert!(log.contains("cause=\"the signature matches with the other scheme"), "{log}");
    server.stop().await;
}

#[tokio::test]
async fn while_too_many_wait_to_be_explained_the_rest_is_remembered_without() {
    let server = Server::start_with(Setup { explaining: 0, ..Setup::default() }).await;
    let wrong = call().signed_with(&token("another"));
    assert_eq!(server.ask(&wrong).await.status, 403);
    let seen = server.until_refused(|_| true).await;
    assert_eq!((seen.explained, seen.urls.len()), (false, 1));
    assert_eq!(seen.account.as_deref(), Some(ACCOUNT), "it is known before the answer");
    server.stop().await;
}

#[tokio::test]
async fn a_slash_at_the_end_of_a_route_is_taken() {
    let server = Server::start().await;
    for route in ["status", "event-streams", "debugger", "voice-fallback", "sms-fallback"] {
        let body = CALL.replace("CA", &format!("CA{route}"));
        let request = Request::form(&format!("/{route}/"), body).signed();
        assert_eq!(server.ask(&request).await.status, 200, "{route}");
    }
    assert_eq!(server.metric("offhook_refusals_total"), [""; 0]);
    server.stop().await;
}

#[tokio::test]
async fn a_balancer_is_told_whether_a_callback_can_be_taken_and_is_no_refusal() {
    let server = Server::start().await;
    let ask = async |method: &str| {
        let mut client = server.client().await;
        client.send(format!("{method} /healthz HTTP/1.1\r\nHost: h\r\n\r\n")).await;
        client.response().await.expect("an answer")
    };
    assert_eq!(
        (ask("GET").await.status, ask("GET").await.body.as_str()),
        (503, "cannot make a callback durable\n")
    );
    server.health.set(true);
    assert_eq!((ask("GET").await.status, ask("GET").await.body.as_str()), (200, "ok\n"));
    assert_eq!(server.metric("offhook_refusals_total"), [""; 0]);
    assert_eq!(server.metric("offhook_requests_total"), [""; 0]);
    assert_eq!(ask("POST").await.status, 404, "no callback is lost there without a word");
    server.stopping.cancel();
    assert_eq!(ask("GET").await.body, "draining\n");
    server.stop().await;

    let mut setup = Setup::default();
    setup.config.health_path = HealthPath::default();
    let server = Server::start_with(setup).await;
    assert_eq!(server.ask(&Request::get("/healthz")).await.status, 404);
    server.stop().await;
}

#[tokio::test]
async fn what_twilio_did_not_sign_is_refused_by_its_signature() {
    use Refusal::*;
    let wrong = call().header("X-Twilio-Signature", &format!("{NO_SIGNATURE}="));
    check_refused(wrong, WrongSignature, 403, "forbidden", false).await;
    let rotated_out = call().signed_with(&token("an old token"));
    check_refused(rotated_out, WrongSignature, 403, "forbidden", false).await;
    let elsewhere = call().signed_for("https://hooks.example.com/debugger", &token(TOKEN));
    check_refused(elsewhere, WrongSignature, 403, "forbidden", false).await;
    let of_get = Request::get("/status?a=1").signed_for("https://h/status?a=2", &token(TOKEN));
    check_refused(of_get, WrongSignature, 403, "forbidden", false).await;

    let stranger = Request::form("/status", CALL.replace(ACCOUNT, "AC9")).signed();
    check_refused(stranger, UnknownAccount, 403, "forbidden", false).await;
    let stranger = Request::get("/status?AccountSid=AC9").signed();
    check_refused(stranger, UnknownAccount, 403, "forbidden", false).await;

    let without = Request::json_without_hash("/event-streams", JSON).signed();
    check_refused(without, MissingBodyHash, 403, "forbidden", false).await;
    let target = format!("/event-streams?bodySHA256={}", body_hash(b"another body"));
    let other = Request::json_without_hash(&target, JSON).signed();
    check_refused(other, WrongBodyHash, 403, "forbidden", false).await;
}

#[tokio::test]
async fn one_403_looks_like_every_other() {
    let server = Server::start().await;
    let target = format!("/status?bodySHA256={}", body_hash(b"another body"));
    let forbidden = [
        call().header("X-Twilio-Signature", &format!("{NO_SIGNATURE}=")),
        call().signed_with(&token("another")),
        Request::form("/status", CALL.replace(ACCOUNT, "AC9")).signed(),
        Request::json_without_hash("/status", JSON).signed(),
        Request::json_without_hash(&target, JSON).signed(),
    ];
    let mut seen = Vec::new();
    for request in &forbidden {
        let mut response = server.ask(request).await;
        let undated = response.head.lines().filter(|line| !line.starts_with("date:"));
        response.head = undated.collect();
        seen.push(response);
    }
    assert_eq!(seen[0].status, 403);
    assert!(seen.iter().all(|response| *response == seen[0]), "{seen:?}");
    server.stop().await;
}

/// Every request promises a body that it never sends: who reads before looking, hangs.
#[tokio::test]
async fn checks_come_in_order_and_the_cheapest_need_no_body() {
    let server = Server::start().await;
    let kind = "Content-Type: application/x-www-form-urlencoded\r\n";
    let huge = "Content-Length: 4000000000\r\n";
    let small = "Content-Length: 10\r\n";
    let malformed = "X-Twilio-Signature: nonsense\r\n";
    let heads = [
        ("PUT /nowhere", format!("Content-Type: text/plain\r\n{huge}"), Refusal::UnknownRoute),
        ("PUT /status", format!("Content-Type: text/plain\r\n{huge}"), Refusal::MethodNotAllowed),
        ("HEAD /status", huge.to_owned(), Refusal::MethodNotAllowed),
        ("OPTIONS /status", String::new(), Refusal::MethodNotAllowed),
        ("POST /status", huge.to_owned(), Refusal::UnsupportedContentType),
        ("POST /status", format!("{kind}{huge}{malformed}"), Refusal::BodyTooLarge),
        ("POST /status", format!("{kind}{small}"), Refusal::MissingSignature),
        ("POST /status", format!("{kind}{small}{malformed}"), Refusal::MalformedSignature),
    ];
    for (line, headers, refusal) in heads {
        let mut client = server.client().await;
        client.send(format!("{line} HTTP/1.1\r\nHost: h\r\n{headers}\r\n")).await;
        let what = format!("{line}: {}", refusal.as_str());
        // An answer to HEAD has the length of a body, and none.
        if line.starts_with("HEAD") {
            client.closed().await;
            continue;
        }
        let response = client.response().await.expect(&what);
        assert_eq!(response.status, refusal.status().as_u16(), "{what}");
        let closes = (!headers.is_empty()).then_some("close");
        assert_eq!(response.header("connection"), closes, "{what}");
        assert_ne!(server.metric("offhook_refusals_total"), [""; 0], "{what}");
    }
    let counted = server.metric("offhook_refusals_total");
    assert!(counted.contains(&"method_not_allowed=3".to_owned()), "{counted:?}");
    assert_eq!(server.stored().await, []);
    server.stop().await;
}

#[tokio::test]
async fn a_body_may_be_as_long_as_the_limit_and_no_longer() {
    let mut setup = Setup::default();
    setup.config.body_limit = 100;
    let server = Server::start_with(setup).await;
    let of = |length: usize| {
        Request::form("/status", format!("{:x<length$}", format!("AccountSid={ACCOUNT}&a=")))
    };
    assert_eq!(server.ask(&of(100).signed()).await.status, 200);
    let long = server.ask(&of(101).signed()).await;
    check(&long, Refusal::BodyTooLarge, 413, "body_too_large", true);

    // A chunked body does not say how long it is.
    let chunked = |length: usize| {
        let (whole, signed) = (of(length).signed().bytes(), of(length).signed());
        let body = String::from_utf8(whole[whole.len() - length..].to_vec()).expect("ASCII");
        let (first, second) = body.split_at(50);
        let head = signed.head();
        format!(
            "{head}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{first}\r\n{:x};x=y\r\n{second}\r\n\
             0\r\nX-Trailer: t\r\n\r\n",
            first.len(),
            second.len(),
        )
    };
    let mut client = server.client().await;
    client.send(chunked(100)).await;
    assert_eq!(client.response().await.map(|response| response.status), Some(200));
    client.send(chunked(101)).await;
    let long = client.response().await.expect("an answer");
    check(&long, Refusal::BodyTooLarge, 413, "body_too_large", true);
    client.closed().await;
    assert_eq!(server.metric("offhook_refusals_total"), ["body_too_large=2"]);
    server.stop().await;
}

#[tokio::test]
async fn a_body_that_does_not_come_is_waited_for_until_its_deadline() {
    let mut setup = Setup::default();
    setup.config.body_timeout = Duration::from_millis(100);
    let server = Server::start_with(setup).await;
    let mut client = server.client().await;
    let head = call().signed().head();
    let started = Instant::now();
    client.send(format!("{head}Content-Length: 10\r\n\r\nAccou")).await;
    let response = client.response().await.expect("an answer");
    assert!((100..LONG.as_millis()).contains(&started.elapsed().as_millis()));
    check(&response, Refusal::SlowBody, 408, "slow_body", true);
    check_counted(&server, Refusal::SlowBody);
    client.closed().await;
    server.stop().await;
}

#[tokio::test]
async fn a_body_with_broken_chunks_is_refused() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let head = call().signed().head();
    client.send(format!("{head}Transfer-Encoding: chunked\r\n\r\nzz\r\nxx\r\n0\r\n\r\n")).await;
    let response = client.response().await.expect("an answer");
    check(&response, Refusal::BrokenBody, 400, "broken_body", true);
    check_counted(&server, Refusal::BrokenBody);
    server.stop().await;
}

#[tokio::test]
async fn what_cannot_be_made_durable_is_refused_and_the_connection_goes_on() {
    for behind in [Behind::Nobody, Behind::BrokenStore] {
        let server = Server::start_behind(behind).await;
        let response = server.ask(&call().signed()).await;
        check(&response, Refusal::NotDurable, 503, "not_durable", false);
        check_counted(&server, Refusal::NotDurable);
        // The signature was good, so whose it was is known.
        let matches = server.metric("offhook_secret_matches_total");
        assert_eq!(matches, ["main,auth_token_1=1"]);
        server.stop().await;
    }
}

#[tokio::test]
async fn a_full_queue_is_refused_at_once() {
    let server = Server::start_behind(Behind::Stuck).await;
    fill(&server).await;
    let response = server.ask(&call().signed()).await;
    check(&response, Refusal::Overloaded, 503, "overloaded", false);
    check_counted(&server, Refusal::Overloaded);
    server.stop().await;
}

/// Records until no more may wait.
pub(super) async fn fill(server: &Server) {
    let event = Event {
        received_at: Timestamp::from_micros(1),
        body: CALL.into(),
        ..Event::new(EventKey::of(&["CA1", "ringing"]).expect("printable"), Kind::Call, ACCOUNT)
    };
    // Those that found a place wait there for ever; the first to return did not.
    let mut records = JoinSet::new();
    for _ in 0..10_000 {
        let (recorder, event) = (server.recorder().clone(), event.clone());
        records.spawn(async move { recorder.record(vec![event]).await.map(|_| ()) });
    }
    let refused = records.join_next().await.expect("one of them").expect("no panic");
    assert_eq!(refused, Err(RecordError::Overloaded));
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("no test panics here").extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'w> MakeWriter<'w> for Log {
    type Writer = Self;

    fn make_writer(&'w self) -> Self {
        self.clone()
    }
}

#[tokio::test]
async fn the_log_says_why_and_whose_and_nothing_of_what_was_sent() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new("offhook=trace"))
        .with_writer(log.clone())
        .finish();
    // Tasks of this test run on its own thread.
    let guard = tracing::subscriber::set_default(subscriber);
    let asked = async {
        let server = Server::start().await;
        let target = "/status?order=0rder";
        let signed = Request::form(target, CALL).signed();
        let forged = Request::form(target, CALL).signed_with(&token("another"));
        let stranger = Request::form(target, CALL.replace(ACCOUNT, "AC9stranger")).signed();
        for (request, status) in [(signed, 200), (forged, 403), (stranger, 403)] {
            assert_eq!(server.ask(&request).await.status, status);
        }
        server.stop().await;
    };
    asked.with_current_subscriber().await;
    drop(guard);
    let log = log.0.lock().expect("no test panics here").clone();
    let log = String::from_utf8(log).expect("text");
    for said in ["wrong_signature", "unknown_account", "accepted a request", ACCOUNT, "\"status\""]
    {
        assert!(log.contains(said), "`{said}` is not in: {log}");
    }
    let signature = Request::form("/status?order=0rder", CALL).signed().head();
    let signature = signature.lines().last().and_then(|line| line.split(": ").nth(1));
    let signature = signature.expect("the signature is the last header");
    for secret in ["15550100", "0rder", "CallSid", TOKEN, "AC9stranger", signature] {
        assert!(!log.contains(secret), "`{secret}` is in: {log}");
    }
}
