//! Rows of `events`.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::{EventAsk, Problem};
use crate::admin::Admin;
use crate::backend::StoredEvent;
use crate::backend::search::Cursor;
use crate::clock::Timestamp;
use crate::twilio::error;

/// One row of `events`.
#[derive(Debug, Serialize)]
pub(super) struct EventView {
    key: String,
    kind: &'static str,
    account: String,
    /// Another account that it names, for which its own may not speak.
    about_account: Option<String>,
    sid: Option<String>,
    status: Option<String>,
    sequence: Option<i64>,
    occurred_at: Option<Timestamp>,
    received_at: Timestamp,
    /// Null for an event of before 0.2, as the next two.
    method: Option<&'static str>,
    route: Option<&'static str>,
    fingerprint: Option<String>,
    query: String,
    own: Option<Value>,
    params: Box<RawValue>,
    /// That it reports, wherever its kind has it.
    error_code: Option<String>,
}

impl From<StoredEvent> for EventView {
    fn from(StoredEvent { event, params, own }: StoredEvent) -> Self {
        let error_code = error::of(&event);
        Self {
            key: event.key.to_string(),
            kind: event.kind.as_str(),
            account: event.account,
            about_account: event.about_account,
            sid: event.sid,
            status: event.status,
            sequence: event.sequence,
            occurred_at: event.occurred_at,
            received_at: event.received_at,
            method: event.request.as_ref().map(|request| request.method.as_str()),
            route: event.request.as_ref().map(|request| request.route.as_str()),
            fingerprint: event.fingerprint.map(|fingerprint| fingerprint.to_string()),
            query: event.query,
            own: own.map(|own| own.to_json()),
            // Both stores hold JSON there and nothing else.
            params: RawValue::from_string(params).unwrap_or_else(|_| RawValue::NULL.to_owned()),
            error_code,
        }
    }
}

/// A page of them.
#[derive(Debug, Serialize)]
pub(super) struct EventPage {
    events: Vec<EventView>,
    /// `after` of the next page; null if this is the last.
    next: Option<String>,
}

/// `GET /api/events`, the one that was received last at the top.
pub(super) async fn list(
    State(admin): State<Arc<Admin>>,
    query: Result<Query<EventAsk>, QueryRejection>,
) -> Result<Json<EventPage>, Problem> {
    let search = query?.0.search(&admin.privacy.now(), admin.clock.now())?;
    let found = admin.reader.find_events(&search).await?;
    let last = found.last().filter(|_| found.len() == search.limit as usize);
    let next = last.map(|StoredEvent { event, .. }| {
        let (id, account) = (event.key.to_string(), event.account.clone());
        Cursor { at: event.received_at, id, account }.to_string()
    });
    Ok(Json(EventPage { events: found.into_iter().map(EventView::from).collect(), next }))
}
