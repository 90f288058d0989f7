//! Liveness depends on nothing, readiness on what this process needs, and the rest on a token.

use offhook::config::Role;
use serde_json::Value;

use crate::harness::{Client, Offhook, Testbed, both_modes, header, until};
use crate::services::{Durability, needs};

both_modes! {
    a_process_that_can_do_its_job_is_ready,
    the_token_is_asked_for_but_not_by_health_checks,
}

async fn ready(client: &Client) {
    until("it is ready", async || client.is_ready().await.then_some(())).await;
}

/// Whether it is ready, and what it misses.
async fn look(client: &Client) -> (bool, Vec<String>) {
    let (code, readiness) = client.json("/readyz").await;
    let dependencies = readiness["dependencies"].as_array().expect("a list").clone();
    let away = dependencies.iter().filter(|dependency| dependency["ready"] != true);
    let away: Vec<String> = away.map(|dependency| text(&dependency["name"])).collect();
    assert_eq!(code == 200, readiness["ready"] == true, "{readiness}");
    (code == 200, away)
}

fn text(value: &Value) -> String {
    value.as_str().expect("text").to_owned()
}

async fn is_missing(client: &Client, expected: &[&str], ready: bool) {
    until(&format!("it misses {expected:?}"), async || {
        let (is_ready, missing) = look(client).await;
        (missing == expected && is_ready == ready).then_some(())
    })
    .await;
    assert_eq!(client.admin("/livez").await.status(), 200, "it lives all the same");
}

async fn a_process_that_can_do_its_job_is_ready(testbed: Testbed) {
    let offhook = testbed.start();
    assert_eq!(offhook.client.admin("/livez").await.status(), 200);
    ready(&offhook.client).await;
    is_missing(&offhook.client, &[], true).await;
}

async fn the_token_is_asked_for_but_not_by_health_checks(mut testbed: Testbed) {
    testbed.settings = testbed.settings.clone().set("OFFHOOK_ADMIN__TOKEN", "open sesame");
    let offhook = testbed.start();
    let client = &offhook.client;
    for path in ["/metrics", "/api/statuses/CA1", "/api/events?sid=CA1"] {
        for wrong in [None, Some("open"), Some("Open sesame"), Some("open sesames")] {
            let answer = client.admin_as(path, wrong).await;
            assert_eq!(answer.status(), 401, "{path} {wrong:?}");
            assert_eq!(header(&answer, "www-authenticate").as_deref(), Some("Bearer"));
        }
    }
    assert_eq!(client.admin_as("/metrics", Some("open sesame")).await.status(), 200);
    assert_eq!(client.admin("/livez").await.status(), 200);
    ready(client).await;
}

#[tokio::test]
async fn a_store_that_loses_its_tables_is_named() {
    let testbed = Testbed::embedded();
    let offhook = testbed.start();
    ready(&offhook.client).await;
    testbed.execute("ALTER TABLE events RENAME TO elsewhere").await;
    // Callbacks are safe in the local log meanwhile.
    is_missing(&offhook.client, &["sqlite"], true).await;
    testbed.execute("ALTER TABLE elsewhere RENAME TO events").await;
    ready(&offhook.client).await;
}

#[tokio::test]
async fn each_role_is_ready_by_what_it_needs() {
    needs!(Redis, Postgres);
    let mut testbed = Testbed::scale_out(Durability::Unsynced);
    let all = testbed.start();
    let receiver = Offhook::start(&testbed.role(Role::Receiver));
    let worker = Offhook::start(&testbed.role(Role::Worker));
    let sender = Offhook::start(&testbed.role(Role::Sender).with_a_forward());
    for offhook in [&all, &receiver, &worker, &sender] {
        ready(&offhook.client).await;
    }
    // Only the others have something to do with sending, and nothing is configured here.
    assert_eq!(receiver.client.admin("/api/notifications").await.status(), 421);
    assert_eq!(worker.client.admin("/api/notifications").await.status(), 404);
    testbed.postgres().kill();
    // Whoever takes callbacks must stay in the load balancer.
    is_missing(&all.client, &["postgres"], true).await;
    is_missing(&worker.client, &["postgres"], false).await;
    is_missing(&receiver.client, &[], true).await;
    is_missing(&sender.client, &["postgres"], false).await;
    testbed.redis().kill();
    is_missing(&all.client, &["redis", "postgres"], true).await;
    is_missing(&worker.client, &["redis", "postgres"], false).await;
    is_missing(&receiver.client, &["redis"], true).await;
    testbed.redis().restart();
    testbed.postgres().restart();
    for offhook in [&all, &receiver, &worker, &sender] {
        ready(&offhook.client).await;
    }
}

#[tokio::test]
async fn a_redis_that_is_silent_is_away() {
    needs!(Redis, Postgres);
    let mut testbed = Testbed::scale_out(Durability::Unsynced);
    let receiver = Offhook::start(&testbed.role(Role::Receiver));
    let worker = Offhook::start(&testbed.role(Role::Worker));
    ready(&worker.client).await;
    testbed.redis().pause();
    is_missing(&receiver.client, &["redis"], true).await;
    is_missing(&worker.client, &["redis"], false).await;
    testbed.redis().go_on();
    ready(&worker.client).await;
}
