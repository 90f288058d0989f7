//! The change feed as server-sent events. The id of each is its cursor, so a client that comes back goes on where it
//! left, whatever happened to the process meanwhile, and in whichever process of the deployment.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::response::sse::{Event as Frame, KeepAlive, Sse};
use futures_util::stream::{self, Stream};
use tokio::time::{Instant, sleep, sleep_until};
use tracing::debug;

use super::ask::{self, ChangeAsk, Filter};
use super::read::{Found, MOST, find};
use super::{ChangeView, begin, too_many};
use crate::admin::Admin;
use crate::admin::api::Problem;
use crate::admin::feed_doors::Seat;
use crate::backend::FeedReader;
use crate::backend::feed::{FeedError, From};
use crate::retry::Backoff;

/// Changes that are read at a time: what a client that reads slowly keeps in our memory.
const AT_ONCE: u32 = 100;
/// A client is sent off after this, and comes back by itself where it left. It must be shorter than what the listener
/// grants a request.
const SHIFT: Duration = Duration::from_secs(5 * 60);
/// How soon it may come back.
const RETRY: Duration = Duration::from_millis(500);

struct Tail {
    admin: Arc<Admin>,
    reader: FeedReader,
    filter: Filter,
    from: From,
    /// Read, and not sent yet.
    frames: VecDeque<Frame>,
    backoff: Backoff,
    until: Instant,
    _seat: Seat,
}

/// `GET /api/changes/events?after=…`, and `Last-Event-ID`, which is newer.
pub(in crate::admin::api) async fn stream(
    State(admin): State<Arc<Admin>>,
    headers: HeaderMap,
    query: Result<Query<ChangeAsk>, QueryRejection>,
) -> Result<Sse<impl Stream<Item = Result<Frame, Infallible>>>, Problem> {
    let ask = query?.0;
    ask.is_of_pages()?;
    let (filter, mut start) = (ask.filter()?, ask.start()?);
    // A browser sends an empty one if it has none.
    if let Some(last) = headers.get("last-event-id").filter(|last| !last.is_empty()) {
        start = ask::start("Last-Event-ID", last.to_str().unwrap_or("?"))?;
    }
    let seat = admin.feed.stream().ok_or_else(too_many)?;
    // Before the first look, so that what comes after it is known.
    let (reader, from) = (admin.feed.watch.reader(), begin(&admin, start).await?);
    let mut tail = Tail {
        from,
        reader,
        filter,
        frames: VecDeque::new(),
        backoff: Backoff::default(),
        until: Instant::now() + SHIFT,
        _seat: seat,
        admin,
    };
    let mut hello = Frame::default().retry(RETRY).comment("watching");
    // So that a client goes on there even if nothing comes.
    if let From::After(cursor) = &tail.from {
        hello = hello.id(cursor.to_string());
    }
    tail.frames.push_back(hello);
    // A cursor that is gone is an answer, and no stream that ends.
    tail.read().await?;
    let frames = stream::unfold(tail, async |mut tail| Some((Ok(tail.next().await?), tail)));
    Ok(Sse::new(frames).keep_alive(KeepAlive::default()))
}

impl Tail {
    /// `None` ends it: at the end of its shift, when we stop, or when what follows is gone, which the next request is
    /// told.
    async fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = self.frames.pop_front() {
                return Some(frame);
            }
            let (stopping, until) = (self.admin.stop.clone(), self.until);
            let turn = async {
                match self.read().await {
                    Ok(0) => self.reader.grown().await,
                    Ok(_) => {}
                    Err(FeedError::Gone(_)) => return false,
                    // A client that is sent off would find the same.
                    Err(FeedError::Backend(error)) => {
                        debug!(error = %error, "the change feed cannot be read");
                        sleep(self.backoff.next_wait()).await;
                    }
                }
                true
            };
            tokio::select! {
                goes_on = turn => if !goes_on { return None },
                () = sleep_until(until) => return None,
                () = stopping.cancelled() => return None,
            }
        }
    }

    /// Reads on; how many changes were looked at.
    async fn read(&mut self) -> Result<u32, FeedError> {
        let found = find(&self.admin.feed, self.from.clone(), &self.filter, AT_ONCE, MOST).await?;
        self.backoff.reset();
        let Found { changes, next, looked_at } = found;
        let last = changes.last().map(|(cursor, _)| cursor.id);
        self.frames.extend(changes.into_iter().map(|(cursor, change)| {
            let frame = Frame::default().id(cursor.to_string());
            let view = ChangeView::of((cursor, change));
            frame.json_data(view).expect("plain values serialize")
        }));
        if looked_at > 0 && last != Some(next.id) {
            // Without data it is no event; but the client goes on behind what it was spared.
            self.frames.push_back(Frame::default().id(next.to_string()));
        }
        self.from = From::After(next);
        Ok(looked_at)
    }
}
