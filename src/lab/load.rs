//! The load generator: a [`Schedule`] says when a request is due, [`Lane`]s send, a [`Tally`] counts the
//! answers. `bench`, the demo and the torture differ in what a lane sends, and where it looks for the
//! answer.

mod schedule;
mod tally;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::task::JoinSet;

pub(crate) use self::schedule::{Overdue, Plan, Schedule};
pub(crate) use self::tally::{Latencies, Quantiles, Tally};

/// Longest wait for an answer: as long as Twilio's.
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);

/// A request that is due.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Turn {
    /// How many there were before it.
    pub(crate) number: u64,
    /// When it should be sent.
    pub(crate) due: Instant,
}

/// Sends one request at a time.
pub(crate) trait Lane: Send + 'static {
    /// Before the first turn.
    fn open(&mut self) -> impl Future<Output = ()> + Send {
        async {}
    }

    /// Sends the request of this turn, and returns once nothing more comes of it.
    ///
    /// # Errors
    /// The load cannot go on. An answer that never comes is not an error here.
    fn send(&mut self, turn: Turn) -> impl Future<Output = anyhow::Result<()>> + Send;
}

/// Sends over these lanes until nothing more is due, and waits for what is under way.
///
/// # Errors
/// A lane could not go on.
pub(crate) async fn send_all<L: Lane>(
    schedule: &Arc<Schedule>,
    lanes: impl IntoIterator<Item = L>,
) -> anyhow::Result<()> {
    let mut senders = JoinSet::new();
    for mut lane in lanes {
        let schedule = Arc::clone(schedule);
        senders.spawn(async move {
            lane.open().await;
            while let Some(turn) = schedule.next().await {
                lane.send(turn).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(ended) = senders.join_next().await {
        ended.context("a sender panicked")??;
    }
    Ok(())
}
