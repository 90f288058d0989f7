//! What of a backend that does not answer may be said: the cause is for the log.

use axum::http::StatusCode;
use tracing::debug;

use crate::backend::BackendError;
pub(in crate::admin) use crate::http::problem::Problem;

/// The cause may name what is not the client's business.
impl From<BackendError> for Problem {
    fn from(error: BackendError) -> Self {
        // One line for each request would hide the one that says since when.
        debug!(error = %error, "a request to the API cannot read the store");
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "the store does not answer")
    }
}

impl Problem {
    /// The same, of dead letters, which lie in Redis and in the local log.
    pub(in crate::admin) fn of_letters(error: BackendError) -> Self {
        debug!(error = %error, "a request to the API cannot read dead letters");
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "dead letters cannot be read: Redis, or the disk of the local log, does not answer",
        )
    }
}
