//! Redis comes back in every way in which a server can: nothing is lost, and nobody asks it in a
//! busy loop while it is away.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use offhook::config::Role;
use redis::{Value, cmd};

use crate::harness::{Callback, Offhook, Testbed, until};
use crate::services::{Durability, Proxy, Redis, Sentinel, free_port, needs};

const STREAM: &str = "offhook:events";

async fn accept(offhook: &Offhook, numbers: std::ops::Range<usize>, keys: &mut Vec<String>) {
    for n in numbers {
        let sid = format!("CA{n:032x}");
        let body = format!(
            "CallSid={sid}&CallStatus=completed&CallbackSource=call-progress-events&From=%2B15550001111"
        );
        offhook.client.accepts(&Callback::form(body)).await;
        keys.push(format!("{sid}-completed"));
    }
}

async fn stored(testbed: &Testbed, keys: &[String]) {
    assert_eq!(testbed.contents_with(keys).await.events.len(), keys.len());
}

async fn recovers(offhook: &Offhook) {
    until("the circuit closes and the spool is empty", async || {
        let open = offhook.client.metric("offhook_circuit_open").await;
        let events = offhook.client.metric("offhook_spool_events").await;
        (open == 0.0 && events == 0.0).then_some(())
    })
    .await;
}

fn on_port(port: u16, more: &[&str]) -> Redis {
    let port = port.to_string();
    Redis::told(&[&["--port", &port, "--bind", "127.0.0.1"], more].concat())
}

fn replicate(redis: &Redis, of: Option<u16>) {
    let (host, port) = of.map_or(("NO".to_owned(), "ONE".to_owned()), |port| {
        ("127.0.0.1".to_owned(), port.to_string())
    });
    redis.query::<()>(&cmd("REPLICAOF").arg(host).arg(port).to_owned());
}

/// Waits until a replica has all that its primary has.
async fn replicated(primary: &Redis, replica: &Redis) {
    let offset = |redis: &Redis, name: &str| -> Option<String> {
        let info: String = redis.query(cmd("INFO").arg("replication"));
        info.lines().find_map(|line| Some(line.strip_prefix(name)?.trim().to_owned()))
    };
    until("the replica has it all", async || {
        let up = offset(replica, "master_link_status:")? == "up";
        let (sent, got) =
            (offset(primary, "master_repl_offset:")?, offset(replica, "slave_repl_offset:")?);
        (up && sent == got).then_some(())
    })
    .await;
}

/// How many entries were ever appended.
fn appended(redis: &Redis) -> u64 {
    let mut info: HashMap<String, Value> = redis.query(cmd("XINFO").arg("STREAM").arg(STREAM));
    let appended = info.remove("entries-added").expect("Redis 7 tells");
    redis::from_redis_value(appended).expect("a number")
}

#[tokio::test]
async fn a_primary_that_became_a_replica_is_waited_for() {
    needs!(Redis, Postgres);
    let mut testbed = Testbed::scale_out(Durability::Unsynced);
    let (one, other) = (free_port(), free_port());
    let (mut redis, mut second) = (on_port(one, &[]), on_port(other, &[]));
    testbed.settings =
        testbed.settings.clone().set("REDIS_URL", format!("redis://127.0.0.1:{one}"));
    let offhook = testbed.start();
    let mut keys = Vec::new();
    accept(&offhook, 0..5, &mut keys).await;
    stored(&testbed, &keys).await;
    replicate(&second, Some(one));
    replicated(&redis, &second).await;
    // They change places: the connections to the first one live on, and it takes nothing more.
    replicate(&second, None);
    replicate(&redis, Some(other));
    accept(&offhook, 5..20, &mut keys).await;
    assert_eq!(offhook.client.metric("offhook_circuit_open").await, 1.0);
    replicated(&second, &redis).await;
    replicate(&redis, None);
    stored(&testbed, &keys).await;
    recovers(&offhook).await;
    accept(&offhook, 20..25, &mut keys).await;
    stored(&testbed, &keys).await;
    drop(offhook);
    redis.kill();
    second.kill();
}

#[tokio::test]
async fn connections_that_went_silent_are_replaced() {
    needs!(Redis, Postgres);
    let mut testbed = Testbed::scale_out(Durability::Unsynced);
    let port = free_port();
    let _redis = on_port(port, &[]);
    let proxy = Proxy::to(port);
    let url = format!("redis://127.0.0.1:{}", proxy.port());
    testbed.settings = testbed.settings.clone().set("REDIS_URL", url);
    let offhook = testbed.start();
    let mut keys = Vec::new();
    accept(&offhook, 0..5, &mut keys).await;
    stored(&testbed, &keys).await;
    proxy.lose_connections();
    accept(&offhook, 5..15, &mut keys).await;
    stored(&testbed, &keys).await;
    recovers(&offhook).await;
    accept(&offhook, 15..20, &mut keys).await;
    stored(&testbed, &keys).await;
}

#[tokio::test]
async fn a_connection_that_takes_longer_to_make_than_a_request_waits_is_made_all_the_same() {
    needs!(Redis, Postgres);
    let mut testbed = Testbed::scale_out(Durability::Unsynced);
    let port = free_port();
    let _redis = on_port(port, &[]);
    // Longer than a request waits for Redis, as over TLS from far away.
    let proxy = Proxy::slow_to(port, Duration::from_millis(500));
    let url = format!("redis://127.0.0.1:{}", proxy.port());
    testbed.settings = testbed.settings.clone().set("REDIS_URL", url);
    let offhook = testbed.start();
    let spooled =
        async || offhook.client.metric("offhook_batch_events_sum{backend=\"spool\"}").await;
    let mut keys = Vec::new();
    until("callbacks go to Redis at once", async || {
        let (before, next) = (spooled().await, keys.len());
        accept(&offhook, next..next + 1, &mut keys).await;
        (spooled().await == before).then_some(())
    })
    .await;
    stored(&testbed, &keys).await;
}

#[tokio::test]
async fn while_redis_is_away_it_is_asked_less_and_less() {
    needs!(Redis, Postgres);
    let mut testbed = Testbed::scale_out(Durability::Unsynced);
    // Each waits for itself, and all of them are counted.
    let settings = testbed.role(Role::Worker).set("OFFHOOK_WORKER__CONSUMERS", "1");
    let worker = Offhook::start(&settings);
    until("it works", async || worker.client.is_ready().await.then_some(())).await;
    let failures = async || worker.client.metric("offhook_stream_errors_total").await;
    let (before, started) = (failures().await, Instant::now());
    testbed.redis().kill();
    // Its waits are 50, 100, 200, 400 and 800 ms at least.
    until("it has failed six times", async || (failures().await >= before + 6.0).then_some(()))
        .await;
    let took = started.elapsed();
    assert!(took >= Duration::from_millis(1550), "six failures within {took:?}");
}

#[tokio::test]
async fn sentinels_say_where_the_primary_is_before_and_after_a_failover() {
    needs!(Redis, Postgres);
    let mut testbed = Testbed::scale_out(Durability::Unsynced);
    let (one, other) = (free_port(), free_port());
    let mut primary = on_port(one, &[]);
    let replica = on_port(other, &["--replicaof", &format!("127.0.0.1 {one}")]);
    replicated(&primary, &replica).await;
    let sentinels = [(); 2].map(|()| Sentinel::of("main", one, 1).expect("a Sentinel starts"));
    // The first one is away: that costs nothing, as long as the others are most of them.
    let (away, [second, third]) = (free_port(), sentinels.each_ref().map(Sentinel::port));
    let hosts = format!("127.0.0.1:{away},127.0.0.1:{second},127.0.0.1:{third}");
    let url = format!("redis+sentinel://{hosts}/main");
    testbed.settings = testbed.settings.clone().set("REDIS_URL", url);
    let offhook = testbed.start();
    let mut keys = Vec::new();
    accept(&offhook, 0..10, &mut keys).await;
    stored(&testbed, &keys).await;
    assert!(appended(&primary) >= 10, "it went to the primary");
    replicated(&primary, &replica).await;
    primary.kill();
    accept(&offhook, 10..30, &mut keys).await;
    stored(&testbed, &keys).await;
    recovers(&offhook).await;
    assert!(appended(&replica) >= 30, "the rest went to the one that was the replica");
}
