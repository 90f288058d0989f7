//! Redis is killed, stopped, full, or loses what it had not synced.

use std::time::Duration;

use anyhow::ensure;
use redis::cmd;
use tokio::time::{Instant, sleep};

use crate::torture::Run;
use crate::torture::play::Play;
use crate::torture::report::Report;
use crate::torture::servers::{Fsync, Redis, Signal};
use crate::torture::stage::{Setup, Stage};

pub(super) async fn kill(name: String, run: &Run) -> anyhow::Result<Report> {
    let mut play = Play::begin(name, run, Stage::prepare(run, &Setup::default())?).await?;
    while play.goes_on() {
        play.pause(300..1200).await;
        play.stage.redis()?.kill();
        play.facts.kills += 1;
        play.pause(1..300).await;
        play.stage.redis()?.restart()?;
    }
    play.end().await
}

/// What `appendfsync everysec` costs when the power fails. A process that is killed has handed its
/// writes to the kernel, so that alone would show nothing: the last second is cut off its file. The
/// worker is stopped before, or most of it would be in the store already.
pub(super) async fn power_cut(name: String, run: &Run) -> anyhow::Result<Report> {
    /// Of the time for which Redis may keep writes unsynced, the lesser part.
    const UNSYNCED: Duration = Duration::from_secs(1);
    let setup = Setup { fsync: Fsync::EverySecond, ..Setup::default() };
    let mut play = Play::begin(name, run, Stage::prepare(run, &setup)?).await?;
    play.facts.expected_loss = true;
    play.tell("fsync", "everysec");
    while play.goes_on() {
        play.pause(200..500).await;
        play.stage.workers[0].signal(Signal::Stop);
        let synced = play.stage.redis()?.log_size();
        sleep(UNSYNCED).await;
        play.stage.redis()?.kill();
        play.stage.redis()?.cut_log(synced)?;
        play.facts.kills += 1;
        play.stage.redis()?.restart()?;
        play.stage.workers[0].signal(Signal::Continue);
    }
    play.end().await
}

pub(super) async fn stopped(name: String, run: &Run) -> anyhow::Result<Report> {
    let mut play = Play::begin(name, run, Stage::prepare(run, &Setup::default())?).await?;
    play.stage.redis()?.pause();
    play.facts.outages += 1;
    sleep(play.duration()).await;
    play.stage.redis()?.go_on();
    play.end().await
}

/// How often it had no memory for what it was asked to do, as `INFO` has it.
const OOM: &str = "errorstat_OOM:count=";

/// First nobody reads, so that it fills; then the workers empty it, and it fills with their marks.
/// In the end it gets more memory.
pub(super) async fn full(name: String, run: &Run) -> anyhow::Result<Report> {
    /// More than what it has, so that it takes some.
    const ROOM: usize = 256 * 1024;
    /// Longer than a slow machine takes to fill that.
    const PATIENCE: Duration = Duration::from_secs(60);
    let mut play = Play::begin(name, run, Stage::prepare(run, &Setup::default())?).await?;
    play.stage.workers[0].signal(Signal::Stop);
    let redis = play.stage.redis()?;
    let limit = info(redis, "used_memory:")? + ROOM;
    redis.query::<()>(cmd("CONFIG").arg("SET").arg("maxmemory").arg(limit))?;
    play.facts.outages += 1;
    let deadline = Instant::now() + PATIENCE;
    while info(play.stage.redis()?, OOM)? == 0 {
        ensure!(Instant::now() < deadline, "Redis does not get full");
        sleep(Duration::from_millis(20)).await;
    }
    sleep(play.duration() / 2).await;
    play.stage.workers[0].signal(Signal::Continue);
    sleep(play.duration() / 2).await;
    let redis = play.stage.redis()?;
    let refused = info(redis, OOM)?;
    redis.query::<()>(cmd("CONFIG").arg("SET").arg("maxmemory").arg(0))?;
    play.tell("oom_errors", refused);
    play.end().await
}

/// A number of `INFO`, by how its line begins; 0 if there is none.
fn info(redis: &Redis, start: &str) -> redis::RedisResult<usize> {
    let text: String = redis.query(cmd("INFO").arg("everything"))?;
    let number = text.lines().find_map(|line| line.strip_prefix(start)?.trim().parse().ok());
    Ok(number.unwrap_or_default())
}
