//! [`FeedWatchKeeper`]: notices that the feed has grown, and wakes the readers that wait.
//!
//! Another process may commit. Postgres notifies a connection that listens; without one, the end of the feed is polled
//! while a reader waits. Correctness does not depend on notifications: the end is polled now and then anyway.

mod metrics;

use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

pub use self::metrics::Metrics;
use crate::backend::postgres::Listen;
use crate::backend::{Feed, FeedWatch};
use crate::retry::Backoff;

/// How often the end of the feed is looked at while a reader waits: it is read within 50 ms of its commit.
const POLL: Duration = Duration::from_millis(25);
/// The same where a wake comes by itself.
const LOOK: Duration = Duration::from_secs(1);

/// Wakes the readers that wait for the feed to grow.
#[derive(Debug)]
pub struct FeedWatchKeeper {
    /// Wakes the readers.
    pub watch: FeedWatch,
    /// What they wait for.
    pub feed: Feed,
    /// How it is found out.
    pub wakes: Wakes,
    /// What becomes of it.
    pub metrics: Metrics,
}

/// How it is found out that the feed has grown.
#[derive(Debug)]
pub enum Wakes {
    /// The one process that writes the store says so itself.
    Writer,
    /// Postgres says so, as long as the connection lasts.
    Listen(Listen),
    /// By polling.
    Poll,
}

impl FeedWatchKeeper {
    /// Runs until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let told = watch::Sender::new(matches!(self.wakes, Wakes::Writer));
        let work = async { tokio::join!(self.look(told.subscribe()), self.listen(&told)) };
        stop.run_until_cancelled(work).await;
    }

    /// Polls the end of the feed while a reader waits, often unless notifications arrive (`told`).
    async fn look(&self, mut told: watch::Receiver<bool>) {
        let (mut last, mut backoff) = (None, Backoff::default());
        loop {
            self.watch.awaited().await;
            let pause = if *told.borrow_and_update() { LOOK } else { POLL };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                // The connection is lost, or is there: the pause is another one.
                Ok(()) = told.changed() => {}
            }
            match self.feed.end().await {
                Ok(end) => {
                    backoff.reset();
                    if last.as_ref() != Some(&end) {
                        last = Some(end);
                        self.watch.grew();
                    }
                }
                Err(error) => {
                    debug!(error = %error, "the end of the feed cannot be read");
                    tokio::time::sleep(backoff.next_wait()).await;
                }
            }
        }
    }

    /// Hears that the feed has grown, on one connection after the other.
    async fn listen(&self, told: &watch::Sender<bool>) {
        let Wakes::Listen(listen) = &self.wakes else { return };
        let mut backoff = Backoff::default();
        let mut told_of = false;
        loop {
            let error = match listen.begin().await {
                Ok(mut listening) => {
                    info!("Postgres notifies of changes");
                    backoff.reset();
                    told_of = false;
                    self.metrics.listening.set(1);
                    told.send_replace(true);
                    // What was committed before it listened was not heard.
                    self.watch.grew();
                    let error = loop {
                        match listening.heard().await {
                            Ok(()) => self.watch.grew(),
                            Err(error) => break error,
                        }
                    };
                    self.metrics.listening.set(0);
                    told.send_replace(false);
                    error
                }
                Err(error) => error,
            };
            self.metrics.failures.inc();
            if !std::mem::replace(&mut told_of, true) {
                warn!(error = %error, "Postgres cannot notify of changes: the end of the feed is polled");
            }
            tokio::time::sleep(backoff.next_wait()).await;
        }
    }
}
