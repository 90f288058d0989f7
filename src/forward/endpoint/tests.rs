//! Against a server that gives the answers of a script.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::super::testing::change;
use super::*;
use crate::clock::Timestamp;
use crate::forward::{Beginning, Filter};
use crate::policy::PolicyInForce;
use crate::policy::testing::policy;

const SECRET: &str = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// A server that gives every request one answer. It ends with the test's runtime.
struct Server {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl Server {
    async fn with(answer: impl Into<Vec<u8>>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let address = listener.local_addr().expect("it listens");
        let connections = Arc::new(AtomicUsize::new(0));
        let (count, answer) = (Arc::clone(&connections), Arc::new(answer.into()));
        #[expect(clippy::disallowed_methods, reason = "it ends with the test's runtime")]
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(answer_all(stream, Arc::clone(&answer)));
            }
        });
        Self { address, connections }
    }

    fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }
}

/// Answers each request whose body ends as JSON of a change does; without an answer it closes.
async fn answer_all(mut stream: TcpStream, answer: Arc<Vec<u8>>) {
    let (mut read, mut buffer) = (Vec::new(), [0; 4096]);
    while let Ok(length @ 1..) = stream.read(&mut buffer).await {
        read.extend_from_slice(&buffer[..length]);
        if read.ends_with(b"}}") {
            read.clear();
            if answer.is_empty() || stream.write_all(&answer).await.is_err() {
                return;
            }
        }
    }
}

fn endpoint(url: &str, timeout: Duration) -> Endpoint {
    // As `main` does; one that is there already is the same.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let config = Config {
        name: "app".to_owned(),
        target: Target::parse(url).expect("it is a URL of HTTP"),
        form: Form::Standard(standard::Secrets::new(&[SECRET.into()]).expect("it is a secret")),
        filter: Filter {
            kinds: Vec::new(),
            statuses: Vec::new(),
            final_only: false,
            accounts: Vec::new(),
        },
        ca: None,
        timeout,
        in_flight: 4,
        max_waiting: 1,
        disable_after: Duration::MAX,
        max_age: Duration::MAX,
        from: Beginning::End,
        fingerprint: 0,
    };
    let clock = Clock::Fixed(Timestamp::from_micros(0));
    Endpoint::new(&config, PolicyInForce::new(policy(1)).inbound(), clock).expect("it can be made")
}

async fn deliver(url: &str, timeout: Duration) -> Delivery {
    endpoint(url, timeout).deliver(&change("completed"), None).await
}

const LONG: Duration = Duration::from_secs(60);

#[tokio::test]
async fn the_status_says_what_became_of_it() {
    let check = async |status: &str, expected: Delivery| {
        let more = "location: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n";
        let server = Server::with(format!("HTTP/1.1 {status} x\r\n{more}")).await;
        assert_eq!(deliver(&server.url(), LONG).await, expected, "{status}");
    };
    check("200", Delivery::Done).await;
    check("204", Delivery::Done).await;
    check("299", Delivery::Done).await;
    check("302", Delivery::Failed(Failure::Redirect)).await;
    check("400", Delivery::Failed(Failure::Client)).await;
    check("401", Delivery::Failed(Failure::Client)).await;
    check("410", Delivery::Gone).await;
    check("429", Delivery::Failed(Failure::Client)).await;
    check("500", Delivery::Failed(Failure::Server)).await;
    check("503", Delivery::Failed(Failure::Server)).await;
    check("999", Delivery::Failed(Failure::Server)).await;
}

#[tokio::test]
async fn what_goes_wrong_on_the_way_is_told_apart() {
    let closed = {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        listener.local_addr().expect("it listens")
    };
    let refused = deliver(&format!("http://{closed}/"), LONG).await;
    assert_eq!(refused, Delivery::Failed(Failure::Connect));
    let cut = Server::with("").await;
    assert_eq!(deliver(&cut.url(), LONG).await, Delivery::Failed(Failure::Broken));
    let no_http = Server::with("220 mail.example.com\r\n").await;
    assert_eq!(deliver(&no_http.url(), LONG).await, Delivery::Failed(Failure::Broken));
    let plain = Server::with(OK).await;
    let with_tls = plain.url().replace("http:", "https:");
    // The server waits for the end of a request that never comes, so it is the time-out that ends this one.
    let silent = deliver(&with_tls, Duration::from_millis(50)).await;
    assert_eq!(silent, Delivery::Failed(Failure::Timeout));
}

#[tokio::test]
async fn what_speaks_no_tls_is_told_from_what_does_not_answer() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
    let address = listener.local_addr().expect("it listens");
    let plain = async {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.expect("it is read");
        stream.read(&mut [0; 4096]).await
    };
    let url = format!("https://{address}/");
    let (delivery, _) = tokio::join!(deliver(&url, LONG), plain);
    assert_eq!(delivery, Delivery::Failed(Failure::Tls));
}

#[tokio::test]
async fn a_connection_is_used_again_unless_the_answer_is_endless() {
    let server = Server::with(OK).await;
    let endpoint = endpoint(&server.url(), LONG);
    for _ in 0..20 {
        assert_eq!(endpoint.deliver(&change("completed"), None).await, Delivery::Done);
    }
    assert_eq!(server.connections.load(Ordering::Relaxed), 1);

    // More than is read, and less than was announced: a client that waits for the rest waits for ever.
    let mut answer = b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n".to_vec();
    answer.resize(answer.len() + 2 * ANSWER, b'x');
    let chatty = Server::with(answer).await;
    assert_eq!(deliver(&chatty.url(), LONG).await, Delivery::Done);
}

#[tokio::test]
async fn a_callback_whose_event_is_gone_or_unsigned_is_not_sent() {
    let server = Server::with(OK).await;
    let mut endpoint = endpoint(&server.url(), LONG);
    endpoint.form = Form::Twilio(twilio::SignWith::SharedKey("key1".to_owned()));
    let gone = endpoint.deliver(&change("completed"), None).await;
    assert_eq!(gone, Delivery::Skipped(Unsendable::EventGone));
    let change = change("completed");
    let event = Event::new(change.key.clone(), change.kind, "AC1");
    let unsigned = endpoint.deliver(&change, Some(&event)).await;
    assert_eq!(unsigned, Delivery::Skipped(Unsendable::NoSecret));
    assert_eq!(server.connections.load(Ordering::Relaxed), 0);
}
