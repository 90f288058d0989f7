//! Tables, a stream and its entries as the version before left them are taken along.

use offhook::event::Kind;
use redis::cmd;
use sqlx::migrate::Migrator;
use sqlx::{Connection as _, Executor as _, PgConnection, SqliteConnection};

use crate::harness::{ACCOUNT, Callback, Mode, Services, Spawned, Testbed, every_mode, until};
use crate::services::{Durability, needs};

every_mode! {
    tables_of_the_version_before_are_taken_along,
    what_was_cancelled_on_its_way_stays_cancelled,
}

/// The migrations that the version before had.
const BEFORE: [&str; 4] =
    ["0001_events_and_statuses", "0002_open_calls", "0003_search", "0004_privacy"];

/// A directory of these migrations alone.
async fn migrations(database: &str) -> Migrator {
    let directory = tempfile::tempdir().expect("a temporary directory");
    for name in BEFORE {
        let from = format!("{}/migrations/{database}/{name}.sql", env!("CARGO_MANIFEST_DIR"));
        std::fs::copy(from, directory.path().join(format!("{name}.sql"))).expect("it is there");
    }
    Migrator::new(directory.path()).await.expect("they are migrations")
}

/// Longer than an entry of an index can be, however it is compressed.
fn long_address() -> String {
    let hash = |n: u64| format!("{:08x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32);
    format!("sip:{}", (1..500).map(hash).collect::<String>())
}

/// Rows as the version before wrote them: a call, its recording, and a message that failed.
fn rows(time: &str, json: &str, blob: impl Fn(&str) -> String) -> Vec<String> {
    let event = |key: &str, kind: &str, sid: &str, status: &str, params: &str| {
        format!(
            "INSERT INTO events (key, kind, account, sid, resource, status, rank, sequence, occurred_at, \
             received_at, format, query, params, body) VALUES ('{key}', '{kind}', '{ACCOUNT}', '{sid}', \
             '{kind}', '{status}', 80, NULL, NULL, {time}'2026-11-20T08:00:00.000000Z', 'form', '', \
             '{params}'{json}, {})",
            blob("a=1")
        )
    };
    let status_from = |sid: &str, resource: &str, status: &str, code: &str, from: &str| {
        // Rank 80, no sequence, no time.
        let position = format!("\u{50}{}{status}", "\u{0}".repeat(18));
        let error = if code.is_empty() { "NULL".to_owned() } else { format!("'{code}'") };
        let error_position = if code.is_empty() { "NULL".to_owned() } else { blob(&position) };
        format!(
            "INSERT INTO statuses (sid, resource, account, status, final, \"from\", \"to\", duration, \
             error_code, terminals, first_seen, updated, position, error_position) VALUES ('{sid}', \
             '{resource}', '{ACCOUNT}', '{status}', TRUE, '{from}', '+2', 7, {error}, 1, \
             {time}'2026-11-20T08:00:00.000000Z', {time}'2026-11-20T08:00:00.000000Z', {}, \
             {error_position})",
            blob(&position)
        )
    };
    let status = |sid: &str, resource: &str, status: &str, code: &str| {
        status_from(sid, resource, status, code, "+1")
    };
    let long = long_address();
    vec![
        event("CA1-completed", "call", "CA1", "completed", r#"{"CallSid":"CA1"}"#),
        event("RE1-completed", "recording", "RE1", "completed", r#"{"CallSid":"CA1"}"#),
        event("SM1-undelivered", "message", "SM1", "undelivered", r#"{"CallSid":["CA1","CA2"]}"#),
        status("CA1", "call", "completed", ""),
        status("RE1", "recording", "completed", ""),
        status("SM1", "message", "undelivered", "30008"),
        status_from("SM2", "message", "delivered", "", &long),
    ]
}

pub(super) async fn fill(testbed: &Testbed) {
    match &testbed.services {
        Services::Embedded(directory) => {
            let url = format!("sqlite:{}?mode=rwc", directory.path().join("offhook.db").display());
            let mut connection = SqliteConnection::connect(&url).await.expect("a new file");
            migrations("sqlite").await.run(&mut connection).await.expect("they run");
            let blob = |text: &str| {
                let hex: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
                format!("x'{hex}'")
            };
            for row in rows("", "", blob) {
                let row = sqlx::AssertSqlSafe(row);
                sqlx::query(row).execute(&mut connection).await.expect("a good row");
            }
        }
        Services::Direct { postgres, .. } | Services::ScaleOut { postgres, .. } => {
            let mut connection = PgConnection::connect(&postgres.url()).await.expect("it runs");
            migrations("postgres").await.run(&mut connection).await.expect("they run");
            let blob = |text: &str| {
                let hex: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
                format!("'\\x{hex}'::bytea")
            };
            for row in rows("timestamptz ", "::jsonb", blob) {
                let row = sqlx::AssertSqlSafe(row);
                sqlx::query(row).execute(&mut connection).await.expect("a good row");
            }
        }
    }
}

async fn tables_of_the_version_before_are_taken_along(mut testbed: Testbed) {
    fill(&testbed).await;
    let has_stream = matches!(testbed.services, Services::ScaleOut { .. });
    if has_stream {
        let body = format!("AccountSid={ACCOUNT}&CallSid=CA3&CallStatus=busy");
        let entry = [
            ("key", "CA3-busy"),
            ("kind", "call"),
            ("account", ACCOUNT),
            ("sid", "CA3"),
            ("resource", "call"),
            ("status", "busy"),
            ("sequence", ""),
            ("occurred_at", ""),
            ("received_at", "1764000000000000"),
            ("format", "form"),
            ("query", ""),
            ("body", &body),
        ];
        let mut add = cmd("XADD");
        add.arg("offhook:events").arg("*");
        for (name, value) in entry {
            add.arg(name).arg(value);
        }
        let _: String = testbed.redis().query(&add);
    }
    let offhook = testbed.start();
    let before = if has_stream { 4 } else { 3 };
    let contents = testbed.contents_of(before).await;
    assert!(contents.events.iter().all(|stored| stored.event.fingerprint.is_none()));
    assert!(contents.events.iter().all(|stored| stored.event.request.is_none()));
    assert_eq!(contents.status("SM1").error.as_ref().map(|error| &*error.code), Some("30008"));
    assert_eq!(contents.status("CA1").duration, Some(7));
    // Where an index has no room for it, an address is cut. It is found by all of it.
    if testbed.mode() != Mode::Embedded {
        let from = contents.status("SM2").from.as_deref().expect("it has one");
        assert_eq!(from.chars().count(), 256);
    }
    let target = format!("/api/statuses?q={}", long_address());
    let (_, found) = offhook.client.json(&target).await;
    assert_eq!(found["statuses"][0]["sid"], "SM2", "{found}");

    // The recording is on its call's timeline, and what names several calls is on none.
    let (_, timeline) = offhook.client.json("/api/timeline/CA1").await;
    let keys: Vec<_> =
        timeline["events"].as_array().expect("a list").iter().map(|event| &event["key"]).collect();
    assert_eq!(keys, ["CA1-completed", "RE1-completed"]);

    // What was stored comes again, and is a duplicate; its content is not compared.
    let call = |sid: &str, status: &str| {
        Callback::form(format!(
            "AccountSid={ACCOUNT}&CallSid={sid}&CallStatus={status}&CallbackSource=call-progress-events"
        ))
    };
    offhook.client.accepts(&call("CA1", "completed")).await;
    offhook.client.accepts(&call("CA2", "completed")).await;
    let contents = testbed.contents_of(before + 1).await;
    let calls = contents.events.iter().filter(|stored| stored.event.kind == Kind::Call);
    assert_eq!(calls.filter(|stored| stored.event.sid.as_deref() == Some("CA1")).count(), 1);
    assert_eq!(offhook.client.metric("offhook_differing_duplicates_total").await, 0.0);
}

/// Before, a cancellation of what was on its way was the reason why it is open.
async fn what_was_cancelled_on_its_way_stays_cancelled(testbed: Testbed) {
    let offhook = testbed.start();
    until("the tables are there", async || offhook.client.is_ready().await.then_some(())).await;
    drop(offhook);
    let asked = |id: &str, state: &str, reason: &str, settled: &str| {
        format!(
            "INSERT INTO notifications (id, created_at, token, request_hash, purpose, on_unknown, sender, account, \"to\", \
             to_hash, body, segments, deadline, state, reason, settled_at) VALUES ('{id}', '{TIME}', 't', 'h', 'alert', \
             'resend', 's', '{ACCOUNT}', '+1', 'h', 'b', 1, '{TIME}', '{state}', {reason}, {settled})"
        )
    };
    for statement in [
        "ALTER TABLE notifications DROP COLUMN cancelled_at".to_owned(),
        "DELETE FROM _sqlx_migrations WHERE version = 26".to_owned(),
        asked("ntf_1", "open", "'cancelled'", "NULL"),
        asked("ntf_2", "open", "NULL", "NULL"),
        asked("ntf_3", "cancelled", "'cancelled'", &format!("'{TIME}'")),
    ] {
        testbed.execute(statement.leak()).await;
    }
    let offhook = testbed.start();
    until("the tables are there", async || offhook.client.is_ready().await.then_some(())).await;
    let cancelled = "SELECT id FROM notifications WHERE cancelled_at IS NOT NULL";
    assert_eq!(testbed.column(cancelled).await, ["ntf_1"]);
}

const TIME: &str = "2026-11-20T08:00:00.000000Z";

/// A role with rights of its own on the tables of before must go on after an update, and an address that no longer fits
/// into its index must not stop it.
#[tokio::test]
async fn what_roles_were_granted_and_long_addresses_are_taken_along() {
    needs!(Postgres);
    let testbed = Testbed::direct(Durability::Unsynced);
    fill(&testbed).await;
    testbed.execute("CREATE ROLE stores LOGIN; CREATE ROLE reads LOGIN").await;
    testbed.execute("GRANT SELECT, INSERT, UPDATE ON events, statuses TO stores").await;
    testbed.execute("GRANT SELECT ON events, statuses TO reads").await;
    testbed
        .execute("UPDATE statuses SET \"to\" = 'sip:' || repeat('a', 6000) WHERE sid = 'SM1'")
        .await;
    let offhook = testbed.start();
    let contents = testbed.contents_of(3).await;
    let to = contents.status("SM1").to.clone().expect("it has one");
    assert_eq!(to.chars().count(), 256);
    let long = format!("sip:{}", "a".repeat(6000));
    let (_, found) = offhook.client.json(&format!("/api/statuses?q={long}")).await;
    assert_eq!(found["statuses"][0]["sid"], "SM1", "{found}");
    let rights = "SELECT role || ' ' || privilege || ' ' || relation FROM (VALUES \
         ('stores', 'INSERT', 'changes'), ('stores', 'UPDATE', 'feed'), ('stores', 'DELETE', 'forward_waiting'), \
         ('stores', 'INSERT', 'wakes'), ('stores', 'SELECT', 'attempt_sids'), ('reads', 'SELECT', 'wakes'), \
         ('reads', 'SELECT', 'changes'), ('reads', 'SELECT', 'forwards'), ('reads', 'INSERT', 'changes')) \
         AS wanted (role, privilege, relation) WHERE has_table_privilege(role, relation, privilege)";
    let rights = testbed.column(rights).await;
    assert_eq!(rights.len(), 8, "{rights:?}");
    assert!(!rights.contains(&"reads INSERT changes".to_owned()));
    let reads = "SET ROLE reads; SELECT count(*)::text FROM offhook_changes(); RESET ROLE";
    testbed.execute(reads).await;
}

/// A backup may read a table for hours. Only the update waits for it: callbacks are answered, and others read, too.
#[tokio::test]
async fn a_table_that_somebody_reads_for_long_holds_nobody_up_but_the_update() {
    const WAITS: &str = "the tables cannot be brought up to date while another session uses them";
    needs!(Postgres);
    let mut testbed = Testbed::direct(Durability::Unsynced);
    fill(&testbed).await;
    let mut backup = testbed.postgres().connection().await;
    let begin = "BEGIN; LOCK TABLE events IN ACCESS SHARE MODE";
    backup.execute(begin).await.expect("no other session holds a lock");
    let offhook = Spawned::start(&testbed.settings);
    let busy = format!(
        "AccountSid={ACCOUNT}&CallSid=CA3&CallStatus=busy&CallbackSource=call-progress-events"
    );
    offhook.client.accepts(&Callback::form(busy)).await;
    until("the update waits", async || offhook.log().contains(WAITS).then_some(())).await;
    // Behind an update that keeps its place in the queue, this would wait as long as the backup lasts.
    let mut reader = testbed.postgres().connection().await;
    reader.execute("SET statement_timeout = '20s'").await.expect("it is a setting");
    let events: i64 = sqlx::query_scalar("SELECT count(*) FROM events")
        .fetch_one(&mut reader)
        .await
        .expect("it reads beside the backup");
    assert_eq!(events, 3);
    backup.execute("COMMIT").await.expect("it ends");
    let contents = testbed.contents_of(4).await;
    assert!(contents.keys().contains(&"CA3-busy".to_owned()), "{:?}", contents.keys());
    assert_eq!(offhook.log().matches(WAITS).count(), 1);
}
