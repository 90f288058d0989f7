//! A campaign is planned: its form is read, its list is read while it arrives, and it is a draft once all of it is kept.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::multipart::MultipartRejection;
use axum::extract::{Multipart, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use serde::Serialize;
use tokio::time::timeout;
use tracing::info;

use super::find;
use super::form::{CampaignForm, LIST, form_of, unreadable};
use super::plan::{Planner, Tally, gone};
use super::view::{CampaignView, InvalidView};
use crate::backend::outbox::NewCampaign;
use crate::http::problem::Problem;
use crate::outbound::api::request::{Common, wrong};
use crate::outbound::api::{Api, TokenId, unavailable};
use crate::outbound::config::Config;

/// Lists that are read at a time: each takes a connection to the store, and the time of a processor.
pub(in crate::outbound::api) const LISTS_AT_ONCE: usize = 2;
/// Most bytes of a request with a list: a million rows of five hundred.
pub(in crate::outbound::api) const LONGEST_LIST: usize = 512 * 1024 * 1024;
/// How long a list may take, less than the private listener grants a request.
const READ_WITHIN: Duration = Duration::from_secs(330);
/// Rows that cannot be sent to which are named when a campaign is asked for.
const FIRST_INVALID: u32 = 20;

/// A campaign that was asked for.
#[derive(Debug, Serialize)]
pub(in crate::outbound::api) struct CreatedView {
    #[serde(flatten)]
    campaign: CampaignView,
    /// The first rows that cannot be sent to.
    invalid_rows: Vec<InvalidView>,
}

/// `POST /api/campaigns`: 201 once each recipient is kept.
pub(in crate::outbound::api) async fn create(
    State(api): State<Arc<Api>>,
    Extension(TokenId(token)): Extension<TokenId>,
    Extension(config): Extension<Arc<Config>>,
    form: Result<Multipart, MultipartRejection>,
) -> Result<(StatusCode, Json<CreatedView>), Problem> {
    let form = form?;
    let Ok(_turn) = api.lists.try_acquire() else {
        let detail = format!("{LISTS_AT_ONCE} lists are being read: try again when one is done");
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail));
    };
    let id = format!("cmp_{:032x}", rand::random::<u128>());
    let planned = timeout(READ_WITHIN, plan(&api, &config, &id, token.clone(), form)).await;
    let tally = match planned {
        Ok(Ok(tally)) => tally,
        failed => {
            // Of what is refused, nothing is kept.
            api.outbox.discard_campaign(&id).await.map_err(unavailable)?;
            return Err(
                failed.map_or_else(|_| too_slow(), |planned| planned.err().unwrap_or_else(gone))
            );
        }
    };
    let Tally { recipients, doubles, invalid } = tally;
    info!(campaign = id, token, recipients, doubles, invalid, "a campaign is planned");
    let campaign = find(&api, &id).await?;
    let rows = api.outbox.invalid_rows(&id, 0, FIRST_INVALID).await.map_err(unavailable)?;
    let invalid_rows = rows.into_iter().map(InvalidView::of).collect();
    Ok((
        StatusCode::CREATED,
        Json(CreatedView { campaign: CampaignView::of(campaign), invalid_rows }),
    ))
}

fn too_slow() -> Problem {
    let detail = format!(
        "the list took longer than {} s: send it faster, or divide it",
        READ_WITHIN.as_secs()
    );
    Problem::new(StatusCode::REQUEST_TIMEOUT, detail)
}

/// Reads the form and the list, and makes a draft of them.
async fn plan(
    api: &Api,
    config: &Config,
    id: &str,
    token: String,
    mut form: Multipart,
) -> Result<Tally, Problem> {
    let (now, mut asked) = (api.clock.now(), CampaignForm::default());
    let hashes = api.hashes().await?;
    let tally = loop {
        let field = form.next_field().await.map_err(|error| unreadable(&error))?;
        let Some(mut field) = field else {
            return Err(wrong(LIST, "it is missing: the list, as the last field"));
        };
        let name = field.name().unwrap_or_default().to_owned();
        if name != LIST {
            asked.take(&name, field).await?;
            continue;
        }
        asked.complete()?;
        let common = asked.each.common(config, now)?;
        let new = new_campaign(id, token, &asked, &common, config)?;
        let form = form_of(&field)?;
        api.outbox.create_campaign(&new).await.map_err(unavailable)?;
        let mut planner = Planner::new((api, config, hashes), (id, &common, form), asked, now);
        while let Some(bytes) = field.chunk().await.map_err(|error| unreadable(&error))? {
            planner.feed(&bytes).await?;
        }
        break planner.end().await?;
    };
    if form.next_field().await.map_err(|error| unreadable(&error))?.is_some() {
        return Err(wrong(LIST, "another field follows it: it must be the last one"));
    }
    let planned =
        api.outbox.planned(id, tally.doubles, tally.invalid).await.map_err(unavailable)?;
    if planned { Ok(tally) } else { Err(gone()) }
}

fn new_campaign(
    id: &str,
    token: String,
    asked: &CampaignForm,
    common: &Common,
    config: &Config,
) -> Result<NewCampaign, Problem> {
    let limits = &config.campaigns;
    let unpriced = common.channels().find(|channel| !limits.prices.know(*channel));
    let cost_cap = match (asked.cost_cap, limits.max_cost) {
        (Some(asked), Some(most)) if asked > most => {
            let problem = format!("it is more than campaigns.max_cost, which is {most}");
            return Err(wrong("cost_cap", problem));
        }
        (asked, most) => asked.or(most),
    };
    if let (Some(_), Some(channel)) = (cost_cap, unpriced) {
        let problem = format!(
            "it cannot be kept, since the price of channel `{}` is not known: set [campaigns.prices], or leave it out",
            channel.as_str()
        );
        return Err(wrong("cost_cap", problem));
    }
    Ok(NewCampaign {
        id: id.to_owned(),
        token,
        name: asked.name.clone(),
        purpose: common.purpose,
        on_unknown: common.on_unknown,
        route: asked.each.route.clone(),
        steps: common.steps.clone(),
        text: asked.each.text.clone(),
        subject: asked.each.subject.clone(),
        html: asked.each.html.clone(),
        deadline: common.deadline,
        cost_cap: cost_cap.map(|cap| cap.micros()),
        currency: unpriced.is_none().then(|| limits.currency.clone()),
    })
}
