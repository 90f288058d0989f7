//! SendGrid's events, from the wire to the rows of both stores.

use offhook::lab::email::EmailKey;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{Callback, Client, Raw, Spawned, Testbed, both_modes, until};
use crate::services::Signal;

both_modes! {
    mails_are_stored_once_in_any_order_found_by_address_and_purged,
}

const ANA: &str = "Ana@mail.example";
const BOB: &str = "bob@mail.example";

/// A configuration file that accepts these keys, with this behind it.
fn configure(directory: &TempDir, keys: &[&EmailKey], more: &str) {
    let keys: Vec<String> = keys.iter().map(|key| key.public()).collect();
    let text = format!("{more}\n[sendgrid]\nverification_keys = {keys:?}\n");
    std::fs::write(directory.path().join("offhook.toml"), text).expect("the directory is ours");
}

fn start(testbed: &mut Testbed, directory: &TempDir) -> Spawned {
    let path = directory.path().join("offhook.toml").display().to_string();
    testbed.settings = testbed.settings.clone().set("OFFHOOK_CONFIG", path);
    Spawned::start(&testbed.settings)
}

fn event(mail: &str, event: &str, to: &str) -> Value {
    json!({
        "email": to, "event": event, "sg_event_id": format!("{mail}-{event}-{}", &to[..1]),
        "sg_message_id": format!("{mail}.recvd-7-0"), "timestamp": 1_764_000_000, "category": ["a"],
        "reason": format!("550 5.1.1 <{to}> unknown"), "type": "bounce", "status": "5.1.1",
    })
}

fn body(events: &[Value]) -> String {
    Value::from(events).to_string()
}

/// Unlike Twilio's, it is answered without TwiML.
async fn takes(client: &Client, callback: &Callback) {
    let answer = client.send(callback).await;
    let (status, text) = (answer.status().as_u16(), answer.text().await.expect("a whole answer"));
    assert_eq!((status, text.as_str()), (200, ""), "{callback}");
}

/// What no client sends, and what both stores must hold nevertheless.
const ODD: [&str; 8] = [
    "null",
    "1e999",
    r#""\ud800\u0000""#,
    r#"{"event":"a\u0000b"}"#,
    r#"{"event":"open","email":7,"sg_message_id":["M1"],"sg_event_id":{},"timestamp":"soon"}"#,
    r#"{"event":"open","email":"\u0000@h","sg_message_id":"M 1","sg_event_id":"é","timestamp":1e300}"#,
    r#"{"event":"bounce","sg_message_id":"..","sg_event_id":"","reason":"\ud800","timestamp":-9223372036854775808}"#,
    r#"{"event":"delivered","event":"open","a":[[[[[[{}]]]]]]}"#,
];

async fn mails_are_stored_once_in_any_order_found_by_address_and_purged(mut testbed: Testbed) {
    let (old, new) = (EmailKey::default(), EmailKey::default());
    let directory = tempfile::tempdir().expect("a temporary directory");
    configure(&directory, &[&old], "");
    let offhook = start(&mut testbed, &directory);
    let client = &offhook.client;
    // The last thing first, twice, and what came before it then.
    let last = body(&[event("M1", "bounce", BOB), event("M1", "delivered", ANA)]);
    let first = body(&[event("M1", "delivered", BOB), event("M1", "open", ANA)]);
    for events in [&last, &last, &first, &last] {
        takes(client, &Callback::email(&old, events.as_str())).await;
    }
    takes(client, &Callback::email(&old, format!("[{}]", ODD.join(",")))).await;
    let refused = Callback::email(&new, first.as_str());
    assert_eq!(client.send(&refused).await.status(), 403, "before its key is there");

    let key = "[privacy]\nnumbers = \"hash\"\nbodies = \"drop\"\nkey = \"0123456789abcdef0123456789abcdef\"";
    configure(&directory, &[&new, &old], key);
    offhook.signal(Signal::Hangup);
    let later =
        body(&[event("M2", "processed", &ANA.to_uppercase()), event("M2", "deferred", BOB)]);
    until("the new key is taken", async || {
        let answer = client.send(&Callback::email(&new, later.as_str())).await;
        (answer.status() == 200).then_some(())
    })
    .await;
    let contents = testbed.contents_of(6 + ODD.len()).await;
    let emails =
        testbed.column("SELECT status FROM emails WHERE sid LIKE 'M%' ORDER BY status").await;
    assert_eq!(emails, ["bounce", "deferred", "delivered", "processed"]);
    let plain = contents.statuses.iter().find(|row| row.position.status == "bounce");
    let plain = plain.expect("the row of Bob's first mail");
    let code = plain.error.as_ref().map(|error| error.code.as_str());
    assert_eq!(
        (plain.to.as_deref(), code, plain.is_contradicted()),
        (Some(BOB), Some("5.1.1"), false)
    );
    let stored = contents.events.iter().find(|it| it.event.status.as_deref() == Some("processed"));
    let params = &stored.expect("it is stored").params;
    assert!(
        params.contains("hash:") && !params.to_lowercase().contains("mail.example"),
        "{params}"
    );

    let found = async |address: &str| {
        let (_, found) = client.json(&format!("/api/statuses?q={address}")).await;
        found["statuses"].as_array().map(Vec::len)
    };
    assert_eq!((found(ANA).await, found(BOB).await), (Some(2), Some(2)));
    let (_, timeline) = client.json(&format!("/api/timeline/{}", plain.sid)).await;
    assert_eq!(timeline["events"].as_array().map(Vec::len), Some(2), "{timeline}");

    let mut wanted = json!({ "number": ANA.to_lowercase() });
    let mut purged = [0, 0];
    loop {
        let (status, answer) = client.post_json("/api/purge", &wanted).await;
        assert_eq!(status, 200, "{answer}");
        purged[0] += answer["events"].as_u64().expect("a count");
        purged[1] += answer["statuses"].as_u64().expect("a count");
        if answer["next"].is_null() {
            break;
        }
        wanted["after"] = answer["next"].clone();
    }
    assert_eq!(purged, [3, 2]);
    assert_eq!((found(ANA).await, found(BOB).await), (Some(0), Some(2)));
    let log = offhook.log();
    assert!(!log.to_lowercase().contains("mail.example") && !log.contains("panicked"), "{log}");
}

/// Bytes that no client of SendGrid's sends, on the route that reads more of them than any other.
#[tokio::test]
async fn whatever_is_sent_to_the_route_is_answered_by_the_right_code() {
    let key = EmailKey::default();
    let directory = tempfile::tempdir().expect("a temporary directory");
    configure(&directory, &[&key], "[inbound]\nbody_timeout_ms = 300\n");
    let mut testbed = Testbed::embedded();
    let offhook = start(&mut testbed, &directory);
    let callback = |text: &str| Callback::email(&key, text);
    let head = |callback: &Callback| {
        let headers = callback.headers().into_iter();
        let headers: String = headers.map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        format!("POST {} HTTP/1.1\r\nhost: h\r\nconnection: close\r\n{headers}", callback.target())
    };
    let text = |number: usize| body(&[event(&format!("W{number}"), "open", ANA)]);
    let whole = |number: usize| {
        let callback = callback(&text(number));
        let length = callback.body().len();
        format!("{}content-length: {length}\r\n\r\n{}", head(&callback), text(number))
    };
    let chunked = |number: usize, chunks: &str| {
        format!("{}transfer-encoding: chunked\r\n\r\n{chunks}", head(&callback(&text(number))))
    };
    let bytewise: String = text(2).chars().map(|byte| format!("1\r\n{byte}\r\n")).collect();
    let one = format!("{:x}\r\n{}\r\n0\r\n\r\n", text(1).len(), text(1));
    let large = format!("{}content-length: {}\r\n\r\n", head(&callback("[]")), (1 << 20) + 1);
    let endless = format!("{:x}\r\n{}\r\n", (1 << 20) + 1, "x".repeat((1 << 20) + 1));
    for (what, bytes, code, reason) in [
        ("as it should be", whole(0), "200", None),
        ("in one chunk", chunked(1, &one), "200", None),
        ("in chunks of a byte", chunked(2, &format!("{bytewise}0\r\n\r\n")), "200", None),
        ("with a slash", whole(3).replacen("/email-events ", "/email-events/ ", 1), "200", None),
        (
            "with a query, which is not signed",
            whole(4).replacen("events ", "events?a=b ", 1),
            "200",
            None,
        ),
        ("by PUT", whole(5).replacen("POST", "PUT", 1), "405", Some("method_not_allowed")),
        (
            "as a form",
            whole(5).replacen("application/json", "application/x-www-form-urlencoded", 1),
            "415",
            Some("unsupported_content_type"),
        ),
        (
            "with a byte changed",
            whole(5).replacen("\"open\"", "\"opem\"", 1),
            "403",
            Some("wrong_signature"),
        ),
        (
            "with another time",
            whole(5).replacen("timestamp: 1", "timestamp: 2", 1),
            "403",
            Some("wrong_signature"),
        ),
        (
            "with a time that is not a number",
            whole(5).replacen("timestamp: 1", "timestamp: x", 1),
            "403",
            Some("malformed_signature"),
        ),
        (
            "without a time",
            whole(5).replacen("webhook-timestamp", "webhook-time", 1),
            "400",
            Some("missing_signature"),
        ),
        ("too large, as it says", large, "413", Some("body_too_large")),
        ("too large, in chunks", chunked(5, &endless), "413", Some("body_too_large")),
        ("chunks without a size", chunked(5, "\r\n\r\n"), "400", Some("broken_body")),
        ("a body that does not end", chunked(5, "5\r\nab"), "408", Some("slow_body")),
    ] {
        let series = reason.map(|reason| format!("offhook_refusals_total{{reason=\"{reason}\"}}"));
        let count = async || match &series {
            Some(series) => offhook.client.metric(series).await,
            None => 0.0,
        };
        let before = count().await;
        let mut raw = Raw::connect(offhook.client.inbound()).await;
        raw.write(bytes).await;
        let answer = raw.read_to_end().await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {code}")), "{what}: {answer}");
        assert_eq!(count().await - before, f64::from(u8::from(reason.is_some())), "{what}");
    }
    testbed.contents_of(5).await;
    let errors = "offhook_requests_total{outcome=\"error\",route=\"email-events\"}";
    assert_eq!(offhook.client.metric(errors).await, 0.0);
}
