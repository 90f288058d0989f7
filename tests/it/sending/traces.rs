//! What is asked and what is sent, as a collector of OpenTelemetry gets it.

use std::collections::BTreeSet;

use offhook::lab::twilio::Behaviour;

use super::{Sending, message};
use crate::harness::{Mode, until};
use crate::operate::traces::Collector;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_attempt_leads_from_what_was_asked_to_the_request() {
    let collector = Collector::start().await;
    let more = format!("[traces]\nendpoint = \"{}\"\n", collector.url);
    let sending = Sending::with(Mode::Embedded, Behaviour::default(), &more).await;
    let id = sending.ask(&message(1)).await;
    let confirmed = sending.reaches(&id, "confirmed").await;
    let attempt = confirmed["attempts"][0]["id"].as_str().expect("an id");
    until("both traces are collected", async || {
        let seen = collector.seen();
        let of = |name: &str| {
            let mut of_it = seen.iter().filter(|it| it.attribute("attempt") == attempt);
            of_it.find(|it| it.span.name == name)
        };
        let (ask, send) = (of("ask")?, of("send")?);
        let parts = seen.iter().filter(|it| it.span.parent_span_id == send.span.span_id);
        let parts: BTreeSet<(&str, String)> =
            parts.map(|it| (&*it.span.name, it.attribute("outcome"))).collect();
        let expected = [("request", "accepted".to_owned()), ("write", "writing".to_owned())];
        let outcomes = (ask.attribute("outcome"), send.attribute("outcome"));
        let is_whole = outcomes == ("kept".to_owned(), "accepted".to_owned());
        (is_whole && parts == BTreeSet::from(expected)).then_some(())
    })
    .await;
    let shown = format!("{:?}", collector.seen());
    assert!(!shown.contains("4155550001") && !shown.contains("has left"), "{shown}");
}
