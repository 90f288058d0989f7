//! Rows of `statuses`.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use serde::Serialize;
use serde_json::Value;

use super::{AccountAsk, Problem, StatusAsk};
use crate::admin::Admin;
use crate::backend::search::Cursor;
use crate::clock::Timestamp;
use crate::event::CurrentStatus;

/// One row of `statuses`.
#[derive(Debug, Serialize)]
pub(super) struct StatusView {
    sid: String,
    resource: &'static str,
    account: String,
    status: String,
    #[serde(rename = "final")]
    is_final: bool,
    from: Option<String>,
    to: Option<String>,
    direction: Option<String>,
    /// Seconds.
    duration: Option<i64>,
    error_code: Option<String>,
    own: Option<Value>,
    contradicted: bool,
    first_seen: Timestamp,
    updated: Timestamp,
}

impl From<CurrentStatus> for StatusView {
    fn from(current: CurrentStatus) -> Self {
        Self {
            resource: current.resource.as_str(),
            is_final: current.is_final(),
            contradicted: current.is_contradicted(),
            sid: current.sid,
            account: current.account,
            status: current.position.status,
            from: current.from,
            to: current.to,
            direction: current.direction,
            duration: current.duration,
            error_code: current.error.map(|error| error.code),
            own: current.own.map(|own| own.parameters.to_json()),
            first_seen: current.first_seen,
            updated: current.updated,
        }
    }
}

/// A page of them.
#[derive(Debug, Serialize)]
pub(super) struct StatusPage {
    statuses: Vec<StatusView>,
    /// `after` of the next page; null if this is the last.
    next: Option<String>,
}

/// `GET /api/statuses`, the SID that was first seen last at the top.
pub(super) async fn list(
    State(admin): State<Arc<Admin>>,
    query: Result<Query<StatusAsk>, QueryRejection>,
) -> Result<Json<StatusPage>, Problem> {
    let search = query?.0.search(&admin.privacy.now(), admin.clock.now())?;
    let found = admin.reader.find_statuses(&search).await?;
    let next = next(&found, search.limit);
    Ok(Json(StatusPage { statuses: found.into_iter().map(StatusView::from).collect(), next }))
}

/// Where the next page goes on.
pub(in crate::admin) fn next(found: &[CurrentStatus], limit: u32) -> Option<String> {
    let last = found.last().filter(|_| found.len() == limit as usize)?;
    let (id, account) = (last.sid.clone(), last.account.clone());
    Some(Cursor { at: last.first_seen, id, account }.to_string())
}

/// `GET /api/statuses/{sid}`: one row, so an account must be picked where several have reported it.
pub(super) async fn show(
    State(admin): State<Arc<Admin>>,
    sid: Result<Path<String>, PathRejection>,
    account: Result<Query<AccountAsk>, QueryRejection>,
) -> Result<Json<StatusView>, Problem> {
    let (Path(sid), Query(AccountAsk { account })) = (sid?, account?);
    let mut found = admin.reader.statuses_of(&sid).await?;
    if !account.is_empty() {
        found.retain(|current| current.account == account);
    }
    match <[CurrentStatus; 1]>::try_from(found) {
        Ok([found]) => Ok(Json(found.into())),
        Err(none) if none.is_empty() => Err(Problem::missing("no status is known for this SID")),
        Err(several) => {
            Err(Problem::several(several.into_iter().map(|current| current.account).collect()))
        }
    }
}
