//! What a sink promises when its backend dies, hangs or is full.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use offhook::event::{Batch, Event, EventKey};
use offhook::pipeline::{CommitError, Sink};

use super::backends::{
    Backend, LocalBackend, PostgresBackend, RedisBackend, Server, Silent, SqliteBackend,
};
use super::battery;
use super::events::{batch, call, large};
use crate::harness::until;
use crate::services::needs;

/// Above the longest patience of a sink for a backend that is away.
const SOON: Duration = Duration::from_secs(20);

macro_rules! every_server {
    ($($name:ident),+ $(,)?) => {
        battery!(redis, RedisBackend: $($name),+);
        battery!(postgres, PostgresBackend: $($name),+);
    };
}

every_server! {
    what_was_promised_survives_a_kill,
    a_server_that_is_gone_is_an_error_soon,
    a_server_that_does_not_answer_is_an_error_soon,
}
// A disk does not hang at a test's word.
battery!(
    local,
    LocalBackend:
    what_was_promised_survives_a_kill,
    a_server_that_is_gone_is_an_error_soon
);

async fn what_was_promised_survives_a_kill<S: Server>() {
    let mut backend = S::start_synced().await;
    let sink = backend.sink().await;
    let mut promised: Vec<Event> = Vec::new();
    for round in 0..3 {
        for n in 0..10 {
            let batch = batch([call(round * 10 + n, "ringing"), call(round * 10 + n, "completed")]);
            // After a kill the first try may find the connection that died with it.
            let mut tries = 0;
            while let Err(error) = sink.commit(&batch).await {
                assert!(matches!(error, CommitError::Transient(_)), "{error}");
                tries += 1;
                assert!(tries < 5, "{error}");
            }
            promised.extend(batch);
        }
        backend.kill();
        backend.restart();
        promised.sort_by(|a, b| a.key.cmp(&b.key));
        assert_eq!(backend.contents().await.events, promised);
    }
}

async fn a_server_that_is_gone_is_an_error_soon<S: Server>() {
    let mut backend = S::start_synced().await;
    let sink = backend.sink().await;
    let (before, after) = (batch([call(1, "ringing")]), batch([call(2, "ringing")]));
    sink.commit(&before).await.expect("the backend is there");
    backend.kill();
    fails_soon(&sink, &after).await;
    backend.restart();
    commits_again(&sink, &after).await;
    assert_eq!(keys(&backend).await.len(), 2);
}

async fn a_server_that_does_not_answer_is_an_error_soon<S: Silent>() {
    let mut backend = S::start_synced().await;
    let sink = backend.sink().await;
    let (before, after) = (batch([call(1, "ringing")]), batch([call(2, "ringing")]));
    sink.commit(&before).await.expect("the backend is there");
    backend.pause();
    fails_soon(&sink, &after).await;
    backend.go_on();
    commits_again(&sink, &after).await;
    assert_eq!(backend.contents().await.events.len(), 2, "once, though it may have been twice");
}

#[tokio::test]
async fn a_full_redis_says_so_and_takes_more_once_there_is_room() {
    needs!(Redis);
    let backend = RedisBackend::start_small();
    let sink = backend.sink().await;
    let mut promised = Vec::new();
    let (error, refused) = loop {
        let n = promised.len() as u32;
        let batch = batch((n..n + 10).map(|n| large(n, 60_000)));
        match sink.commit(&batch).await {
            Ok(_) => promised.extend(batch),
            Err(error) => break (error, batch),
        }
        assert!(promised.len() < 10_000, "nothing bounds it");
    };
    assert!(matches!(error, CommitError::Full(_)), "{error:?}");
    backend.make_room();
    commits_again(&sink, &refused).await;
    let mut keys = keys(&backend).await;
    for event in promised.iter().chain(refused.events()) {
        assert!(keys.remove(&event.key), "{} was promised", event.key);
    }
}

#[tokio::test]
async fn a_file_that_another_program_writes_to_is_an_error_soon() {
    let backend = SqliteBackend::start().await;
    let sink = backend.sink().await;
    let batch = batch([call(1, "ringing")]);
    let holder = backend.hold().await;
    fails_soon(&sink, &batch).await;
    holder.rollback().await.expect("nothing was written");
    commits_again(&sink, &batch).await;
    assert_eq!(backend.contents().await.events, batch.events());
}

async fn fails_soon(sink: &impl Sink, batch: &Batch) {
    let started = Instant::now();
    let error = sink.commit(batch).await.expect_err("the backend is away");
    assert!(matches!(error, CommitError::Transient(_) | CommitError::Late(_)), "{error}");
    assert!(started.elapsed() < SOON, "{:?}", started.elapsed());
}

async fn commits_again(sink: &impl Sink, batch: &Batch) {
    until("a commit to the backend that is back", async || sink.commit(batch).await.ok()).await;
}

async fn keys(backend: &impl Backend) -> HashSet<EventKey> {
    backend.contents().await.events.into_iter().map(|event| event.key).collect()
}
