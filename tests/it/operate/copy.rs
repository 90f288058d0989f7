//! `offhook copy`: what an embedded store holds is in Postgres afterwards, row by row, whatever was killed and whatever
//! the target stored meanwhile.

use std::collections::{BTreeMap, BTreeSet};

use offhook::backend::StoredEvent;
use offhook::crash_points::CRASH_AT;
use offhook::event::CurrentStatus;
use offhook::twilio::details::EventDetails;
use serde_json::Value;
use sqlx::{Connection as _, Executor as _, SqliteConnection};

use super::upgrade;
use crate::harness::{
    ACCOUNT, Callback, Client, Contents, Ended, Offhook, Spawned, Testbed, fixture, run, until,
};
use crate::services::{Durability, needs};

/// Rows of each table that are not made by a callback: three pages, and part of one.
const BULK: usize = 1_700;

/// A call's callback, with parameters of the application's own.
fn call(sid: &str, status: &str) -> Callback {
    let body = format!(
        "CallSid={sid}&AccountSid={ACCOUNT}&CallStatus={status}&CallbackSource=call-progress-events&From=%2B15550100"
    );
    Callback::form(body).with_query("order_id=A-1&tenant=7")
}

/// A callback of an attempt to send something.
fn sent() -> Callback {
    Callback::form(format!("MessageSid=SM9&AccountSid={ACCOUNT}&MessageStatus=sent"))
        .with_query(&format!("offhook_attempt={ATTEMPT}"))
}

const ATTEMPT: &str = "000000000000000000000000000000aa";

/// An embedded deployment that has stopped, with callbacks of every kind, many rows, a dead letter, and an event that its
/// log holds and its file does not.
async fn source() -> Testbed {
    let source = Testbed::embedded();
    let offhook = source.start();
    for name in ["call.form", "message_failed.form", "recording.form", "unrecognised.form"] {
        offhook.client.accepts(&Callback::form(fixture(name))).await;
    }
    for (sid, status) in
        [("CA1", "ringing"), ("CA2", "completed"), ("CA3", "ringing"), ("CA4", "busy")]
    {
        offhook.client.accepts(&call(sid, status)).await;
    }
    offhook.client.accepts(&sent()).await;
    source.contents_of(9).await;
    source
        .execute(
            "CREATE TRIGGER mine BEFORE INSERT ON events WHEN NEW.sid = 'CA0bad' \
             BEGIN SELECT RAISE(ABORT, 'poison'); END",
        )
        .await;
    offhook.client.accepts(&call("CA0bad", "busy")).await;
    until("it is put aside", async || {
        let put_aside = offhook.client.metric("offhook_dead_letters_total").await;
        (put_aside == 1.0).then_some(())
    })
    .await;
    drop(offhook);
    source.execute("DROP TRIGGER mine").await;
    bulk(&source).await;
    leave_in_log(&source, &call("CA5", "in-progress")).await;
    source
}

/// As many calls that ring, stored a day apart from the others.
async fn bulk(source: &Testbed) {
    let columns = "kind, account, resource, status, rank, sequence, occurred_at, received_at, format, query, params, \
                   body, about_account, call_sid, fingerprint, method, route, idempotency_token, own";
    let sql = format!(
        "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {BULK}) \
         INSERT INTO events (key, sid, stored_at, {columns}) \
         SELECT printf('CB%05d-ringing', n), printf('CB%05d', n), printf('2026-11-%02dT08:00:00.%06dZ', 1 + n % 20, n), \
         {columns} FROM events, n WHERE key = 'CA1-ringing'"
    );
    execute(source, sql).await;
    let columns = "resource, account, status, final, \"from\", \"to\", direction, duration, error_code, terminals, \
                   first_seen, updated, position, error_position, own, own_order, stored_at";
    let sql = format!(
        "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {BULK}) \
         INSERT INTO statuses (sid, {columns}) SELECT printf('CB%05d', n), {columns} FROM statuses, n WHERE sid = 'CA1'"
    );
    execute(source, sql).await;
}

async fn execute(source: &Testbed, sql: String) {
    let url = format!("sqlite:{}", file(source));
    let mut connection = SqliteConnection::connect(&url).await.expect("it is there");
    connection.execute(sqlx::AssertSqlSafe(sql)).await.expect("a good statement");
}

/// A callback that was answered before the process was killed, and that its store had not taken.
async fn leave_in_log(source: &Testbed, callback: &Callback) {
    let offhook = Spawned::start(&source.settings);
    let url = format!("sqlite:{}", file(source));
    let mut other = SqliteConnection::connect(&url).await.expect("it is there");
    other.execute("BEGIN IMMEDIATE").await.expect("nothing is written now");
    offhook.client.accepts(callback).await;
    offhook.kill();
    other.execute("ROLLBACK").await.expect("nothing was written");
}

fn file(source: &Testbed) -> String {
    source.directory().join("offhook.db").display().to_string()
}

/// Copies, until the crash point if there is one.
fn copy(source: &Testbed, target: &Testbed, crash_at: Option<&str>) -> Ended {
    let mut settings = target.settings.clone();
    if let Some(at) = crash_at {
        settings = settings.set(CRASH_AT, at);
    }
    run(&settings, &["copy", "--from", &file(source), "--json"])
}

/// What a copy that ended well reports.
#[track_caller]
fn copied(source: &Testbed, target: &Testbed) -> Value {
    let printed = copy(source, target, None).well();
    serde_json::from_str(&printed).unwrap_or_else(|_| panic!("no JSON: {printed}"))
}

/// What the target must hold: each event of both sides once, and of each SID what they say together.
fn expected(source: &Contents, target: &Contents) -> BTreeMap<(String, String), CurrentStatus> {
    let own = target.events.iter().filter_map(|stored| EventDetails::of(&stored.event).current);
    let mut statuses = BTreeMap::new();
    for row in source.statuses.iter().cloned().chain(own) {
        let id = (row.sid.clone(), row.account.clone());
        let merged = match statuses.remove(&id) {
            Some(known) => row.merge(known),
            None => row,
        };
        statuses.insert(id, merged);
    }
    statuses
}

fn ids(contents: &Contents) -> BTreeSet<(String, String)> {
    let id = |stored: &StoredEvent| (stored.event.key.to_string(), stored.event.account.clone());
    contents.events.iter().map(id).collect()
}

/// Holds both sides against each other, row by row; `own`: keys of events that the target stored itself.
#[track_caller]
fn assert_copied(source: &Contents, target: &Contents, own: &[&str]) {
    let json = |text: &str| serde_json::from_str::<Value>(text).expect("JSON");
    let there: BTreeMap<_, _> =
        target.events.iter().map(|stored| (stored.event.key.to_string(), stored)).collect();
    for stored in &source.events {
        let key = stored.event.key.to_string();
        let copy = there.get(&key).unwrap_or_else(|| panic!("{key} is lost"));
        if !own.contains(&&*key) {
            assert_eq!(copy.event, stored.event);
            assert_eq!(json(&copy.params), json(&stored.params));
        }
        assert_eq!(copy.own, stored.own, "{key}");
    }
    let mut both = ids(source);
    both.extend(own.iter().map(|key| ((*key).to_owned(), ACCOUNT.to_owned())));
    assert_eq!(ids(target), both);
    assert_eq!(target.events.len(), both.len(), "each once");
    let expected: Vec<_> = expected(source, target).into_values().collect();
    assert_eq!(target.statuses, expected);
}

/// When each row was stored, by its name.
const STORED_AT: [&str; 2] = [
    "SELECT key || ' ' || stored_at FROM events ORDER BY 1",
    "SELECT key || ' ' || to_char(stored_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') FROM events \
     ORDER BY 1",
];

/// What comes to the target between two runs: of a SID that the source knows and of new ones, further along, late, and
/// again.
async fn callbacks_between(target: &Client, turn: usize) -> Vec<String> {
    let sent = [
        ("CA1", "completed"),
        ("CA2", "initiated"),
        // The source has it, and so does the target once both get it.
        ("CA3", "ringing"),
        ("CA6", "ringing"),
        ("CB00001", "in-progress"),
        ("CB01699", "failed"),
    ];
    let (sid, status) = sent[turn % sent.len()];
    target.accepts(&call(sid, status)).await;
    let (new, key) = Callback::call(1000 + turn);
    target.accepts(&new).await;
    vec![format!("{sid}-{status}"), key]
}

#[tokio::test]
async fn a_copy_that_is_killed_at_each_step_loses_and_doubles_nothing() {
    needs!(Postgres);
    let (source, target) = (source().await, Testbed::direct(Durability::Unsynced));
    let offhook = target.start();
    target.contents_with(&[]).await;
    let (mut own, mut crashes) = (Vec::new(), 0);
    loop {
        // Before a page is committed, which then is not there; and after it.
        let point = ["copying:1", "copied:1"][crashes % 2];
        let ended = copy(&source, &target, Some(point));
        if ended.code == Some(0) {
            break;
        }
        assert_eq!(ended.code, None, "it aborts: {ended:?}");
        own.extend(callbacks_between(&offhook.client, crashes).await);
        crashes += 1;
        assert!(crashes < 100, "it gets no further");
    }
    assert!(crashes >= 16, "pages of both tables, and what is between them: {crashes}");
    target.contents_with(&own).await;

    // What the source has is a duplicate from now on.
    offhook.client.accepts(&call("CA4", "busy")).await;
    offhook.client.accepts(&call("CA5", "completed")).await;
    own.push("CA5-completed".to_owned());
    target.contents_with(&own).await;
    let own: Vec<&str> = own.iter().map(String::as_str).collect();
    let (before, after) = (source.contents().await, target.contents().await);
    assert_eq!(before.events.len(), BULK + 10, "what waited in the log is stored");
    assert_copied(&before, &after, &own);
    for (sid, status) in [
        ("CA1", "completed"),
        ("CA2", "completed"),
        ("CB01699", "failed"),
        ("CB00001", "in-progress"),
    ] {
        assert_eq!(after.status(sid).position.status, status, "{sid}");
    }

    // Only what is new makes changes.
    let own: BTreeSet<&str> = own.into_iter().collect();
    let mut changes = target.column("SELECT key FROM changes ORDER BY id").await;
    changes.sort();
    assert_eq!(changes, own.iter().copied().collect::<Vec<_>>());

    // What a sender has to decide about is there once.
    let wakes = target.column("SELECT attempt || ' ' || sid || ' ' || account FROM wakes").await;
    assert_eq!(wakes, [format!("{ATTEMPT} SM9 {ACCOUNT}")]);

    // Rows keep their times.
    let [source_times, target_times] = STORED_AT;
    let times = source.column(source_times).await;
    let there: BTreeSet<String> = target.column(target_times).await.into_iter().collect();
    let copies =
        times.iter().filter(|row| !own.contains(row.split(' ').next().unwrap_or_default()));
    let changed: Vec<_> = copies.filter(|row| !there.contains(*row)).collect();
    assert!(changed.is_empty(), "{changed:?}");

    // A copy that is done changes nothing, and finds all of it.
    let report = copied(&source, &target);
    assert_eq!(
        (&report["whole"], &report["events"]["rows"]),
        (&true.into(), &(BULK + 10).into()),
        "{report}"
    );
    let reread = target.contents().await;
    assert_eq!(reread.events.len(), after.events.len());
    assert_eq!(reread.statuses, after.statuses);
}

#[tokio::test]
async fn what_waits_and_dead_letters_come_along_and_what_does_not_is_said() {
    needs!(Postgres);
    let (source, target) = (source().await, Testbed::direct(Durability::Unsynced));
    execute(
        &source,
        "INSERT INTO retention VALUES ('events', '2026-11-20T08:00:00.000000Z')".to_owned(),
    )
    .await;
    execute(
        &source,
        "INSERT INTO forwards (name, feed, cursor) SELECT 'app', id, 5 FROM feed".to_owned(),
    )
    .await;
    run(&target.settings, &["migrate"]).well();
    let printed =
        run(&target.settings, &["copy", "--from", &format!("sqlite:{}", file(&source))]).well();
    for part in [
        "1 event waited",
        "1710 events copied",
        "1 dead letter copied to",
        "aside",
        "the target has all of them",
        "The change feed is not copied",
        "forwarded everything to `app`",
        "5 changes not tried yet",
    ] {
        assert!(printed.contains(part), "`{part}` is not in: {printed}");
    }
    assert!(!printed.contains("15550100"), "a number: {printed}");
    assert_copied(&source.contents().await, &target.contents().await, &[]);
    assert_eq!(
        target.column("SELECT own ->> 'tenant' FROM events WHERE key = 'CA5-in-progress'").await,
        ["7"]
    );
    let trusted = target
        .column("SELECT place || ' ' || (trusted AT TIME ZONE 'UTC')::text FROM retention")
        .await;
    assert_eq!(trusted, ["events 2026-11-20 08:00:00"]);

    // The dead letter can be replayed where it is now.
    let listed = run(&target.settings, &["dead-letters", "list"]).well();
    assert!(listed.contains("CA0bad-busy") && listed.contains("raised an error"), "{listed}");
    run(&target.settings, &["dead-letters", "replay", "--all"]).well();
    let _offhook = target.start();
    let keys = vec!["CA0bad-busy".to_owned()];
    assert_eq!(target.contents_with(&keys).await.status("CA0bad").position.status, "busy");

    // A copy that is done does not bring it back.
    copied(&source, &target);
    assert!(run(&target.settings, &["dead-letters", "list"]).well().contains("0 of 0"));
}

#[tokio::test]
async fn a_source_that_ran_again_is_copied_again_and_only_what_is_new_is_added() {
    needs!(Postgres);
    let (source, target) = (source().await, Testbed::direct(Durability::Unsynced));
    run(&target.settings, &["migrate"]).well();
    copied(&source, &target);
    let offhook = source.start();
    offhook.client.accepts(&call("CA1", "completed")).await;
    source.contents_of(BULK + 10).await;
    drop(offhook);

    // It is missing until then.
    let verify = ["copy", "--from", &file(&source), "--verify"];
    let ended = run(&target.settings, &verify);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.out.contains("1 missing in the target, 0 different"), "{ended:?}");
    for part in ["CA1-completed is missing", "CA1 differs", "the target does not have all of it"] {
        assert!(ended.error.contains(part), "{ended:?}");
    }
    let report = copied(&source, &target);
    assert_eq!(report["copied"]["events"], 1, "{report}");
    assert_eq!(report["copied"]["duplicates"], BULK + 10, "{report}");
    assert_copied(&source.contents().await, &target.contents().await, &[]);
    run(&target.settings, &verify).well();

    // What the target no longer keeps is no fault.
    target.execute("DELETE FROM events WHERE stored_at < '2026-11-20'").await;
    run(&target.settings, &verify).badly();
    let settings = target.settings.clone().set("OFFHOOK_RETENTION__EVENTS_DAYS", "1");
    let printed = run(&settings, &verify);
    assert!(printed.out.contains("its [retention] has deleted"), "{printed:?}");
}

#[tokio::test]
async fn a_source_of_an_earlier_version_is_migrated_first() {
    needs!(Postgres);
    let (source, target) = (Testbed::embedded(), Testbed::direct(Durability::Unsynced));
    upgrade::fill(&source).await;
    run(&target.settings, &["migrate"]).well();
    let said = copy(&source, &target, None).badly();
    assert!(said.contains("offhook.db-log") && said.contains("--log"), "{said}");
    std::fs::create_dir(source.directory().join("offhook.db-log")).expect("it is ours");
    copied(&source, &target);
    let (before, after) = (source.contents().await, target.contents().await);
    assert_eq!(ids(&before), ids(&after));
    // An address that no index of Postgres has room for is cut there.
    let from = after.status("SM2").from.as_deref().expect("it has one");
    assert_eq!(from.chars().count(), 256);
    assert_eq!(before.status("SM1"), after.status("SM1"));
}

#[tokio::test]
async fn a_target_that_refuses_an_event_gets_the_others_and_the_copy_says_so() {
    needs!(Postgres);
    let (source, target) = (source().await, Testbed::direct(Durability::Unsynced));
    run(&target.settings, &["migrate"]).well();
    target.execute("ALTER TABLE events ADD CONSTRAINT poison CHECK (sid <> 'CB00777')").await;
    let ended = copy(&source, &target, None);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    for part in ["refused: CB00777-ringing", "poison", "CB00777-ringing is missing"] {
        assert!(ended.error.contains(part), "{ended:?}");
    }
    assert_eq!(target.contents().await.events.len(), BULK + 9);
}

#[tokio::test]
async fn what_cannot_be_copied_is_refused_by_name() {
    needs!(Postgres);
    let (source, target) = (Testbed::embedded(), Testbed::direct(Durability::Unsynced));
    let said = copy(&source, &target, None).badly();
    assert!(said.contains("migrations: run `offhook migrate`"), "{said}");
    run(&target.settings, &["migrate"]).well();
    let said = copy(&source, &target, None).badly();
    assert!(said.contains("offhook.db does not exist"), "{said}");
    assert!(!source.directory().join("offhook.db").exists(), "it makes no file");

    let running = Offhook::start(&source.settings);
    let said = copy(&source, &target, None).badly();
    assert!(said.contains("offhook.db is in use by another offhook process"), "{said}");
    drop(running);
    copied(&source, &target);

    let log = format!("{}-log", file(&source));
    let same = target.settings.clone().set("OFFHOOK_SPOOL__DIRECTORY", &log);
    let said = run(&same, &["copy", "--from", &file(&source)]).badly();
    assert!(said.contains("spool.directory is the log of the source"), "{said}");

    let said = run(&source.settings, &["copy", "--from", &file(&source)]).badly();
    assert!(said.contains("store.url names a SQLite file"), "{said}");
    target.execute("INSERT INTO _sqlx_migrations SELECT 999, description, now(), success, checksum, 0 FROM _sqlx_migrations LIMIT 1").await;
    let said = copy(&source, &target, None).badly();
    assert!(said.contains("a later version created its tables"), "{said}");
}
