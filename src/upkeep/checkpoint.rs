//! [`CheckpointKeeper`]: periodically syncs the embedded store, so that the local log can release what it holds.

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::rest;
use crate::backend::local_log::LocalLog;
use crate::backend::sqlite::Checkpoint;
use crate::outage::Outage;

/// How often it is looked whether there is something to sync.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// What is written meanwhile is brought to the disk in a millisecond or so.
const PREPARE_INTERVAL: Duration = Duration::from_millis(20);
/// A file of the log: settled bytes that are worth a checkpoint at once.
const MANY_BYTES: u64 = 16 * 1024 * 1024;
/// Longest that settled bytes wait for a checkpoint.
const SYNC_INTERVAL: Duration = Duration::from_secs(5);

/// Syncs the store, and then releases what the log need not hold any longer.
#[derive(Debug)]
pub struct CheckpointKeeper {
    /// The checkpoint of the store.
    pub checkpoint: Checkpoint,
    /// The log from which the store gets its events.
    pub log: LocalLog,
    /// Whether the store cannot be synced.
    pub outage: Outage,
}

impl CheckpointKeeper {
    /// Runs until `finish`. It syncs soon when much is settled, and now and then otherwise. What is settled after that
    /// is for [`sync`](Self::sync).
    pub async fn run(&self, finish: &CancellationToken) {
        let mut last = Instant::now();
        loop {
            let due = last.elapsed() >= SYNC_INTERVAL || self.log.settled().bytes() >= MANY_BYTES;
            if due && self.checkpoint.is_due() {
                self.sync().await;
                last = Instant::now();
            }
            self.checkpoint.prepare().await;
            let pause = if self.checkpoint.is_due() { PREPARE_INTERVAL } else { LOOK_INTERVAL };
            if !rest(pause, finish).await {
                return;
            }
        }
    }

    /// Once.
    pub async fn sync(&self) {
        // Before the checkpoint: what is settled after it began may not be in it.
        let settled = self.log.settled();
        match self.checkpoint.run().await {
            Ok(true) => self.log.release(settled).await,
            // A search still reads what was there before; the next checkpoint finds it done.
            Ok(false) => {}
            Err(error) if self.outage.begins() => {
                warn!(error = %error, "the store cannot be synced: the local log keeps what it holds until it can");
                return;
            }
            Err(error) => return debug!(error = %error, "the store cannot be synced"),
        }
        if let Some(over) = self.outage.ends() {
            let (failures, lasted_s) = (over.failures, over.seconds());
            info!(failures, lasted_s, "the store is synced again");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::backend::local_log::{Bounds, Release};
    use crate::backend::sqlite::{Database, SqliteStore};
    use crate::clock::Clock;
    use crate::event::{Batch, Event, EventKey, Kind};
    use crate::pipeline::Sink as _;
    use crate::pipeline::pump::{Options, pump};
    use crate::recent::events::{EventStage, RecentEvents};

    #[tokio::test]
    async fn what_the_store_has_synced_is_released() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let url = format!("sqlite:{}", directory.path().join("offhook.db").display());
        let database = Arc::new(Database::lock(&url).expect("a file of our own"));
        database.migrate().await.expect("a new file");
        let store = SqliteStore::open(database).await.expect("a new file");
        let bounds = Bounds { max_bytes: 1 << 20, min_free_bytes: 0 };
        let log = LocalLog::open(directory.path(), bounds).await.expect("a new directory");
        let key = EventKey::of(&["CA1", "ringing"]).expect("printable");
        let event = Event::new(key, Kind::Call, "AC1");
        log.commit(&Batch::from(event)).await.expect("there is room");
        let (checkpoint, outage) = (store.checkpoint(), Outage::default());
        let keeper = CheckpointKeeper { checkpoint, log: log.clone(), outage };
        let finish = CancellationToken::new();
        let drained = async {
            log.drained().await;
            finish.cancel();
        };
        let source = log.reader(Release::WhenTold);
        let observer = Arc::new(RecentEvents::new(EventStage::Stored, Clock::System));
        let pumping = pump(source, store, observer, Options::default(), finish.clone());
        tokio::join!(pumping, keeper.run(&finish), drained);
        keeper.sync().await;
        assert_eq!(log.settled().bytes(), 0);
    }
}
