//! What Twilio answers is an event like any other: consumers of the change feed and of forwards see it.

use std::collections::BTreeMap;

use offhook::lab::endpoint::Endpoint;
use offhook::lab::twilio::Behaviour;

use super::{Sending, both_stores, message};
use crate::harness::{Mode, until};

both_stores![an_answer_is_in_the_feed_and_forwarded_without_any_callback];

async fn an_answer_is_in_the_feed_and_forwarded_without_any_callback(mode: Mode) {
    let endpoint = Endpoint::start().await.expect("a port of loopback");
    let forward =
        format!("[[forward]]\nname = \"app\"\nurl = \"{}\"\nform = \"twilio\"\n", endpoint.url());
    let behaviour = Behaviour { callbacks: 0, ..Behaviour::default() };
    let sending = Sending::with(mode, behaviour, &forward).await;
    until("the forward has begun", async || {
        let names = sending.testbed.try_column("SELECT name FROM forwards").await?;
        (names == ["app"]).then_some(())
    })
    .await;
    let id = sending.ask(&message(1)).await;
    let accepted = sending.attempt_reaches(&id, "accepted").await;
    let sid = accepted["attempts"][0]["sid"].as_str().expect("it is accepted");

    let feed = sending.offhook().client.json("/api/changes").await.1;
    let changes = feed["changes"].as_array().expect("a list");
    let [change] = &changes[..] else { panic!("{feed}") };
    assert_eq!(change["sid"], sid, "{change}");
    assert_eq!((&change["kind"], &change["resource"]), (&"message".into(), &"message".into()));
    assert_eq!((&change["status"], &change["current"]), (&"queued".into(), &"queued".into()));
    assert_eq!((&change["moved"], &change["final"]), (&true.into(), &false.into()));

    let form = until("it is forwarded", async || {
        let arrived = endpoint.arrivals().into_iter().find(|arrival| arrival.taken)?;
        let form = form_urlencoded::parse(&arrived.body).into_owned();
        Some(form.collect::<BTreeMap<String, String>>())
    })
    .await;
    assert_eq!((&*form["MessageSid"], &*form["MessageStatus"]), (sid, "queued"));
    assert!(!form.contains_key("Body"), "a text is not an event's: {form:?}");
}
