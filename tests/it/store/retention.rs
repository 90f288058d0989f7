//! What is old goes, what is young stays, and nobody who stores something is held up by it.

mod servers;
mod stores;

use std::sync::Arc;

use offhook::clock::Timestamp;
use offhook::event::{Batch, Event, EventKey, Kind, Resource};
use offhook::pipeline::expiry::{Expire, Step};

use self::stores::{PostgresPlace, Store};
use crate::services::needs;

const DAY: i64 = 24 * 60 * 60 * 1_000_000;

/// So many days after some day.
fn day(days: i64) -> Timestamp {
    Timestamp::from_micros(1_795_500_000_000_000 + days * DAY)
}

/// What was received on that day about a call.
fn call(sid: &str, status: &str, received: Timestamp) -> Event {
    Event {
        sid: Some(sid.to_owned()),
        resource: Some(Resource::Call),
        status: Some(status.to_owned()),
        received_at: received,
        body: format!("CallSid={sid}&CallStatus={status}&CallbackSource=call-progress-events")
            .into(),
        ..Event::new(EventKey::of(&[sid, status]).expect("printable"), Kind::Call, "AC1")
    }
}

async fn store(sink: &impl offhook::pipeline::Sink, events: impl IntoIterator<Item = Event>) {
    let mut events: Vec<Event> = events.into_iter().collect();
    while let Some(batch) = Batch::take_from(&mut events) {
        sink.commit(&batch).await.expect("the store is there");
    }
}

/// Steps until nothing is old any more; what each deleted.
async fn all(aging: &mut impl Expire, cutoff: Timestamp) -> Vec<u64> {
    let mut deleted = Vec::new();
    loop {
        let step = aging.step(cutoff).await.expect("the store is there");
        deleted.push(step.deleted());
        match step {
            Step::More(_) => {}
            Step::Done(_) => return deleted,
            Step::Taken => tokio::task::yield_now().await,
        }
    }
}

/// One test per store of each `async fn name<S: Store>(store: S)`.
macro_rules! both_stores {
    ($($name:ident),+ $(,)?) => {
        mod embedded {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(super::stores::SqlitePlace::start().await).await;
            })+
        }
        mod scale_out {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                crate::services::needs!(Postgres);
                super::$name(super::stores::PostgresPlace::start().await).await;
            })+
        }
    };
}

both_stores![
    old_events_go_and_young_ones_stay,
    a_status_goes_when_nothing_was_said_of_its_sid_for_long,
    a_step_is_bounded_and_the_last_one_leaves_nothing,
    an_event_that_comes_again_after_it_is_gone_moves_no_status,
    whoever_stores_meanwhile_loses_nothing,
    two_at_once_delete_everything_once,
];

async fn old_events_go_and_young_ones_stay<S: Store>(place: S) {
    let events = (0..10).map(|n| call(&format!("CA{n}"), "busy", day(n)));
    store(&place.sink().await, events).await;
    let mut aging = place.events();
    assert_eq!(aging.oldest().await, Ok(Some(day(0))));
    assert_eq!(all(&mut aging, day(0)).await, [0]);
    assert_eq!(all(&mut aging, day(7)).await, [7], "what is as old as allowed is not too old");
    assert_eq!(place.keys().await, ["CA7-busy", "CA8-busy", "CA9-busy"]);
    assert_eq!(aging.oldest().await, Ok(Some(day(7))));
    assert_eq!(place.sids().await.len(), 10, "statuses outlive their events");
    assert_eq!(all(&mut aging, day(99)).await, [3]);
    assert_eq!(aging.oldest().await, Ok(None));
}

async fn a_status_goes_when_nothing_was_said_of_its_sid_for_long<S: Store>(place: S) {
    let sink = place.sink().await;
    // More than one step looks at: calls that began long ago, and that something was said of.
    store(&sink, (0..700).map(|n| call(&format!("CA{n:04}"), "ringing", day(0)))).await;
    store(&sink, (0..700).map(|n| call(&format!("CA{n:04}"), "busy", day(8)))).await;
    store(&sink, [call("CB1", "ringing", day(1)), call("CB2", "busy", day(2))]).await;
    store(&sink, [call("CC1", "ringing", day(8))]).await;
    let mut aging = place.statuses();
    let deleted: u64 = all(&mut aging, day(5)).await.iter().sum();
    assert_eq!(deleted, 2);
    assert_eq!((aging.is_old(day(5)).await, aging.is_old(day(9)).await), (Ok(false), Ok(true)));
    servers::remembers(place.events(), place.events()).await;
    servers::remembers(place.statuses(), aging).await;
    let mut aging = place.statuses();
    let sids = place.sids().await;
    assert_eq!((sids.len(), sids.last().map(String::as_str)), (701, Some("CC1")));
    assert_eq!(aging.oldest().await, Ok(Some(day(0))));
    assert_eq!(all(&mut aging, day(9)).await.iter().sum::<u64>(), 701);
    assert_eq!(place.keys().await.len(), 1403, "events are not its business");
}

async fn a_step_is_bounded_and_the_last_one_leaves_nothing<S: Store>(place: S) {
    const MOST: u64 = 500;
    let events = (0..1200).map(|n| call(&format!("CA{n:04}"), "busy", day(n / 600)));
    store(&place.sink().await, events).await;
    for deleted in
        [all(&mut place.events(), day(9)).await, all(&mut place.statuses(), day(9)).await]
    {
        assert!(deleted.len() > 2 && deleted.iter().all(|step| *step <= MOST), "{deleted:?}");
        assert_eq!(deleted.iter().sum::<u64>(), 1200);
    }
    assert_eq!((place.keys().await.len(), place.sids().await.len()), (0, 0));
}

async fn an_event_that_comes_again_after_it_is_gone_moves_no_status<S: Store>(place: S) {
    let sink = place.sink().await;
    let life = ["initiated", "ringing", "completed"].map(|status| call("CA1", status, day(0)));
    store(&sink, life).await;
    let before = place.statuses_now().await;
    assert_eq!(all(&mut place.events(), day(1)).await, [3]);
    store(&sink, [call("CA1", "ringing", day(0))]).await;
    assert_eq!(place.keys().await, ["CA1-ringing"], "it counts as new");
    assert_eq!(place.statuses_now().await, before);
}

async fn whoever_stores_meanwhile_loses_nothing<S: Store>(place: S) {
    let sink = Arc::new(place.sink().await);
    let old = |n: i64| call(&format!("CA{n:04}"), "ringing", day(n % 3));
    store(&*sink, (0..2000).map(old)).await;
    let mut tasks = tokio::task::JoinSet::new();
    let (mut events, mut statuses) = (place.events(), place.statuses());
    tasks.spawn(async move { all(&mut events, day(5)).await.iter().sum::<u64>() });
    tasks.spawn(async move { all(&mut statuses, day(5)).await.iter().sum::<u64>() });
    // New events of the same SIDs, and of others, while their rows are being deleted.
    let young = |n: i64| call(&format!("CA{n:04}"), "busy", day(6));
    let commits = Arc::clone(&sink);
    tasks.spawn(async move {
        for start in (0..3000).rev().step_by(50) {
            store(&*commits, (start - 49..=start).map(young)).await;
        }
        0
    });
    tasks.join_all().await;
    let expected: Vec<String> = (0..3000).map(|n| format!("CA{n:04}-busy")).collect();
    assert_eq!(place.keys().await, expected);
    let now = place.statuses_now().await;
    assert_eq!(now.len(), 3000);
    assert!(now.iter().all(|row| row.position.status == "busy" && row.updated == day(6)));
}

async fn two_at_once_delete_everything_once<S: Store>(place: S) {
    let events = (0..3000).map(|n| call(&format!("CA{n:04}"), "busy", day(n % 2)));
    store(&place.sink().await, events).await;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..2 {
        let (mut events, mut statuses) = (place.events(), place.statuses());
        tasks.spawn(async move {
            let events: u64 = all(&mut events, day(1)).await.iter().sum();
            (events, all(&mut statuses, day(1)).await.iter().sum::<u64>())
        });
    }
    let deleted = tasks.join_all().await;
    let sum = deleted.iter().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    assert_eq!(sum, (1500, 1500));
    assert_eq!((place.keys().await.len(), place.sids().await.len()), (1500, 1500));
}

#[tokio::test]
async fn of_several_workers_one_deletes_and_it_waits_for_nobody() {
    needs!(Postgres);
    let place = PostgresPlace::start().await;
    store(&place.sink().await, (0..3).map(|n| call(&format!("CA{n}"), "busy", day(n)))).await;

    // One who is at it.
    let held = place.hold("SELECT pg_advisory_xact_lock(6033425111903)").await;
    assert_eq!(place.statuses().step(day(9)).await, Ok(Step::Taken));
    assert_eq!(place.events().step(day(9)).await, Ok(Step::Done(3)), "the other table is free");
    drop(held);

    // A commit that has not ended.
    let held = place.hold("SELECT 1 FROM statuses WHERE sid = 'CA1' FOR UPDATE").await;
    assert_eq!(place.statuses().step(day(9)).await, Ok(Step::Done(2)));
    assert_eq!(place.sids().await, ["CA1"]);
    drop(held);
    crate::harness::until("its row is free", async || {
        (place.statuses().step(day(9)).await == Ok(Step::Done(1))).then_some(())
    })
    .await;
}
