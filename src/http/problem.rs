//! [`Problem`]: why a request to a private API has no other answer, as RFC 9457 has it.

use axum::extract::multipart::MultipartRejection;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

/// Why there is no answer.
#[derive(Debug)]
pub(crate) struct Problem {
    pub(crate) status: StatusCode,
    pub(crate) detail: String,
    /// Why a cursor is gone, for programs.
    pub(crate) reason: Option<&'static str>,
    /// The accounts to pick from, where the SID alone does not say which.
    pub(crate) accounts: Vec<String>,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into(), reason: None, accounts: Vec::new() }
    }

    /// Several accounts have reported one SID.
    pub(crate) fn several(accounts: Vec<String>) -> Self {
        let detail = format!(
            "several accounts have reported this SID: pick one with ?account=, {}",
            accounts.join(" or ")
        );
        Self { accounts, ..Self::new(StatusCode::CONFLICT, detail) }
    }

    pub(crate) fn bad(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    pub(crate) fn missing(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
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

impl From<MultipartRejection> for Problem {
    fn from(rejection: MultipartRejection) -> Self {
        Self::new(rejection.status(), rejection.body_text())
    }
}

impl From<JsonRejection> for Problem {
    fn from(rejection: JsonRejection) -> Self {
        Self::new(rejection.status(), rejection.body_text())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Self { status, detail, reason, accounts } = self;
        let title = status.canonical_reason().unwrap_or_default();
        let mut body =
            serde_json::json!({ "title": title, "status": status.as_u16(), "detail": detail });
        if let Some(reason) = reason {
            body["reason"] = reason.into();
        }
        if !accounts.is_empty() {
            body["accounts"] = accounts.into();
        }
        (status, [(CONTENT_TYPE, "application/problem+json")], body.to_string()).into_response()
    }
}
