//! Redis is down, and the disk of the spool is full.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::backend::local_log::Bounds;
use crate::lab::torture::Run;
use crate::lab::torture::disk::Disk;
use crate::lab::torture::report::Report;
use crate::lab::torture::testbed::{Setup, Testbed};
use crate::lab::torture::trial::Trial;

/// The whole disk: what must stay free, and 6 MiB.
const DISK_KIB: u64 = Bounds::LEAST_FREE / 1024 + 6 * 1024;
/// What another program has on it, and removes later.
const BALLAST_KIB: u64 = 3 * 1024;

/// The disk fills, callbacks are refused; space returns, they are taken; it fills again; Redis
/// returns.
pub(super) async fn full(name: String, run: &Run) -> anyhow::Result<Report> {
    let mut testbed = Testbed::prepare(run, &Setup::default())?;
    let disk = Disk::in_memory(testbed.spool(0), DISK_KIB).ok();
    let ballast = testbed.spool(0).join("ballast");
    let receiver = &mut testbed.receivers[0];
    let is_small = disk.is_some();
    let what = match disk {
        Some(disk) => {
            testbed.disks.push(disk);
            receiver.set("OFFHOOK_SPOOL__MIN_FREE_BYTES", Bounds::LEAST_FREE.to_string());
            std::fs::write(&ballast, vec![1; BALLAST_KIB as usize * 1024])?;
            format!("tmpfs of {DISK_KIB} KiB")
        }
        None => {
            receiver.set("OFFHOOK_SPOOL__MAX_BYTES", (1024 * 1024).to_string());
            "no right to mount a small disk: spool.max_bytes of 1 MiB instead".to_owned()
        }
    };
    let mut trial = Trial::begin(name, run, testbed).await?;
    trial.facts.may_refuse = true;
    trial.tell("disk", what);
    trial.testbed.redis()?.kill();
    trial.facts.outages += 1;
    until_refused(&trial, 0).await?;
    sleep(trial.duration() / 2).await;
    if is_small {
        std::fs::remove_file(&ballast)?;
        until_acked(&trial).await?;
        sleep(trial.duration() / 2).await;
    }
    let before = trial.load.tally();
    trial.testbed.redis()?.restart()?;
    until_acked(&trial).await?;
    trial.tell("refused_while_full", before.refused());
    trial.end().await
}

/// Longer than a slow machine takes for some MiB.
const PATIENCE: Duration = Duration::from_secs(60);

async fn until_refused(trial: &Trial, before: u64) -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while trial.load.tally().refused() <= before {
        anyhow::ensure!(Instant::now() < deadline, "the disk does not get full");
        sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// Until callbacks are taken again.
async fn until_acked(trial: &Trial) -> anyhow::Result<()> {
    let (before, deadline) = (trial.load.tally().acked(), Instant::now() + PATIENCE);
    while trial.load.tally().acked() <= before + 10 {
        anyhow::ensure!(Instant::now() < deadline, "no callback is taken again");
        sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}
