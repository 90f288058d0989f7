//! Load: callbacks as fast as a server takes them, or at a rate. Knows no kind of server: whatever
//! takes a signed callback at a URL can be held against offhook.
//!
//! It shares the machine with the server that it measures, so it must be cheap: one thread, one
//! write and one read for a request, and requests that are made by filling in blanks.

mod pace;
mod tally;
mod tape;
mod target;
mod watch;

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio::time::timeout;

use self::pace::Pace;
pub(crate) use self::tally::{Quantiles, Tally};
use self::tape::Page;
pub(crate) use self::target::Target;
pub(crate) use self::watch::{Seen, Watch, seen};
use super::wire::{self, Connection};

/// Longest wait for an answer: as long as Twilio's.
const PATIENCE: Duration = Duration::from_secs(15);
/// Wait after a failed connection, so that a dead server is not hammered.
const PAUSE: Duration = Duration::from_millis(10);

/// How much is sent, and how fast.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) connections: usize,
    /// Requests a second, whatever the answers take; `None` sends as fast as they come.
    pub(crate) rate: Option<f64>,
    /// For how long.
    pub(crate) time: Duration,
    /// How many at most.
    pub(crate) requests: Option<u64>,
}

/// What was measured, while it is and after it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Measured(Arc<Mutex<Tally>>);

impl Measured {
    /// Looks at it, or adds to it.
    pub(crate) fn with<T>(&self, look: impl FnOnce(&mut Tally) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Sends according to the plan, each connection to one of the targets in turn; how long it took.
/// Blocks its thread, which does nothing else.
///
/// # Errors
/// The system gives no thread or no event queue.
pub(crate) fn run(
    targets: &[Arc<Target>],
    plan: Plan,
    measured: &Measured,
    watch: Option<&Arc<Watch>>,
) -> io::Result<Duration> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let pace = Arc::new(Pace::start(plan)?);
    let mut senders = JoinSet::new();
    for target in targets.iter().cycle().take(plan.connections) {
        let sender = Sender {
            target: Arc::clone(target),
            pace: Arc::clone(&pace),
            measured: measured.clone(),
            watch: watch.cloned(),
        };
        senders.spawn_on(sender.run(), runtime.handle());
    }
    // Those that are due are sent, however late; whoever is not answered by then, is not.
    let all = async { timeout(plan.time + PATIENCE, senders.join_all()).await.is_ok() };
    if !runtime.block_on(all) {
        measured.with(|tally| tally.unanswered(pace.planned()));
    }
    Ok(pace.elapsed())
}

/// One connection's requests.
struct Sender {
    target: Arc<Target>,
    pace: Arc<Pace>,
    measured: Measured,
    watch: Option<Arc<Watch>>,
}

impl Sender {
    async fn run(self) {
        let address = self.target.address;
        let mut connection = Connection::open(address).await.ok();
        let mut page = Page::default();
        while let Some(due) = self.pace.next().await {
            self.target.tape.write(&mut page);
            // A request that goes a little early is not answered before it was sent.
            let due = due.min(Instant::now());
            let asking = wire::exchange(&mut connection, address, page.request.as_bytes());
            let answer = timeout(PATIENCE, asking).await;
            let answer = answer.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
            let took = due.elapsed();
            self.measured.with(|tally| tally.record(took, &answer, page.is_new));
            match answer {
                Ok(200..300) => self.watch(&page, due),
                Ok(_) => {}
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    fn watch(&self, page: &Page, due: Instant) {
        if let Some(watch) = &self.watch
            && page.is_new
        {
            watch.sample(due, || self.target.tape.key(page));
        }
    }
}
