//! What a process takes of its machine, and what happens when the machine gives less: a log that is
//! not read, few files. Whose its files are.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use offhook::config::Role;
use reqwest::StatusCode;

use crate::harness::{Callback, Raw, Settings, Spawned, Testbed, run, until};
use crate::services::{Durability, needs};

/// A full pipe blocks who writes to it. Docker's drivers do so by default.
#[tokio::test]
async fn a_log_that_nobody_reads_stops_neither_callbacks_nor_health_checks() {
    const DROPPED: &str = "offhook_log_lines_dropped_total";
    let testbed = Testbed::embedded();
    let settings = testbed.settings.clone().set("OFFHOOK_LOG__FILTER", "trace");
    let offhook = Spawned::start_unread(&settings);
    let mut sent = 0;
    until("more is logged than the pipe and the queue hold", async || {
        for _ in 0..50 {
            offhook.client.accepts(&Callback::call(sent).0).await;
            sent += 1;
        }
        (offhook.client.metric(DROPPED).await > 0.0).then_some(())
    })
    .await;
    assert_eq!(offhook.client.admin("/livez").await.status(), StatusCode::OK);
    let stored = async || (testbed.contents().await.events.len() == sent).then_some(());
    until("each of them is stored", stored).await;
    offhook.read_log();
    until("it is told how much is missing", async || {
        offhook.client.accepts(&Callback::call(sent).0).await;
        offhook.log().contains("lines of the log were dropped").then_some(())
    })
    .await;
}

/// The flood is in the metrics; in the log it must not hide anything.
#[tokio::test]
async fn a_flood_of_refusals_is_a_few_lines_in_the_log() {
    let testbed = Testbed::embedded();
    let offhook = Spawned::start(&testbed.settings);
    for n in 0..200 {
        let forged = Callback::call(n).0.signed(crate::harness::Signature::Token("forged"));
        assert_eq!(offhook.client.send(&forged).await.status(), StatusCode::FORBIDDEN);
    }
    let missing = Callback::call(0).0.signed(crate::harness::Signature::Missing);
    assert_eq!(offhook.client.send(&missing).await.status(), StatusCode::BAD_REQUEST);
    until("the other reason is written", async || {
        offhook.log().contains("missing_signature").then_some(())
    })
    .await;
    let log = offhook.log();
    let lines = log.lines().filter(|line| line.contains("wrong_signature")).count();
    assert!((1..100).contains(&lines), "{lines}");
    let refusals = "offhook_refusals_total{reason=\"wrong_signature\"}";
    assert_eq!(offhook.client.metric(refusals).await, 200.0);
}

#[tokio::test]
async fn connections_leave_files_for_health_checks_and_commits() {
    let testbed = Testbed::embedded();
    let offhook = Spawned::start(&testbed.settings.clone().with_files("256:256"));
    let limit = offhook.client.metric("offhook_connections_limit").await;
    assert_eq!(limit, 128.0);
    let mut silent = Vec::new();
    for _ in 0..300 {
        silent.push(Raw::connect(offhook.client.inbound()).await);
    }
    offhook.client.accepts(&Callback::call(1).0).await;
    for _ in 0..300 {
        silent.push(Raw::connect(offhook.client.private()).await);
    }
    assert_eq!(offhook.client.admin("/livez").await.status(), StatusCode::OK);
    assert!(offhook.client.is_ready().await);
    offhook.client.accepts(&Callback::call(2).0).await;
    assert_eq!(offhook.client.metric("offhook_accept_failures_total").await, 0.0);
    assert!(offhook.log().contains("the limit on open files is too low"), "{}", offhook.log());
}

#[tokio::test]
async fn the_soft_limit_on_files_is_raised_to_the_hard_one() {
    let testbed = Testbed::embedded();
    let offhook = Spawned::start(&testbed.settings.clone().with_files("256:4096"));
    assert_eq!(offhook.client.metric("offhook_connections_limit").await, 4096.0 - 256.0 - 64.0);
}

/// Every file and directory below.
fn below(directory: &Path) -> Vec<(PathBuf, u32)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).expect("it can be read").map_while(Result::ok) {
        let path = entry.path();
        let mode = entry.metadata().expect("it is there").permissions().mode() & 0o777;
        if path.is_dir() {
            found.extend(below(&path));
        }
        found.push((path, mode));
    }
    found
}

fn only_for_its_owner(directory: &Path) {
    let found = below(directory);
    assert!(found.len() > 3, "{found:?}");
    for (path, mode) in found {
        let own = if path.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(mode, own, "{}: {mode:o}", path.display());
    }
}

#[tokio::test]
async fn what_is_stored_is_read_by_its_owner_alone() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let database = directory.path().join("deep/down/offhook.db");
    let url = format!("sqlite:{}", database.display());
    let settings = Settings::new(Role::All).set("OFFHOOK_STORE__URL", url);
    let offhook = Spawned::start(&settings);
    offhook.client.accepts(&Callback::call(1).0).await;
    only_for_its_owner(directory.path());
}

#[tokio::test]
async fn what_is_spooled_is_read_by_its_owner_alone() {
    needs!(Redis, Postgres);
    let directory = tempfile::tempdir().expect("a temporary directory");
    let spool = directory.path().join("deep/spool").display().to_string();
    let mut testbed = Testbed::scale_out(Durability::Unsynced);
    let settings = testbed.role(Role::Receiver).set("OFFHOOK_SPOOL__DIRECTORY", spool);
    let offhook = Spawned::start(&settings);
    testbed.redis().kill();
    offhook.client.accepts(&Callback::call(1).0).await;
    only_for_its_owner(directory.path());
}

/// In a directory that others may write into, one could make offhook overwrite a file of its user's.
#[test]
fn no_link_is_followed_to_what_it_writes() {
    for file in ["offhook.db", "offhook.db.lock", "offhook.db-wal", "offhook.db-shm"] {
        let testbed = Testbed::embedded();
        let elsewhere = testbed.directory().join("elsewhere");
        symlink(&elsewhere, testbed.directory().join(file)).expect("the directory is ours");
        let said = run(&testbed.settings, &["migrate"]).badly();
        assert!(said.contains(file) && said.contains("link"), "{said}");
        assert!(!elsewhere.exists(), "{file}");
    }
}

/// The same where the log lies, which is emptied when it is opened.
#[test]
fn no_link_is_followed_to_what_the_log_is_written_to() {
    for file in ["", "/lock", "/settled", "/aside", "/replay", "/00000000000000000001.log"] {
        let testbed = Testbed::embedded();
        let elsewhere = tempfile::tempdir().expect("a temporary directory");
        let (directory, victim) = (elsewhere.path(), elsewhere.path().join("victim"));
        std::fs::write(&victim, "mine").expect("it is ours");
        let log = testbed.directory().join("offhook.db-log");
        let is_directory = ["", "/aside", "/replay"].contains(&file);
        if !file.is_empty() {
            std::fs::create_dir(&log).expect("it is ours");
        }
        let link = PathBuf::from(format!("{}{file}", log.display()));
        symlink(if is_directory { directory } else { &victim }, link).expect("it is ours");
        let said = run(&testbed.settings, &["serve"]).badly();
        assert!(said.contains("offhook.db-log") && said.contains("link"), "{file}: {said}");
        assert_eq!(std::fs::read_to_string(&victim).expect("it is there"), "mine", "{file}");
        assert_eq!(std::fs::read_dir(directory).expect("it is there").count(), 1, "{file}");
    }
}

/// It would hold secrets, and what callers said.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn memory_is_never_dumped() {
    let testbed = Testbed::embedded();
    let mut offhook = Spawned::start(&testbed.settings);
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", offhook.id()));
    let limits = limits.expect("it runs");
    let core = limits.lines().find(|line| line.starts_with("Max core file size"));
    let values: Vec<&str> = core.expect("a limit").split_whitespace().collect();
    assert_eq!(values[4..6], ["0", "0"], "{values:?}");
}

#[test]
fn doctor_says_what_others_may_read_or_change_and_how_many_files_there_are() {
    let testbed = Testbed::embedded();
    let (file, directory) = (testbed.directory().join("my.toml"), testbed.directory());
    std::fs::write(&file, "[admin]\ntoken = '0123456789abcdef01234567'\n").expect("it is ours");
    let mode = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("it is ours");
    };
    let doctor = || {
        let settings = testbed.settings.clone().set("OFFHOOK_CONFIG", file.display().to_string());
        let ended = run(&settings, &["doctor", "--no-callback"]);
        ended.out
    };
    run(&testbed.settings, &["migrate"]).well();
    mode(&file, 0o644);
    mode(directory, 0o777);
    mode(&directory.join("offhook.db"), 0o644);
    let said = doctor();
    for part in ["has secrets in it", "may write into", "may read ", "chmod 600"] {
        assert!(said.contains(part), "`{part}` is not in: {said}");
    }
    mode(&file, 0o600);
    mode(directory, 0o700);
    mode(&directory.join("offhook.db"), 0o600);
    let said = doctor();
    for part in ["has secrets in it, and", "may write into", "may read "] {
        assert!(!said.contains(part), "`{part}` is in: {said}");
    }
    assert!(said.contains("limit on open files") || said.contains("may be open"), "{said}");
}
