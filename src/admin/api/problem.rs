//! [`Problem`]: every answer that is none, as RFC 9457 has it.

use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use tracing::warn;

use crate::backend::BackendError;

/// Why there is no answer.
#[derive(Debug)]
pub(in crate::admin) struct Problem {
    pub(in crate::admin) status: StatusCode,
    pub(in crate::admin) detail: String,
    /// The accounts to pick from, where the SID alone does not say which.
    pub(in crate::admin) accounts: Vec<String>,
}

impl Problem {
    pub(in crate::admin) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into(), accounts: Vec::new() }
    }

    /// Several accounts have reported one SID.
    pub(in crate::admin) fn several(accounts: Vec<String>) -> Self {
        let detail = format!(
            "several accounts have reported this SID: pick one with ?account=, {}",
            accounts.join(" or ")
        );
        Self { accounts, ..Self::new(StatusCode::CONFLICT, detail) }
    }

    pub(in crate::admin) fn bad(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    pub(in crate::admin) fn missing(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }
}

/// The cause is for the log: it may name what is none of the asker's business.
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

impl From<QueryRejection> for Problem {
    fn from(rejection: QueryRejection) -> Self {
        Self::bad(rejection.body_text())
    }
}

impl From<PathRejection> for Problem {
    fn from(rejection: PathRejection) -> Self {
        Self::bad(rejection.body_text())
    }
}

impl From<JsonRejection> for Problem {
    fn from(rejection: JsonRejection) -> Self {
        Self::new(rejection.status(), rejection.body_text())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Self { status, detail, accounts } = self;
        let title = status.canonical_reason().unwrap_or_default();
        let mut body =
            serde_json::json!({ "title": title, "status": status.as_u16(), "detail": detail });
        if !accounts.is_empty() {
            body["accounts"] = accounts.into();
        }
        (status, [(CONTENT_TYPE, "application/problem+json")], body.to_string()).into_response()
    }
}
