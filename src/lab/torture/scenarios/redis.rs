//! Redis is killed, stopped, full, or loses what it had not synced.

use std::time::Duration;

use anyhow::ensure;
use redis::cmd;
use tokio::time::{Instant, sleep};

use crate::lab::servers::{Fsync, Redis, Signal, free_port};
use crate::lab::torture::Run;
use crate::lab::torture::report::Report;
use crate::lab::torture::testbed::{STREAM, Setup, Testbed};
use crate::lab::torture::trial::Trial;

pub(super) async fn kill(name: String, run: &Run) -> anyhow::Result<Report> {
    let mut trial = Trial::begin(name, run, Testbed::prepare(run, &Setup::default())?).await?;
    while trial.goes_on() {
        trial.pause(300..1200).await;
        trial.testbed.redis()?.kill();
        trial.facts.kills += 1;
        trial.pause(1..300).await;
        trial.testbed.redis()?.restart()?;
    }
    trial.end().await
}

/// What `appendfsync everysec` costs when the power fails. A process that is killed has handed its
/// writes to the kernel, so that alone would show nothing: the last second is cut off its file. The
/// worker is stopped before, or most of it would be in the store already.
pub(super) async fn power_cut(name: String, run: &Run) -> anyhow::Result<Report> {
    /// Of the time for which Redis may keep writes unsynced, the lesser part.
    const UNSYNCED: Duration = Duration::from_secs(1);
    let setup = Setup { fsync: Fsync::EverySecond, ..Setup::default() };
    let mut trial = Trial::begin(name, run, Testbed::prepare(run, &setup)?).await?;
    trial.facts.expected_loss = true;
    trial.tell("fsync", "everysec");
    while trial.goes_on() {
        trial.pause(200..500).await;
        trial.testbed.workers[0].signal(Signal::Stop);
        let synced = trial.testbed.redis()?.log_size();
        sleep(UNSYNCED).await;
        trial.testbed.redis()?.kill();
        trial.testbed.redis()?.cut_log(synced)?;
        trial.facts.kills += 1;
        trial.testbed.redis()?.restart()?;
        trial.testbed.workers[0].signal(Signal::Continue);
    }
    trial.end().await
}

pub(super) async fn stopped(name: String, run: &Run) -> anyhow::Result<Report> {
    let mut trial = Trial::begin(name, run, Testbed::prepare(run, &Setup::default())?).await?;
    trial.testbed.redis()?.pause();
    trial.facts.outages += 1;
    sleep(trial.duration()).await;
    trial.testbed.redis()?.go_on();
    trial.end().await
}

/// How often it had no memory for what it was asked to do, as `INFO` has it.
const OOM: &str = "errorstat_OOM:count=";

/// First no worker reads, so that it fills; then the workers empty it, and it fills with their marks.
/// In the end it gets more memory.
pub(super) async fn full(name: String, run: &Run) -> anyhow::Result<Report> {
    /// More than what it has, so that it takes some.
    const ROOM: usize = 256 * 1024;
    /// Longer than a slow machine takes to fill that.
    const PATIENCE: Duration = Duration::from_secs(60);
    let mut trial = Trial::begin(name, run, Testbed::prepare(run, &Setup::default())?).await?;
    trial.testbed.workers[0].signal(Signal::Stop);
    let redis = trial.testbed.redis()?;
    let limit = info(redis, "used_memory:")? + ROOM;
    redis.query::<()>(cmd("CONFIG").arg("SET").arg("maxmemory").arg(limit))?;
    trial.facts.outages += 1;
    let deadline = Instant::now() + PATIENCE;
    while info(trial.testbed.redis()?, OOM)? == 0 {
        ensure!(Instant::now() < deadline, "Redis does not get full");
        sleep(Duration::from_millis(20)).await;
    }
    sleep(trial.duration() / 2).await;
    trial.testbed.workers[0].signal(Signal::Continue);
    sleep(trial.duration() / 2).await;
    let redis = trial.testbed.redis()?;
    let refused = info(redis, OOM)?;
    redis.query::<()>(cmd("CONFIG").arg("SET").arg("maxmemory").arg(0))?;
    trial.tell("oom_errors", refused);
    trial.end().await
}

/// A number of `INFO`, by the start of its line; 0 if the line is missing.
fn info(redis: &Redis, start: &str) -> redis::RedisResult<usize> {
    let text: String = redis.query(cmd("INFO").arg("everything"))?;
    let number = text.lines().find_map(|line| line.strip_prefix(start)?.trim().parse().ok());
    Ok(number.unwrap_or_default())
}

/// Postgres is away, and Redis restarts twice. What a worker shows as waiting must be what waits: Redis
/// itself forgets up to where our group has read.
pub(super) async fn restart_backlog(name: String, run: &Run) -> anyhow::Result<Report> {
    let mut testbed = Testbed::prepare(run, &Setup::default())?;
    let admin = format!("127.0.0.1:{}", free_port()?);
    testbed.workers[0].set("OFFHOOK_ADMIN__LISTEN", &admin);
    let mut trial = Trial::begin(name, run, testbed).await?;
    trial.recovers();
    // So that something was read before.
    sleep(trial.duration() / 4).await;
    trial.testbed.postgres()?.kill();
    trial.facts.outages += 1;
    for _ in 0..2 {
        sleep(trial.duration() / 4).await;
        trial.testbed.redis()?.kill();
        trial.facts.kills += 1;
        trial.testbed.redis()?.restart()?;
        shows_what_waits(&mut trial, &admin).await?;
    }
    trial.testbed.postgres()?.restart()?;
    trial.end().await
}

async fn shows_what_waits(trial: &mut Trial, admin: &str) -> anyhow::Result<()> {
    const PATIENCE: Duration = Duration::from_secs(20);
    let client = crate::http::client::new(PATIENCE)?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let before = waits(trial.testbed.redis()?)?;
        // As often as it is looked at, and more.
        sleep(Duration::from_millis(500)).await;
        let text = client.get(format!("http://{admin}/metrics")).send().await?.text().await?;
        let shown = text.lines().find_map(|line| line.strip_prefix("offhook_stream_depth "));
        let shown: usize = shown.and_then(|depth| depth.parse().ok()).unwrap_or_default();
        let after = waits(trial.testbed.redis()?)?;
        if (before * 9 / 10..=after + after / 10 + 10).contains(&shown) {
            trial.tell("backlog", shown);
            return Ok(());
        }
        if Instant::now() > deadline {
            trial.fail(format!("{before} to {after} entries wait, and {shown} are shown"));
            return Ok(());
        }
    }
}

/// Entries that are not acked, counted one by one.
fn waits(redis: &Redis) -> anyhow::Result<usize> {
    type Group = std::collections::HashMap<String, redis::Value>;
    let groups: Vec<Group> = redis.query(cmd("XINFO").arg("GROUPS").arg(STREAM))?;
    let Some(mut group) = groups.into_iter().next() else { return Ok(0) };
    let mut of = |name: &str| group.remove(name).unwrap_or(redis::Value::Nil);
    let pending: usize = redis::from_redis_value(of("pending"))?;
    let last: String = redis::from_redis_value(of("last-delivered-id"))?;
    let unread: Vec<(String, redis::Value)> =
        redis.query(cmd("XRANGE").arg(STREAM).arg(format!("({last}")).arg("+"))?;
    Ok(pending + unread.len())
}

/// First Redis is full of what an older version left, and may drop it; then nothing may be dropped, and
/// events need the room. It stays as it is until all is stored.
pub(super) async fn marks_full(name: String, run: &Run) -> anyhow::Result<Report> {
    let mut trial = Trial::begin(name, run, Testbed::prepare(run, &Setup::default())?).await?;
    trial.recovers();
    let set = |trial: &mut Trial, name: &str, value: String| -> anyhow::Result<()> {
        Ok(trial.testbed.redis()?.query::<()>(cmd("CONFIG").arg("SET").arg(name).arg(value))?)
    };
    let limit = info(trial.testbed.redis()?, "used_memory:")? * 3;
    set(&mut trial, "maxmemory-policy", "volatile-ttl".to_owned())?;
    set(&mut trial, "maxmemory", limit.to_string())?;
    // Far more than there is room for: a running script may continue.
    let fill = "for n = 1, 100000 do \
                redis.call('SET', 'offhook:events:done:' .. n, '1', 'EX', 21600) end return 100000";
    let marks: usize = trial.testbed.redis()?.query(cmd("EVAL").arg(fill).arg(0))?;
    trial.facts.outages += 1;
    sleep(trial.duration() / 2).await;
    let summary = trial.calm_for_now().await?;
    if trial.stored(&summary).await.is_none() {
        trial.fail("with a full Redis that may drop marks, not all is stored");
    }
    set(&mut trial, "maxmemory-policy", "noeviction".to_owned())?;
    sleep(trial.duration() / 2).await;
    trial.tell("marks_before", marks);
    trial.end().await
}

/// All that waits is stored in a moment, since it is known, and must then be freed as fast. With the default
/// of how often that is done.
pub(super) async fn trim_pace(name: String, run: &Run) -> anyhow::Result<Report> {
    const COPIES: usize = 25_000;
    /// Less than one call frees.
    const FEW: usize = 10_000;
    const WITHIN: Duration = Duration::from_secs(30);
    let mut testbed = Testbed::prepare(run, &Setup::default())?;
    testbed.workers[0].unset("OFFHOOK_WORKER__TRIM_EVERY_MS");
    let mut trial = Trial::begin(name, run, testbed).await?;
    sleep(trial.duration() / 2).await;
    trial.testbed.workers[0].signal(Signal::Stop);
    sleep(Duration::from_millis(500)).await;
    // Duplicates of what was sent.
    let copy = "local entries = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 300) \
                if #entries == 0 then return 0 end \
                for n = 0, ARGV[1] - 1 do \
                redis.call('XADD', KEYS[1], '*', unpack(entries[n % #entries + 1][2])) end \
                return tonumber(ARGV[1])";
    let copied: usize =
        trial.testbed.redis()?.query(cmd("EVAL").arg(copy).arg(1).arg(STREAM).arg(COPIES))?;
    ensure!(copied == COPIES, "there was nothing to copy");
    trial.testbed.workers[0].signal(Signal::Continue);
    // An unoptimized program on a busy machine takes its time.
    let deadline = Instant::now() + 4 * WITHIN;
    while waits(trial.testbed.redis()?)? > FEW {
        ensure!(Instant::now() < deadline, "the backlog does not shrink");
        sleep(Duration::from_millis(50)).await;
    }
    let began = Instant::now();
    loop {
        let left: usize = trial.testbed.redis()?.query(cmd("XLEN").arg(STREAM))?;
        if left < FEW {
            break;
        }
        if began.elapsed() > WITHIN {
            trial.fail(format!("{left} entries are stored and not freed"));
            break;
        }
        sleep(Duration::from_millis(50)).await;
    }
    trial.tell("freed_ms", began.elapsed().as_millis() as u64);
    trial.end().await
}
