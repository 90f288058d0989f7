//! Many at once: the same event from everywhere, clocks that differ, consumers that come back.

use std::collections::HashSet;
use std::time::Duration;

use redis::cmd;
use tokio::time::sleep;

use crate::lab::servers::{Redis, Signal};
use crate::lab::torture::Run;
use crate::lab::torture::load::Volume;
use crate::lab::torture::report::Report;
use crate::lab::torture::testbed::{STREAM, Setup, Testbed};
use crate::lab::torture::trial::Trial;

/// The load is the fault.
pub(super) async fn storm(name: String, run: &Run) -> anyhow::Result<Report> {
    let volume = Volume { rate: 1000, copies: 50, ..Volume::default() };
    let setup = Setup { receivers: 4, workers: Some(2), volume, ..Setup::default() };
    let mut trial = Trial::begin(name, run, Testbed::prepare(run, &setup)?).await?;
    sleep(trial.duration()).await;
    trial.tell("copies", volume.copies);
    trial.end().await
}

/// Receive time is not part of any order.
pub(super) async fn clocks(name: String, run: &Run) -> anyhow::Result<Report> {
    const APART_S: i64 = 3600;
    let mut testbed = Testbed::prepare(run, &Setup { receivers: 2, ..Setup::default() })?;
    testbed.receivers[1].argument(format!("--clock-offset={APART_S}"));
    let mut trial = Trial::begin(name, run, testbed).await?;
    sleep(trial.duration()).await;
    trial.tell("clocks_apart_s", APART_S);
    trial.end().await
}

/// Of two workers one would delete everything at once, if it went by its own clock.
pub(super) async fn clock_ahead(name: String, run: &Run) -> anyhow::Result<Report> {
    const AHEAD_S: i64 = 400 * 24 * 60 * 60;
    let mut testbed = Testbed::prepare(run, &Setup { workers: Some(2), ..Setup::default() })?;
    testbed.set("OFFHOOK_RETENTION__EVENTS_DAYS", "30");
    testbed.set("OFFHOOK_RETENTION__STATUSES_DAYS", "30");
    testbed.workers[1].argument(format!("--clock-offset={AHEAD_S}"));
    let mut trial = Trial::begin(name, run, testbed).await?;
    trial.recovers();
    sleep(trial.duration()).await;
    // It looks when it starts, and then once in a while: now there is something to delete.
    trial.testbed.workers[1].kill();
    trial.testbed.workers[1].start()?;
    sleep(trial.duration().min(std::time::Duration::from_secs(10))).await;
    trial.tell("clock_ahead_s", AHEAD_S);
    trial.end().await
}

/// Workers stand still for longer than others leave their entries alone, then continue with them or die, while all
/// workers trim and remove consumers that are gone. Another consumer group, which lags behind, must still see every
/// entry.
pub(super) async fn stalled_consumer(name: String, run: &Run) -> anyhow::Result<Report> {
    const RECLAIM_IDLE_MS: u64 = 500;
    const AUDIT: &str = "audit";
    let mut testbed = Testbed::prepare(run, &Setup { workers: Some(3), ..Setup::default() })?;
    testbed.set("OFFHOOK_WORKER__RECLAIM_IDLE_MS", &RECLAIM_IDLE_MS.to_string());
    testbed.set("OFFHOOK_WORKER__TRIM_EVERY_MS", "100");
    testbed.set("OFFHOOK_WORKER__MAX_DELIVERIES", "100000");
    let create =
        cmd("XGROUP").arg("CREATE").arg(STREAM).arg(AUDIT).arg("0").arg("MKSTREAM").to_owned();
    testbed.redis()?.query::<()>(&create)?;
    let mut trial = Trial::begin(name, run, testbed).await?;
    let (mut stalls, mut seen) = (0, HashSet::new());
    while trial.goes_on() {
        let worker = trial.any(3);
        trial.testbed.workers[worker].signal(Signal::Stop);
        stalls += 1;
        trial.pause(RECLAIM_IDLE_MS..4 * RECLAIM_IDLE_MS).await;
        if trial.any(3) == 0 {
            trial.testbed.workers[worker].kill();
            trial.testbed.workers[worker].spawn()?;
            trial.facts.kills += 1;
        } else {
            trial.testbed.workers[worker].signal(Signal::Continue);
        }
        audit(trial.testbed.redis()?, AUDIT, 50, &mut seen)?;
    }
    let summary = trial.drain().await?;
    while audit(trial.testbed.redis()?, AUDIT, 1000, &mut seen)? > 0 {}
    let missed = summary.acked.difference(&seen).count();
    if missed > 0 {
        trial.fail(format!("{missed} events were trimmed before another group had them"));
    }
    trial.tell("stalls", stalls);
    trial.tell("audit_missed", missed);
    // Trimming waited for the other group; now it goes on, and nothing else changes.
    sleep(Duration::from_millis(300)).await;
    trial.end().await
}

/// Reads some entries as another group, and acks them; how many.
fn audit(
    redis: &Redis,
    group: &str,
    count: usize,
    seen: &mut HashSet<String>,
) -> redis::RedisResult<usize> {
    let mut read = cmd("XREADGROUP");
    read.arg("GROUP").arg(group).arg("reader").arg("COUNT").arg(count);
    read.arg("STREAMS").arg(STREAM).arg(">");
    type Entries = Vec<(String, Vec<redis::Value>)>;
    let streams: Option<Vec<(String, Entries)>> = redis.query(&read)?;
    let entries = streams.unwrap_or_default().into_iter().flat_map(|(_, entries)| entries);
    let mut ack = cmd("XACK");
    ack.arg(STREAM).arg(group);
    let mut read = 0;
    for (id, fields) in entries {
        // The key is the first field.
        if let Some(Ok(key)) = fields.into_iter().nth(1).map(redis::from_redis_value) {
            seen.insert(key);
        }
        ack.arg(id);
        read += 1;
    }
    if read > 0 {
        redis.query::<()>(&ack)?;
    }
    Ok(read)
}
