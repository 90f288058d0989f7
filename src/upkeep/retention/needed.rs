//! [`Needed`]: what is old and not deleted yet, since it was not forwarded.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::backend::Forwards;
use crate::clock::Timestamp;
use crate::pipeline::Cause;

/// How long before its change an event may have been stored: both are of one transaction, which is bounded.
const MARGIN: Duration = Duration::from_secs(300);

/// What forwards still need.
#[derive(Clone, Debug)]
pub struct Needed {
    /// The store's record of where they stand.
    pub forwards: Forwards,
    /// Their names, and until which age each keeps what it needs.
    pub of: Arc<ArcSwap<Vec<(String, Duration)>>>,
}

impl Needed {
    /// Before when may be deleted, of what may be deleted before `cutoff`.
    pub(super) async fn limit(&self, cutoff: Timestamp) -> Result<Timestamp, Cause> {
        let of = self.of.load_full();
        let since = self.forwards.needed_since(&of).await;
        let since = since.map_err(|error| error.to_string())?;
        Ok(since.map_or(cutoff, |since| cutoff.min(since.before(MARGIN))))
    }
}
