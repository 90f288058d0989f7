//! Processes of offhook are killed or stopped.

use crate::lab::torture::Run;
use crate::lab::torture::report::Report;
use crate::lab::torture::testbed::{Setup, Testbed};
use crate::lab::torture::trial::Trial;

/// Workers that are killed this often hold the same entry repeatedly; what comes of those that
/// were delivered too often is a dead letter, by the default after ten.
const NO_DEAD_LETTERS: (&str, &str) = ("OFFHOOK_WORKER__MAX_DELIVERIES", "100000");

pub(super) async fn worker_kill(name: String, run: &Run) -> anyhow::Result<Report> {
    let mut testbed = Testbed::prepare(run, &Setup { workers: Some(2), ..Setup::default() })?;
    testbed.set(NO_DEAD_LETTERS.0, NO_DEAD_LETTERS.1);
    let mut trial = Trial::begin(name, run, testbed).await?;
    while trial.goes_on() {
        trial.pause(80..250).await;
        let worker = trial.any(2);
        trial.testbed.workers[worker].kill();
        trial.testbed.workers[worker].spawn()?;
        trial.facts.kills += 1;
    }
    trial.end().await
}

pub(super) async fn receiver_kill(name: String, run: &Run) -> anyhow::Result<Report> {
    let testbed = Testbed::prepare(run, &Setup { receivers: 2, ..Setup::default() })?;
    let mut trial = Trial::begin(name, run, testbed).await?;
    while trial.goes_on() {
        let stopped = trial.any(3) == 0;
        if stopped {
            trial.testbed.redis()?.pause();
            trial.facts.outages += 1;
        }
        trial.pause(80..400).await;
        let receiver = trial.any(2);
        trial.testbed.receivers[receiver].kill();
        trial.facts.kills += 1;
        if stopped {
            trial.testbed.redis()?.go_on();
        }
        trial.testbed.receivers[receiver].start()?;
    }
    trial.end().await
}

pub(super) async fn embedded_kill(name: String, run: &Run) -> anyhow::Result<Report> {
    let testbed = Testbed::prepare(run, &Setup { workers: None, ..Setup::default() })?;
    let mut trial = Trial::begin(name, run, testbed).await?;
    while trial.goes_on() {
        trial.pause(80..400).await;
        trial.testbed.receivers[0].kill();
        trial.testbed.receivers[0].start()?;
        trial.facts.kills += 1;
    }
    trial.end().await
}

/// A balancer removes a receiver, which then stops; its successor has its spool. The new one waits for the old one,
/// since a spool belongs to one process.
pub(super) async fn rolling_restart(name: String, run: &Run) -> anyhow::Result<Report> {
    /// Each receiver and each worker in turn.
    const RESTARTS: usize = 20;
    let setup = Setup { receivers: 2, workers: Some(2), ..Setup::default() };
    let testbed = Testbed::prepare(run, &setup)?;
    let mut trial = Trial::begin(name, run, testbed).await?;
    let (mut restarts, pause) = (0, trial.duration().as_millis() as u64 / RESTARTS as u64);
    while restarts < RESTARTS && trial.goes_on() {
        trial.pause(pause / 2..pause + 1).await;
        let (place, Trial { testbed, facts, .. }) = (restarts % 2, &mut trial);
        for server in [&mut testbed.receivers[place], &mut testbed.workers[place]] {
            server.begin_stop();
            facts.failures.extend(server.stopped());
            server.start()?;
        }
        restarts += 1;
    }
    trial.tell("restarts", restarts);
    trial.end().await
}
