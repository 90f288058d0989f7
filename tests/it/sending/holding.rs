//! What holds messages back: a pause, a cancellation, a suppression, another deployment.

use offhook::clock::Clock;
use offhook::lab::twilio::Behaviour;
use reqwest::StatusCode;
use serde_json::json;

use super::{Sending, both_stores, message};
use crate::harness::{Mode, until};

both_stores![
    what_is_paused_is_sent_when_it_is_resumed,
    what_is_cancelled_is_not_sent,
    a_suppressed_recipient_is_refused_until_it_is_lifted,
    who_says_stop_before_a_message_is_sent_is_not_sent_it,
    what_is_not_urgent_waits_for_the_hours_of_its_recipient,
    a_copy_of_the_database_sends_nothing_until_it_is_adopted,
    with_another_key_of_addresses_nothing_is_asked_or_adopted,
];

async fn what_is_paused_is_sent_when_it_is_resumed(mode: Mode) {
    let sending = Sending::start(mode, Behaviour::default()).await;
    let first = sending.ask(&message(1)).await;
    sending.reaches(&first, "confirmed").await;
    for (stop, go) in [
        ("/api/senders/shop/pause", "/api/senders/shop/resume"),
        ("/api/senders/hold-all", "/api/senders/resume-all"),
    ] {
        let before = sending.simulator.created();
        let (status, held) = sending.post(stop, &json!({})).await;
        assert_eq!((status, &held["in_writing"]), (StatusCode::OK, &json!(0)), "{held}");
        let id = sending.ask(&message(2)).await;
        until("the due count shows it", async || {
            let senders = sending.get("/api/senders").await;
            (senders["senders"][0]["due"] == 1).then_some(())
        })
        .await;
        assert_eq!(sending.simulator.created(), before);
        let (status, resumed) = sending.post(go, &json!({})).await;
        assert_eq!((status, &resumed["resumed"]), (StatusCode::OK, &json!(true)));
        sending.reaches(&id, "confirmed").await;
    }
    let (status, _) = sending.post("/api/senders/nobody/pause", &json!({})).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

async fn what_is_cancelled_is_not_sent(mode: Mode) {
    let sending = Sending::start(mode, Behaviour::default()).await;
    let first = sending.ask(&message(1)).await;
    sending.reaches(&first, "confirmed").await;
    sending.post("/api/senders/shop/pause", &json!({})).await;
    let id = sending.ask(&message(2)).await;
    let (status, cancelled) =
        sending.post(&format!("/api/notifications/{id}/cancel"), &json!({})).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(cancelled, json!({ "state": "cancelled", "in_writing": 0, "hanging_up": 0 }));
    sending.post("/api/senders/shop/resume", &json!({})).await;
    let last = sending.ask(&message(3)).await;
    sending.reaches(&last, "confirmed").await;
    sending.reaches(&id, "cancelled").await;
    assert_eq!(sending.simulator.created(), 2);
    let (status, _) = sending.post("/api/notifications/ntf_0/cancel", &json!({})).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

async fn a_suppressed_recipient_is_refused_until_it_is_lifted(mode: Mode) {
    let sending = Sending::start(mode, Behaviour::default()).await;
    let first = sending.ask(&message(1)).await;
    sending.reaches(&first, "confirmed").await;
    let to = json!({ "to": "+14155550001" });
    assert_eq!(sending.post("/api/suppressions", &to).await.0, StatusCode::OK);
    let id = sending.ask(&message(1)).await;
    assert_eq!(sending.reaches(&id, "refused").await["reason"], "suppression");
    assert_eq!(sending.post("/api/suppressions/lift", &to).await.0, StatusCode::OK);
    let id = sending.ask(&message(1)).await;
    sending.reaches(&id, "confirmed").await;
    assert_eq!(sending.simulator.created(), 2);
}

async fn who_says_stop_before_a_message_is_sent_is_not_sent_it(mode: Mode) {
    // Once by a key of the configuration, and once by the secret of the store.
    let key = match mode {
        Mode::Embedded => String::new(),
        _ => format!("suppression_key = \"{}\"\n", "a".repeat(64)),
    };
    let sending = Sending::with(mode, Behaviour::default(), &key).await;
    let first = sending.ask(&message(1)).await;
    sending.reaches(&first, "confirmed").await;
    sending.post("/api/senders/shop/pause", &json!({})).await;
    let id = sending.ask(&message(1)).await;
    sending.hears("14155550001", "+stop+").await;
    until("it is heard", async || {
        let suppressed = sending.get("/api/suppressions").await;
        (suppressed["suppressions"].as_array()?.len() == 2).then_some(())
    })
    .await;
    sending.post("/api/senders/shop/resume", &json!({})).await;
    assert_eq!(sending.reaches(&id, "refused").await["reason"], "suppression");
    assert_eq!(sending.simulator.created(), 1);
}

async fn what_is_not_urgent_waits_for_the_hours_of_its_recipient(mode: Mode) {
    // Messages may be sent on one day of the week only, which is neither today nor tomorrow in any zone.
    let day = Clock::System.now().micros() / (24 * 3600 * 1_000_000) + 3;
    let day =
        ["thu", "fri", "sat", "sun", "mon", "tue", "wed"][usize::try_from(day % 7).expect("a day")];
    let hours = format!(
        "[quiet_hours]\nprofile = \"custom\"\nfrom = \"08:00\"\nuntil = \"20:00\"\ndays = [\"{day}\"]\n"
    );
    let sending = Sending::with(mode, Behaviour::default(), &hours).await;
    let mut alert = message(1);
    alert["purpose"] = json!("alert");
    let alert = sending.ask(&alert).await;
    sending.reaches(&alert, "confirmed").await;
    let series = "offhook_send_in_quiet_hours_total{purpose=\"alert\"}";
    assert_eq!(sending.offhook().client.metric(series).await, 1.0);

    let mut asked = message(2);
    asked["time_zone"] = json!("Europe/Berlin");
    let held = sending.ask(&asked).await;
    let last = sending.ask(&message(3)).await;
    for id in [&held, &last] {
        let now = sending.get(&format!("/api/notifications/{id}")).await;
        assert_eq!(
            (&now["state"], &now["attempts"][0]["held"]),
            (&json!("open"), &json!("quiet_hours"))
        );
        assert!(now["attempts"][0]["due_at"].as_str() > now["created_at"].as_str(), "{now}");
    }
    assert_eq!(sending.simulator.created(), 1);
    asked["time_zone"] = json!("Berlin");
    let (status, problem) = sending.post("/api/notifications", &asked).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{problem}");
}

async fn a_copy_of_the_database_sends_nothing_until_it_is_adopted(mode: Mode) {
    let mut sending = Sending::start(mode, Behaviour::default()).await;
    let first = sending.ask(&message(1)).await;
    sending.reaches(&first, "confirmed").await;
    // A hold by hand does not stand in for the other one.
    sending.post("/api/senders/hold-all", &json!({})).await;
    sending.offhook.take().expect("it runs").stop().expect("a clean end");
    // Another public URL that leads to the same listener.
    let url = sending.testbed.settings.environment()["OFFHOOK_PUBLIC_URL"].clone();
    let other = url.replace("127.0.0.1", "localhost");
    sending.testbed.settings = sending.testbed.settings.clone().set("OFFHOOK_PUBLIC_URL", other);
    sending.offhook = Some(sending.testbed.start());
    let id = sending.ask(&message(2)).await;
    until("it is held", async || {
        (sending.get("/api/senders").await["held"] == "adopt").then_some(())
    })
    .await;
    let (status, _) = sending.post("/api/senders/resume-all", &json!({})).await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert_eq!(sending.simulator.created(), 1);
    let (status, adopted) = sending.post("/api/senders/adopt", &json!({})).await;
    assert_eq!((status, &adopted["resumed"]), (StatusCode::OK, &json!(false)), "a person holds it");
    let (status, resumed) = sending.post("/api/senders/resume-all", &json!({})).await;
    assert_eq!((status, &resumed["resumed"]), (StatusCode::OK, &json!(true)));
    sending.reaches(&id, "confirmed").await;
}

/// By another key, no suppression would be found.
async fn with_another_key_of_addresses_nothing_is_asked_or_adopted(mode: Mode) {
    let key = |digit: &str| format!("suppression_key = \"{}\"\n", digit.repeat(64));
    let mut sending = Sending::with(mode, Behaviour::default(), &key("a")).await;
    let first = sending.ask(&message(1)).await;
    sending.reaches(&first, "confirmed").await;
    sending.offhook.take().expect("it runs").stop().expect("a clean end");
    let file = sending.testbed.directory().join("offhook.toml");
    let config = std::fs::read_to_string(&file).expect("it is ours");
    std::fs::write(&file, config.replace(&key("a"), &key("b"))).expect("it is ours");
    sending.offhook = Some(sending.testbed.start());
    for (path, body) in [("/api/notifications", message(2)), ("/api/senders/adopt", json!({}))] {
        let (status, problem) = sending.post(path, &body).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        let detail = problem["detail"].as_str().expect("a detail");
        assert!(detail.contains("outbound.suppression_key"), "{detail}");
    }
    assert_eq!(sending.simulator.created(), 1);
}
