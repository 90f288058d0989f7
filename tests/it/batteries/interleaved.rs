//! The commit to `writing`, interleaved with what stops an attempt: of the two, the one that commits first wins, and
//! what comes second sees what the first has done.

use std::pin::pin;
use std::sync::{Mutex, mpsc};
use std::time::Duration;

use futures_util::future::poll_immediate;
use offhook::backend::Outbox;
use offhook::backend::outbox::{
    Agreement, Known, Looked, NewConsent, NewNotification, Outcome, Written,
};
use offhook::backend::postgres;
use offhook::clock::Timestamp;
use offhook::dispatch::country::Country;
use offhook::dispatch::gates::Rules;
use offhook::dispatch::quiet_hours::{Hours, QuietHours};
use offhook::dispatch::suppression::Source;
use offhook::dispatch::{AttemptState, OnUnknown, Purpose};
use offhook::event::{AttemptId, Event, EventKey, Kind, Resource};
use offhook::outbound::Gates;
use sqlx::{Connection as _, PgConnection};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::outbox::agreed::{entry, given};
use super::outbox::{
    ACCOUNT, HOUR, Store, accepted, answer, claim_ask, claimed, in_writing, new, postgres, sqlite,
    state, write_ask,
};

macro_rules! both_stores {
    ($($name:ident),+ $(,)?) => {
        mod embedded {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() { super::$name(super::sqlite().await).await; })+
        }
        mod scale_out {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                crate::services::needs!(Postgres);
                super::$name(super::postgres().await).await;
            })+
        }
    };
}

both_stores![
    a_pause_and_the_commit,
    a_resume_and_the_commit,
    a_hold_of_all_and_the_commit,
    a_cancellation_and_the_commit,
    a_suppression_and_the_commit,
    a_withdrawn_consent_and_the_commit,
    a_callback_that_confirms_and_the_commit,
    a_late_answer_and_the_commit,
];

/// Which of the two commits first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum First {
    Commit,
    Stop,
}

/// Another process of the deployment.
async fn another(store: &Store) -> Outbox {
    match &store._home {
        (_, Some(server), _) => {
            let pool = postgres::Postgres::with_writers(&server.url(), 1).expect("a good URL");
            offhook::backend::Store::Postgres(postgres::Handles::new(pool)).outbox()
        }
        // The embedded mode is one process.
        _ => store.outbox.clone(),
    }
}

/// Waits until a session of this server waits for a lock. There is one writer of the embedded store, and what waits at
/// all waits for it.
async fn until_one_waits(server: Option<String>) {
    let Some(url) = server else { return };
    let mut connection = PgConnection::connect(&url).await.expect("the server is there");
    crate::harness::until("a session waits for a lock", async || {
        let sql = "SELECT count(*) FROM pg_locks WHERE NOT granted";
        let waiting: i64 =
            sqlx::query_scalar(sql).fetch_one(&mut connection).await.expect("it can be asked");
        (waiting > 0).then_some(())
    })
    .await;
}

fn gates() -> Gates {
    let countries = vec![Country::parse("US").expect("a country")];
    Gates::new(Rules {
        countries,
        only_to: Vec::new(),
        max_per_recipient_hour: 100,
        max_calls_per_recipient_hour: 100,
        max_per_day: 100,
        quiet_hours: Some(QuietHours {
            hours: Hours::new(0, 1440, [true; 7]).expect("hours"),
            unknown: None,
        }),
    })
}

/// Commits an attempt to writing, with the gates of the program, and carries a stop out first, or from within that
/// commit: as soon as it has its locks and has asked the gates. Whether the stop had to wait for it is asserted.
async fn interleave<T: Send + 'static>(
    store: &Store,
    first: First,
    id: AttemptId,
    stop: impl Future<Output = T> + Send + 'static,
) -> (Written, T) {
    let ask = write_ask(&store.outbox, "a", &[id]).await;
    let gates = gates();
    if first == First::Stop {
        let stopped = stop.await;
        let gates = |known: &Known, now: Timestamp| gates.ask(known, now);
        let written = store.outbox.write(&ask, &gates).await.expect("the store is there");
        return (written.into_iter().next().expect("it was asked about"), stopped);
    }
    let (asked, is_asked) = oneshot::channel();
    let (begun, has_begun) = oneshot::channel();
    let (go_on, goes_on) = mpsc::channel();
    let (mut stopping, mut writing) = (JoinSet::new(), JoinSet::new());
    stopping.spawn(async move {
        is_asked.await.expect("the gates are asked");
        let mut stop = pin!(stop);
        let at_once = poll_immediate(&mut stop).await;
        assert!(at_once.is_none(), "it waits for the commit");
        begun.send(()).expect("the test waits");
        stop.await
    });
    let (outbox, goes_on, asked) =
        (store.outbox.clone(), Mutex::new(goes_on), Mutex::new(Some(asked)));
    writing.spawn(async move {
        let gates = |known: &Known, now: Timestamp| {
            let gated = gates.ask(known, now);
            if let Some(asked) = asked.lock().expect("no panic").take() {
                asked.send(()).expect("the stop is about to begin");
                tokio::task::block_in_place(|| {
                    let goes_on = goes_on.lock().expect("no panic");
                    goes_on.recv_timeout(Duration::from_secs(60)).expect("the stop waits");
                });
            }
            gated
        };
        outbox.write(&ask, &gates).await.expect("the store is there")
    });
    has_begun.await.expect("the stop begins");
    until_one_waits(store._home.1.as_ref().map(|server| server.url())).await;
    assert!(stopping.try_join_next().is_none(), "it did not wait for the commit");
    go_on.send(()).expect("the commit waits");
    let written = writing.join_next().await.expect("it began").expect("no panic");
    let stopped = stopping.join_next().await.expect("it began").expect("no panic");
    (written.into_iter().next().expect("it was asked about"), stopped)
}

fn ask(n: u128) -> NewNotification {
    NewNotification { to: format!("+1212555{n:04}"), ..new(n) }
}

/// Attempts of notifications, each claimed.
async fn one_is_claimed(store: &Store, n: u128) -> AttemptId {
    store.outbox.ask(&ask(n)).await.expect("kept");
    let claimed = claimed(&store.outbox, &claim_ask("a")).await.claimed;
    assert_eq!(claimed[0].id, AttemptId::new(n));
    claimed[0].id
}

async fn a_pause_and_the_commit(store: Store) {
    let (outbox, id) = (another(&store).await, one_is_claimed(&store, 1).await);
    // The sender was never paused before: the store has no row of it.
    let pause = async move { outbox.pause("shop", "by hand").await.expect("the store") };
    let (written, in_writing) = interleave(&store, First::Commit, id, pause).await;
    assert!(matches!(written, Written::Send(_)), "{written:?}");
    assert_eq!(in_writing, 1);

    store.outbox.resume("shop", ACCOUNT).await.expect("the store");
    let (outbox, id) = (another(&store).await, one_is_claimed(&store, 2).await);
    let pause = async move { outbox.pause("shop", "by hand").await.expect("the store") };
    let (written, in_writing) = interleave(&store, First::Stop, id, pause).await;
    assert_eq!((written, in_writing), (Written::Held("sender"), 1), "only the first one");
}

/// Else it would be held until its deadline by a pause that is over.
async fn a_resume_and_the_commit(store: Store) {
    let (outbox, id) = (another(&store).await, one_is_claimed(&store, 1).await);
    store.outbox.pause("shop", "by hand").await.expect("the store");
    let resume = async move { outbox.resume("shop", ACCOUNT).await.expect("the store") };
    let (written, resumed) = interleave(&store, First::Commit, id, resume).await;
    assert_eq!((written, resumed), (Written::Held("sender"), true));
    assert_eq!(claimed(&store.outbox, &claim_ask("a")).await.claimed[0].id, id);
}

async fn a_hold_of_all_and_the_commit(store: Store) {
    store.outbox.identity("secret").await.expect("the store");
    for (n, first) in [(1, First::Commit), (2, First::Stop)] {
        let (outbox, id) = (another(&store).await, one_is_claimed(&store, n).await);
        let hold = async move { outbox.hold_all(Some("by hand")).await.expect("the store") };
        let (written, in_writing) = interleave(&store, first, id, hold).await;
        match first {
            First::Commit => assert!(matches!(written, Written::Send(_)), "{written:?}"),
            First::Stop => assert_eq!(written, Written::Held("deployment")),
        }
        assert_eq!(in_writing, 1);
        store.outbox.hold_all(None).await.expect("the store");
    }
}

async fn a_cancellation_and_the_commit(store: Store) {
    for (n, first, in_writing) in [(1, First::Commit, 1), (2, First::Stop, 0)] {
        let (outbox, id) = (another(&store).await, one_is_claimed(&store, n).await);
        let cancel = async move {
            let cancelled = outbox.cancel(&format!("ntf_{n}")).await.expect("the store");
            cancelled.expect("it is kept").in_writing
        };
        let (written, counted) = interleave(&store, first, id, cancel).await;
        match first {
            First::Commit => assert!(matches!(written, Written::Send(_)), "{written:?}"),
            First::Stop => assert_eq!(written, Written::Lost),
        }
        assert_eq!(counted, in_writing, "{first:?}");
    }
}

async fn a_suppression_and_the_commit(store: Store) {
    store.outbox.identity("secret").await.expect("the store");
    for (n, first) in [(1, First::Commit), (2, First::Stop)] {
        let (outbox, id) = (another(&store).await, one_is_claimed(&store, n).await);
        let suppress = async move {
            let asked = ask(n);
            super::outbox::stop(&outbox, &asked.to, &asked.to_hash, Source::Hand).await;
        };
        let (written, ()) = interleave(&store, first, id, suppress).await;
        match first {
            First::Commit => assert!(matches!(written, Written::Send(_)), "{written:?}"),
            First::Stop => assert_eq!(written, Written::Ended("suppression")),
        }
    }
}

async fn a_withdrawn_consent_and_the_commit(store: Store) {
    store.outbox.identity("secret").await.expect("the store");
    for (n, first) in [(1, First::Commit), (2, First::Stop)] {
        let of = |agreement| NewConsent { to_hash: ask(n).to_hash, ..entry(agreement, None) };
        store.outbox.add_consents(&[of(given())]).await.expect("the store");
        let marketing = NewNotification { purpose: Purpose::Marketing, ..ask(n) };
        store.outbox.ask(&marketing).await.expect("kept");
        let id = claimed(&store.outbox, &claim_ask("a")).await.claimed[0].id;
        let (outbox, withdrawn) = (another(&store).await, of(Agreement::Withdrawn));
        let withdraw = async move { outbox.add_consents(&[withdrawn]).await.expect("the store") };
        let (written, added) = interleave(&store, first, id, withdraw).await;
        match first {
            First::Commit => assert!(matches!(written, Written::Send(_)), "{written:?}"),
            First::Stop => assert_eq!(written, Written::Ended("consent")),
        }
        assert_eq!(added, 1);
    }
}

/// A notification whose first attempt is unknown, was looked for in vain and is sent again: the second one is claimed.
async fn the_second_is_claimed(store: &Store, n: u128) -> [AttemptId; 2] {
    let outbox = &store.outbox;
    let ids = [AttemptId::new(n), AttemptId::new(100 + n)];
    in_writing(outbox, &NewNotification { on_unknown: OnUnknown::Resend, ..ask(n) }).await;
    let unknown = Outcome::Unknown { reason: "timeout".to_owned(), look_after: Duration::ZERO };
    answer(outbox, ids[0], unknown).await;
    let absent = Looked::Absent { last: true, look_after: HOUR };
    assert_eq!(outbox.looked(ids[0], &absent, ids[1]).await, Ok(true));
    assert_eq!(claimed(outbox, &claim_ask("a")).await.claimed[0].id, ids[1]);
    ids
}

/// What a callback says: the first attempt was delivered.
async fn is_delivered(store: &Store, id: AttemptId, sid: &str) {
    let event = Event {
        sid: Some(sid.to_owned()),
        resource: Some(Resource::Message),
        status: Some("delivered".to_owned()),
        attempt: Some(id),
        ..Event::new(EventKey::of(&[sid, "delivered"]).expect("printable"), Kind::Message, ACCOUNT)
    };
    store.store(event).await;
}

async fn a_callback_that_confirms_and_the_commit(store: Store) {
    for (n, first, second) in
        [(1, First::Commit, AttemptState::Writing), (2, First::Stop, AttemptState::Cancelled)]
    {
        let [one, two] = the_second_is_claimed(&store, n).await;
        is_delivered(&store, one, &format!("SM{n:032x}")).await;
        let outbox = another(&store).await;
        let settle = async move { outbox.settle().await.expect("the store").confirmed };
        let (written, confirmed) = interleave(&store, first, two, settle).await;
        match first {
            First::Commit => assert!(matches!(written, Written::Send(_)), "{written:?}"),
            First::Stop => assert_eq!(written, Written::Lost),
        }
        assert_eq!(confirmed, 1);
        let attempts = state(&store.outbox, &format!("ntf_{n}")).await.1;
        assert_eq!(attempts, [AttemptState::Confirmed, second], "{first:?}");
    }
}

async fn a_late_answer_and_the_commit(store: Store) {
    for (n, first, second) in
        [(1, First::Commit, AttemptState::Writing), (2, First::Stop, AttemptState::Cancelled)]
    {
        let [one, two] = the_second_is_claimed(&store, n).await;
        let outbox = another(&store).await;
        let late = async move { answer(&outbox, one, accepted(&format!("SM{n}"))).await };
        let (written, _) = interleave(&store, first, two, late).await;
        match first {
            First::Commit => assert!(matches!(written, Written::Send(_)), "{written:?}"),
            First::Stop => assert_eq!(written, Written::Lost),
        }
        let attempts = state(&store.outbox, &format!("ntf_{n}")).await.1;
        assert_eq!(attempts, [AttemptState::Accepted, second], "{first:?}");
    }
}
