//! The keys that callees press: always answered, and only the digit 1 confirms.

use super::request::{CALL, Request, token};
use super::server::{Behind, CONFIRMED, NOT_CONFIRMED, Server};
use crate::event::attempt::ATTEMPT_PARAMETER;
use crate::event::{AttemptId, Callee, Kind};

const ATTEMPT: AttemptId = AttemptId::new(7);

fn pressed(digits: &str) -> Request {
    let gather = CALL.replace("CallbackSource=call-progress-events", &format!("Digits={digits}"));
    Request::form(&format!("/voice-confirm?{ATTEMPT_PARAMETER}={ATTEMPT}"), gather)
}

#[tokio::test]
async fn the_digit_1_is_confirmed_and_recorded_with_its_attempt() {
    let server = Server::start().await;
    for (digits, words, callee) in [
        ("1", CONFIRMED, Some(Callee::PressedOne)),
        ("2", NOT_CONFIRMED, Some(Callee::PressedOther)),
        ("", NOT_CONFIRMED, None),
    ] {
        let response = server.ask(&pressed(digits).signed()).await;
        assert_eq!((response.status, response.body.as_str()), (200, words), "{digits}");
        assert_eq!(response.header("content-type"), Some("text/xml"));
        let stored = server.stored().await;
        let event = stored.iter().find(|event| event.callee == callee).expect("it is recorded");
        assert_eq!((event.kind, event.attempt), (Kind::TwimlRequest, Some(ATTEMPT)));
        // The call has not got a status by it.
        assert_eq!((event.sid.as_deref(), event.resource), (Some("CA1"), None));
    }
    server.stop().await;
}

#[tokio::test]
async fn a_callee_hears_the_words_though_nothing_can_be_recorded() {
    for behind in [Behind::BrokenStore, Behind::Nobody] {
        let server = Server::start_behind(behind).await;
        assert_eq!(server.ask(&pressed("1").signed()).await.body, CONFIRMED);
        server.until_metric("offhook_fallback_unrecorded_total", &["=1"]).await;
        server.stop().await;
    }
}

#[tokio::test]
async fn a_key_that_twilio_did_not_sign_confirms_nothing() {
    let server = Server::start().await;
    let forged = pressed("1").signed_with(&token("another"));
    assert_eq!(server.ask(&forged).await.status, 403);
    assert_eq!(server.stored().await, []);
    server.stop().await;
}
