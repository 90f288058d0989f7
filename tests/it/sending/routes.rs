//! The fallback chain: a message, and a call if that is not confirmed.

use offhook::lab::twilio::{Behaviour, Share};
use serde_json::{Value, json};

use super::{FROM, Sending, both_stores, message};
use crate::harness::{Mode, until};

both_stores![a_message_rings_only_if_it_did_not_arrive];

/// A route of a message and a call, whose lines go into `[outbound]`.
const ROUTE: &str = "max_calls_per_recipient_hour = 1000\n\
                     [[sender]]\nname = \"night\"\nfrom = \"+15005550006\"\nkind = \"voice\"\n\
                     [[route]]\nname = \"urgent\"\n\
                     [[route.step]]\nsender = \"shop\"\nwait_s = 1\n\
                     [[route.step]]\nsender = \"night\"\nconfirm = \"digit\"\n";

fn urgent(number: u32) -> Value {
    let mut ask = message(number);
    ask["purpose"] = json!("alert");
    ask["route"] = json!("urgent");
    ask
}

/// The states of the steps.
fn steps(notification: &Value) -> Vec<&str> {
    let steps = notification["steps"].as_array().expect("an array");
    steps.iter().map(|step| step["state"].as_str().expect("a state")).collect()
}

/// How its attempts reached the recipient, and where they stand.
fn attempts(notification: &Value) -> Vec<(&str, &str)> {
    let attempts = notification["attempts"].as_array().expect("an array").iter();
    attempts
        .map(|it| {
            (it["channel"].as_str().expect("a channel"), it["state"].as_str().expect("a state"))
        })
        .collect()
}

async fn a_message_rings_only_if_it_did_not_arrive(mode: Mode) {
    let sending = Sending::with(mode, Behaviour::default(), ROUTE).await;
    let simulator = &sending.simulator;
    let calls = || simulator.ledger().calls.len();
    let escalations = async |reason: &str| {
        let series = format!("offhook_send_escalations_total{{reason=\"{reason}\"}}");
        sending.offhook().client.metric(&series).await
    };

    // It arrives.
    let id = sending.ask(&urgent(1)).await;
    let confirmed = sending.reaches(&id, "confirmed").await;
    assert_eq!((&confirmed["route"], &confirmed["sender"]), (&json!("urgent"), &json!("shop")));
    assert_eq!(steps(&confirmed), ["begun", "skipped"]);
    assert_eq!(attempts(&confirmed), [("message", "confirmed")]);

    // It arrives, and no callback says so: Twilio is asked before a call is made.
    simulator.behave(Behaviour { callbacks_missing: Share::ALWAYS, ..Behaviour::default() });
    let id = sending.ask(&urgent(2)).await;
    let confirmed = sending.reaches(&id, "confirmed").await;
    // Its answer, an event like any other, may settle it before the step is over.
    assert_eq!(steps(&confirmed)[1], "skipped");
    assert_eq!((calls(), escalations("time").await), (0, 0.0));

    // It cannot be delivered: the recipient is called, and presses 1.
    let undelivered = Behaviour { undelivered: Share::ALWAYS, ..Behaviour::default() };
    simulator.behave(undelivered.clone());
    let id = sending.ask(&urgent(3)).await;
    let confirmed = sending.reaches(&id, "confirmed").await;
    assert_eq!(steps(&confirmed), ["begun", "begun"]);
    assert_eq!(attempts(&confirmed), [("message", "failed"), ("call", "confirmed")]);
    let (ledger, call) = (simulator.ledger(), &confirmed["attempts"][1]);
    assert_eq!((&*ledger.calls[0].to, &*ledger.calls[0].from), ("+14155550003", FROM));
    assert!(ledger.calls[0].twiml.contains("Order 3 has left."), "{}", ledger.calls[0].twiml);
    assert_eq!((&call["sid"], &call["step"]), (&json!(ledger.calls[0].sid), &json!(2)));
    assert_eq!(escalations("failed").await, 1.0);

    // A voicemail confirms nothing.
    simulator.behave(Behaviour { calls_voicemail: Share::ALWAYS, ..undelivered });
    let id = sending.ask(&urgent(4)).await;
    let unconfirmed = sending.reaches(&id, "unconfirmed").await;
    assert_eq!(attempts(&unconfirmed), [("message", "failed"), ("call", "unconfirmed")]);

    // Twilio does not know either: it is on its way for long. Who says STOP meanwhile is not called, another one is.
    simulator.behave(Behaviour { status_after_ms: 600_000, ..Behaviour::default() });
    let stops = sending.ask(&urgent(5)).await;
    sending.attempt_reaches(&stops, "accepted").await;
    sending.hears("14155550005", "STOP").await;
    let refused = sending.reaches(&stops, "unconfirmed").await;
    assert_eq!(attempts(&refused), [("message", "unconfirmed"), ("call", "refused")]);
    let waits = sending.ask(&urgent(6)).await;
    until("the other one is called", async || {
        let now = sending.get(&format!("/api/notifications/{waits}")).await;
        (attempts(&now).get(1) == Some(&("call", "accepted"))).then_some(())
    })
    .await;
    assert_eq!(simulator.ledger().calls.iter().filter(|it| it.to == "+14155550005").count(), 0);
    assert_eq!((escalations("time").await, escalations("blind").await), (2.0, 0.0));
    let by_route = sending.get("/api/notifications?route=urgent&limit=2").await;
    assert_eq!(by_route["notifications"].as_array().map(Vec::len), Some(2));

    let wrong = |field: &str, value: &str| {
        let mut ask = urgent(7);
        ask[field] = json!(value);
        ask
    };
    for (field, value) in [("sender", "shop"), ("confirm", "digit"), ("route", "fax")] {
        let (status, problem) = sending.post("/api/notifications", &wrong(field, value)).await;
        assert!(status == 422 && problem.to_string().contains(&format!("`{field}`")), "{problem}");
    }
}
