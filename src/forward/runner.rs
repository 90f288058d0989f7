//! [`Runner`]: forwards to one endpoint, as long as this process holds the forward's lease.
//!
//! Of several processes one has the lease, by the database's clock. It sends nothing once its lease may have ended by
//! its own clock, which it reads before it asks for the lease: so a process that was frozen finds out before it sends
//! on. What it does not know when it ends is sent again by the next one: at least once, and in the order of each SID.

mod lease;
mod runs;
mod turn;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

pub use self::runs::run_those;
use self::turn::{Ended, Turn};
use super::{Beginning, Config, Delivery, Endpoint};
use crate::backend::feed::{FeedError, From};
use crate::backend::forwards::{Claim, Claimed, Disabled};
use crate::backend::{Feed, FeedWatch, Forwards};
use crate::clock::Clock;
use crate::crash_points::{Point, point};
use crate::event::Cursor;
use crate::retry::Backoff;

/// How long a lease lasts: after a crash another process takes over in this time.
const LEASE: Duration = Duration::from_secs(10);
/// How often it is looked whether the lease is free, or forwarding was enabled.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Receives what a runner does. Must be cheap: it is called for each attempt.
pub trait Observer: Clone + Send + Sync + 'static {
    /// A change was tried, this long after it was stored.
    fn attempted(&self, delivery: Delivery, after: Duration);
    /// A change is not tried again.
    fn gave_up(&self);
    /// Retention has deleted changes that were not forwarded.
    fn cut(&self);
    /// How much waits, and how old the first change is that is neither done nor waiting.
    fn stands(&self, waiting: usize, lag: Duration);
    /// Whether the endpoint is taken to be down.
    fn is_down(&self, down: bool);
    /// Whether nothing is forwarded, and why.
    fn is_disabled(&self, disabled: Option<Disabled>);
    /// The store could not be asked.
    fn failed(&self);
}

/// Forwards to one endpoint.
#[derive(Debug)]
pub struct Runner<O> {
    /// Which forward it is.
    pub config: Config,
    /// The endpoint for the changes.
    pub endpoint: Arc<Endpoint>,
    /// What is forwarded.
    pub feed: Feed,
    /// Says when there is more of it.
    pub watch: FeedWatch,
    /// What is remembered of it.
    pub forwards: Forwards,
    /// The clock that gives the age of a change.
    pub clock: Clock,
    /// Receives what happens.
    pub observer: O,
}

/// What came of a look.
enum Look {
    /// Forwarded until this.
    Ran(Ended),
    /// Another process forwards.
    Taken,
    /// The forward is disabled.
    Disabled(Disabled),
    /// The forward was made just now.
    Made,
}

impl<O: Observer> Runner<O> {
    /// Forwards until `stop`. Ends within seconds of it.
    pub async fn run(self, stop: CancellationToken) {
        let claim = Claim {
            forward: self.config.name.clone(),
            holder: format!("{:032x}", rand::random::<u128>()),
            lasts: LEASE,
        };
        let (mut backoff, mut fails, mut disabled) = (Backoff::default(), false, None);
        while !stop.is_cancelled() {
            match self.look(&claim, &stop).await {
                Ok(look) => {
                    if std::mem::take(&mut fails) {
                        info!(forward = self.config.name, "the store answers again");
                    }
                    backoff.reset();
                    let is_disabled = match look {
                        Look::Disabled(why) | Look::Ran(Ended::Disabled(why)) => Some(why),
                        _ => None,
                    };
                    self.tell_disabled(&mut disabled, is_disabled);
                    if !matches!(look, Look::Made | Look::Ran(Ended::Lost)) {
                        let rest = tokio::time::sleep(LOOK_INTERVAL);
                        stop.run_until_cancelled(rest).await;
                    }
                }
                Err(error) => {
                    self.observer.failed();
                    // Once, not for each attempt.
                    if !std::mem::replace(&mut fails, true) {
                        let forward = &self.config.name;
                        warn!(forward, error = %error, "the store cannot be asked what to forward");
                    }
                    backoff.wait(&stop).await;
                }
            }
        }
    }

    /// Takes the lease if it is free, and forwards as long as that lasts.
    async fn look(&self, claim: &Claim, stop: &CancellationToken) -> Result<Look, FeedError> {
        // Read before the request: the lease may last from any moment after that.
        let asked = Instant::now();
        let held = match self.forwards.claim(claim).await? {
            Claimed::Held(held) => held,
            Claimed::Taken => return Ok(Look::Taken),
            Claimed::Disabled(why) => return Ok(Look::Disabled(why)),
            Claimed::Unknown => {
                self.make().await?;
                return Ok(Look::Made);
            }
        };
        point(Point::Leased);
        let name = &self.config.name;
        info!(forward = name, cursor = held.cursor, "forwarding begins");
        self.observer.is_disabled(None);
        let waiting = self.forwards.waiting(name).await?;
        let ended = Turn::new(self, claim, held, waiting, asked).run(stop).await;
        self.observer.stands(0, Duration::ZERO);
        self.observer.is_down(false);
        debug!(forward = name, ended = ?ended, "forwarding ends in this process");
        Ok(Look::Ran(ended))
    }

    /// Creates the forward. If several processes do so at the same time, the first one decides where it begins.
    async fn make(&self) -> Result<(), FeedError> {
        let end = self.feed.end().await?;
        let at = match self.config.from {
            Beginning::End => end,
            Beginning::Start => {
                let page = self.feed.changes(&From::Start, 1).await?;
                let first = page.changes.first().map_or(page.next.id, |change| change.id - 1);
                Cursor { id: first, ..page.next }
            }
        };
        Ok(self.forwards.create(&self.config.name, &at).await?)
    }

    fn tell_disabled(&self, before: &mut Option<Disabled>, now: Option<Disabled>) {
        self.observer.is_disabled(now);
        if *before == now {
            return;
        }
        *before = now;
        let forward = &self.config.name;
        match now {
            None => info!(forward, "forwarding is enabled again"),
            Some(why @ Disabled::Operator) => {
                warn!(forward, why = why.as_str(), "forwarding is disabled");
            }
            Some(why) => {
                let why = why.as_str();
                error!(forward, why, "forwarding is disabled: enable it once the cause is fixed");
            }
        }
    }
}
