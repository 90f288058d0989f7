//! Emails: by a pretend SendGrid, whose signed events confirm them.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use offhook::lab::twilio::{Behaviour, MailKey, Share};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::{SENDING_TOKEN, Sending, both_stores, message};
use crate::harness::{Mode, Settings, run, until};
use crate::services::{note, tool};

both_stores![an_email_is_the_last_step_and_its_events_confirm_it];

/// A sender of emails, and the route of which it is the last step, whose lines go into `[outbound]`.
pub(super) const ROUTE: &str = "max_calls_per_recipient_hour = 1000\n\
                     [sendgrid]\napi_url = \"<URL>\"\napi_key = \"<API_KEY>\"\nverification_keys = [\"<PUBLIC_KEY>\"]\n\
                     silence_s = 1\n\
                     [[sender]]\nname = \"night\"\nfrom = \"+15005550006\"\nkind = \"voice\"\n\
                     [[sender]]\nname = \"mail\"\nfrom = \"Shop <shop@example.com>\"\nrate = 1000.0\n\
                     [[route]]\nname = \"urgent\"\n\
                     [[route.step]]\nsender = \"shop\"\nwait_s = 1\n\
                     [[route.step]]\nsender = \"night\"\n\
                     [[route.step]]\nsender = \"mail\"\n";

pub(super) fn urgent(number: u32) -> Value {
    let mut ask = message(number);
    ask["purpose"] = json!("alert");
    ask["route"] = json!("urgent");
    ask["email"] = json!(format!("Ana{number}@Example.com"));
    ask["text"] = json!("Order {{ order.id }} is late, {{ name }}.");
    ask["subject"] = json!("Order {{ order.id }}");
    ask["html"] = json!("<p>{{ name }}</p>");
    ask["values"] = json!({ "order": { "id": number }, "name": "<Ana>" });
    ask
}

pub(super) fn email(number: u32) -> Value {
    json!({
        "to": format!("ana{number}@example.com"),
        "text": "It is late.",
        "subject": "Late",
        "purpose": "alert",
        "sender": "mail",
    })
}

fn attempts(notification: &Value) -> Vec<(&str, &str)> {
    let attempts = notification["attempts"].as_array().expect("an array").iter();
    attempts
        .map(|it| {
            (it["channel"].as_str().expect("a channel"), it["state"].as_str().expect("a state"))
        })
        .collect()
}

async fn an_email_is_the_last_step_and_its_events_confirm_it(mode: Mode) {
    let unheard = Behaviour {
        undelivered: Share::ALWAYS,
        calls_voicemail: Share::ALWAYS,
        ..Behaviour::default()
    };
    let sending = Sending::with(mode, unheard, ROUTE).await;
    let simulator = &sending.simulator;

    // The message is not delivered, a voicemail answers the call, and the email arrives.
    let by_route = sending.ask(&urgent(1)).await;
    let confirmed = sending.reaches(&by_route, "confirmed").await;
    let expected = [("message", "failed"), ("call", "unconfirmed"), ("email", "confirmed")];
    assert_eq!(attempts(&confirmed), expected);
    let (ledger, attempt) = (simulator.ledger(), &confirmed["attempts"][2]);
    let mail = &ledger.mails[0];
    assert_eq!(ledger.messages[0].body, "Order 1 is late, <Ana>.");
    assert!(ledger.calls[0].twiml.contains("Order 1 is late, &lt;Ana&gt;."), "escaped once");
    assert_eq!((&*mail.to, &*mail.from), ("ana1@example.com", "shop@example.com"));
    assert_eq!((&*mail.subject, &*mail.text), ("Order 1", "Order 1 is late, <Ana>."));
    assert_eq!(mail.html.as_deref(), Some("<p>&lt;Ana&gt;</p>"));
    assert_eq!((&attempt["sid"], &attempt["id"]), (&json!(mail.id), &json!(mail.attempt)));
    assert_eq!(confirmed["email"], "ana1@example.com");

    // It is returned: at once, and after it was delivered.
    for (number, returned) in [
        (2, Behaviour { mails_bounced: Share::ALWAYS, ..Behaviour::default() }),
        (3, Behaviour { mails_returned: Share::ALWAYS, ..Behaviour::default() }),
    ] {
        simulator.behave(returned);
        let id = sending.ask(&email(number)).await;
        assert_eq!(sending.reaches(&id, "failed").await["reason"], "bounce");
    }

    // No answer comes, and its events prove it; then neither, and it is sent again.
    simulator.behave(Behaviour { drop_answers: Share::ALWAYS, ..Behaviour::default() });
    let id = sending.ask(&email(4)).await;
    assert_eq!(attempts(&sending.reaches(&id, "confirmed").await), [("email", "confirmed")]);
    simulator.behave(Behaviour {
        drop_answers: Share::ALWAYS,
        mails_unreported: Share::ALWAYS,
        ..Behaviour::default()
    });
    let id = sending.ask(&email(5)).await;
    sending.attempt_reaches(&id, "unknown").await;
    simulator.behave(Behaviour { throttle_next: 1, ..Behaviour::default() });
    let again = sending.reaches(&id, "confirmed").await;
    assert_eq!(attempts(&again), [("email", "unknown"), ("email", "confirmed")]);
    assert_eq!(simulator.ledger().mails.iter().filter(|it| it.to == "ana5@example.com").count(), 2);

    // Who unsubscribes is sent nothing more.
    simulator.behave(Behaviour { mails_unsubscribed: Share::ALWAYS, ..Behaviour::default() });
    let id = sending.ask(&email(6)).await;
    sending.reaches(&id, "confirmed").await;
    until("the unsubscription is heeded", async || {
        let found = sending.get("/api/suppressions?limit=1000").await;
        let found = found["suppressions"].as_array().cloned().expect("an array");
        found.iter().any(|it| it["to"] == "ana6@example.com").then_some(())
    })
    .await;
    let id = sending.ask(&email(6)).await;
    assert_eq!(sending.reaches(&id, "refused").await["reason"], "suppression");

    the_address_of_a_step_is_purged(&sending, &by_route).await;

    let wrong = async |field: &str, change: &[(&str, Value)], mut ask: Value| {
        for (name, value) in change {
            ask[*name] = value.clone();
        }
        let (status, problem) = sending.post("/api/notifications", &ask).await;
        let text = problem.to_string();
        assert!(status == 422 && text.contains(&format!("`{field}`")), "{field}: {text}");
        text
    };
    let values = ("values", json!({ "name": "Ana" }));
    assert!(wrong("text", &[values], urgent(7)).await.contains("order.id"));
    wrong("subject", &[("subject", json!("a\r\nBcc: b@example.com"))], email(7)).await;
    wrong("subject", &[("subject", Value::Null)], email(7)).await;
    wrong("email", &[("email", Value::Null)], urgent(7)).await;
    wrong("email", &[("email", json!("ana"))], urgent(7)).await;
    wrong("email", &[("email", json!("ana@example.com"))], email(7)).await;
    wrong("to", &[("to", json!("+14155550007"))], email(7)).await;
    wrong("to", &[("to", json!("ana@example.com"))], urgent(7)).await;
    wrong("html", &[("html", json!("<p>")), ("sender", json!("shop"))], message(7)).await;
}

/// A person is purged by the address of the email in a route, and the notification goes with the number that it had first.
async fn the_address_of_a_step_is_purged(sending: &Sending, id: &str) {
    const OF_MAILS: &str = "SELECT sid FROM events WHERE kind = 'email'";
    let mail = sending.get(&format!("/api/notifications/{id}")).await["attempts"][2]["sid"].clone();
    let mails = async || sending.testbed.column(OF_MAILS).await;
    let is_there = |mails: &[String]| mails.iter().any(|sid| mail == **sid);
    assert!(is_there(&mails().await), "{mail}");
    let url = format!("http://{}", sending.offhook().client.private());
    let purge = ["purge", "--number", "Ana1@Example.com", "--admin", &url, "--yes", "--json"];
    let done: Value = serde_json::from_str(&run(&Settings::none(), &purge).well()).expect("JSON");
    assert_eq!((&done["notifications"], &done["statuses"]), (&json!(1), &json!(1)), "{done}");
    let path = format!("/api/notifications/{id}");
    let (status, _) = sending.request(Method::GET, &path, Some(SENDING_TOKEN), None, None).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let left = mails().await;
    assert!(!left.is_empty() && !is_there(&left), "what others were sent stays: {left:?}");
    let rows = sending.testbed.column("SELECT \"to\" FROM notifications").await;
    assert!(!rows.is_empty() && !rows.contains(&"+14155550001".to_owned()), "{rows:?}");
}

/// Where `tests/setup` installs SendGrid's library.
const LIBRARY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/twilio/node-events");

#[test]
fn sendgrids_library_for_node_takes_the_signatures_of_the_pretend_sendgrid() {
    let node = tool!("node");
    if !Path::new(LIBRARY).join("node_modules/@sendgrid/eventwebhook").is_dir() {
        fn here() {}
        return note(std::any::type_name_of_val(&here), "library of SendGrid");
    }
    let (key, other) = (MailKey::generate().expect("random"), MailKey::generate().expect("random"));
    let request = |key: &MailKey, body: &str, signed: &str| {
        let timestamp = "1764000000";
        let signature = key.sign(timestamp, signed.as_bytes());
        json!({ "body": body, "signature": signature, "timestamp": timestamp }).to_string()
    };
    let body = r#"[{"email":"ana@example.com","event":"delivered","reason":"\u00fc ü"}]"#;
    let requests = [
        request(&key, body, body),
        request(&key, "[]", "[]"),
        request(&key, body, "[]"),
        request(&other, body, body),
    ];
    let again = MailKey::parse(key.pkcs8()).expect("it was written as it is read");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/handlers/events.cjs");
    let mut process = Command::new(node)
        .args([script, LIBRARY, &again.public()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it can be started");
    let mut input = process.stdin.take().expect("it is piped");
    writeln!(input, "{}", requests.join("\n")).expect("it reads them");
    drop(input);
    let output = process.wait_with_output().expect("it ends");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "true\ntrue\nfalse\nfalse\n");
}
