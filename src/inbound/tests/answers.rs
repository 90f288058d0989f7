//! Status callbacks: stored, then acknowledged.

use super::request::{ACCOUNT, CALL, Request};
use super::server::Server;
use crate::event::Kind;
use crate::lab::test_client::Response;

#[track_caller]
fn check(response: &Response) {
    assert_eq!((response.status, response.body.as_str()), (200, "<Response/>"));
    assert_eq!(response.header("content-type"), Some("text/xml"));
    assert_eq!(response.header("connection"), None);
}

#[tokio::test]
async fn a_callback_is_answered_as_twilio_wants_it_and_stored_once() {
    let server = Server::start().await;
    for _ in 0..2 {
        check(&server.ask(&Request::form("/status", CALL).signed()).await);
    }
    let stored = server.stored().await;
    let [event] = &stored[..] else { panic!("{stored:?}") };
    assert_eq!((event.key.as_str(), event.kind), ("CA1-ringing", Kind::Call));
    assert_eq!((event.account.as_str(), &event.body[..]), (ACCOUNT, CALL.as_bytes()));
    assert_eq!(server.metric("offhook_requests_total"), ["accepted,status=2"]);
    assert_eq!(server.metric("offhook_refusals_total"), [""; 0]);
    server.stop().await;
}

#[tokio::test]
async fn a_get_is_as_good_as_a_post() {
    let server = Server::start().await;
    check(&server.ask(&Request::get(&format!("/status?{CALL}")).signed()).await);
    assert_eq!(server.stored_keys().await[0].as_str(), "CA1-ringing");
    server.stop().await;
}

#[tokio::test]
async fn each_element_of_an_event_streams_array_is_an_event() {
    let server = Server::start().await;
    let element = |id: &str| {
        format!(
            r#"{{"specversion":"1.0","id":"{id}","type":"com.twilio.messaging.message.delivered",
                "time":"2026-11-24T08:00:00Z",
                "data":{{"messageSid":"SM{id}","messageStatus":"DELIVERED"}}}}"#
        )
    };
    let array = format!("[{}, {},\n{}]", element("EV1"), element("EV2"), element("EV1"));
    check(&server.ask(&Request::json("/event-streams", &array).signed()).await);
    check(&server.ask(&Request::json("/event-streams", &element("EV3")).signed()).await);
    let stored = server.stored().await;
    let seen: Vec<_> = stored.iter().map(|event| (event.key.as_str(), event.kind)).collect();
    let kind = Kind::EventStream;
    assert_eq!(seen, [("EV1", kind), ("EV2", kind), ("EV3", kind)]);
    assert_eq!(&stored[1].body[..], element("EV2").as_bytes());
    assert_eq!(stored[1].status.as_deref(), Some("delivered"));
    server.stop().await;
}

#[tokio::test]
async fn what_is_signed_and_not_recognised_is_kept() {
    let server = Server::start().await;
    let odd: [Request; 6] = [
        Request::form("/status", format!("AccountSid={ACCOUNT}&hello")),
        Request::form("/status", format!("account_sid={ACCOUNT}")),
        Request::form("/status", b"AccountSid&%FF=\xFF&\0".to_vec()),
        Request::json("/event-streams", "[]"),
        Request::json("/event-streams", "no JSON at all"),
        Request::json("/debugger", "[1, {}]"),
    ];
    for request in odd {
        check(&server.ask(&request.signed()).await);
    }
    let stored = server.stored().await;
    assert_eq!(stored.len(), 7);
    assert!(stored.iter().all(|event| event.kind == Kind::Other));
    server.stop().await;
}

#[tokio::test]
async fn what_was_redirected_is_refused_and_says_what_redirects() {
    let server = Server::start().await;
    for (request, status, reason) in [
        (Request::get("/status"), 400, "lost_parameters"),
        (Request::get("/debugger?tenant=7"), 400, "lost_parameters"),
        (Request::form("/status", "tenant=7"), 400, "lost_parameters"),
        (Request::get("/event-streams"), 429, "lost_body"),
        (Request::get(&format!("/status?bodySHA256={}", "0".repeat(64))), 429, "lost_body"),
        (Request::json("/event-streams", ""), 429, "lost_body"),
    ] {
        let answer = server.ask(&request.signed()).await;
        assert_eq!((answer.status, answer.body.contains(reason)), (status, true), "{reason}");
        let retry = if status == 429 { Some("60") } else { None };
        assert_eq!(answer.header("retry-after"), retry);
    }
    let refused = server.metric("offhook_refusals_total");
    assert_eq!(refused, ["lost_body=3", "lost_parameters=3"]);
    assert!(server.stored().await.is_empty());
    for route in ["/voice-fallback", "/sms-fallback"] {
        assert_eq!(server.ask(&Request::get(route).signed()).await.status, 200);
    }
    assert_eq!(server.stored().await.len(), 2);
    server.stop().await;
}

#[tokio::test]
async fn a_request_of_a_calls_twiml_is_kept_and_counted_by_its_verb() {
    let server = Server::start().await;
    let call = format!("AccountSid={ACCOUNT}&CallSid=CA1&CallStatus=in-progress");
    for more in ["&Digits=1", "&SpeechResult=x", "&DialCallStatus=busy", ""] {
        check(&server.ask(&Request::form("/status", format!("{call}{more}")).signed()).await);
    }
    check(&server.ask(&Request::form("/status", CALL).signed()).await);
    assert_eq!(server.metric("offhook_twiml_requests_total"), ["Dial=1", "Gather=2", "url=1"]);
    let stored = server.stored().await;
    assert_eq!(stored.len(), 5);
    let requests = stored.iter().filter(|event| event.kind == Kind::TwimlRequest);
    assert_eq!(requests.filter(|event| event.sid.as_deref() == Some("CA1")).count(), 4);
    // A request for TwiML gets TwiML.
    let fallback = Request::form("/voice-fallback", format!("{call}&Digits=1"));
    assert_eq!(server.ask(&fallback.signed()).await.status, 200);
    assert_eq!(server.metric("offhook_twiml_requests_total").len(), 3);
    server.stop().await;
}

#[tokio::test]
async fn an_event_about_another_account_is_counted() {
    let server = Server::start().await;
    let element = format!(
        r#"{{"id":"EZ1","type":"com.twilio.messaging.message.sent",
            "data":{{"messageSid":"SM1","accountSid":"AC{}"}}}}"#,
        "9".repeat(32)
    );
    check(&server.ask(&Request::json("/event-streams", &element).signed()).await);
    let [event] = &server.stored().await[..] else { panic!("one event") };
    assert_eq!((event.account.as_str(), event.resource), (ACCOUNT, None));
    assert!(event.about_account.is_some());
    assert_eq!(server.metric("offhook_about_other_accounts_total"), ["=1"]);
    server.stop().await;
}

#[tokio::test]
async fn every_route_takes_every_kind() {
    let server = Server::start().await;
    for route in ["/status", "/event-streams", "/debugger"] {
        check(&server.ask(&Request::form(route, CALL).signed()).await);
    }
    assert_eq!(server.stored().await.len(), 1);
    let requests = server.metric("offhook_requests_total");
    assert_eq!(requests, ["accepted,debugger=1", "accepted,event-streams=1", "accepted,status=1"]);
    server.stop().await;
}
