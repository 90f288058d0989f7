//! What `offhook bench` sends: callbacks as fast as a server takes them, or at a rate. Knows no kind of
//! server: anything that accepts a signed callback at a URL can be compared with offhook.
//!
//! It shares the machine with the server that it measures, so it must be cheap: one thread, one
//! write and one read for a request, and requests that are made by filling in blanks.

mod rows;
mod target;
mod template;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::time::timeout;

pub(crate) use self::rows::{RowLatencies, RowSampler, row_latencies};
pub(crate) use self::target::Target;
use self::template::Filled;
use super::load::{ANSWER_TIMEOUT, Lane, Plan, Schedule, Tally, Turn, send_all};
use super::wire::{self, Connection};

/// Wait after a failed connection, so that a dead server is not hammered.
const PAUSE: Duration = Duration::from_millis(10);

/// What was measured, while it is and after it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Measured(Arc<Mutex<Tally>>);

impl Measured {
    /// Looks at it, or adds to it.
    pub(crate) fn with<T>(&self, look: impl FnOnce(&mut Tally) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Sends according to the plan over this many connections, each to one of the targets in turn, and returns how long it
/// took. Blocks its thread, which does nothing else.
///
/// # Errors
/// The system gives no thread or no event queue.
pub(crate) fn run(
    targets: &[Arc<Target>],
    connections: usize,
    plan: Plan,
    measured: &Measured,
    sampler: Option<&Arc<RowSampler>>,
) -> anyhow::Result<Duration> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("the load has no thread")?;
    let schedule = Arc::new(Schedule::start(plan).context("the load has no clock")?);
    let lanes = targets.iter().cycle().take(connections).map(|target| Sender {
        target: Arc::clone(target),
        measured: measured.clone(),
        sampler: sampler.cloned(),
        connection: None,
        filled: Filled::default(),
    });
    // Everything due is sent, however late; requests unanswered at the deadline count as unanswered.
    let longest = plan.time.map_or(Duration::MAX, |time| time + ANSWER_TIMEOUT);
    match runtime.block_on(async { timeout(longest, send_all(&schedule, lanes)).await }) {
        Ok(sent) => sent?,
        Err(_) => measured.with(|tally| tally.unanswered(schedule.planned())),
    }
    Ok(schedule.elapsed())
}

/// One connection's requests.
struct Sender {
    target: Arc<Target>,
    measured: Measured,
    sampler: Option<Arc<RowSampler>>,
    connection: Option<Connection>,
    filled: Filled,
}

impl Lane for Sender {
    async fn open(&mut self) {
        self.connection = Connection::open(self.target.address).await.ok();
    }

    async fn send(&mut self, turn: Turn) -> anyhow::Result<()> {
        self.target.templates.write(&mut self.filled);
        // A request that goes a little early is not answered before it was sent.
        let due = turn.due.min(Instant::now());
        let request = self.filled.request.as_bytes();
        let asking = wire::exchange(&mut self.connection, self.target.address, request);
        let answer = timeout(ANSWER_TIMEOUT, asking).await;
        let answer = answer.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()));
        let (took, events) = (due.elapsed(), u64::from(self.filled.is_new));
        self.measured.with(|tally| tally.record(&answer, Some(took), events));
        match answer {
            Ok(200..300) => self.sample(due),
            Ok(_) => {}
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
        Ok(())
    }
}

impl Sender {
    fn sample(&self, due: Instant) {
        if let Some(sampler) = &self.sampler
            && self.filled.is_new
        {
            sampler.sample(due, || self.target.templates.key(&self.filled));
        }
    }
}
