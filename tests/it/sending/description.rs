//! What `/api/openapi.json` says of sending holds for what is answered.

use std::collections::BTreeSet;

use jsonschema::Validator;
use offhook::lab::twilio::{Behaviour, Share};
use offhook::outbound::api::ROUTES;
use reqwest::Method;
use serde_json::{Value, json};

use super::{SENDING_TOKEN, Sending, message};
use crate::harness::Mode;

pub(super) fn document() -> Value {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/src/admin/api/openapi.json");
    serde_json::from_str(&std::fs::read_to_string(file).expect("it is there")).expect("JSON")
}

/// Of an answer.
pub(super) fn validator(document: &Value, path: &str, method: &Method, status: u16) -> Validator {
    let method = method.as_str().to_lowercase();
    let answers = &document["paths"][path][method]["responses"];
    let schema = match answers.get(status.to_string()) {
        Some(answer) => &answer["content"]["application/json"]["schema"],
        None => &document["components"]["schemas"]["Problem"],
    };
    let mut root = schema.clone();
    root["components"] = document["components"].clone();
    jsonschema::draft202012::new(&root).expect("a schema")
}

#[test]
fn every_route_of_sending_is_described_and_nothing_else() {
    let document = document();
    let all = document["paths"].as_object().expect("an object").iter();
    let of_sending = |operations: &Value| {
        let mut operations = operations.as_object().expect("an object").values();
        operations.all(|operation| operation["tags"][0] == "sending")
    };
    let described: BTreeSet<&str> =
        all.filter(|(_, it)| of_sending(it)).map(|(path, _)| path.as_str()).collect();
    assert_eq!(described, ROUTES.iter().map(|(path, _)| *path).collect());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_are_as_described() {
    let behaviour = Behaviour {
        drop_answers: Share::ALWAYS,
        callbacks_missing: Share::ALWAYS,
        ..Behaviour::default()
    };
    let sending = Sending::start(Mode::Embedded, behaviour).await;
    let id = sending.ask(&message(1)).await;
    sending.attempt_reaches(&id, "unknown").await;
    let document = document();
    let (one, cancel) =
        (format!("/api/notifications/{id}"), format!("/api/notifications/{id}/cancel"));
    let (get, post, number) = (Method::GET, Method::POST, json!({ "to": "+14155550009" }));
    let consent = json!({
        "to": "+14155550009", "at": "2026-01-01T00:00:00Z", "source": "web form", "text": "Send me offers",
    });
    let (path, of_one) = ("/api/notifications", "/api/notifications/{id}");
    for (method, path, target, body, expected) in [
        (&post, path, path, Some(message(2)), 202),
        (&post, path, path, Some(json!({})), 422),
        (&get, path, "/api/notifications?limit=1", None, 200),
        (&get, path, "/api/notifications?state=x", None, 422),
        (&get, of_one, &one, None, 200),
        (&get, of_one, "/api/notifications/nothing", None, 404),
        (&get, "/api/attempts/unknown", "/api/attempts/unknown", None, 200),
        (&get, "/api/senders", "/api/senders", None, 200),
        (&post, "/api/senders/{name}/pause", "/api/senders/shop/pause", None, 200),
        (&get, "/api/senders", "/api/senders", None, 200),
        (&post, "/api/senders/{name}/resume", "/api/senders/shop/resume", None, 200),
        (&post, "/api/senders/{name}/resume", "/api/senders/nobody/resume", None, 404),
        (&post, "/api/senders/hold-all", "/api/senders/hold-all", None, 200),
        (&post, "/api/senders/resume-all", "/api/senders/resume-all", None, 200),
        (&post, "/api/senders/adopt", "/api/senders/adopt", None, 200),
        (&post, "/api/suppressions", "/api/suppressions", Some(number.clone()), 200),
        (
            &post,
            "/api/suppressions/import",
            "/api/suppressions/import",
            Some(json!({ "entries": [{ "to": "+14155550009" }, { "hash": "0a".repeat(32) }] })),
            200,
        ),
        (
            &post,
            "/api/suppressions/import",
            "/api/suppressions/import",
            Some(json!({ "entries": [{ "to": "+14155550008" }, { "to": "5550100" }] })),
            422,
        ),
        (&get, "/api/suppressions", "/api/suppressions", None, 200),
        (&post, "/api/suppressions/lift", "/api/suppressions/lift", Some(number), 200),
        (&post, "/api/consents", "/api/consents", Some(consent.clone()), 200),
        (&post, "/api/consents", "/api/consents", Some(json!({ "to": "+14155550009" })), 422),
        (
            &post,
            "/api/consents/import",
            "/api/consents/import",
            Some(json!({ "entries": [consent, { "to": "5550100" }] })),
            200,
        ),
        (
            &post,
            "/api/consents/withdraw",
            "/api/consents/withdraw",
            Some(json!({ "to": "+14155550009" })),
            200,
        ),
        (&get, "/api/consents", "/api/consents?to=%2B14155550009", None, 200),
        (&get, "/api/reconcile", "/api/reconcile?older_than_s=0", None, 200),
        (&get, "/api/reconcile", "/api/reconcile?older_than_s=x", None, 400),
        (&post, "/api/reconcile", "/api/reconcile", Some(json!({ "older_than_s": 0 })), 200),
        (&post, "/api/notifications/{id}/cancel", &cancel, None, 200),
    ] {
        let (status, answer) =
            sending.request(method.clone(), target, Some(SENDING_TOKEN), None, body.as_ref()).await;
        assert_eq!(status.as_u16(), expected, "{method} {target}: {answer}");
        let validator = validator(&document, path, method, expected);
        let errors: Vec<_> = validator.iter_errors(&answer).map(|it| it.to_string()).collect();
        assert!(errors.is_empty(), "{method} {target}: {errors:?} in {answer}");
    }
}
