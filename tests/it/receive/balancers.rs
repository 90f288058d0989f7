//! Behind nginx and HAProxy with the files that are shipped: a callback arrives as it was signed, and gets its 200 as
//! long as one receiver can give it.

use std::net::SocketAddr;

use offhook::config::Role;
use offhook::lab::endpoint::{Answer, Endpoint};
use reqwest::{Certificate, StatusCode};

use crate::harness::{Callback, DEADLINE, Offhook, Testbed, fixture, install_cryptography, until};
use crate::services::{Balancer, Durability, needs, tool};

/// A client of a balancer.
struct Client(reqwest::Client);

impl Client {
    fn of(balancer: &Balancer) -> Self {
        install_cryptography();
        let pem = std::fs::read(balancer.authority()).expect("it was made");
        let authority = Certificate::from_pem(&pem).expect("it is one");
        let builder = reqwest::Client::builder().timeout(DEADLINE).no_proxy();
        Self(builder.tls_certs_only([authority]).build().expect("a good authority"))
    }

    async fn send(&self, base: &str, callback: &Callback) -> StatusCode {
        let url = format!("{base}{}", callback.target());
        let mut request = self.0.request(callback.method(), url).body(callback.body().to_vec());
        for (name, value) in callback.headers() {
            request = request.header(name, value);
        }
        request.send().await.expect("the balancer answers").status()
    }

    async fn get(&self, url: &str) -> StatusCode {
        self.0.get(url).send().await.expect("the balancer answers").status()
    }
}

/// Where an endpoint is.
fn address(endpoint: &Endpoint) -> SocketAddr {
    let url = reqwest::Url::parse(&endpoint.url()).expect("a URL");
    url.socket_addrs(|| None).expect("an address").remove(0)
}

/// What a proxy may be tempted to write in another way.
const ODD: &str =
    "a=%41%2f%2F&b=x+y%20z&c=(~)*%27&d=%C3%BC&e&f=&=g&a=2&url=https://h.example:443//x/../y?z";

async fn passes_a_request_as_it_was_sent(balancer: &Balancer, busy: &Endpoint, idle: &Endpoint) {
    let client = Client::of(balancer);
    let callback = Callback::form(fixture("call.form")).with_query(ODD);
    let large = Callback::form(format!("Body={}", "x".repeat(60 * 1024))).with_query(ODD);
    for base in balancer.bases() {
        for callback in [&callback, &large, &callback, &callback] {
            let before = idle.taken();
            assert_eq!(client.send(&base, callback).await, 200, "{base}");
            assert_eq!(idle.taken(), before + 1);
            let arrival = idle.arrivals().pop().expect("it arrived");
            let first = format!("POST /status?{ODD} HTTP/1.1\r\n");
            assert!(arrival.head.starts_with(&first), "{}", arrival.head);
            assert_eq!(arrival.body, callback.body());
            for (name, value) in callback.headers() {
                let header = format!("\r\n{name}: {value}\r\n");
                let lower = arrival.head.to_lowercase();
                assert!(lower.contains(&header.to_lowercase()), "no {name}: {}", arrival.head);
            }
        }
    }
    // Each receiver was asked first in its turn.
    let refused = busy.arrivals().iter().filter(|seen| seen.head.starts_with("POST")).count();
    assert!(refused >= 2, "{refused} callbacks were refused by the one and taken by the other");
    // The last word is the receivers'.
    idle.answer(Answer::FAILS);
    let [base, _] = balancer.bases();
    assert_eq!(client.send(&base, &callback).await, 503);
}

/// One that refuses everything, and one that takes everything.
async fn endpoints() -> (Endpoint, Endpoint) {
    let (busy, idle) = (Endpoint::start().await, Endpoint::start().await);
    let (busy, idle) = (busy.expect("a port is free"), idle.expect("a port is free"));
    busy.answer(Answer::FAILS);
    idle.answer(Answer::Status(200, std::time::Duration::ZERO));
    (busy, idle)
}

#[tokio::test]
async fn nginx_passes_a_request_as_it_was_sent_and_asks_the_next_receiver_at_a_503() {
    needs!(OpenSsl);
    let program = tool!("nginx");
    let (busy, idle) = endpoints().await;
    let balancer = Balancer::nginx(&program, [address(&busy), address(&idle)]);
    passes_a_request_as_it_was_sent(&balancer, &busy, &idle).await;
}

#[tokio::test]
async fn haproxy_passes_a_request_as_it_was_sent_and_asks_the_next_receiver_at_a_503() {
    needs!(OpenSsl);
    let program = tool!("haproxy");
    let (busy, idle) = endpoints().await;
    let balancer = Balancer::haproxy(&program, [address(&busy), address(&idle)], false);
    passes_a_request_as_it_was_sent(&balancer, &busy, &idle).await;
}

/// The first can make nothing durable any more, the second can.
struct Receivers {
    testbed: Testbed,
    full: Offhook,
    other: Offhook,
}

impl Receivers {
    async fn start() -> Self {
        let mut testbed = Testbed::scale_out(Durability::Unsynced);
        let settings = testbed.role(Role::Receiver);
        let full = Offhook::start(&settings.clone().set("OFFHOOK_SPOOL__MAX_BYTES", "2000"));
        let other = Offhook::start(&settings);
        testbed.redis().kill();
        until("the first has no room left", async || {
            let answer = full.client.send(&Callback::form(fixture("call.form"))).await;
            (answer.status() == 503).then_some(())
        })
        .await;
        Self { testbed, full, other }
    }

    fn addresses(&self) -> [SocketAddr; 2] {
        [self.full.client.inbound(), self.other.client.inbound()]
    }

    async fn get_every_callback_through(mut self, balancer: &Balancer) {
        let client = Client::of(balancer);
        let mut keys = Vec::new();
        for base in balancer.bases() {
            for number in 0..10 {
                let (callback, key) = Callback::call(keys.len());
                assert_eq!(client.send(&base, &callback).await, 200, "{number} to {base}");
                keys.push(key);
            }
            let fallback = Callback::form(fixture("voice_fallback.form")).to("/voice-fallback");
            assert_eq!(client.send(&base, &fallback).await, 200);
            // The deployment is healthy as long as one receiver is.
            until("the health route is passed on", async || {
                (client.get(&format!("{base}/healthz")).await == 200).then_some(())
            })
            .await;
        }
        // Connections to receivers stay open for the next request.
        let open = "offhook_connections";
        assert!(self.other.client.metric(open).await >= 1.0);
        self.testbed.redis().restart();
        let worker = Offhook::start(&self.testbed.role(Role::Worker));
        self.testbed.contents_with(&keys).await;
        drop(worker);
    }
}

#[tokio::test]
async fn behind_nginx_every_callback_gets_200_while_one_receiver_of_two_says_503() {
    needs!(Redis, Postgres, OpenSsl);
    let program = tool!("nginx");
    let receivers = Receivers::start().await;
    let balancer = Balancer::nginx(&program, receivers.addresses());
    receivers.get_every_callback_through(&balancer).await;
}

#[tokio::test]
async fn behind_haproxy_every_callback_gets_200_while_one_receiver_of_two_says_503() {
    needs!(Redis, Postgres, OpenSsl);
    let program = tool!("haproxy");
    let receivers = Receivers::start().await;
    let balancer = Balancer::haproxy(&program, receivers.addresses(), true);
    receivers.get_every_callback_through(&balancer).await;
}
