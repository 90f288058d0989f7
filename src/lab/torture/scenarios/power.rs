//! The power of a process with a local log fails: what it had not synced is gone from its disks.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::ensure;
use tokio::time::{Duration, Instant, sleep};

use super::feed;

use crate::backend::local_log::Bounds;
use crate::lab::torture::Run;
use crate::lab::torture::disk::{Disk, Unsynced};
use crate::lab::torture::readers::Door;
use crate::lab::torture::report::Report;
use crate::lab::torture::server::Server;
use crate::lab::torture::testbed::{Alone, Setup, Testbed};
use crate::lab::torture::trial::Trial;

/// The log's disk: what must stay free, and room for a few files, which are short then.
const LOG_KIB: u64 = Bounds::LEAST_FREE / 1024 + 16 * 1024;
/// SQLite's: its own files, and more than what is sent in a second.
const STORE_KIB: u64 = 128 * 1024;
const STORE_KIB_PER_S: u64 = 2 * 1024;

/// When the power fails.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum After {
    /// At any time.
    SomeTime,
    /// Soon after the log has released a file, because the store was synced.
    Checkpoint,
    /// Soon after the log has released a file for a purge, which also syncs the store.
    Purge,
}

/// In turn; and whether the log's disk writes what was not synced. SQLite's never does, so that a file that the log
/// should still have is missed.
const ROUNDS: [(After, Unsynced); 3] = [
    (After::Purge, Unsynced::AtOnce),
    (After::SomeTime, Unsynced::Late),
    (After::Checkpoint, Unsynced::AtOnce),
];

pub(super) async fn embedded(name: String, run: &Run) -> anyhow::Result<Report> {
    cut(name, run, Alone::Sqlite).await
}

pub(super) async fn direct(name: String, run: &Run) -> anyhow::Result<Report> {
    cut(name, run, Alone::Postgres).await
}

/// The power fails repeatedly, and each time the process continues with what is left.
async fn cut(name: String, run: &Run, alone_on: Alone) -> anyhow::Result<Report> {
    let setup = Setup { workers: None, alone_on, ..Setup::default() };
    let mut testbed = Testbed::prepare(run, &setup)?;
    if let Err(error) = give_disks(&mut testbed, run, alone_on) {
        return Ok(Report::skipped(name, format!("no file system of its own: {error:#}")));
    }
    let log = testbed.local_log();
    let mut trial = Trial::begin(name, run, testbed).await?;
    let readers = match alone_on {
        Alone::Sqlite => Some(feed::begin(&mut trial, &Door::SYNCED)?),
        Alone::Postgres => None,
    };
    // A slow machine may fill the small disk.
    trial.facts.may_refuse = true;
    // What one process leaves, the next one releases.
    trial.testbed.receivers[0].kill();
    trial.testbed.receivers[0].start()?;
    let mut files = 0;
    for round in 0.. {
        if round >= ROUNDS.len() && !trial.goes_on() {
            break;
        }
        let (after, _) = ROUNDS[round % ROUNDS.len()];
        if after != After::SomeTime {
            // A machine that does other things settles fewer events than the load sends.
            trial.load.rest(true);
            files += until_a_file_is_gone(&log, &trial.testbed.receivers[0], after).await?;
            trial.load.rest(false);
        }
        trial
            .pause(match after {
                // For many answers: what was not synced before them is then missed.
                After::SomeTime => 800..1500,
                After::Checkpoint | After::Purge => 50..300,
            })
            .await;
        let (_, unsynced) = ROUNDS[(round + 1) % ROUNDS.len()];
        cut_once(&mut trial.testbed, unsynced)?;
        trial.facts.kills += 1;
    }
    trial.tell("files_let_go", files);
    match readers {
        Some(readers) => feed::end(trial, readers).await,
        None => trial.end().await,
    }
}

fn give_disks(testbed: &mut Testbed, run: &Run, alone_on: Alone) -> anyhow::Result<()> {
    let directory = testbed.directory().to_owned();
    let image = |name: &str| directory.join(name).with_extension("disk");
    if alone_on == Alone::Sqlite {
        let kib = STORE_KIB + STORE_KIB_PER_S * run.duration.as_secs();
        let store = Disk::in_file(testbed.store_directory(), image("store"), kib, Unsynced::Late)?;
        testbed.disks.push(store);
    }
    let log = Disk::in_file(testbed.local_log(), image("log"), LOG_KIB, ROUNDS[0].1)?;
    testbed.disks.insert(0, log);
    testbed.set("OFFHOOK_SPOOL__MIN_FREE_BYTES", &Bounds::LEAST_FREE.to_string());
    testbed.give_admin_port()
}

/// Of all disks at one moment.
fn cut_once(testbed: &mut Testbed, log: Unsynced) -> anyhow::Result<()> {
    let receiver = &mut testbed.receivers[0];
    receiver.freeze()?;
    let left: anyhow::Result<Vec<_>> = testbed.disks.iter().map(Disk::copy).collect();
    receiver.kill();
    testbed.disks.iter().try_for_each(Disk::take_away)?;
    let all = testbed.disks.iter().zip(left?).zip([log, Unsynced::Late]);
    for ((disk, left), unsynced) in all.collect::<Vec<_>>().into_iter().rev() {
        disk.bring_back(left, unsynced)?;
    }
    testbed.receivers[0].start()
}

/// Longest wait for it: a disk in a file, on a machine that does other things, syncs slowly.
const LETS_GO_WITHIN: Duration = Duration::from_secs(120);

/// How many of those that are there now.
async fn until_a_file_is_gone(log: &Path, server: &Server, after: After) -> anyhow::Result<usize> {
    let (before, deadline) = (files(log)?, Instant::now() + LETS_GO_WITHIN);
    loop {
        if after == After::Purge {
            server.purge()?;
        }
        let now = files(log)?;
        let gone = before.difference(&now).count();
        if gone > 0 {
            return Ok(gone);
        }
        ensure!(Instant::now() < deadline, "the log lets go of no file: {now:?}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// The names of a log's files.
fn files(log: &Path) -> std::io::Result<BTreeSet<String>> {
    let names =
        std::fs::read_dir(log)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    let names: std::io::Result<BTreeSet<String>> = names.collect();
    Ok(names?.into_iter().filter(|name| name.ends_with(".log")).collect())
}
