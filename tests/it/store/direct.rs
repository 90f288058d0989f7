//! The direct deployment: a local log and Postgres, and nothing else.

use offhook::config::Role;

use crate::harness::{ACCOUNT, Callback, Mode, Offhook, Spawned, Testbed, run, until};
use crate::services::{Durability, needs};

#[tokio::test]
async fn callbacks_are_taken_while_postgres_is_killed_stopped_or_locked_and_stored_after_it() {
    needs!(all Mode::Direct.needs());
    let mut testbed = Testbed::direct(Durability::Synced);
    let offhook = testbed.start();
    let mut keys = offhook.client.accepts_calls(0..5).await;
    testbed.contents_with(&keys).await;

    testbed.postgres().kill();
    keys.extend(offhook.client.accepts_calls(10..20).await);
    assert!(offhook.client.is_ready().await, "its log takes events");
    until("it is told how much waits", async || {
        (offhook.client.metric("offhook_stream_depth").await == 10.0).then_some(())
    })
    .await;
    testbed.postgres().restart();
    testbed.contents_with(&keys).await;

    testbed.postgres().pause();
    keys.extend(offhook.client.accepts_calls(20..30).await);
    testbed.postgres().go_on();
    testbed.contents_with(&keys).await;

    {
        use sqlx::Executor as _;
        let mut other = testbed.postgres().connection().await;
        other.execute("BEGIN; LOCK TABLE events IN ACCESS EXCLUSIVE MODE").await.expect("a lock");
        keys.extend(offhook.client.accepts_calls(30..40).await);
        other.execute("COMMIT").await.expect("it is given back");
    }
    testbed.contents_of(keys.len()).await;
    until("nothing waits", async || {
        (offhook.client.metric("offhook_stream_depth").await == 0.0).then_some(())
    })
    .await;
    assert!(offhook.client.metric("offhook_stored_lag_seconds_count").await >= 35.0);
}

#[tokio::test]
async fn what_a_killed_process_had_answered_is_stored_by_the_next() {
    needs!(all Mode::Direct.needs());
    let mut testbed = Testbed::direct(Durability::Synced);
    testbed.postgres().kill();
    let offhook = Spawned::start(&testbed.settings);
    let mut keys = Vec::new();
    for n in 0..20 {
        let (callback, key) = Callback::call(n);
        offhook.client.accepts(&callback).await;
        keys.push(key);
    }
    offhook.kill();
    testbed.postgres().restart();
    let _offhook = Spawned::start(&testbed.settings);
    testbed.contents_of(keys.len()).await;
}

/// What a user's own constraint refuses.
const REFUSING: &str = "ALTER TABLE events ADD CONSTRAINT mine CHECK (sid <> 'CA0bad')";

#[tokio::test]
async fn a_row_that_postgres_refuses_is_put_aside_alone_and_stored_once_that_is_mended() {
    needs!(all Mode::Direct.needs());
    put_aside(
        Testbed::direct(Durability::Unsynced),
        REFUSING,
        "ALTER TABLE events DROP CONSTRAINT mine",
    )
    .await;
}

#[tokio::test]
async fn a_row_that_sqlite_refuses_is_put_aside_alone_and_stored_once_that_is_mended() {
    let refusing = "CREATE TRIGGER mine BEFORE INSERT ON events WHEN NEW.sid = 'CA0bad' \
                    BEGIN SELECT RAISE(ABORT, 'not this one'); END";
    put_aside(Testbed::embedded(), refusing, "DROP TRIGGER mine").await;
}

async fn put_aside(testbed: Testbed, refuse: &'static str, mend: &'static str) {
    let offhook = testbed.start();
    let mut keys = offhook.client.accepts_calls(0..1).await;
    testbed.contents_with(&keys).await;
    testbed.execute(refuse).await;
    offhook.client.accepts(&Callback::form(format!("CallSid=CA0bad&CallStatus=busy&CallbackSource=call-progress-events&AccountSid={ACCOUNT}"))).await;
    keys.extend(offhook.client.accepts_calls(1..10).await);
    testbed.contents_with(&keys).await;
    let letters = until("it is put aside", async || {
        let (_, listed) = offhook.client.json("/api/dead-letters").await;
        let letters = listed["dead_letters"].as_array().expect("a list").clone();
        (letters.len() == 1).then_some(letters)
    })
    .await;
    assert_eq!(letters[0]["key"], "CA0bad-busy");
    assert_eq!(testbed.contents().await.events.len(), keys.len());
    until("it is told", async || {
        (offhook.client.metric("offhook_spool_dead_letters").await == 1.0).then_some(())
    })
    .await;
    // The command, beside the server that has the log.
    let listed = run(&testbed.settings, &["dead-letters", "list"]).well();
    assert!(listed.contains("CA0bad-busy") && listed.contains("1 of 1"), "{listed}");
    testbed.execute(mend).await;
    run(&testbed.settings, &["dead-letters", "replay", "--all"]).well();
    keys.push("CA0bad-busy".to_owned());
    testbed.contents_of(keys.len()).await;
}

#[test]
fn the_first_line_says_which_deployment_it_is_and_where_its_log_lies() {
    for testbed in [Some(Testbed::embedded()), direct()].into_iter().flatten() {
        let name = match testbed.mode() {
            Mode::Embedded => "embedded",
            _ => "direct",
        };
        let offhook = Spawned::start(&testbed.settings);
        let log = offhook.log();
        let first = log.lines().next().expect("a line");
        assert!(first.contains(name) && first.contains("offhook starts"), "{first}");
        assert!(first.contains(&testbed.directory().display().to_string()), "{first}");
        let said = run(&testbed.settings, &["check"]).well();
        assert!(said.contains(&format!("{name}: ")), "{said}");
        assert!(said.contains(&testbed.directory().display().to_string()), "{said}");
    }
}

#[tokio::test]
async fn what_was_accepted_is_stored_when_a_stop_has_ended() {
    for testbed in [Some(Testbed::embedded()), direct()].into_iter().flatten() {
        let offhook = testbed.start();
        let keys = offhook.client.accepts_calls(0..50).await;
        offhook.stop().expect("it stops in time");
        assert_eq!(testbed.contents().await.events.len(), keys.len());
        // And nothing of it comes again.
        let offhook = Offhook::start(&testbed.role(Role::All));
        let more = offhook.client.accepts_calls(50..51).await;
        testbed.contents_with(&more).await;
        let duplicates = "offhook_events_total{freshness=\"duplicate\",kind=\"call\"}";
        assert_eq!(offhook.client.metric(duplicates).await, 0.0);
    }
}

/// Where there is a Postgres.
fn direct() -> Option<Testbed> {
    let there = offhook::lab::servers::missing(Mode::Direct.needs()).is_none();
    there.then(|| Testbed::direct(Durability::Unsynced))
}

#[test]
fn a_log_that_lies_in_memory_is_a_warning_of_serve_check_and_doctor() {
    let memory = tempfile::tempdir_in("/dev/shm").expect("every Linux has it");
    let url = format!("sqlite:{}", memory.path().join("offhook.db").display());
    let settings = Testbed::embedded().settings.set("OFFHOOK_STORE__URL", url);
    let why = "it lies in memory, and goes away with the machine";
    let said = run(&settings, &["check"]).well();
    assert!(said.contains(&format!("(warning: {why})")), "{said}");
    let said = run(&settings, &["doctor"]).out;
    assert!(said.contains(why) && said.contains("mount a volume there"), "{said}");
    let log = Spawned::start(&settings).log();
    let warning = log.lines().nth(1).expect("a second line");
    assert!(warning.contains("WARN") && warning.contains(why), "{warning}");
    // A disk is well; or a container's overlay, which is told, too.
    let disk = Testbed::embedded();
    for said in [run(&disk.settings, &["check"]).well(), Spawned::start(&disk.settings).log()] {
        assert!(!said.contains(why), "{said}");
    }
}
