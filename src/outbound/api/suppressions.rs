//! Suppressions: who must not be reached.

use std::sync::Arc;

use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use tracing::info;

use super::{Api, TokenId, unavailable};
use crate::backend::outbox::{ROWS_PER_PAGE, Suppression};
use crate::clock::Timestamp;
use crate::http::problem::Problem;
use crate::outbound::gate::number;

/// Where entries come from that a person made.
const BY_HAND: &str = "hand";

/// One address.
#[derive(Debug, Serialize)]
pub(super) struct SuppressionView {
    to: Option<String>,
    hash: String,
    source: String,
    at: Timestamp,
}

/// A page of them.
#[derive(Debug, Serialize)]
pub(super) struct SuppressionPage {
    suppressions: Vec<SuppressionView>,
    /// `after` of the next page; null if this is the last.
    next: Option<String>,
}

/// The query of the list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    after: Option<String>,
    limit: Option<u32>,
}

/// `GET /api/suppressions?after=…&limit=…`, by hash.
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Json<SuppressionPage>, Problem> {
    let Query(query) = query?;
    let limit = query.limit.unwrap_or(100).clamp(1, ROWS_PER_PAGE);
    let after = query.after.unwrap_or_default();
    let found = api.outbox.suppressions(&after, limit).await.map_err(unavailable)?;
    let next = found.last().filter(|_| found.len() == limit as usize);
    let next = next.map(|last| last.to_hash.clone());
    let view = |it: Suppression| SuppressionView {
        to: it.to,
        hash: it.to_hash,
        source: it.source,
        at: it.at,
    };
    Ok(Json(SuppressionPage { suppressions: found.into_iter().map(view).collect(), next }))
}

/// The body of both changes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AddressAsk {
    to: String,
}

/// It is done.
#[derive(Debug, Serialize)]
pub(super) struct Done {
    suppressed: bool,
}

async fn enter(
    api: &Api,
    token: &str,
    asked: Result<Json<AddressAsk>, JsonRejection>,
    stop: bool,
) -> Result<Json<Done>, Problem> {
    let Json(asked) = asked?;
    let to = number(&asked.to).ok_or_else(|| {
        let detail = "`to`: it is not a number in E.164, such as +15550100";
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
    })?;
    let hashes = api.hashes().await?;
    // On every channel: who must not be reached by SMS must not be reached by WhatsApp.
    for to in [to.as_str().to_owned(), format!("whatsapp:{}", to.as_str())] {
        let hash = hashes.address(&to);
        api.outbox.suppress(&to, &hash, stop, BY_HAND).await.map_err(unavailable)?;
    }
    info!(token, suppressed = stop, "an entry of the suppressions is made by hand");
    Ok(Json(Done { suppressed: stop }))
}

/// `POST /api/suppressions`
pub(super) async fn add(
    State(api): State<Arc<Api>>,
    Extension(TokenId(token)): Extension<TokenId>,
    asked: Result<Json<AddressAsk>, JsonRejection>,
) -> Result<Json<Done>, Problem> {
    enter(&api, &token, asked, true).await
}

/// `POST /api/suppressions/lift`
pub(super) async fn lift(
    State(api): State<Arc<Api>>,
    Extension(TokenId(token)): Extension<TokenId>,
    asked: Result<Json<AddressAsk>, JsonRejection>,
) -> Result<Json<Done>, Problem> {
    enter(&api, &token, asked, false).await
}
