//! The last requests that the public listener of this process refused.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;

use crate::admin::Admin;
use crate::clock::Timestamp;
use crate::http::refusals::Refused;

#[derive(Debug, Serialize)]
pub(super) struct List {
    refusals: Vec<View>,
}

#[derive(Debug, Serialize)]
struct View {
    at: Timestamp,
    route: &'static str,
    reason: &'static str,
    status: u16,
    account: Option<String>,
    urls: Vec<String>,
    hint: &'static str,
}

impl From<Refused> for View {
    fn from(refused: Refused) -> Self {
        let Refused { at, route, reason, status, account, urls, hint } = refused;
        Self { at, route, reason, status, account, urls, hint }
    }
}

/// `GET /api/refusals`, the latest first.
pub(super) async fn list(State(admin): State<Arc<Admin>>) -> Json<List> {
    Json(List { refusals: admin.refusals.last().into_iter().map(View::from).collect() })
}
