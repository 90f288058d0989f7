//! What clients do to their connections, and what becomes of their requests.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::Uri;
use axum::routing::any;
use prometheus::Registry;
use tokio::net::TcpListener;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::request::{CALL, Request};
use super::server::{Behind, LONG, Server, Setup, metric};
use crate::event::Route;
use crate::http::{Limits, serve};
use crate::inbound::record::RequestRecord;
use crate::inbound::{Inbound, answered};
use crate::lab::test_client::Client;
use crate::pipeline::batcher;

fn call(status: &str) -> Request {
    Request::form("/status", CALL.replace("ringing", status)).signed()
}

#[tokio::test]
async fn one_connection_carries_many_requests() {
    let server = Server::start().await;
    let mut client = server.client().await;
    for request in 0..100 {
        client.send(call(&format!("s-{request}")).bytes()).await;
        let response = client.response().await.expect("an answer");
        assert_eq!((response.status, response.header("connection")), (200, None));
        // A refusal in between changes nothing.
        let forged = Request::form("/status", CALL)
            .header("X-Twilio-Signature", "AAAAAAAAAAAAAAAAAAAAAAAAAAA=");
        client.send(forged.bytes()).await;
        let response = client.response().await.expect("an answer");
        assert_eq!((response.status, response.header("connection")), (403, None));
    }
    assert_eq!(server.stored().await.len(), 100);
    let requests = server.metric("offhook_requests_total");
    assert_eq!(requests, ["accepted,status=100", "refused,status=100"]);
    server.stop().await;
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order_until_one_cannot_be_read() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let unread = Request::form("/nowhere", CALL);
    let all = [call("a"), Request::get("/nowhere"), call("b"), unread, call("c")];
    client.send(all.iter().flat_map(Request::bytes).collect::<Vec<_>>()).await;
    let mut statuses = Vec::new();
    while let Some(response) = client.response().await {
        statuses.push(response.status);
    }
    assert_eq!(statuses, [200, 404, 200, 404]);
    assert_eq!(server.stored().await.len(), 2);
    server.stop().await;
}

#[tokio::test]
async fn the_body_of_a_get_is_passed_over_or_ends_the_connection() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let head = Request::get(&format!("/status?{CALL}")).signed().head();
    // What came with the head is gone with it; what fills more than a buffer is not waited for.
    for (length, connection) in [(4, None), (60_000, Some("close"))] {
        let body = "x".repeat(length);
        client.send(format!("{head}Content-Length: {length}\r\n\r\n{body}")).await;
        let response = client.response().await.expect("an answer");
        assert_eq!((response.status, response.header("connection")), (200, connection));
    }
    client.closed().await;
    assert_eq!(&server.stored().await[0].body[..], CALL.as_bytes());
    server.stop().await;
}

#[tokio::test]
async fn a_client_that_waits_to_be_asked_for_its_body_is_asked_after_the_checks() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let signed = call("ringing").header("Expect", "100-continue");
    let length = CALL.len();
    client.send(format!("{}Content-Length: {length}\r\n\r\n", signed.head())).await;
    assert_eq!(client.response().await.map(|response| response.status), Some(100));
    client.send(CALL).await;
    assert_eq!(client.response().await.map(|response| response.status), Some(200));

    let unsigned = Request::form("/status", CALL).header("Expect", "100-continue");
    client.send(format!("{}Content-Length: {length}\r\n\r\n", unsigned.head())).await;
    let response = client.response().await.expect("an answer");
    assert_eq!((response.status, response.header("connection")), (400, Some("close")));
    client.closed().await;
    server.stop().await;
}

#[tokio::test]
async fn odd_requests_are_refused_and_the_next_is_served() {
    let server = Server::start().await;
    let long = "x".repeat(60_000);
    let kind = "Content-Type: application/x-www-form-urlencoded";
    for (odd, expected) in [
        ("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(), 404),
        ("CONNECT h:443 HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(), 404),
        ("GET http://h HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(), 404),
        (format!("GET /status?{long} HTTP/1.1\r\nHost: h\r\n\r\n"), 431),
        ("GET /status HTTP/1.1\r\nHost: h\r\nX: a\r\n b\r\n\r\n".to_owned(), 400),
        ("GET /sta\0tus HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(), 400),
        (format!("POST /status HTTP/1.1\r\n{kind}\r\nContent-Length: -1\r\n\r\n"), 400),
        (
            format!(
                "POST /status HTTP/1.1\r\n{kind}\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"
            ),
            400,
        ),
        ("\x16\x03\x01\x02\x00\x01\r\n\r\n".to_owned(), 400),
    ] {
        let mut client = server.client().await;
        client.send(&odd).await;
        let response = client.response().await;
        assert_eq!(response.map(|response| response.status), Some(expected), "{odd:.60}");
    }
    let mut old = server.client().await;
    let request = String::from_utf8(call("ringing").bytes()).expect("ASCII");
    old.send(request.replace("HTTP/1.1", "HTTP/1.0")).await;
    assert_eq!(old.response().await.map(|response| response.status), Some(200));
    old.closed().await;
    server.stop().await;
}

#[tokio::test]
async fn a_client_that_sends_byte_by_byte_is_cut_and_counted() {
    let mut setup = Setup::default();
    setup.config.limits.header_timeout = Duration::from_millis(100);
    let server = Server::start_with(setup).await;
    let mut client = server.client().await;
    let (request, started) = (call("ringing").bytes(), Instant::now());
    for byte in request.chunks(1).cycle() {
        if !client.try_send(byte).await {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        assert!(started.elapsed() < LONG, "it may go on for ever");
    }
    assert_eq!(server.metric("offhook_connections_cut_total"), ["head=1"]);
    assert_eq!(server.metric("offhook_requests_total"), [""; 0]);
    server.stop().await;
}

#[tokio::test]
async fn a_verified_request_vouches_for_its_connection_and_a_forged_one_does_not() {
    let mut setup = Setup::default();
    setup.config.limits.max_connections = 2;
    let server = Server::start_with(setup).await;
    let (mut balancer, mut forger) = (server.client().await, server.client().await);
    balancer.send(call("a").bytes()).await;
    assert_eq!(balancer.response().await.map(|response| response.status), Some(200));
    let forged =
        Request::form("/status", CALL).header("X-Twilio-Signature", "AAAAAAAAAAAAAAAAAAAAAAAAAAA=");
    forger.send(forged.bytes()).await;
    assert_eq!(forger.response().await.map(|response| response.status), Some(403));
    let mut silent = Vec::new();
    for status in ["b", "c", "d"] {
        silent.push(server.client().await);
        // Twilio itself comes over a new connection.
        let mut twilio = server.client().await;
        twilio.send(call(status).bytes()).await;
        assert_eq!(twilio.response().await.map(|response| response.status), Some(200));
        balancer.send(call(&format!("{status}2")).bytes()).await;
        assert_eq!(balancer.response().await.map(|response| response.status), Some(200));
    }
    forger.closed().await;
    for connection in &mut silent {
        connection.closed().await;
    }
    server.until_metric("offhook_connections_cut_total", &["gave_way=4"]).await;
    assert_eq!(server.stored().await.len(), 7);
    server.stop().await;
}

/// A body that never ends costs its sender next to nothing.
#[tokio::test]
async fn bodies_that_do_not_end_take_no_more_memory_than_there_is_and_shut_nobody_out() {
    const BODY: usize = 60_000;
    let mut setup = Setup::default();
    setup.config.body_memory = 2 * BODY;
    let server = Server::start_with(setup).await;
    let mut slow = Vec::new();
    for _ in 0..6 {
        let forged = Request::form("/status", CALL)
            .header("X-Twilio-Signature", "AAAAAAAAAAAAAAAAAAAAAAAAAAA=");
        let mut client = server.client().await;
        let body = "x".repeat(BODY - 1);
        client.send(format!("{}Content-Length: {BODY}\r\n\r\n{body}", forged.head())).await;
        slow.push(client);
    }
    // In the order in which they came, as many as do not fit.
    for client in &mut slow[..4] {
        let response = client.response().await.expect("an answer");
        assert_eq!((response.status, response.header("connection")), (503, Some("close")));
    }
    assert_eq!(server.ask(&call("a")).await.status, 200);
    let refused = server.metric("offhook_refusals_total");
    assert!(refused == ["no_room=4"] || refused == ["no_room=5"], "{refused:?}");
    // What one that left had is free again.
    drop(slow);
    assert_eq!(server.ask(&call("b")).await.status, 200);
    server.stop().await;
}

#[tokio::test]
async fn a_body_has_no_more_chunks_than_a_proxy_would_send() {
    let server = Server::start().await;
    let form = |length: usize| format!("{CALL}&Body={}", "x".repeat(length));
    let chunked = |request: &Request, body: &str, size: usize| {
        let mut bytes = format!("{}Transfer-Encoding: chunked\r\n\r\n", request.head());
        for chunk in body.as_bytes().chunks(size) {
            let text = std::str::from_utf8(chunk).expect("ASCII");
            bytes.push_str(&format!("{:x}\r\n{text}\r\n", chunk.len()));
        }
        bytes + "0\r\n\r\n"
    };
    for (length, size, expected) in [(60_000, 64, 200), (2_000, 1, 400)] {
        let body = form(length);
        let request = Request::form("/status", body.as_str()).signed();
        let mut client = server.client().await;
        client.send(chunked(&request, &body, size)).await;
        let response = client.response().await.expect("an answer");
        assert_eq!(response.status, expected, "{length} {size}");
    }
    assert_eq!(server.metric("offhook_refusals_total"), ["broken_body=1"]);
    server.stop().await;
}

#[tokio::test]
async fn a_client_that_leaves_is_counted_as_having_left() {
    let server = Server::start_behind(Behind::Stuck).await;
    let mut client = server.client().await;
    client.send(call("ringing").bytes()).await;
    let waiting = async {
        while server.recorder().depth() == 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(LONG, waiting).await.expect("the request is recorded");
    drop(client);
    server.until_metric("offhook_requests_total", &["abandoned,status=1"]).await;
    assert_eq!(server.metric("offhook_refusals_total"), [""; 0]);
    server.stop().await;
}

#[tokio::test]
async fn a_request_is_cut_off_when_it_takes_too_long() {
    let mut setup = Setup { behind: Behind::Stuck, ..Setup::default() };
    setup.config.limits.request_timeout = Duration::from_millis(100);
    let server = Server::start_with(setup).await;
    let mut client = server.client().await;
    client.send(call("ringing").bytes()).await;
    assert_eq!(client.response().await, None);
    server.until_metric("offhook_requests_total", &["abandoned,status=1"]).await;
    assert_eq!(server.metric("offhook_connections_cut_total"), ["request=1"]);
    server.stop().await;
}

#[tokio::test]
async fn what_was_begun_is_answered_when_the_listener_stops() {
    let server = Server::start_behind(Behind::Stuck).await;
    let mut client = server.client().await;
    client.send(call("ringing").bytes()).await;
    let waiting = async {
        while server.recorder().depth() == 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(LONG, waiting).await.expect("the request is recorded");
    // Its queue goes away with it, so that nothing can make the event durable any more.
    let ((), response) = tokio::join!(server.stop(), client.response());
    assert_eq!(response.map(|response| response.status), Some(503));
    client.closed().await;
}

/// No handler is known to panic, so the test makes one that does.
#[tokio::test]
async fn a_handler_that_panics_answers_500_and_is_counted() {
    async fn broken(State(inbound): State<Arc<Inbound>>) -> axum::response::Response {
        let policy = inbound.policy.now();
        let broken = async {
            let _record =
                RequestRecord::begin(&inbound, &policy, Some(Route::Status), Uri::default());
            panic!("as a bug would");
        };
        answered(broken).await
    }
    let (registry, (recorder, _queue)) = (Registry::new(), batcher::channel());
    let router = Router::new()
        .route("/status", any(broken))
        .with_state(Arc::new(Setup::default().inbound(recorder, &registry)));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let stop = CancellationToken::new();
    let serving = serve(listener, router, Limits::default(), Arc::new(()), stop.clone());
    let asking = async {
        let mut client = Client::connect(address).await;
        client.send(call("ringing").bytes()).await;
        let response = client.response().await.expect("an answer");
        stop.cancel();
        response
    };
    let ((), response) = tokio::join!(serving, asking);
    assert_eq!((response.status, response.body.as_str()), (500, r#"{"error":"internal"}"#));
    assert_eq!(metric(&registry, "offhook_requests_total"), ["error,status=1"]);
}
