//! The console from outside, before a real store: who gets in, what gets out.

mod campaigns;
mod contrast;
mod notifications;

use std::sync::Arc;
use std::time::Duration;

use crate::admin::ConfiguredSender;
use crate::admin::auth::Auth;
use crate::admin::tests::{Server, event};
use crate::backend::local_log::{Bounds, LocalLog, Release};
use crate::backend::outbox::{
    Answered, Asked, ClaimAsk, Gated, NewNotification, NewSuppression, Outcome, WriteAsk, Written,
};
use crate::clock::Timestamp;
use crate::dispatch::call::Lines;
use crate::dispatch::suppression::Source;
use crate::dispatch::{Channel, OnUnknown, Purpose};
use crate::event::{AttemptId, Batch, Event};
use crate::lab::test_client::{Client, Response};
use crate::pipeline::{Sink as _, Source as _};
use crate::recent::refusals::RecentRefusal;

const PAGES: [&str; 16] = [
    "/",
    "/search",
    "/search?q=CA1",
    "/sid/CA9",
    "/campaigns",
    "/campaigns/cmp_1",
    "/dead-letters",
    "/forwards",
    "/notifications",
    "/notifications/NT1",
    "/senders",
    "/suppressions",
    "/refusals",
    "/help",
    "/help/operations",
    "/help/none",
];

async fn guarded() -> Server {
    Server::start_with(|admin| admin.auth = Auth::with(Some("s3cret"), None)).await
}

async fn post(server: &Server, target: &str, headers: &str, body: &str) -> Response {
    let mut client = Client::connect(server.address).await;
    let length = body.len();
    let head = format!("POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n");
    client.send(format!("{head}{headers}\r\n{body}")).await;
    client.response().await.expect("an answer")
}

async fn log_in(server: &Server) -> String {
    let entered = post(server, "/login", "", "token=s3cret&next=%2Fsearch%3Fq%3DCA1").await;
    assert_eq!((entered.status, entered.header("location")), (303, Some("/search?q=ca1")));
    let cookie = entered.header("set-cookie").expect("a session").to_owned();
    for part in ["httponly", "samesite=strict", "path=/", "max-age="] {
        assert!(cookie.contains(part), "{cookie}");
    }
    format!("Cookie: other=1; {}\r\n", cookie.split(';').next().expect("a pair"))
}

/// What the forms of a page carry.
fn proof(page: &str) -> &str {
    let (_, rest) = page.split_once("name=\"proof\" value=\"").expect("a form");
    rest.split('"').next().expect("a value")
}

#[tokio::test]
async fn every_page_sends_a_strict_policy_and_loads_nothing_from_elsewhere() {
    let server = Server::start().await;
    for page in PAGES.into_iter().chain(["/assets/console.css", "/assets/console.js", "/nowhere"]) {
        let response = server.get(page).await;
        let policy = response.header("content-security-policy").expect("a policy");
        assert!(policy.starts_with("default-src 'none'; style-src 'self'; script-src 'self'"));
        assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
        assert_eq!(response.header("x-content-type-options"), Some("nosniff"), "{page}");
        let elsewhere = ["style=\"", " onclick=", "src=\"http", "url(http", "<style", "@import"];
        for part in elsewhere {
            assert!(!response.body.contains(part), "{page}: {part}");
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn what_is_refused_before_all_of_it_came_closes_its_connection_and_says_so() {
    let server = guarded().await;
    let refused = [
        ("POST", "/nope", 404),
        ("PUT", "/livez", 405),
        ("POST", "/api/dead-letters/replay", 401),
        ("POST", "/logout", 303),
    ];
    for (method, path, status) in refused {
        let mut client = Client::connect(server.address).await;
        let head =
            format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999\r\n");
        client.send(format!("{head}\r\nthe beginning")).await;
        let answer = client.response().await.expect("an answer");
        assert_eq!((answer.status, answer.header("connection")), (status, Some("close")), "{path}");
    }
    let asked = server.get("/nope").await;
    assert_eq!((asked.status, asked.header("connection")), (404, None), "a request without a body");
    server.stop().await;
}

#[tokio::test]
async fn with_a_token_a_browser_logs_in_once() {
    let server = guarded().await;
    for page in PAGES {
        let asked = server.get(page).await;
        assert_eq!(asked.status, 303, "{page}");
        let login = asked.header("location").expect("the login page");
        assert!(login.starts_with("/login?next=%2f"), "{login}");
    }
    assert!(server.get("/login").await.body.contains("name=\"token\""));
    let wrong = post(&server, "/login", "", "token=secret").await;
    assert_eq!((wrong.status, wrong.header("set-cookie")), (403, None));
    assert!(wrong.body.contains("Wrong token"));

    let cookie = log_in(&server).await;
    for page in ["/", "/search", "/dead-letters", "/api/stats", "/metrics"] {
        assert_eq!(server.get_with(page, &cookie).await.status, 200, "{page}");
    }
    let page = server.get_with("/", &cookie).await.body;
    // Not without the proof of its form.
    assert_eq!(post(&server, "/logout", &cookie, "").await.status, 403);
    let left = post(&server, "/logout", &cookie, &format!("proof={}", proof(&page))).await;
    assert_eq!((left.status, left.header("location")), (303, Some("/login")));
    assert!(left.header("set-cookie").expect("it is taken back").contains("max-age=0"));
    // Whoever has seen the cookie has nothing any more.
    assert_eq!(server.get_with("/", &cookie).await.status, 303);
    assert_eq!(server.get_with("/api/stats", &cookie).await.status, 401);
    server.stop().await;
}

#[tokio::test]
async fn who_may_only_look_sees_everything_and_changes_nothing() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let bounds = Bounds { max_bytes: 1 << 20, min_free_bytes: 0 };
    let log = LocalLog::open(directory.path(), bounds).await.expect("nobody else has it");
    log.commit(&Batch::from(event("CA1", "busy", 1, ""))).await.expect("there is room");
    let mut reader = log.reader(Release::AtOnce);
    let letter = reader.read(1).await.expect("the disk works").remove(0);
    reader.dead_letter(&letter.id, 1, "refused").await.expect("the disk works");
    let server = Server::start_with(|admin| {
        admin.dead_letters.local = Some(log.dead_letters());
        admin.auth = Auth::with(Some("s3cret"), Some("looking"));
    })
    .await;
    let bearer = "Authorization: Bearer looking\r\n";
    let entered = post(&server, "/login", "", "token=looking&next=%2F").await;
    let cookie = entered.header("set-cookie").expect("a session").to_owned();
    let cookie = format!("Cookie: {}\r\n", cookie.split(';').next().expect("a pair"));
    for headers in [bearer, &cookie] {
        for page in ["/", "/search", "/dead-letters", "/api/stats", "/api/dead-letters", "/metrics"]
        {
            assert_eq!(server.get_with(page, headers).await.status, 200, "{page}");
        }
        let json = format!("{headers}Content-Type: application/json\r\n");
        for change in [
            "/api/purge",
            "/api/dead-letters/purge",
            "/api/dead-letters/replay",
            "/api/forwards/app/replay",
            "/api/forwards/app/enable",
            "/api/forwards/app/disable",
            "/forwards/act",
        ] {
            let refused = post(&server, change, &json, r#"{"ids":["1-0"],"sid":"CA1"}"#).await;
            assert_eq!(refused.status, 403, "{change}: {}", refused.body);
            assert!(refused.body.contains("read_token"), "{}", refused.body);
        }
    }
    let page = server.get_with("/", &cookie).await.body;
    let form = format!("action=purge&ids=1-0&proof={}", proof(&page));
    assert_eq!(post(&server, "/dead-letters/settle", &cookie, &form).await.status, 403);
    let letters = server.get_with("/dead-letters", &cookie).await.body;
    let all = server.get_with("/dead-letters", "Authorization: Bearer s3cret\r\n").await.body;
    for (what, shown) in [("Replay…", false), ("Purge…", false), ("name=\"ids\"", false)] {
        assert_eq!((letters.contains(what), all.contains(what)), (shown, true), "{what}");
    }
    assert!(
        letters.contains("This login is read-only") && letters.contains("CA1-busy"),
        "{letters}"
    );
    let left = post(&server, "/logout", &cookie, &format!("proof={}", proof(&page))).await;
    assert_eq!(left.status, 303);
    server.stop().await;
}

/// Anybody can send one: before the token is known, there is little to be had.
#[tokio::test]
async fn a_login_is_short_and_comes_at_once() {
    let server = guarded().await;
    let long = format!("token={}", "x".repeat(9_000));
    assert_eq!(post(&server, "/login", "", &long).await.status, 413);
    let mut unfinished = Client::connect(server.address).await;
    let head = "POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\ntoken=";
    unfinished.send(head).await;
    let response = unfinished.response().await.expect("an answer");
    assert_eq!((response.status, response.header("connection")), (408, Some("close")));
    server.stop().await;
}

#[tokio::test]
async fn what_a_page_of_another_site_asks_for_is_not_carried_out() {
    for server in [Server::start().await, guarded().await] {
        for site in ["cross-site", "same-site"] {
            let foreign = format!("Sec-Fetch-Site: {site}\r\n");
            for page in PAGES.into_iter().chain(["/login", "/api/stats", "/metrics"]) {
                assert_eq!(server.get_with(page, &foreign).await.status, 403, "{page}");
            }
            let navigated = "Sec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n";
            let sent = format!("{foreign}{navigated}");
            assert_eq!(server.get_with("/search?q=1", &sent).await.status, 403);
            // A link in a chat that a person clicked.
            let clicked = format!("{sent}Sec-Fetch-User: ?1\r\n");
            assert!(server.get_with("/search?q=1", &clicked).await.status < 400);
            assert_eq!(server.get_with("/api/stats", &clicked).await.status, 403);
        }
        for own in ["same-origin", "none"] {
            let own = format!("Sec-Fetch-Site: {own}\r\n");
            assert_ne!(server.get_with("/", &own).await.status, 403);
        }
        for probe in ["/livez", "/readyz"] {
            let foreign = "Sec-Fetch-Site: cross-site\r\n";
            assert_eq!(server.get_with(probe, foreign).await.status, 200, "{probe}");
        }
        server.stop().await;
    }
}

#[tokio::test]
async fn a_page_of_another_site_changes_nothing() {
    let server = guarded().await;
    let cookie = log_in(&server).await;
    let settle = "/dead-letters/settle";
    let refused = post(&server, settle, &cookie, "action=purge&ids=1-0").await;
    assert_eq!(refused.status, 403, "no proof");
    let page = server.get_with("/", &cookie).await.body;
    let form = format!("action=purge&ids=1-0&proof={}", proof(&page));
    for foreign in ["Origin: https://evil.example\r\n", "Sec-Fetch-Site: cross-site\r\n"] {
        let headers = format!("{cookie}{foreign}");
        assert_eq!(post(&server, settle, &headers, &form).await.status, 403, "{foreign}");
        let api = "/api/dead-letters/purge";
        assert_eq!(post(&server, api, &headers, "{}").await.status, 403, "{foreign}");
    }
    let own = format!("{cookie}Origin: http://localhost\r\nSec-Fetch-Site: same-origin\r\n");
    assert_eq!(post(&server, settle, &own, &form).await.status, 303);
    server.stop().await;
}

#[tokio::test]
async fn without_a_token_only_loopback_has_a_name() {
    let server = Server::start().await;
    let ask = async |host: &str| {
        let mut client = Client::connect(server.address).await;
        client.send(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")).await;
        client.response().await.expect("an answer").status
    };
    for host in ["localhost:8081", "127.0.0.1", "[::1]:1"] {
        assert_eq!(ask(host).await, 200, "{host}");
    }
    for host in ["rebound.example", "10.0.0.1:8081"] {
        assert_eq!(ask(host).await, 403, "{host}");
    }
    server.stop().await;
}

#[tokio::test]
async fn what_twilio_sent_is_text_and_nothing_else() {
    let odd = "\"><script>alert(1)</script>";
    let body = format!("From={odd}&To=%26amp%3B&ErrorCode={odd}&{odd}={odd}").replace('+', "%2B");
    let server = Server::start().await;
    let mut stored = event("CA1", odd, 1, &body);
    (stored.account, stored.query) = (odd.into(), format!("a={odd}"));
    server.store(&[crate::event::Event { status: Some(odd.into()), ..stored }]).await;
    server.refusals.push(RecentRefusal {
        at: crate::clock::Timestamp::from_micros(1),
        route: "status",
        reason: crate::recent::Refusal::WrongSignature,
        status: 403,
        account: Some(odd.into()),
        urls: vec![odd.into()],
        explained: false,
        hint: "a hint",
    });
    let encoded: String = odd.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let search = format!("/search?q={encoded}&status={encoded}");
    for page in ["/", "/search", "/sid/CA1", "/refusals", &search, &format!("/sid/{encoded}")] {
        let response = server.get(page).await;
        assert!(!response.body.contains("<script>"), "{page}: {}", response.body);
    }
    assert!(server.get("/sid/CA1").await.body.contains("&lt;script&gt;"));
    server.stop().await;
}

#[tokio::test]
async fn a_parameter_of_ones_own_is_shown_and_leads_to_all_that_has_it() {
    let server = Server::start().await;
    let with = |sid: &str, query: &str| crate::event::Event {
        query: query.to_owned(),
        ..event(sid, "busy", 1, "")
    };
    server.store(&[with("CA1", "order_id=A%261"), with("CA2", "order_id=A-2")]).await;
    let timeline = server.get("/sid/CA1").await.body;
    let link = "<dt>order_id</dt><dd><a href=\"/search?own=order%5Fid%3DA%261\">A&amp;1</a></dd>";
    assert!(timeline.contains(link), "{timeline}");
    let found = server.get("/search?own=order_id%3DA%261").await.body;
    assert!(found.contains("CA1") && !found.contains("CA2"), "{found}");
    let found = server.get("/search?own=order_id").await.body;
    assert!(found.contains("NAME=VALUE"), "{found}");
    let row = server.json("/api/statuses/CA2").await;
    assert_eq!(row["own"], serde_json::json!({ "order_id": "A-2" }));
    server.stop().await;
}

#[tokio::test]
async fn a_whole_sid_leads_to_its_timeline() {
    let server = Server::start().await;
    let body = "ErrorCode=30003&To=%2B15550100";
    server
        .store(&[event("CA1", "busy", 1_000_000, body), event("CA1", "ringing", 2_000_000, "")])
        .await;
    let mut unmoved = event("NO1", "x", 3, "");
    (unmoved.resource, unmoved.status) = (None, None);
    server.store(&[unmoved]).await;
    for sid in ["CA1", "NO1"] {
        let found = server.get(&format!("/search?q={sid}")).await;
        let expected = format!("/sid/{}", sid.to_lowercase());
        assert_eq!((found.status, found.header("location")), (303, Some(&*expected)));
    }
    let timeline = server.get("/sid/CA1").await.body;
    for part in [
        "Unreachable destination handset",
        "/errors/30003",
        "out of order",
        "1.0 s later",
        "+15550100",
    ] {
        assert!(timeline.contains(part), "{part}: {timeline}");
    }
    assert_eq!(server.get("/sid/CA2").await.status, 404);
    let found = server.get("/search?q=CA&status=busy").await;
    assert!(found.body.contains("href=\"/sid/CA1\""), "{}", found.body);
    assert!(server.get("/search?kind=x").await.body.contains("must be one of"));
    assert_eq!(server.get("/search?limit=x").await.status, 400);
    server.stop().await;
}

#[tokio::test]
async fn a_forward_is_shown_and_disabled_after_a_question() {
    let server = guarded().await;
    server.forward().await;
    let cookie = log_in(&server).await;
    let page = server.get_with("/forwards", &cookie).await.body;
    for part in [
        "twilio to https://app.example.com/status",
        "1 change waits for another try. 1 change given up.",
        "All is well.",
        "Not in the configuration of this process.",
        "Replay what was given up…",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    let form = |deed: &str| format!("deed={deed}&forward=app&proof={}", proof(&page));
    let question = post(&server, "/forwards/confirm", &cookie, &form("disable")).await;
    assert!(question.status == 200 && question.body.contains("Disable app?"), "{}", question.body);
    let done = post(&server, "/forwards/act", &cookie, &form("disable")).await;
    assert_eq!((done.status, done.header("location")), (303, Some("/forwards")));
    let page = server.get_with("/forwards", &cookie).await.body;
    assert!(page.contains("Disabled by an operator since"), "{page}");
    // Not without the proof that the page was ours.
    let forged = post(&server, "/forwards/act", &cookie, "deed=enable&forward=app").await;
    assert_eq!(forged.status, 403);
    server.stop().await;
}

/// One that no message has been sent by yet.
fn alerts() -> ConfiguredSender {
    ConfiguredSender {
        name: "alerts".to_owned(),
        kind: "long_code",
        account: "AC1".to_owned(),
        pace: "alerts".to_owned(),
        rate: 1.0,
        calls_limit: None,
    }
}

fn notification(attempt: AttemptId) -> NewNotification {
    NewNotification {
        route: None,
        id: "NT1".to_owned(),
        token: "shop".to_owned(),
        idempotency_key: None,
        request_hash: "hash".to_owned(),
        purpose: Purpose::Alert,
        on_unknown: OnUnknown::Report,
        sender: "alerts".to_owned(),
        account: "AC1".to_owned(),
        pace: "alerts".to_owned(),
        to: "+12125550111".to_owned(),
        to_hash: "to".to_owned(),
        body: "text".to_owned(),
        mail: None,
        segments: 1,
        channel: Channel::Message,
        call: None,
        reference: Some("order-7".to_owned()),
        // The year 2100: the store measures it by its own clock.
        deadline: Timestamp::from_micros(4_102_444_800_000_000),
        time_zone: None,
        held: None,
        attempt,
        campaign: None,
        price: None,
    }
}

#[tokio::test]
async fn without_a_sender_the_pages_say_nothing_of_sending() {
    let server = Server::start().await;
    assert!(!server.get("/").await.body.contains("/senders"));
    assert!(server.get("/senders").await.body.contains("No senders."));
}

#[tokio::test]
async fn a_sender_is_shown_as_it_stands_and_what_is_unknown_below() {
    let server =
        Server::start_with(|admin| admin.sending.configured.store(Arc::new(vec![alerts()]))).await;
    assert!(server.get("/").await.body.contains("href=\"/senders\""));
    let page = server.get("/senders").await.body;
    let parts = ["alerts", "long_code", "alerts, 1/s", "Nothing is due."];
    assert!(parts.iter().all(|part| page.contains(part)), "{page}");

    let (outbox, attempt) = (&server.sending.outbox, AttemptId::new(7));
    outbox.identity("secret").await.expect("the store is there");
    let kept = outbox.ask(&notification(attempt)).await.expect("the store is there");
    assert_eq!(kept, Asked::Kept);
    assert!(server.get("/senders").await.body.contains("It sends; the oldest is due since"));
    let claim = ClaimAsk {
        pace: "alerts".to_owned(),
        senders: vec!["alerts".to_owned()],
        account: "AC1".to_owned(),
        per_unit: Duration::from_millis(1),
        ahead: Duration::from_millis(100),
        max_in_flight: 10,
        limit: 1,
        lines: None,
        holder: "test".to_owned(),
        lease: Duration::from_secs(3600),
    };
    // The first claim makes the row of the pace.
    outbox.claim(&claim).await.expect("the store is there");
    let claimed = outbox.claim(&claim).await.expect("the store is there").claimed;
    assert_eq!(claimed.iter().map(|claimed| claimed.id).collect::<Vec<_>>(), [attempt]);
    let write = WriteAsk {
        claims: claimed,
        holder: "test".to_owned(),
        late_after: Duration::from_secs(3600),
        lease: Duration::from_secs(3600),
        max_in_flight: 10,
        lines: Lines::default(),
    };
    let written = outbox.write(&write, &|_, _| Gated::Pass).await.expect("the store is there");
    assert!(matches!(&written[..], [Written::Send(_)]), "{written:?}");
    let outcome =
        Outcome::Unknown { reason: "timed_out".to_owned(), look_after: Duration::from_secs(60) };
    outbox
        .answer(&[Answered { id: attempt, tries: 1, outcome }])
        .await
        .expect("the store is there");
    let page = server.get("/senders").await.body;
    let parts = ["1 message of unknown outcome", "+12125550111", "NT1", "timed out"];
    assert!(parts.iter().all(|part| page.contains(part)), "{page}");

    outbox.pause("alerts", "operator").await.expect("the store is there");
    assert!(server.get("/senders").await.body.contains("(operator). Nothing is sent until"));
    outbox.hold_all(Some("operator")).await.expect("the store is there");
    assert!(server.get("/senders").await.body.contains("everything is held (operator)"));
}

#[tokio::test]
async fn who_must_not_be_reached_is_listed_and_cannot_be_changed_here() {
    let server = Server::start().await;
    let outbox = &server.sending.outbox;
    outbox.identity("secret").await.expect("the store is there");
    assert!(server.get("/suppressions").await.body.contains("None here."));
    let entry = |to: Option<&str>, source| NewSuppression {
        to: to.map(str::to_owned),
        to_hash: format!("hash-of-{}", to.unwrap_or("none")),
        stop: true,
        source,
    };
    let entries = [entry(Some("+12125550100"), Source::StopWord), entry(None, Source::Import)];
    outbox.suppress(&entries).await.expect("the store is there");
    let page = server.get("/suppressions").await.body;
    let parts = ["+12125550100", "the recipient, by a word", "hash-of-none", "a list"];
    assert!(parts.iter().all(|part| page.contains(part)), "{page}");
    assert!(!page.contains("<form"), "{page}");
}

#[tokio::test]
async fn a_timeline_begins_with_the_attempt_that_made_the_message() {
    let server = Server::start().await;
    let attempt = AttemptId::new(7);
    server.sending.outbox.ask(&notification(attempt)).await.expect("the store is there");
    let sent = Event { attempt: Some(attempt), ..event("SM1", "sent", 1, "") };
    server.store(&[sent, event("SM2", "sent", 1, "")]).await;
    let page = server.get("/sid/SM1").await.body;
    let (before, _) = page.split_once("as they were received").expect("the events");
    let parts = ["Sent by offhook", "alert from alerts", "NT1", "order-7"];
    assert!(parts.iter().all(|part| before.contains(part)), "{page}");
    assert!(!server.get("/sid/SM2").await.body.contains("Sent by offhook"));
}
