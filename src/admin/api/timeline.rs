//! What happened to one SID.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use serde::Serialize;

use super::{AccountAsk, Problem, events, statuses};
use crate::admin::Admin;
use crate::admin::timeline::{Entry, Known, entries};
use crate::clock::Timestamp;

/// Events of one timeline. A call has under ten, a conference hundreds.
pub(in crate::admin) const EVENTS: u32 = 1000;

/// A SID's row and its events.
#[derive(Debug, Serialize)]
pub(super) struct Timeline {
    sid: String,
    /// Null if no event of it moves a status.
    status: Option<statuses::StatusView>,
    events: Vec<TimelineEvent>,
    /// There are more than these.
    truncated: bool,
}

#[derive(Debug, Serialize)]
struct TimelineEvent {
    #[serde(flatten)]
    event: events::EventView,
    /// From Twilio's time to ours, in seconds.
    delay: Option<f64>,
    /// From the event before it, in seconds.
    gap: f64,
    out_of_order: bool,
    came_again: Vec<Timestamp>,
}

impl From<Entry> for TimelineEvent {
    fn from(entry: Entry) -> Self {
        Self {
            event: entry.stored.into(),
            delay: entry.delay.map(|delay| delay.as_secs_f64()),
            gap: entry.gap.as_secs_f64(),
            out_of_order: entry.out_of_order,
            came_again: entry.came_again,
        }
    }
}

/// `GET /api/timeline/{sid}`
pub(super) async fn show(
    State(admin): State<Arc<Admin>>,
    sid: Result<Path<String>, PathRejection>,
    account: Result<Query<AccountAsk>, QueryRejection>,
) -> Result<Json<Timeline>, Problem> {
    let (Path(sid), Query(AccountAsk { account })) = (sid?, account?);
    let (status, events) = match Known::of(&admin.reader, &sid, &account, EVENTS).await? {
        Known::One(status, events) => (status, events),
        Known::Several(accounts) => return Err(Problem::several(accounts)),
    };
    if status.is_none() && events.is_empty() {
        return Err(Problem::missing("nothing is known of this SID"));
    }
    let truncated = events.len() == EVENTS as usize;
    let entries = entries(&sid, events, |event| admin.live.came_again(event));
    let events = entries.into_iter().map(TimelineEvent::from).collect();
    Ok(Json(Timeline { sid, status: status.map(|status| (*status).into()), events, truncated }))
}
