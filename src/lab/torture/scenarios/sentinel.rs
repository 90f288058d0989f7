//! Redis behind Sentinels.

use std::time::Duration;

use anyhow::ensure;
use redis::cmd;
use tokio::time::{Instant, sleep};

use crate::lab::servers::{Fsync, Redis, Sentinel, free_port};
use crate::lab::torture::Run;
use crate::lab::torture::report::Report;
use crate::lab::torture::testbed::{Setup, Testbed};
use crate::lab::torture::trial::Trial;

/// Longer than any of it takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// The primary hangs until it is deposed, and wakes up believing that it still is one. What is written to it
/// then is gone once it learns better.
pub(super) async fn stale(name: String, run: &Run) -> anyhow::Result<Report> {
    let mut testbed = Testbed::prepare(run, &Setup::default())?;
    let (one, other) = (free_port()?, free_port()?);
    testbed.redis()?.query::<()>(cmd("CONFIG").arg("SET").arg("port").arg(one))?;
    let (port, of) = (other.to_string(), format!("127.0.0.1 {one}"));
    let mut second = Redis::told(Fsync::Always, &["--port", &port, "--replicaof", &of])?;
    let sentinels = (0..3).map(|_| Sentinel::of("main", one, 2));
    let sentinels = sentinels.collect::<anyhow::Result<Vec<_>>>()?;
    wait("the Sentinels know one another", || {
        Ok(sentinels.iter().all(|sentinel| sentinel.others().is_ok_and(|others| others == 2)))
    })
    .await?;
    let hosts: Vec<String> =
        sentinels.iter().map(|sentinel| format!("127.0.0.1:{}", sentinel.port())).collect();
    let url = format!("redis+sentinel://{}/main", hosts.join(","));
    testbed.set("REDIS_URL", &url);
    wait("the replica follows", || Ok(replication(&second)?.contains("master_link_status:up")))
        .await?;
    let mut trial = Trial::begin(name, run, testbed).await?;
    trial.recovers();
    sleep(trial.duration() / 2).await;
    // Nothing is acked that is not replicated: only that would be lost, whichever server accepts writes.
    let pause = cmd("CLIENT").arg("PAUSE").arg(1000).arg("WRITE").to_owned();
    trial.testbed.redis()?.query::<()>(&pause)?;
    sleep(Duration::from_millis(300)).await;
    trial.testbed.redis()?.pause();
    trial.facts.outages += 1;
    wait("another is the primary", || {
        Ok(sentinels.iter().all(|sentinel| sentinel.primary().is_ok_and(|port| port == other)))
    })
    .await?;
    trial.testbed.redis()?.go_on();
    sleep(trial.duration() / 2).await;
    wait("the old one learns that it is none", || {
        Ok(replication(trial.testbed.redis()?)?.contains("role:slave"))
    })
    .await?;
    // From now on it is the other one that is looked at.
    std::mem::swap(trial.testbed.redis()?, &mut second);
    trial.end().await
}

fn replication(redis: &Redis) -> redis::RedisResult<String> {
    redis.query(cmd("INFO").arg("replication"))
}

async fn wait(what: &str, mut ask: impl FnMut() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !ask().unwrap_or(false) {
        ensure!(Instant::now() < deadline, "not in time: {what}");
        sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}
