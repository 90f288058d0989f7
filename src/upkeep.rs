//! Periodic chores beside the flow of events, which keep it flowing. Each is a struct with `run(self, stop)`, which
//! ends soon after `stop` is cancelled. `app` decides which of them a process has.
//!
//! They know neither the configuration nor the telemetry: what they found out goes to a small observer or a
//! closure. They know backends by name, since each looks after one of them.

pub mod calls;
pub mod checkpoint;
pub mod durability;
pub mod feed_watch;
pub mod health;
pub mod local_log;
pub mod migration;
pub(crate) mod old_spool;
pub mod rehearsals;
pub mod retention;
pub mod stream;
pub mod treatment;

use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// Waits; whether there is to be another turn after it.
#[cfg(not(test))]
async fn rest(pause: Duration, stop: &CancellationToken) -> bool {
    stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_some()
}

/// In the tests of chores no turn waits for the next one: [`testing::pauses`] says what it would have waited.
#[cfg(test)]
async fn rest(pause: Duration, stop: &CancellationToken) -> bool {
    testing::PAUSES.with_borrow_mut(|pauses| pauses.push(pause));
    tokio::task::yield_now().await;
    !stop.is_cancelled()
}

#[cfg(test)]
mod testing {
    use std::cell::RefCell;
    use std::time::Duration;

    thread_local! {
        pub(super) static PAUSES: RefCell<Vec<Duration>> = const { RefCell::new(Vec::new()) };
    }

    /// What the chores of this thread would have waited, between any two turns and after the last.
    pub(super) fn pauses() -> Vec<Duration> {
        PAUSES.take()
    }
}
