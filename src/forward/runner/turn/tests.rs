//! A turn at a store of its own, step by step: it is handed what its tasks came to, and no endpoint is asked.

use std::sync::atomic::{AtomicUsize, Ordering};

use sqlx::{AssertSqlSafe, Connection as _, SqliteConnection};
use tempfile::TempDir;

use super::*;
use crate::backend::Store;
use crate::backend::forwards::{Claimed, ForwardState};
use crate::backend::sqlite::{Database, Handles, SqliteStore};
use crate::clock::Clock;
use crate::event::{Batch, EventKey, Kind};
use crate::forward::form::standard::Secrets;
use crate::forward::{Beginning, Config, Endpoint, Failure, Filter, Form, Target};
use crate::pipeline::Sink as _;
use crate::policy::PolicyInForce;
use crate::policy::testing::policy;

const SECRET: &str = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
const DISABLE_AFTER: Duration = Duration::from_secs(3 * 24 * 3600);

/// Counts how often it was told that changes were cut.
#[derive(Clone, Default, Debug)]
struct Cuts(Arc<AtomicUsize>);

impl Observer for Cuts {
    fn attempted(&self, _: Delivery, _: Duration) {}
    fn gave_up(&self) {}
    fn cut(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
    fn stands(&self, _: usize, _: Duration) {}
    fn is_down(&self, _: bool) {}
    fn is_disabled(&self, _: Option<Disabled>) {}
    fn failed(&self) {}
}

/// A store with five changes, each of a SID of its own, and a forward that has forwarded none of them.
struct Place {
    url: String,
    store: Store,
    runner: Runner<Cuts>,
    claim: Claim,
    _directory: TempDir,
}

impl Place {
    async fn start() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let url = format!("sqlite:{}", directory.path().join("offhook.db").display());
        let database = Arc::new(Database::lock(&url).expect("a file of our own"));
        database.migrate().await.expect("a new file");
        let sink = SqliteStore::open(database).await.expect("a new file");
        let store = Store::Sqlite(Handles::new(&sink));
        let end = store.feed().end().await.expect("it can be read");
        store.forwards().create("app", &end).await.expect("it is a new one");
        for sid in ["CA1", "CA2", "CA3", "CA4", "CA5"] {
            let key = EventKey::of(&[sid, "busy"]).expect("printable");
            let event = Event { sid: Some(sid.to_owned()), ..Event::new(key, Kind::Call, "AC1") };
            sink.commit(&Batch::from(event)).await.expect("the store is there");
        }
        let claim = Claim { forward: "app".to_owned(), holder: "one".to_owned(), lasts: LEASE };
        Self { url, runner: runner(&store), store, claim, _directory: directory }
    }

    /// A turn whose endpoint has failed for so long.
    async fn turn(&self, failing_for: Option<Duration>) -> Turn<'_, Cuts> {
        let forwards = self.store.forwards();
        let claimed = forwards.claim(&self.claim).await.expect("the store is there");
        let Claimed::Held(held) = claimed else { panic!("it is free: {claimed:?}") };
        let waiting = forwards.waiting("app").await.expect("the store is there");
        let held = Held { failing_for, ..held };
        Turn::new(&self.runner, &self.claim, held, waiting, Instant::now())
    }

    async fn connection(&self) -> SqliteConnection {
        SqliteConnection::connect(&self.url).await.expect("the file is there")
    }

    async fn execute(&self, sql: &str) {
        let sql = sqlx::raw_sql(AssertSqlSafe(sql));
        sql.execute(&mut self.connection().await).await.expect("the tables are there");
    }

    fn cuts(&self) -> usize {
        self.runner.observer.0.load(Ordering::Relaxed)
    }

    async fn state(&self) -> ForwardState {
        let states = self.store.forwards().states().await.expect("the store is there");
        states.into_iter().next().expect("there is one")
    }
}

fn runner(store: &Store) -> Runner<Cuts> {
    // As `main` does; one that is there already is the same.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let config = Config {
        name: "app".to_owned(),
        target: Target::parse("http://127.0.0.1:1/").expect("it is a URL of HTTP"),
        form: Form::Standard(Secrets::new(&[SECRET.into()]).expect("it is a secret")),
        filter: Filter {
            kinds: vec![Kind::Call],
            statuses: Vec::new(),
            final_only: false,
            accounts: Vec::new(),
        },
        ca: None,
        timeout: Duration::from_secs(10),
        in_flight: 5,
        max_waiting: 100,
        disable_after: DISABLE_AFTER,
        max_age: Duration::MAX,
        from: Beginning::End,
        fingerprint: 0,
    };
    let (clock, policy) = (Clock::Fixed(Timestamp::from_micros(0)), PolicyInForce::new(policy(1)));
    let endpoint = Endpoint::new(&config, policy.inbound(), clock).expect("it can be made");
    Runner {
        config,
        endpoint: Arc::new(endpoint),
        feed: store.feed(),
        watch: store.feed_watch(),
        forwards: store.forwards(),
        clock,
        observer: Cuts::default(),
    }
}

/// Until each task that is under way has ended.
async fn settle(turn: &mut Turn<'_, Cuts>) {
    while let Some(done) = turn.tasks.join_next().await {
        assert_eq!(turn.take(done.expect("it does not panic")), None);
    }
}

/// Reads the feed, and fails to send all five changes. Whether that ends the turn, after each of them.
async fn fail(turn: &mut Turn<'_, Cuts>) -> Vec<bool> {
    turn.read(Instant::now());
    settle(turn).await;
    let ids = turn.window.take(5, turn.moment(Instant::now()));
    turn.sending = ids.len();
    let failed = Some(Delivery::Failed(Failure::Server));
    let fails = ids.into_iter().map(|id| {
        assert_eq!(turn.take(Done::Sent(id, failed, Timestamp::from_micros(0))), None);
        turn.ending.is_some()
    });
    fails.collect()
}

#[tokio::test]
async fn a_forward_that_has_failed_for_long_and_fails_again_is_disabled() {
    let place = Place::start().await;
    let mut turn = place.turn(Some(DISABLE_AFTER.saturating_sub(Duration::from_secs(60)))).await;
    assert_eq!(fail(&mut turn).await, [false; 5], "not for long enough");
    drop(turn);
    let mut turn = place.turn(Some(DISABLE_AFTER)).await;
    // A failure or two after a long stop prove nothing.
    assert_eq!(fail(&mut turn).await, [false, false, false, false, true]);
    let ended = turn.run(&CancellationToken::new()).await;
    assert_eq!(ended, Ended::Disabled(Disabled::Failing));
    let state = place.state().await;
    assert_eq!((state.disabled, state.waiting), (Some(Disabled::Failing), 5), "all are kept");
}

#[tokio::test]
async fn what_retention_has_cut_is_told_and_the_rest_is_read() {
    let place = Place::start().await;
    let mut turn = place.turn(None).await;
    place.execute("DELETE FROM changes WHERE id <= 3; UPDATE feed SET cut = 3").await;
    turn.read(Instant::now());
    settle(&mut turn).await;
    assert_eq!((place.cuts(), turn.window.first_open(), turn.window.read()), (1, Some(4), 5));
    assert_eq!(turn.ending.map(|ending| ending.how), None);
}

#[tokio::test]
async fn what_waits_and_was_purged_is_forgotten_without_an_alarm() {
    let place = Place::start().await;
    let mut turn = place.turn(None).await;
    fail(&mut turn).await;
    let progress = turn.progress();
    assert_eq!(progress.waiting.len(), 5);
    // A purge found nothing of it that waited: its request had not failed yet.
    place.execute("DELETE FROM changes WHERE id = 2").await;
    let written = place.store.forwards().write(&place.claim, &progress).await;
    assert_eq!(written, Ok(Written::Kept));

    let forget = async |turn: &mut Turn<'_, Cuts>| {
        turn.due.forget = Instant::now();
        turn.look_around(Instant::now());
        settle(turn).await;
    };
    forget(&mut turn).await;
    assert_eq!((place.cuts(), turn.window.waiting()), (0, 4));
    // What retention takes is told.
    place.execute("DELETE FROM changes WHERE id <= 4; UPDATE feed SET cut = 4").await;
    forget(&mut turn).await;
    assert_eq!((place.cuts(), turn.window.waiting()), (1, 1));
}

#[tokio::test]
async fn no_request_is_under_way_when_the_lease_is_given_back() {
    let place = Place::start().await;
    let mut turn = place.turn(None).await;
    let over = CancellationToken::new();
    let request = over.clone().drop_guard();
    turn.tasks.spawn(async move {
        let _request = request;
        std::future::pending().await
    });
    turn.sending = 1;
    turn.ending = Some(Ending { how: Ended::Stopped, by: Instant::now() });
    // While another program writes, the lease cannot be given back.
    let mut other = place.connection().await;
    sqlx::query("BEGIN IMMEDIATE").execute(&mut other).await.expect("the file is free");
    let stop = CancellationToken::new();
    let mut ends = std::pin::pin!(turn.run(&stop));
    tokio::select! {
        ended = &mut ends => panic!("it ended before its request did: {ended:?}"),
        () = over.cancelled() => {}
    }
    assert_eq!(place.state().await.holder.as_deref(), Some("one"));
    sqlx::query("COMMIT").execute(&mut other).await.expect("it can be ended");
    assert_eq!(ends.await, Ended::Stopped);
    assert_eq!(place.state().await.holder, None);
}
