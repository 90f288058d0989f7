//! The doors of the change feed: each hands out every change once, in the order of commits, and says so if it cannot.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use offhook::backend::postgres::Listen;
use offhook::config::Role;
use reqwest::StatusCode;
use serde_json::Value;
use sqlx::Row as _;

use crate::harness::{
    ACCOUNT, Callback, Client, Offhook, Settings, Testbed, both_modes, run, until,
};
use crate::services::{Durability, PgBouncer, needs};

both_modes! {
    every_door_hands_out_every_change_once_in_order_over_a_restart,
    a_cursor_from_which_something_is_missing_is_gone,
    a_stream_ends_when_what_follows_is_cut,
    the_command_prints_the_feed_and_follows_it,
}

/// Ids of changes, and the cursor behind the last.
#[derive(Clone, Default, Debug)]
struct Read {
    ids: Vec<i64>,
    cursor: String,
}

impl Read {
    /// By long polls, until this many were read.
    async fn poll(mut self, client: Client, wanted: usize) -> Self {
        while self.ids.len() < wanted {
            let path = format!("/api/changes?after={}&limit=7&wait=5", self.cursor);
            let (status, page) = client.json(&path).await;
            assert_eq!(status, StatusCode::OK, "{page}");
            let changes = page["changes"].as_array().expect("a list").iter();
            self.ids.extend(changes.map(|change| change["id"].as_i64().expect("a number")));
            self.cursor = page["next"].as_str().expect("a cursor").to_owned();
        }
        self
    }

    /// As server-sent events.
    async fn watch(mut self, client: Client, wanted: usize) -> Self {
        let path = format!("/api/changes/events?after={}", self.cursor);
        let mut answer = client.admin(&path).await;
        assert_eq!(answer.status(), StatusCode::OK);
        let mut unread = String::new();
        while self.ids.len() < wanted {
            let chunk = answer.chunk().await.expect("it goes on").expect("it goes on");
            unread.push_str(&String::from_utf8_lossy(&chunk));
            while let Some((frame, rest)) = unread.split_once("\n\n") {
                let field = |name: &str| frame.lines().find_map(|line| line.strip_prefix(name));
                if let (Some(cursor), Some(data)) = (field("id: "), field("data: ")) {
                    let change: Value = serde_json::from_str(data).expect("JSON");
                    assert_eq!(change["cursor"], cursor);
                    self.ids.push(change["id"].as_i64().expect("a number"));
                    self.cursor = cursor.to_owned();
                }
                unread = rest.to_owned();
            }
        }
        self
    }

    /// By SQL, as another program's connection; by the function, or by bare ids.
    async fn query(mut self, testbed: &Testbed, by_function: bool, wanted: usize) -> Self {
        let crate::harness::Services::ScaleOut { postgres, .. } = &testbed.services else {
            return self;
        };
        let mut connection = postgres.connection().await;
        while self.ids.len() < wanted {
            let last = self.ids.last().copied().unwrap_or_default();
            let rows = match by_function {
                true => sqlx::query("SELECT id, cursor FROM offhook_changes(nullif($1, ''), 7)")
                    .bind(&self.cursor)
                    .fetch_all(&mut connection),
                false => sqlx::query(
                    "SELECT id, id::text AS cursor FROM changes WHERE id > $1 ORDER BY id LIMIT 7",
                )
                .bind(last)
                .fetch_all(&mut connection),
            };
            for row in rows.await.expect("it can be read") {
                self.ids.push(row.get("id"));
                self.cursor = row.get("cursor");
            }
        }
        self
    }
}

/// Sends calls from several tasks at a time.
async fn send(client: &Client, numbers: std::ops::Range<usize>) {
    let next = Arc::new(AtomicUsize::new(numbers.start));
    let senders = [(); 8].map(|()| async {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= numbers.end {
                return;
            }
            client.accepts(&Callback::call(number).0).await;
        }
    });
    futures_util::future::join_all(senders).await;
}

/// Those that store, each with an admin listener of its own: one, or several and a receiver.
fn start(testbed: &Testbed) -> (Offhook, Vec<Offhook>) {
    match testbed.services {
        crate::harness::Services::ScaleOut { .. } => (
            Offhook::start(&testbed.role(Role::Receiver)),
            (0..3).map(|_| Offhook::start(&testbed.role(Role::Worker))).collect(),
        ),
        _ => (testbed.start(), Vec::new()),
    }
}

async fn every_door_hands_out_every_change_once_in_order_over_a_restart(testbed: Testbed) {
    const HALF: usize = 120;
    let (mut polled, mut watched) = (Read::default(), Read::default());
    let (mut called, mut bare) = (Read::default(), Read::default());
    for half in 1..=2 {
        let (receiver, workers) = start(&testbed);
        let ready = workers.first().unwrap_or(&receiver);
        until("there are tables", async || {
            let (status, _) = ready.client.json("/api/changes?limit=1").await;
            (status == StatusCode::OK).then_some(())
        })
        .await;
        let wanted = half * HALF;
        // One asks a process that stores, the other one that only receives, if there is one.
        let (poll, watch) = (ready.client.clone(), receiver.client.clone());
        let sql = matches!(testbed.services, crate::harness::Services::ScaleOut { .. });
        let wanted_of_sql = if sql { wanted } else { 0 };
        let sent = send(&receiver.client, (half - 1) * HALF..wanted);
        let reads = async {
            tokio::join!(
                polled.poll(poll, wanted),
                watched.watch(watch, wanted),
                called.query(&testbed, true, wanted_of_sql),
                bare.query(&testbed, false, wanted_of_sql),
            )
        };
        let ((), read) = tokio::join!(sent, reads);
        (polled, watched, called, bare) = read;
        Offhook::stop_all(workers.into_iter().chain([receiver]));
    }
    let ids = testbed.column("SELECT CAST(id AS TEXT) FROM changes ORDER BY changes.id").await;
    let ids: Vec<i64> = ids.iter().map(|id| id.parse().expect("a number")).collect();
    assert_eq!(ids.len(), 2 * HALF);
    assert_eq!(polled.ids, ids);
    assert_eq!(watched.ids, ids);
    if matches!(testbed.services, crate::harness::Services::ScaleOut { .. }) {
        assert_eq!(called.ids, ids);
        assert_eq!(bare.ids, ids);
    }
}

/// A server with some changes, and their cursors.
async fn with_changes(testbed: &Testbed) -> (Offhook, Vec<String>) {
    let offhook = testbed.start();
    let keys = offhook.client.accepts_calls(0..5).await;
    testbed.contents_with(&keys).await;
    let (_, page) = offhook.client.json("/api/changes").await;
    let changes = page["changes"].as_array().expect("a list").iter();
    let cursors = changes.map(|change| change["cursor"].as_str().expect("text").to_owned());
    let cursors: Vec<String> = cursors.collect();
    assert_eq!(cursors.len(), 5, "{page}");
    (offhook, cursors)
}

/// Both routes say why a cursor is gone.
async fn is_gone(client: &Client, cursor: &str, reason: &str) {
    for path in ["/api/changes", "/api/changes/events"] {
        let (status, problem) = client.json(&format!("{path}?after={cursor}")).await;
        assert_eq!((status, &problem["reason"]), (StatusCode::GONE, &reason.into()), "{problem}");
        assert!(problem["detail"].as_str().expect("text").contains("after=now"), "{problem}");
    }
}

async fn a_cursor_from_which_something_is_missing_is_gone(testbed: Testbed) {
    let (offhook, cursors) = with_changes(&testbed).await;
    let client = &offhook.client;
    let (feed, last) = cursors[4].split_once('.').expect("a cursor");
    let last: i64 = last.parse().expect("a number");
    is_gone(client, &format!("{feed}.{}", last + 1), "beyond_the_end").await;
    is_gone(client, &format!("abcdef.{last}"), "other_feed").await;
    // As retention does it.
    let cut = "UPDATE feed SET cut = (SELECT id FROM changes ORDER BY id LIMIT 1 OFFSET 1)";
    testbed.execute(cut).await;
    testbed.execute("DELETE FROM changes WHERE id <= (SELECT cut FROM feed)").await;
    is_gone(client, &cursors[0], "cut").await;
    for (after, left) in [("", 3), (&*cursors[1], 3), (&*cursors[2], 2), (&*cursors[4], 0)] {
        let (status, page) = client.json(&format!("/api/changes?after={after}")).await;
        let count = page["changes"].as_array().map(Vec::len);
        assert_eq!((status, count), (StatusCode::OK, Some(left)), "{after}: {page}");
    }
    // Who begins anew goes on.
    let (_, page) = client.json("/api/changes?after=now").await;
    assert_eq!(page["next"], cursors[4]);
}

async fn a_stream_ends_when_what_follows_is_cut(testbed: Testbed) {
    let (offhook, cursors) = with_changes(&testbed).await;
    let path = format!("/api/changes/events?after={}", cursors[4]);
    let stream = offhook.client.admin(&path).await;
    // As if much had been stored, and cut, while it did not read.
    testbed.execute("UPDATE feed SET cut = cut + 1000").await;
    let seen = stream.text().await.expect("it ends well");
    let last = seen.lines().filter_map(|line| line.strip_prefix("id: ")).next_back();
    is_gone(&offhook.client, last.expect("the id that it began with"), "cut").await;
}

async fn the_command_prints_the_feed_and_follows_it(testbed: Testbed) {
    use std::io::{BufRead as _, BufReader};

    use crate::harness::program;
    use crate::services::{Process, Signal};

    let (offhook, cursors) = with_changes(&testbed).await;
    let url = format!("http://{}", offhook.client.admin_address());
    let nothing = Settings::none();
    let printed = run(&nothing, &["changes", "--admin", &url]).well();
    let lines: Vec<Value> =
        printed.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert!(lines.iter().map(|change| &change["cursor"]).eq(&cursors), "{printed}");
    let after = run(&nothing, &["changes", "--after", &cursors[3], "--admin", &url]).well();
    assert_eq!(after.lines().count(), 1, "{after}");
    let gone = run(&nothing, &["changes", "--after", "abcdef.1", "--admin", &url]).badly();
    assert!(gone.contains("another feed"), "{gone}");

    let arguments = ["changes", "--after", &cursors[4], "--follow", "--admin", &url];
    let mut follow = program(&nothing, &arguments);
    let mut follow = Process::spawn(&mut follow, Signal::Kill).expect("the program is built");
    let lines = BufReader::new(follow.child().stdout.take().expect("it is piped")).lines();
    let (_, key) = Callback::call(30);
    offhook.client.accepts_calls(30..31).await;
    let line = lines.map(|line| line.expect("text")).next().expect("a line");
    let change: Value = serde_json::from_str(&line).expect("JSON");
    assert_eq!(change["key"], key);
}

#[tokio::test]
async fn a_token_that_may_only_look_reads_the_feed() {
    let testbed = Testbed::embedded();
    let settings = testbed.role(Role::All).set("OFFHOOK_ADMIN__TOKEN", "change");
    let offhook = Offhook::start(&settings.set("OFFHOOK_ADMIN__READ_TOKEN", "look"));
    for path in ["/api/changes", "/api/changes/events"] {
        let status = async |token| offhook.client.admin_as(path, token).await.status().as_u16();
        assert_eq!([status(None).await, status(Some("look")).await], [401, 200], "{path}");
    }
}

#[tokio::test]
async fn a_restored_backup_is_behind_the_cursors_of_its_readers() {
    needs!(Redis, Postgres);
    let mut testbed = Testbed::scale_out(Durability::Unsynced);
    let (offhook, cursors) = with_changes(&testbed).await;
    drop(offhook);
    testbed.execute("CREATE DATABASE backup TEMPLATE postgres").await;
    let offhook = testbed.start();
    let keys = offhook.client.accepts_calls(10..15).await;
    testbed.contents_with(&keys).await;
    let (_, page) = offhook.client.json("/api/changes?after=now").await;
    let end = page["next"].as_str().expect("a cursor").to_owned();
    drop(offhook);
    let url = testbed.postgres().url().replace("/postgres", "/backup");
    let offhook = Offhook::start(&testbed.settings.clone().set("DATABASE_URL", url));
    is_gone(&offhook.client, &end, "beyond_the_end").await;
    let (_, page) = offhook.client.json(&format!("/api/changes?after={}", cursors[3])).await;
    assert_eq!(page["changes"][0]["cursor"], cursors[4], "what the backup has is there");
}

const LISTENING: &str = "offhook_feed_listening";
const FAILURES: &str = "offhook_feed_listen_failures_total";

async fn listens(client: &Client) {
    until("it listens", async || (client.metric(LISTENING).await == 1.0).then_some(())).await;
}

/// A worker stores, and a receiver, which hears of it, hands it out.
#[tokio::test]
async fn changes_come_through_a_pooler_and_are_heard_of_beside_it() {
    needs!(Redis, Postgres, PgBouncer);
    let mut testbed = Testbed::scale_out(Durability::Unsynced);
    let pooler = PgBouncer::before(testbed.postgres(), "ignore_startup_parameters = options");
    let direct = testbed.postgres().url();
    testbed.settings = testbed.settings.clone().set("DATABASE_URL", pooler.url());
    let _worker = Offhook::start(&testbed.role(Role::Worker));
    let receiver = testbed.role(Role::Receiver);
    let polls = Offhook::start(&receiver);
    let at = |url: String| receiver.clone().set("OFFHOOK_STORE__LISTEN_URL", url);
    let listening = Offhook::start(&at(direct.clone()));
    // Nothing is heard there, and it is asked all the same.
    let misled = Offhook::start(&at(pooler.url()));
    let all = [&polls, &listening, &misled];
    for offhook in all {
        until("there are tables", async || {
            let (status, _) = offhook.client.json("/api/changes?limit=1").await;
            (status == StatusCode::OK).then_some(())
        })
        .await;
    }
    listens(&listening.client).await;
    let reads = all.map(|offhook| Read::default().poll(offhook.client.clone(), 60));
    let (reads, ()) =
        tokio::join!(futures_util::future::join_all(reads), send(&polls.client, 0..60));
    assert!(reads.iter().all(|read| read.ids == reads[0].ids), "{reads:?}");
    until("a pooler is refused", async || {
        (misled.client.metric(FAILURES).await > 0.0).then_some(())
    })
    .await;
    assert_eq!(misled.client.metric(LISTENING).await, 0.0);
    for (url, found) in [
        (direct, "is notified of changes at once"),
        (pooler.url(), "cannot be notified of changes"),
    ] {
        let doctor = ["doctor", "--role", "receiver", "--no-callback"];
        let said = run(&at(url), &doctor).out;
        assert!(said.contains(found), "{said}");
    }
    assert_eq!(polls.client.metric(FAILURES).await, 0.0);

    // It is lost, and comes back; what was stored meanwhile is handed out.
    let mut postgres = testbed.postgres().connection().await;
    let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'";
    let reads = Read::default().poll(listening.client.clone(), 90);
    let sent = async {
        let killed = sqlx::query(kill).fetch_all(&mut postgres).await.expect("they are ours");
        assert_eq!(killed.len(), 1);
        send(&polls.client, 60..90).await;
    };
    let (read, ()) = tokio::join!(reads, sent);
    assert_eq!(read.ids.len(), 90);
    until("it is told", async || (listening.client.metric(FAILURES).await == 1.0).then_some(()))
        .await;
    listens(&listening.client).await;
}

/// A connection on which a commit is heard, and its end.
#[tokio::test]
async fn each_commit_is_heard_and_so_is_the_end_of_the_connection() {
    needs!(Redis, Postgres);
    let mut testbed = Testbed::scale_out(Durability::Unsynced);
    let offhook = testbed.start();
    let keys = offhook.client.accepts_calls(0..1).await;
    testbed.contents_with(&keys).await;
    let listen = Listen::new(&testbed.postgres().url()).expect("a URL");
    let mut listening = listen.begin().await.expect("it takes connections");
    for number in 1..4 {
        let (heard, _) =
            tokio::join!(listening.heard(), offhook.client.accepts_calls(number..number + 1));
        heard.expect("it is there");
    }
    drop(offhook);
    testbed.postgres().kill();
    // What came before that may be heard first.
    while listening.heard().await.is_ok() {}
    assert!(listen.begin().await.is_err());
}

#[test]
fn notifications_of_a_sqlite_store_are_refused_with_the_fix() {
    let url = format!("postgres://{ACCOUNT}@h/d");
    let settings = Testbed::embedded().settings.set("OFFHOOK_STORE__LISTEN_URL", url);
    let said = run(&settings, &["check"]).badly();
    assert!(said.contains("store.listen_url") && said.contains("remove it"), "{said}");
    assert!(!said.contains(ACCOUNT), "{said}");
}
