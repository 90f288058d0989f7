//! Redis in cluster mode, behind a gateway that offers less, without a replica that it needs, with another
//! type at our key, of an old version: each works, or is named.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use offhook::backend::redis::{
    Connector, Names, RedisConsumer, RedisDuties, RedisStream, Rehearsal,
};
use offhook::config::Role;
use offhook::event::{Batch, Event, EventKey, Kind};
use offhook::pipeline::{Sink as _, Source as _};
use redis::cmd;
use tokio::time::Instant;

use super::{all_ready, misses};
use crate::harness::{Callback, Offhook, Spawned, Testbed, run, until};
use crate::services::{Durability, Gateway, Redis, Then, free_port, needs};

const STREAM: &str = "offhook:events";

/// A node of a cluster, which has these slots.
fn node(port: u16, first: u16, last: u16) -> Redis {
    let (port, bus) = (port.to_string(), free_port().to_string());
    let cluster = ["--cluster-enabled", "yes", "--cluster-port", &bus];
    let redis = Redis::told(&[&["--port", &port, "--bind", "127.0.0.1"][..], &cluster].concat());
    redis.query::<()>(cmd("CLUSTER").arg("ADDSLOTSRANGE").arg(first).arg(last));
    redis
}

fn bus_of(node: &Redis) -> u16 {
    let pair: Vec<String> = node.query(cmd("CONFIG").arg("GET").arg("cluster-port"));
    pair[1].parse().expect("a port")
}

async fn is_up(redis: &Redis) {
    until("the cluster is up", async || {
        let info: String = redis.query(cmd("CLUSTER").arg("INFO"));
        info.contains("cluster_state:ok").then_some(())
    })
    .await;
}

/// How many entries are read and not acked.
fn pending(redis: &Redis) -> u64 {
    let (pending, ..): (u64, redis::Value, redis::Value, redis::Value) =
        redis.query(cmd("XPENDING").arg(STREAM).arg("offhook"));
    pending
}

/// Events come through, dead letters too, and nothing stays unacked.
async fn works(testbed: &Testbed, keeper: &Redis) {
    let offhook = testbed.start();
    all_ready(&offhook.client).await;
    for n in 0..5 {
        offhook.client.accepts(&Callback::call(n).0).await;
    }
    testbed.contents_of(5).await;
    keeper.query::<String>(cmd("XADD").arg(STREAM).arg("*").arg("no").arg("event"));
    until("it is a dead letter", async || {
        (keeper.query::<u64>(cmd("XLEN").arg("{offhook:events}:dead")) == 1).then_some(())
    })
    .await;
    until("all is acked", async || (pending(keeper) == 0).then_some(())).await;
    assert_eq!(offhook.client.metric("offhook_stream_usable").await, 1.0);
    let said = run(&testbed.settings, &["doctor", "--no-callback"]).out;
    assert!(said.contains("every command that is needed is allowed"), "{said}");
}

#[tokio::test]
async fn a_cluster_of_one_node_is_like_any_redis() {
    needs!(Redis, Postgres);
    let mut testbed = Testbed::scale_out(Durability::Unsynced);
    let port = free_port();
    let redis = node(port, 0, 16383);
    is_up(&redis).await;
    testbed.settings =
        testbed.settings.clone().set("REDIS_URL", format!("redis://127.0.0.1:{port}"));
    works(&testbed, &redis).await;
}

#[tokio::test]
async fn any_node_of_a_cluster_leads_to_the_one_that_has_the_stream() {
    needs!(Redis, Postgres);
    let mut testbed = Testbed::scale_out(Durability::Unsynced);
    let (one, other) = (free_port(), free_port());
    let (first, second) = (node(one, 0, 8191), node(other, 8192, 16383));
    let slot: u16 = first.query(cmd("CLUSTER").arg("KEYSLOT").arg(STREAM));
    let meet = cmd("CLUSTER").arg("MEET").arg("127.0.0.1").arg(one).arg(bus_of(&first)).to_owned();
    second.query::<()>(&meet);
    is_up(&first).await;
    is_up(&second).await;
    let (wrong, right) = if slot <= 8191 { (other, &first) } else { (one, &second) };
    testbed.settings =
        testbed.settings.clone().set("REDIS_URL", format!("redis://127.0.0.1:{wrong}"));
    works(&testbed, right).await;
}

fn is_blocking(words: &[String]) -> bool {
    words[0].eq_ignore_ascii_case("XREADGROUP") && words.iter().any(|word| word == "BLOCK")
}

#[tokio::test]
async fn a_redis_that_refuses_to_let_reads_wait_is_named_and_asked_now_and_then() {
    needs!(Redis, Postgres);
    let mut testbed = Testbed::scale_out(Durability::Unsynced);
    let gateway = Gateway::before(testbed.redis(), |words| match is_blocking(words) {
        true => Then::Answer("-ERR BLOCK is not offered here\r\n".to_owned()),
        false => Then::Pass,
    });
    testbed.settings = testbed.settings.clone().set("REDIS_URL", gateway.url());
    let receiver = Offhook::start(&testbed.role(Role::Receiver));
    let worker = Offhook::start(&testbed.role(Role::Worker));
    misses(&worker.client, "redis", &["XREADGROUP BLOCK", "ERR BLOCK is not offered here"], false)
        .await;
    all_ready(&receiver.client).await;
    let said = run(&testbed.settings, &["doctor", "--no-callback"]).out;
    assert!(said.contains("failure  Redis          it refuses XREADGROUP BLOCK"), "{said}");
    // Events do not wait for that to be mended.
    receiver.client.accepts(&Callback::call(1).0).await;
    testbed.contents_of(1).await;
}

#[tokio::test]
async fn a_redis_that_does_not_wait_is_not_asked_without_end() {
    needs!(Redis, Postgres);
    let mut testbed = Testbed::scale_out(Durability::Unsynced);
    let reads = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&reads);
    let gateway = Gateway::before(testbed.redis(), move |words| {
        if !is_blocking(words) {
            return Then::Pass;
        }
        counted.fetch_add(1, Ordering::Relaxed);
        let at = words.iter().position(|word| word == "BLOCK").expect("it blocks");
        Then::Instead([&words[..at], &words[at + 2..]].concat())
    });
    testbed.settings = testbed.settings.clone().set("REDIS_URL", gateway.url());
    let offhook = Offhook::start(&testbed.settings.clone().set("OFFHOOK_WORKER__CONSUMERS", "1"));
    all_ready(&offhook.client).await;
    // At most one of them is a rehearsal, and no machine is so slow that they come too early.
    let (began, before) = (Instant::now(), reads.load(Ordering::Relaxed));
    until("five reads", async || (reads.load(Ordering::Relaxed) >= before + 5).then_some(())).await;
    assert!(began.elapsed().as_millis() >= 1800, "five reads within {:?}", began.elapsed());
    offhook.client.accepts(&Callback::call(1).0).await;
    testbed.contents_of(1).await;
}

fn set(testbed: &mut Testbed, name: &str, value: &str) {
    testbed.redis().query::<()>(cmd("CONFIG").arg("SET").arg(name).arg(value));
}

#[tokio::test]
async fn what_redis_refuses_is_said_in_its_own_words_and_ends_by_itself() {
    needs!(Redis, Postgres);
    let mut testbed = Testbed::scale_out(Durability::Unsynced);
    let receiver = Offhook::start(&testbed.role(Role::Receiver));
    let worker = Offhook::start(&testbed.role(Role::Worker));
    all_ready(&receiver.client).await;
    all_ready(&worker.client).await;
    receiver.client.accepts(&Callback::call(0).0).await;
    testbed.contents_of(1).await;

    set(&mut testbed, "min-replicas-to-write", "1");
    misses(&receiver.client, "redis", &["NOREPLICAS"], true).await;
    misses(&worker.client, "redis", &["NOREPLICAS"], false).await;
    receiver.client.accepts(&Callback::call(1).0).await;
    set(&mut testbed, "min-replicas-to-write", "0");
    all_ready(&worker.client).await;
    testbed.contents_of(2).await;

    testbed.redis().query::<()>(cmd("DEL").arg(STREAM));
    testbed.redis().query::<()>(cmd("SET").arg(STREAM).arg("of somebody else"));
    misses(&receiver.client, "redis", &["WRONGTYPE"], true).await;
    misses(&worker.client, "redis", &["WRONGTYPE"], false).await;
    until("the page says so", async || {
        let page = receiver.client.admin("/").await.text().await.expect("the whole page");
        page.contains("Redis has refused what is needed since").then_some(())
    })
    .await;
    receiver.client.accepts(&Callback::call(2).0).await;
    testbed.redis().query::<()>(cmd("DEL").arg(STREAM));
    all_ready(&receiver.client).await;
    all_ready(&worker.client).await;
    testbed.contents_of(3).await;
    let probed: u64 = testbed.redis().query(cmd("XLEN").arg("{offhook:events}:probe"));
    assert_eq!(probed, 1, "it is tried elsewhere, and that does not grow");
}

#[tokio::test]
async fn a_command_that_is_forbidden_makes_a_worker_unready() {
    needs!(Redis, Postgres);
    let mut testbed = Testbed::scale_out(Durability::Unsynced);
    let allow = |testbed: &mut Testbed, rules: &[&str]| {
        testbed.redis().query::<()>(cmd("ACL").arg("SETUSER").arg("narrow").arg(rules));
    };
    allow(&mut testbed, &["on", ">hunter2", "~*", "+@all", "-evalsha"]);
    let url = format!("{}?user=narrow&pass=hunter2", testbed.redis().url());
    testbed.settings = testbed.settings.clone().set("REDIS_URL", url);
    let worker = Offhook::start(&testbed.role(Role::Worker));
    misses(&worker.client, "redis", &["EVALSHA", "NOPERM"], false).await;
    // One that also receives stays in its balancer, and says so.
    let both = Offhook::start(&testbed.settings);
    misses(&both.client, "redis", &["EVALSHA", "NOPERM"], true).await;
    until("the verdict says so", async || {
        let (_, verdict) = both.client.json("/api/verdict").await;
        let said = verdict.to_string();
        let parts = ["OffhookStreamRefusing", "EVALSHA", "wait in Redis"];
        parts.iter().all(|part| said.contains(part)).then_some(())
    })
    .await;
    drop(both);
    allow(&mut testbed, &["-multi", "+evalsha"]);
    misses(&worker.client, "redis", &["MULTI", "NOPERM"], false).await;
    let said = run(&testbed.settings, &["doctor", "--no-callback"]).out;
    assert!(said.contains("it refuses MULTI"), "{said}");
    // An ack needs no mark.
    let receiver = Offhook::start(&testbed.role(Role::Receiver));
    receiver.client.accepts(&Callback::call(1).0).await;
    testbed.contents_of(1).await;
    until("it is acked", async || (pending(testbed.redis()) == 0).then_some(())).await;
}

#[tokio::test]
async fn whatever_redis_refuses_with_is_said_and_is_over_when_it_is_over() {
    needs!(Redis);
    let (redis, refusal) = (Redis::start(), Arc::new(Mutex::new("")));
    let answer = Arc::clone(&refusal);
    let gateway = Gateway::before(&redis, move |words| match *answer.lock().expect("no panic") {
        text if words[0] == "XADD" && !text.is_empty() => Then::Answer(format!("-{text}\r\n")),
        _ => Then::Pass,
    });
    let names = Names { stream: STREAM.to_owned(), group: "offhook".to_owned() };
    let connector = Connector::new(&gateway.url()).expect("a good URL");
    let mut rehearsal =
        Rehearsal::new(&connector, names.clone(), RedisDuties { appends: true, works: true });
    let stream = RedisStream::new(&connector, names, Duration::from_secs(5));
    let batch =
        Batch::from(Event::new(EventKey::of(&["one"]).expect("printable"), Kind::Other, "AC1"));
    for said in [
        "NOPERM this user has no permissions to run the 'xadd' command",
        "NOAUTH Authentication required.",
        "OOM command not allowed when used memory > 'maxmemory'.",
        "MISCONF Redis is configured to save RDB snapshots",
        "READONLY You can't write against a read only replica.",
        "LOADING Redis is loading the dataset in memory",
        "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
        "NOREPLICAS Not enough good replicas to write.",
        "CROSSSLOT Keys in request don't hash to the same slot",
        "CLUSTERDOWN Hash slot not served",
        "TRYAGAIN Multiple keys request during rehashing of slot",
        "ASK 1 127.0.0.1:1",
        "MOVED 1 127.0.0.1:1",
        "WRONGTYPE Operation against a key holding the wrong kind of value",
        "BUSY Redis is busy running a script. You can only call SCRIPT KILL.",
        "ERR unknown command 'XADD'",
    ] {
        *refusal.lock().expect("no panic") = said;
        let code = said.split(' ').next().expect("a word");
        let failure = rehearsal.run().await.expect_err(said).to_string();
        assert!(failure.contains(code), "{said}: {failure}");
        let error = stream.commit(&batch).await.expect_err(said).to_string();
        assert!(error.contains(code), "{said}: {error}");
        *refusal.lock().expect("no panic") = "";
        rehearsal.run().await.unwrap_or_else(|error| panic!("{said}: {error}"));
        stream.commit(&batch).await.unwrap_or_else(|error| panic!("{said}: {error}"));
    }
}

/// Answers as a Redis that is too old, while `old` is set.
fn aged(redis: &Redis, old: &Arc<AtomicBool>) -> Gateway {
    let old = Arc::clone(old);
    Gateway::before(redis, move |words| {
        let asked = words[0] == "INFO" && words.get(1).is_some_and(|word| word == "server");
        if !asked || !old.load(Ordering::Relaxed) {
            return Then::Pass;
        }
        let info = "# Server\r\nredis_version:6.2.14\r\nredis_mode:standalone\r\n";
        Then::Answer(format!("${}\r\n{info}\r\n", info.len()))
    })
}

#[tokio::test]
async fn a_redis_that_is_too_old_is_refused_at_start() {
    needs!(Redis, Postgres);
    let mut testbed = Testbed::scale_out(Durability::Unsynced);
    let gateway = aged(testbed.redis(), &Arc::new(AtomicBool::new(true)));
    testbed.settings = testbed.settings.clone().set("REDIS_URL", gateway.url());
    let (ended, said) = Spawned::fails(&testbed.settings);
    assert_eq!(ended.code(), Some(1), "{said}");
    for part in ["6.2.14", "Redis 7.0 or later, or Valkey"] {
        assert!(said.contains(part), "`{part}` is not in: {said}");
    }
}

#[tokio::test]
async fn a_redis_that_turns_out_to_be_too_old_is_left_alone() {
    needs!(Redis, Postgres);
    let mut testbed = Testbed::scale_out(Durability::Unsynced);
    let old = Arc::new(AtomicBool::new(false));
    let gateway = aged(testbed.redis(), &old);
    testbed.settings = testbed.settings.clone().set("REDIS_URL", gateway.url());
    let receiver = Offhook::start(&testbed.role(Role::Receiver));
    let worker = Offhook::start(&testbed.role(Role::Worker));
    all_ready(&worker.client).await;
    old.store(true, Ordering::Relaxed);
    misses(&receiver.client, "redis", &["6.2.14", "7.0"], true).await;
    misses(&worker.client, "redis", &["6.2.14"], false).await;
    let appended: u64 = testbed.redis().query(cmd("XLEN").arg(STREAM));
    receiver.client.accepts(&Callback::call(1).0).await;
    assert_eq!(
        testbed.redis().query::<u64>(cmd("XLEN").arg(STREAM)),
        appended,
        "it is in the spool"
    );
    assert_eq!(receiver.client.metric("offhook_stream_unsupported").await, 1.0);
    old.store(false, Ordering::Relaxed);
    all_ready(&worker.client).await;
    testbed.contents_of(1).await;
}

#[tokio::test]
async fn what_somebody_took_away_is_said() {
    needs!(Redis, Postgres);
    let mut testbed = Testbed::scale_out(Durability::Unsynced);
    let offhook = testbed.start();
    all_ready(&offhook.client).await;
    offhook.client.accepts(&Callback::call(0).0).await;
    testbed.contents_of(1).await;
    until("the stream was looked at", async || {
        (offhook.client.metric("offhook_stream_length").await > 0.0).then_some(())
    })
    .await;
    let resets = async |what: &str| {
        offhook.client.metric(&format!("offhook_stream_resets_total{{what=\"{what}\"}}")).await
    };
    assert_eq!((resets("stream").await, resets("group").await), (0.0, 0.0));
    testbed.redis().query::<()>(&cmd("FLUSHALL"));
    until("both are told", async || {
        (resets("stream").await >= 1.0 && resets("group").await >= 1.0).then_some(())
    })
    .await;
    until("the page says so", async || {
        let page = offhook.client.admin("/").await.text().await.expect("the whole page");
        page.contains("The stream in Redis was deleted").then_some(())
    })
    .await;
    offhook.client.accepts(&Callback::call(1).0).await;
    testbed.contents_of(2).await;
}

/// Whichever reader is first to find the group gone creates it again, also one that has only now started.
#[tokio::test]
async fn a_group_that_a_new_reader_creates_again_is_said() {
    needs!(Redis);
    let redis = Redis::start();
    let names = Names { stream: STREAM.to_owned(), group: "offhook".to_owned() };
    let connector = Connector::new(&redis.url()).expect("a good URL");
    let reader = |name: &str| {
        let (idle, ttl) = (Duration::from_secs(60), Duration::from_secs(60));
        RedisConsumer::new(&connector, names.clone(), name.to_owned(), idle, ttl)
    };
    let (mut first, mut second) = (reader("first"), reader("second"));
    first.claim(1).await.expect("it creates the group");
    assert_eq!(connector.health().take_groups_made_again(), 0);
    redis.query::<()>(&cmd("FLUSHALL"));
    second.claim(1).await.expect("it creates the group");
    first.claim(1).await.expect("the group is there");
    assert_eq!(connector.health().take_groups_made_again(), 1);
}
