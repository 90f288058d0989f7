//! What is committed right now, as server-sent events.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{Event as Frame, KeepAlive, Sse};
use futures_util::stream::{self, Stream};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, timeout_at};

use super::{Problem, ask};
use crate::admin::Admin;
use crate::clock::Timestamp;
use crate::event::Kind;
use crate::recent::events::{EventSubscription, RecentEvent};
use crate::twilio::error;

/// Most that watch at one time: each holds a connection.
const WATCHERS: usize = 64;
/// A watcher is sent off after this, and comes back by itself where it left. It must be shorter
/// than what the listener grants a request.
const SHIFT: Duration = Duration::from_secs(5 * 60);
/// How soon it may come back.
const RETRY: Duration = Duration::from_millis(500);

/// An event in a line.
#[derive(Debug, Serialize)]
pub(in crate::admin) struct Line {
    /// `received`, and not yet in the store, or `stored`.
    stage: &'static str,
    pub(in crate::admin) at: Timestamp,
    pub(in crate::admin) key: String,
    pub(in crate::admin) kind: &'static str,
    pub(in crate::admin) account: String,
    pub(in crate::admin) sid: Option<String>,
    pub(in crate::admin) status: Option<String>,
    pub(in crate::admin) error_code: Option<String>,
    /// Null if nobody looked.
    pub(in crate::admin) duplicate: Option<bool>,
}

impl Line {
    pub(in crate::admin) fn of(admin: &Admin, seen: &RecentEvent) -> Self {
        let event = &seen.event;
        Self {
            stage: admin.live.stage().as_str(),
            at: seen.at,
            key: event.key.to_string(),
            kind: event.kind.as_str(),
            account: event.account.clone(),
            sid: event.sid.clone(),
            status: event.status.clone(),
            error_code: error::of(event),
            duplicate: seen.duplicate,
        }
    }
}

/// The query of `GET /api/live`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LiveQuery {
    #[serde(default)]
    kind: String,
    #[serde(default)]
    status: String,
    /// What a browser's own header says when it comes back.
    last: Option<u64>,
}

struct Tail {
    admin: Arc<Admin>,
    watcher: EventSubscription,
    kind: Option<Kind>,
    status: Option<String>,
    until: Instant,
}

/// `GET /api/live?kind=…&status=…`
pub(super) async fn stream(
    State(admin): State<Arc<Admin>>,
    headers: HeaderMap,
    query: Result<Query<LiveQuery>, QueryRejection>,
) -> Result<Sse<impl Stream<Item = Result<Frame, Infallible>>>, Problem> {
    let Query(LiveQuery { kind, status, last }) = query?;
    let (kind, status) = (ask::kind(&kind)?, ask::text(&status));
    if admin.live.watchers() >= WATCHERS {
        return Err(Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "too many clients watch already: try again later",
        ));
    }
    let header = headers.get("last-event-id").and_then(|id| id.to_str().ok()?.parse().ok());
    let watcher = admin.live.watch(header.or(last));
    let tail = Tail { admin, watcher, kind, status, until: Instant::now() + SHIFT };
    let hello = Ok(Frame::default().retry(RETRY).comment("watching"));
    let frames = stream::unfold((Some(hello), tail), async |(hello, mut tail)| {
        let frame = match hello {
            Some(hello) => hello,
            None => Ok(tail.next().await?),
        };
        Some((frame, (None, tail)))
    });
    Ok(Sse::new(frames).keep_alive(KeepAlive::default()))
}

impl Tail {
    /// `None` ends it: at the end of its shift, when it is too far behind, or when we stop.
    async fn next(&mut self) -> Option<Frame> {
        loop {
            let stopping = self.admin.stop.cancelled();
            let seen = tokio::select! {
                seen = timeout_at(self.until, self.watcher.next()) => seen.ok()??,
                () = stopping => return None,
            };
            let event = &seen.event;
            let kind = self.kind.is_none_or(|kind| kind == event.kind);
            let status = self.status.is_none() || self.status == event.status;
            if kind && status {
                let frame = Frame::default().id(seen.number.to_string());
                let line = Line::of(&self.admin, &seen);
                return Some(frame.json_data(line).expect("plain values serialize"));
            }
        }
    }
}
