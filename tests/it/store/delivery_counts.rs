//! What counts as a delivery, and what does not.

use offhook::config::Role;
use redis::cmd;

use crate::harness::{Offhook, Testbed, until};
use crate::services::{Durability, Redis, needs};

const STREAM: &str = "offhook:events";

/// How often each pending entry was delivered.
fn counts(redis: &Redis) -> Vec<u32> {
    let pending: Vec<(String, String, u64, u32)> =
        redis.query(cmd("XPENDING").arg(STREAM).arg("offhook").arg("-").arg("+").arg(100));
    pending.into_iter().map(|(.., count)| count).collect()
}

/// A worker makes the group when it first reads, which may be after it is ready.
fn make_group(redis: &Redis) {
    let mut create = cmd("XGROUP");
    create.arg("CREATE").arg(STREAM).arg("offhook").arg("0").arg("MKSTREAM");
    redis.query::<()>(&create);
}

async fn dead_letters(offhook: &Offhook) -> f64 {
    offhook.client.metric("offhook_dead_letters_total").await
}

#[tokio::test]
async fn an_event_with_which_ten_workers_died_is_put_aside_and_one_with_nine_is_not() {
    needs!(Redis, Postgres);
    let mut testbed = Testbed::scale_out(Durability::Unsynced);
    let receiver = Offhook::start(&testbed.role(Role::Receiver));
    let keys = receiver.client.accepts_calls(0..2).await;
    let redis = testbed.redis();
    make_group(redis);
    let mut read = cmd("XREADGROUP");
    read.arg("GROUP").arg("offhook").arg("dead").arg("STREAMS").arg(STREAM).arg(">");
    redis.query::<redis::Value>(&read);
    for (id, count) in redis.ids(STREAM).iter().zip([10, 9]) {
        let mut die = cmd("XCLAIM");
        die.arg(STREAM).arg("offhook").arg("dead").arg(0).arg(id);
        redis.query::<redis::Value>(die.arg("IDLE").arg(100_000).arg("RETRYCOUNT").arg(count));
    }
    let worker = Offhook::start(&testbed.role(Role::Worker));
    let contents = testbed.contents_with(&keys[1..]).await;
    assert_eq!(contents.keys(), keys[1..]);
    let (_, letters) = worker.client.json("/api/dead-letters").await;
    let letters = letters["dead_letters"].as_array().expect("a list");
    assert_eq!(letters.len(), 1, "{letters:?}");
    assert_eq!(letters[0]["key"], keys[0]);
    assert_eq!(letters[0]["reason"], "delivered 10 times without success");
}

#[tokio::test]
async fn an_outage_of_postgres_counts_as_no_delivery() {
    needs!(Redis, Postgres);
    let mut testbed = Testbed::scale_out(Durability::Unsynced);
    // One more delivery would be one too many.
    testbed.settings = testbed
        .settings
        .clone()
        .set("OFFHOOK_WORKER__RECLAIM_IDLE_MS", "1000")
        .set("OFFHOOK_WORKER__MAX_DELIVERIES", "1");
    make_group(testbed.redis());
    let workers = [(); 2].map(|()| Offhook::start(&testbed.role(Role::Worker)));
    let receiver = Offhook::start(&testbed.role(Role::Receiver));
    for worker in &workers {
        until("it works", async || worker.client.is_ready().await.then_some(())).await;
    }
    testbed.postgres().kill();
    let keys = receiver.client.accepts_calls(0..10).await;
    let errors = "offhook_commit_errors_total{backend=\"postgres\",error=\"transient\"}";
    until("somebody has tried three times, for longer than others wait", async || {
        let tried =
            [workers[0].client.metric(errors).await, workers[1].client.metric(errors).await];
        tried.iter().any(|&tried| tried > 2.0).then_some(())
    })
    .await;
    let counts = counts(testbed.redis());
    assert!(!counts.is_empty() && counts.iter().all(|&count| count == 1), "{counts:?}");
    testbed.postgres().restart();
    testbed.contents_with(&keys).await;
    for worker in &workers {
        assert_eq!(dead_letters(worker).await, 0.0);
    }
}

#[tokio::test]
async fn what_a_worker_cannot_store_before_it_stops_is_taken_over_at_once() {
    needs!(Redis, Postgres);
    let mut testbed = Testbed::scale_out(Durability::Unsynced);
    // By waiting nobody would get it.
    testbed.settings = testbed
        .settings
        .clone()
        .set("OFFHOOK_WORKER__RECLAIM_IDLE_MS", "3600000")
        .set("OFFHOOK_WORKER__MAX_DELIVERIES", "1");
    make_group(testbed.redis());
    let receiver = Offhook::start(&testbed.role(Role::Receiver));
    let worker = Offhook::start(&testbed.role(Role::Worker));
    until("it works", async || worker.client.is_ready().await.then_some(())).await;
    testbed.postgres().kill();
    let keys = receiver.client.accepts_calls(0..5).await;
    until("it has one in hand", async || (!counts(testbed.redis()).is_empty()).then_some(())).await;
    worker.stop().expect("it stops, without Postgres");
    testbed.postgres().restart();
    let next = Offhook::start(&testbed.role(Role::Worker));
    testbed.contents_with(&keys).await;
    assert_eq!(dead_letters(&next).await, 0.0, "what was given back was no delivery");
}
