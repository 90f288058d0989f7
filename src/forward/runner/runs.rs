//! [`Runs`]: the runners that run, one for each forward of the configuration in force.

use std::collections::BTreeMap;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{Observer, Runner};

/// Runners, side by side until `stop`.
#[derive(Debug)]
pub struct Runs {
    /// By the name of the forward; also those that are to end, until they have.
    running: BTreeMap<String, Run>,
    tasks: JoinSet<()>,
    stop: CancellationToken,
}

#[derive(Debug)]
struct Run {
    fingerprint: u64,
    stop: CancellationToken,
    /// Is cancelled when it has ended.
    ended: CancellationToken,
}

impl Runs {
    /// None yet.
    #[must_use]
    pub fn new(stop: CancellationToken) -> Self {
        Self { running: BTreeMap::new(), tasks: JoinSet::new(), stop }
    }

    /// Lets these runners run from now on, and no others. One that runs goes on if nothing of its configuration has
    /// changed; else the other one begins as soon as it has ended, so that of one forward there are never two.
    pub fn become_those<O: Observer>(&mut self, runners: impl IntoIterator<Item = Runner<O>>) {
        self.running.retain(|_, run| !run.ended.is_cancelled());
        let mut before = std::mem::take(&mut self.running);
        for runner in runners {
            let (name, fingerprint) = (runner.config.name.clone(), runner.config.fingerprint);
            let run = match before.remove(&name) {
                Some(run) if run.fingerprint == fingerprint && !run.stop.is_cancelled() => run,
                before => self.begin(runner, before),
            };
            self.running.insert(name, run);
        }
        for run in before.values() {
            run.stop.cancel();
        }
        self.running.extend(before);
    }

    fn begin<O: Observer>(&mut self, runner: Runner<O>, before: Option<Run>) -> Run {
        let (stop, ended) = (self.stop.child_token(), CancellationToken::new());
        let run = Run {
            fingerprint: runner.config.fingerprint,
            stop: stop.clone(),
            ended: ended.clone(),
        };
        self.tasks.spawn(async move {
            let _ended = ended.drop_guard();
            if let Some(before) = before {
                before.stop.cancel();
                before.ended.cancelled().await;
            }
            runner.run(stop).await;
        });
        run
    }

    /// Waits until `stop` is cancelled and all of them have ended.
    ///
    /// # Panics
    /// One of them has.
    pub async fn until_stopped(&mut self) {
        loop {
            match self.tasks.join_next().await {
                Some(ended) => ended.unwrap_or_else(panicked),
                // There may be none for now.
                None if !self.stop.is_cancelled() => self.stop.cancelled().await,
                None => return,
            }
        }
    }
}

fn panicked(error: tokio::task::JoinError) {
    // Nothing aborts one.
    std::panic::resume_unwind(error.into_panic());
}
