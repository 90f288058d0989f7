//! Forwards over JSON: how each stands, what was given up, and what may be done about it.
//!
//! What changes something asks for a JSON body, as with dead letters.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use super::Problem;
use super::ask::when;
use crate::admin::Admin;
use crate::admin::forward_doors::{ConfiguredForward, Deed};
use crate::backend::forwards::{Disabled, ForwardState, Listed, ROWS_PER_PAGE, Replay};
use crate::clock::Timestamp;

/// One forward.
#[derive(Debug, Serialize)]
pub(super) struct ForwardView {
    name: String,
    /// Whether this process's configuration has it.
    configured: bool,
    url: Option<String>,
    form: Option<&'static str>,
    cursor: i64,
    /// Changes behind the cursor, those included that are filtered; a large number is not counted to its end.
    behind: u64,
    behind_since: Option<Timestamp>,
    waiting: u64,
    given_up: u64,
    disabled: Option<Disabled>,
    disabled_at: Option<Timestamp>,
    failing_since: Option<Timestamp>,
    /// Whether a process forwards now.
    held: bool,
}

impl ForwardView {
    fn of((state, configured): (ForwardState, Option<ConfiguredForward>)) -> Self {
        Self {
            name: state.name,
            configured: configured.is_some(),
            form: configured.as_ref().map(|it| it.form),
            url: configured.map(|it| it.url),
            cursor: state.cursor,
            behind: state.behind,
            behind_since: state.behind_since,
            waiting: state.waiting,
            given_up: state.given_up,
            disabled: state.disabled,
            disabled_at: state.disabled_at,
            failing_since: state.failing_since,
            held: state.holder.is_some(),
        }
    }
}

/// All of them.
#[derive(Debug, Serialize)]
pub(super) struct ForwardList {
    forwards: Vec<ForwardView>,
}

/// `GET /api/forwards`
pub(super) async fn list(State(admin): State<Arc<Admin>>) -> Result<Json<ForwardList>, Problem> {
    let forwards = admin.forwards.all().await?;
    Ok(Json(ForwardList { forwards: forwards.into_iter().map(ForwardView::of).collect() }))
}

/// A change that waits, or was given up.
#[derive(Debug, Serialize)]
pub(super) struct ListedView {
    change: i64,
    account: String,
    sid: Option<String>,
    tries: u32,
    /// How the last try failed; only of what was given up.
    failure: Option<String>,
    /// When it is tried next, or was given up; null if it waits for an earlier one.
    at: Option<Timestamp>,
    /// Whether it was given up, and will be sent after all.
    replayed: bool,
}

impl ListedView {
    fn of(listed: Listed) -> Self {
        let Listed { change, account, sid, tries, failure, at, replayed } = listed;
        Self { change, account, sid, tries, failure, at, replayed }
    }
}

/// A page of them.
#[derive(Debug, Serialize)]
pub(super) struct ListedPage {
    changes: Vec<ListedView>,
    /// `after` of the next page; null if this is the last.
    next: Option<i64>,
}

/// The query of both lists.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    after: Option<i64>,
    limit: Option<u32>,
}

impl ListQuery {
    fn limit(&self) -> u32 {
        self.limit.unwrap_or(100).clamp(1, ROWS_PER_PAGE)
    }
}

fn page(listed: Vec<Listed>, limit: u32) -> Json<ListedPage> {
    let next = listed.last().filter(|_| listed.len() == limit as usize).map(|last| last.change);
    Json(ListedPage { changes: listed.into_iter().map(ListedView::of).collect(), next })
}

/// `GET /api/forwards/{name}/waiting?after=…&limit=…`, in the feed's order.
pub(super) async fn waiting(
    State(admin): State<Arc<Admin>>,
    name: Result<Path<String>, PathRejection>,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Json<ListedPage>, Problem> {
    let (name, query) = (known(&admin, name).await?, query?.0);
    let forwards = &admin.forwards.forwards;
    let listed = forwards.list_waiting(&name, query.after.unwrap_or_default(), query.limit());
    Ok(page(listed.await?, query.limit()))
}

/// `GET /api/forwards/{name}/given-up?after=…&limit=…`, in the feed's order.
pub(super) async fn given_up(
    State(admin): State<Arc<Admin>>,
    name: Result<Path<String>, PathRejection>,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Json<ListedPage>, Problem> {
    let (name, query) = (known(&admin, name).await?, query?.0);
    let forwards = &admin.forwards.forwards;
    let listed = forwards.list_given_up(&name, query.after.unwrap_or_default(), query.limit());
    Ok(page(listed.await?, query.limit()))
}

async fn known(
    admin: &Admin,
    name: Result<Path<String>, PathRejection>,
) -> Result<String, Problem> {
    let Path(name) = name?;
    match admin.forwards.knows(&name).await? {
        true => Ok(name),
        false => Err(Problem::missing("there is no such forward")),
    }
}

/// The body of `POST …/replay`: one of them.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ReplayAsk {
    #[serde(default)]
    all: bool,
    sid: Option<String>,
    since: Option<String>,
}

impl ReplayAsk {
    fn which(self, now: Timestamp) -> Result<Replay, Problem> {
        match (self.all, self.sid, self.since) {
            (true, None, None) => Ok(Replay::All),
            (false, Some(sid), None) if sid.contains('\0') => {
                Err(Problem::bad("`sid` has a NUL character"))
            }
            (false, Some(sid), None) => Ok(Replay::Sid(sid)),
            (false, None, Some(since)) => when(&since, now).map(Replay::Since).ok_or_else(|| {
                Problem::bad("`since` is not a time (2026-11-24T08:00:00Z), a date (2026-11-24) or an age (15m, 2h, 7d)")
            }),
            _ => Err(Problem::bad("name one of `all`, `sid` and `since`")),
        }
    }
}

/// Nothing is said but the name of the forward.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

/// To how many changes, or forwards, it was done.
#[derive(Debug, Serialize)]
pub(super) struct Done {
    done: u64,
}

/// `POST /api/forwards/{name}/replay`: of at most a page of changes. 0 is done when none is left.
pub(super) async fn replay(
    State(admin): State<Arc<Admin>>,
    name: Result<Path<String>, PathRejection>,
    asked: Result<Json<ReplayAsk>, JsonRejection>,
) -> Result<Json<Done>, Problem> {
    let deed = Deed::Replay(asked?.0.which(admin.clock.now())?);
    answer(&admin, name, &deed).await
}

/// `POST /api/forwards/{name}/enable`
pub(super) async fn enable(
    State(admin): State<Arc<Admin>>,
    name: Result<Path<String>, PathRejection>,
    asked: Result<Json<Nothing>, JsonRejection>,
) -> Result<Json<Done>, Problem> {
    let Json(Nothing {}) = asked?;
    answer(&admin, name, &Deed::Enable).await
}

/// `POST /api/forwards/{name}/disable`
pub(super) async fn disable(
    State(admin): State<Arc<Admin>>,
    name: Result<Path<String>, PathRejection>,
    asked: Result<Json<Nothing>, JsonRejection>,
) -> Result<Json<Done>, Problem> {
    let Json(Nothing {}) = asked?;
    answer(&admin, name, &Deed::Disable).await
}

async fn answer(
    admin: &Admin,
    name: Result<Path<String>, PathRejection>,
    deed: &Deed,
) -> Result<Json<Done>, Problem> {
    let done = act(admin, &known(admin, name).await?, deed).await?;
    Ok(Json(Done { done }))
}

/// Does it; to how many changes, or forwards.
pub(in crate::admin) async fn act(admin: &Admin, name: &str, deed: &Deed) -> Result<u64, Problem> {
    let done = admin.forwards.act(name, deed).await?;
    match deed {
        Deed::Enable => info!(forward = name, "an operator has enabled forwarding"),
        Deed::Disable => warn!(forward = name, "an operator has disabled forwarding"),
        Deed::Replay(_) => info!(forward = name, changes = done, "what was given up is replayed"),
    }
    Ok(done)
}
