//! A campaign whose processes are killed. The provider's ledger is the judge.

use std::time::Duration;

use super::send::{share, two, unreliable};
use crate::lab::torture::Run;
use crate::lab::torture::campaigning::Campaigning;
use crate::lab::torture::report::Report;
use crate::lab::twilio::Behaviour;

/// Between two kills at most.
const BETWEEN_KILLS_MS: u64 = 5_000;
/// A run below this is a test, which has few kills: what each leaves open counts as unknown many seconds later.
const SHORT: Duration = Duration::from_secs(10);
const KILLS_OF_SHORT: usize = 1;

/// One of two processes is killed every few seconds as long as something is sent, while a person pauses the campaign and
/// lets it go on, and some of its recipients say STOP.
pub(super) async fn campaign(name: String, run: &Run) -> anyhow::Result<Report> {
    let odd = Behaviour {
        callbacks_first: share(0.1),
        callbacks_twice: share(0.1),
        callbacks_missing: share(0.01),
        ..unreliable(0.004)
    };
    let most = if run.duration < SHORT { KILLS_OF_SHORT } else { usize::MAX };
    let between = u64::try_from(run.duration.as_millis() / 3).unwrap_or(u64::MAX);
    let between = between.clamp(1, BETWEEN_KILLS_MS);
    let mut campaign = Campaigning::begin(name, run, two(run)?, odd).await?;
    while campaign.facts.kills < most && campaign.goes_on(between..between + 1).await {
        let one = campaign.any(2);
        campaign.testbed.receivers[one].kill();
        campaign.goes_on(0..500).await;
        campaign.testbed.receivers[one].start()?;
        campaign.facts.kills += 1;
    }
    campaign.end().await
}
