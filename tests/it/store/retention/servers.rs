//! Retention as it runs in a server, and of what lies beside the store.

use offhook::backend::local_log::{self, Bounds, LocalLog, Release};
use offhook::backend::redis::{self, Connector, Names};
use offhook::clock::Clock;
use offhook::config::Role;
use offhook::event::Batch;
use offhook::pipeline::expiry::{Expire, Step};
use offhook::pipeline::{Sink as _, Source as _};
use redis::Retention;

use super::stores::{SqlitePlace, Store as _};
use super::{all, call, day, store};
use crate::harness::{ACCOUNT, Callback, Mode, Offhook, Spawned, Testbed, both_modes, until};
use crate::services::{Redis, needs};

both_modes! {
    a_server_deletes_what_is_old_and_says_so,
    one_that_is_killed_while_it_deletes_goes_on_after_it,
    without_a_retention_everything_is_kept,
    a_receiver_whose_clock_is_behind_makes_nothing_old,
    where_all_is_too_old_nothing_goes_until_somebody_says_so,
    rows_of_an_older_version_are_as_old_as_they_were,
}

async fn a_receiver_whose_clock_is_behind_makes_nothing_old(mut testbed: Testbed) {
    testbed.settings = testbed.settings.set("OFFHOOK_RETENTION__EVENTS_DAYS", "1");
    let offhook = testbed.start();
    offhook.client.accepts(&callback("CA1")).await;
    offhook.client.accepts(&callback("CA2")).await;
    testbed.contents_of(2).await;
    drop(offhook);
    for rows in [
        format!("UPDATE events SET received_at = '{OLD}' WHERE sid = 'CA1'"),
        format!("UPDATE events SET stored_at = '{OLD}' WHERE sid = 'CA2'"),
        format!("UPDATE statuses SET first_seen = '{OLD}', updated = '{OLD}'"),
        format!("UPDATE statuses SET stored_at = '{OLD}' WHERE sid = 'CA2'"),
    ] {
        testbed.execute(Box::leak(rows.into_boxed_str())).await;
    }
    testbed.settings = testbed.settings.set("OFFHOOK_RETENTION__STATUSES_DAYS", "1");
    let _offhook = testbed.start();
    until("what was stored long ago is gone", async || {
        let contents = testbed.contents().await;
        let sids: Vec<_> = contents.statuses.iter().map(|row| row.sid.as_str()).collect();
        (contents.keys() == ["CA1-busy"] && sids == ["CA1"]).then_some(())
    })
    .await;
}

async fn where_all_is_too_old_nothing_goes_until_somebody_says_so(mut testbed: Testbed) {
    let held = "offhook_retention_held{table=\"events\"}";
    let offhook = testbed.start();
    for sid in ["CA1", "CA2", "CA3"] {
        offhook.client.accepts(&callback(sid)).await;
    }
    testbed.contents_of(3).await;
    drop(offhook);
    let rows = format!("UPDATE events SET received_at = '{OLD}', stored_at = '{OLD}'");
    testbed.execute(Box::leak(rows.into_boxed_str())).await;
    testbed.settings = testbed.settings.set("OFFHOOK_RETENTION__EVENTS_DAYS", "30");
    let is_held = async |offhook: &Offhook, value: f64| {
        until("it holds, or does not", async || {
            (offhook.client.metric(held).await == value).then_some(())
        })
        .await;
    };
    let offhook = testbed.start();
    is_held(&offhook, 1.0).await;
    // What comes now proves nothing: the same clock gave it its time. Nor after a restart.
    offhook.client.accepts(&callback("CA4")).await;
    testbed.contents_of(4).await;
    is_held(&offhook, 1.0).await;
    drop(offhook);
    let offhook = testbed.start();
    is_held(&offhook, 1.0).await;
    assert_eq!(offhook.client.metric(EVENTS).await, 0.0);
    let page = offhook.client.admin("/").await.text().await.expect("the whole page");
    assert!(page.contains("Nothing is deleted from events"), "{page}");
    let purge = serde_json::json!({ "before": "2021-01-01T00:00:00Z" });
    let (status, answer) = offhook.client.post_json("/api/purge", &purge).await;
    assert_eq!(status, 200, "{answer}");
    is_held(&offhook, 0.0).await;
    assert_eq!(testbed.contents().await.keys(), ["CA4-busy"]);
}

async fn rows_of_an_older_version_are_as_old_as_they_were(testbed: Testbed) {
    let offhook = testbed.start();
    offhook.client.accepts(&callback("CA1")).await;
    testbed.contents_of(1).await;
    drop(offhook);
    for statement in [
        "DROP INDEX IF EXISTS events_stored_at",
        "ALTER TABLE events DROP COLUMN stored_at",
        "ALTER TABLE statuses DROP COLUMN stored_at",
        "DROP TABLE retention",
        "DELETE FROM _sqlx_migrations WHERE version IN (6, 7)",
        "UPDATE events SET received_at = '2020-01-01T00:00:00.000000Z'",
        "UPDATE statuses SET updated = '2020-01-01T00:00:00.000000Z'",
    ] {
        testbed.execute(statement).await;
    }
    let offhook = testbed.start();
    offhook.client.accepts(&callback("CA2")).await;
    testbed.contents_of(2).await;
    let taken = "SELECT key FROM events WHERE stored_at = received_at";
    assert_eq!(testbed.column(taken).await, ["CA1-busy"]);
    let new = "SELECT key FROM events WHERE stored_at > received_at";
    assert_eq!(testbed.column(new).await, ["CA2-busy"], "its own time comes from the store");
    let as_before = "SELECT sid FROM statuses WHERE stored_at IS NULL";
    assert_eq!(testbed.column(as_before).await, ["CA1"], "it grows old by `updated`");
    let new = "SELECT sid FROM statuses WHERE stored_at > updated";
    assert_eq!(testbed.column(new).await, ["CA2"]);
}

const EVENTS: &str = "offhook_retention_deleted_total{table=\"events\"}";
const OLD: &str = "2020-01-01T00:00:00.000000Z";

/// Rows of long ago, as if they had come then.
async fn make_old(testbed: &Testbed) {
    let sql = match testbed.mode() {
        Mode::Embedded => {
            "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 20000) \
             INSERT INTO events (key, kind, account, received_at, stored_at, format, query, params, \
             body) SELECT 'old-' || n, 'other', 'AC1', '2020-01-01T00:00:00.000000Z', \
             '2020-01-01T00:00:00.000000Z', 'form', '', '{}', \
             zeroblob(500) FROM n"
        }
        Mode::Direct | Mode::ScaleOut => {
            "INSERT INTO events (key, kind, account, received_at, stored_at, format, query, params, \
             body) SELECT 'old-' || n, 'other', 'AC1', '2020-01-01T00:00:00Z', \
             '2020-01-01T00:00:00Z', 'form', '', '{}', '' \
             FROM generate_series(1, 20000) AS n"
        }
    };
    testbed.execute(sql).await;
}

async fn old(testbed: &Testbed) -> usize {
    let count = "SELECT CAST(count(*) AS TEXT) FROM events WHERE key LIKE 'old-%'";
    testbed.column(count).await[0].parse().expect("a number")
}

fn callback(sid: &str) -> Callback {
    Callback::form(format!(
        "CallSid={sid}&AccountSid={ACCOUNT}&CallStatus=busy&CallbackSource=call-progress-events"
    ))
}

async fn a_server_deletes_what_is_old_and_says_so(mut testbed: Testbed) {
    let offhook = testbed.start();
    offhook.client.accepts(&callback("CA1")).await;
    offhook.client.accepts(&callback("CA2")).await;
    testbed.contents_of(2).await;
    drop(offhook);
    let rows =
        format!("UPDATE events SET received_at = '{OLD}', stored_at = '{OLD}' WHERE sid = 'CA1'");
    testbed.execute(Box::leak(rows.into_boxed_str())).await;
    let rows =
        format!("UPDATE statuses SET first_seen = '{OLD}', stored_at = '{OLD}' WHERE sid = 'CA1'");
    testbed.execute(Box::leak(rows.into_boxed_str())).await;

    testbed.settings = testbed.settings.set("OFFHOOK_RETENTION__EVENTS_DAYS", "30");
    let offhook = testbed.start();
    until("the old event is gone", async || {
        (offhook.client.metric(EVENTS).await == 1.0).then_some(())
    })
    .await;
    let contents = testbed.contents().await;
    assert_eq!((contents.keys(), contents.statuses.len()), (vec!["CA2-busy".to_owned()], 2));
    drop(offhook);

    testbed.settings = testbed.settings.set("OFFHOOK_RETENTION__STATUSES_DAYS", "60");
    let offhook = testbed.start();
    until("the old status is gone", async || {
        let deleted = "offhook_retention_deleted_total{table=\"statuses\"}";
        (offhook.client.metric(deleted).await == 1.0).then_some(())
    })
    .await;
    let statuses = testbed.contents().await.statuses;
    assert_eq!(statuses.iter().map(|row| row.sid.as_str()).collect::<Vec<_>>(), ["CA2"]);
    let age = "offhook_retention_oldest_age_seconds{table=\"events\"}";
    until("it says how old the rest is", async || {
        let age = offhook.client.metric(age).await;
        (age > 0.0 && age < 24.0 * 3600.0).then_some(())
    })
    .await;
}

async fn one_that_is_killed_while_it_deletes_goes_on_after_it(mut testbed: Testbed) {
    let offhook = testbed.start();
    offhook.client.accepts(&callback("CA1")).await;
    testbed.contents_of(1).await;
    drop(offhook);
    make_old(&testbed).await;
    testbed.settings = testbed.settings.set("OFFHOOK_RETENTION__EVENTS_DAYS", "1");
    let mut keys = vec!["CA1-busy".to_owned()];
    let mut left = old(&testbed).await;
    for round in 0..2 {
        let offhook = Spawned::start(&testbed.settings);
        until("it has begun", async || (old(&testbed).await < left).then_some(())).await;
        let sid = format!("CB{round}");
        offhook.client.accepts(&callback(&sid)).await;
        keys.push(format!("{sid}-busy"));
        offhook.kill();
        left = old(&testbed).await;
        assert!(left > 0, "it is done too soon");
    }
    let offhook = testbed.start();
    until("all that is old is gone", async || (old(&testbed).await == 0).then_some(())).await;
    assert_eq!(testbed.contents_with(&keys).await.keys(), keys);
    assert_eq!(offhook.client.metric(EVENTS).await, left as f64);
}

async fn without_a_retention_everything_is_kept(testbed: Testbed) {
    let offhook = testbed.start();
    offhook.client.accepts(&callback("CA1")).await;
    testbed.contents_of(1).await;
    drop(offhook);
    testbed.execute("UPDATE events SET stored_at = '0001-01-01T00:00:00.000000Z'").await;
    let offhook = testbed.start();
    offhook.client.accepts(&callback("CA2")).await;
    testbed.contents_of(2).await;
    assert_eq!(offhook.client.metric(EVENTS).await, 0.0);
}

#[tokio::test]
async fn dead_letters_go_by_their_age_and_no_other_entry_does() {
    needs!(Redis);
    let redis = Redis::start();
    let names = Names { stream: "offhook:events".to_owned(), group: "offhook".to_owned() };
    let add = |key: &str, at: i64| {
        let mut add = ::redis::cmd("XADD");
        add.arg(key).arg(format!("{at}-0")).arg("key").arg("x".repeat(200));
        redis.query::<String>(&add);
    };
    (1..=3000).for_each(|at| add(&names.dead(), at));
    add(&names.stream, 1);
    let connector = Connector::new(&redis.url()).expect("a good URL");
    let (mut one, mut other) =
        (Retention::new(&connector, &names), Retention::new(&connector, &names));
    let cutoff = offhook::clock::Timestamp::from_micros(2_500_000);
    let (a, b) = tokio::join!(all(&mut one, cutoff), all(&mut other, cutoff));
    assert_eq!(a.iter().chain(&b).sum::<u64>(), 2499);
    assert!(a.iter().chain(&b).all(|step| *step <= 1000), "{a:?} {b:?}");
    let oldest = offhook::clock::Timestamp::from_micros(2_500_000);
    assert_eq!(one.oldest().await, Ok(Some(oldest)));
    remembers(one, other).await;
    assert_eq!(redis.query::<u64>(::redis::cmd("XLEN").arg(&names.stream)), 1);
    assert_eq!(redis.query::<u64>(::redis::cmd("XLEN").arg(names.dead())), 501);
}

/// What one is told of the clocks, the next one knows.
pub(super) async fn remembers(mut one: impl Expire, mut next: impl Expire) {
    for until in [None, Some(day(3)), Some(day(1)), None] {
        one.trust(until).await.expect("it can be kept");
        assert_eq!(next.outlook().await.expect("it can be read").trusted, until);
    }
}

#[tokio::test]
async fn of_a_spool_only_what_is_kept_aside_grows_old() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let bounds = Bounds { max_bytes: 1 << 20, min_free_bytes: 0 };
    let spool = LocalLog::open(directory.path(), bounds).await.expect("nobody else has it");
    let mut events = (0..10).map(|n| call(&format!("CA{n}"), "busy", day(-9000))).collect();
    let batch = Batch::take_from(&mut events).expect("ten");
    spool.commit(&batch).await.expect("there is room");
    let mut drainer = spool.reader(Release::AtOnce);
    let deliveries = drainer.read(4).await.expect("the disk works");
    for delivery in &deliveries {
        drainer.dead_letter(&delivery.id, 1, "no event").await.expect("the disk works");
    }
    let mut aging = local_log::Retention::new(&spool);
    let now = Clock::System.now();
    let hour = std::time::Duration::from_secs(3600);
    assert!(now.since(aging.oldest().await.expect("the disk works").expect("four")) < hour);
    assert_eq!(aging.step(now.before(hour)).await, Ok(Step::Done(0)));
    let later = offhook::clock::Timestamp::from_micros(now.micros() + 3_600_000_000);
    assert_eq!(aging.step(later).await, Ok(Step::Done(4)));
    assert_eq!(aging.oldest().await, Ok(None));
    remembers(aging, local_log::Retention::new(&spool)).await;
    assert_eq!(spool.fill().events, 6);
    assert_eq!(drainer.read(100).await.expect("the disk works").len(), 6);
}

/// Of one file, the pages that it has, and the bytes of its WAL.
async fn size(place: &SqlitePlace) -> (i64, u64) {
    use sqlx::Connection as _;
    let path = place.directory.path().join("offhook.db");
    let url = format!("sqlite:{}", path.display());
    let mut connection = sqlx::SqliteConnection::connect(&url).await.expect("it is there");
    let pages = sqlx::query_scalar("PRAGMA page_count").fetch_one(&mut connection).await;
    let wal = std::fs::metadata(path.with_extension("db-wal")).map_or(0, |file| file.len());
    (pages.expect("it can be read"), wal)
}

#[tokio::test]
async fn the_embedded_file_uses_again_what_was_freed() {
    let place = SqlitePlace::start().await;
    let sink = place.sink().await;
    let mut sizes = Vec::new();
    for round in 0..4 {
        let events = (0..4000).map(|n| {
            let event = call(&format!("CA{round}{n:04}"), "busy", day(round));
            offhook::event::Event { body: vec![b'x'; 2000].into(), ..event }
        });
        store(&sink, events).await;
        all(&mut place.events(), day(round + 1)).await;
        all(&mut place.statuses(), day(round + 1)).await;
        sizes.push(size(&place).await);
    }
    let (first, last) = (sizes[0].0, sizes[3].0);
    assert!(last <= first + first / 10, "the file grows: {sizes:?}");
    // SQLite starts the WAL anew after 128 MiB, and a step more than that.
    assert!(sizes.iter().all(|(_, wal)| *wal < 160 << 20), "the WAL grows: {sizes:?}");
}

#[test]
fn a_status_that_goes_before_its_events_stops_the_start() {
    let testbed = Testbed::embedded();
    let settings = testbed.role(Role::All);
    let settings = settings.set("OFFHOOK_RETENTION__EVENTS_DAYS", "30");
    let (ended, said) = Spawned::fails(&settings.set("OFFHOOK_RETENTION__STATUSES_DAYS", "7"));
    assert!(!ended.success());
    assert!(said.contains("retention.statuses_days") && said.contains("30 days"), "{said}");
}
