//! The list of notifications, the page of one, and its cancellation.

use std::time::Duration;

use super::{alerts, guarded, log_in, notification, post, proof};
use crate::admin::auth::Auth;
use crate::admin::tests::{Server, event};
use crate::backend::outbox::{
    Answered, Asked, ClaimAsk, Gated, NewNotification, NewRoute, NewStep, Outcome, WriteAsk,
    Written,
};
use crate::clock::{Clock, Timestamp};
use crate::dispatch::call::{CallPlan, Lines};
use crate::dispatch::{Channel, Confirm};
use crate::event::{AttemptId, Callee, Event, EventKey, Kind, Resource};

async fn keep(server: &Server, new: &NewNotification) {
    let asked = server.sending.outbox.ask(new).await.expect("the store is there");
    assert_eq!(asked, Asked::Kept);
}

fn another(number: u32) -> NewNotification {
    let reference = Some(format!("order-{number}"));
    let to = format!("+121255501{number:02}");
    NewNotification {
        id: format!("NT{number}"),
        reference,
        to,
        ..notification(AttemptId::new(number.into()))
    }
}

/// Brings the one that is due into writing.
async fn write(server: &Server) {
    let outbox = &server.sending.outbox;
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
    let claims = outbox.claim(&claim).await.expect("the store is there").claimed;
    let write = WriteAsk {
        claims,
        holder: "test".to_owned(),
        late_after: Duration::from_secs(3600),
        lease: Duration::from_secs(3600),
        max_in_flight: 10,
        lines: Lines::default(),
    };
    let written = outbox.write(&write, &|_, _| Gated::Pass).await.expect("the store is there");
    assert!(matches!(&written[..], [Written::Send(_)]), "{written:?}");
}

/// An event of the message `SM1` of the first attempt, received now.
fn said(status: &str, parts: &[&str]) -> Event {
    Event {
        sid: Some("SM1".to_owned()),
        resource: Some(Resource::Message),
        status: Some(status.to_owned()),
        received_at: Clock::System.now(),
        attempt: Some(AttemptId::new(1)),
        ..Event::new(EventKey::of(parts).expect("printable"), Kind::Message, "AC1")
    }
}

/// These stand on the page, in this order.
#[track_caller]
fn in_order(page: &str, parts: &[&str]) {
    let mut rest = page;
    for part in parts {
        let (_, after) = rest.split_once(part).unwrap_or_else(|| panic!("{part}: {page}"));
        rest = after;
    }
}

#[tokio::test]
async fn what_was_asked_for_is_listed_by_state_and_reference() {
    let server = Server::start().await;
    assert!(server.get("/notifications").await.body.contains("With a [[sender]]"));
    server.sending.configured.store(std::sync::Arc::new(vec![alerts()]));
    assert!(server.get("/notifications").await.body.contains("No notifications yet."));
    assert!(server.get("/senders").await.body.contains("href=\"/notifications\""));
    for number in 1..=3 {
        keep(&server, &another(number)).await;
    }
    server.sending.outbox.pause("alerts", "operator").await.expect("the store is there");
    let waits = server.get("/notifications/NT1").await.body;
    in_order(&waits, &["Its sender is paused (operator)", "href=\"/senders\""]);
    server.sending.outbox.cancel("NT2").await.expect("the store is there");
    let listed = async |query: &str| {
        let page = server.get(&format!("/notifications{query}")).await.body;
        [1, 2, 3].map(|number| page.contains(&format!("/notifications/NT{number}\"")))
    };
    assert_eq!(listed("").await, [true; 3]);
    assert_eq!(listed("?state=open&reference=").await, [true, false, true]);
    assert_eq!(listed("?reference=order-3").await, [false, false, true]);
    assert_eq!(listed("?state=cancelled&reference=order-3").await, [false; 3]);
    let none = server.get("/notifications?state=failed").await.body;
    assert!(none.contains("No notification matches."), "{none}");
    let wrong = ["?state=gone", "?after=NT1"].map(|query| format!("/notifications{query}"));
    for wrong in wrong {
        assert!(server.get(&wrong).await.body.contains("No answer: "), "{wrong}");
    }
    // No notification is older than the year 2000.
    assert_eq!(listed("?after=2000-01-01T00%3A00%3A00Z%7ENT1").await, [false; 3]);
    assert_eq!(server.get("/notifications/NT9").await.status, 404);
    server.stop().await;
}

#[tokio::test]
async fn a_notification_is_one_line_from_the_asking_to_the_confirmation() {
    let server = Server::start().await;
    server.sending.outbox.identity("secret").await.expect("the store is there");
    keep(&server, &another(1)).await;
    write(&server).await;
    let page = server.get("/notifications/NT1").await.body;
    in_order(
        &page,
        &["cannot be called back", "order-1", "asked", "sent", "attempt 1 from alerts"],
    );

    let answer = Box::new(said("queued", &["SM1", "queued", "rest"]));
    let outcome = Outcome::Accepted { sid: "SM1".to_owned(), event: answer };
    let answered = Answered { id: AttemptId::new(1), tries: 1, outcome };
    server.sending.outbox.answer(&[answered]).await.expect("the store is there");
    // Of the same SID, of an account that has nothing to do with it.
    let foreign = Event { account: "AC2".to_owned(), ..said("read", &["SM1", "read"]) };
    let delivered = Event {
        callee: Some(Callee::PressedOne),
        body: "ErrorCode=30003".into(),
        ..said("delivered", &["SM1", "delivered"])
    };
    server.store(&[foreign, delivered, event("SM2", "busy", 1, "")]).await;
    server.sending.outbox.settle().await.expect("the store is there");
    let page = server.get("/notifications/NT1").await.body;
    in_order(&page, &["Its delivery was confirmed after", "What happened", ">asked<", ">sent<"]);
    let (_, line) = page.split_once("What happened").expect("the line");
    for part in [
        "by the answer to its request",
        "href=\"/sid/SM1\"",
        "queued</span>",
        "Twilio's API",
        "delivered</span>",
        "the callee pressed 1",
        "Unreachable destination handset",
        "confirmed</span>",
        "the notification after",
    ] {
        assert!(line.contains(part), "{part}: {line}");
    }
    // The end of its only attempt is the notification's.
    assert_eq!(line.matches("confirmed</span>").count(), 1, "{line}");
    assert!(!line.contains("read</span>") && !line.contains("SM2"), "{line}");
    assert!(!page.contains("Cancel…"), "it is settled");
    let timeline = server.get("/sid/SM1?account=AC1").await.body;
    assert!(timeline.contains("href=\"/notifications/NT1\""), "{timeline}");
    server.stop().await;
}

#[tokio::test]
async fn the_steps_of_a_route_are_on_the_line() {
    let server = Server::start().await;
    server.sending.outbox.identity("secret").await.expect("the store is there");
    let step = |sender: &str, call: Option<CallPlan>| NewStep {
        sender: sender.to_owned(),
        account: "AC1".to_owned(),
        pace: sender.to_owned(),
        to_hash: "to".to_owned(),
        units: 1,
        channel: if call.is_some() { Channel::Call } else { Channel::Message },
        call,
        wait: Duration::from_secs(300),
        despite_stop: false,
        price: None,
    };
    let plan = CallPlan {
        confirm: Confirm::Digit,
        language: None,
        voice: None,
        timeout_s: 20,
        time_limit_s: 120,
    };
    let steps = vec![step("alerts", None), step("night", Some(plan))];
    let route = Some(NewRoute { name: "on-call".to_owned(), steps });
    keep(&server, &NewNotification { route, ..another(1) }).await;
    write(&server).await;
    let outcome = Outcome::Failed { reason: "30003".to_owned(), stop: None };
    let answered = Answered { id: AttemptId::new(1), tries: 1, outcome };
    server.sending.outbox.answer(&[answered]).await.expect("the store is there");
    let page = server.get("/notifications/NT1").await.body;
    let parts =
        ["It waits for its turn", "by route on-call", ">sent<", "escalated", "a call from night"];
    in_order(&page, &parts);
    assert!(page.contains("failed</span>") && page.contains("30003"), "{page}");
    for (route, found) in [("on-call", true), ("other", false)] {
        let listed = server.get(&format!("/notifications?route={route}")).await.body;
        assert_eq!(listed.contains("/notifications/NT1\""), found, "{route}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_notification_is_cancelled_after_a_question_by_who_may_change_something() {
    let server = guarded().await;
    let mut held = another(1);
    let until = Timestamp::parse_rfc3339("2099-01-01T08:00:00Z").expect("a time");
    held.held = Some(("quiet_hours", until));
    keep(&server, &held).await;
    let cookie = log_in(&server).await;
    let page = server.get_with("/notifications/NT1", &cookie).await.body;
    in_order(&page, &["It is held until 1 Jan 08:00: quiet hours.", "Cancel…"]);
    let form = format!("id=NT1&proof={}", proof(&page));
    let question = post(&server, "/notifications/confirm", &cookie, &form).await;
    assert!(question.body.contains("Cancel this notification?"), "{}", question.body);
    assert_eq!(post(&server, "/notifications/cancel", &cookie, "id=NT1").await.status, 403);
    let page = server.get_with("/notifications/NT1", &cookie).await.body;
    assert!(page.contains("It is held"), "not without the proof that the page was ours");
    let done = post(&server, "/notifications/cancel", &cookie, &form).await;
    assert_eq!((done.status, done.header("location")), (303, Some("/notifications/nt1")));
    let page = server.get_with("/notifications/NT1", &cookie).await.body;
    assert!(page.contains("It was cancelled after") && !page.contains("Cancel…"), "{page}");
    let other = format!("id=NT9&proof={}", proof(&page));
    assert_eq!(post(&server, "/notifications/cancel", &cookie, &other).await.status, 404);
    server.stop().await;
}

#[tokio::test]
async fn who_may_only_look_is_not_offered_a_cancellation() {
    let server = Server::start_with(|admin| {
        admin.auth = Auth::with(Some("s3cret"), Some("looking"));
    })
    .await;
    keep(&server, &another(1)).await;
    let looking = "Authorization: Bearer looking\r\n";
    let page = server.get_with("/notifications/NT1", looking).await.body;
    assert!(page.contains("This login is read-only.") && !page.contains("Cancel…"), "{page}");
    for change in ["/notifications/confirm", "/notifications/cancel"] {
        assert_eq!(post(&server, change, looking, "id=NT1").await.status, 403, "{change}");
    }
    server.stop().await;
}
