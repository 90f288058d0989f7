//! Readers in every door of the change feed, while all that feeds it is killed, frozen and away.

use anyhow::Context as _;
use serde_json::json;
use tokio::time::{Duration, sleep};

use crate::lab::servers::Signal;
use crate::lab::torture::Run;
use crate::lab::torture::readers::{Door, Readers};
use crate::lab::torture::report::Report;
use crate::lab::torture::testbed::{Setup, Testbed};
use crate::lab::torture::trial::Trial;

/// Workers that are killed this often hold the same entry repeatedly.
const NO_DEAD_LETTERS: (&str, &str) = ("OFFHOOK_WORKER__MAX_DELIVERIES", "100000");

/// Two receivers, and three workers that commit at the same time. Half of the processes listen, the others look.
pub(super) async fn scale_out(name: String, run: &Run) -> anyhow::Result<Report> {
    let setup = Setup { receivers: 2, workers: Some(3), ..Setup::default() };
    let mut testbed = Testbed::prepare(run, &setup)?;
    testbed.set(NO_DEAD_LETTERS.0, NO_DEAD_LETTERS.1);
    testbed.give_admin_port()?;
    let direct = testbed.postgres()?.url();
    for server in testbed.servers().step_by(2) {
        server.set("OFFHOOK_STORE__LISTEN_URL", direct.clone());
    }
    let mut trial = Trial::begin(name, run, testbed).await?;
    let readers = begin(&mut trial, &Door::POSTGRES)?;
    while trial.goes_on() {
        trial.pause(50..250).await;
        let (fault, worker, receiver) = (trial.any(8), trial.any(3), trial.any(2));
        match fault {
            0..3 => {
                trial.testbed.workers[worker].kill();
                trial.testbed.workers[worker].spawn()?;
                trial.facts.kills += 1;
            }
            3 => {
                trial.testbed.receivers[receiver].kill();
                trial.testbed.receivers[receiver].start()?;
                trial.facts.kills += 1;
            }
            // In the middle of a transaction, with the lock of the feed in its hand.
            4 => {
                trial.testbed.workers[worker].signal(Signal::Stop);
                trial.pause(200..1200).await;
                trial.testbed.workers[worker].signal(Signal::Continue);
                trial.facts.outages += 1;
            }
            5 => {
                trial.testbed.postgres()?.kill();
                trial.pause(50..400).await;
                trial.testbed.postgres()?.restart()?;
                trial.facts.kills += 1;
            }
            6 => {
                trial.testbed.postgres()?.pause();
                trial.pause(100..800).await;
                trial.testbed.postgres()?.go_on();
                trial.facts.outages += 1;
            }
            _ => {
                trial.testbed.redis()?.kill();
                trial.pause(50..400).await;
                trial.testbed.redis()?.restart()?;
                trial.facts.kills += 1;
            }
        }
    }
    end(trial, readers).await
}

/// The one process is killed and frozen.
pub(super) async fn embedded(name: String, run: &Run) -> anyhow::Result<Report> {
    let mut testbed = Testbed::prepare(run, &Setup { workers: None, ..Setup::default() })?;
    testbed.give_admin_port()?;
    let mut trial = Trial::begin(name, run, testbed).await?;
    let readers = begin(&mut trial, &Door::SQLITE)?;
    while trial.goes_on() {
        // A start takes a while, and something must be stored between two.
        trial.pause(200..1200).await;
        if trial.any(4) == 0 {
            trial.testbed.receivers[0].signal(Signal::Stop);
            sleep(Duration::from_millis(300)).await;
            trial.testbed.receivers[0].signal(Signal::Continue);
            trial.facts.outages += 1;
        } else {
            trial.testbed.receivers[0].kill();
            trial.testbed.receivers[0].start()?;
            trial.facts.kills += 1;
        }
    }
    end(trial, readers).await
}

/// One in each of these doors, which asks every process in turn.
pub(super) fn begin(trial: &mut Trial, doors: &[Door]) -> anyhow::Result<Readers> {
    let store = trial.testbed.store();
    let admins: Option<Vec<_>> = trial.testbed.servers().map(|server| server.admin()).collect();
    Readers::start(doors, &store, &admins.context("each has a port of its own")?)
}

/// Everything works again: all that was acked must be stored, and seen in every door.
pub(super) async fn end(mut trial: Trial, readers: Readers) -> anyhow::Result<Report> {
    let summary = trial.drain().await?;
    for (door, figures, refused) in readers.end(&summary.acked).await? {
        trial.tell(&format!("feed_{door}"), json!(figures));
        if !figures.are_good() {
            trial.fail(format!("the feed's {door}: {figures:?}"));
        }
        if let Some(refused) = refused {
            trial.fail(format!("the feed's {door} was refused: {refused}"));
        }
    }
    trial.end().await
}
