//! What Twilio is asked back: statuses that say nothing final for long.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Query, State};
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use tracing::info;

use super::{Api, TokenId, unavailable};
use crate::backend::outbox::{FollowUp, ROWS_PER_PAGE};
use crate::clock::Timestamp;
use crate::event::Resource;
use crate::http::problem::Problem;
use crate::outbound::config::Config;
use crate::outbound::follow_up::asks;

/// Which statuses: those that have said nothing final for so long.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    /// Seconds since they were first heard of; default: the first of `outbound.reconcile_after_s`.
    older_than_s: Option<u64>,
}

impl Which {
    fn older_than(&self) -> Option<Duration> {
        self.older_than_s.map(Duration::from_secs)
    }
}

/// A status that says nothing final.
#[derive(Debug, Serialize)]
pub(super) struct OpenStatus {
    account: String,
    sid: String,
    resource: Resource,
    first_seen: Timestamp,
}

/// The oldest of them.
#[derive(Debug, Serialize)]
pub(super) struct OpenStatuses {
    statuses: Vec<OpenStatus>,
    /// Whether there are more.
    more: bool,
}

/// `GET /api/reconcile`: what Twilio would be asked for.
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    Extension(config): Extension<Arc<Config>>,
    which: Result<Query<Which>, QueryRejection>,
) -> Result<Json<OpenStatuses>, Problem> {
    let Query(which) = which?;
    let (mut statuses, mut more) = (Vec::new(), false);
    for ask in asks(&config, api.clock.now(), which.older_than()) {
        let found = api.outbox.list_open_statuses(&ask, ROWS_PER_PAGE);
        let found = found.await.map_err(unavailable)?;
        more |= found.len() >= ROWS_PER_PAGE as usize;
        let view = |FollowUp { account, sid, resource, first_seen }: FollowUp| OpenStatus {
            account,
            sid,
            resource,
            first_seen,
        };
        statuses.extend(found.into_iter().map(view));
    }
    Ok(Json(OpenStatuses { statuses, more }))
}

/// How many statuses Twilio is asked for.
#[derive(Debug, Serialize)]
pub(super) struct Planned {
    planned: u64,
}

/// `POST /api/reconcile`: asks Twilio for them now, two at a time for each account.
pub(super) async fn start(
    State(api): State<Arc<Api>>,
    Extension(TokenId(token)): Extension<TokenId>,
    Extension(config): Extension<Arc<Config>>,
    which: Result<Json<Which>, JsonRejection>,
) -> Result<Json<Planned>, Problem> {
    let Json(which) = which?;
    let mut planned = 0;
    for ask in asks(&config, api.clock.now(), which.older_than()) {
        while api.outbox.plan_follow_ups(&ask).await.map_err(unavailable)? > 0 {}
        planned += api.outbox.hurry_follow_ups(&ask).await.map_err(unavailable)?;
    }
    info!(token, planned, "an operator asked Twilio about messages without a final status");
    Ok(Json(Planned { planned }))
}
