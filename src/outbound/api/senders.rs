//! Senders: what holds them, and what a person may do about it.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::{Extension, Json};
use serde::Serialize;
use tracing::warn;

use super::{Api, TokenId, unavailable};
use crate::clock::Timestamp;
use crate::dispatch::{Channel, Confirm};
use crate::http::problem::Problem;
use crate::outbound::config::{Config, Sender};
use crate::outbound::identity;

/// What a person gives as the reason.
const BY_HAND: &str = "by hand";

/// One sender.
#[derive(Debug, Serialize)]
pub(super) struct SenderView {
    name: String,
    account: String,
    /// How it reaches a recipient.
    channel: Channel,
    /// What confirms its calls, unless a request says it.
    confirm: Option<Confirm>,
    /// The account's open calls, and how many there may be; null if it sends messages.
    calls: Option<u64>,
    calls_limit: Option<u32>,
    pace: String,
    /// Units per second.
    rate: f64,
    paused: Option<String>,
    paused_at: Option<Timestamp>,
    account_paused: Option<String>,
    cooldown_until: Option<Timestamp>,
    due: u64,
    held: u64,
    oldest_due: Option<Timestamp>,
    writing: u64,
    unknown: u64,
}

/// All of them.
#[derive(Debug, Serialize)]
pub(super) struct SenderList {
    /// Why nothing is sent; null if something may be.
    held: Option<String>,
    senders: Vec<SenderView>,
}

/// `GET /api/senders`
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    Extension(config): Extension<Arc<Config>>,
) -> Result<Json<SenderList>, Problem> {
    let state = api.outbox.sending().await.map_err(unavailable)?;
    let view = |sender: &Sender| {
        let known = state.senders.iter().find(|known| known.name == sender.name).cloned();
        let known = known.unwrap_or_default();
        let account = state.accounts.iter().find(|known| known.account == sender.account);
        let cooldown = account.and_then(|account| account.cooldown_until);
        SenderView {
            name: sender.name.clone(),
            account: sender.account.clone(),
            channel: sender.channel(),
            confirm: sender.call.as_ref().map(|call| call.confirm),
            calls: sender.call.as_ref().map(|_| account.map_or(0, |account| account.calls)),
            calls_limit: sender.call.as_ref().map(|_| config.lines().limit(&sender.account)),
            pace: sender.pace.clone(),
            rate: 1e6 / config.pace(sender).rate.micros(1).max(1) as f64,
            paused: known.paused,
            paused_at: known.paused_at,
            account_paused: account.and_then(|account| account.paused.clone()),
            cooldown_until: known.cooldown_until.max(cooldown),
            due: known.due,
            held: known.held,
            oldest_due: known.oldest_due,
            writing: known.writing,
            unknown: known.unknown,
        }
    };
    let senders = config.senders.iter().map(view).collect();
    Ok(Json(SenderList { held: state.held, senders }))
}

/// What came of it.
#[derive(Debug, Serialize)]
pub(super) struct Held {
    /// How many attempts are on their way: they may still arrive.
    in_writing: u64,
}

fn known(config: &Config, name: Result<Path<String>, PathRejection>) -> Result<&Sender, Problem> {
    let Path(name) = name?;
    config.sender(&name).ok_or_else(|| Problem::missing("there is no such sender"))
}

/// `POST /api/senders/{name}/pause`
pub(super) async fn pause(
    State(api): State<Arc<Api>>,
    Extension(TokenId(token)): Extension<TokenId>,
    Extension(config): Extension<Arc<Config>>,
    name: Result<Path<String>, PathRejection>,
) -> Result<Json<Held>, Problem> {
    let sender = known(&config, name)?;
    let in_writing = api.outbox.pause(&sender.name, BY_HAND).await.map_err(unavailable)?;
    warn!(sender = sender.name, token, in_writing, "an operator has paused a sender");
    Ok(Json(Held { in_writing }))
}

/// Whether something was held, and why it still is.
#[derive(Debug, Serialize)]
pub(super) struct Resumed {
    resumed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    held: Option<String>,
}

/// `POST /api/senders/{name}/resume`: the sender, and its account.
pub(super) async fn resume(
    State(api): State<Arc<Api>>,
    Extension(TokenId(token)): Extension<TokenId>,
    Extension(config): Extension<Arc<Config>>,
    name: Result<Path<String>, PathRejection>,
) -> Result<Json<Resumed>, Problem> {
    let sender = known(&config, name)?;
    let resumed = api.outbox.resume(&sender.name, &sender.account).await.map_err(unavailable)?;
    api.news.send_replace(());
    warn!(sender = sender.name, token, resumed, "an operator has resumed a sender");
    Ok(Json(Resumed { resumed, held: None }))
}

/// `POST /api/senders/hold-all`
pub(super) async fn hold_all(
    State(api): State<Arc<Api>>,
    Extension(TokenId(token)): Extension<TokenId>,
) -> Result<Json<Held>, Problem> {
    api.hashes().await?;
    let in_writing = api.outbox.hold_all(Some(BY_HAND)).await.map_err(unavailable)?;
    warn!(token, in_writing, "an operator holds all senders");
    Ok(Json(Held { in_writing }))
}

/// `POST /api/senders/resume-all`
pub(super) async fn resume_all(
    State(api): State<Arc<Api>>,
    Extension(TokenId(token)): Extension<TokenId>,
) -> Result<Json<Resumed>, Problem> {
    let state = api.outbox.sending().await.map_err(unavailable)?;
    if state.held.as_deref() == Some(identity::ADOPT) {
        let detail = "the store sends for another deployment: use `offhook senders adopt`";
        return Err(Problem::new(axum::http::StatusCode::CONFLICT, detail));
    }
    api.outbox.hold_all(None).await.map_err(unavailable)?;
    api.news.send_replace(());
    warn!(token, "an operator lets all senders go on");
    Ok(Json(Resumed { resumed: state.held.is_some(), held: None }))
}

/// `POST /api/senders/adopt`
pub(super) async fn adopt(
    State(api): State<Arc<Api>>,
    Extension(TokenId(token)): Extension<TokenId>,
    Extension(config): Extension<Arc<Config>>,
) -> Result<Json<Resumed>, Problem> {
    let hashes = api.hashes().await?;
    let resumed = identity::adopt(&config, hashes, &api.outbox).await.map_err(unavailable)?;
    api.news.send_replace(());
    let held = api.outbox.sending().await.map_err(unavailable)?.held;
    warn!(token, resumed, "an operator has adopted the store for this deployment");
    Ok(Json(Resumed { resumed, held }))
}
