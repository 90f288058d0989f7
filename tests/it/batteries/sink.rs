//! The contract of [`Sink`](offhook::pipeline::Sink), held against each of its implementations.

mod backends;
mod crashes;
mod events;
mod law;

use offhook::event::{AttemptId, Batch, Event};
use offhook::pipeline::{Outcome, Sink as _};

use self::backends::{Backend, LocalBackend, PostgresBackend, RedisBackend, SqliteBackend};
use self::events::{batch, call, odd};

/// One test per backend of each `async fn name<B: Backend>()`.
macro_rules! battery {
    ($module:ident, $backend:ident: $($name:ident),+ $(,)?) => {
        mod $module {
            use super::*;
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                $crate::services::needs!(all $backend::NEEDS);
                super::$name::<$backend>().await;
            })+
        }
    };
}
use battery;

macro_rules! every_sink {
    ($($name:ident),+ $(,)?) => {
        battery!(local, LocalBackend: $($name),+);
        battery!(sqlite, SqliteBackend: $($name),+);
        battery!(redis, RedisBackend: $($name),+);
        battery!(postgres, PostgresBackend: $($name),+);
    };
}

every_sink! {
    committing_twice_is_as_committing_once,
    overlapping_batches_of_two_sinks_are_stored_once,
    a_batch_of_any_size_is_stored_whole,
    odd_bytes_come_back_as_they_went,
    an_attempt_comes_back_with_its_event,
}

async fn committing_twice_is_as_committing_once<B: Backend>() {
    let backend = B::start().await;
    let sink = backend.sink().await;
    let batch = batch((0..20).map(|n| call(n, "ringing")));
    let first = sink.commit(&batch).await.expect("the backend is there");
    let once = backend.contents().await;
    let second = sink.commit(&batch).await.expect("the backend is there");
    assert_eq!(backend.contents().await, once);
    assert_eq!(once.events, batch.events());
    match (first, second) {
        (Outcome::Appended, Outcome::Appended) => {}
        (Outcome::Stored { fresh: first, .. }, Outcome::Stored { fresh: second, .. }) => {
            assert_eq!((first, second), (vec![true; 20], vec![false; 20]));
        }
        mixed => panic!("one sink, two kinds of outcome: {mixed:?}"),
    }
}

async fn overlapping_batches_of_two_sinks_are_stored_once<B: Backend>() {
    const CALLS: u32 = 120;
    let backend = B::start().await;
    let mut committing = tokio::task::JoinSet::new();
    for writer in 0..2 {
        let sink = backend.sink().await;
        committing.spawn(async move {
            let mut fresh = 0;
            for start in (0..CALLS).step_by(10) {
                // The second one goes the other way, and each batch is half of its neighbours.
                let start = if writer == 0 { start } else { CALLS - 10 - start };
                let statuses = ["initiated", "ringing", "completed"];
                let events = (start..start + 20)
                    .flat_map(|n| statuses.map(|status| call(n % CALLS, status)));
                match sink.commit(&batch(events)).await.expect("the backend is there") {
                    Outcome::Stored { fresh: flags, .. } => {
                        fresh += flags.iter().filter(|fresh| **fresh).count();
                    }
                    Outcome::Appended => {}
                }
            }
            fresh
        });
    }
    let fresh: usize = committing.join_all().await.into_iter().sum();
    let contents = backend.contents().await;
    assert_eq!(contents.events.len(), 3 * CALLS as usize);
    if B::STORES {
        assert_eq!(fresh, contents.events.len(), "each event is fresh to one of the two");
        assert_eq!(contents.statuses, law::fold(&contents.events));
    }
}

async fn a_batch_of_any_size_is_stored_whole<B: Backend>() {
    let backend = B::start().await;
    let sink = backend.sink().await;
    assert!(Batch::take_from(&mut Vec::new()).is_none(), "no batch is empty");
    let mut stored = 0;
    for size in [1, 2, 7, 8, 9, 64, 65, 200, Batch::MAX_EVENTS as u32] {
        let batch = batch((stored..stored + size).map(|n| call(n, "completed")));
        assert_eq!(batch.events().len(), size as usize);
        sink.commit(&batch).await.expect("the backend is there");
        stored += size;
        assert_eq!(backend.contents().await.events.len(), stored as usize);
    }
}

async fn odd_bytes_come_back_as_they_went<B: Backend>() {
    let backend = B::start().await;
    let sink = backend.sink().await;
    let batch = batch(odd());
    sink.commit(&batch).await.expect("no bytes are refused");
    let contents = backend.contents().await;
    assert_eq!(contents.events, batch.events());
    if B::STORES {
        assert_eq!(contents.statuses, law::fold(batch.events()));
    }
}

async fn an_attempt_comes_back_with_its_event<B: Backend>() {
    let backend = B::start().await;
    let sink = backend.sink().await;
    let attempt = |n: u32| (!n.is_multiple_of(3)).then(|| AttemptId::new(u128::from(n) << 90));
    let events = (0..200).map(|n| Event { attempt: attempt(n), ..call(n, "ringing") });
    let batch = batch(events);
    sink.commit(&batch).await.expect("the backend is there");
    assert_eq!(backend.contents().await.events, batch.events());
}
