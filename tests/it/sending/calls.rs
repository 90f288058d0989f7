//! Calls, from asking to the key that the callee presses.

use std::time::Duration;

use offhook::lab::twilio::{Behaviour, Share};
use serde_json::{Value, json};

use super::{FROM, Sending};
use crate::harness::{Mode, until};

const VOICE: &str = "[[sender]]\nname = \"night\"\nfrom = \"+15005550006\"\nkind = \"voice\"\nlanguage = \"en-GB\"\n\
                     time_limit_s = 60\n";

fn call(n: u32, more: &Value) -> Value {
    let mut ask = json!({
        "to": format!("+1415555{n:04}"), "text": "Pump 1 & 2 have <stopped>.", "purpose": "alert",
        "sender": "night",
    });
    for (name, value) in more.as_object().into_iter().flatten() {
        ask[name] = value.clone();
    }
    ask
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_is_confirmed_by_a_key_and_not_by_a_voicemail_and_can_be_cancelled() {
    let sending = Sending::with(Mode::Embedded, Behaviour::default(), VOICE).await;
    let simulator = &sending.simulator;

    let id = sending.ask(&call(1, &json!({}))).await;
    let confirmed = sending.reaches(&id, "confirmed").await;
    let attempt = &confirmed["attempts"][0];
    assert_eq!((&attempt["channel"], &attempt["confirm"]), (&json!("call"), &json!("digit")));
    until("the call is over", async || simulator.ledger().calls[0].over_at).await;
    let made = simulator.ledger().calls[0].clone();
    assert_eq!((&attempt["sid"], &attempt["id"]), (&json!(made.sid), &json!(made.attempt)));
    assert_eq!((made.to.as_str(), made.from.as_str()), ("+14155550001", FROM));
    assert_eq!((made.timeout_s, made.time_limit_s), (20, Some(60)));
    assert_eq!(made.events, ["initiated", "ringing", "answered", "completed"]);
    let say = "<Say language=\"en-GB\">Pump 1 &amp; 2 have &lt;stopped&gt;.</Say>";
    assert!(made.twiml.contains(say), "{}", made.twiml);
    let (status, heard) = made.pressed.expect("a key was pressed");
    assert!(status == 200 && heard.contains("This is confirmed"), "{heard}");
    until("its status is final", async || {
        let path = format!("/api/statuses/{}", made.sid);
        let (_, now) = sending.offhook().client.json(&path).await;
        (now["status"] == "completed").then_some(())
    })
    .await;

    simulator.behave(Behaviour { calls_voicemail: Share::ALWAYS, ..Behaviour::default() });
    let id = sending.ask(&call(2, &json!({ "confirm": "human" }))).await;
    assert_eq!(sending.reaches(&id, "unconfirmed").await["reason"], "machine");
    assert!(simulator.ledger().calls[1].detects_machines);
    let id = sending.ask(&call(3, &json!({ "confirm": "answered" }))).await;
    sending.reaches(&id, "confirmed").await;

    simulator.behave(Behaviour { calls_busy: Share::ALWAYS, ..Behaviour::default() });
    let id = sending.ask(&call(4, &json!({}))).await;
    assert_eq!(sending.reaches(&id, "failed").await["reason"], "busy");

    let ring_ms = Duration::from_secs(600).as_millis() as u64;
    simulator.behave(Behaviour { ring_ms, ..Behaviour::default() });
    let id = sending.ask(&call(5, &json!({}))).await;
    sending.attempt_reaches(&id, "accepted").await;
    // The account has one line.
    let waits = sending.ask(&call(6, &json!({}))).await;
    let (_, cancelled) = sending.post(&format!("/api/notifications/{id}/cancel"), &json!({})).await;
    assert_eq!((&cancelled["state"], &cancelled["hanging_up"]), (&json!("open"), &json!(1)));
    sending.reaches(&id, "cancelled").await;
    assert_eq!(simulator.ledger().calls[4].status, "canceled");
    sending.attempt_reaches(&waits, "accepted").await;
    assert_eq!(simulator.ledger().calls.len(), 6);

    let long = call(7, &json!({ "text": "&".repeat(800) }));
    let (status, problem) = sending.post("/api/notifications", &long).await;
    assert_eq!(status, 422);
    assert!(problem.to_string().contains("`text`: the TwiML that says it has 4"), "{problem}");
    let of_message = call(8, &json!({ "sender": "shop", "confirm": "digit" }));
    let (status, problem) = sending.post("/api/notifications", &of_message).await;
    assert!(status == 422 && problem.to_string().contains("`confirm`"), "{problem}");
}
