//! Email events: what is stored of SendGrid's requests, and each reason to refuse one.

use axum::http::header::ALLOW;
use secrecy::SecretString;

use super::refusals::fill;
use super::request::{CALL, Request};
use super::server::{Behind, Server, Setup};
use crate::event::consent::AddressKey;
use crate::event::{Event, Kind, Resource};
use crate::inbound::Refusal;
use crate::lab::email::EmailKey;
use crate::sendgrid::keys::{VerificationKey, VerificationKeys};
use crate::twilio::consent::Listening;

const PATH: &str = "/email-events";
const TIME: &str = "1764000000";

fn keys(keys: &[&EmailKey]) -> VerificationKeys {
    let all = keys.iter().enumerate();
    let key = |(place, key): (usize, &&EmailKey)| VerificationKey::parse(place, &key.public());
    VerificationKeys::new(all.map(key).collect::<Result<_, _>>().expect("public keys"))
}

async fn start(email_keys: VerificationKeys, behind: Behind) -> Server {
    Server::start_with(Setup { email_keys, behind, ..Setup::default() }).await
}

fn headers(request: Request, signature: &str) -> Request {
    let name = "X-Twilio-Email-Event-Webhook-";
    request.header(&format!("{name}Signature"), signature).header(&format!("{name}Timestamp"), TIME)
}

fn signed(key: &EmailKey, body: &str) -> Request {
    headers(Request::json_without_hash(PATH, body), &key.sign(TIME, body.as_bytes()))
}

fn event(event: &str, to: &str, id: &str, more: &str) -> String {
    format!(
        r#"{{"email":"{to}","event":"{event}","sg_event_id":"{id}","sg_message_id":"M1.recvd-7-0","timestamp":1764000000{more}}}"#
    )
}

fn of_kind(stored: &[Event], kind: Kind) -> usize {
    stored.iter().filter(|event| event.kind == kind).count()
}

/// Each recipient has a status of the mail, whatever comes first and however often.
#[tokio::test]
async fn events_of_two_recipients_are_two_mails_and_come_in_any_order() {
    let (old, new) = (EmailKey::default(), EmailKey::default());
    let server = start(keys(&[&old, &new]), Behind::Store).await;
    let bounce = r#","type":"bounce","status":"5.1.1""#;
    let (ana, bob) = ("ana@h.example", "Bob@H.example");
    let batches = [
        [event("bounce", bob, "b3", bounce), event("open", ana, "a3", "")],
        [event("delivered", ana, "a2", ""), event("delivered", bob, "b2", "")],
        [event("processed", ana, "a1", ""), event("processed", bob, "b1", "")],
    ];
    for _ in 0..3 {
        for (batch, key) in batches.iter().zip([&old, &new, &new]) {
            let answer = server.ask(&signed(key, &format!("[{}]", batch.join(",\r\n")))).await;
            assert_eq!((answer.status, answer.body.as_str()), (200, ""));
        }
    }
    let stored = server.stored().await;
    assert_eq!((stored.len(), of_kind(&stored, Kind::Email)), (6, 6));
    let statuses = server.statuses().await;
    let found: Vec<_> = statuses
        .iter()
        .map(|row| {
            let error = row.error.as_ref().map(|error| error.code.as_str());
            (row.to.as_deref(), row.position.status.as_str(), error, row.is_contradicted())
        })
        .collect();
    assert!(
        statuses.iter().all(|row| row.resource == Resource::Email && row.account == "sendgrid")
    );
    assert!(found.contains(&(Some(ana), "delivered", None, false)), "{found:?}");
    assert!(found.contains(&(Some("bob@h.example"), "bounce", Some("5.1.1"), false)), "{found:?}");
    assert_eq!(found.len(), 2);
    let matches = server.metric("offhook_secret_matches_total");
    assert_eq!(matches, ["sendgrid,verification_key_1=3", "sendgrid,verification_key_2=6"]);
    server.stop().await;
}

/// More than one commit takes, with what is no event among them.
#[tokio::test]
async fn all_of_a_large_array_is_durable_before_the_answer() {
    let key = EmailKey::default();
    let server = start(keys(&[&key]), Behind::Store).await;
    let mut all: Vec<String> = (0..2500)
        .map(|number| event("click", &format!("u{number}@h.example"), &number.to_string(), ""))
        .collect();
    all.insert(1000, "[]".to_owned());
    let body = format!("[{}]", all.join(","));
    assert_eq!(server.ask(&signed(&key, &body)).await.status, 200);
    let stored = server.stored().await;
    assert_eq!((of_kind(&stored, Kind::Email), of_kind(&stored, Kind::Other)), (2500, 1));
    assert_eq!(server.ask(&signed(&key, "[]")).await.status, 200, "there is nothing to store");
    assert_eq!(server.stored().await.len(), 2501);
    server.stop().await;
}

#[tokio::test]
async fn each_reason_to_refuse_is_answered_counted_and_explained() {
    use Refusal::*;
    let (key, other) = (EmailKey::default(), EmailKey::default());
    let body = format!("[{}]", event("open", "ana@h.example", "1", ""));
    let right = key.sign(TIME, body.as_bytes());
    let json = || Request::json_without_hash(PATH, &body);
    let large = "x".repeat(1024 * 1024 + 1);
    for (what, request, refusal, status, hint) in [
        ("nothing signed", json(), MissingSignature, 400, "not switched on"),
        (
            "signed by Twilio",
            Request::form(PATH, CALL).signed(),
            UnsupportedContentType,
            415,
            "JSON",
        ),
        ("Twilio's JSON", json().signed(), MissingSignature, 400, "not switched on"),
        ("a GET", Request::get(PATH), MethodNotAllowed, 405, "POST only"),
        (
            "no timestamp",
            json().header("X-Twilio-Email-Event-Webhook-Signature", &right),
            MissingSignature,
            400,
            "",
        ),
        ("no base64", headers(json(), "~"), MalformedSignature, 403, "X-Twilio-Email"),
        ("no DER", headers(json(), "AAAA"), MalformedSignature, 403, "X-Twilio-Email"),
        (
            "two",
            headers(headers(json(), &right), &right),
            MalformedSignature,
            403,
            "X-Twilio-Email",
        ),
        ("another key", signed(&other, &body), WrongSignature, 403, "sendgrid.verification_keys"),
        (
            "another body",
            headers(Request::json_without_hash(PATH, "[]"), &right),
            WrongSignature,
            403,
            "changes the body",
        ),
        (
            "another time",
            headers(json(), &key.sign("1764000001", body.as_bytes())),
            WrongSignature,
            403,
            "",
        ),
        (
            "too large",
            headers(Request::json_without_hash(PATH, &large), &right),
            BodyTooLarge,
            413,
            "event_body_limit",
        ),
    ] {
        let server = start(keys(&[&key]), Behind::Store).await;
        let answer = server.ask(&request).await;
        assert_eq!(answer.status, status, "{what}");
        let allowed = (status == 405).then_some("post");
        assert_eq!(answer.header(ALLOW.as_str()), allowed, "{what}");
        let counted = format!("{}=1", refusal.as_str());
        assert_eq!(server.metric("offhook_refusals_total"), [counted], "{what}");
        let refused = server.until_refused(|refused| refused.reason == refusal).await;
        assert_eq!((refused.route, refused.hint.contains(hint)), ("email-events", true), "{what}");
        assert_eq!(server.stored().await, [], "{what}");
        server.stop().await;
    }
}

#[tokio::test]
async fn without_a_key_nothing_is_read() {
    let key = EmailKey::default();
    let server = start(VerificationKeys::default(), Behind::Store).await;
    let answer = server.ask(&signed(&key, "[]")).await;
    assert_eq!((answer.status, answer.body.as_str()), (404, r#"{"error":"unknown_route"}"#));
    let refused =
        server.until_refused(|refused| refused.reason == Refusal::NoVerificationKey).await;
    assert!(refused.hint.contains("verification_keys is empty"));
    let scanned = server.ask(&Request::json_without_hash(PATH, "[]")).await;
    assert_eq!((scanned.status, scanned.body), (404, answer.body));
    let counted = ["no_verification_key=1", "unknown_route=1"];
    assert_eq!(server.metric("offhook_refusals_total"), counted);
    server.stop().await;
}

#[tokio::test]
async fn what_cannot_be_made_durable_is_sent_again_by_sendgrid() {
    let key = EmailKey::default();
    let body = format!("[{}]", event("open", "ana@h.example", "1", ""));
    for (behind, told) in [
        (Behind::BrokenStore, r#"{"error":"not_durable"}"#),
        (Behind::Nobody, r#"{"error":"not_durable"}"#),
        (Behind::Stuck, r#"{"error":"overloaded"}"#),
    ] {
        let server = start(keys(&[&key]), behind).await;
        if behind == Behind::Stuck {
            fill(&server).await;
        }
        let answer = server.ask(&signed(&key, &body)).await;
        assert_eq!((answer.status, answer.body.as_str()), (503, told));
        assert_eq!(answer.header("retry-after"), Some("5"));
        server.stop().await;
    }
}

/// SendGrid repeats what it could not deliver for a day, so that an older word may come last.
#[tokio::test]
async fn of_unsubscribing_and_coming_back_the_later_counts_whichever_is_received_last() {
    let key = EmailKey::default();
    for (first, last, suppressed) in [
        (("group_resubscribe", 100), ("unsubscribe", 0), 0),
        (("unsubscribe", 100), ("group_resubscribe", 0), 1),
    ] {
        let (email_keys, listening) = (keys(&[&key]), Listening::Plain);
        let server = Server::start_with(Setup { email_keys, listening, ..Setup::default() }).await;
        for (name, at) in [first, last] {
            let said = event(name, "ana@h.example", name, "");
            let said = said.replace("1764000000", &(1_764_000_000 + at).to_string());
            assert_eq!(server.ask(&signed(&key, &said)).await.status, 200);
        }
        let (found, _) = server.outbox().suppressions("", 10).await.expect("the store");
        assert_eq!(found.len(), suppressed, "{last:?}");
        server.stop().await;
    }
}

#[tokio::test]
async fn who_unsubscribes_complains_or_does_not_exist_is_suppressed() {
    let key = EmailKey::default();
    let said = [
        ("unsubscribe", "a@h.example", ""),
        ("spamreport", "b@h.example", ""),
        ("group_resubscribe", "b@h.example", ""),
        ("bounce", "C@h.example", r#","type":"bounce","status":"5.1.1""#),
        ("bounce", "d@h.example", r#","type":"blocked","status":"5.7.1""#),
    ];
    let events = said.iter().enumerate();
    let events = events.map(|(id, (name, to, more))| event(name, to, &id.to_string(), more));
    let body = format!("[{}]", events.collect::<Vec<_>>().join(","));
    let hashing = AddressKey::new(&SecretString::from("k"));
    for listening in [Listening::Plain, Listening::Hashing(hashing.clone())] {
        let is_hashing = matches!(listening, Listening::Hashing(_));
        let setup = Setup { email_keys: keys(&[&key]), listening, ..Setup::default() };
        let server = Server::start_with(setup).await;
        assert_eq!(server.ask(&signed(&key, &body)).await.status, 200);
        let (suppressed, _) = server.outbox().suppressions("", 10).await.expect("the store");
        let mut found: Vec<_> =
            suppressed.iter().map(|it| (it.to.as_deref(), &*it.source)).collect();
        found.sort_unstable();
        assert_eq!(
            found,
            [
                (Some("a@h.example"), "unsubscribe"),
                (Some("b@h.example"), "spamreport"),
                (Some("c@h.example"), "bounce"),
            ]
        );
        let hash = hashing.address("c@h.example");
        assert_eq!(suppressed.iter().any(|it| it.to_hash == hash), is_hashing);
        server.stop().await;
    }
}
