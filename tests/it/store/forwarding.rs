//! What is stored is forwarded: at least once, and in the order of each SID, in every deployment.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use offhook::config::Role;
use offhook::lab::endpoint::{Answer, Endpoint};
use tempfile::TempDir;

use crate::harness::{
    ACCOUNT, Callback, Client, Mode, Offhook, Services, Settings, Spawned, Testbed, every_mode,
    until,
};
use crate::services::{Signal, needs};

const STATUSES: [&str; 4] = ["initiated", "ringing", "in-progress", "completed"];

/// These settings, and that everything is forwarded to the endpoint.
fn forwarding(settings: &Settings, endpoint: &Endpoint, more: &str) -> (Settings, TempDir) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("offhook.toml");
    let url = endpoint.url();
    let forward =
        format!("[[forward]]\nname = \"app\"\nurl = \"{url}\"\nform = \"twilio\"\n{more}\n");
    std::fs::write(&file, forward).expect("it is ours");
    (settings.clone().set("OFFHOOK_CONFIG", file.display().to_string()), directory)
}

async fn endpoint() -> Endpoint {
    Endpoint::start().await.expect("a port of loopback")
}

fn sid(n: usize) -> String {
    format!("CA{n:032x}")
}

async fn accept(client: &Client, n: usize, status: &str) {
    let sid = sid(n);
    let body = format!(
        "CallSid={sid}&AccountSid={ACCOUNT}&CallStatus={status}&CallbackSource=call-progress-events"
    );
    client.accepts(&Callback::form(body)).await;
}

/// Until the store knows the forward: what comes from then on is forwarded.
async fn begun(testbed: &Testbed) {
    until("the forward has begun", async || {
        let tables = testbed.try_column("SELECT name FROM forwards").await?;
        (tables == ["app"]).then_some(())
    })
    .await;
}

/// SID and status of what was taken, in order.
fn taken(endpoint: &Endpoint) -> Vec<(String, String)> {
    let arrivals = endpoint.arrivals().into_iter().filter(|arrival| arrival.taken);
    arrivals.map(|arrival| named(&arrival.body)).collect()
}

fn named(body: &[u8]) -> (String, String) {
    let body: BTreeMap<_, _> = form_urlencoded::parse(body).into_owned().collect();
    (body["CallSid"].clone(), body["CallStatus"].clone())
}

/// Until each of these was taken at least once.
async fn all_taken(endpoint: &Endpoint, wanted: &BTreeSet<(String, String)>) {
    until("everything is forwarded", async || {
        let taken: BTreeSet<_> = taken(endpoint).into_iter().collect();
        wanted.is_subset(&taken).then_some(())
    })
    .await;
}

fn all(calls: std::ops::Range<usize>) -> BTreeSet<(String, String)> {
    calls.flat_map(|n| STATUSES.map(|status| (sid(n), status.to_owned()))).collect()
}

/// Nothing arrived before what precedes it in its SID, by the feed, had been taken.
async fn assert_order(testbed: &Testbed, endpoint: &Endpoint) {
    let feed = testbed.column("SELECT key FROM changes ORDER BY id").await;
    let key = |(sid, status): (String, String)| format!("{sid}-{status}");
    let mut taken = BTreeSet::new();
    for arrival in endpoint.arrivals() {
        let (sid, status) = named(&arrival.body);
        let key = key((sid.clone(), status));
        let before = feed.iter().take_while(|other| **other != key);
        for before in before.filter(|other| other.starts_with(&sid)) {
            assert!(taken.contains(before), "{key} before {before}");
        }
        if arrival.taken {
            taken.insert(key);
        }
    }
}

/// What waits, and what is still behind the cursor.
async fn left(testbed: &Testbed) -> Vec<String> {
    let left = "SELECT CAST(count(*) AS text) FROM forward_waiting UNION ALL \
                SELECT CAST(count(*) AS text) FROM changes, forwards WHERE changes.id > cursor";
    testbed.column(left).await
}

async fn settled(testbed: &Testbed) {
    until("nothing is left", async || (left(testbed).await == ["0", "0"]).then_some(())).await;
}

every_mode![
    each_change_is_forwarded_in_the_order_of_its_sid,
    a_sid_that_fails_holds_up_no_other,
    an_endpoint_that_is_down_for_longer_than_may_wait_gets_everything_once_it_is_back,
    an_endpoint_that_is_gone_is_disabled_until_it_is_enabled,
    what_was_given_up_is_sent_again,
    what_cannot_be_sent_any_more_is_listed_or_counted,
    what_is_old_and_was_not_forwarded_is_not_deleted,
];

async fn each_change_is_forwarded_in_the_order_of_its_sid(testbed: Testbed) {
    let endpoint = endpoint().await;
    let (settings, _file) = forwarding(&testbed.settings, &endpoint, "");
    let offhook = Offhook::start(&settings);
    begun(&testbed).await;
    for status in STATUSES {
        for n in 0..20 {
            accept(&offhook.client, n, status).await;
        }
    }
    all_taken(&endpoint, &all(0..20)).await;
    settled(&testbed).await;
    assert_order(&testbed, &endpoint).await;
    assert_eq!(endpoint.arrivals().len(), 80);
    // What stops well leaves nothing to be sent twice.
    drop(offhook);
    let offhook = Offhook::start(&settings);
    accept(&offhook.client, 20, "completed").await;
    all_taken(&endpoint, &BTreeSet::from([(sid(20), "completed".to_owned())])).await;
    assert_eq!(endpoint.arrivals().len(), 81);
}

async fn a_sid_that_fails_holds_up_no_other(testbed: Testbed) {
    let endpoint = endpoint().await;
    endpoint.answer_to(&sid(0), Answer::FAILS);
    let (settings, _file) = forwarding(&testbed.settings, &endpoint, "");
    let offhook = Offhook::start(&settings);
    begun(&testbed).await;
    for n in 0..5 {
        for status in STATUSES {
            accept(&offhook.client, n, status).await;
        }
    }
    all_taken(&endpoint, &all(1..5)).await;
    until("the cursor passes it", async || (left(&testbed).await == ["4", "0"]).then_some(()))
        .await;
    endpoint.answer(Answer::TAKES);
    all_taken(&endpoint, &all(0..5)).await;
    settled(&testbed).await;
    assert_order(&testbed, &endpoint).await;
}

async fn an_endpoint_that_is_down_for_longer_than_may_wait_gets_everything_once_it_is_back(
    testbed: Testbed,
) {
    let endpoint = endpoint().await;
    endpoint.answer(Answer::None);
    let (settings, _file) = forwarding(&testbed.settings, &endpoint, "max_waiting = 3");
    let offhook = Offhook::start(&settings);
    begun(&testbed).await;
    for n in 0..10 {
        for status in STATUSES {
            accept(&offhook.client, n, status).await;
        }
    }
    until("three wait, and the cursor stands still", async || {
        let left = left(&testbed).await;
        (left[0] == "3" && left[1] != "0").then_some(())
    })
    .await;
    endpoint.answer(Answer::TAKES);
    all_taken(&endpoint, &all(0..10)).await;
    settled(&testbed).await;
    assert_order(&testbed, &endpoint).await;
}

async fn an_endpoint_that_is_gone_is_disabled_until_it_is_enabled(testbed: Testbed) {
    let endpoint = endpoint().await;
    endpoint.answer(Answer::Status(410, Duration::ZERO));
    let (settings, _file) = forwarding(&testbed.settings, &endpoint, "");
    let offhook = Offhook::start(&settings);
    begun(&testbed).await;
    accept(&offhook.client, 0, "initiated").await;
    until("it is disabled", async || {
        let disabled = "SELECT coalesce(disabled, '-') FROM forwards";
        (testbed.column(disabled).await == ["gone"]).then_some(())
    })
    .await;
    let before = endpoint.arrivals().len();
    for status in &STATUSES[1..] {
        accept(&offhook.client, 0, status).await;
    }
    endpoint.answer(Answer::TAKES);
    testbed.execute("UPDATE forwards SET disabled = NULL").await;
    all_taken(&endpoint, &all(0..1)).await;
    assert_eq!(endpoint.arrivals().len(), before + 4);
    assert_order(&testbed, &endpoint).await;
}

async fn what_was_given_up_is_sent_again(testbed: Testbed) {
    let endpoint = endpoint().await;
    let (settings, _file) = forwarding(&testbed.settings, &endpoint, "");
    let offhook = Offhook::start(&settings);
    begun(&testbed).await;
    accept(&offhook.client, 0, "completed").await;
    let wanted = BTreeSet::from([(sid(0), "completed".to_owned())]);
    all_taken(&endpoint, &wanted).await;
    settled(&testbed).await;
    testbed
        .execute(
            "INSERT INTO forward_given_up (forward, change, account, sid, tries, failure, at, replay) \
             SELECT 'app', id, account, sid, 17, 'timeout', stored_at, (1 = 1) FROM changes",
        )
        .await;
    until("it is sent again", async || (endpoint.taken() == 2).then_some(())).await;
    settled(&testbed).await;
    until("it is not given up any more", async || {
        let rows = testbed.column("SELECT failure FROM forward_given_up").await;
        rows.is_empty().then_some(())
    })
    .await;
}

async fn what_cannot_be_sent_any_more_is_listed_or_counted(testbed: Testbed) {
    let endpoint = endpoint().await;
    let (settings, _file) = forwarding(&testbed.settings, &endpoint, "");
    let offhook = Offhook::start(&settings);
    begun(&testbed).await;
    accept(&offhook.client, 0, "completed").await;
    let wanted = BTreeSet::from([(sid(0), "completed".to_owned())]);
    all_taken(&endpoint, &wanted).await;
    settled(&testbed).await;
    let again = "INSERT INTO forward_given_up (forward, change, account, sid, tries, failure, at, replay) \
                 SELECT 'app', id, account, sid, 17, 'timeout', stored_at, (1 = 1) FROM changes";
    testbed.execute("DELETE FROM events").await;
    testbed.execute(again).await;
    until("it is given up for another reason", async || {
        let why = testbed.column("SELECT failure FROM forward_given_up").await;
        (why == ["event_gone"]).then_some(())
    })
    .await;
    assert_eq!(offhook.client.metric("offhook_forward_given_up_total{forward=\"app\"}").await, 1.0);

    // The change itself is gone: by a purge that is as it should be, by retention it is told.
    testbed.execute("DELETE FROM forward_given_up").await;
    testbed.execute(again).await;
    testbed.execute("UPDATE feed SET cut = (SELECT max(id) FROM changes)").await;
    testbed.execute("DELETE FROM changes").await;
    until("it is counted", async || {
        let cut = offhook.client.metric("offhook_forward_cut_total{forward=\"app\"}").await;
        (cut == 1.0).then_some(())
    })
    .await;
    assert_eq!(endpoint.taken(), 1);
}

/// Makes the first of these calls three days old, and the second one two.
async fn grow_old(testbed: &Testbed) {
    let statements = match testbed.services {
        Services::Embedded(_) => [
            "UPDATE changes SET stored_at = strftime('%Y-%m-%dT%H:%M:%f000Z', 'now', '-3 days') WHERE sid LIKE '%0'",
            "UPDATE changes SET stored_at = strftime('%Y-%m-%dT%H:%M:%f000Z', 'now', '-2 days') WHERE sid LIKE '%1'",
            "UPDATE events SET stored_at = strftime('%Y-%m-%dT%H:%M:%f000Z', 'now', '-3 days') WHERE sid LIKE '%0'",
            "UPDATE events SET stored_at = strftime('%Y-%m-%dT%H:%M:%f000Z', 'now', '-2 days') WHERE sid LIKE '%1'",
        ],
        _ => [
            "UPDATE changes SET stored_at = stored_at - interval '3 days' WHERE sid LIKE '%0'",
            "UPDATE changes SET stored_at = stored_at - interval '2 days' WHERE sid LIKE '%1'",
            "UPDATE events SET stored_at = stored_at - interval '3 days' WHERE sid LIKE '%0'",
            "UPDATE events SET stored_at = stored_at - interval '2 days' WHERE sid LIKE '%1'",
        ],
    };
    for statement in statements {
        testbed.execute(statement).await;
    }
}

async fn what_is_old_and_was_not_forwarded_is_not_deleted(testbed: Testbed) {
    let endpoint = endpoint().await;
    endpoint.answer_to(&sid(1), Answer::FAILS);
    let (settings, _file) = forwarding(&testbed.settings, &endpoint, "");
    let settings = settings
        .set("OFFHOOK_RETENTION__CHANGES_DAYS", "1")
        .set("OFFHOOK_RETENTION__EVENTS_DAYS", "1");
    let offhook = Offhook::start(&settings);
    begun(&testbed).await;
    // In this order: retention takes changes from the first one on, and an old last one for a leap of the clock.
    for n in 0..3 {
        accept(&offhook.client, n, "completed").await;
        testbed.contents_of(n + 1).await;
    }
    until("one waits", async || (left(&testbed).await == ["1", "0"]).then_some(())).await;
    drop(offhook);
    grow_old(&testbed).await;
    let _offhook = Offhook::start(&settings);
    let kept = async || {
        let kept = "SELECT sid FROM changes UNION ALL SELECT sid FROM events ORDER BY sid";
        testbed.column(kept).await
    };
    let expected = [sid(1), sid(1), sid(2), sid(2)];
    until("what was forwarded is deleted", async || (kept().await.len() < 5).then_some(())).await;
    assert_eq!(kept().await, expected);
    endpoint.answer_to(&sid(1), Answer::TAKES);
    all_taken(&endpoint, &BTreeSet::from([(sid(1), "completed".to_owned())])).await;
}

#[tokio::test]
async fn what_a_process_had_in_hand_when_it_was_killed_is_sent_again_after_its_lease() {
    needs!(all Mode::Direct.needs());
    let testbed = Testbed::of(Mode::Direct);
    let endpoint = endpoint().await;
    // Slow, so that some requests are under way.
    endpoint.answer(Answer::Status(200, Duration::from_millis(50)));
    let (settings, _file) = forwarding(&testbed.settings, &endpoint, "in_flight = 4");
    let offhook = Spawned::start(&settings);
    begun(&testbed).await;
    for n in 0..10 {
        for status in STATUSES {
            accept(&offhook.client, n, status).await;
        }
    }
    until("some are forwarded", async || (endpoint.taken() > 5).then_some(())).await;
    offhook.kill();
    let offhook = Spawned::start(&settings);
    all_taken(&endpoint, &all(0..10)).await;
    settled(&testbed).await;
    assert_order(&testbed, &endpoint).await;
    drop(offhook);
}

#[tokio::test]
async fn another_process_takes_over_from_one_that_stands_still_which_then_sends_nothing() {
    needs!(all Mode::ScaleOut.needs());
    let testbed = Testbed::of(Mode::ScaleOut);
    let endpoint = endpoint().await;
    let (settings, _file) = forwarding(&testbed.settings, &endpoint, "");
    let receiver = Offhook::start(&settings.clone().with_role(Role::Receiver));
    let works = settings.clone().with_role(Role::Worker);
    let first = Spawned::start(&works);
    begun(&testbed).await;
    let holders = async || testbed.column("SELECT coalesce(holder, '-') FROM forwards").await;
    let holder =
        until("it forwards", async || holders().await.pop().filter(|holder| holder != "-")).await;
    first.signal(Signal::Stop);
    let second = Spawned::start(&works);
    for n in 0..10 {
        for status in STATUSES {
            accept(&receiver.client, n, status).await;
        }
    }
    all_taken(&endpoint, &all(0..10)).await;
    assert_ne!(holders().await, [holder]);
    first.signal(Signal::Continue);
    for n in 10..20 {
        for status in STATUSES {
            accept(&receiver.client, n, status).await;
        }
    }
    all_taken(&endpoint, &all(0..20)).await;
    settled(&testbed).await;
    assert_order(&testbed, &endpoint).await;
    assert_eq!(endpoint.arrivals().len(), 80, "none twice");
    drop((first, second));
}
