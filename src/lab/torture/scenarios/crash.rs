//! Processes that abort between two steps, at every point that there is.

use redis::cmd;
use serde_json::{Map, Value};
use tokio::time::{Duration, Instant, sleep};

use crate::crash_points::{CAN_CRASH, CRASH_AT, Point};
use crate::lab::servers::Signal;
use crate::lab::torture::Run;
use crate::lab::torture::report::Report;
use crate::lab::torture::sending::Sending;
use crate::lab::torture::server::Server;
use crate::lab::torture::testbed::{STREAM, Setup, Testbed};
use crate::lab::torture::trial::Trial;

/// A point that is not passed within this time is given up, and the next one taken.
const PATIENCE: Duration = Duration::from_secs(3);
const POLL: Duration = Duration::from_millis(5);

/// Its report in a build without crash points.
pub(super) fn skipped(name: &str) -> Option<Report> {
    let how = "no crash points in this program: cargo build --features crash-points";
    (!CAN_CRASH).then(|| Report::skipped(name.to_owned(), how.to_owned()))
}

/// A worker, at every step between reading an event and acking it. Another one lives, and takes
/// over what is left.
pub(super) async fn worker(name: String, run: &Run) -> anyhow::Result<Report> {
    if let Some(report) = skipped(&name) {
        return Ok(report);
    }
    let mut testbed = Testbed::prepare(run, &Setup { workers: Some(2), ..Setup::default() })?;
    testbed.set("OFFHOOK_WORKER__MAX_DELIVERIES", "100000");
    testbed.set("OFFHOOK_WORKER__RECLAIM_IDLE_MS", "300");
    let mut trial = Trial::begin(name, run, testbed).await?;
    let mut aborts = Map::new();
    for (turn, point) in Point::WORKER.into_iter().cycle().enumerate() {
        if !trial.goes_on() {
            break;
        }
        let rare = matches!(point, Point::Claimed | Point::PutAside);
        let passes = if rare { 1 } else { 1 + trial.any(4) };
        arm(&mut trial.testbed.workers[0], point, passes)?;
        if rare {
            // What it holds becomes idle, and it removes nothing.
            trial.testbed.workers[1].signal(Signal::Stop);
        }
        if point == Point::PutAside {
            // The first may go to the other one's read, for which Redis had it wait.
            let garbage = cmd("XADD").arg(STREAM).arg("*").arg("garbage").arg(turn).to_owned();
            for _ in 0..2 {
                trial.testbed.redis()?.query::<String>(&garbage)?;
                trial.facts.dead_letters += 1;
            }
        }
        wait_for_abort(&mut trial.testbed.workers[0], point, &mut aborts).await;
        trial.testbed.workers[1].signal(Signal::Continue);
    }
    disarm(&mut trial.testbed.workers[0])?;
    told(trial, aborts).await
}

/// A receiver, from the batch that it holds to the answer, and its drainer. Another one lives.
pub(super) async fn receiver(name: String, run: &Run) -> anyhow::Result<Report> {
    if let Some(report) = skipped(&name) {
        return Ok(report);
    }
    let testbed = Testbed::prepare(run, &Setup { receivers: 2, ..Setup::default() })?;
    let mut trial = Trial::begin(name, run, testbed).await?;
    let mut aborts = Map::new();
    for point in Point::RECEIVER.into_iter().cycle() {
        if !trial.goes_on() {
            break;
        }
        let direct = matches!(point, Point::Gathered | Point::Recorded);
        let into_spool =
            [Point::Unspooled, Point::Begun, Point::Written, Point::Synced, Point::Spooled];
        let drainer = !direct && !into_spool.contains(&point);
        // Only the first of these is sure to come.
        let passes = if drainer || point == Point::Begun { 1 } else { 1 + trial.any(4) };
        arm(&mut trial.testbed.receivers[0], point, passes)?;
        while !trial.testbed.receivers[0].announce() && trial.testbed.receivers[0].ended().is_none()
        {
            sleep(POLL).await;
        }
        if !direct {
            trial.testbed.redis()?.pause();
            trial.facts.outages += 1;
        }
        if drainer {
            // Something has to be in the spool.
            sleep(Duration::from_millis(400)).await;
            trial.testbed.redis()?.go_on();
        }
        wait_for_abort(&mut trial.testbed.receivers[0], point, &mut aborts).await;
        trial.testbed.redis()?.go_on();
    }
    disarm(&mut trial.testbed.receivers[0])?;
    told(trial, aborts).await
}

/// The one embedded process, from the batch that it holds to the release of its log.
pub(super) async fn embedded(name: String, run: &Run) -> anyhow::Result<Report> {
    if let Some(report) = skipped(&name) {
        return Ok(report);
    }
    let testbed = Testbed::prepare(run, &Setup { workers: None, ..Setup::default() })?;
    let mut trial = Trial::begin(name, run, testbed).await?;
    let mut aborts = Map::new();
    for point in Point::LOCAL.into_iter().cycle() {
        if !trial.goes_on() {
            break;
        }
        // Only the first of these is sure to come soon.
        let once = matches!(point, Point::Begun | Point::Released | Point::LetGo);
        let passes = if once { 1 } else { 1 + trial.any(4) };
        arm(&mut trial.testbed.receivers[0], point, passes)?;
        wait_for_abort(&mut trial.testbed.receivers[0], point, &mut aborts).await;
    }
    disarm(&mut trial.testbed.receivers[0])?;
    told(trial, aborts).await
}

/// The one embedded process, from its lease on forwarding to how far it came.
pub(super) async fn abort_while_forwarding(trial: &mut Trial) -> anyhow::Result<()> {
    let mut aborts = Map::new();
    for point in Point::FORWARD.into_iter().cycle() {
        if !trial.goes_on() {
            break;
        }
        let passes = if point == Point::Leased { 1 } else { 1 + trial.any(5) };
        arm(&mut trial.testbed.receivers[0], point, passes)?;
        // It has to start, and something has to be stored.
        let patience = 4 * PATIENCE;
        wait_within(patience, &mut trial.testbed.receivers[0], point, &mut aborts).await;
    }
    disarm(&mut trial.testbed.receivers[0])?;
    tell(trial, aborts);
    Ok(())
}

/// The one process that sends, from its slot to what callbacks say.
pub(super) async fn abort_while_sending(sending: &mut Sending) -> anyhow::Result<()> {
    let mut aborts = Map::new();
    for point in Point::SENDER.into_iter().cycle() {
        if !sending.goes_on() {
            break;
        }
        let passes = 1 + sending.any(10);
        arm(&mut sending.testbed.receivers[0], point, passes)?;
        // It has to start, and something has to be due.
        wait_within(4 * PATIENCE, &mut sending.testbed.receivers[0], point, &mut aborts).await;
    }
    disarm(&mut sending.testbed.receivers[0])?;
    sending.facts.kills = aborts.values().filter_map(Value::as_u64).sum::<u64>() as usize;
    if sending.facts.kills == 0 {
        sending.facts.failures.push("nothing aborted".to_owned());
    }
    sending.tell("aborts", aborts);
    Ok(())
}

fn arm(server: &mut Server, point: Point, passes: usize) -> anyhow::Result<()> {
    server.kill();
    server.set(CRASH_AT, format!("{}:{passes}", point.as_str()));
    server.spawn()
}

fn disarm(server: &mut Server) -> anyhow::Result<()> {
    server.kill();
    server.unset(CRASH_AT);
    server.start()
}

async fn wait_for_abort(server: &mut Server, point: Point, aborts: &mut Map<String, Value>) {
    wait_within(PATIENCE, server, point, aborts).await;
}

async fn wait_within(
    patience: Duration,
    server: &mut Server,
    point: Point,
    aborts: &mut Map<String, Value>,
) {
    let deadline = Instant::now() + patience;
    while Instant::now() < deadline {
        server.announce();
        if server.ended().is_some() {
            let count = aborts.get(point.as_str()).and_then(Value::as_u64).unwrap_or_default();
            aborts.insert(point.as_str().to_owned(), (count + 1).into());
            break;
        }
        sleep(POLL).await;
    }
    server.kill();
}

async fn told(mut trial: Trial, aborts: Map<String, Value>) -> anyhow::Result<Report> {
    tell(&mut trial, aborts);
    trial.end().await
}

fn tell(trial: &mut Trial, aborts: Map<String, Value>) {
    trial.facts.kills = aborts.values().filter_map(Value::as_u64).sum::<u64>() as usize;
    if trial.facts.kills == 0 {
        trial.fail("nothing aborted");
    }
    trial.tell("aborts", aborts);
}
