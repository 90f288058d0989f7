//! What of a backend that does not answer may be said: the cause is for the log.

use axum::http::StatusCode;
use tracing::warn;

use crate::backend::BackendError;
pub(in crate::admin) use crate::http::problem::Problem;

/// The cause may name what is not the client's business.
impl From<BackendError> for Problem {
    fn from(error: BackendError) -> Self {
        warn!(error = %error, "store cannot be read");
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "the store does not answer")
    }
}

impl Problem {
    /// The same, of dead letters, which lie in Redis and in the local log.
    pub(in crate::admin) fn of_letters(error: BackendError) -> Self {
        warn!(error = %error, "dead letters cannot be read");
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "dead letters cannot be read: Redis, or the disk of the local log, does not answer",
        )
    }
}
