//! Campaigns: planned from a list, looked at, started, paused, resumed and cancelled; and what became of each recipient.

mod create;
mod form;
mod plan;
mod preflight;
mod results;
mod view;

use std::sync::Arc;

use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use tracing::info;

pub(super) use self::create::{LISTS_AT_ONCE, LONGEST_LIST, create};
use self::preflight::{Preflight, Survey};
use self::results::ResultsForm;
use self::view::{CampaignView, InvalidView, ProgressView, money};
use super::request::{behind, named};
use super::{Api, TokenId, unavailable};
use crate::backend::outbox::{
    Campaign, CampaignOutcome, CampaignSearch, CampaignState, ROWS_PER_PAGE, Started, place_text,
};
use crate::clock::Timestamp;
use crate::dispatch::gates::{default_deadline, validity};
use crate::http::problem::Problem;
use crate::outbound::config::Config;

fn conflict(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::CONFLICT, detail)
}

fn missing() -> Problem {
    Problem::missing("there is no such campaign")
}

async fn find(api: &Api, id: &str) -> Result<Campaign, Problem> {
    api.outbox.campaign(id).await.map_err(unavailable)?.ok_or_else(missing)
}

/// The query of the list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    state: Option<String>,
    after: Option<String>,
    limit: Option<u32>,
}

/// A page of campaigns.
#[derive(Debug, Serialize)]
pub(super) struct CampaignPage {
    campaigns: Vec<CampaignView>,
    /// `after` of the next page; null if this is the last.
    next: Option<String>,
}

/// `GET /api/campaigns?state=…&after=…&limit=…`, the newest first.
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Json<CampaignPage>, Problem> {
    let Query(query) = query?;
    let state = query.state.as_deref().map(|name| named::<CampaignState>("state", name));
    let limit = query.limit.unwrap_or(100).clamp(1, ROWS_PER_PAGE);
    let search =
        CampaignSearch { state: state.transpose()?, after: behind(query.after.as_deref())?, limit };
    let found = api.outbox.campaigns(&search).await.map_err(unavailable)?;
    let next = found.last().filter(|_| found.len() == limit as usize);
    let next = next.map(|last| place_text(last.created_at, &last.id));
    Ok(Json(CampaignPage { campaigns: found.into_iter().map(CampaignView::of).collect(), next }))
}

/// A campaign, and how far it is.
#[derive(Debug, Serialize)]
pub(super) struct WholeView {
    #[serde(flatten)]
    campaign: CampaignView,
    progress: ProgressView,
}

/// `GET /api/campaigns/{id}`
pub(super) async fn show(
    State(api): State<Arc<Api>>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Json<WholeView>, Problem> {
    let Path(id) = id?;
    let campaign = CampaignView::of(find(&api, &id).await?);
    let progress = api.outbox.progress(&id).await.map_err(unavailable)?;
    Ok(Json(WholeView { campaign, progress: ProgressView::of(progress) }))
}

/// `GET /api/campaigns/{id}/preflight`
pub(super) async fn preflight(
    State(api): State<Arc<Api>>,
    Extension(config): Extension<Arc<Config>>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Json<Preflight>, Problem> {
    let Path(id) = id?;
    let campaign = find(&api, &id).await?;
    if campaign.state == CampaignState::Planning {
        return Err(conflict("its list is still being read"));
    }
    let survey = Survey::new(&config, &campaign, api.clock.now());
    Ok(Json(survey.run(&api).await.map_err(unavailable)?))
}

/// The query of the rows that cannot be sent to.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct InvalidQuery {
    after: Option<u64>,
    limit: Option<u32>,
}

/// A page of them.
#[derive(Debug, Serialize)]
pub(super) struct InvalidPage {
    rows: Vec<InvalidView>,
    /// `after` of the next page; null if this is the last.
    next: Option<u64>,
}

/// `GET /api/campaigns/{id}/invalid?after=…&limit=…`, by line.
pub(super) async fn invalid(
    State(api): State<Arc<Api>>,
    id: Result<Path<String>, PathRejection>,
    query: Result<Query<InvalidQuery>, QueryRejection>,
) -> Result<Json<InvalidPage>, Problem> {
    let (Path(id), Query(query)) = (id?, query?);
    find(&api, &id).await?;
    let limit = query.limit.unwrap_or(100).clamp(1, ROWS_PER_PAGE);
    let after = query.after.unwrap_or_default();
    let found = api.outbox.invalid_rows(&id, after, limit).await.map_err(unavailable)?;
    let next = found.last().filter(|_| found.len() == limit as usize).map(|last| last.line);
    Ok(Json(InvalidPage { rows: found.into_iter().map(InvalidView::of).collect(), next }))
}

/// The query of the results.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ResultsQuery {
    format: Option<String>,
}

/// `GET /api/campaigns/{id}/results?format=…`, by line.
pub(super) async fn results(
    State(api): State<Arc<Api>>,
    id: Result<Path<String>, PathRejection>,
    query: Result<Query<ResultsQuery>, QueryRejection>,
) -> Result<Response, Problem> {
    let (Path(id), Query(query)) = (id?, query?);
    let form = query.format.as_deref().map(|name| named::<ResultsForm>("format", name));
    let form = form.transpose()?.unwrap_or(ResultsForm::Csv);
    find(&api, &id).await?;
    Ok(results::answer(api.outbox.clone(), id, form))
}

/// The body of `POST /api/campaigns/{id}/start`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StartAsk {
    recipients: u64,
}

/// What came of a change.
#[derive(Debug, Serialize)]
pub(super) struct ChangeView {
    state: CampaignState,
    /// How many attempts are on their way: they may still arrive.
    in_writing: u64,
}

/// `POST /api/campaigns/{id}/start`
pub(super) async fn start(
    State(api): State<Arc<Api>>,
    Extension(TokenId(token)): Extension<TokenId>,
    Extension(config): Extension<Arc<Config>>,
    id: Result<Path<String>, PathRejection>,
    asked: Result<Json<StartAsk>, JsonRejection>,
) -> Result<Json<ChangeView>, Problem> {
    let (Path(id), Json(StartAsk { recipients })) = (id?, asked?);
    let (campaign, now) = (find(&api, &id).await?, api.clock.now());
    if campaign.state == CampaignState::Draft {
        may_start(&api, &config, &campaign, now).await?;
    }
    let deadline = now.after(default_deadline(campaign.purpose));
    let started =
        api.outbox.start_campaign(&id, recipients, deadline).await.map_err(unavailable)?;
    match started.ok_or_else(missing)? {
        Started::Running => {
            api.news.send_replace(());
            info!(campaign = id, token, recipients, "a campaign is started");
            Ok(Json(ChangeView { state: CampaignState::Running, in_writing: 0 }))
        }
        Started::Mismatch { .. } => {
            let detail = "`recipients`: the campaign has another number of them: name `recipients` of its preflight";
            Err(conflict(detail))
        }
        Started::Not(state) => {
            Err(conflict(format!("the campaign is {}: only a draft is started", state.as_str())))
        }
    }
}

/// Whether what is configured now lets a draft start.
async fn may_start(
    api: &Api,
    config: &Config,
    campaign: &Campaign,
    now: Timestamp,
) -> Result<(), Problem> {
    if campaign.deadline.is_some_and(|deadline| validity(deadline, now).is_none()) {
        return Err(conflict(
            "its deadline has passed: cancel it, and create it again with a later one",
        ));
    }
    let most = config.campaigns.max_recipients;
    if campaign.recipients > most {
        let detail = format!(
            "it has {} recipients, and campaigns.max_recipients is {most}",
            campaign.recipients
        );
        return Err(conflict(detail));
    }
    let Some(cap) = campaign.cost_cap else { return Ok(()) };
    let preflight = Survey::new(config, campaign, now).run(api).await.map_err(unavailable)?;
    match preflight.cost_micros {
        Some(cost) if cost > cap => {
            let (cost, cap) = (money(cost), money(cap));
            Err(conflict(format!("its first step costs {cost}, and its cost cap is {cap}")))
        }
        _ => Ok(()),
    }
}

/// A change that a person makes of a campaign that was started.
#[derive(Clone, Copy, Debug)]
enum Change {
    Pause,
    Resume,
    Cancel,
}

/// `POST /api/campaigns/{id}/pause`
pub(super) async fn pause(
    State(api): State<Arc<Api>>,
    Extension(TokenId(token)): Extension<TokenId>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Json<ChangeView>, Problem> {
    change(&api, &token, id?.0, Change::Pause).await
}

/// `POST /api/campaigns/{id}/resume`
pub(super) async fn resume(
    State(api): State<Arc<Api>>,
    Extension(TokenId(token)): Extension<TokenId>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Json<ChangeView>, Problem> {
    change(&api, &token, id?.0, Change::Resume).await
}

/// `POST /api/campaigns/{id}/cancel`
pub(super) async fn cancel(
    State(api): State<Arc<Api>>,
    Extension(TokenId(token)): Extension<TokenId>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Json<ChangeView>, Problem> {
    change(&api, &token, id?.0, Change::Cancel).await
}

async fn change(
    api: &Api,
    token: &str,
    id: String,
    change: Change,
) -> Result<Json<ChangeView>, Problem> {
    use CampaignState::{Cancelled, Paused, Running, Stopped};
    let (outbox, id) = (&api.outbox, &id);
    let changed = match change {
        Change::Pause => outbox.pause_campaign(id).await,
        Change::Resume => outbox.resume_campaign(id).await,
        Change::Cancel => outbox.cancel_campaign(id).await,
    };
    let CampaignOutcome { state, changed, in_writing } =
        changed.map_err(unavailable)?.ok_or_else(missing)?;
    // What is so already is no mistake: the one who asks wants to know what is on its way.
    let (is_so, which) = match change {
        Change::Pause => (matches!(state, Paused | Stopped), "one that runs is paused"),
        Change::Resume => (state == Running, "one that is paused or stopped is resumed"),
        Change::Cancel => (state == Cancelled, "one that is not over is cancelled"),
    };
    if !is_so {
        return Err(conflict(format!("the campaign is {}: only {which}", state.as_str())));
    }
    if changed {
        api.news.send_replace(());
        info!(campaign = id, token, state = state.as_str(), in_writing, "a campaign is changed");
    }
    Ok(Json(ChangeView { state, in_writing }))
}
