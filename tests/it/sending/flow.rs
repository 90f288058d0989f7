//! From asking to what became of it.

use offhook::lab::twilio::{Behaviour, Share};
use serde_json::json;

use super::{FROM, Sending, both_stores, message};
use crate::harness::{Mode, until};

both_stores![
    a_message_is_confirmed_by_its_callbacks,
    a_message_that_cannot_be_delivered_has_failed,
    a_refused_recipient_has_failed_and_an_opted_out_one_is_suppressed,
    a_throttle_ends_no_notification,
    callbacks_before_the_answer_twice_and_contradicting_end_well,
    a_restart_sends_what_was_asked_and_nothing_twice,
    what_the_store_refuses_holds_no_other,
];

async fn a_message_is_confirmed_by_its_callbacks(mode: Mode) {
    let sending = Sending::start(mode, Behaviour::default()).await;
    let mut ask = message(1);
    ask["reference"] = json!("order-1");
    let id = sending.ask(&ask).await;
    let confirmed = sending.reaches(&id, "confirmed").await;
    let timed = "offhook_notification_confirmed_seconds_count{channel=\"message\"}";
    until("it is timed", async || {
        (sending.offhook().client.metric(timed).await == 1.0).then_some(())
    })
    .await;
    let attempt = &confirmed["attempts"][0];
    assert_eq!((&attempt["state"], &attempt["tries"]), (&json!("confirmed"), &json!(1)));
    let ledger = sending.simulator.ledger();
    assert_eq!((ledger.messages.len(), ledger.posts.len()), (1, 1));
    let sent = &ledger.messages[0];
    assert_eq!(attempt["sid"], json!(sent.sid));
    assert_eq!((sent.to.as_str(), sent.from.as_deref()), ("+14155550001", Some(FROM)));
    assert_eq!(sent.body, "Order 1 has left.");
    assert_eq!(sent.attempt.as_deref(), attempt["id"].as_str());
    assert_eq!(sent.validity_period, Some(36_000));
    // The same law as for all callbacks: one true status for each SID.
    let status = sending.offhook().client.json(&format!("/api/statuses/{}", sent.sid)).await.1;
    assert_eq!(status["status"], "delivered", "{status}");
    let found = sending.get("/api/notifications?reference=order-1").await;
    assert_eq!(found["notifications"][0]["id"], json!(id));
}

/// Callbacks get lost on the way: Twilio is asked, and what it says confirms.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_callback_twilio_is_asked() {
    let behaviour = Behaviour { callbacks_missing: Share::ALWAYS, ..Behaviour::default() };
    let times = "reconcile_after_s = [1, 2]\n";
    let sending = Sending::with(Mode::Embedded, behaviour, times).await;
    let id = sending.ask(&message(1)).await;
    sending.reaches(&id, "confirmed").await;
    assert_eq!(sending.offhook().client.metric("offhook_callbacks_missed_total").await, 1.0);
}

async fn a_message_that_cannot_be_delivered_has_failed(mode: Mode) {
    let behaviour = Behaviour { undelivered: Share::ALWAYS, ..Behaviour::default() };
    let sending = Sending::start(mode, behaviour).await;
    let id = sending.ask(&message(1)).await;
    assert_eq!(sending.reaches(&id, "failed").await["reason"], "30003");
}

async fn a_refused_recipient_has_failed_and_an_opted_out_one_is_suppressed(mode: Mode) {
    let behaviour = Behaviour {
        bad_number: vec!["+14155550001".to_owned()],
        opted_out: vec!["+14155550002".to_owned()],
        ..Behaviour::default()
    };
    let sending = Sending::start(mode, behaviour).await;
    for (number, reason) in [(1, "21211"), (2, "21610")] {
        let id = sending.ask(&message(number)).await;
        assert_eq!(sending.reaches(&id, "failed").await["reason"], reason);
    }
    let again = sending.ask(&message(2)).await;
    assert_eq!(sending.reaches(&again, "refused").await["reason"], "suppression");
    assert_eq!(sending.simulator.ledger().posts.len(), 2, "nothing was sent to who opted out");
    let suppressed = sending.get("/api/suppressions").await;
    assert_eq!(suppressed["suppressions"][0]["source"], "21610");
}

async fn a_throttle_ends_no_notification(mode: Mode) {
    let behaviour = Behaviour { throttle_next: 7, ..Behaviour::default() };
    let sending = Sending::start(mode, behaviour).await;
    let id = sending.ask(&message(1)).await;
    let confirmed = sending.reaches(&id, "confirmed").await;
    assert_eq!(confirmed["attempts"][0]["tries"], 8);
    let ledger = sending.simulator.ledger();
    assert_eq!((ledger.messages.len(), ledger.posts.len()), (1, 8));
    let gaps: Vec<u128> =
        ledger.posts.windows(2).map(|pair| pair[1].at.since(pair[0].at).as_millis()).collect();
    // 100 ms, doubled, with 10 % of jitter at most; the fifth wait is the account's, and a new round begins.
    for (gap, base) in gaps.iter().zip([100, 200, 400, 800, 1600, 100, 200]) {
        assert!(*gap >= base * 9 / 10, "{gaps:?}");
    }
}

async fn callbacks_before_the_answer_twice_and_contradicting_end_well(mode: Mode) {
    let behaviour = Behaviour {
        callbacks_first: Share::ALWAYS,
        callbacks_twice: Share::ALWAYS,
        callbacks_contradict: Share::ALWAYS,
        answer_after_ms: 200,
        ..Behaviour::default()
    };
    let sending = Sending::start(mode, behaviour).await;
    let ids = [sending.ask(&message(1)).await, sending.ask(&message(2)).await];
    for id in &ids {
        sending.reaches(id, "confirmed").await;
    }
    assert_eq!(sending.simulator.created(), 2);
    let metric = |name: &'static str| sending.offhook().client.metric(name);
    assert_eq!(metric("offhook_send_duplicates_total").await, 0.0);
    assert_eq!(metric("offhook_send_mismatches_total").await, 0.0);
}

async fn a_restart_sends_what_was_asked_and_nothing_twice(mode: Mode) {
    let mut sending = Sending::start(mode, Behaviour::default()).await;
    let mut ids = Vec::new();
    for number in 0..20 {
        ids.push(sending.ask(&message(number)).await);
    }
    sending.offhook.take().expect("it runs").stop().expect("a clean end");
    sending.offhook = Some(sending.testbed.start());
    for id in &ids {
        sending.reaches(id, "confirmed").await;
    }
    until("every message is there", async || {
        (sending.simulator.created() == ids.len()).then_some(())
    })
    .await;
}

/// As a constraint or a trigger of the operator's does: of a group of answers, all but one are stored.
async fn what_the_store_refuses_holds_no_other(mode: Mode) {
    let behaviour = Behaviour {
        answer_after_ms: 200,
        callbacks_missing: Share::ALWAYS,
        ..Behaviour::default()
    };
    let sending = Sending::start(mode, behaviour).await;
    let before = sending.ask(&message(9)).await;
    sending.attempt_reaches(&before, "accepted").await;
    match mode {
        Mode::Embedded => {
            let trigger = "CREATE TRIGGER refuses BEFORE INSERT ON attempt_sids WHEN (SELECT \"to\" FROM notifications \
                 WHERE id = (SELECT notification FROM attempts WHERE id = NEW.attempt)) = '+14155550002' \
                 BEGIN SELECT RAISE(ABORT, 'refused'); END";
            sending.testbed.execute(trigger).await;
        }
        _ => {
            let trigger = "CREATE FUNCTION refuses() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
                 IF (SELECT \"to\" FROM notifications \
                 WHERE id = (SELECT notification FROM attempts WHERE id = NEW.attempt)) = '+14155550002' \
                 THEN RAISE check_violation; END IF; RETURN NEW; END $$; \
                 CREATE TRIGGER refuses BEFORE INSERT ON attempt_sids FOR EACH ROW EXECUTE FUNCTION refuses()";
            sending.testbed.execute(trigger).await;
        }
    }
    let mut ids = Vec::new();
    for number in 1..=4 {
        ids.push(sending.ask(&message(number)).await);
    }
    for (id, state) in ids.iter().zip(["accepted", "unknown", "accepted", "accepted"]) {
        sending.attempt_reaches(id, state).await;
    }
    assert_eq!(sending.get("/api/attempts/unknown").await["attempts"][0]["reason"], "unreadable");
}
