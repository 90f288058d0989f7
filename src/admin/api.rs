//! The store over JSON.

pub(super) mod dead_letters;

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tracing::warn;

use super::Admin;
use crate::backend::{BackendError, StoredEvent};
use crate::clock::Timestamp;
use crate::event::Current;

/// Events of one answer. A call has under ten, a conference hundreds.
const EVENTS: u32 = 1000;

/// One row of `statuses`.
#[derive(Debug, Serialize)]
struct StatusView {
    sid: String,
    resource: &'static str,
    account: String,
    status: String,
    #[serde(rename = "final")]
    is_final: bool,
    from: Option<String>,
    to: Option<String>,
    /// Seconds.
    duration: Option<i64>,
    error_code: Option<String>,
    contradicted: bool,
    first_seen: Timestamp,
    updated: Timestamp,
}

impl From<Current> for StatusView {
    fn from(current: Current) -> Self {
        Self {
            resource: current.resource.as_str(),
            is_final: current.is_final(),
            contradicted: current.is_contradicted(),
            sid: current.sid,
            account: current.account,
            status: current.position.status,
            from: current.from,
            to: current.to,
            duration: current.duration,
            error_code: current.error.map(|error| error.code),
            first_seen: current.first_seen,
            updated: current.updated,
        }
    }
}

/// One row of `events`.
#[derive(Debug, Serialize)]
struct EventView {
    key: String,
    kind: &'static str,
    account: String,
    sid: Option<String>,
    status: Option<String>,
    sequence: Option<i64>,
    occurred_at: Option<Timestamp>,
    received_at: Timestamp,
    query: String,
    params: Box<RawValue>,
}

impl TryFrom<StoredEvent> for EventView {
    type Error = serde_json::Error;

    fn try_from(StoredEvent { event, params }: StoredEvent) -> Result<Self, Self::Error> {
        Ok(Self {
            key: event.key.to_string(),
            kind: event.kind.as_str(),
            account: event.account,
            sid: event.sid,
            status: event.status,
            sequence: event.sequence,
            occurred_at: event.occurred_at,
            received_at: event.received_at,
            query: event.query,
            params: RawValue::from_string(params)?,
        })
    }
}

/// `GET /api/statuses/{sid}`
pub(super) async fn status(
    State(admin): State<Arc<Admin>>,
    sid: Result<Path<String>, PathRejection>,
) -> Response {
    let Ok(Path(sid)) = sid else {
        return problem(StatusCode::BAD_REQUEST, "the SID is not UTF-8");
    };
    match admin.reader.status(&sid).await {
        Ok(Some(current)) => Json(StatusView::from(current)).into_response(),
        Ok(None) => problem(StatusCode::NOT_FOUND, "no status is known for this SID"),
        Err(error) => unavailable(&error),
    }
}

/// The query of `GET /api/events`.
#[derive(Debug, Deserialize)]
pub(super) struct EventsOf {
    sid: Option<String>,
}

/// `GET /api/events?sid=…`, in the order in which they were received.
pub(super) async fn events(
    State(admin): State<Arc<Admin>>,
    query: Result<Query<EventsOf>, QueryRejection>,
) -> Response {
    let sid = query.ok().and_then(|Query(EventsOf { sid })| sid);
    let Some(sid) = sid.filter(|sid| !sid.is_empty()) else {
        return problem(StatusCode::BAD_REQUEST, "say whose events: /api/events?sid=…");
    };
    let events = match admin.reader.events(&sid, EVENTS).await {
        Ok(events) => events,
        Err(error) => return unavailable(&error),
    };
    match events.into_iter().map(EventView::try_from).collect::<Result<Vec<_>, _>>() {
        Ok(views) => Json(serde_json::json!({ "events": views })).into_response(),
        Err(error) => unavailable(&BackendError(error.to_string())),
    }
}

fn unavailable(error: &BackendError) -> Response {
    warn!(error = %error, "store cannot be read");
    problem(StatusCode::SERVICE_UNAVAILABLE, "the store does not answer")
}

/// RFC 9457.
fn problem(status: StatusCode, detail: &str) -> Response {
    let title = status.canonical_reason().unwrap_or_default();
    let body = serde_json::json!({ "title": title, "status": status.as_u16(), "detail": detail });
    (status, [(CONTENT_TYPE, "application/problem+json")], body.to_string()).into_response()
}
