//! A Redis that does not show its settings, as many that are hosted do not.

use std::collections::HashMap;

use redis::{Value, cmd};

use crate::harness::{Callback, Offhook, Settings, Spawned, Testbed, fixture, until};
use crate::services::{Durability, Redis, free_port, needs};

/// All that offhook may do, as the manual has it.
fn restricted() -> String {
    let manual = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/operations.md");
    let manual = std::fs::read_to_string(manual).expect("it is there");
    let line = manual.lines().find(|line| line.starts_with("ACL SETUSER offhook "));
    line.expect("the manual says what to allow").to_owned()
}

async fn says_that_it_is_hidden(settings: &Settings) {
    let offhook = Spawned::start(settings);
    let (_, ready) = offhook.client.json("/readyz").await;
    assert_eq!(ready["durability"]["redis"]["level"], "unknown", "{ready}");
    let log = offhook.log();
    let line = log.lines().find(|line| line.contains("this backend hides its settings"));
    assert!(line.is_some_and(|line| line.contains("spool")), "{log}");
}

#[tokio::test]
async fn a_redis_without_config_is_worked_with_and_the_spool_recommended() {
    needs!(Redis, Postgres);
    let testbed = Testbed::scale_out(Durability::Unsynced);
    let redis = Redis::told(&["--rename-command", "CONFIG", ""]);
    let settings = testbed.settings.clone().set("REDIS_URL", redis.url());
    says_that_it_is_hidden(&settings).await;
    // With the spool first there is nothing to recommend.
    let settings = settings.set("OFFHOOK_STREAM__DURABILITY", "spool");
    let log = Spawned::start(&settings).log();
    assert!(!log.contains("this backend hides its settings"), "{log}");
}

#[tokio::test]
async fn what_the_manual_allows_on_redis_is_enough() {
    needs!(Redis, Postgres);
    let testbed = Testbed::scale_out(Durability::Unsynced);
    let port = free_port();
    let redis = Redis::told(&["--port", &port.to_string(), "--bind", "127.0.0.1"]);
    let words = restricted();
    let mut allow = cmd("ACL");
    allow.arg(words.split(' ').skip(1).map(|word| word.replace('…', "secret")).collect::<Vec<_>>());
    redis.query::<()>(&allow);
    let url = format!("redis://offhook:secret@127.0.0.1:{port}");
    let settings = testbed.settings.clone().set("REDIS_URL", url);
    says_that_it_is_hidden(&settings).await;
    let offhook = Offhook::start(&settings);
    offhook.client.accepts(&Callback::form(fixture("call.form"))).await;
    testbed.contents_of(1).await;
    let (_, letters) = offhook.client.json("/api/dead-letters").await;
    assert_eq!(letters["dead_letters"], serde_json::json!([]), "they can be looked at");
    drop(offhook);
    let refused: Vec<HashMap<String, Value>> = redis.query(cmd("ACL").arg("LOG"));
    let mut commands = refused.into_iter().map(|mut entry| {
        redis::from_redis_value::<String>(entry.remove("object").expect("what was refused"))
            .expect("text")
    });
    assert!(commands.all(|command| command == "config|get"), "nothing else was asked in vain");
}

#[tokio::test]
async fn a_redis_that_evicts_is_refused_even_if_it_hides_its_settings() {
    needs!(Redis, Postgres);
    let testbed = Testbed::scale_out(Durability::Unsynced);
    let redis =
        Redis::told(&["--maxmemory-policy", "allkeys-lru", "--rename-command", "CONFIG", ""]);
    let settings = testbed.settings.clone().set("REDIS_URL", redis.url());
    let refused = Offhook::try_start(&settings).expect_err("it evicts").to_string();
    assert!(refused.contains("noeviction"), "{refused}");
}

#[tokio::test]
async fn what_the_manual_allows_on_postgres_is_enough() {
    needs!(Redis, Postgres);
    let mut testbed = Testbed::scale_out(Durability::Unsynced);
    let first = testbed.start();
    until("the tables are there", async || first.client.is_ready().await.then_some(())).await;
    drop(first);
    testbed.execute("CREATE ROLE little LOGIN").await;
    testbed.execute("GRANT SELECT, INSERT, UPDATE ON events, statuses TO little").await;
    testbed.execute("GRANT SELECT, INSERT ON changes TO little; GRANT INSERT ON wakes TO little; GRANT SELECT ON feed, attempts, attempt_sids TO little; GRANT USAGE ON SEQUENCE changes_id_seq TO little").await;
    let url = testbed.postgres().url().replacen("offhook@", "little@", 1);
    testbed.settings =
        testbed.settings.clone().set("DATABASE_URL", url).set("OFFHOOK_STORE__MIGRATE", "false");
    let offhook = testbed.start();
    for body in ["call.form", "message.form", "message_failed.form"] {
        offhook.client.accepts(&Callback::form(fixture(body))).await;
    }
    testbed.contents_of(3).await;
    assert!(offhook.client.is_ready().await);
    drop(offhook);

    testbed
        .execute("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO little")
        .await;
    testbed.execute("GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO little").await;
    testbed.execute("UPDATE events SET stored_at = '2020-01-01' WHERE kind = 'call'").await;
    testbed.settings = testbed.settings.clone().set("OFFHOOK_RETENTION__EVENTS_DAYS", "30");
    let offhook = testbed.start();
    until("what is old is gone", async || {
        testbed.column("SELECT key FROM events WHERE kind = 'call'").await.is_empty().then_some(())
    })
    .await;
    let failed = "offhook_retention_errors_total{table=\"events\"}";
    assert_eq!(offhook.client.metric(failed).await, 0.0);
    let number = serde_json::json!({ "number": "+14155550001" });
    let (status, answer) = offhook.client.post_json("/api/purge", &number).await;
    assert_eq!(status, 200, "{answer}");
}
