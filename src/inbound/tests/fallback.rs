//! The fallback URLs: requested in the middle of a call, and always answered.

use std::time::Duration;

use tokio::time::Instant;

use super::refusals::fill;
use super::request::{ACCOUNT, CALL, Request, token};
use super::server::{Behind, LONG, Server, Setup};
use crate::event::Kind;
use crate::twilio::fallback::{Fallback, PerNumber};
use crate::twilio::twiml::{Medium, Twiml};

const VOICE: &str = "<Response><Say>Sorry &amp; bye</Say></Response>";
const SMS: &str = "<Response><Message>Sorry</Message></Response>";
const DIAL: &str = "<Response><Dial>+15550199</Dial></Response>";

fn fallback() -> Fallback {
    let voice = |text: &str| Twiml::parse(text, Medium::Voice).expect("good");
    let numbers = [("+15550101".to_owned(), PerNumber { voice: Some(voice(DIAL)), sms: None })];
    let sms = Twiml::parse(SMS, Medium::Sms).expect("good");
    Fallback { voice: voice(VOICE), sms, numbers: numbers.into() }
}

async fn start(behind: Behind) -> Server {
    Server::start_with(Setup { behind, fallback: fallback(), ..Setup::default() }).await
}

fn voice() -> Request {
    Request::form("/voice-fallback", CALL).signed()
}

#[track_caller]
fn check(response: &crate::lab::test_client::Response, expected: &str) {
    assert_eq!((response.status, response.body.as_str()), (200, expected));
    assert_eq!(response.header("content-type"), Some("text/xml"));
}

#[tokio::test]
async fn the_called_number_has_its_own_twiml_and_the_others_the_default() {
    let server = start(Behind::Store).await;
    for (route, to, expected) in [
        ("/voice-fallback", "", VOICE),
        ("/voice-fallback", "&To=%2B15550100", VOICE),
        ("/voice-fallback", "&To=%2B15550101", DIAL),
        ("/voice-fallback", "&To=+15550101", VOICE),
        ("/sms-fallback", "", SMS),
        ("/sms-fallback", "&To=%2B15550101", SMS),
    ] {
        let form = Request::form(route, format!("{CALL}{to}"));
        check(&server.ask(&form.signed()).await, expected);
        let get = Request::get(&format!("{route}?{CALL}{to}"));
        check(&server.ask(&get.signed()).await, expected);
    }
    server.stop().await;
}

#[tokio::test]
async fn it_is_recorded_as_itself_and_once_for_each_token() {
    let server = start(Behind::Store).await;
    let request = |token: &str| voice().header("I-Twilio-Idempotency-Token", token);
    for token in ["one", "one", "two"] {
        check(&server.ask(&request(token)).await, VOICE);
    }
    // A token may be any text. Without one, the content identifies the event, however often it comes.
    for _ in 0..2 {
        check(&server.ask(&request("a b")).await, VOICE);
        check(&server.ask(&voice()).await, VOICE);
    }
    let stored = server.stored().await;
    assert_eq!(stored.len(), 4);
    for event in stored {
        assert!(event.key.as_str().starts_with("fallback-"));
        assert_eq!((event.kind, event.sid.as_deref()), (Kind::Fallback, Some("CA1")));
        // The call has not got a status by it.
        assert_eq!((event.resource, event.status), (None, None));
    }
    server.stop().await;
}

#[tokio::test]
async fn nobody_hears_that_it_could_not_be_recorded() {
    for behind in [Behind::BrokenStore, Behind::Nobody] {
        let server = start(behind).await;
        check(&server.ask(&voice()).await, VOICE);
        server.until_metric("offhook_fallback_unrecorded_total", &["=1"]).await;
        assert_eq!(server.metric("offhook_requests_total"), ["accepted,voice-fallback=1"]);
        server.stop().await;
    }
    let server = start(Behind::Stuck).await;
    fill(&server).await;
    check(&server.ask(&voice()).await, VOICE);
    server.until_metric("offhook_fallback_unrecorded_total", &["=1"]).await;
    server.stop().await;
}

#[tokio::test]
async fn a_recording_that_hangs_is_waited_for_a_second_and_goes_on() {
    let server = start(Behind::Stuck).await;
    let started = Instant::now();
    check(&server.ask(&voice()).await, VOICE);
    let took = started.elapsed();
    assert!(took >= Duration::from_millis(900) && took < LONG / 3, "{took:?}");
    // It still waits, and was not given up.
    assert_eq!(server.recorder().depth(), 1);
    assert_eq!(server.metric("offhook_fallback_unrecorded_total"), [""; 0]);
    server.stop().await;
}

#[tokio::test]
async fn what_is_not_signed_is_told_nothing() {
    let server = start(Behind::Store).await;
    let forged = Request::form("/voice-fallback", CALL).signed_with(&token("another"));
    assert_eq!(server.ask(&forged).await.body, r#"{"error":"forbidden"}"#);
    let stranger = CALL.replace(ACCOUNT, "AC9");
    let stranger = Request::form("/sms-fallback", stranger).signed();
    assert_eq!(server.ask(&stranger).await.status, 403);
    assert_eq!(server.stored().await, []);
    server.stop().await;
}
