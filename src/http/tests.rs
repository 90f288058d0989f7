use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::StatusCode;
use axum::routing::{any, get};
use axum::{Extension, Router};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::{Caller, Cut, Limits, Observer, serve};
use crate::lab::test_client::Client;

const SHORT: Duration = Duration::from_millis(200);
const LONG: Duration = Duration::from_secs(30);
const GET: &str = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
const KNOWN: &str = "GET /known HTTP/1.1\r\nHost: h\r\n\r\n";
const BIG: usize = 64 * 1024 * 1024;

/// What the listener did.
struct ListenerCounts {
    open: Mutex<i64>,
    cuts: Mutex<Vec<Cut>>,
    saturated: Semaphore,
}

impl ListenerCounts {
    fn new() -> Self {
        Self { open: Mutex::default(), cuts: Mutex::default(), saturated: Semaphore::new(0) }
    }
}

impl Observer for ListenerCounts {
    fn opened(&self) {
        *self.open.lock().expect("no test panics here") += 1;
    }

    fn closed(&self) {
        *self.open.lock().expect("no test panics here") -= 1;
    }

    fn cut(&self, why: Cut) {
        self.cuts.lock().expect("no test panics here").push(why);
    }

    fn saturated(&self) {
        self.saturated.add_permits(1);
    }
}

struct Server {
    address: SocketAddr,
    seen: Arc<ListenerCounts>,
    /// Lets `/gate` answer.
    gate: Arc<Semaphore>,
    /// Says that `/gate` was asked.
    asked: Arc<Semaphore>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Server {
    async fn start(limits: Limits) -> Self {
        let (gate, asked) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
        let (opens, asks) = (Arc::clone(&gate), Arc::clone(&asked));
        let gated = move || async move {
            asks.add_permits(1);
            opens.acquire().await.expect("never closed").forget();
            "open"
        };
        let router = Router::new()
            .route("/", any(|| async { "hello" }))
            .route("/known", get(known))
            .route("/big", get(|| async { "x".repeat(BIG) }))
            .route("/length", any(|body: Body| async { length(body).await }))
            .route("/refuse", any(|| async { StatusCode::PAYLOAD_TOO_LARGE }))
            .route("/gate", get(gated));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let (seen, stop) = (Arc::new(ListenerCounts::new()), CancellationToken::new());
        #[expect(clippy::disallowed_methods, reason = "`stop` waits for it")]
        let task = tokio::spawn(serve(listener, router, limits, Arc::clone(&seen), stop.clone()));
        Self { address, seen, gate, asked, stop, task }
    }

    async fn client(&self) -> Client {
        Client::connect(self.address).await
    }

    /// Stops it, and says what it cut; nothing may be left open.
    async fn stop(self) -> Vec<Cut> {
        self.stop.cancel();
        timeout(LONG, self.task).await.expect("it stops").expect("it does not panic");
        assert_eq!(*self.seen.open.lock().expect("no test panics here"), 0);
        self.seen.cuts.lock().expect("no test panics here").clone()
    }
}

/// As for a request that was verified.
async fn known(Extension(caller): Extension<Caller>) -> &'static str {
    caller.vouch();
    "known"
}

async fn length(body: Body) -> String {
    to_bytes(body, usize::MAX).await.map_or("broken".into(), |bytes| bytes.len().to_string())
}

fn limits() -> Limits {
    Limits { header_timeout: LONG, idle_timeout: LONG, request_timeout: LONG, ..Limits::default() }
}

#[tokio::test]
async fn a_client_that_sends_its_head_byte_by_byte_is_closed() {
    let server = Server::start(Limits { header_timeout: SHORT, ..limits() }).await;
    let mut client = server.client().await;
    // The second request of a connection is watched like the first.
    client.send(GET).await;
    assert_eq!(client.response().await.map(|response| response.status), Some(200));
    let started = Instant::now();
    let mut sent = 0;
    while client.try_send(b"G").await {
        sent += 1;
        tokio::time::sleep(SHORT / 10).await;
        assert!(started.elapsed() < LONG, "still open after {sent} bytes");
    }
    assert!(started.elapsed() >= SHORT);
    assert_eq!(server.stop().await, [Cut::Head]);
}

#[tokio::test]
async fn an_idle_connection_outlives_the_header_timeout_and_ends_at_its_own() {
    let times = Limits { header_timeout: SHORT, idle_timeout: 4 * SHORT, ..limits() };
    let server = Server::start(times).await;
    let mut used = server.client().await;
    let started = Instant::now();
    used.send(GET).await;
    assert_eq!(used.response().await.map(|response| response.body), Some("hello".into()));
    used.closed().await;
    assert!(started.elapsed() >= times.idle_timeout, "{:?}", started.elapsed());
    assert_eq!(server.stop().await, [Cut::Idle]);
}

#[tokio::test]
async fn a_connection_that_never_asks_has_no_longer_than_a_head() {
    let server = Server::start(Limits { header_timeout: SHORT, ..limits() }).await;
    let mut silent = server.client().await;
    let started = Instant::now();
    silent.closed().await;
    assert!(started.elapsed() < limits().idle_timeout, "{:?}", started.elapsed());
    assert_eq!(server.stop().await, [Cut::Silent]);
}

#[tokio::test]
async fn a_client_that_never_reads_its_answer_is_closed() {
    let server = Server::start(Limits { request_timeout: SHORT, ..limits() }).await;
    let mut client = server.client().await;
    client.send("GET /big HTTP/1.1\r\nHost: h\r\n\r\n").await;
    let cut = async {
        while server.seen.cuts.lock().expect("no test panics here").is_empty() {
            tokio::time::sleep(SHORT / 10).await;
        }
    };
    timeout(LONG, cut).await.expect("it is cut");
    assert_eq!(server.stop().await, [Cut::Request]);
}

#[tokio::test]
async fn a_client_that_pipelines_and_never_reads_is_closed() {
    let server = Server::start(Limits { request_timeout: SHORT, ..limits() }).await;
    let mut client = server.client().await;
    let requests = GET.repeat(1000);
    let started = Instant::now();
    while client.try_send(requests.as_bytes()).await {
        assert!(started.elapsed() < LONG, "still open");
    }
    assert_eq!(server.stop().await, [Cut::Request]);
}

#[tokio::test]
async fn a_body_that_does_not_come_ends_with_the_request() {
    let server = Server::start(Limits { request_timeout: SHORT, ..limits() }).await;
    let mut client = server.client().await;
    client.send("POST /length HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nx").await;
    client.closed().await;
    assert_eq!(server.stop().await, [Cut::Request]);
}

#[tokio::test]
async fn at_the_cap_the_next_connection_waits_while_all_are_vouched_for() {
    let server = Server::start(Limits { max_connections: 1, ..limits() }).await;
    let mut first = server.client().await;
    first.send(KNOWN).await;
    assert!(first.response().await.is_some());
    let mut second = server.client().await;
    second.send(GET).await;
    let saturated = timeout(LONG, server.seen.saturated.acquire()).await;
    saturated.expect("it is noticed").expect("never closed").forget();
    assert_eq!(*server.seen.open.lock().expect("no test panics here"), 1);
    drop(first);
    assert_eq!(second.response().await.map(|response| response.status), Some(200));
    assert_eq!(server.stop().await, []);
}

/// What one machine can do without sending a byte: take every place, and take them again.
#[tokio::test]
async fn silent_connections_shut_out_neither_a_newcomer_nor_a_balancer() {
    const PLACES: usize = 20;
    let server = Server::start(Limits { max_connections: PLACES, ..limits() }).await;
    let mut balancer = server.client().await;
    balancer.send(KNOWN).await;
    assert!(balancer.response().await.is_some());
    let mut silent = Vec::new();
    for _ in 0..3 * PLACES {
        silent.push(server.client().await);
        let mut newcomer = server.client().await;
        newcomer.send(GET).await;
        assert_eq!(newcomer.response().await.map(|response| response.status), Some(200));
    }
    // Half a head or half a body is not a request, either.
    let halves = ["GET / HTT", "POST /length HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nx"];
    for n in 0..2 * PLACES {
        let mut half = server.client().await;
        half.send(halves[n % 2]).await;
        silent.push(half);
    }
    let mut newcomer = server.client().await;
    newcomer.send(GET).await;
    assert_eq!(newcomer.response().await.map(|response| response.status), Some(200));
    balancer.send(GET).await;
    assert_eq!(balancer.response().await.map(|response| response.body), Some("hello".into()));
    // The oldest went first.
    silent[0].closed().await;
    drop((silent, newcomer, balancer));
    let cuts = server.stop().await;
    assert!(cuts.len() >= 3 * PLACES && cuts.iter().all(|cut| *cut == Cut::GaveWay), "{cuts:?}");
}

#[tokio::test]
async fn an_address_has_no_more_connections_than_it_may() {
    let server = Server::start(Limits { max_connections_per_address: 2, ..limits() }).await;
    let (mut one, mut two) = (server.client().await, server.client().await);
    for client in [&mut one, &mut two] {
        client.send(GET).await;
        assert!(client.response().await.is_some());
    }
    server.client().await.closed().await;
    drop(one);
    let mut again = None;
    let started = Instant::now();
    while again.is_none() {
        assert!(started.elapsed() < LONG, "the place of the one that left is not free");
        let mut client = server.client().await;
        if client.try_send(GET.as_bytes()).await {
            again = client.response().await;
        }
    }
    assert_eq!(again.map(|response| response.status), Some(200));
    drop(two);
    assert!(server.stop().await.iter().all(|cut| *cut == Cut::Address));
}

#[tokio::test]
async fn stopping_answers_what_was_begun_and_closes_what_is_idle() {
    let server = Server::start(limits()).await;
    let (mut busy, mut idle, mut unused) =
        (server.client().await, server.client().await, server.client().await);
    idle.send(GET).await;
    assert!(idle.response().await.is_some());
    busy.send("GET /gate HTTP/1.1\r\nHost: h\r\n\r\n").await;
    server.asked.acquire().await.expect("never closed").forget();

    server.stop.cancel();
    tokio::join!(idle.closed(), unused.closed());
    server.gate.add_permits(1);
    let response = busy.response().await.expect("an answer");
    assert_eq!((response.status, response.body.as_str()), (200, "open"));
    assert_eq!(response.header("connection"), Some("close"));
    busy.closed().await;
    assert_eq!(server.stop().await, []);
}

#[tokio::test]
async fn what_does_not_end_in_time_is_cut_when_stopping() {
    let server = Server::start(Limits { drain_timeout: SHORT, ..limits() }).await;
    let mut client = server.client().await;
    client.send("GET /gate HTTP/1.1\r\nHost: h\r\n\r\n").await;
    server.asked.acquire().await.expect("never closed").forget();
    let started = Instant::now();
    assert_eq!(server.stop().await, [Cut::Drain]);
    assert!(started.elapsed() >= SHORT && started.elapsed() < LONG);
    client.closed().await;
}

#[tokio::test]
async fn an_answer_arrives_though_the_body_was_not_read() {
    let server = Server::start(limits()).await;
    let mut client = server.client().await;
    client.send("POST /refuse HTTP/1.1\r\nHost: h\r\nContent-Length: 4000000\r\n\r\n").await;
    // Many a client stops at an error of writing, and never comes to read the answer.
    client.send(vec![b'x'; 4_000_000]).await;
    assert_eq!(client.response().await.map(|response| response.status), Some(413));
    drop(client);
    assert_eq!(server.stop().await, []);
}

#[tokio::test]
async fn heads_are_bounded_and_pipelines_are_answered_in_order() {
    let server = Server::start(limits()).await;
    let mut client = server.client().await;
    let post = |body: &str| {
        let length = body.len();
        format!("POST /length HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n{body}")
    };
    client.send([GET, &post("abc"), &post("abcdef"), GET].concat()).await;
    for expected in ["hello", "3", "6", "hello"] {
        assert_eq!(client.response().await.expect("an answer").body, expected);
    }
    let padding = "x".repeat(limits().max_header_bytes);
    client.send(format!("GET / HTTP/1.1\r\nHost: h\r\nX-Pad: {padding}\r\n\r\n")).await;
    assert_eq!(client.response().await.map(|response| response.status), Some(431));
    client.closed().await;

    let mut old = server.client().await;
    old.send("GET / HTTP/1.0\r\n\r\n").await;
    let response = old.response().await.expect("an answer");
    assert!(response.head.starts_with("http/1.0 200"), "{}", response.head);
    old.closed().await;
    drop(old);
    assert_eq!(server.stop().await, [Cut::Unreadable]);
}
