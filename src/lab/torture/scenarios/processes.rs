//! Processes of offhook are killed, or told to stop.

use crate::lab::torture::Run;
use crate::lab::torture::play::Play;
use crate::lab::torture::report::Report;
use crate::lab::torture::stage::{Setup, Stage};

/// Workers that are killed so often hold the same entry again and again; what comes of those that
/// were delivered too often is a dead letter, by the default after ten.
const NO_DEAD_LETTERS: (&str, &str) = ("OFFHOOK_WORKER__MAX_DELIVERIES", "100000");

pub(super) async fn worker_kill(name: String, run: &Run) -> anyhow::Result<Report> {
    let mut stage = Stage::prepare(run, &Setup { workers: Some(2), ..Setup::default() })?;
    stage.set(NO_DEAD_LETTERS.0, NO_DEAD_LETTERS.1);
    let mut play = Play::begin(name, run, stage).await?;
    while play.goes_on() {
        play.pause(80..250).await;
        let worker = play.any(2);
        play.stage.workers[worker].kill();
        play.stage.workers[worker].spawn()?;
        play.facts.kills += 1;
    }
    play.end().await
}

pub(super) async fn receiver_kill(name: String, run: &Run) -> anyhow::Result<Report> {
    let stage = Stage::prepare(run, &Setup { receivers: 2, ..Setup::default() })?;
    let mut play = Play::begin(name, run, stage).await?;
    while play.goes_on() {
        let stopped = play.any(3) == 0;
        if stopped {
            play.stage.redis()?.pause();
            play.facts.outages += 1;
        }
        play.pause(80..400).await;
        let receiver = play.any(2);
        play.stage.receivers[receiver].kill();
        play.facts.kills += 1;
        if stopped {
            play.stage.redis()?.go_on();
        }
        play.stage.receivers[receiver].start()?;
    }
    play.end().await
}

pub(super) async fn embedded_kill(name: String, run: &Run) -> anyhow::Result<Report> {
    let stage = Stage::prepare(run, &Setup { workers: None, ..Setup::default() })?;
    let mut play = Play::begin(name, run, stage).await?;
    while play.goes_on() {
        play.pause(80..400).await;
        play.stage.receivers[0].kill();
        play.stage.receivers[0].start()?;
        play.facts.kills += 1;
    }
    play.end().await
}

/// A balancer takes a receiver out, then it is told to stop; its successor has its spool. It is
/// the new one that waits for the old one, since a spool is of one process.
pub(super) async fn rolling_restart(name: String, run: &Run) -> anyhow::Result<Report> {
    /// Each receiver and each worker in turn.
    const RESTARTS: usize = 20;
    let setup = Setup { receivers: 2, workers: Some(2), ..Setup::default() };
    let stage = Stage::prepare(run, &setup)?;
    let mut play = Play::begin(name, run, stage).await?;
    let (mut restarts, pause) = (0, play.duration().as_millis() as u64 / RESTARTS as u64);
    while restarts < RESTARTS && play.goes_on() {
        play.pause(pause / 2..pause + 1).await;
        let (place, Play { stage, facts, .. }) = (restarts % 2, &mut play);
        for server in [&mut stage.receivers[place], &mut stage.workers[place]] {
            server.begin_stop();
            facts.failures.extend(server.stopped());
            server.start()?;
        }
        restarts += 1;
    }
    play.tell("restarts", restarts);
    play.end().await
}
