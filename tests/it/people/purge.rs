//! Somebody asks to be forgotten: what is theirs goes from every place, and nothing else does.

use std::path::Path;

use offhook::backend::local_log::{Bounds, LocalLog, Release};
use offhook::clock::Timestamp;
use offhook::config::Role;
use offhook::event::{Batch, Event, EventKey, Kind, codec};
use offhook::pipeline::{Sink as _, Source as _};
use serde_json::{Value, json};
use sqlx::{Connection as _, Executor as _, SqliteConnection};

use crate::harness::{
    ACCOUNT, Callback, Client, Mode, Offhook, Services, Settings, Testbed, copy_all, every_mode,
    run,
};
use crate::services::{Durability, needs};

every_mode! {
    a_number_goes_from_everything_that_has_it,
    an_address_goes_that_is_encoded_in_the_query_of_a_callback_url,
    a_sid_goes_and_its_neighbours_stay,
    what_came_before_a_time_goes,
    an_account_goes,
    what_is_selected_must_fit_in_everything_that_is_said,
    a_purge_of_many_rows_goes_on_until_the_end,
    a_request_that_makes_no_sense_is_refused,
    the_command_asks_before_it_deletes,
}

const THEIRS: &str = "%2B15550100";
const OURS: &str = "%2B15550199";

fn form(parts: &str) -> Callback {
    Callback::form(format!("{parts}&AccountSid={ACCOUNT}"))
}

/// A life of somebody's, and of somebody else's; how many events.
async fn two_people(client: &Client) -> usize {
    let callbacks = [
        format!("CallSid=CA1&CallStatus=ringing&CallbackSource=call-progress-events&From={THEIRS}&To={OURS}"),
        format!("CallSid=CA1&CallStatus=completed&CallbackSource=call-progress-events&From={THEIRS}&To={OURS}"),
        "CallSid=CA1&RecordingSid=RE1&RecordingStatus=completed".to_owned(),
        "CallSid=CA1&AnsweredBy=human&MachineDetectionDuration=1".to_owned(),
        format!("MessageSid=SM1&MessageStatus=sent&From={OURS}&To=whatsapp%3A{THEIRS}"),
        "MessageSid=SM1&MessageStatus=delivered".to_owned(),
        format!("Something=new&Caller={THEIRS}"),
        // Somebody else's, and a number that is longer.
        "CallSid=CA2&CallStatus=busy&CallbackSource=call-progress-events&From=%2B155501001&To=%2B15550200".to_owned(),
        "CallSid=CA2&RecordingSid=RE2&RecordingStatus=completed".to_owned(),
        "MessageSid=SM2&MessageStatus=failed&To=%2B15550200".to_owned(),
        "Something=new&Caller=%2B115550100".to_owned(),
        // One that only speaks of theirs.
        format!("MessageSid=SM3&MessageStatus=received&From=%2B15550200&Body=ask+{THEIRS}"),
    ];
    for callback in &callbacks {
        client.accepts(&form(callback)).await;
    }
    callbacks.len()
}

/// Until the end; what each place had, in all.
async fn purge(client: &Client, mut wanted: Value) -> [u64; 4] {
    let mut sums = [0; 4];
    loop {
        let (status, answer) = client.post_json("/api/purge", &wanted).await;
        assert_eq!(status, 200, "{answer}");
        for (sum, place) in sums.iter_mut().zip(["events", "statuses", "dead_letters", "spool"]) {
            *sum += answer[place].as_u64().expect("a count");
        }
        if answer["next"].is_null() {
            assert_eq!(answer["waiting"], json!({ "stream": 0, "spool": 0 }));
            return sums;
        }
        wanted["after"] = answer["next"].clone();
    }
}

async fn sids(testbed: &Testbed) -> Vec<String> {
    testbed.contents().await.statuses.into_iter().map(|row| row.sid).collect()
}

/// Until workers are done, whose acks come after their commits.
async fn settled(client: &Client) {
    crate::harness::until("nothing waits", async || {
        (client.metric("offhook_stream_depth").await == 0.0).then_some(())
    })
    .await;
}

async fn a_number_goes_from_everything_that_has_it(testbed: Testbed) {
    let offhook = testbed.start();
    let before = testbed.contents_of(two_people(&offhook.client).await).await;
    settled(&offhook.client).await;
    for typed in ["+1 (555) 010-0", "15550100"] {
        let would = purge(&offhook.client, json!({ "number": typed, "dry_run": true })).await;
        assert_eq!(would, [7, 3, 0, 0], "{typed}");
    }
    assert_eq!(
        testbed.contents().await.keys(),
        before.keys(),
        "nothing is done but what is asked for"
    );

    let done = purge(&offhook.client, json!({ "number": "+15550100" })).await;
    assert_eq!(done, [7, 3, 0, 0]);
    let left = testbed.contents().await;
    assert_eq!(left.events.len(), 5);
    let texts: Vec<String> = left.events.iter().map(|stored| stored.params.clone()).collect();
    assert!(!texts.iter().any(|text| text.contains("\"+15550100\"")), "{texts:?}");
    assert_eq!(sids(&testbed).await, ["CA2", "RE2", "SM2", "SM3"]);
    assert_eq!(purge(&offhook.client, json!({ "number": "+15550100" })).await, [0; 4]);
}

/// As libraries write it.
async fn an_address_goes_that_is_encoded_in_the_query_of_a_callback_url(testbed: Testbed) {
    let offhook = testbed.start();
    let queries = [
        "email=Ana%40h.example",
        "who=client%3aana",
        "email=ana%40h.examples",
        "who=client%3Aanabel",
    ];
    for (number, query) in (1..).zip(queries) {
        let callback = form(&format!("MessageSid=SM{number}&MessageStatus=sent")).with_query(query);
        offhook.client.accepts(&callback).await;
    }
    testbed.contents_of(queries.len()).await;
    settled(&offhook.client).await;
    for address in ["ana@h.example", "client:ana"] {
        let found = purge(&offhook.client, json!({ "number": address })).await;
        assert_eq!(found, [1, 1, 0, 0], "{address}");
    }
    assert_eq!(sids(&testbed).await, ["SM3", "SM4"]);
}

async fn a_sid_goes_and_its_neighbours_stay(testbed: Testbed) {
    let offhook = testbed.start();
    let all = two_people(&offhook.client).await;
    testbed.contents_of(all).await;
    settled(&offhook.client).await;
    assert_eq!(purge(&offhook.client, json!({ "sid": "CA9" })).await, [0; 4]);
    let done = purge(&offhook.client, json!({ "sid": "CA1" })).await;
    assert_eq!(done, [3, 1, 0, 0], "two of its status, one of who answered");
    assert_eq!(testbed.contents().await.events.len(), all - 3);
    assert_eq!(sids(&testbed).await, ["CA2", "RE1", "RE2", "SM1", "SM2", "SM3"]);
}

async fn what_came_before_a_time_goes(testbed: Testbed) {
    let offhook = testbed.start();
    let all = two_people(&offhook.client).await;
    testbed.contents_of(all).await;
    settled(&offhook.client).await;
    testbed.execute("UPDATE events SET received_at = '2020-01-01T00:00:00.000000Z' WHERE sid IN ('CA1', 'CA2')").await;
    testbed.execute("UPDATE statuses SET first_seen = '2020-01-01T00:00:00.000000Z' WHERE sid IN ('CA1', 'CA2')").await;
    testbed
        .execute("UPDATE statuses SET updated = '2020-01-01T00:00:00.000000Z' WHERE sid = 'CA1'")
        .await;
    assert_eq!(purge(&offhook.client, json!({ "before": "2020-01-01T00:00:00Z" })).await, [0; 4]);
    let wanted = json!({ "before": "30d" });
    assert_eq!(purge(&offhook.client, wanted).await, [4, 1, 0, 0]);
    assert_eq!(sids(&testbed).await, ["CA2", "RE1", "RE2", "SM1", "SM2", "SM3"]);
    assert_eq!(testbed.contents().await.events.len(), all - 4);
}

async fn an_account_goes(testbed: Testbed) {
    let offhook = testbed.start();
    let all = two_people(&offhook.client).await;
    testbed.contents_of(all).await;
    settled(&offhook.client).await;
    testbed.execute("UPDATE events SET account = 'AC9' WHERE sid = 'CA1'").await;
    testbed.execute("UPDATE statuses SET account = 'AC9' WHERE sid = 'CA1'").await;
    assert_eq!(purge(&offhook.client, json!({ "account": "AC9" })).await, [3, 1, 0, 0]);
    assert_eq!(testbed.contents().await.events.len(), all - 3);
    assert_eq!(sids(&testbed).await, ["CA2", "RE1", "RE2", "SM1", "SM2", "SM3"]);
}

async fn what_is_selected_must_fit_in_everything_that_is_said(testbed: Testbed) {
    let offhook = testbed.start();
    let all = two_people(&offhook.client).await;
    testbed.contents_of(all).await;
    settled(&offhook.client).await;
    for nothing in [
        json!({ "number": "+15550100", "before": "1d" }),
        json!({ "number": "+15550100", "account": "AC9" }),
        json!({ "number": "+15550100", "sid": "CA2" }),
        json!({ "sid": "CA1", "before": "1d" }),
    ] {
        assert_eq!(purge(&offhook.client, nothing.clone()).await, [0; 4], "{nothing}");
    }
    let done = json!({ "number": "+15550100", "sid": "CA1", "account": ACCOUNT, "before": "0s" });
    assert_eq!(purge(&offhook.client, done).await, [3, 1, 0, 0]);
    assert_eq!(testbed.contents().await.events.len(), all - 3);
}

async fn a_purge_of_many_rows_goes_on_until_the_end(testbed: Testbed) {
    let offhook = testbed.start();
    offhook
        .client
        .accepts(&form("CallSid=CA1&CallStatus=busy&CallbackSource=call-progress-events"))
        .await;
    testbed.contents_of(1).await;
    settled(&offhook.client).await;
    // Many of one moment, so that a page ends among them.
    let rows = match testbed.mode() {
        Mode::Embedded => {
            "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 3210) \
             INSERT INTO events (key, kind, account, received_at, format, query, params, body) \
             SELECT 'old-' || n, 'other', 'AC1', '2020-01-01T00:00:00.000000Z', 'form', \
             '', CASE n % 3 WHEN 0 THEN '{\"X\":\"+15550100\"}' ELSE '{}' END, x'' FROM n"
        }
        Mode::Direct | Mode::ScaleOut => {
            "INSERT INTO events (key, kind, account, received_at, format, query, params, body) \
             SELECT 'old-' || n, 'other', 'AC1', '2020-01-01T00:00:00Z', 'form', '', \
             CASE n % 3 WHEN 0 THEN '{\"X\":\"+15550100\"}' ELSE '{}' END::jsonb, '' \
             FROM generate_series(1, 3210) AS n"
        }
    };
    testbed.execute(rows).await;
    let number = json!({ "number": "+15550100", "dry_run": true });
    assert_eq!(purge(&offhook.client, number).await, [1070, 0, 0, 0]);
    assert_eq!(purge(&offhook.client, json!({ "number": "+15550100" })).await, [1070, 0, 0, 0]);
    assert_eq!(purge(&offhook.client, json!({ "before": "365d" })).await, [2140, 0, 0, 0]);
    assert_eq!(testbed.contents().await.keys(), ["CA1-busy"]);
}

async fn a_request_that_makes_no_sense_is_refused(testbed: Testbed) {
    let offhook = testbed.start();
    offhook
        .client
        .accepts(&form("CallSid=CA1&CallStatus=busy&CallbackSource=call-progress-events"))
        .await;
    testbed.contents_of(1).await;
    for (wanted, said) in [
        (json!({}), "name a `sid`"),
        (json!({ "dry_run": true }), "name a `sid`"),
        (json!({ "sid": " " }), "`sid` is empty"),
        (json!({ "number": "CA1" }), "`number` is not a number"),
        (json!({ "before": "yesterday" }), "`before` is not a time"),
        (json!({ "sid": "CA1\u{0}" }), "NUL"),
        (json!({ "sid": "CA1", "after": "x" }), "`after`"),
        (json!({ "sids": ["CA1"] }), "unknown field"),
    ] {
        let (status, problem) = offhook.client.post_json("/api/purge", &wanted).await;
        assert!(status.is_client_error(), "{wanted}: {problem}");
        assert!(
            problem["detail"].as_str().is_some_and(|d| d.contains(said)),
            "{wanted}: {problem}"
        );
    }
    assert_eq!(testbed.contents().await.events.len(), 1);
}

async fn the_command_asks_before_it_deletes(testbed: Testbed) {
    let offhook = Offhook::start(&testbed.role(Role::All).set("OFFHOOK_ADMIN__TOKEN", "s3cret"));
    let all = two_people(&offhook.client).await;
    testbed.contents_of(all).await;
    let url = format!("http://{}", offhook.client.admin_address());
    let ask = |arguments: &[&str]| {
        let server = ["purge", "--number", "+15550100", "--admin", &url, "--token", "s3cret"];
        run(&Settings::none(), &[&server, arguments].concat())
    };
    // No terminal to ask on.
    let said = ask(&[]).badly();
    assert!(said.contains("--yes") && said.contains("nothing was deleted"), "{said}");
    let would: Value = serde_json::from_str(&ask(&["--dry-run"]).well()).expect("JSON");
    assert_eq!((&would["events"], &would["dry_run"]), (&json!(7), &json!(true)));
    assert_eq!(testbed.contents().await.events.len(), all);
    let done: Value = serde_json::from_str(&ask(&["--yes", "--json"]).well()).expect("JSON");
    assert_eq!((&done["events"], &done["statuses"]), (&json!(7), &json!(3)));
    assert_eq!(testbed.contents().await.events.len(), all - 7);

    let without = ["purge", "--sid", "CA2", "--yes", "--admin", &url];
    assert!(run(&Settings::none(), &without).badly().contains("--token"));
    assert_eq!(run(&Settings::none(), &["purge", "--yes", "--admin", &url]).code, Some(2));
}

#[tokio::test]
async fn a_number_that_is_stored_as_a_hash_is_found_by_the_number() {
    let testbed = Testbed::embedded();
    let settings = testbed.role(Role::All).set("OFFHOOK_PRIVACY__NUMBERS", "hash");
    let offhook = Offhook::start(&settings.set("OFFHOOK_PRIVACY__KEY", "0".repeat(32)));
    let all = two_people(&offhook.client).await;
    let stored = testbed.contents_of(all).await;
    assert!(stored.status("CA1").from.as_deref().is_some_and(|from| from.starts_with("hash:")));
    // That of a kind which offhook does not know has a number under a name that it does.
    assert_eq!(purge(&offhook.client, json!({ "number": "+15550100" })).await, [7, 3, 0, 0]);
    assert_eq!(sids(&testbed).await, ["CA2", "RE2", "SM2", "SM3"]);
}

#[tokio::test]
async fn a_number_that_is_masked_is_not_taken_for_that_of_others() {
    let testbed = Testbed::embedded();
    let settings = testbed.role(Role::All).set("OFFHOOK_PRIVACY__NUMBERS", "mask");
    let offhook = Offhook::start(&settings.set("OFFHOOK_PRIVACY__KEY", "0".repeat(32)));
    let call =
        format!("CallSid=CA1&CallStatus=busy&CallbackSource=call-progress-events&From={THEIRS}");
    offhook.client.accepts(&form(&call)).await;
    testbed.contents_of(1).await;
    let wanted = json!({ "number": "+15550100", "dry_run": true });
    let (_, answer) = offhook.client.post_json("/api/purge", &wanted).await;
    assert_eq!((&answer["masked"], &answer["events"]), (&json!(true), &json!(0)), "{answer}");
    let wanted = json!({ "number": "****0100", "dry_run": true });
    assert_eq!(offhook.client.post_json("/api/purge", &wanted).await.0, 400);
}

fn event(sid: &str, body: &str) -> Event {
    Event {
        sid: Some(sid.to_owned()),
        status: Some("busy".to_owned()),
        received_at: Timestamp::from_micros(1_795_500_000_000_000),
        body: body.as_bytes().to_vec().into(),
        ..Event::new(EventKey::of(&[sid, "busy"]).expect("printable"), Kind::Call, ACCOUNT)
    }
}

/// A spool in which one of theirs is kept aside, and one of somebody else's.
async fn spool(directory: &Path) {
    let bounds = Bounds { max_bytes: 1 << 20, min_free_bytes: 0 };
    let spool = LocalLog::open(directory, bounds).await.expect("nobody else has it");
    let theirs = event("CA1", &format!("CallSid=CA1&From={THEIRS}"));
    let mut events = vec![theirs, event("CA2", "CallSid=CA2&From=%2B15550200")];
    spool.commit(&Batch::take_from(&mut events).expect("two")).await.expect("there is room");
    let mut drainer = spool.reader(Release::AtOnce);
    for delivery in drainer.read(9).await.expect("the disk works") {
        drainer.dead_letter(&delivery.id, 1, "no event").await.expect("the disk works");
    }
}

#[tokio::test]
async fn dead_letters_and_what_a_spool_keeps_aside_go_too() {
    needs!(Redis, Postgres);
    let mut testbed = Testbed::scale_out(Durability::Unsynced);
    let directory = tempfile::tempdir().expect("a temporary directory");
    spool(directory.path()).await;
    for (sid, number) in [("CA1", THEIRS), ("CA2", "%2B15550200")] {
        let mut add = redis::cmd("XADD");
        add.arg("offhook:events:dead").arg("*");
        let letter = event(sid, &format!("CallSid={sid}&From={number}"));
        codec::encode(&letter, |name, value| {
            add.arg(name).arg(value);
        });
        testbed.redis().query::<String>(&add);
    }
    // And what is no event at all.
    let mut add = redis::cmd("XADD");
    add.arg("offhook:events:dead").arg("*").arg("some").arg(format!("thing={THEIRS}"));
    testbed.redis().query::<String>(&add);

    let path = directory.path().display().to_string();
    let offhook = Offhook::start(&testbed.role(Role::All).set("OFFHOOK_SPOOL__DIRECTORY", path));
    testbed.contents_with(&[]).await;
    let number = json!({ "number": "+15550100" });
    let mut would = number.clone();
    would["dry_run"] = true.into();
    assert_eq!(purge(&offhook.client, would).await, [0, 0, 2, 1]);
    assert_eq!(purge(&offhook.client, number).await, [0, 0, 2, 1]);
    assert_eq!(purge(&offhook.client, json!({ "sid": "CA1" })).await, [0; 4]);
    assert_eq!(purge(&offhook.client, json!({ "account": ACCOUNT })).await, [0, 0, 1, 1]);
    let letters = redis::cmd("XLEN").arg("offhook:events:dead").to_owned();
    assert_eq!(testbed.redis().query::<u64>(&letters), 0);
}

#[tokio::test]
async fn what_still_waits_is_told_and_not_touched() {
    needs!(Redis, Postgres);
    let testbed = Testbed::scale_out(Durability::Unsynced);
    drop(testbed.start());
    let receiver = Offhook::start(&testbed.role(Role::Receiver));
    for status in ["ringing", "completed"] {
        let body = format!(
            "CallSid=CA1&CallStatus={status}&CallbackSource=call-progress-events&From={THEIRS}"
        );
        receiver.client.accepts(&form(&body)).await;
    }
    let number = json!({ "number": "+15550100" });
    let ask = async |client: &Client| {
        let (mut wanted, mut last) = (number.clone(), Value::Null);
        while last["waiting"].is_null() {
            last = client.post_json("/api/purge", &wanted).await.1;
            wanted["after"] = last["next"].clone();
        }
        last
    };
    let told = ask(&receiver.client).await;
    assert_eq!((&told["events"], &told["waiting"]["stream"]), (&json!(0), &json!(2)), "{told}");
    let worker = Offhook::start(&testbed.role(Role::Worker));
    testbed.contents_of(2).await;
    settled(&worker.client).await;
    assert_eq!(purge(&worker.client, number.clone()).await, [2, 1, 0, 0]);
    assert!(testbed.contents().await.statuses.is_empty());
}

#[tokio::test]
async fn nothing_of_it_is_left_in_the_embedded_file() {
    let testbed = Testbed::embedded();
    let Services::Embedded(directory) = &testbed.services else {
        panic!("a testbed of the embedded mode")
    };
    let in_files = || {
        let holds = |name: &&str| {
            let bytes = std::fs::read(directory.path().join(name)).unwrap_or_default();
            bytes.windows(8).any(|bytes| bytes == b"15550100")
        };
        ["offhook.db", "offhook.db-wal"].into_iter().filter(holds).collect::<Vec<_>>()
    };
    let offhook = testbed.start();
    for n in 0..50 {
        let body = format!(
            "CallSid=CA{n}&CallStatus=busy&CallbackSource=call-progress-events&From={THEIRS}&X={}",
            "x".repeat(3000)
        );
        offhook.client.accepts(&form(&body)).await;
    }
    testbed.contents_of(50).await;
    assert!(!in_files().is_empty());
    assert_eq!(purge(&offhook.client, json!({ "number": "+15550100" })).await, [50, 50, 0, 0]);
    assert_eq!(in_files(), [""; 0]);
}

/// What waits in the log of the embedded mode, for a process that would start now.
async fn waits(testbed: &Testbed) -> u64 {
    let copy = tempfile::tempdir().expect("a temporary directory");
    copy_all(&testbed.directory().join("offhook.db-log"), copy.path());
    let bounds = Bounds { max_bytes: 1 << 30, min_free_bytes: 0 };
    LocalLog::open(copy.path(), bounds).await.expect("nobody else has it").fill().events
}

#[tokio::test]
async fn a_log_keeps_what_somebody_who_reads_keeps_from_being_synced() {
    let testbed = Testbed::embedded();
    let offhook = testbed.start();
    let before = offhook.client.accepts_calls(0..5).await;
    testbed.contents_with(&before).await;
    let url = format!("sqlite:{}", testbed.directory().join("offhook.db").display());
    let mut somebody = SqliteConnection::connect(&url).await.expect("it is there");
    somebody.execute("BEGIN; SELECT count(*) FROM events").await.expect("it can be read");
    let after = offhook.client.accepts_calls(10..17).await;
    testbed.contents_with(&after).await;
    settled(&offhook.client).await;
    let nobody = json!({ "sid": "CA0nobody" });
    purge(&offhook.client, nobody.clone()).await;
    assert!(waits(&testbed).await >= 7, "{}", waits(&testbed).await);
    somebody.execute("COMMIT").await.expect("it was read");
    purge(&offhook.client, nobody).await;
    assert_eq!(waits(&testbed).await, 0);
}
