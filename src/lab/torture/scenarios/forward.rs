//! What forwards is killed, frozen and cut off, and so is what it forwards to.

use serde_json::json;
use tokio::time::Duration;

use super::crash;
use crate::lab::endpoint::Answer;
use crate::lab::servers::Signal;
use crate::lab::torture::Run;
use crate::lab::torture::forwarded::Forwarded;
use crate::lab::torture::report::Report;
use crate::lab::torture::testbed::{Setup, Testbed};
use crate::lab::torture::trial::Trial;

/// Workers that are killed this often hold the same entry repeatedly.
const NO_DEAD_LETTERS: (&str, &str) = ("OFFHOOK_WORKER__MAX_DELIVERIES", "100000");

/// The one process aborts at every step between taking the lease and writing how far it came.
pub(super) async fn crash(name: String, run: &Run) -> anyhow::Result<Report> {
    if let Some(report) = crash::skipped(&name) {
        return Ok(report);
    }
    let setup = Setup { workers: None, volume: crash::GENTLE, ..Setup::default() };
    let mut testbed = Testbed::prepare(run, &setup)?;
    let forwarded = Forwarded::begin(&mut testbed, "").await?;
    let mut trial = Trial::begin(name, run, testbed).await?;
    crash::abort_while_forwarding(&mut trial).await?;
    end(trial, forwarded).await
}

/// The endpoint is down, slow, and refuses, while one of two workers that could forward is killed or frozen, and
/// Postgres is away. Few changes may wait, so that the cursor stands still now and then.
pub(super) async fn endpoint_down(name: String, run: &Run) -> anyhow::Result<Report> {
    let mut testbed = Testbed::prepare(run, &Setup { workers: Some(2), ..Setup::default() })?;
    testbed.set(NO_DEAD_LETTERS.0, NO_DEAD_LETTERS.1);
    let forwarded = Forwarded::begin(&mut testbed, "max_waiting = 200\ntimeout_ms = 1000").await?;
    let mut trial = Trial::begin(name, run, testbed).await?;
    let endpoint = &forwarded.endpoint;
    while trial.goes_on() {
        trial.pause(100..600).await;
        let slow = Answer::Status(200, Duration::from_millis(200));
        let hangs = Answer::Status(200, Duration::from_secs(5));
        let answers =
            [Answer::None, Answer::FAILS, Answer::Status(429, Duration::ZERO), hangs, slow];
        let answer = answers[trial.any(answers.len())];
        endpoint.answer(answer);
        trial.facts.outages += 1;
        trial.pause(200..1500).await;
        let worker = trial.any(2);
        match trial.any(4) {
            0 => {
                trial.testbed.workers[worker].kill();
                trial.testbed.workers[worker].spawn()?;
                trial.facts.kills += 1;
            }
            // Now and then for longer than its lease lasts.
            1 => {
                trial.testbed.workers[worker].signal(Signal::Stop);
                let longest = if trial.any(3) == 0 { 13_000 } else { 2000 };
                endpoint.answer(Answer::TAKES);
                trial.pause(200..longest).await;
                trial.testbed.workers[worker].signal(Signal::Continue);
                trial.facts.outages += 1;
            }
            2 => {
                trial.testbed.postgres()?.pause();
                trial.pause(100..800).await;
                trial.testbed.postgres()?.go_on();
                trial.facts.outages += 1;
            }
            _ => {}
        }
        endpoint.answer(Answer::TAKES);
    }
    end(trial, forwarded).await
}

/// Everything works again: all that is stored must be forwarded.
async fn end(mut trial: Trial, forwarded: Forwarded) -> anyhow::Result<Report> {
    forwarded.endpoint.answer(Answer::TAKES);
    trial.drain().await?;
    let figures = forwarded.end().await?;
    trial.tell("forwarded", json!(figures));
    if !figures.are_good() {
        trial.fail(format!("forwarded: {figures:?}"));
    }
    trial.end().await
}
