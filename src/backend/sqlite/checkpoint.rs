//! [`Checkpoint`]: brings what was committed to the disk.

use std::sync::Arc;

use super::writer::Writer;
use crate::pipeline::CommitError;

/// Syncs what was committed to the embedded store.
#[derive(Clone, Debug)]
pub struct Checkpoint(pub(super) Arc<Writer>);

impl Checkpoint {
    /// Whether there is something to sync.
    #[must_use]
    pub fn is_due(&self) -> bool {
        self.0.is_dirty()
    }

    /// Brings what was written so far to the disk, so that [`run`](Self::run) has less to do at once.
    pub async fn prepare(&self) {
        self.0.bring_to_disk().await;
    }

    /// Syncs; whether all that was committed before is on the disk.
    ///
    /// # Errors
    /// The disk does not work, or is full.
    pub async fn run(&self) -> Result<bool, CommitError> {
        self.0.checkpoint().await
    }
}
