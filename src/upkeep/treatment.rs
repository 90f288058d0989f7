//! [`Treatment`]: applies `[privacy]` to what was sent, once nothing of it is sent or looked for any more. Until then its
//! address and its text must be as they are sent.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::rest;
use crate::backend::Outbox;
use crate::outage::Outage;
use crate::twilio::privacy::Privacy;

/// How often it looks.
const LOOK_INTERVAL: Duration = Duration::from_secs(30);
/// Between two pages, for the sake of commits.
const REST: Duration = Duration::from_millis(100);

/// Reduces what was sent to what may be kept.
#[derive(Debug)]
pub struct Treatment<P> {
    /// What was sent.
    pub outbox: Outbox,
    /// What may be kept now.
    pub privacy: P,
}

impl<P: Fn() -> Arc<Privacy> + Send> Treatment<P> {
    /// Runs until `stop`. Where everything is plain it asks the store nothing.
    pub async fn run(self, stop: CancellationToken) {
        let outage = Outage::default();
        loop {
            let privacy = (self.privacy)();
            let pause = match self.outbox.treat(&privacy).await {
                Ok(treated) => {
                    if let Some(over) = outage.ends() {
                        let (failures, lasted_s) = (over.failures, over.seconds());
                        info!(failures, lasted_s, "what was sent can be treated again");
                    }
                    if treated == 0 { LOOK_INTERVAL } else { REST }
                }
                Err(error) => {
                    if outage.begins() {
                        warn!(error = %error, "[privacy] cannot be applied to what was sent: trying again until it can");
                    } else {
                        debug!(error = %error, "[privacy] cannot be applied to what was sent");
                    }
                    LOOK_INTERVAL
                }
            };
            if !rest(pause, &stop).await {
                return;
            }
        }
    }
}
