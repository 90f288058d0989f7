//! The document that describes the API, held against what is answered.

use std::collections::BTreeSet;

use jsonschema::Validator;
use serde_json::{Value, json};

use super::ROUTES;
use crate::admin::tests::{Server, event};
use crate::lab::test_client::Client;

fn document() -> Value {
    serde_json::from_str(include_str!("openapi.json")).expect("JSON")
}

/// Of an answer of this route.
fn validator(path: &str, method: &str, status: &str, content: &str) -> Validator {
    let document = document();
    let operation = &document["paths"][path][method];
    let mut response = &operation["responses"][status];
    if let Some(reference) = response["$ref"].as_str() {
        let pointer = reference.strip_prefix('#').expect("a reference into the document");
        response = document.pointer(pointer).expect("it is there");
    }
    let schema = &response["content"][content]["schema"];
    assert!(schema.is_object(), "{method} {path} {status} {content}");
    let mut root = schema.clone();
    root["components"] = document["components"].clone();
    jsonschema::draft202012::new(&root).expect("a schema")
}

#[track_caller]
fn check(validator: &Validator, answer: &Value) {
    let errors: Vec<String> =
        validator.iter_errors(answer).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{errors:?}: {answer}");
}

/// A call, a message that failed, and what has no status.
async fn server() -> Server {
    let server = Server::start().await;
    let failed = "MessageSid=SM1&ErrorCode=30003&To=%2B15550100&a=1&a=2";
    server.store(&[event("CA1", "ringing", 1, ""), event("CA1", "busy", 2, failed)]).await;
    let mut other = event("CA2", "amd", 3, "x=1");
    (other.resource, other.kind) = (None, crate::event::Kind::Amd);
    server.store(&[other]).await;
    // Of one SID, by two accounts.
    let mut theirs = event("CA7", "busy", 4, "");
    theirs.account = "AC2".to_owned();
    server.store(&[event("CA7", "busy", 4, ""), theirs]).await;
    server
}

#[test]
fn every_route_is_described_and_nothing_else() {
    let document = document();
    let described: BTreeSet<&str> =
        document["paths"].as_object().expect("an object").keys().map(String::as_str).collect();
    let routes: BTreeSet<&str> = ROUTES.iter().map(|(path, _)| *path).collect();
    assert_eq!(described, routes);
}

#[tokio::test]
async fn every_route_takes_the_methods_that_are_described() {
    let server = server().await;
    for (path, operations) in document()["paths"].as_object().expect("an object") {
        let target = path.replace("{sid}", "CA1").replace("{id}", "1-0");
        for method in ["get", "post", "put", "delete"] {
            let mut client = Client::connect(server.address).await;
            let method_name = method.to_uppercase();
            let request = format!("{method_name} {target} HTTP/1.1\r\nHost: localhost\r\n\r\n");
            client.send(request).await;
            let head = client.head().await;
            let described = operations.get(method).is_some();
            assert_eq!(head.starts_with("HTTP/1.1 405 "), !described, "{method} {path}");
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn answers_are_as_described() {
    let server = server().await;
    for (path, target) in [
        ("/api/openapi.json", "/api/openapi.json"),
        ("/api/statuses", "/api/statuses"),
        ("/api/statuses", "/api/statuses?limit=1"),
        ("/api/statuses/{sid}", "/api/statuses/CA1"),
        ("/api/timeline/{sid}", "/api/timeline/CA1"),
        ("/api/timeline/{sid}", "/api/timeline/CA2"),
        ("/api/events", "/api/events"),
        ("/api/events", "/api/events?limit=1&kind=call"),
        ("/api/stats", "/api/stats?since=2026-11-24T08:00:00Z"),
        ("/api/stats", "/api/stats?since=1970-01-01T00:00:00Z"),
        ("/api/verdict", "/api/verdict"),
        ("/api/refusals", "/api/refusals"),
        ("/api/dead-letters", "/api/dead-letters"),
    ] {
        check(&validator(path, "get", "200", "application/json"), &server.json(target).await);
    }
    server.stop().await;
}

#[tokio::test]
async fn problems_are_as_described() {
    let server = server().await;
    for (path, target, status) in [
        ("/api/statuses", "/api/statuses?kind=x", 400),
        ("/api/statuses/{sid}", "/api/statuses/CA9", 404),
        ("/api/timeline/{sid}", "/api/timeline/CA9", 404),
        ("/api/statuses/{sid}", "/api/statuses/CA7", 409),
        ("/api/timeline/{sid}", "/api/timeline/CA7", 409),
        ("/api/dead-letters/{id}", "/api/dead-letters/1-0", 404),
        ("/api/live", "/api/live?kind=x", 400),
    ] {
        let response = server.get(target).await;
        assert_eq!(response.status, status, "{target}");
        let problem = serde_json::from_str(&response.body).expect("JSON");
        check(&validator(path, "get", "default", "application/problem+json"), &problem);
    }
    server.stop().await;
}

#[tokio::test]
async fn what_changes_something_takes_json_only() {
    let server = server().await;
    let post = async |target: &str, kind: &str, body: &str| {
        let mut client = Client::connect(server.address).await;
        let length = body.len();
        let head = format!("POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\n");
        client.send(format!("{head}Content-Length: {length}\r\n\r\n{body}")).await;
        client.response().await.expect("an answer")
    };
    let ids = r#"{"ids":["1-0"],"dry_run":true}"#;
    let settled = post("/api/dead-letters/replay", "application/json", ids).await;
    let answer: Value = serde_json::from_str(&settled.body).expect("JSON");
    check(&validator("/api/dead-letters/replay", "post", "200", "application/json"), &answer);
    assert_eq!(answer, json!({ "done": [], "missing": ["1-0"], "dry_run": true }));
    let sid = r#"{"sid":"CA1","dry_run":true}"#;
    let purged = post("/api/purge", "application/json", sid).await;
    let answer: Value = serde_json::from_str(&purged.body).expect("JSON");
    check(&validator("/api/purge", "post", "200", "application/json"), &answer);
    assert_eq!((&answer["events"], &answer["statuses"]), (&json!(2), &json!(1)));
    for (target, kind, body, status) in [
        ("/api/purge", "text/plain", sid, 415),
        ("/api/purge", "application/json", "{}", 400),
        ("/api/purge", "application/json", r#"{"sids":[]}"#, 422),
        ("/api/dead-letters/replay", "text/plain", ids, 415),
        ("/api/dead-letters/replay", "application/x-www-form-urlencoded", "ids=1-0", 415),
        ("/api/dead-letters/replay", "application/json", "{", 400),
        ("/api/dead-letters/replay", "application/json", "{}", 422),
    ] {
        let response = post(target, kind, body).await;
        assert_eq!(response.status, status, "{target} {kind}: {}", response.body);
        assert_eq!(response.header("content-type"), Some("application/problem+json"));
    }
    server.stop().await;
}

/// The stream is read as it comes, so by hand.
#[tokio::test]
async fn what_is_stored_while_somebody_watches_is_shown_at_once() {
    let server = server().await;
    let mut stream = tokio::net::TcpStream::connect(server.address).await.expect("it listens");
    let request = "GET /api/live?kind=call&status=busy HTTP/1.1\r\nHost: localhost\r\n\r\n";
    tokio::io::AsyncWriteExt::write_all(&mut stream, request.as_bytes()).await.expect("it reads");
    let mut seen = String::new();
    let mut read_until = async |what: &str| {
        while !seen.contains(what) {
            let mut bytes = [0; 1024];
            let read = tokio::io::AsyncReadExt::read(&mut stream, &mut bytes);
            let read = tokio::time::timeout(std::time::Duration::from_secs(20), read).await;
            let length = read.expect("in time").expect("it goes on");
            assert!(length > 0, "it ended: {seen}");
            seen.push_str(&String::from_utf8_lossy(&bytes[..length]));
        }
        seen.clone()
    };
    read_until(": watching").await;
    server.store(&[event("CA8", "ringing", 4, ""), event("CA8", "busy", 5, "ErrorCode=1")]).await;
    let seen = read_until("CA8-busy").await;
    assert!(seen.contains("content-type: text/event-stream"), "{seen}");
    assert!(!seen.contains("CA8-ringing"), "{seen}");
    let data = seen.lines().find_map(|line| line.strip_prefix("data: ")).expect("a line of data");
    let line: Value = serde_json::from_str(data).expect("JSON");
    check(&validator("/api/live", "get", "200", "text/event-stream"), &line);
    assert_eq!((&line["duplicate"], &line["error_code"]), (&json!(false), &json!("1")));
    // A process that stops ends it.
    server.stopping.cancel();
    server.stop().await;
}
