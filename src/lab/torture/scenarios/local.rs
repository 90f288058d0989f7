//! The local log: alone before Postgres, whose outages it outlives, and with a page that its disk has
//! spoilt.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use sqlx::{Connection as _, Executor as _};
use tokio::time::{Duration, Instant, sleep};

use crate::lab::torture::Run;
use crate::lab::torture::report::Report;
use crate::lab::torture::testbed::{Alone, Setup, Testbed};
use crate::lab::torture::trial::Trial;

async fn direct(name: String, run: &Run) -> anyhow::Result<Trial> {
    let setup = Setup { workers: None, alone_on: Alone::Postgres, ..Setup::default() };
    Trial::begin(name, run, Testbed::prepare(run, &setup)?).await
}

pub(super) async fn direct_kill(name: String, run: &Run) -> anyhow::Result<Report> {
    let mut trial = direct(name, run).await?;
    while trial.goes_on() {
        trial.pause(80..400).await;
        trial.testbed.receivers[0].kill();
        trial.testbed.receivers[0].start()?;
        trial.facts.kills += 1;
    }
    trial.end().await
}

/// Postgres is killed, stopped and locked in turn.
pub(super) async fn direct_outage(name: String, run: &Run) -> anyhow::Result<Report> {
    let mut trial = direct(name, run).await?;
    while trial.goes_on() {
        trial.pause(200..600).await;
        trial.testbed.postgres()?.kill();
        trial.facts.kills += 1;
        trial.pause(200..600).await;
        trial.testbed.postgres()?.restart()?;

        trial.pause(200..600).await;
        trial.testbed.postgres()?.pause();
        trial.pause(200..600).await;
        trial.testbed.postgres()?.go_on();

        let mut somebody = trial.testbed.postgres()?.connection().await?;
        let mut transaction = somebody.begin().await?;
        transaction.execute("LOCK TABLE statuses IN ACCESS EXCLUSIVE MODE").await?;
        trial.pause(200..600).await;
        transaction.rollback().await?;
        trial.facts.outages += 3;
    }
    trial.end().await
}

/// What the disk spoils: a page.
const SPOILT: usize = 4096;

/// While Redis is down, the receiver dies, and a page in the middle of what its spool holds is spoilt. The
/// receiver starts anyway. The events of the page are lost; no others are, once an operator has what can be
/// read replayed.
pub(super) async fn spool_damaged(name: String, run: &Run) -> anyhow::Result<Report> {
    let mut trial = Trial::begin(name, run, Testbed::prepare(run, &Setup::default())?).await?;
    trial.facts.expected_loss = true;
    trial.testbed.redis()?.kill();
    trial.facts.outages += 1;
    sleep(trial.duration() / 2).await;
    trial.testbed.receivers[0].kill();
    let spoilt = spoil(&trial.testbed.spool(0))?;
    trial.tell("spoilt_events_at_most", spoilt);
    trial.facts.most_lost = Some(spoilt);
    trial.testbed.receivers[0].start()?;
    sleep(trial.duration() / 2).await;
    trial.testbed.redis()?.restart()?;
    let replay = ["local-log", "replay", "--all"];
    // A command has no role, and needs no Redis.
    let ended = trial.testbed.receivers[0].command(&replay).output().context("replay")?;
    ensure!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    // It is appended within a second.
    let aside = trial.testbed.spool(0).join("replay");
    let deadline = Instant::now() + Duration::from_secs(30);
    while std::fs::read_dir(&aside)?.next().is_some() {
        ensure!(Instant::now() < deadline, "what was to be replayed is not appended");
        sleep(Duration::from_millis(20)).await;
    }
    trial.end().await
}

/// Overwrites a page in the middle of the largest file; how many events it can have cost.
fn spoil(directory: &Path) -> anyhow::Result<usize> {
    let entries = std::fs::read_dir(directory)?;
    let mut files: Vec<PathBuf> =
        entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?;
    files.retain(|path| path.extension().is_some_and(|extension| extension == "log"));
    let full = |path: &PathBuf| {
        let bytes = std::fs::read(path).unwrap_or_default();
        bytes.iter().rposition(|&byte| byte != 0).unwrap_or_default()
    };
    let path = files.iter().max_by_key(|path| full(path)).context("nothing is spooled")?;
    let end = full(path);
    ensure!(end > 3 * SPOILT, "too little is spooled");
    let mut bytes = std::fs::read(path)?;
    let middle = end / 2;
    let records =
        bytes[middle..middle + SPOILT].windows(4).filter(|at| *at == [0xf5, 0, 0xff, b'R']);
    // Those that begin in it, and one that ends in it.
    let count = records.count() + 1;
    bytes[middle..middle + SPOILT].fill(0xaa);
    std::fs::write(path, bytes)?;
    Ok(count)
}
