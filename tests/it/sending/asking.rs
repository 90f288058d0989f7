//! What is asked, and what is refused with the field and the fix.

use std::time::Duration;

use offhook::clock::Clock;
use offhook::lab::twilio::Behaviour;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::{SENDING_TOKEN, Sending, both_stores, message};
use crate::harness::{Mode, until};

both_stores![
    a_key_is_answered_once,
    a_key_is_answered_after_the_deadline,
    a_bad_request_names_the_field,
    a_nul_in_the_url_is_a_problem_of_the_asker,
];

async fn a_key_is_answered_once(mode: Mode) {
    let sending = Sending::start(mode, Behaviour::default()).await;
    let first = sending.ask(&message(1)).await;
    sending.reaches(&first, "confirmed").await;
    let ask = async |body: &Value| {
        let (token, key) = (Some(SENDING_TOKEN), Some("key-1"));
        sending.request(Method::POST, "/api/notifications", token, key, Some(body)).await
    };
    let (status, kept) = ask(&message(2)).await;
    assert_eq!((status, &kept["repeated"]), (StatusCode::ACCEPTED, &json!(false)));
    let (status, again) = ask(&message(2)).await;
    assert_eq!((status, &again["repeated"]), (StatusCode::ACCEPTED, &json!(true)));
    assert_eq!(kept["id"], again["id"]);
    let (status, other) = ask(&message(3)).await;
    assert_eq!(status, StatusCode::CONFLICT, "{other}");
    sending.reaches(kept["id"].as_str().expect("an id"), "confirmed").await;
    assert_eq!(sending.simulator.created(), 2);
}

/// The first answer may have been lost: what is repeated then was kept, and perhaps sent.
async fn a_key_is_answered_after_the_deadline(mode: Mode) {
    let sending = Sending::start(mode, Behaviour::default()).await;
    let first = sending.ask(&message(1)).await;
    sending.reaches(&first, "confirmed").await;
    let ask = async |key: &str, body: &Value| {
        let token = Some(SENDING_TOKEN);
        sending.request(Method::POST, "/api/notifications", token, Some(key), Some(body)).await
    };
    let deadline = Clock::System.now().after(Duration::from_secs(10));
    let mut body = message(2);
    body["deadline"] = json!(deadline.to_string());
    let (status, kept) = ask("key-1", &body).await;
    assert_eq!((status, &kept["repeated"]), (StatusCode::ACCEPTED, &json!(false)), "{kept}");
    until("the deadline is nearer than 5 s", async || {
        (Clock::System.now() > deadline.before(Duration::from_secs(5))).then_some(())
    })
    .await;
    let (status, refused) = ask("key-2", &body).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{refused}");
    assert!(refused.to_string().contains("deadline"), "{refused}");
    let (status, again) = ask("key-1", &body).await;
    assert_eq!((status, &again["repeated"]), (StatusCode::ACCEPTED, &json!(true)), "{again}");
    assert_eq!(kept["id"], again["id"]);
    body["text"] = json!("Another one.");
    let (status, other) = ask("key-1", &body).await;
    assert_eq!(status, StatusCode::CONFLICT, "{other}");
}

async fn a_nul_in_the_url_is_a_problem_of_the_asker(mode: Mode) {
    let sending = Sending::start(mode, Behaviour::default()).await;
    sending.ask(&message(1)).await;
    for path in ["/api/notifications/a%00b", "/api/notifications?reference=%00"] {
        let token = Some(SENDING_TOKEN);
        let (status, problem) = sending.request(Method::GET, path, token, None, None).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{path}: {problem}");
    }
}

async fn a_bad_request_names_the_field(mode: Mode) {
    let sending = Sending::start(mode, Behaviour::default()).await;
    let first = sending.ask(&message(1)).await;
    sending.reaches(&first, "confirmed").await;
    let long = "x".repeat(1601);
    for (field, value) in [
        ("to", json!("0170 1234567")),
        ("to", json!("+4915112345678")),
        ("to", json!("+112")),
        ("text", json!("  ")),
        ("text", json!(long)),
        ("sender", json!("nobody")),
        ("purpose", json!("marketing")),
        ("purpose", json!("fun")),
        ("on_unknown", json!("retry")),
        ("deadline", json!("tomorrow")),
        ("deadline", json!("2020-01-01T00:00:00Z")),
        ("deadline", json!("2090-01-01T00:00:00Z")),
        ("reference", json!("")),
    ] {
        let mut body = message(2);
        body[field] = value.clone();
        let (status, problem) = sending.post("/api/notifications", &body).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{field} {value}: {problem}");
        let detail = problem["detail"].as_str().expect("a detail");
        assert!(detail.contains(&format!("`{field}`")), "{field} {value}: {detail}");
    }
    let (status, _) = sending.post("/api/notifications", &json!({ "to": "+14155550001" })).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    for token in [None, Some("another-token-of-24-chars"), Some("")] {
        let (status, _) = sending.request(Method::GET, "/api/senders", token, None, None).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{token:?}");
    }
    assert_eq!(sending.simulator.ledger().posts.len(), 1, "nothing else was sent");
}
