//! Notifications: asked for, looked at, cancelled.

use std::sync::Arc;

use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use tracing::info;

use super::request::{NotificationAsk, behind, key, named};
use super::view::{AttemptView, NotificationView, StepView, UnknownView};
use super::{Api, TokenId, consents, unavailable};
use crate::backend::outbox::{
    Asked, CancelOutcome, KeptBefore, NotificationSearch, ROWS_PER_PAGE, place_text,
};
use crate::dispatch::NotificationState;
use crate::http::problem::Problem;
use crate::outbound::config::Config;
use crate::outbound::trace::Trace;

/// The answer to `POST /api/notifications`.
#[derive(Debug, Serialize)]
pub(super) struct AskedView {
    id: String,
    /// Whether the same request was asked before under the same key.
    repeated: bool,
    segments: u32,
}

/// `POST /api/notifications`: 202 once it is kept.
pub(super) async fn ask(
    State(api): State<Arc<Api>>,
    Extension(TokenId(token)): Extension<TokenId>,
    Extension(config): Extension<Arc<Config>>,
    headers: HeaderMap,
    asked: Result<Json<NotificationAsk>, JsonRejection>,
) -> Result<(StatusCode, Json<AskedView>), Problem> {
    let Json(asked) = asked?;
    let (now, idempotency_key) = (api.clock.now(), key(&headers)?);
    let hashes = api.hashes().await?;
    if let Some(key) = &idempotency_key
        && let Some(before) = api.outbox.asked_before(&token, key).await.map_err(unavailable)?
    {
        // Its answer may not have arrived. What was reloaded since, and the deadline, are no matter.
        if !asked.is_of(&before.request_hash, &config, hashes, now)? {
            return Err(conflict());
        }
        let KeptBefore { id, segments, .. } = before;
        info!(notification = id, token, repeated = true, "a notification was kept before");
        return Ok((StatusCode::ACCEPTED, Json(AskedView { id, repeated: true, segments })));
    }
    let plan = asked.plan(&config, now)?;
    let (new, refused) = plan.notification(asked, token, idempotency_key, hashes, now);
    let refused = match refused {
        Some(problem) => Some(problem),
        None => consents::missing(&api, &new).await?,
    };
    if let Some(problem) = refused {
        return Err(problem);
    }
    let purpose = new.purpose;
    let (id, segments, sender) = (new.id.clone(), new.segments, new.sender.clone());
    let token = new.token.clone();
    let mut trace = Trace::of_ask(&api.spans, new.attempt);
    trace.is_of(&sender);
    let (id, repeated) = match api.asks.keep(new).await.map_err(unavailable)? {
        Asked::Kept => {
            api.news.send_replace(());
            (id, false)
        }
        Asked::Before(id) => (id, true),
        Asked::Conflict => return Err(conflict()),
    };
    trace.ends(if repeated { "repeated" } else { "kept" });
    info!(
        notification = id,
        token,
        sender,
        purpose = purpose.as_str(),
        repeated,
        "a notification is kept"
    );
    Ok((StatusCode::ACCEPTED, Json(AskedView { id, repeated, segments })))
}

fn conflict() -> Problem {
    let detail = "another request was sent with this Idempotency-Key: use a new key";
    Problem::new(StatusCode::CONFLICT, detail)
}

/// A notification with its attempts.
#[derive(Debug, Serialize)]
pub(super) struct WholeView {
    #[serde(flatten)]
    notification: NotificationView,
    /// The steps of its route, in their order.
    steps: Vec<StepView>,
    attempts: Vec<AttemptView>,
}

fn missing() -> Problem {
    Problem::missing("there is no such notification")
}

/// `GET /api/notifications/{id}`
pub(super) async fn show(
    State(api): State<Arc<Api>>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Json<WholeView>, Problem> {
    let Path(id) = id?;
    let found = api.outbox.find(&id).await.map_err(unavailable)?;
    let (notification, attempts) = found.ok_or_else(missing)?;
    let steps = match notification.route {
        Some(_) => api.outbox.steps(&id).await.map_err(unavailable)?,
        None => Vec::new(),
    };
    let steps = steps.into_iter().map(StepView::of).collect();
    let attempts = attempts.into_iter().map(AttemptView::of).collect();
    Ok(Json(WholeView { notification: NotificationView::of(notification), steps, attempts }))
}

/// The query of the list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    state: Option<String>,
    reference: Option<String>,
    route: Option<String>,
    campaign: Option<String>,
    after: Option<String>,
    limit: Option<u32>,
}

/// A page of notifications.
#[derive(Debug, Serialize)]
pub(super) struct ListPage {
    notifications: Vec<NotificationView>,
    /// `after` of the next page; null if this is the last.
    next: Option<String>,
}

/// `GET /api/notifications?state=…&reference=…&route=…&campaign=…&after=…&limit=…`, the newest first.
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Json<ListPage>, Problem> {
    let Query(query) = query?;
    let state = query.state.as_deref().map(|name| named::<NotificationState>("state", name));
    let limit = query.limit.unwrap_or(100).clamp(1, ROWS_PER_PAGE);
    let search = NotificationSearch {
        state: state.transpose()?,
        reference: query.reference,
        route: query.route,
        campaign: query.campaign,
        after: behind(query.after.as_deref())?,
        limit,
    };
    let found = api.outbox.list(&search).await.map_err(unavailable)?;
    let next = found.last().filter(|_| found.len() == limit as usize);
    let next = next.map(|last| place_text(last.created_at, &last.id));
    let notifications = found.into_iter().map(NotificationView::of).collect();
    Ok(Json(ListPage { notifications, next }))
}

/// What came of a cancellation.
#[derive(Debug, Serialize)]
pub(super) struct CancelView {
    state: NotificationState,
    /// How many attempts are on their way: they may still arrive.
    in_writing: u64,
    /// How many calls are cancelled at Twilio, unless they are answered before.
    hanging_up: u64,
}

/// `POST /api/notifications/{id}/cancel`
pub(super) async fn cancel(
    State(api): State<Arc<Api>>,
    Extension(TokenId(token)): Extension<TokenId>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Json<CancelView>, Problem> {
    let Path(id) = id?;
    let cancelled = api.outbox.cancel(&id).await.map_err(unavailable)?;
    let CancelOutcome { state, in_writing, hanging_up } = cancelled.ok_or_else(missing)?;
    info!(
        notification = id,
        token,
        state = state.as_str(),
        in_writing,
        hanging_up,
        "a notification is cancelled"
    );
    Ok(Json(CancelView { state, in_writing, hanging_up }))
}

/// What is unknown.
#[derive(Debug, Serialize)]
pub(super) struct UnknownList {
    attempts: Vec<UnknownView>,
}

/// `GET /api/attempts/unknown`: the oldest first, at most a page.
pub(super) async fn unknown(State(api): State<Arc<Api>>) -> Result<Json<UnknownList>, Problem> {
    let found = api.outbox.list_unknown(ROWS_PER_PAGE).await.map_err(unavailable)?;
    Ok(Json(UnknownList { attempts: found.into_iter().map(UnknownView::of).collect() }))
}
