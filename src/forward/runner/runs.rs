//! [`run_those`]: the runners that run, one for each forward of the configuration in force.

use std::collections::BTreeMap;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{Observer, Runner};

/// Runs the runner of each that is wanted, side by side until `stop`, as what is wanted changes.
pub async fn run_those<W, O: Observer>(
    mut wanted: watch::Receiver<Vec<W>>,
    runner: impl Fn(&W) -> Runner<O>,
    stop: CancellationToken,
) {
    let mut runs = Runs { running: BTreeMap::new(), tasks: JoinSet::new(), stop };
    loop {
        runs.become_those(wanted.borrow_and_update().iter().map(&runner));
        tokio::select! {
            Ok(()) = wanted.changed() => {}
            () = runs.until_stopped() => return,
        }
    }
}

struct Runs {
    /// By the name of the forward; also those that are to end, until they have.
    running: BTreeMap<String, Run>,
    tasks: JoinSet<()>,
    stop: CancellationToken,
}

struct Run {
    fingerprint: u64,
    stop: CancellationToken,
    /// Is cancelled when it has ended.
    ended: CancellationToken,
}

impl Runs {
    /// Lets these runners run from now on, and no others. One that runs goes on if nothing of its configuration has
    /// changed; else the other one begins as soon as it has ended, so that of one forward there are never two.
    fn become_those<O: Observer>(&mut self, runners: impl IntoIterator<Item = Runner<O>>) {
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
    async fn until_stopped(&mut self) {
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
