//! Redis or its disk is away: callbacks are taken all the same, and reach the store later.

use offhook::config::Role;
use reqwest::StatusCode;

use crate::harness::{ACCOUNT, Callback, Mode, Offhook, Spawned, Testbed, header, until};
use crate::services::{Durability, Fsync, Redis, needs};

/// A call's callback, and its key.
fn call(n: usize, status: &str) -> (Callback, String) {
    let sid = format!("CA{n:032x}");
    let body = format!(
        "CallSid={sid}&CallStatus={status}&CallbackSource=call-progress-events&From=%2B15550001111&A=%00%FF"
    );
    (Callback::form(body), format!("{sid}-{status}"))
}

async fn accept(offhook: &Offhook, numbers: std::ops::Range<usize>) -> Vec<String> {
    let mut keys = Vec::new();
    for n in numbers {
        let (callback, key) = call(n, "completed");
        offhook.client.accepts(&callback).await;
        keys.push(key);
    }
    keys
}

#[tokio::test]
async fn while_redis_is_killed_callbacks_are_taken_and_stored_once_it_is_back() {
    needs!(all Mode::ScaleOut.needs());
    let mut testbed = Testbed::of(Mode::ScaleOut);
    let offhook = testbed.start();
    let mut keys = accept(&offhook, 0..5).await;
    testbed.redis().kill();
    keys.extend(accept(&offhook, 5..30).await);
    assert_eq!(offhook.client.metric("offhook_circuit_open").await, 1.0);
    assert!(offhook.client.is_ready().await, "it can do its job");
    testbed.redis().restart();
    assert_eq!(testbed.contents_with(&keys).await.events.len(), keys.len());
    until("the circuit closes and the spool is empty", async || {
        let open = offhook.client.metric("offhook_circuit_open").await;
        let events = offhook.client.metric("offhook_spool_events").await;
        (open == 0.0 && events == 0.0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn while_redis_does_not_answer_callbacks_are_taken_and_stored_once_it_does() {
    needs!(all Mode::ScaleOut.needs());
    let mut testbed = Testbed::of(Mode::ScaleOut);
    let offhook = testbed.start();
    let mut keys = accept(&offhook, 0..5).await;
    testbed.redis().pause();
    keys.extend(accept(&offhook, 5..30).await);
    testbed.redis().go_on();
    // A batch that timed out may have been taken all the same: it is stored once.
    assert_eq!(testbed.contents_with(&keys).await.events.len(), keys.len());
}

#[tokio::test]
async fn a_redis_that_comes_back_empty_is_given_its_stream_and_group_again() {
    needs!(all Mode::ScaleOut.needs());
    let mut testbed = Testbed::on(Redis::with(Fsync::Never, None), Durability::Unsynced);
    let offhook = testbed.start();
    let mut keys = accept(&offhook, 0..5).await;
    testbed.contents_with(&keys).await;
    testbed.redis().restart();
    assert_eq!(testbed.redis().ids("offhook:events"), Vec::<String>::new(), "it lost everything");
    keys.extend(accept(&offhook, 5..30).await);
    assert_eq!(testbed.contents_with(&keys).await.events.len(), keys.len());
}

#[tokio::test]
async fn what_a_killed_receiver_left_in_its_spool_is_stored_by_the_next() {
    needs!(all Mode::ScaleOut.needs());
    let mut testbed = Testbed::of(Mode::ScaleOut);
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().display().to_string();
    let settings = testbed.role(Role::Receiver).set("OFFHOOK_SPOOL__DIRECTORY", path);
    testbed.redis().kill();
    let receiver = Spawned::start(&settings);
    let mut keys = Vec::new();
    for n in 0..20 {
        let (callback, key) = call(n, "completed");
        receiver.client.accepts(&callback).await;
        keys.push(key);
    }
    receiver.kill();
    testbed.redis().restart();
    let _receiver = Spawned::start(&settings);
    let _worker = Offhook::start(&testbed.role(Role::Worker));
    assert_eq!(testbed.contents_with(&keys).await.events.len(), keys.len());
}

#[tokio::test]
async fn when_redis_is_down_and_the_spool_full_callbacks_are_refused_and_counted() {
    needs!(all Mode::ScaleOut.needs());
    let mut testbed = Testbed::of(Mode::ScaleOut);
    testbed.settings = testbed.settings.clone().set("OFFHOOK_SPOOL__MAX_BYTES", "2000");
    let offhook = testbed.start();
    testbed.redis().kill();
    let (mut keys, mut refused) = (Vec::new(), 0);
    for n in 0..20 {
        let (callback, key) = call(n, "completed");
        let answer = offhook.client.send(&callback).await;
        match answer.status() {
            StatusCode::OK => keys.push(key),
            status => {
                assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
                assert!(header(&answer, "retry-after").is_some());
                refused += 1;
            }
        }
    }
    assert!(!keys.is_empty() && refused > 0, "{} taken, {refused} refused", keys.len());
    let counted = offhook.client.metric("offhook_refusals_total{reason=\"not_durable\"}").await;
    assert_eq!(counted, f64::from(refused));
    assert!(!offhook.client.is_ready().await, "neither Redis nor the spool takes anything");
    testbed.redis().restart();
    assert_eq!(testbed.contents_with(&keys).await.events.len(), keys.len());
    keys.extend(accept(&offhook, 100..110).await);
    assert_eq!(testbed.contents_with(&keys).await.events.len(), keys.len());
}

#[tokio::test]
async fn with_the_spool_first_every_callback_goes_through_it() {
    needs!(all Mode::ScaleOut.needs());
    let mut testbed = Testbed::of(Mode::ScaleOut);
    testbed.settings = testbed.settings.clone().set("OFFHOOK_STREAM__DURABILITY", "spool");
    let offhook = testbed.start();
    let keys = accept(&offhook, 0..20).await;
    assert_eq!(testbed.contents_with(&keys).await.events.len(), keys.len());
    let spooled = offhook.client.metric("offhook_batch_events_sum{backend=\"spool\"}").await;
    assert_eq!(spooled, 20.0);
}

#[tokio::test]
async fn an_evicting_redis_and_an_asynchronous_postgres_are_refused_with_the_fix() {
    needs!(all Mode::ScaleOut.needs());
    let mut testbed = Testbed::scale_out(Durability::Unsynced);
    let policy =
        |value: &str| redis::cmd("CONFIG").arg("SET").arg("maxmemory-policy").arg(value).to_owned();
    testbed.redis().query::<()>(&policy("allkeys-lru"));
    let refused = Offhook::try_start(&testbed.settings).expect_err("Redis evicts").to_string();
    assert!(refused.contains("maxmemory-policy") && refused.contains("noeviction"), "{refused}");
    testbed.redis().query::<()>(&policy("noeviction"));

    let url = testbed.postgres().url();
    let mark = if url.contains('?') { '&' } else { '?' };
    let asynchronous = format!("{url}{mark}options=-c%20synchronous_commit%3Doff");
    let settings = testbed.settings.clone().set("DATABASE_URL", asynchronous);
    let refused = Offhook::try_start(&settings).expect_err("it answers early").to_string();
    assert!(refused.contains("synchronous_commit"), "{refused}");

    let offhook = testbed.start();
    let (_, ready) = offhook.client.json("/readyz").await;
    assert_eq!(ready["durability"]["redis"]["level"], "synced", "{ready}");
}

#[tokio::test]
async fn a_receiver_whose_spool_cannot_be_written_does_not_start() {
    needs!(all Mode::ScaleOut.needs());
    let testbed = Testbed::of(Mode::ScaleOut);
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    let path = file.path().join("below-a-file").display().to_string();
    let settings = testbed.role(Role::Receiver).set("OFFHOOK_SPOOL__DIRECTORY", path.clone());
    let error = Offhook::try_start(&settings).expect_err("there is no such directory");
    let error = format!("{error:#}");
    assert!(error.contains("spool.directory") && error.contains(&path), "{error}");
}

#[tokio::test]
async fn what_postgres_refuses_as_data_becomes_a_dead_letter_alone_and_can_be_replayed() {
    needs!(all Mode::ScaleOut.needs());
    let mut testbed = Testbed::scale_out(Durability::Unsynced);
    let offhook = testbed.start();
    let mut keys = accept(&offhook, 0..3).await;
    testbed.contents_with(&keys).await;
    let poison = "ALTER TABLE events ADD CONSTRAINT poison CHECK (status <> 'busy')";
    testbed.postgres().execute(poison).await;
    let (poisoned, poison_key) = call(50, "busy");
    offhook.client.accepts(&poisoned).await;
    keys.extend(accept(&offhook, 3..20).await);
    assert_eq!(testbed.contents_with(&keys).await.events.len(), keys.len());

    let letters = until("it is put aside", async || {
        let (_, letters) = offhook.client.json("/api/dead-letters").await;
        letters["dead_letters"].as_array().filter(|letters| !letters.is_empty()).cloned()
    })
    .await;
    assert_eq!(letters.len(), 1, "alone: {letters:?}");
    assert_eq!(letters[0]["key"], poison_key);
    assert!(letters[0]["reason"].as_str().is_some_and(|reason| reason.contains("23514")));

    testbed.postgres().execute("ALTER TABLE events DROP CONSTRAINT poison").await;
    let id = letters[0]["id"].clone();
    let wanted = |dry_run| serde_json::json!({ "ids": [id], "dry_run": dry_run });
    let path = "/api/dead-letters/replay";
    let (status, dry) = offhook.client.post_json(path, &wanted(true)).await;
    assert_eq!((status, dry["done"].as_array().map(Vec::len)), (StatusCode::OK, Some(1)));
    let (_, done) = offhook.client.post_json(path, &wanted(false)).await;
    assert_eq!(done["done"], serde_json::json!([id]), "{done}");
    let (_, again) = offhook.client.post_json(path, &wanted(false)).await;
    assert_eq!(again["missing"], serde_json::json!([id]), "it is there no more: {again}");
    keys.push(poison_key);
    assert_eq!(testbed.contents_with(&keys).await.events.len(), keys.len());
    let (_, letters) = offhook.client.json("/api/dead-letters").await;
    assert_eq!(letters["dead_letters"], serde_json::json!([]));
}

/// The spool of version 0.1: two events that wait, and one that was kept aside.
async fn old_spool(directory: &std::path::Path, sids: [&str; 3]) {
    use sqlx::Connection as _;
    use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
    const COLUMNS: [&str; 12] = [
        "key",
        "kind",
        "account",
        "sid",
        "resource",
        "status",
        "sequence",
        "occurred_at",
        "received_at",
        "format",
        "query",
        "body",
    ];
    let path = directory.join("spool.db");
    let options = SqliteConnectOptions::new().filename(path).create_if_missing(true);
    let mut connection = SqliteConnection::connect_with(&options).await.expect("it is ours");
    for sql in [
        include_str!("../../fixtures/spool/0001_spool.sql"),
        include_str!("../../fixtures/spool/0002_dead_at.sql"),
        include_str!("../../fixtures/spool/0003_traceparent.sql"),
    ] {
        sqlx::raw_sql(sql).execute(&mut connection).await.expect("as it was made");
    }
    let names = COLUMNS.map(|name| format!("\"{name}\"")).join(", ");
    let sql = format!(
        "INSERT INTO spool ({names}, bytes, dead_reason, dead_at) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 500, ?, ?)"
    );
    for (place, sid) in sids.into_iter().enumerate() {
        let aside = place == 2;
        let (key, body) = (
            format!("{sid}-ringing"),
            format!("CallSid={sid}&CallStatus=ringing&CallbackSource=call-progress-events"),
        );
        let at = "1795500000000000";
        let values =
            [&key, "call", ACCOUNT, sid, "call", "ringing", "", "", at, "form", "", body.as_str()];
        let mut insert = sqlx::query(sqlx::AssertSqlSafe(sql.clone()));
        for value in values {
            insert = insert.bind(value.as_bytes().to_vec());
        }
        insert = insert.bind(aside.then_some("it was refused"));
        insert = insert.bind(aside.then_some(1_795_500_000_i64));
        insert.execute(&mut connection).await.expect("as it was written");
    }
}

#[tokio::test]
async fn the_spool_of_the_version_before_is_taken_over_however_often_that_begins() {
    needs!(Redis, Postgres);
    let testbed = Testbed::scale_out(Durability::Unsynced);
    let directory = tempfile::tempdir().expect("a temporary directory");
    old_spool(directory.path(), ["CA1", "CA2", "CA3"]).await;
    let copy = tempfile::tempdir().expect("a temporary directory");
    std::fs::copy(directory.path().join("spool.db"), copy.path().join("spool.db")).expect("room");
    let path = directory.path().display().to_string();
    let settings = testbed.role(Role::All).set("OFFHOOK_SPOOL__DIRECTORY", path);
    let letters = async |offhook: &Offhook| {
        let (_, listed) = offhook.client.json("/api/dead-letters").await;
        listed["dead_letters"].as_array().expect("a list").clone()
    };
    for again in [false, true] {
        if again {
            // As if it had died before the file was deleted.
            let to = directory.path().join("spool.db");
            std::fs::copy(copy.path().join("spool.db"), to).expect("there is room");
        }
        let offhook = Offhook::start(&settings);
        testbed.contents_with(&["CA1-ringing".to_owned(), "CA2-ringing".to_owned()]).await;
        until("the old file is gone", async || {
            (!directory.path().join("spool.db").exists()).then_some(())
        })
        .await;
        let aside = letters(&offhook).await;
        assert_eq!(aside.len(), 1, "{aside:?}");
        assert_eq!(aside[0]["reason"], "it was refused");
        assert_eq!(aside[0]["at"], "2026-11-24T06:00:00.000000Z", "{aside:?}");
    }
    // Its reason is mended.
    let offhook = Offhook::start(&settings);
    let id = letters(&offhook).await[0]["id"].clone();
    let wanted = serde_json::json!({ "ids": [id] });
    let (status, answer) = offhook.client.post_json("/api/dead-letters/replay", &wanted).await;
    assert!(status.is_success(), "{answer}");
    let all = ["CA1-ringing", "CA2-ringing", "CA3-ringing"].map(str::to_owned);
    testbed.contents_with(&all).await;
    assert!(letters(&offhook).await.is_empty());
}

#[tokio::test]
async fn a_damaged_spool_of_the_version_before_keeps_nobody_from_starting() {
    needs!(Redis, Postgres);
    let testbed = Testbed::scale_out(Durability::Unsynced);
    let directory = tempfile::tempdir().expect("a temporary directory");
    std::fs::write(directory.path().join("spool.db"), vec![0xaa; 16 * 4096]).expect("it is ours");
    let path = directory.path().display().to_string();
    let offhook = Offhook::start(&testbed.role(Role::All).set("OFFHOOK_SPOOL__DIRECTORY", path));
    offhook.client.accepts(&call(1, "completed").0).await;
    testbed.contents_of(1).await;
    until("it is put aside", async || {
        directory.path().join("spool.db.damaged").exists().then_some(())
    })
    .await;
}
