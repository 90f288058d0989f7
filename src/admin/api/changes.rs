//! The change feed: pages, which may be waited for, and server-sent events.

mod ask;
mod events;
mod read;

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::time::{Instant, sleep_until};
use tracing::warn;

use self::ask::{ChangeAsk, Start};
pub(super) use self::events::stream;
use self::read::{Found, find};
use super::Problem;
use crate::admin::Admin;
use crate::backend::feed::{FeedError, From};
use crate::clock::Timestamp;
use crate::event::{Change, Cursor};

/// A row of `changes`.
#[derive(Debug, Serialize)]
pub(super) struct ChangeView {
    /// To go on behind it.
    cursor: String,
    id: i64,
    stored_at: Timestamp,
    account: String,
    key: String,
    kind: &'static str,
    sid: Option<String>,
    resource: Option<&'static str>,
    status: Option<String>,
    /// Whether no other status follows that one.
    r#final: bool,
    previous: Option<String>,
    current: Option<String>,
    moved: bool,
    error_code: Option<String>,
    own: Option<Box<RawValue>>,
}

impl ChangeView {
    fn of((cursor, change): (Cursor, Change)) -> Self {
        Self {
            cursor: cursor.to_string(),
            id: change.id,
            stored_at: change.stored_at,
            r#final: ask::is_final(&change),
            account: change.account,
            key: change.key.to_string(),
            kind: change.kind.as_str(),
            sid: change.sid,
            resource: change.resource.map(crate::event::Resource::as_str),
            status: change.status,
            previous: change.previous,
            current: change.current,
            moved: change.moved,
            error_code: change.error_code,
            own: change.own.and_then(|own| RawValue::from_string(own.as_str().to_owned()).ok()),
        }
    }
}

/// Some of the feed.
#[derive(Debug, Serialize)]
pub(super) struct ChangePage {
    changes: Vec<ChangeView>,
    /// `after` of the next page. There is always one: what comes next may not be there yet.
    next: String,
}

impl ChangePage {
    fn of(found: Found) -> Json<Self> {
        let changes = found.changes.into_iter().map(ChangeView::of).collect();
        Json(Self { changes, next: found.next.to_string() })
    }
}

/// `GET /api/changes?after=…&limit=…&wait=…`, the oldest first.
pub(super) async fn list(
    State(admin): State<Arc<Admin>>,
    query: Result<Query<ChangeAsk>, QueryRejection>,
) -> Result<Json<ChangePage>, Problem> {
    let ask = query?.0;
    let (start, filter) = (ask.start()?, ask.filter()?);
    let (limit, until) = (ask.limit()?, Instant::now() + ask.wait()?);
    let doors = &admin.feed;
    // Before the first look, so that what comes after it is known.
    let mut reader = doors.watch.reader();
    let (mut from, mut left, mut seat) = (begin(&admin, start).await?, read::MOST, None);
    loop {
        let found = find(doors, from, &filter, limit, left).await?;
        left -= found.looked_at;
        if !found.changes.is_empty() || left == 0 || Instant::now() >= until {
            return Ok(ChangePage::of(found));
        }
        if seat.is_none() {
            seat = Some(doors.poll().ok_or_else(too_many)?);
        }
        tokio::select! {
            () = reader.grown() => {}
            () = sleep_until(until) => return Ok(ChangePage::of(found)),
            () = admin.stop.cancelled() => return Ok(ChangePage::of(found)),
        }
        from = From::After(found.next);
    }
}

/// Where to begin.
async fn begin(admin: &Admin, start: Start) -> Result<From, Problem> {
    Ok(match start {
        Start::Oldest => From::Start,
        Start::After(cursor) => From::After(cursor),
        Start::Now => From::After(admin.feed.end().await?),
    })
}

fn too_many() -> Problem {
    let detail = "too many wait for changes already: come back in a while, or read without `wait`";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
}

impl std::convert::From<FeedError> for Problem {
    fn from(error: FeedError) -> Self {
        match error {
            FeedError::Backend(error) => {
                warn!(error = %error, "the change feed cannot be read");
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "the store does not answer")
            }
            FeedError::Gone(gone) => {
                let detail = format!(
                    "{}: take the cursor that ?after=now gives, read what you need of /api/statuses \
                     and /api/events, then go on from that cursor",
                    gone.explanation()
                );
                let problem = Self::new(StatusCode::GONE, detail);
                Self { reason: Some(gone.as_str()), ..problem }
            }
        }
    }
}
