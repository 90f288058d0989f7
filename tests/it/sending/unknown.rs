//! Outcomes that nobody could report.

use offhook::lab::twilio::{Behaviour, Share};
use serde_json::json;

use super::{Sending, both_stores, message};
use crate::harness::Mode;

/// Looks soon, so that a test need not wait for a minute.
const LOOKS: &str = "look_after_s = [60]\n";

both_stores![
    a_dropped_answer_is_settled_by_callbacks,
    without_callbacks_an_unknown_outcome_is_reported,
];

async fn a_dropped_answer_is_settled_by_callbacks(mode: Mode) {
    let behaviour =
        Behaviour { drop_answers: Share::ALWAYS, callbacks_late_ms: 300, ..Behaviour::default() };
    let sending = Sending::start(mode, behaviour).await;
    let id = sending.ask(&message(1)).await;
    let confirmed = sending.reaches(&id, "confirmed").await;
    assert_eq!(confirmed["attempts"].as_array().map(Vec::len), Some(1));
    assert_eq!(sending.simulator.created(), 1);
}

async fn without_callbacks_an_unknown_outcome_is_reported(mode: Mode) {
    let behaviour = Behaviour {
        fail_created: Share::ALWAYS,
        callbacks_missing: Share::ALWAYS,
        ..Behaviour::default()
    };
    let sending = Sending::with(mode, behaviour, LOOKS).await;
    let id = sending.ask(&message(1)).await;
    let unknown = sending.reaches(&id, "unknown").await;
    assert_eq!(unknown["reason"], "server_error");
    let listed = sending.get("/api/attempts/unknown").await;
    assert_eq!(listed["attempts"][0]["notification"], json!(id));
    assert_eq!(sending.simulator.created(), 1, "it is not sent again by itself");
    // Asked to err on the other side, it stays open until it was looked for.
    let mut resend = message(2);
    resend["on_unknown"] = json!("resend");
    let id = sending.ask(&resend).await;
    let open = sending.attempt_reaches(&id, "unknown").await;
    assert_eq!(open["state"], "open");
}
