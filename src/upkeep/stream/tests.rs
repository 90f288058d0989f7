//! The keeper of a stream before a stream in memory.

use std::sync::{Arc, Mutex};

use super::*;
use crate::upkeep::testing::pauses;

const INTERVAL: Duration = Duration::from_secs(5);

/// Entries that can be freed; it stops its keeper when it is looked at for the last time.
struct InMemory {
    done: u64,
    looks: u32,
    stop: CancellationToken,
}

impl Stream for InMemory {
    async fn trim(&mut self) -> Result<u64, BackendError> {
        let freed = self.done.min(TRIMMED_AT_ONCE);
        self.done -= freed;
        Ok(freed)
    }

    async fn reap(&mut self, idle: Duration) -> Result<u64, BackendError> {
        assert_eq!(idle, Duration::from_secs(300));
        Ok(1)
    }

    async fn compare(&mut self) -> Result<(Backlog, Option<Backlog>), BackendError> {
        self.looks -= 1;
        if self.looks == 0 {
            self.stop.cancel();
        }
        let backlog = Backlog { length: self.done, ..Backlog::default() };
        Ok((backlog, (self.looks == 0).then_some(backlog)))
    }

    async fn now(&mut self) -> Result<Timestamp, BackendError> {
        Ok(Timestamp::from_micros(0))
    }

    async fn blockers(&mut self) -> Result<Vec<Blocker>, BackendError> {
        Err(BackendError("no answer".to_owned()))
    }

    fn take_groups_made_again(&mut self) -> u64 {
        1
    }
}

/// What was reported, as text.
#[derive(Clone, Default)]
struct Reports(Arc<Mutex<Vec<String>>>);

impl Reports {
    fn push(&self, report: String) {
        self.0.lock().unwrap().push(report);
    }
}

impl StreamObserver for Reports {
    fn show(&self, backlog: Backlog, _: Timestamp) {
        self.push(format!("{} wait", backlog.length));
    }

    fn show_blockers(&self, _: &[Blocker], _: &mut Vec<String>) {
        self.push("blockers".to_owned());
    }

    fn stream_lost(&self, _: Backlog) {
        self.push("lost".to_owned());
    }

    fn groups_made_again(&self, times: u64) {
        self.push(format!("{times} groups"));
    }

    fn trimmed(&self, entries: u64) {
        self.push(format!("{entries} freed"));
    }

    fn reaped(&self, consumers: u64) {
        self.push(format!("{consumers} reaped"));
    }
}

/// What is reported of two looks at a stream with this many entries to free, and the pauses after them.
async fn reports(done: u64, reap_after: Option<Duration>) -> (Vec<String>, Vec<Duration>) {
    let (stop, observer) = (CancellationToken::new(), Reports::default());
    let keeper = StreamKeeper {
        stream: InMemory { done, looks: 2, stop: stop.clone() },
        observer: observer.clone(),
        interval: INTERVAL,
        reap_after,
    };
    keeper.run(stop).await;
    let reports = observer.0.lock().unwrap().clone();
    (reports, pauses())
}

#[tokio::test]
async fn a_worker_frees_all_that_is_done_with_and_looks_again_soon() {
    let (reports, pauses) = reports(TRIMMED_AT_ONCE + 7, Some(Duration::from_secs(300))).await;
    let first = ["5000 freed", "7 freed", "1 reaped", "1 groups", "0 wait"];
    let second = ["0 freed", "1 reaped", "1 groups", "lost", "0 wait"];
    assert_eq!(reports, [first, second].concat());
    assert_eq!(pauses, [BUSY_INTERVAL, INTERVAL]);
}

#[tokio::test]
async fn a_receiver_frees_nothing() {
    let (reports, pauses) = reports(7, None).await;
    assert_eq!(reports, ["1 groups", "7 wait", "1 groups", "lost", "7 wait"]);
    assert_eq!(pauses, [INTERVAL, INTERVAL]);
}
