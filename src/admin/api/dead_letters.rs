//! Dead letters over JSON: listed, shown, replayed, purged.
//!
//! What changes something asks for a JSON body, which no page of another site can send without
//! being asked for permission first, and that is never given.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use super::Problem;
use crate::admin::Admin;
use crate::backend::{Action, DeadLetter, DeadLetters};
use crate::clock::Timestamp;

/// One dead letter.
#[derive(Debug, Serialize)]
pub(crate) struct DeadLetterView {
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

impl DeadLetterView {
    /// As in lists.
    pub(crate) fn of(letter: DeadLetter) -> Self {
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

    /// With what lay there.
    pub(crate) fn whole(letter: DeadLetter) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let pairs = letter.fields.iter().map(|(name, value)| (text(name), text(value)));
        let fields = Some(pairs.collect());
        Self { fields, ..Self::of(letter) }
    }
}

/// The query of `GET /api/dead-letters`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DeadLettersQuery {
    after: Option<String>,
    limit: Option<usize>,
}

/// A page of them.
#[derive(Debug, Serialize)]
pub(super) struct DeadLetterList {
    dead_letters: Vec<DeadLetterView>,
    /// `after` of the next page; null if this is the last.
    next: Option<String>,
}

/// `GET /api/dead-letters?after=…&limit=…`, oldest first.
pub(super) async fn list(
    State(admin): State<Arc<Admin>>,
    query: Result<Query<DeadLettersQuery>, QueryRejection>,
) -> Result<Json<DeadLetterList>, Problem> {
    let Query(DeadLettersQuery { after, limit }) = query?;
    let limit = limit.unwrap_or(100).clamp(1, DeadLetters::PER_PAGE);
    if after.as_deref().is_some_and(|id| !DeadLetters::is_id(id)) {
        return Err(Problem::bad("`after` is not the id of a dead letter"));
    }
    let letters =
        admin.dead_letters.list(after.as_deref(), limit).await.map_err(Problem::of_letters)?;
    let next = letters.last().filter(|_| letters.len() == limit).map(|last| last.id.clone());
    Ok(Json(DeadLetterList {
        dead_letters: letters.into_iter().map(DeadLetterView::of).collect(),
        next,
    }))
}

/// `GET /api/dead-letters/{id}`
pub(super) async fn show(
    State(admin): State<Arc<Admin>>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Json<DeadLetterView>, Problem> {
    let letter = admin.dead_letters.get(&id?.0).await.map_err(Problem::of_letters)?;
    let letter = letter.ok_or_else(|| Problem::missing("there is no such dead letter"))?;
    Ok(Json(DeadLetterView::whole(letter)))
}

/// The body of `POST /api/dead-letters/replay` and `…/purge`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DeadLetterSelection {
    /// Which ones, at most a page.
    ids: Vec<String>,
    /// Only say what would be done.
    #[serde(default)]
    dry_run: bool,
}

/// What was done.
#[derive(Debug, Default, Serialize)]
pub(in crate::admin) struct Settled {
    pub(in crate::admin) done: Vec<String>,
    /// Those that are not there, or that the backend did not answer about.
    pub(in crate::admin) missing: Vec<String>,
    dry_run: bool,
}

/// `POST /api/dead-letters/replay`
pub(super) async fn replay(
    State(admin): State<Arc<Admin>>,
    wanted: Result<Json<DeadLetterSelection>, JsonRejection>,
) -> Result<Json<Settled>, Problem> {
    act(&admin.dead_letters, Action::Replay, wanted?.0).await
}

/// `POST /api/dead-letters/purge`
pub(super) async fn purge(
    State(admin): State<Arc<Admin>>,
    wanted: Result<Json<DeadLetterSelection>, JsonRejection>,
) -> Result<Json<Settled>, Problem> {
    act(&admin.dead_letters, Action::Purge, wanted?.0).await
}

async fn act(
    letters: &DeadLetters,
    action: Action,
    DeadLetterSelection { ids, dry_run }: DeadLetterSelection,
) -> Result<Json<Settled>, Problem> {
    if !dry_run {
        return Ok(Json(settle(letters, action, ids).await?));
    }
    let mut would = Settled { dry_run, ..Settled::default() };
    for id in bounded(ids)? {
        match letters.get(&id).await? {
            Some(_) => would.done.push(id),
            None => would.missing.push(id),
        }
    }
    Ok(Json(would))
}

/// Replays or purges each of them.
pub(in crate::admin) async fn settle(
    letters: &DeadLetters,
    action: Action,
    ids: Vec<String>,
) -> Result<Settled, Problem> {
    let mut settled = Settled::default();
    for id in bounded(ids)? {
        match letters.resolve(&id, action).await {
            Ok(true) => settled.done.push(id),
            Ok(false) => settled.missing.push(id),
            Err(error) if settled.done.is_empty() => return Err(error.into()),
            Err(error) => {
                warn!(error = %error, "some dead letters could not be replayed or purged");
                settled.missing.push(id);
            }
        }
    }
    info!(action = ?action, dead_letters = settled.done.len(), "dead letters were replayed or purged");
    Ok(settled)
}

fn bounded(ids: Vec<String>) -> Result<Vec<String>, Problem> {
    match ids.len() {
        0..=DeadLetters::PER_PAGE => Ok(ids),
        _ => Err(Problem::bad("too many ids for one request")),
    }
}
