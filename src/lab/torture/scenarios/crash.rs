//! Processes that abort between two steps, at every point that there is.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt as _;

use anyhow::ensure;
use redis::cmd;
use serde_json::json;
use tokio::time::{Duration, Instant, sleep};

use crate::crash_points::{CAN_CRASH, CRASH_AT, Point};
use crate::lab::servers::Signal;
use crate::lab::torture::Run;
use crate::lab::torture::load::Volume;
use crate::lab::torture::report::{Facts, Report};
use crate::lab::torture::sending::Sending;
use crate::lab::torture::server::Server;
use crate::lab::torture::testbed::{STREAM, Setup, Testbed};
use crate::lab::torture::trial::Trial;

/// A start that takes longer than this never ends.
const START_WITHIN: Duration = Duration::from_secs(60);
/// A point that is not passed within this time by a process that runs is given up, and the next one taken. When the time is
/// over, it has twice as long at each further try.
const PATIENCE: Duration = Duration::from_secs(5);
const LONGEST_PATIENCE: Duration = Duration::from_secs(30);
/// For how long points are tried that were not met when the time was over.
const LATE: Duration = Duration::from_secs(60);
/// Longest wait until everything is settled, without load.
const LETS_GO_WITHIN: Duration = Duration::from_secs(10);
/// Callbacks at a pace that a slow machine keeps up with: what counts is that a process comes to each point.
pub(super) const GENTLE: Volume = Volume { rate: 200, copies: 1, keep_alive: true };
/// What a process that aborts is ended by.
const ABORTED: i32 = rustix::process::Signal::ABORT.as_raw();
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
    let mut testbed =
        Testbed::prepare(run, &Setup { workers: Some(2), volume: GENTLE, ..Setup::default() })?;
    testbed.set("OFFHOOK_WORKER__MAX_DELIVERIES", "100000");
    testbed.set("OFFHOOK_WORKER__RECLAIM_IDLE_MS", "300");
    let mut trial = Trial::begin(name, run, testbed).await?;
    let mut turns = Turns::of(&Point::WORKER);
    while let Some(point) = turns.next(trial.goes_on()) {
        let rare = matches!(point, Point::Claimed | Point::PutAside);
        let passes = if rare { 1 } else { turns.passes(trial.any(4)) };
        arm(&mut trial.testbed.workers[0], point, passes)?;
        if rare {
            // What it holds becomes idle, and it removes nothing.
            trial.testbed.workers[1].signal(Signal::Stop);
        }
        if point == Point::PutAside {
            // The first may go to the other one's read, for which Redis had it wait.
            let garbage =
                cmd("XADD").arg(STREAM).arg("*").arg("garbage").arg(turns.begun).to_owned();
            for _ in 0..2 {
                trial.testbed.redis()?.query::<String>(&garbage)?;
                trial.facts.dead_letters += 1;
            }
        }
        turns.wait(&mut trial.testbed.workers[0], point).await?;
        trial.testbed.workers[1].signal(Signal::Continue);
    }
    disarm(&mut trial.testbed.workers[0])?;
    turns.tell(&mut trial.facts);
    trial.end().await
}

/// A receiver, from the batch that it holds to the answer, and its drainer. Another one lives.
pub(super) async fn receiver(name: String, run: &Run) -> anyhow::Result<Report> {
    if let Some(report) = skipped(&name) {
        return Ok(report);
    }
    let testbed =
        Testbed::prepare(run, &Setup { receivers: 2, volume: GENTLE, ..Setup::default() })?;
    let mut trial = Trial::begin(name, run, testbed).await?;
    let mut turns = Turns::of(&Point::RECEIVER);
    while let Some(point) = turns.next(trial.goes_on()) {
        let direct = matches!(point, Point::Gathered | Point::Recorded);
        let into_spool =
            [Point::Unspooled, Point::Begun, Point::Written, Point::Synced, Point::Spooled];
        let drainer = !direct && !into_spool.contains(&point);
        // Only the first of these is sure to come.
        let passes = if drainer || point == Point::Begun { 1 } else { turns.passes(trial.any(4)) };
        arm(&mut trial.testbed.receivers[0], point, passes)?;
        runs_or_ended(&mut trial.testbed.receivers[0]).await?;
        if !direct {
            trial.testbed.redis()?.pause();
            trial.facts.outages += 1;
        }
        if drainer {
            // Something has to be in the spool.
            sleep(Duration::from_millis(400)).await;
            trial.testbed.redis()?.go_on();
        }
        turns.wait(&mut trial.testbed.receivers[0], point).await?;
        trial.testbed.redis()?.go_on();
    }
    disarm(&mut trial.testbed.receivers[0])?;
    turns.tell(&mut trial.facts);
    trial.end().await
}

/// The one embedded process, from the batch that it holds to the release of its log.
pub(super) async fn embedded(name: String, run: &Run) -> anyhow::Result<Report> {
    if let Some(report) = skipped(&name) {
        return Ok(report);
    }
    let mut testbed =
        Testbed::prepare(run, &Setup { workers: None, volume: GENTLE, ..Setup::default() })?;
    testbed.give_admin_port()?;
    let mut trial = Trial::begin(name, run, testbed).await?;
    let mut turns = Turns::of(&Point::LOCAL);
    while let Some(point) = turns.next(trial.goes_on()) {
        // Only the first of these is sure to come soon.
        let once = matches!(point, Point::Begun | Point::Released | Point::LetGo);
        let passes = if once { 1 } else { turns.passes(trial.any(4)) };
        let lets_go = matches!(point, Point::Released | Point::LetGo);
        let server = &mut trial.testbed.receivers[0];
        arm(server, point, passes)?;
        if lets_go {
            // Everything has to be settled, which a machine that does other things never does under this load.
            trial.load.rest(true);
            until_it_lets_go(server).await?;
        }
        turns.wait(server, point).await?;
        trial.load.rest(false);
    }
    disarm(&mut trial.testbed.receivers[0])?;
    turns.tell(&mut trial.facts);
    trial.end().await
}

/// The one embedded process, from its lease on forwarding to how far it came.
pub(super) async fn abort_while_forwarding(trial: &mut Trial) -> anyhow::Result<()> {
    let mut turns = Turns::of(&Point::FORWARD);
    while let Some(point) = turns.next(trial.goes_on()) {
        let passes = if point == Point::Leased { 1 } else { turns.passes(trial.any(5)) };
        arm(&mut trial.testbed.receivers[0], point, passes)?;
        turns.wait(&mut trial.testbed.receivers[0], point).await?;
    }
    disarm(&mut trial.testbed.receivers[0])?;
    turns.tell(&mut trial.facts);
    Ok(())
}

/// The one process that sends, from its slot to what callbacks say.
pub(super) async fn abort_while_sending(sending: &mut Sending) -> anyhow::Result<()> {
    let mut turns = Turns::of(&Point::SENDER);
    while let Some(point) = turns.next(sending.goes_on()) {
        let passes = turns.passes(sending.any(10));
        arm(&mut sending.testbed.receivers[0], point, passes)?;
        turns.wait(&mut sending.testbed.receivers[0], point).await?;
    }
    disarm(&mut sending.testbed.receivers[0])?;
    turns.tell(&mut sending.facts);
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

/// The points at which a process has to abort: one after the other while there is time, then those that it has not met,
/// until it has met each. How long a start or a batch takes on a slow machine changes only how often each is met.
struct Turns {
    points: &'static [Point],
    /// How many turns have begun.
    begun: usize,
    /// When the time was over, and how long the next try of a point may take since then.
    late: Option<Instant>,
    patience: BTreeMap<&'static str, Duration>,
    /// How often the process has aborted at each point.
    aborts: BTreeMap<&'static str, usize>,
}

impl Turns {
    fn of(points: &'static [Point]) -> Self {
        Self { points, begun: 0, late: None, patience: BTreeMap::new(), aborts: BTreeMap::new() }
    }

    /// Where to abort next; nowhere once the time is over and each point was met, or was tried often enough.
    fn next(&mut self, in_time: bool) -> Option<Point> {
        let turn = self.begun;
        self.begun += 1;
        if in_time {
            return Some(self.points[turn % self.points.len()]);
        }
        let late = *self.late.get_or_insert_with(Instant::now);
        let left = self.not_met();
        let gives_up = late.elapsed() > LATE;
        (!gives_up && !left.is_empty()).then(|| left[turn % left.len()])
    }

    /// How often a point is passed before the process aborts: the first time that it can, once the time is over.
    fn passes(&self, more: usize) -> usize {
        if self.late.is_some() { 1 } else { 1 + more }
    }

    /// Waits until the process has aborted, for as long as the point has from when the process runs.
    async fn wait(&mut self, server: &mut Server, point: Point) -> anyhow::Result<()> {
        runs_or_ended(server).await?;
        let patience = self.patience.get(point.as_str()).copied().unwrap_or(PATIENCE);
        let deadline = Instant::now() + patience;
        while Instant::now() < deadline {
            if let Some(ended) = server.ended() {
                let (name, log) = (&server.name, server.log());
                ensure!(ended.signal() == Some(ABORTED), "{name} ended with {ended}:\n{log}");
                *self.aborts.entry(point.as_str()).or_default() += 1;
                server.kill();
                return Ok(());
            }
            sleep(POLL).await;
        }
        if self.late.is_some() {
            self.patience.insert(point.as_str(), (patience * 2).min(LONGEST_PATIENCE));
        }
        server.kill();
        Ok(())
    }

    fn not_met(&self) -> Vec<Point> {
        let met = |point: &Point| self.aborts.contains_key(point.as_str());
        self.points.iter().copied().filter(|point| !met(point)).collect()
    }

    fn tell(self, facts: &mut Facts) {
        facts.kills = self.aborts.values().sum();
        for point in self.not_met() {
            facts.failures.push(format!("no abort at {}", point.as_str()));
        }
        facts.details.insert("aborts".to_owned(), json!(self.aborts));
    }
}

/// Has a process release its log and finish the file that it writes; by itself it would do that after seconds, and once
/// the file is full. All of the file has to be settled, and the process ends in the middle of it: what the command says
/// of that is no failure.
async fn until_it_lets_go(server: &mut Server) -> anyhow::Result<()> {
    runs_or_ended(server).await?;
    let deadline = Instant::now() + LETS_GO_WITHIN;
    while server.ended().is_none() && Instant::now() < deadline {
        let _ = server.purge();
        sleep(POLL).await;
    }
    Ok(())
}

/// Waits until the process runs, or has ended on the way there.
async fn runs_or_ended(server: &mut Server) -> anyhow::Result<()> {
    let deadline = Instant::now() + START_WITHIN;
    while !server.announce() && server.ended().is_none() {
        ensure!(Instant::now() < deadline, "{} does not start", server.name);
        sleep(POLL).await;
    }
    Ok(())
}
