//! [`Tasks`]: what a process runs, by name, and the order in which it ends.

use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::task::{JoinError, JoinSet};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::error;

/// Longest wait for everything to finish once `stop` is cancelled. Orchestrators kill after 30 s.
const STOP_TIMEOUT: Duration = Duration::from_secs(25);
/// Longest wait for those that watched it.
const WATCHING_TIMEOUT: Duration = Duration::from_secs(1);

/// Why the end was not clean.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum StopError {
    /// One of them is still running.
    #[error("not everything finished within {} s", STOP_TIMEOUT.as_secs())]
    Late,
    /// One of them ended before the process was stopped.
    #[error("the {0} ended by itself")]
    EndedByItself(String),
}

/// What a process runs.
#[derive(Debug)]
pub struct Tasks {
    working: JoinSet<&'static str>,
    watching: JoinSet<()>,
    stop: CancellationToken,
    stop_watching: CancellationToken,
    stop_timeout: Duration,
}

impl Tasks {
    /// None yet. Each of them ends soon after `stop` is cancelled.
    #[must_use]
    pub fn new(stop: CancellationToken) -> Self {
        let (working, watching) = (JoinSet::new(), JoinSet::new());
        let stop_watching = CancellationToken::new();
        Self { working, watching, stop, stop_watching, stop_timeout: STOP_TIMEOUT }
    }

    /// Cancelled when the process stops.
    #[must_use]
    pub fn stop(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Runs one. The process stops if it ends by itself.
    pub fn spawn(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        // What runs tasks is then compiled once, not for each of them.
        let task: BoxFuture<'static, ()> = Box::pin(task);
        self.working.spawn(async move {
            task.await;
            name
        });
    }

    /// Those that go on until all others have ended, so that the end can be watched, and what ends them.
    pub fn watching(&mut self) -> (&mut JoinSet<()>, CancellationToken) {
        (&mut self.watching, self.stop_watching.clone())
    }

    /// Waits until `stop` is cancelled and everything has ended.
    ///
    /// # Errors
    /// One ended by itself, or did not end in time.
    pub async fn stopped(mut self) -> Result<(), StopError> {
        let ended = tokio::select! {
            ended = self.working.join_next() => ended,
            () = self.stop.cancelled() => None,
        };
        let by_itself = ended.map(describe).filter(|_| !self.stop.is_cancelled());
        if let Some(task) = &by_itself {
            error!(task, "a task ended by itself: the process stops");
        }
        self.stop.cancel();
        let rest = async {
            while let Some(ended) = self.working.join_next().await {
                if let Err(error) = ended {
                    error!(error = %error, "a task panicked");
                }
            }
        };
        let in_time = timeout(self.stop_timeout, rest).await.is_ok();
        self.stop_watching.cancel();
        let watched = async { while self.watching.join_next().await.is_some() {} };
        let _ = timeout(WATCHING_TIMEOUT, watched).await;
        match by_itself {
            _ if !in_time => Err(StopError::Late),
            Some(task) => Err(StopError::EndedByItself(task)),
            None => Ok(()),
        }
    }
}

fn describe(ended: Result<&'static str, JoinError>) -> String {
    ended.map_or_else(|error| error.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[tokio::test]
    async fn what_watches_ends_after_what_works() {
        let (stop, order) = (CancellationToken::new(), Arc::new(Mutex::new(Vec::new())));
        let mut tasks = Tasks::new(stop.clone());
        let (told, done) = (tasks.stop(), Arc::clone(&order));
        tasks.spawn("worker", async move {
            told.cancelled().await;
            tokio::task::yield_now().await;
            done.lock().unwrap().push("works");
        });
        let done = Arc::clone(&order);
        let (watching, until) = tasks.watching();
        watching.spawn(async move {
            until.cancelled().await;
            done.lock().unwrap().push("watches");
        });
        stop.cancel();
        assert_eq!(tasks.stopped().await, Ok(()));
        assert_eq!(*order.lock().unwrap(), ["works", "watches"]);
    }

    #[tokio::test]
    async fn one_that_ends_by_itself_stops_the_others() {
        let mut tasks = Tasks::new(CancellationToken::new());
        let stop = tasks.stop();
        tasks.spawn("worker", async move { stop.cancelled().await });
        tasks.spawn("batcher", async {});
        let ended = tasks.stopped().await.expect_err("it ended");
        assert_eq!(ended.to_string(), "the batcher ended by itself");
    }

    #[tokio::test]
    async fn one_that_does_not_end_is_not_waited_for_without_end() {
        let stop = CancellationToken::new();
        let mut tasks = Tasks::new(stop.clone());
        tasks.stop_timeout = Duration::ZERO;
        tasks.spawn("worker", pending());
        stop.cancel();
        assert_eq!(tasks.stopped().await, Err(StopError::Late));
    }
}
