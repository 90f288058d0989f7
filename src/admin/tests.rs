//! The private listener from outside, before a real store.

use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use prometheus::{IntCounter, Registry};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{
    Admin, Auth, ConfiguredForward, FeedDoors, ForwardDoors, Handles, LastHour, Runbook, SendDoors,
};
use crate::backend::forwards::{Claim, GivenUp, Progress, Waiting, Written};
use crate::backend::postgres::{self, Postgres};
use crate::backend::purge::Purge;
use crate::backend::sqlite::{self, Database, SqliteStore};
use crate::backend::{DeadLetters, DurabilityReports, FeedWatch, Need, Probe, Store};
use crate::clock::{Clock, Timestamp};
use crate::event::{Batch, Event, EventKey, Format, Kind, Resource};
use crate::http::{Limits, serve};
use crate::lab::test_client::{Client, Response};
use crate::pipeline::{Observed, Sink as _};
use crate::policy::{PolicyInForce, testing};
use crate::recent::events::{EventStage, RecentEvents};
use crate::recent::refusals::RecentRefusals;

const LONG: std::time::Duration = std::time::Duration::from_secs(30);

pub(super) struct Server {
    pub(super) address: SocketAddr,
    pub(super) refusals: Arc<RecentRefusals>,
    pub(super) feed_watch: FeedWatch,
    pub(super) forwards: ForwardDoors,
    pub(super) sending: SendDoors,
    store: Observed<SqliteStore, RecentEvents>,
    /// What the process is told by a signal.
    pub(super) stopping: CancellationToken,
    stop: CancellationToken,
    task: JoinHandle<()>,
    _directory: TempDir,
}

impl Server {
    pub(super) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub(super) async fn start_with(change: impl FnOnce(&mut Admin)) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let url = format!("sqlite:{}", directory.path().join("offhook.db").display());
        let database = Arc::new(Database::lock(&url).expect("a file of our own"));
        database.migrate().await.expect("a new file");
        let counter = IntCounter::new("offhook_tests_total", "Tests.").expect("a name");
        let (registry, stopping) = (Registry::new(), CancellationToken::new());
        registry.register(Box::new(counter)).expect("no name is taken");
        let sink = SqliteStore::open(database).await.expect("a new file");
        let store = Store::Sqlite(sqlite::Handles::new(&sink));
        let purge = Purge {
            rows: store.purge(),
            dead_letters: DeadLetters::default(),
            stream: None,
            log: None,
        };
        let mut admin = Admin {
            registry,
            reader: store.reads(),
            feed: FeedDoors::new(store.feed(), store.feed_watch()),
            forwards: ForwardDoors {
                forwards: store.forwards(),
                feed: store.feed(),
                configured: Arc::new(ArcSwap::from_pointee(vec![ConfiguredForward {
                    name: "app".to_owned(),
                    url: "https://app.example.com/status".to_owned(),
                    form: "twilio",
                }])),
            },
            sending: SendDoors {
                outbox: store.outbox(),
                configured: Arc::default(),
                address_key: None,
            },
            probes: vec![(Need::Must, Probe::Store(store.health()))],
            dead_letters: DeadLetters::default(),
            purge,
            durabilities: DurabilityReports::default(),
            handles: Handles::of_a_receiver(),
            live: RecentEvents::new(EventStage::Stored, Clock::System),
            refusals: Arc::default(),
            privacy: PolicyInForce::new(testing::policy(1)).privacy(),
            last_hour: LastHour::default(),
            send_routes: axum::Router::new(),
            runbook: Runbook::default(),
            auth: Auth::with(None, None),
            clock: Clock::System,
            stop: stopping.clone(),
        };
        change(&mut admin);
        let (feed_watch, forwards) = (admin.feed.watch.clone(), admin.forwards.clone());
        let sending = admin.sending.clone();
        let (live, refusals) = (admin.live.clone(), Arc::clone(&admin.refusals));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let stop = CancellationToken::new();
        let serving = serve(
            listener,
            Admin::router(Arc::new(admin)),
            Limits::default(),
            Arc::new(()),
            stop.clone(),
        );
        #[expect(clippy::disallowed_methods, reason = "`stop` waits for it")]
        let task = tokio::spawn(serving);
        let store = live.observed(sink);
        Self {
            address,
            refusals,
            feed_watch,
            forwards,
            sending,
            store,
            stopping,
            stop,
            task,
            _directory: directory,
        }
    }

    pub(super) async fn get(&self, target: &str) -> Response {
        self.get_with(target, "").await
    }

    pub(super) async fn get_with(&self, target: &str, headers: &str) -> Response {
        let mut client = Client::connect(self.address).await;
        client.send(format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n")).await;
        client.response().await.expect("an answer")
    }

    pub(super) async fn json(&self, target: &str) -> Value {
        let response = self.get(target).await;
        assert_eq!(response.header("content-type"), Some("application/json"), "{target}");
        serde_json::from_str(&response.body).expect("JSON")
    }

    pub(super) async fn store(&self, events: &[Event]) {
        for event in events {
            self.store.commit(&Batch::from(event.clone())).await.expect("the store is there");
        }
    }

    /// Two forwards begin: one of the configuration, of which a change was given up, and one that was there before.
    pub(super) async fn forward(&self) {
        let (doors, name) = (&self.forwards, "app");
        let end = doors.feed.end().await.expect("the store is there");
        for name in [name, "of-before"] {
            doors.forwards.create(name, &end).await.expect("the store is there");
        }
        let lasts = std::time::Duration::from_secs(60);
        let claim = Claim { forward: name.to_owned(), holder: "1".to_owned(), lasts };
        doors.forwards.claim(&claim).await.expect("the store is there");
        let (account, sid) = ("AC1".to_owned(), Some("CA1".to_owned()));
        let waits = Waiting {
            change: 2,
            account: account.clone(),
            sid: sid.clone(),
            tries: 1,
            due_in: None,
        };
        let failure = "status_5xx".to_owned();
        let progress = Progress {
            cursor: 2,
            waiting: vec![waits],
            given_up: vec![GivenUp { change: 1, account, sid, tries: 17, failure }],
            ..Progress::default()
        };
        let written = doors.forwards.write(&claim, &progress).await;
        assert_eq!(written.expect("the store is there"), Written::Kept);
    }

    pub(super) async fn stop(self) {
        self.stop.cancel();
        timeout(LONG, self.task).await.expect("it ends").expect("it does not panic");
    }
}

fn with_token(admin: &mut Admin) {
    admin.auth = Auth::with(Some("s3cret"), None);
}

/// A store that nobody can reach.
fn away() -> Store {
    let postgres = Postgres::new("postgres://127.0.0.1:1/none").expect("a URL");
    Store::Postgres(postgres::Handles::new(postgres))
}

pub(super) fn event(sid: &str, status: &str, received: i64, body: &str) -> Event {
    Event {
        sid: Some(sid.into()),
        resource: Some(Resource::Call),
        status: Some(status.into()),
        received_at: Timestamp::from_micros(received),
        query: "order=1".into(),
        body: body.to_owned().into(),
        ..Event::new(EventKey::of(&[sid, status]).expect("printable"), Kind::Call, "AC1")
    }
}

/// A problem in the words of RFC 9457.
#[track_caller]
fn check_problem(response: &Response, status: u16, detail: &str) {
    assert_eq!(response.status, status, "{}", response.body);
    assert_eq!(response.header("content-type"), Some("application/problem+json"));
    let problem: Value = serde_json::from_str(&response.body).expect("JSON");
    assert_eq!(problem["status"], status);
    let said = problem["detail"].as_str().expect("text");
    assert!(said.contains(detail), "{said}");
}

#[tokio::test]
async fn the_token_guards_everything_but_the_health_checks() {
    let server = Server::start_with(with_token).await;
    let guarded = ["/metrics", "/api/statuses/CA1", "/api/events?sid=CA1", "/api/refusals"];
    for target in guarded {
        let wrong = [
            "",
            "Authorization: Bearer wrong\r\n",
            "Authorization: Bearer \r\n",
            "Authorization: s3cret\r\n",
            "Authorization: Basic s3cret\r\n",
            "Authorization: Bearer s3cret2\r\n",
            "Authorization: Bearer \u{fffd}\r\n",
            "Cookie: token=s3cret\r\n",
        ];
        for headers in wrong {
            let response = server.get_with(target, headers).await;
            assert_eq!((response.status, &*response.body), (401, ""), "{target} {headers}");
            assert_eq!(response.header("www-authenticate"), Some("bearer"));
        }
        let response = server.get_with(target, "Authorization: Bearer s3cret\r\n").await;
        assert_ne!(response.status, 401, "{target}");
    }
    for open in ["/livez", "/readyz"] {
        assert_eq!(server.get(open).await.status, 200, "{open}");
    }
    assert_eq!(server.get("/nowhere").await.status, 404);
    server.stop().await;
}

#[tokio::test]
async fn without_a_token_anybody_on_loopback_may_ask() {
    let server = Server::start().await;
    let metrics = server.get("/metrics").await;
    assert_eq!(metrics.status, 200);
    assert_eq!(metrics.header("content-type"), Some("text/plain; version=0.0.4"));
    assert!(metrics.body.contains("offhook_tests_total 0\n"), "{}", metrics.body);
    assert_eq!(server.get("/livez").await.body, "ok\n");
    server.stop().await;
}

#[tokio::test]
async fn a_status_is_shown_as_it_is_stored() {
    let server = Server::start().await;
    let body = "From=%2B15550100&To=%2B15550101&CallDuration=7&ErrorCode=11200";
    let (first, last) = (event("CA1", "ringing", 2_000_000, ""), event("CA1", "busy", 1, body));
    server.store(&[first, last]).await;
    assert_eq!(
        server.json("/api/statuses/CA1").await,
        json!({
            "sid": "CA1", "resource": "call", "account": "AC1", "status": "busy", "final": true,
            "from": "+15550100", "to": "+15550101", "direction": null, "duration": 7,
            "error_code": "11200", "own": { "order": "1" },
            "contradicted": false, "first_seen": "1970-01-01T00:00:00.000001Z",
            "updated": "1970-01-01T00:00:02.000000Z",
        })
    );
    server.stop().await;
}

#[tokio::test]
async fn what_is_not_there_is_a_problem_that_says_so() {
    let server = Server::start().await;
    check_problem(&server.get("/api/statuses/CA1").await, 404, "no status");
    check_problem(&server.get("/api/timeline/CA1").await, 404, "nothing is known");
    let none = json!({ "events": [], "next": null });
    for target in ["/api/events", "/api/events?sid=CA1", "/api/events?sid="] {
        assert_eq!(server.json(target).await, none, "{target}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_sid_may_be_any_text_and_is_nothing_but_text() {
    let odd = ["CA1'--", "%", "%_", "a b/ü", "\"];", "*", "CA1\0", "?&=#"];
    let server = Server::start().await;
    server.store(&[event("CA1", "busy", 1, "")]).await;
    for sid in odd {
        let encoded: String = sid.bytes().map(|byte| format!("%{byte:02X}")).collect();
        check_problem(&server.get(&format!("/api/statuses/{encoded}")).await, 404, "no status");
        let events = server.json(&format!("/api/events?sid={encoded}")).await;
        assert_eq!(events, json!({ "events": [], "next": null }), "{sid}");
        // One that is stored is found again.
        let stored = Event { sid: Some(sid.into()), ..event("CA9", &encoded, 1, "") };
        server.store(&[stored]).await;
        let events = server.json(&format!("/api/events?sid={encoded}")).await;
        assert_eq!(events["events"][0]["sid"], sid);
    }
    server.stop().await;
}

#[tokio::test]
async fn what_cannot_be_text_is_a_problem_of_the_asker() {
    let server = Server::start().await;
    let unclear = [
        "/api/statuses/%FF",
        "/api/timeline/%FF",
        "/api/events?sid=CA1&sid=CA2",
        "/api/events?SID=CA1",
        "/api/events?kind=calls",
        "/api/events?since=yesterday",
        "/api/events?after=CA1",
        "/api/events?limit=many",
        "/api/statuses?kind=amd",
        "/api/stats?since=soon",
        "/api/live?kind=calls",
        "/api/dead-letters?after=x",
    ];
    for target in unclear {
        check_problem(&server.get(target).await, 400, "");
    }
    server.stop().await;
}

/// Postgres refuses NUL as data, which would read as a store that is away.
#[tokio::test]
async fn a_sid_with_nul_is_known_to_no_store() {
    let server = Server::start_with(|admin| admin.reader = away().reads()).await;
    check_problem(&server.get("/api/statuses/CA1%00").await, 404, "no status");
    let none = json!({ "events": [], "next": null });
    assert_eq!(server.json("/api/events?sid=%00").await, none);
    server.stop().await;
}

#[tokio::test]
async fn events_come_as_they_were_received() {
    let server = Server::start().await;
    server
        .store(&[
            event("CA1", "ringing", 3, "a=1&a=2&b=%22"),
            event("CA1", "initiated", 2, ""),
            event("CA2", "busy", 1, ""),
            // At one time: by key.
            event("CA1", "in-progress", 3, ""),
            event("CA1", "completed", 1, ""),
        ])
        .await;
    let keys = async |target: &str| -> Vec<String> {
        let answer = server.json(target).await;
        let events = answer["events"].as_array().expect("an array").iter();
        events.map(|event| event["key"].as_str().expect("text").to_owned()).collect()
    };
    let mut expected = ["CA1-completed", "CA1-initiated", "CA1-in-progress", "CA1-ringing"];
    assert_eq!(keys("/api/timeline/CA1").await, expected);
    expected.reverse();
    assert_eq!(keys("/api/events?sid=CA1").await, expected);
    let answer = server.json("/api/events?sid=CA1").await;
    let events = answer["events"].as_array().expect("an array");
    assert_eq!(
        events[0],
        json!({
            "key": "CA1-ringing", "kind": "call", "account": "AC1", "sid": "CA1",
            "status": "ringing", "sequence": null, "occurred_at": null,
            "received_at": "1970-01-01T00:00:00.000003Z", "query": "order=1",
            "own": { "order": "1" }, "error_code": null,
            "params": { "a": ["1", "2"], "b": "\"" }, "about_account": null,
            "fingerprint": null, "method": null, "route": null,
        })
    );
    server.stop().await;
}

#[tokio::test]
async fn a_sid_of_two_accounts_must_be_picked() {
    let server = Server::start().await;
    let theirs = Event { account: "AC2".into(), ..event("CA1", "busy", 2, "From=theirs") };
    let recording = Event {
        sid: Some("RE1".into()),
        resource: None,
        ..event("RE1", "completed", 3, "CallSid=CA2")
    };
    server.store(&[event("CA1", "busy", 1, "From=ours"), theirs, recording]).await;
    for target in ["/api/statuses/CA1", "/api/timeline/CA1"] {
        let answer = server.get(target).await;
        check_problem(&answer, 409, "AC1 or AC2");
        let problem: Value = serde_json::from_str(&answer.body).expect("JSON");
        assert_eq!(problem["accounts"], json!(["AC1", "AC2"]));
    }
    for (account, from) in [("AC1", "ours"), ("AC2", "theirs")] {
        let status = server.json(&format!("/api/statuses/CA1?account={account}")).await;
        assert_eq!((&status["account"], &status["from"]), (&json!(account), &json!(from)));
        let timeline = server.json(&format!("/api/timeline/CA1?account={account}")).await;
        assert_eq!(timeline["status"]["from"], from);
        assert_eq!(timeline["events"].as_array().map(Vec::len), Some(1));
    }
    check_problem(&server.get("/api/statuses/CA1?account=AC3").await, 404, "no status");
    let rows = server.json("/api/statuses?q=CA1").await;
    assert_eq!(rows["statuses"].as_array().map(Vec::len), Some(2));
    let page = server.get("/sid/CA1").await;
    assert!(page.body.contains("/sid/CA1?account=AC2"), "{}", page.body);
    // What names a call is on its timeline, and under its own SID.
    for target in ["/api/timeline/CA2", "/api/timeline/RE1"] {
        assert_eq!(server.json(target).await["events"][0]["key"], "RE1-completed", "{target}");
    }
    assert_eq!(server.json("/api/events?sid=CA2").await["events"], json!([]));
    server.stop().await;
}

#[tokio::test]
async fn a_store_that_is_away_is_a_problem_and_readiness_names_it() {
    let server = Server::start_with(|admin| {
        admin.reader = away().reads();
        admin.probes.push((Need::Must, Probe::Store(away().health())));
    })
    .await;
    let (status, events, response) = tokio::join!(
        server.get("/api/statuses/CA1"),
        server.get("/api/events?sid=CA1"),
        server.get("/readyz"),
    );
    check_problem(&status, 503, "does not answer");
    check_problem(&events, 503, "does not answer");
    assert_eq!(response.status, 503);
    let readiness: Value = serde_json::from_str(&response.body).expect("JSON");
    assert_eq!((&readiness["ready"], &readiness["stopping"]), (&json!(false), &json!(false)));
    let dependencies = &readiness["dependencies"];
    assert_eq!(dependencies[0], json!({ "name": "sqlite", "need": "must", "ready": true }));
    assert_eq!(
        (&dependencies[1]["name"], &dependencies[1]["ready"]),
        (&json!("postgres"), &json!(false))
    );
    assert!(dependencies[1]["error"].is_string());
    // Liveness depends on nothing.
    assert_eq!(server.get("/livez").await.status, 200);
    server.stop().await;
}

#[tokio::test]
async fn a_process_that_stops_is_alive_and_not_ready() {
    let server = Server::start().await;
    let ready = json!({
        "ready": true, "stopping": false,
        "dependencies": [{ "name": "sqlite", "need": "must", "ready": true }],
        "durability": {},
    });
    assert_eq!(server.json("/readyz").await, ready);
    server.stopping.cancel();
    let response = server.get("/readyz").await;
    assert_eq!(response.status, 503);
    assert!(response.body.contains(r#""stopping":true"#), "{}", response.body);
    assert_eq!(server.get("/livez").await.status, 200);
    server.stop().await;
}

#[tokio::test]
async fn only_reading_is_possible() {
    let server = Server::start().await;
    for (method, target) in
        [("POST", "/metrics"), ("DELETE", "/api/statuses/CA1"), ("PUT", "/api/events?sid=CA1")]
    {
        let mut client = Client::connect(server.address).await;
        client.send(format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\n\r\n")).await;
        let response = client.response().await.expect("an answer");
        assert_eq!(response.status, 405, "{method} {target}");
    }
    server.stop().await;
}

/// Forms, Event Streams and the debugger each have it in a place of their own.
#[tokio::test]
async fn an_error_is_shown_wherever_its_kind_has_it() {
    let server = Server::start().await;
    let json = r#"{"type":"com.twilio.messaging.message.failed","data":{"errorCode":30003}}"#;
    let request = r#"{"data":{"request":{"parameters":{"ErrorCode":"30003"}}}}"#;
    let payload = "Level=ERROR&Payload=%7B%22error_code%22%3A%2230003%22%7D";
    let none =
        ["ErrorCode=0", "ErrorCode=", "Payload=nonsense", "Payload=%7B%22error_code%22%3A0%7D"];
    let forms = [("ErrorCode=30003", true), (payload, true)].into_iter();
    let forms =
        forms.chain(none.map(|body| (body, false))).map(|(body, has)| (body, Format::Form, has));
    let jsons = [(json, true), (request, true), ("{}", false), ("nonsense", false)];
    let jsons = jsons.map(|(body, has)| (body, Format::Json, has));
    for (n, (body, format, has)) in forms.chain(jsons).enumerate() {
        let sid = format!("SM{n}");
        let stored = Event { format, ..event(&sid, "failed", 1, body) };
        server.store(&[stored]).await;
        let expected = if has { json!("30003") } else { Value::Null };
        let timeline = server.json(&format!("/api/timeline/{sid}")).await;
        assert_eq!(timeline["events"][0]["error_code"], expected, "{body}");
        let page = server.get(&format!("/sid/{sid}")).await.body;
        assert_eq!(page.contains("/errors/30003"), has, "{body}");
        let live = server.get("/").await.body;
        assert_eq!(live.contains("/errors/30003"), has, "{body}: {live}");
        if has {
            // What is shown next must be its own.
            for n in 0..20 {
                server.store(&[event(&format!("NO{sid}{n}"), "busy", 2, "")]).await;
            }
        }
    }
    server.stop().await;
}
