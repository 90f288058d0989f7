//! The last requests that the public listener of this process refused.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;

use crate::admin::Admin;
use crate::clock::Timestamp;
use crate::recent::refusals::RecentRefusal;

#[derive(Debug, Serialize)]
pub(super) struct RefusalList {
    /// How many there were of each reason since the process started.
    counts: BTreeMap<&'static str, u64>,
    refusals: Vec<RefusalView>,
}

#[derive(Debug, Serialize)]
struct RefusalView {
    at: Timestamp,
    route: &'static str,
    reason: &'static str,
    status: u16,
    account: Option<String>,
    urls: Vec<String>,
    explained: bool,
    hint: &'static str,
}

impl From<RecentRefusal> for RefusalView {
    fn from(refused: RecentRefusal) -> Self {
        let RecentRefusal { at, route, reason, status, account, urls, explained, hint } = refused;
        let reason = reason.as_str();
        Self { at, route, reason, status, account, urls, explained, hint }
    }
}

/// `GET /api/refusals`, the latest first.
pub(super) async fn list(State(admin): State<Arc<Admin>>) -> Json<RefusalList> {
    let counted = admin.refusals.counted().into_iter();
    let counts = counted.map(|(reason, counted)| (reason.as_str(), counted.times)).collect();
    Json(RefusalList {
        counts,
        refusals: admin.refusals.last().into_iter().map(RefusalView::from).collect(),
    })
}
