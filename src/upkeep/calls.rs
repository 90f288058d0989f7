//! [`CallsInProgress`]: periodically reads from the store how many calls are in progress, and how many participants the
//! fullest conference has. So the numbers are right after a restart, whichever process stored the events.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::rest;
use crate::backend::{BackendError, Reads};
use crate::clock::Clock;
use crate::outage::Outage;

/// The interval of the counts: shorter than that of scrapes. The store answers from an index of open calls.
const COUNT_INTERVAL: Duration = Duration::from_secs(5);

/// How long a conference counts as open before its last callback is presumed lost: no call lasts longer.
const CONFERENCE_MAX_AGE: Duration = Duration::from_secs(24 * 60 * 60);

/// What is in progress.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InProgress {
    /// Calls.
    pub calls: u64,
    /// Participants of the conference that has most of them.
    pub participants: u64,
}

/// Counts the calls in progress.
#[derive(Debug)]
pub struct CallsInProgress<S> {
    /// The store.
    pub reader: Reads,
    /// How long a call counts as in progress before its final callback is presumed lost.
    pub max_age: Duration,
    /// What the age of a call is measured by.
    pub clock: Clock,
    /// Takes the numbers. While the store does not answer, the last ones stay.
    pub show: S,
}

impl<S: Fn(InProgress) + Send> CallsInProgress<S> {
    /// Runs until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let outage = Outage::default();
        loop {
            match self.count().await {
                Ok(in_progress) => {
                    (self.show)(in_progress);
                    if let Some(over) = outage.ends() {
                        let (failures, lasted_s) = (over.failures, over.seconds());
                        info!(failures, lasted_s, "the store can be read again");
                    }
                }
                // The only one that reads the store whether or not there are callbacks.
                Err(error) if outage.begins() => {
                    warn!(error = %error, "the store cannot be read: searches and the number of calls fail until it can");
                }
                Err(error) => debug!(error = %error, "the store cannot be read"),
            }
            if !rest(COUNT_INTERVAL, &stop).await {
                return;
            }
        }
    }
}

impl<S> CallsInProgress<S> {
    async fn count(&self) -> Result<InProgress, BackendError> {
        let now = self.clock.now();
        Ok(InProgress {
            calls: self.reader.calls_in_progress(now.before(self.max_age)).await?,
            participants: self.reader.participants(now.before(CONFERENCE_MAX_AGE)).await?,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::mpsc::unbounded_channel;

    use super::*;
    use crate::backend::Store;
    use crate::backend::sqlite::{Database, Handles, SqliteStore};
    use crate::clock::Timestamp;
    use crate::event::{Batch, Event, EventKey, Kind, Resource};
    use crate::pipeline::Sink as _;

    #[tokio::test]
    async fn calls_that_have_not_ended_are_counted_until_they_are_too_old() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let url = format!("sqlite:{}", directory.path().join("offhook.db").display());
        let database = Arc::new(Database::lock(&url).expect("a file of our own"));
        database.migrate().await.expect("a new file");
        let store = SqliteStore::open(database).await.expect("a new file");
        let at = |seconds: i64| Timestamp::from_micros(seconds * 1_000_000);
        for (sid, status, received) in
            [("CA1", "ringing", 90), ("CA2", "completed", 95), ("CA3", "ringing", 10)]
        {
            let key = EventKey::of(&[sid, status]).expect("printable");
            let event = Event {
                sid: Some(sid.to_owned()),
                resource: Some(Resource::Call),
                status: Some(status.to_owned()),
                received_at: at(received),
                ..Event::new(key, Kind::Call, "AC1")
            };
            store.commit(&Batch::from(event)).await.expect("the store is there");
        }
        let (show, mut shown) = unbounded_channel();
        let calls = CallsInProgress {
            reader: Store::Sqlite(Handles::new(&store)).reads(),
            max_age: Duration::from_secs(60),
            clock: Clock::Fixed(at(100)),
            show: move |counted| show.send(counted).expect("it is awaited"),
        };
        let stop = CancellationToken::new();
        let counted = async {
            let counted = shown.recv().await;
            stop.cancel();
            counted
        };
        let ((), counted) = tokio::join!(calls.run(stop.clone()), counted);
        assert_eq!(counted, Some(InProgress { calls: 1, participants: 0 }));
    }
}
