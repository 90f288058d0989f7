//! Campaigns: their recipients are handed over shortly before their turn, they are stopped when they go badly, and finished
//! when each recipient has an outcome. Each process that sends does this; the row of the campaign is locked meanwhile.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::config::Config;
use super::{Gates, Outbound};
use crate::backend::BackendError;
use crate::backend::outbox::{CampaignState, HandOverAsk, Kept, OpenCampaign};
use crate::outage::Outage;

/// How often it is looked whether something is to be handed over.
const EVERY: Duration = Duration::from_millis(500);
/// How often it is looked whether a list was not read to its end.
const GIVE_UP_EVERY: u32 = 120;
/// What is handed over is sent within this time.
const AHEAD_S: f64 = 10.0;
/// The least and the most that is handed over ahead: a slow sender has something to do, and a fast one bounded work.
const WINDOW: [u64; 2] = [20, 2000];
/// Most recipients of one transaction, which must not hold up a commit to writing for long.
const AT_ONCE: u32 = 50;
/// Most transactions for one campaign before the others have their turn.
const TURNS: u32 = 40;

/// Works on campaigns until `stop`.
pub(super) async fn run(outbound: &Outbound, stop: &CancellationToken) {
    let (outage, mut stranded, mut round) = (Outage::default(), BTreeSet::new(), 0_u32);
    while !stop.is_cancelled() {
        let gives_up = round.is_multiple_of(GIVE_UP_EVERY);
        match work(outbound, stop, gives_up, &mut stranded).await {
            Ok(()) => {
                if let Some(over) = outage.ends() {
                    let (failures, lasted_s) = (over.failures, over.seconds());
                    info!(failures, lasted_s, "campaigns go on again");
                }
            }
            Err(Failure { campaign, error }) => {
                outbound.metrics.store_errors.inc();
                if outage.begins() {
                    warn!(campaign, error = %error, "campaigns cannot go on: trying again until they can");
                } else {
                    debug!(campaign, error = %error, "campaigns cannot go on");
                }
            }
        }
        round = round.wrapping_add(1);
        let _stopped = stop.run_until_cancelled(tokio::time::sleep(EVERY)).await;
    }
}

/// What could not be done.
struct Failure {
    /// For which campaign, if it is about one.
    campaign: Option<String>,
    error: BackendError,
}

impl From<BackendError> for Failure {
    fn from(error: BackendError) -> Self {
        Self { campaign: None, error }
    }
}

/// Works on each campaign once; one that fails does not keep the others. `stranded`: those whose sender is not configured.
async fn work(
    outbound: &Outbound,
    stop: &CancellationToken,
    gives_up: bool,
    stranded: &mut BTreeSet<String>,
) -> Result<(), Failure> {
    while gives_up && !stop.is_cancelled() && outbound.outbox.give_up_campaign().await? {
        info!("a campaign is forgotten whose list was not read to its end");
    }
    let (config, mut failed) = (outbound.config.now(), None);
    let mut campaigns: Vec<OpenCampaign> = Vec::new();
    loop {
        let after = campaigns.last().map_or("", |last| &last.id);
        let page = outbound.outbox.open_campaigns(after).await?;
        if page.is_empty() {
            break;
        }
        campaigns.extend(page);
    }
    strand(&config, &campaigns, stranded);
    for campaign in campaigns {
        if stop.is_cancelled() {
            break;
        }
        if let Err(error) = go_on(outbound, stop, &config, &campaign).await {
            failed = Some(Failure { campaign: Some(campaign.id), error });
        }
    }
    failed.map_or(Ok(()), Err)
}

/// Warns of campaigns whose sender is not configured any more, once of each.
fn strand(config: &Config, campaigns: &[OpenCampaign], stranded: &mut BTreeSet<String>) {
    let gone = |campaign: &&OpenCampaign| {
        campaign.state == CampaignState::Running && config.sender(&campaign.sender).is_none()
    };
    let now: BTreeSet<String> =
        campaigns.iter().filter(gone).map(|campaign| campaign.id.clone()).collect();
    for campaign in now.difference(stranded) {
        warn!(
            campaign,
            "its sender is not configured: its recipients wait, and expire at its deadline; configure it again, or cancel it"
        );
    }
    *stranded = now;
}

async fn go_on(
    outbound: &Outbound,
    stop: &CancellationToken,
    config: &Config,
    campaign: &OpenCampaign,
) -> Result<(), BackendError> {
    if campaign.state == CampaignState::Cancelled {
        sweep(outbound, stop, campaign).await?;
    }
    // Before more is handed over, which would be held at once if it has to stop.
    let kept = keep(outbound, campaign).await?;
    if kept == Kept::Open && campaign.state == CampaignState::Running {
        hand_over(outbound, stop, config, campaign).await?;
    }
    Ok(())
}

/// Hands over what its pace sends soon.
async fn hand_over(
    outbound: &Outbound,
    stop: &CancellationToken,
    config: &Config,
    campaign: &OpenCampaign,
) -> Result<(), BackendError> {
    // Another process may have its sender; without one it waits, as what is due does.
    let Some(sender) = config.sender(&campaign.sender) else { return Ok(()) };
    let gates = Gates::new(config.rules.clone());
    let asked = HandOverAsk {
        campaign: campaign.id.clone(),
        window: window(config.pace(sender).rate.get()),
        limit: AT_ONCE,
    };
    for _ in 0..TURNS {
        let came = outbound.outbox.hand_over(&asked, &|known, now| gates.ask(known, now)).await?;
        outbound.metrics.handed_over(&came);
        if came.handed_over > 0 {
            outbound.news.send_replace(());
        }
        if !came.again || stop.is_cancelled() {
            break;
        }
    }
    Ok(())
}

/// How many attempts of a campaign may wait for their turn, by how many units its pace sends in a second.
fn window(per_second: f64) -> u64 {
    let [least, most] = WINDOW;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is clamped")]
    let ahead = (per_second * AHEAD_S) as u64;
    ahead.clamp(least, most)
}

async fn sweep(
    outbound: &Outbound,
    stop: &CancellationToken,
    campaign: &OpenCampaign,
) -> Result<(), BackendError> {
    while !stop.is_cancelled() && outbound.outbox.sweep_campaign(&campaign.id).await? {}
    Ok(())
}

async fn keep(outbound: &Outbound, campaign: &OpenCampaign) -> Result<Kept, BackendError> {
    let kept = outbound.outbox.keep_campaign(&campaign.id).await?;
    match kept {
        Kept::Open => {}
        Kept::Finished => {
            let before = campaign.state.as_str();
            info!(campaign = campaign.id, before, "each recipient of a campaign has an outcome");
        }
        Kept::Stopped(why, outcomes) => {
            outbound.metrics.campaign_stopped(why);
            warn!(
                campaign = campaign.id,
                reason = why.as_str(),
                outcomes = outcomes.of,
                counted = outcomes.count(why),
                most_percent = why.percent(),
                "a campaign has stopped itself: resume or cancel it"
            );
        }
    }
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_handed_over_ahead_is_bounded() {
        assert_eq!([0.0, 1.0, 5.0, 100.0, 1e9].map(window), [20, 20, 50, 1000, 2000]);
    }
}
