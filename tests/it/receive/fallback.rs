//! A caller must not hear an error because our log is full.

use std::time::{Duration, Instant};

use crate::harness::{Callback, Client, Signature, Testbed, both_modes, fixture, header, until};
use crate::services::{Durability, needs};

const SORRY: &str = "<Response><Say>We are sorry, we cannot take your call right now. \
                     Please try again later.</Say><Hangup/></Response>";

both_modes! {
    a_fallback_is_answered_and_recorded_once_per_request,
    a_number_of_its_own_has_twiml_of_its_own,
}

fn voice() -> Callback {
    Callback::form(fixture("voice_fallback.form")).to("/voice-fallback")
}

fn sms() -> Callback {
    Callback::form(fixture("sms_fallback.form")).to("/sms-fallback")
}

async fn answers(client: &Client, callback: &Callback, twiml: &str) {
    let started = Instant::now();
    let answer = client.send(callback).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(header(&answer, "content-type").as_deref(), Some("text/xml"));
    assert_eq!(answer.text().await.expect("the whole answer"), twiml);
    assert!(started.elapsed() < Duration::from_secs(8), "Twilio has hung up by now");
}

async fn a_fallback_is_answered_and_recorded_once_per_request(testbed: Testbed) {
    let offhook = testbed.start();
    for _ in 0..2 {
        answers(&offhook.client, &voice().with_token("one"), SORRY).await;
        answers(&offhook.client, &sms().with_token("two"), "<Response/>").await;
    }
    // Without a token they are told apart by what they say: twice the same is once.
    answers(&offhook.client, &voice(), SORRY).await;
    answers(&offhook.client, &voice(), SORRY).await;
    let contents = testbed.contents_of(3).await;
    assert_eq!(contents.statuses, [], "it repeats a call's status, and is none");
    assert!(contents.keys().iter().all(|key| key.starts_with("fallback-")));
}

async fn a_number_of_its_own_has_twiml_of_its_own(mut testbed: Testbed) {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    let twiml = "<Response><Dial>+15550100009</Dial></Response>";
    let text = format!("[[fallback.number]]\nnumber = \"+15550100002\"\nvoice = \"{twiml}\"\n");
    std::fs::write(file.path(), text).expect("the file is ours");
    let path = file.path().display().to_string();
    testbed.settings = testbed.settings.clone().set("OFFHOOK_CONFIG", path);
    let offhook = testbed.start();
    answers(&offhook.client, &voice(), twiml).await;
    answers(&offhook.client, &sms(), "<Response/>").await;
    let body = String::from_utf8(fixture("voice_fallback.form")).expect("text");
    let other = body.replace("%2B15550100002", "%2B15550100003");
    answers(&offhook.client, &Callback::form(other).to("/voice-fallback"), SORRY).await;
}

#[tokio::test]
async fn a_fallback_is_answered_while_nothing_is_durable() {
    needs!(Redis, Postgres);
    let mut testbed = Testbed::scale_out(Durability::Unsynced);
    testbed.settings = testbed.settings.clone().set("OFFHOOK_SPOOL__MAX_BYTES", "0");
    let offhook = testbed.start();
    testbed.redis().kill();
    answers(&offhook.client, &voice(), SORRY).await;
    answers(&offhook.client, &sms(), "<Response/>").await;
    let unsigned = voice().signed(Signature::Missing);
    assert_eq!(offhook.client.send(&unsigned).await.status(), 400, "but not to everybody");
    let series = "offhook_fallback_unrecorded_total";
    assert_eq!(offhook.client.metric(series).await, 2.0);
}

#[tokio::test]
async fn a_fallback_is_answered_while_redis_is_silent_and_recorded_when_it_speaks() {
    needs!(Redis, Postgres);
    let mut testbed = Testbed::scale_out(Durability::Unsynced);
    let offhook = testbed.start();
    until("the worker has made the tables", async || offhook.client.is_ready().await.then_some(()))
        .await;
    testbed.redis().pause();
    answers(&offhook.client, &voice().with_token("patient"), SORRY).await;
    testbed.redis().go_on();
    let contents = testbed.contents_of(1).await;
    assert!(contents.keys()[0].starts_with("fallback-"));
}
