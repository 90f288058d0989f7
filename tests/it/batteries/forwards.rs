//! What a store keeps of forwards, of both stores alike.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use offhook::backend::forwards::{
    Claim, Claimed, Disabled, GivenUp, Held, Progress, Replay, Waiting, Written,
};
use offhook::backend::postgres::{self, PostgresStore};
use offhook::backend::sqlite::{self, Database, SqliteStore};
use offhook::backend::{self, Forwards};
use offhook::clock::{Clock, Timestamp};
use offhook::event::{Batch, Cursor, Event, EventKey, FeedId, Kind};
use offhook::pipeline::expiry::{Expire, Outlook, Step};
use offhook::pipeline::{Cause, Sink};
use offhook::upkeep::retention::{Metrics, Needed, Retention, Table};
use prometheus::Registry;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::harness::until;
use crate::services::{Durability, Postgres, needs};

const LEASE: Duration = Duration::from_secs(600);
const HOUR: Duration = Duration::from_secs(3600);

struct Store<K> {
    sink: K,
    store: backend::Store,
    forwards: Forwards,
    _home: (Option<TempDir>, Option<Postgres>),
}

async fn sqlite() -> Store<SqliteStore> {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let url = format!("sqlite:{}", directory.path().join("offhook.db").display());
    let database = Arc::new(Database::lock(&url).expect("a file of our own"));
    database.migrate().await.expect("a new file");
    let sink = SqliteStore::open(database).await.expect("a new file");
    let store = backend::Store::Sqlite(sqlite::Handles::new(&sink));
    Store { forwards: store.forwards(), store, sink, _home: (Some(directory), None) }
}

async fn postgres() -> Store<PostgresStore> {
    let server = Postgres::start(Durability::Unsynced);
    let pool = postgres::Postgres::new(&server.url()).expect("a good URL");
    pool.migrate().await.expect("empty tables can be made");
    let store = backend::Store::Postgres(postgres::Handles::new(pool.clone()));
    let sink = PostgresStore::new(pool);
    Store { forwards: store.forwards(), store, sink, _home: (None, Some(server)) }
}

/// One test per store of `async fn name(store: Store<impl Sink>)`.
macro_rules! both_stores {
    ($($name:ident),+ $(,)?) => {
        mod embedded {
            $(#[tokio::test] async fn $name() { super::$name(super::sqlite().await).await; })+
        }
        mod scale_out {
            $(#[tokio::test] async fn $name() {
                super::needs!(Postgres);
                super::$name(super::postgres().await).await;
            })+
        }
    };
}

both_stores![
    only_the_holder_writes_and_what_is_disabled_is_held_by_none,
    progress_is_written_whole_and_twice_is_as_once,
    what_was_given_up_is_listed_and_replayed,
    changes_are_loaded_with_their_events,
    retention_is_told_the_first_change_that_is_needed,
    retention_deletes_nothing_that_a_forward_that_is_behind_needs,
    what_is_enabled_twice_goes_on_with_all_that_waits,
    one_that_is_disabled_and_enabled_is_still_its_holders,
    a_forward_of_another_feed_goes_on_from_the_end,
];

fn claim(holder: &str) -> Claim {
    Claim { forward: "app".to_owned(), holder: holder.to_owned(), lasts: LEASE }
}

fn waiting(change: i64, due_in: Option<Duration>) -> Waiting {
    let sid = Some("CA1".to_owned());
    Waiting { change, account: "AC1".to_owned(), sid, tries: 2, due_in }
}

fn given_up(change: i64, sid: &str) -> GivenUp {
    let failure = "timeout".to_owned();
    GivenUp { change, account: "AC1".into(), sid: Some(sid.to_owned()), tries: 17, failure }
}

impl<K: Sink> Store<K> {
    /// Stores a change of each of these SIDs; where the feed ends then.
    async fn changes(&self, sids: &[&str]) -> Cursor {
        for sid in sids {
            let key = EventKey::of(&[sid, "ringing"]).expect("printable");
            let event = Event { sid: Some((*sid).into()), ..Event::new(key, Kind::Call, "AC1") };
            self.sink.commit(&Batch::from(event)).await.expect("the store is there");
        }
        self.store.feed().end().await.expect("it can be read")
    }

    /// A forward that begins here, and whose lease is held.
    async fn held(&self, at: &Cursor) -> Claim {
        self.forwards.create("app", at).await.expect("the store is there");
        let claim = claim("one");
        assert!(matches!(self.claim(&claim).await, Claimed::Held(_)));
        claim
    }

    async fn claim(&self, claim: &Claim) -> Claimed {
        self.forwards.claim(claim).await.expect("the store is there")
    }

    async fn write(&self, claim: &Claim, progress: &Progress) -> Written {
        self.forwards.write(claim, progress).await.expect("the store is there")
    }
}

async fn only_the_holder_writes_and_what_is_disabled_is_held_by_none<K: Sink>(store: Store<K>) {
    let (one, other) = (claim("one"), claim("other"));
    assert_eq!(store.claim(&one).await, Claimed::Unknown);
    let start = store.changes(&["CA1"]).await;
    store.forwards.create("app", &start).await.expect("a new one");
    let elsewhere = Cursor { id: 0, ..start.clone() };
    store.forwards.create("app", &elsewhere).await.expect("it is there already");
    let held = Held { feed: start.feed.as_str().to_owned(), cursor: start.id, failing_for: None };
    assert_eq!(store.claim(&one).await, Claimed::Held(held.clone()));
    assert_eq!(store.claim(&one).await, Claimed::Held(held.clone()));

    let forward = Progress { cursor: start.id + 1, ..Progress::default() };
    assert_eq!(store.write(&other, &forward).await, Written::Lost);
    if matches!(store.forwards, Forwards::Postgres(_)) {
        assert_eq!(store.claim(&other).await, Claimed::Taken);
    }
    store.forwards.release(&other).await.expect("it holds nothing");
    assert_eq!(store.write(&one, &forward).await, Written::Kept);
    store.forwards.release(&one).await.expect("it holds it");
    assert_eq!(store.write(&one, &forward).await, Written::Lost);
    assert!(
        matches!(store.claim(&other).await, Claimed::Held(held) if held.cursor == start.id + 1)
    );

    let gone = Progress { disable: Some(Disabled::Gone), ..forward.clone() };
    assert_eq!(store.write(&other, &gone).await, Written::Kept);
    assert_eq!(store.write(&other, &forward).await, Written::Lost);
    assert_eq!(store.claim(&one).await, Claimed::Disabled(Disabled::Gone));
    assert!(!store.forwards.disable("app").await.expect("it is there"), "it is already");
    let end = store.changes(&["CA2"]).await;
    assert!(store.forwards.enable("app", &end).await.expect("it is there"));
    assert!(!store.forwards.enable("app", &end).await.expect("it is there"), "it is already");
    assert!(matches!(store.claim(&one).await, Claimed::Held(held) if held.cursor == start.id + 1));
    assert!(store.forwards.disable("app").await.expect("it is there"));
    assert_eq!(store.write(&one, &forward).await, Written::Lost);
    assert_eq!(store.claim(&one).await, Claimed::Disabled(Disabled::Operator));
}

async fn progress_is_written_whole_and_twice_is_as_once<K: Sink>(store: Store<K>) {
    let start = store.changes(&["CA1"]).await;
    let claim = store.held(&start).await;
    let progress = Progress {
        cursor: start.id + 9,
        failing_for: Some(HOUR),
        waiting: vec![waiting(3, Some(HOUR)), waiting(4, None), waiting(5, None)],
        given_up: vec![given_up(1, "CA9")],
        ..Progress::default()
    };
    for _ in 0..2 {
        assert_eq!(store.write(&claim, &progress).await, Written::Kept);
        let rows = store.forwards.waiting("app").await.expect("it can be read");
        let due = rows[0].due_in.expect("it is due some time");
        assert!(due <= HOUR && due > HOUR / 2, "{due:?}");
        assert_eq!(rows[1..], [waiting(4, None), waiting(5, None)]);
    }
    let Claimed::Held(held) = store.claim(&claim).await else { panic!("it holds it") };
    assert_eq!(held.cursor, start.id + 9);
    assert!(held.failing_for.is_some_and(|long| long >= HOUR));

    let progress = Progress {
        cursor: start.id,
        settled: vec![3],
        given_up: vec![given_up(4, "CA1")],
        waiting: vec![Waiting { tries: 3, ..waiting(5, Some(HOUR)) }],
        ..Progress::default()
    };
    assert_eq!(store.write(&claim, &progress).await, Written::Kept);
    let rows = store.forwards.waiting("app").await.expect("it can be read");
    assert_eq!((rows.len(), rows[0].change, rows[0].tries), (1, 5, 3));
    let [state] = &store.forwards.states().await.expect("it can be read")[..] else { panic!() };
    assert_eq!((state.waiting, state.given_up, state.cursor), (1, 2, start.id + 9));
    assert_eq!((state.failing_since, state.disabled), (None, None));
    assert_eq!(state.holder.as_deref(), Some("one"));
}

async fn what_was_given_up_is_listed_and_replayed<K: Sink>(store: Store<K>) {
    let end = store.changes(&["CA1", "CA2", "CA3"]).await;
    let claim = store.held(&end).await;
    let first = end.id - 2;
    let rows = ["CA1", "CA2", "CA3"].into_iter().zip(first..).map(|(sid, id)| given_up(id, sid));
    let progress = Progress { cursor: end.id, given_up: rows.collect(), ..Progress::default() };
    assert_eq!(store.write(&claim, &progress).await, Written::Kept);
    let listed = store.forwards.list_given_up("app", first, 10).await.expect("it can be read");
    let ids: Vec<i64> = listed.iter().map(|row| row.change).collect();
    assert_eq!(ids, [first + 1, first + 2]);
    assert_eq!(listed[0].failure.as_deref(), Some("timeout"));
    assert!(listed[0].at.is_some() && !listed[0].replayed);

    let replay = async |replay| store.forwards.replay("app", &replay).await.expect("it is there");
    assert_eq!(replay(Replay::Sid("CA2".into())).await, 1);
    assert_eq!(replay(Replay::Sid("CA2".into())).await, 0);
    assert_eq!(replay(Replay::Since(Timestamp::from_micros(i64::MAX))).await, 0);
    assert_eq!(replay(Replay::Since(Timestamp::from_micros(0))).await, 2);
    assert_eq!(replay(Replay::All).await, 0);
    let replays = store.forwards.replays("app", 2).await.expect("it can be read");
    assert_eq!((replays.len(), replays[0].change, replays[0].tries), (2, first, 0));
    let again = Progress {
        cursor: end.id,
        waiting: replays.clone(),
        replayed: replays.iter().map(|row| row.change).collect(),
        ..Progress::default()
    };
    assert_eq!(store.write(&claim, &again).await, Written::Kept);
    let replays = store.forwards.replays("app", 9).await.expect("it can be read");
    assert_eq!(replays.len(), 1);
    let listed = store.forwards.list_waiting("app", 0, 10).await.expect("it can be read");
    assert_eq!((listed.len(), listed[0].at, &listed[0].failure), (2, None, &None));
}

async fn changes_are_loaded_with_their_events<K: Sink>(store: Store<K>) {
    let end = store.changes(&["CA1", "CA2"]).await;
    let ids = [end.id - 1, end.id, end.id + 7];
    let loaded = store.forwards.load(&ids).await.expect("it can be read");
    let sids: Vec<_> = loaded
        .iter()
        .map(|(change, event)| (change.id, event.as_ref().and_then(|event| event.sid.as_deref())))
        .collect();
    assert_eq!(sids, [(end.id - 1, Some("CA1")), (end.id, Some("CA2"))]);

    // What is not in the feed any more is forgotten.
    let claim = store.held(&end).await;
    let progress = Progress {
        cursor: end.id,
        waiting: vec![waiting(end.id, None), waiting(end.id + 7, None)],
        given_up: vec![given_up(end.id - 1, "CA1"), given_up(end.id + 8, "CA1")],
        ..Progress::default()
    };
    assert_eq!(store.write(&claim, &progress).await, Written::Kept);
    let gone = store.forwards.forget("app").await.expect("the store is there");
    assert_eq!(gone, [end.id + 7]);
    let kept = store.forwards.list_given_up("app", 0, 10).await.expect("it can be read");
    assert_eq!((kept.len(), kept[0].change), (1, end.id - 1));
}

async fn retention_is_told_the_first_change_that_is_needed<K: Sink>(store: Store<K>) {
    let end = store.changes(&["CA1", "CA2", "CA3"]).await;
    let stored_at = async |id| {
        let loaded = store.forwards.load(&[id]).await.expect("it can be read");
        Some(loaded[0].0.stored_at)
    };
    let of = |age| [("app".to_owned(), age), ("other".to_owned(), age)];
    let needed = async |age| store.forwards.needed_since(&of(age)).await.expect("it can be read");
    assert_eq!(needed(HOUR).await, None);
    let claim = store.held(&Cursor { id: end.id - 1, ..end.clone() }).await;
    assert_eq!(needed(HOUR).await, stored_at(end.id).await);
    let waits = Progress {
        cursor: end.id,
        waiting: vec![waiting(end.id - 2, None)],
        ..Progress::default()
    };
    assert_eq!(store.write(&claim, &waits).await, Written::Kept);
    assert_eq!(needed(HOUR).await, stored_at(end.id - 2).await);
    // What is older than its age may go, and what is younger may not, whether or not there is anything.
    let may_go = needed(Duration::ZERO).await;
    assert!(may_go > stored_at(end.id).await, "{may_go:?}");
    // What its endpoint missed is sent once that answers again.
    let first = stored_at(end.id - 2).await;
    for (why, expected) in
        [(Disabled::Failing, first), (Disabled::Gone, first), (Disabled::OtherFeed, None)]
    {
        let disables = Progress { cursor: end.id, disable: Some(why), ..Progress::default() };
        assert_eq!(store.write(&claim, &disables).await, Written::Kept);
        assert_eq!(needed(HOUR).await, expected, "{why:?}");
        assert!(store.forwards.enable("app", &end).await.expect("it is there"));
        assert!(matches!(store.claim(&claim).await, Claimed::Held(_)), "{why:?}");
    }
    assert!(store.forwards.disable("app").await.expect("it is there"));
    assert_eq!(needed(HOUR).await, None);
}

/// Notes before when is to be deleted, and stops.
struct Noted(Arc<OnceLock<Timestamp>>, CancellationToken);

impl Expire for Noted {
    async fn step(&mut self, cutoff: Timestamp) -> Result<Step, Cause> {
        self.0.set(cutoff).expect("it was told to stop");
        self.1.cancel();
        Ok(Step::Done(0))
    }

    async fn outlook(&mut self) -> Result<Outlook, Cause> {
        Ok(Outlook::default())
    }

    async fn trust(&mut self, _: Option<Timestamp>) -> Result<(), Cause> {
        Ok(())
    }

    async fn oldest(&mut self) -> Result<Option<Timestamp>, Cause> {
        Ok(None)
    }
}

async fn retention_deletes_nothing_that_a_forward_that_is_behind_needs<K: Sink>(store: Store<K>) {
    const AGE: Duration = Duration::from_secs(24 * 3600);
    /// An event may have been stored so long before its change.
    const MARGIN: Duration = Duration::from_secs(300);
    let end = store.changes(&["CA1", "CA2"]).await;
    let loaded = store.forwards.load(&[end.id]).await.expect("it can be read");
    let stored_at = loaded[0].0.stored_at;
    let claim = store.held(&Cursor { id: end.id - 1, ..end.clone() }).await;
    // A month later.
    let now = Timestamp::from_micros(stored_at.micros() + 30 * 24 * 3600 * 1_000_000);
    let before = async || {
        let (noted, stop) = (Arc::new(OnceLock::new()), CancellationToken::new());
        let of = Arc::new(ArcSwap::from_pointee(vec![("app".to_owned(), HOUR)]));
        let retention = Retention {
            place: Noted(Arc::clone(&noted), stop.clone()),
            table: Table::Changes,
            age: Some(AGE),
            needed: Some(Needed { forwards: store.forwards.clone(), of }),
            clock: Clock::Fixed(now),
            metrics: Metrics::register(&Registry::new()).expect("new names"),
        };
        retention.run(stop).await;
        *noted.get().expect("it has deleted")
    };
    assert_eq!(before().await, stored_at.before(MARGIN));
    let caught_up = Progress { cursor: end.id, ..Progress::default() };
    assert_eq!(store.write(&claim, &caught_up).await, Written::Kept);
    assert_eq!(before().await, now.before(AGE));
}

#[tokio::test]
async fn what_retention_asks_of_a_forward_that_is_far_behind_reads_one_change() {
    needs!(Postgres);
    let store = postgres().await;
    let (start, mut many) = (store.changes(&["CA1"]).await, Vec::new());
    for n in 0..1200 {
        let key = EventKey::of(&["debugger", &n.to_string()]).expect("printable");
        many.push(Event::new(key, Kind::Debugger, "AC1"));
    }
    while let Some(batch) = Batch::take_from(&mut many) {
        store.sink.commit(&batch).await.expect("the store is there");
    }
    store.held(&start).await;
    let server = store._home.1.as_ref().expect("it is Postgres");
    let mut connection = server.connection().await;
    let mut reads = async || -> i64 {
        let reads = "SELECT coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0) \
                     FROM pg_stat_user_tables WHERE relname = 'changes'";
        sqlx::query_scalar(reads).fetch_one(&mut connection).await.expect("it counts them")
    };
    let (before, mut asked) = (reads().await, 0);
    // All of them are older than they may become. A session says within a second what it has read.
    let of = [("app".to_owned(), Duration::ZERO)];
    let read = until("the server has counted", async || {
        asked += 1;
        store.forwards.needed_since(&of).await.expect("it can be read");
        Some(reads().await - before).filter(|read| *read > asked / 2)
    })
    .await;
    assert!(read <= asked + 10, "{read} rows by {asked} questions");
}

async fn what_is_enabled_twice_goes_on_with_all_that_waits<K: Sink>(store: Store<K>) {
    let before = store.changes(&["CA1", "CA2"]).await;
    let claim = store.held(&before).await;
    let end = store.changes(&["CA3"]).await;
    let waits = Progress {
        cursor: end.id,
        waiting: vec![waiting(end.id, None)],
        given_up: vec![given_up(end.id - 1, "CA2")],
        ..Progress::default()
    };
    assert_eq!(store.write(&claim, &waits).await, Written::Kept);
    // The end was read before the last change was stored.
    assert!(!store.forwards.enable("app", &before).await.expect("it is there"));
    let [state] = &store.forwards.states().await.expect("it can be read")[..] else { panic!() };
    assert_eq!((state.waiting, state.given_up), (1, 1));
}

async fn one_that_is_disabled_and_enabled_is_still_its_holders<K: Sink>(store: Store<K>) {
    let end = store.changes(&["CA1"]).await;
    let claim = store.held(&end).await;
    assert!(store.forwards.disable("app").await.expect("it is there"));
    assert!(store.forwards.enable("app", &end).await.expect("it is there"));
    // In a file there is no other process.
    if matches!(store.forwards, Forwards::Postgres(_)) {
        assert_eq!(
            store.claim(&self::claim("other")).await,
            Claimed::Taken,
            "the first may forward"
        );
    }
    assert_eq!(store.write(&claim, &Progress::default()).await, Written::Kept);
}

async fn a_forward_of_another_feed_goes_on_from_the_end<K: Sink>(store: Store<K>) {
    let end = store.changes(&["CA1", "CA2"]).await;
    let other = Cursor { feed: FeedId::parse("ffff").expect("digits"), id: 77 };
    let claim = store.held(&other).await;
    let progress = Progress {
        cursor: 80,
        waiting: vec![waiting(1, None)],
        given_up: vec![given_up(2, "CA1")],
        disable: Some(Disabled::OtherFeed),
        ..Progress::default()
    };
    assert_eq!(store.write(&claim, &progress).await, Written::Kept);
    assert!(store.forwards.enable("app", &end).await.expect("it is there"));
    let Claimed::Held(held) = store.claim(&claim).await else { panic!("it is free") };
    assert_eq!((held.feed.as_str(), held.cursor), (end.feed.as_str(), end.id));
    let [state] = &store.forwards.states().await.expect("it can be read")[..] else { panic!() };
    assert_eq!((state.waiting, state.given_up), (0, 0));
}
