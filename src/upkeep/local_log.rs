//! [`LocalLogKeeper`]: looks after the local log of this process. Shows what waits in it, appends what an operator
//! wants replayed, and takes over what an earlier version left in its directory.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::{old_spool, rest};
use crate::backend::local_log::{Fill, LocalLog};
use crate::clock::Clock;
use crate::outage::Outage;

/// The interval of the looks: shorter than that of scrapes, and short enough to wait for a replay.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Turns after which it is tried again to take over what could not be: it is in use, or there is no
/// room.
const TAKE_OVER_TURNS: u64 = 10;

/// The place of the log, which decides what its events wait for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stands {
    /// Behind the stream: nothing is in it while all is well.
    BehindStream,
    /// Before the store: it is the log that everything goes through.
    BeforeStore,
}

/// What is in a local log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LocalLogState {
    /// What waits.
    pub fill: Fill,
    /// How much was put aside.
    pub dead_letters: u64,
    /// Files that the disk has spoilt.
    pub damaged: u64,
    /// If everything goes through the log, how long the oldest event has waited; zero if none waits.
    pub oldest_age: Option<Duration>,
}

/// Looks after a local log.
#[derive(Debug)]
pub struct LocalLogKeeper<S> {
    /// What it looks after.
    pub log: LocalLog,
    /// What the log stands for.
    pub stands: Stands,
    /// What the age of an event is measured by.
    pub clock: Clock,
    /// Takes what is in it.
    pub show: S,
}

impl<S: Fn(LocalLogState) + Send> LocalLogKeeper<S> {
    /// Runs until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let (mut taken_over, mut turn) = (false, 0_u64);
        let (replays, takeovers) = (Outage::default(), Outage::default());
        loop {
            if !taken_over && turn.is_multiple_of(TAKE_OVER_TURNS) {
                taken_over = old_spool::take_over(&self.log, &takeovers).await;
            }
            turn += 1;
            match self.log.replay().await {
                Err(error) if replays.begins() => {
                    warn!(error = %error, "what was replayed cannot be appended to the local log: trying again until it can");
                }
                Err(error) => {
                    debug!(error = %error, "what was replayed cannot be appended to the local log")
                }
                Ok(_) => {
                    if let Some(over) = replays.ends() {
                        let (failures, lasted_s) = (over.failures, over.seconds());
                        info!(
                            failures,
                            lasted_s, "what was replayed is appended to the local log again"
                        );
                    }
                }
            }
            let dead_letters = self.log.dead_letters().count().await.unwrap_or_default();
            let oldest_age = match self.stands {
                Stands::BehindStream => None,
                Stands::BeforeStore => {
                    let oldest = self.log.oldest().await;
                    oldest.map(|oldest| self.clock.now().since(oldest)).or(Some(Duration::ZERO))
                }
            };
            (self.show)(LocalLogState {
                fill: self.log.fill(),
                dead_letters,
                damaged: self.log.damaged(),
                oldest_age,
            });
            if !rest(LOOK_INTERVAL, &stop).await {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc::unbounded_channel;

    use super::*;
    use crate::backend::local_log::Bounds;
    use crate::clock::Timestamp;
    use crate::event::{Batch, Event, EventKey, Kind};
    use crate::pipeline::Sink as _;

    /// What is shown first of a log with one event, received at second 90, at second 100.
    async fn shown(stands: Stands) -> LocalLogState {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let bounds = Bounds { max_bytes: 1 << 20, min_free_bytes: 0 };
        let log = LocalLog::open(directory.path(), bounds).await.expect("a new directory");
        let at = |seconds: i64| Timestamp::from_micros(seconds * 1_000_000);
        let key = EventKey::of(&["CA1", "ringing"]).expect("printable");
        let event = Event { received_at: at(90), ..Event::new(key, Kind::Call, "AC1") };
        log.commit(&Batch::from(event)).await.expect("there is room");
        let (show, mut shown) = unbounded_channel();
        let clock = Clock::Fixed(at(100));
        let show = move |state| show.send(state).expect("it is awaited");
        let (stop, keeper) =
            (CancellationToken::new(), LocalLogKeeper { log, stands, clock, show });
        let first = async {
            let first = shown.recv().await.expect("it shows what it saw");
            stop.cancel();
            first
        };
        let ((), first) = tokio::join!(keeper.run(stop.clone()), first);
        first
    }

    #[tokio::test]
    async fn what_waits_is_shown_and_its_age_where_everything_goes_through_it() {
        let before_store = shown(Stands::BeforeStore).await;
        assert_eq!((before_store.fill.events, before_store.dead_letters), (1, 0));
        assert_eq!(before_store.oldest_age, Some(Duration::from_secs(10)));
        let behind_stream = shown(Stands::BehindStream).await;
        assert_eq!((behind_stream.fill.events, behind_stream.oldest_age), (1, None));
    }
}
