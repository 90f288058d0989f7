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
    server.forward().await;
    server
}

/// What the sending half answers itself, with tokens of its own.
fn is_of_sending(operations: &Value) -> bool {
    let all = operations.as_object().expect("an object").values();
    all.into_iter().all(|operation| operation["tags"][0] == "sending")
}

#[test]
fn every_route_is_described_and_nothing_else() {
    let document = document();
    let described = document["paths"].as_object().expect("an object");
    let described = described.iter().filter(|(_, it)| !is_of_sending(it));
    let described: BTreeSet<&str> = described.map(|(path, _)| path.as_str()).collect();
    let routes: BTreeSet<&str> = ROUTES.iter().map(|(path, _)| *path).collect();
    assert_eq!(described, routes);
}

#[tokio::test]
async fn every_route_takes_the_methods_that_are_described() {
    let server = server().await;
    let document = document();
    let all = document["paths"].as_object().expect("an object");
    for (path, operations) in all.iter().filter(|(_, it)| !is_of_sending(it)) {
        let target = path.replace("{sid}", "CA1").replace("{id}", "1-0").replace("{name}", "app");
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
        ("/api/changes", "/api/changes"),
        ("/api/changes", "/api/changes?limit=1&kind=call&final=true"),
        ("/api/changes", "/api/changes?after=now"),
        ("/api/stats", "/api/stats?since=2026-11-24T08:00:00Z"),
        ("/api/stats", "/api/stats?since=1970-01-01T00:00:00Z"),
        ("/api/verdict", "/api/verdict"),
        ("/api/refusals", "/api/refusals"),
        ("/api/dead-letters", "/api/dead-letters"),
        ("/api/forwards", "/api/forwards"),
        ("/api/forwards/{name}/waiting", "/api/forwards/app/waiting"),
        ("/api/forwards/{name}/given-up", "/api/forwards/app/given-up"),
        ("/api/forwards/{name}/given-up", "/api/forwards/app/given-up?limit=1"),
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
        ("/api/forwards/{name}/waiting", "/api/forwards/nobody/waiting", 404),
        ("/api/forwards/{name}/given-up", "/api/forwards/app/given-up?limit=x", 400),
        ("/api/live", "/api/live?kind=x", 400),
        ("/api/changes", "/api/changes?after=x", 400),
        ("/api/changes", "/api/changes?after=0123456789abcdef.1", 410),
        ("/api/changes/events", "/api/changes/events?after=x", 400),
        ("/api/changes/events", "/api/changes/events?wait=1", 400),
        ("/api/changes/events", "/api/changes/events?after=0123456789abcdef.1", 410),
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
    for (path, body, done) in [
        ("replay", r#"{"sid":"CA2"}"#, 0),
        ("replay", r#"{"sid":"CA1"}"#, 1),
        ("replay", r#"{"all":true}"#, 0),
        ("replay", r#"{"since":"2h"}"#, 0),
        ("enable", "{}", 0),
        ("disable", "{}", 1),
        ("disable", "{}", 0),
        ("enable", "{}", 1),
    ] {
        let answered = post(&format!("/api/forwards/app/{path}"), "application/json", body).await;
        let answer: Value = serde_json::from_str(&answered.body).expect("JSON");
        let path = format!("/api/forwards/{{name}}/{path}");
        check(&validator(&path, "post", "200", "application/json"), &answer);
        assert_eq!(answer, json!({ "done": done }), "{path} {body}");
    }
    for (target, kind, body, status) in [
        ("/api/forwards/app/replay", "application/json", "{}", 400),
        ("/api/forwards/app/replay", "application/json", r#"{"all":true,"sid":"CA1"}"#, 400),
        ("/api/forwards/app/replay", "application/json", r#"{"since":"x"}"#, 400),
        ("/api/forwards/app/enable", "text/plain", "{}", 415),
        ("/api/forwards/app/disable", "application/json", r#"{"name":"x"}"#, 422),
        ("/api/forwards/nobody/enable", "application/json", "{}", 404),
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

/// What a stream has sent up to the end of this text.
async fn read_until(stream: &mut tokio::net::TcpStream, seen: &mut String, what: &str) {
    while !seen.contains(what) {
        let mut bytes = [0; 1024];
        let read = tokio::io::AsyncReadExt::read(stream, &mut bytes);
        let read = tokio::time::timeout(std::time::Duration::from_secs(20), read).await;
        let length = read.expect("in time").expect("it goes on");
        assert!(length > 0, "it ended: {seen}");
        seen.push_str(&String::from_utf8_lossy(&bytes[..length]));
    }
}

/// A stream is read as it comes, so by hand.
async fn watch(server: &Server, target: &str, headers: &str) -> tokio::net::TcpStream {
    let mut stream = tokio::net::TcpStream::connect(server.address).await.expect("it listens");
    let request = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n");
    tokio::io::AsyncWriteExt::write_all(&mut stream, request.as_bytes()).await.expect("it reads");
    stream
}

#[tokio::test]
async fn what_is_stored_while_somebody_watches_is_shown_at_once() {
    let server = server().await;
    let mut stream = watch(&server, "/api/live?kind=call&status=busy", "").await;
    let mut seen = String::new();
    read_until(&mut stream, &mut seen, ": watching").await;
    server.store(&[event("CA8", "ringing", 4, ""), event("CA8", "busy", 5, "ErrorCode=1")]).await;
    read_until(&mut stream, &mut seen, "CA8-busy").await;
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

/// The cursors of a page, and `next`.
fn cursors(page: &Value) -> (Vec<String>, String) {
    let changes = page["changes"].as_array().expect("a list").iter();
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    (changes.map(|change| text(&change["cursor"])).collect(), text(&page["next"]))
}

#[tokio::test]
async fn the_feed_is_read_page_by_page_and_a_filter_moves_the_cursor_on() {
    let server = server().await;
    let all = server.json("/api/changes").await;
    let (all_cursors, end) = cursors(&all);
    assert_eq!((all_cursors.len(), all_cursors.last()), (5, Some(&end)));
    let busy = &all["changes"][1];
    assert_eq!((&busy["previous"], &busy["current"]), (&json!("ringing"), &json!("busy")));
    assert_eq!((&busy["moved"], &busy["final"]), (&json!(true), &json!(true)));
    assert_eq!(busy["error_code"], "30003");

    let (mut paged, mut after) = (Vec::new(), None);
    loop {
        let after_that = after.map(|after| format!("&after={after}")).unwrap_or_default();
        let (page, next) =
            cursors(&server.json(&format!("/api/changes?limit=2{after_that}")).await);
        if page.is_empty() {
            break;
        }
        paged.extend(page);
        after = Some(next);
    }
    assert_eq!(paged, all_cursors);

    let (amd, next) = cursors(&server.json("/api/changes?kind=amd&limit=1").await);
    assert_eq!((amd, next), (vec![all_cursors[2].clone()], all_cursors[2].clone()));
    let (none, next) = cursors(&server.json("/api/changes?account=AC9").await);
    assert_eq!((none.len(), next), (0, end.clone()));
    for (filter, count) in [
        ("final=false", 2),
        ("moved=true", 4),
        ("status=ringing", 1),
        ("account=AC2", 1),
        ("resource=call", 4),
    ] {
        let (found, _) = cursors(&server.json(&format!("/api/changes?{filter}")).await);
        assert_eq!(found.len(), count, "{filter}");
    }
    assert_eq!(cursors(&server.json("/api/changes?after=now").await), (vec![], end));
    server.stop().await;
}

#[tokio::test]
async fn a_page_is_waited_for_until_something_of_it_is_stored_or_the_process_stops() {
    let server = server().await;
    let stores = async {
        server.feed_watch.awaited().await;
        server.store(&[event("CA8", "ringing", 6, ""), event("CA8", "failed", 7, "")]).await;
    };
    let end = server.json("/api/changes?after=now").await;
    let (_, end) = cursors(&end);
    let target = format!("/api/changes?after={end}&status=failed&wait=30");
    let (page, ()) = tokio::join!(server.json(&target), stores);
    assert_eq!(page["changes"][0]["key"], "CA8-failed");
    let target = "/api/changes?after=now&wait=30";
    let stops = async {
        server.feed_watch.awaited().await;
        server.stopping.cancel();
    };
    let (page, ()) = tokio::join!(server.json(target), stops);
    assert_eq!(cursors(&page).0.len(), 0);
    server.stop().await;
}

#[tokio::test]
async fn the_feed_is_watched_from_a_cursor_on_and_ends_when_the_process_stops() {
    let server = server().await;
    let (all, end) = cursors(&server.json("/api/changes").await);
    // A browser asks for the URL that it was given, and says how far it came.
    let last = format!("Last-Event-ID: {}\r\n", all[2]);
    let target = format!("/api/changes/events?after={}&account=AC2", all[0]);
    let mut stream = watch(&server, &target, &last).await;
    let mut seen = String::new();
    read_until(&mut stream, &mut seen, "CA7-busy").await;
    read_until(&mut stream, &mut seen, "\n\n").await;
    assert!(seen.contains("content-type: text/event-stream"), "{seen}");
    let data: Vec<&str> = seen.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
    let change: Value = serde_json::from_str(data[0]).expect("JSON");
    check(&validator("/api/changes/events", "get", "200", "text/event-stream"), &change);
    assert_eq!(
        (data.len(), &change["account"], &change["cursor"]),
        (1, &json!("AC2"), &json!(end))
    );
    let ids: Vec<&str> = seen.lines().filter_map(|line| line.strip_prefix("id: ")).collect();
    assert_eq!(ids, [&*all[2], &*end]);
    // What is passed over moves the client on.
    server.feed_watch.awaited().await;
    server.store(&[event("CA8", "ringing", 6, "")]).await;
    let (_, end) = cursors(&server.json("/api/changes?after=now").await);
    read_until(&mut stream, &mut seen, &format!("id: {end}\n")).await;
    assert!(!seen.contains("CA8"), "{seen}");
    server.stopping.cancel();
    // The last chunk.
    read_until(&mut stream, &mut seen, "\r\n0\r\n\r\n").await;
    server.stop().await;
}

#[tokio::test]
async fn those_who_wait_for_the_feed_are_bounded() {
    let server = Server::start_with(|admin| admin.feed = admin.feed.clone().with_seats(0)).await;
    for target in ["/api/changes?wait=1", "/api/changes/events"] {
        let response = server.get(target).await;
        assert_eq!(response.status, 503, "{target}: {}", response.body);
        assert!(response.body.contains("too many wait"), "{}", response.body);
    }
    assert_eq!(server.get("/api/changes").await.status, 200, "it does not wait");
    server.stop().await;
}
