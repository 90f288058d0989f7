//! The URL of incoming messages: recorded, and answered in any case.

use super::refusals::fill;
use super::request::{ACCOUNT, CALL, Request, token};
use super::server::{Behind, Server, Setup};
use crate::event::{Kind, Resource};
use crate::twilio::consent::Listening;
use crate::twilio::twiml::{Medium, Twiml};

const THANKS: &str = "<Response><Message>Thanks</Message></Response>";

fn setup(behind: Behind) -> Setup {
    let incoming = Twiml::parse(THANKS, Medium::Sms).expect("good");
    Setup { behind, incoming, ..Setup::default() }
}

/// A message of this text.
fn message(text: &str) -> String {
    format!(
        "AccountSid={ACCOUNT}&SmsSid=SM1&MessageSid=SM1&SmsStatus=received&NumMedia=0&From=%2B12125550100&Body={text}"
    )
}

#[tokio::test]
async fn a_message_that_comes_in_is_stored_once_and_answered() {
    let server = Server::start_with(setup(Behind::Store)).await;
    let request = Request::form("/incoming-message", message("Hello")).signed();
    for _ in 0..2 {
        let answer = server.ask(&request).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, THANKS));
        assert_eq!(answer.header("content-type"), Some("text/xml"));
    }
    let get = Request::get(&format!("/incoming-message?{}", message("Hello"))).signed();
    assert_eq!(server.ask(&get).await.body, THANKS);
    let stored = server.stored().await;
    let [event] = &stored[..] else { panic!("not one: {stored:?}") };
    assert_eq!(event.key.as_str(), "SM1-received");
    assert_eq!((event.kind, event.resource), (Kind::IncomingMessage, Some(Resource::Message)));
    assert_eq!(event.status.as_deref(), Some("received"));
    server.stop().await;
}

#[tokio::test]
async fn it_is_answered_though_it_could_not_be_recorded_and_a_status_is_not() {
    for behind in [Behind::BrokenStore, Behind::Nobody, Behind::Stuck] {
        let server = Server::start_with(setup(behind)).await;
        if behind == Behind::Stuck {
            fill(&server).await;
        }
        let request = Request::form("/incoming-message", message("Hello")).signed();
        assert_eq!(server.ask(&request).await.body, THANKS);
        server.until_metric("offhook_fallback_unrecorded_total", &["=1"]).await;
        let status = Request::form("/incoming-message", CALL).signed();
        assert_eq!(server.ask(&status).await.status, 503, "it would be lost");
        server.stop().await;
    }
}

#[tokio::test]
async fn what_is_not_signed_or_has_lost_its_parameters_is_refused() {
    let server = Server::start_with(setup(Behind::Store)).await;
    let forged = Request::form("/incoming-message", message("STOP")).signed_with(&token("another"));
    assert_eq!(server.ask(&forged).await.status, 403);
    let lost = Request::get("/incoming-message").signed();
    assert_eq!(server.ask(&lost).await.status, 400);
    assert_eq!(server.stored().await, []);
    server.stop().await;
}

#[tokio::test]
async fn a_stop_is_heard_on_each_route_and_only_where_it_is_listened_for() {
    for (listening, heard) in [(Listening::Deaf, 0), (Listening::Plain, 3)] {
        let server = Server::start_with(Setup { listening, ..setup(Behind::Store) }).await;
        for (number, route) in ["/incoming-message", "/status", "/sms-fallback"].iter().enumerate()
        {
            let stop = message("Stop").replace("5550100", &format!("555010{number}"));
            let stop = stop.replace("SM1", &format!("SM{number}"));
            assert_eq!(server.ask(&Request::form(route, stop).signed()).await.status, 200);
        }
        let (suppressed, _) = server.outbox().suppressions("", 10).await.expect("the store");
        let numbers = suppressed.iter().filter_map(|entry| entry.to.as_deref());
        let numbers = numbers.filter(|to| to.starts_with('+')).count();
        assert_eq!((suppressed.len(), numbers), (2 * heard, heard), "{suppressed:?}");
        server.stop().await;
    }
}
