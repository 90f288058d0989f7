//! Rows that Postgres rejects, and entries that are not events, in full batches.

use std::collections::{HashMap, HashSet};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use redis::cmd;
use tokio::time::{Instant, sleep};

use crate::lab::servers::Signal;
use crate::lab::torture::Run;
use crate::lab::torture::ledger::LedgerSummary;
use crate::lab::torture::report::Report;
use crate::lab::torture::testbed::{DEAD, STREAM, Setup, Testbed};
use crate::lab::torture::trial::Trial;

/// Entries that are not events.
const GARBAGE: usize = 10;

/// One in sixteen messages cannot be stored.
const CONSTRAINT: &str =
    "ALTER TABLE events ADD CONSTRAINT poison CHECK (key NOT LIKE 'SM%0-%') NOT VALID";

fn is_poison(key: &str) -> bool {
    key.split_once('-').is_some_and(|(sid, _)| sid.starts_with("SM") && sid.ends_with('0'))
}

/// The poison becomes dead letters, and nothing else does; then it is not poison any more, and the
/// dead letters are replayed.
pub(super) async fn poison(name: String, run: &Run) -> anyhow::Result<Report> {
    let testbed = Testbed::prepare(run, &Setup { workers: Some(2), ..Setup::default() })?;
    let replay = testbed.workers[0].command(&["dead-letters", "replay", "--all"]);
    let mut trial = Trial::begin(name, run, testbed).await?;
    trial.testbed.postgres()?.execute(CONSTRAINT).await?;
    let began = LedgerSummary::read(trial.load.ledger())?;
    // So that batches are full.
    trial.testbed.workers.iter().for_each(|worker| worker.signal(Signal::Stop));
    for place in 0..GARBAGE {
        sleep(trial.duration() / GARBAGE as u32).await;
        let garbage = cmd("XADD").arg(STREAM).arg("*").arg("garbage").arg(place).to_owned();
        trial.testbed.redis()?.query::<String>(&garbage)?;
    }
    trial.testbed.workers.iter().for_each(|worker| worker.signal(Signal::Continue));
    let summary = trial.calm().await?;

    let (bad, good): (Vec<String>, Vec<String>) =
        summary.acked.into_iter().partition(|key| is_poison(key));
    // What was sent before the constraint may be stored.
    let bad: Vec<String> = bad.into_iter().filter(|key| !began.sent.contains(key)).collect();
    trial.stored(&good.into_iter().collect()).await;
    let dead = trial.dead(&bad).await?;
    trial.tell("poison", bad.len());
    trial.tell("dead_before_replay", dead);
    trial.testbed.postgres()?.execute("ALTER TABLE events DROP CONSTRAINT poison").await?;
    replayed(replay)?;
    // Entries that are not events come back.
    trial.facts.dead_letters = GARBAGE;
    trial.end().await
}

fn replayed(mut replay: Command) -> anyhow::Result<()> {
    let output = replay.output().context("offhook dead-letters replay")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "offhook dead-letters replay: {said}");
    Ok(())
}

impl Trial {
    /// Waits until all of these are dead letters, with the reason of Postgres, and all entries that
    /// are not events; returns how many dead letters there are. There must be no others.
    async fn dead(&mut self, keys: &[String]) -> anyhow::Result<usize> {
        let mut left: HashSet<&String> = keys.iter().collect();
        let deadline = Instant::now() + Duration::from_secs(120);
        loop {
            let range = cmd("XRANGE").arg(DEAD).arg("-").arg("+").to_owned();
            type Fields = HashMap<String, Vec<u8>>;
            let letters: Vec<(String, Fields)> = self.testbed.redis()?.query(&range)?;
            let (mut garbage, mut innocent) = (0, 0);
            for (_, fields) in &letters {
                let text = |name| fields.get(name).map(|value| String::from_utf8_lossy(value));
                match text("key") {
                    None => garbage += 1,
                    Some(key) => {
                        left.retain(|left| **left != key);
                        let why = text("dead_reason").unwrap_or_default();
                        innocent += usize::from(!is_poison(&key) || !why.contains("23514"));
                    }
                }
            }
            if innocent > 0 {
                self.fail(format!("{innocent} events were put aside that are no poison"));
            }
            if left.is_empty() && garbage == GARBAGE {
                return Ok(letters.len());
            }
            ensure!(Instant::now() < deadline, "{} of the poison are no dead letters", left.len());
            sleep(Duration::from_millis(100)).await;
        }
    }
}
