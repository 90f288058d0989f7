//! The worker: moves events from a stream into the store, by a number of consumers at the same time.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::pipeline::pump::{Options, pump};
use crate::pipeline::{Observer, Sink, Source};

/// How a worker works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// Consumers of the group in one process.
    pub consumers: u32,
    /// What another worker holds for this long without a sign of life is claimed.
    pub reclaim_idle: Duration,
    /// Deliveries after which an event becomes a dead letter.
    pub max_deliveries: u32,
    /// How long the stream remembers that an event is stored.
    pub mark_ttl: Duration,
    /// How often entries that are done are freed.
    pub trim_every: Duration,
}

/// Moves events from sources into one sink.
#[derive(Debug)]
pub struct Worker<K, O> {
    /// How.
    pub config: Config,
    /// The store.
    pub sink: K,
    /// What it reports to.
    pub observer: Arc<O>,
}

impl<K: Sink, O: Observer> Worker<K, O> {
    /// Works until `stop`, with a consumer for each source. At the end nothing is held, and each source is
    /// left for good.
    pub async fn run<S: Source>(
        self,
        sources: impl IntoIterator<Item = S>,
        stop: CancellationToken,
    ) {
        let Self { config, sink, observer } = self;
        let options = Options {
            max_deliveries: config.max_deliveries,
            // Often enough that nothing lies much longer than `reclaim_idle`.
            claim_every: (config.reclaim_idle / 4).max(Duration::from_millis(100)),
            ..Options::default()
        };
        let (sink, mut consumers) = (Arc::new(sink), JoinSet::new());
        for source in sources {
            let pumping =
                pump(source, Arc::clone(&sink), Arc::clone(&observer), options, stop.clone());
            consumers.spawn(async move {
                if let Err(error) = pumping.await.leave().await {
                    warn!(error = %error, "a consumer could not leave its group");
                }
            });
        }
        consumers.join_all().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::local_log::{Bounds, LocalLog, Release};
    use crate::backend::sqlite::{Database, SqliteStore};
    use crate::clock::Clock;
    use crate::event::{Batch, Event, EventKey, Kind};
    use crate::recent::events::{EventStage, RecentEvents};

    #[tokio::test]
    async fn each_source_is_moved_into_the_store_and_a_stop_leaves_nothing_in_hand() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let url = format!("sqlite:{}", directory.path().join("offhook.db").display());
        let database = Arc::new(Database::lock(&url).expect("a file of our own"));
        database.migrate().await.expect("a new file");
        let bounds = Bounds { max_bytes: 1 << 20, min_free_bytes: 0 };
        let mut logs = Vec::new();
        for sid in ["CA1", "CA2"] {
            let directory = directory.path().join(sid);
            let log = LocalLog::open(&directory, bounds).await.expect("a new directory");
            let key = EventKey::of(&[sid, "ringing"]).expect("printable");
            let event = Event::new(key, Kind::Call, "AC1");
            log.commit(&Batch::from(event)).await.expect("there is room");
            logs.push(log);
        }
        let stored = RecentEvents::new(EventStage::Stored, Clock::System);
        let store = SqliteStore::open(database).await.expect("a new file");
        let worker = Worker {
            config: Config {
                consumers: 2,
                reclaim_idle: Duration::from_secs(30),
                max_deliveries: 10,
                mark_ttl: Duration::from_secs(600),
                trim_every: Duration::from_secs(5),
            },
            sink: stored.observed(store),
            observer: Arc::new(stored.clone()),
        };
        let stop = CancellationToken::new();
        let drained = async {
            for log in &logs {
                log.drained().await;
            }
            stop.cancel();
        };
        let sources: Vec<_> = logs.iter().map(|log| log.reader(Release::AtOnce)).collect();
        tokio::join!(worker.run(sources, stop.clone()), drained);
        assert_eq!(logs.iter().map(|log| log.fill().events).sum::<u64>(), 0);
        assert_eq!(stored.last().len(), 2);
    }
}
