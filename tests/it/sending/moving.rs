//! `offhook copy` takes along what is sent: from then on the target sends it, and the source does not.

use offhook::lab::twilio::{Behaviour, Share};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::emails::{ROUTE, email, urgent};
use super::{SENDING_TOKEN, Sending, message};
use crate::harness::{Mode, Testbed, run, until};
use crate::services::{Durability, needs};

/// Who unsubscribes from emails.
const UNSUBSCRIBED: &str = "ana6@example.com";
/// What is paused while it is copied.
const PAUSED: [&str; 2] = ["shop", "mail"];

/// A deployment with the configuration of another one, and a Postgres.
fn beside(source: &Testbed) -> Testbed {
    let mut target = Testbed::direct(Durability::Unsynced);
    for name in ["OFFHOOK_CONFIG", "OFFHOOK_INBOUND__LISTEN", "OFFHOOK_PUBLIC_URL"] {
        let value = source.settings.environment()[name].clone();
        target.settings = target.settings.clone().set(name, value);
    }
    target.settings =
        target.settings.clone().unset("TWILIO_ACCOUNT_SID").unset("TWILIO_AUTH_TOKEN");
    target
}

fn file(source: &Testbed) -> String {
    source.directory().join("offhook.db").display().to_string()
}

async fn ask_again(sending: &Sending, key: &str, body: &Value) -> (StatusCode, Value) {
    let token = Some(SENDING_TOKEN);
    sending.request(Method::POST, "/api/notifications", token, Some(key), Some(body)).await
}

async fn held(sending: &Sending, why: &str) {
    until("everything is held", async || {
        (sending.get("/api/senders").await["held"] == why).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_sent_is_copied_and_goes_out_once_from_the_new_deployment() {
    needs!(Postgres);
    let mut sending = Sending::with(Mode::Embedded, Behaviour::default(), ROUTE).await;
    let by_sender = |number| {
        let mut ask = message(number);
        ask["sender"] = json!("shop");
        ask
    };
    let first = sending.ask(&by_sender(1)).await;
    sending.reaches(&first, "confirmed").await;
    sending.post("/api/suppressions", &json!({ "to": "+14155550002" })).await;
    let who = Behaviour { mails_unsubscribed: Share::ALWAYS, ..Behaviour::default() };
    sending.simulator.behave(who);
    let mailed = sending.ask(&email(6)).await;
    sending.reaches(&mailed, "confirmed").await;
    until("the unsubscription is heeded", async || {
        let found = sending.get("/api/suppressions").await["suppressions"].clone();
        found.as_array().expect("an array").iter().any(|it| it["to"] == UNSUBSCRIBED).then_some(())
    })
    .await;
    sending.simulator.behave(Behaviour::default());
    for sender in PAUSED {
        sending.post(&format!("/api/senders/{sender}/pause"), &json!({})).await;
    }
    let consent = json!({
        "to": "ana@example.com", "at": "2026-01-01T00:00:00Z", "source": "web form", "text": "Send me offers",
    });
    assert_eq!(sending.post("/api/consents", &consent).await.1, json!({ "consented": true }));
    let (_, due) = ask_again(&sending, "key", &urgent(3)).await;
    let due = due["id"].as_str().expect("an id").to_owned();
    let due_email = sending.ask(&email(7)).await;
    let written = sending.ask(&by_sender(4)).await;
    let list = "to,name\n+14155550006,Flo\n+14155550007,Gus\n";
    let campaign = sending.create(list, &[("sender", "shop")]).await.1;
    let campaign = campaign["id"].as_str().expect("an id").to_owned();
    sending.offhook.take().expect("it runs").stop().expect("a clean end");
    // Its process was killed while it waited for the answer.
    let kill = "UPDATE attempts SET state = 'writing', written_at = created_at, lease_until = created_at, \
                holder = 'x' WHERE notification = (SELECT id FROM notifications WHERE \"to\" = '+14155550004')";
    sending.testbed.execute(kill).await;

    let target = beside(&sending.testbed);
    run(&target.settings, &["migrate"]).well();
    let copy = ["copy", "--from", &file(&sending.testbed)];
    let verify = [&copy[..], &["--verify"]].concat();
    let said = run(&target.settings, &verify).badly();
    assert!(said.contains("the target does not have all of it"), "{said}");
    for _ in 0..2 {
        let printed = run(&target.settings, &copy).well();
        // 5 notifications, 5 attempts, 3 steps, a campaign with 2 recipients, entries of the log of suppressions, one for each
        // channel of the number and one of the address, and a consent.
        for part in ["20 sending rows compared: the target has all of them", "resume-all"] {
            assert!(printed.contains(part), "`{part}` is not in: {printed}");
        }
        assert!(!printed.contains("+1415") && !printed.contains('@'), "an address: {printed}");
    }
    run(&target.settings, &verify).well();
    assert_eq!(target.column("SELECT count(*)::text FROM suppressions").await, ["3"]);
    assert_eq!(target.column("SELECT status FROM emails").await, ["delivered"]);
    let events = "SELECT status FROM events WHERE kind = 'email' ORDER BY status";
    let reported = ["accepted", "delivered", "processed", "unsubscribe"];
    assert_eq!(target.column(events).await, reported);
    let texts = "SELECT concat_ws('|', \"to\", email, subject, html) FROM notifications \
                 WHERE subject IS NOT NULL ORDER BY created_at";
    let texts = target.column(texts).await;
    let frozen = "+14155550003|ana3@example.com|Order 3|<p>&lt;Ana&gt;</p>";
    assert_eq!(texts, ["ana6@example.com|Late", frozen, "ana7@example.com|Late"]);
    assert_eq!(target.column("SELECT \"to\" FROM consents WHERE given").await, ["ana@example.com"]);

    let source = std::mem::replace(&mut sending.testbed, target);
    sending.offhook = Some(sending.testbed.start());
    held(&sending, "copied").await;
    let again = ask_again(&sending, "key", &urgent(3)).await;
    assert_eq!(again.1["id"], json!(due), "the key of a request is known: {again:?}");
    let suppressed = sending.ask(&by_sender(2)).await;
    let unsubscribed = sending.ask(&email(6)).await;
    sending.reaches(&written, "unknown").await;
    assert_eq!(sending.simulator.created(), 1, "nothing is sent until a person says so");
    for sender in PAUSED {
        sending.post(&format!("/api/senders/{sender}/resume"), &json!({})).await;
    }
    assert_eq!(sending.post("/api/senders/resume-all", &json!({})).await.0, StatusCode::OK);
    assert_eq!(sending.reaches(&due, "confirmed").await["steps"][1]["state"], "skipped");
    for refused in [suppressed, unsubscribed] {
        assert_eq!(sending.reaches(&refused, "refused").await["reason"], "suppression");
    }
    sending.reaches(&due_email, "confirmed").await;
    let mails = || sending.simulator.ledger().mails.into_iter().map(|mail| mail.to);
    assert_eq!(mails().collect::<Vec<_>>(), [UNSUBSCRIBED, "ana7@example.com"]);
    sending.reaches(&first, "confirmed").await;
    let path = format!("/api/campaigns/{campaign}");
    let start = sending.post(&format!("{path}/start"), &json!({ "recipients": 2 })).await;
    assert_eq!(start.0, StatusCode::OK, "{start:?}");
    let finished = async || (sending.get(&path).await["state"] == "finished").then_some(());
    until("the campaign is finished", finished).await;

    // The source, served again, does not send what the target has sent.
    sending.offhook.take().expect("it runs").stop().expect("a clean end");
    let target = std::mem::replace(&mut sending.testbed, source);
    sending.offhook = Some(sending.testbed.start());
    held(&sending, "copied").await;
    sending.post("/api/senders/shop/resume", &json!({})).await;
    let late = sending.ask(&by_sender(5)).await;
    let senders = sending.get("/api/senders").await;
    let mut all = senders["senders"].as_array().expect("an array").iter();
    let shop = all.find(|it| it["name"] == "shop").expect("it is configured");
    assert_eq!(shop["due"], 2, "{senders}");
    assert_eq!(sending.get(&path).await["state"], "draft");
    assert_eq!(sending.simulator.created(), 4);
    sending.offhook.take().expect("it runs").stop().expect("a clean end");

    // What it was asked meanwhile comes along with the next copy.
    run(&target.settings, &verify).badly();
    run(&target.settings, &copy).well();
    let found = target.column("SELECT id FROM notifications WHERE \"to\" = '+14155550005'").await;
    assert_eq!(found, [late]);
    assert_eq!(target.column("SELECT held FROM outbox").await, ["copied"]);
    assert_eq!(
        target.column("SELECT state FROM campaigns").await,
        ["finished"],
        "it is further there"
    );
}

/// Its keys are others: what the source suppresses would not be found there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_sent_is_not_copied_to_where_messages_are_sent_already() {
    needs!(Postgres);
    let mut sending = Sending::start(Mode::Embedded, Behaviour::default()).await;
    let first = sending.ask(&message(1)).await;
    sending.reaches(&first, "confirmed").await;
    sending.offhook.take().expect("it runs").stop().expect("a clean end");
    let target = beside(&sending.testbed);
    let source = std::mem::replace(&mut sending.testbed, target);
    sending.offhook = Some(sending.testbed.start());
    let own = sending.ask(&message(2)).await;
    sending.reaches(&own, "confirmed").await;
    let said = run(&sending.testbed.settings, &["copy", "--from", &file(&source)]).badly();
    assert!(said.contains("`[[sender]]`") && said.contains("DELETE FROM outbox"), "{said}");
    assert_eq!(source.column("SELECT coalesce(held, '') FROM outbox").await, [""]);
}

/// The old deployment has served again between two copies.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_source_has_sent_or_cancelled_since_a_copy_is_not_sent_by_the_target() {
    needs!(Postgres);
    let mut sending = Sending::start(Mode::Embedded, Behaviour::default()).await;
    let first = sending.ask(&message(1)).await;
    sending.reaches(&first, "confirmed").await;
    sending.post("/api/senders/shop/pause", &json!({})).await;
    let sent = sending.ask(&message(2)).await;
    let cancelled = sending.ask(&message(3)).await;
    sending.offhook.take().expect("it runs").stop().expect("a clean end");
    // As if Twilio had throttled them.
    let throttled = "UPDATE attempts SET written_at = created_at, tries = 1 WHERE state = 'due'";
    sending.testbed.execute(throttled).await;
    let target = beside(&sending.testbed);
    run(&target.settings, &["migrate"]).well();
    let copy = ["copy", "--from", &file(&sending.testbed)];
    let verify = [&copy[..], &["--verify"]].concat();
    run(&target.settings, &copy).well();

    let resume = async |sending: &Sending| {
        held(sending, "copied").await;
        sending.post("/api/senders/shop/resume", &json!({})).await;
        sending.post("/api/senders/resume-all", &json!({})).await;
    };
    sending.offhook = Some(sending.testbed.start());
    held(&sending, "copied").await;
    sending.post(&format!("/api/notifications/{cancelled}/cancel"), &json!({})).await;
    resume(&sending).await;
    sending.reaches(&sent, "confirmed").await;
    sending.offhook.take().expect("it runs").stop().expect("a clean end");

    run(&target.settings, &verify).badly();
    run(&target.settings, &copy).well();
    run(&target.settings, &verify).well();
    // Its configuration is in the directory of the source.
    let _source = std::mem::replace(&mut sending.testbed, target);
    sending.offhook = Some(sending.testbed.start());
    resume(&sending).await;
    let last = sending.ask(&message(4)).await;
    sending.reaches(&last, "confirmed").await;
    sending.reaches(&sent, "confirmed").await;
    sending.reaches(&cancelled, "cancelled").await;
    assert_eq!(sending.simulator.created(), 3);
}
