//! Dead letters over JSON: listed, shown, replayed, purged.
//!
//! What changes something asks for a JSON body, which no page of another site can send without
//! being asked for permission first, and that is never given.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use super::{problem, unavailable};
use crate::admin::Admin;
use crate::backend::{Action, DeadLetter, DeadLetters};
use crate::clock::Timestamp;

/// One dead letter.
#[derive(Debug, Serialize)]
struct View {
    id: String,
    at: Timestamp,
    deliveries: u32,
    reason: String,
    key: Option<String>,
    kind: Option<&'static str>,
    sid: Option<String>,
    status: Option<String>,
    /// What lay there, as text; shown of one, and not in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    fields: Option<Vec<(String, String)>>,
}

impl View {
    fn of(letter: DeadLetter) -> Self {
        let event = letter.event.ok();
        Self {
            id: letter.id,
            at: letter.at,
            deliveries: letter.deliveries,
            reason: letter.reason,
            key: event.as_ref().map(|event| event.key.to_string()),
            kind: event.as_ref().map(|event| event.kind.as_str()),
            sid: event.as_ref().and_then(|event| event.sid.clone()),
            status: event.and_then(|event| event.status),
            fields: None,
        }
    }

    fn whole(letter: DeadLetter) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let pairs = letter.fields.iter().map(|(name, value)| (text(name), text(value)));
        let fields = Some(pairs.collect());
        Self { fields, ..Self::of(letter) }
    }
}

/// The query of `GET /api/dead-letters`.
#[derive(Debug, Deserialize)]
pub(in crate::admin) struct Page {
    after: Option<String>,
    limit: Option<usize>,
}

/// `GET /api/dead-letters?after=…&limit=…`, oldest first.
pub(in crate::admin) async fn list(
    State(admin): State<Arc<Admin>>,
    Query(Page { after, limit }): Query<Page>,
) -> Response {
    let limit = limit.unwrap_or(100).clamp(1, DeadLetters::PAGE);
    if after.as_deref().is_some_and(|id| !DeadLetters::is_id(id)) {
        return problem(StatusCode::BAD_REQUEST, "`after` is no id of a dead letter");
    }
    match admin.dead_letters.list(after.as_deref(), limit).await {
        Ok(letters) => {
            let next = (letters.len() == limit).then(|| letters.last().map(|l| l.id.clone()));
            let views: Vec<View> = letters.into_iter().map(View::of).collect();
            let next = next.flatten();
            Json(serde_json::json!({ "dead_letters": views, "next": next })).into_response()
        }
        Err(error) => unavailable(&error),
    }
}

/// `GET /api/dead-letters/{id}`
pub(in crate::admin) async fn show(
    State(admin): State<Arc<Admin>>,
    Path(id): Path<String>,
) -> Response {
    match admin.dead_letters.get(&id).await {
        Ok(Some(letter)) => Json(View::whole(letter)).into_response(),
        Ok(None) => problem(StatusCode::NOT_FOUND, "there is no such dead letter"),
        Err(error) => unavailable(&error),
    }
}

/// The body of `POST /api/dead-letters/replay` and `…/purge`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::admin) struct Wanted {
    /// Which ones, at most a page.
    ids: Vec<String>,
    /// Only say what would be done.
    #[serde(default)]
    dry_run: bool,
}

/// `POST /api/dead-letters/replay`
pub(in crate::admin) async fn replay(
    State(admin): State<Arc<Admin>>,
    Json(wanted): Json<Wanted>,
) -> Response {
    settle(&admin.dead_letters, Action::Replay, wanted).await
}

/// `POST /api/dead-letters/purge`
pub(in crate::admin) async fn purge(
    State(admin): State<Arc<Admin>>,
    Json(wanted): Json<Wanted>,
) -> Response {
    settle(&admin.dead_letters, Action::Purge, wanted).await
}

async fn settle(letters: &DeadLetters, action: Action, wanted: Wanted) -> Response {
    if wanted.ids.len() > DeadLetters::PAGE {
        return problem(StatusCode::BAD_REQUEST, "too many ids for one request");
    }
    let (mut done, mut missing) = (Vec::new(), Vec::new());
    for id in wanted.ids {
        let found = match (wanted.dry_run, action) {
            (true, _) => letters.get(&id).await.map(|letter| letter.is_some()),
            (false, action) => letters.settle(&id, action).await,
        };
        match found {
            Ok(true) => done.push(id),
            Ok(false) => missing.push(id),
            Err(error) if done.is_empty() => return unavailable(&error),
            Err(error) => {
                warn!(error = %error, "dead letters were settled in part");
                missing.push(id);
            }
        }
    }
    if !wanted.dry_run {
        info!(action = ?action, dead_letters = done.len(), "dead letters settled");
    }
    let body = serde_json::json!({ "done": done, "missing": missing, "dry_run": wanted.dry_run });
    Json(body).into_response()
}
