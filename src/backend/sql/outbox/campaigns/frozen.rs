//! What of a campaign is kept as JSON: its steps, what they take for a recipient, and why it has stopped itself.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::backend::outbox::{CampaignStep, StepCost};
use crate::backend::sql::session::malformed;
use crate::dispatch::call::CallPlan;
use crate::dispatch::campaign::brake::Outcomes;
use crate::dispatch::{Channel, Confirm};
use crate::labels::Label as _;

#[derive(Serialize, Deserialize)]
struct Step {
    sender: String,
    account: String,
    pace: String,
    channel: String,
    call: Option<Call>,
    wait_s: u64,
    prefix: String,
}

#[derive(Serialize, Deserialize)]
struct Call {
    confirm: String,
    language: Option<String>,
    voice: Option<String>,
    timeout_s: u32,
    time_limit_s: u32,
}

#[derive(Serialize, Deserialize)]
struct Cost {
    units: u32,
    price: Option<u64>,
}

#[derive(Serialize, Deserialize)]
struct Evidence {
    of: u32,
    failed: u32,
    opted_out: u32,
    filtered: u32,
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("numbers and texts are JSON")
}

pub(super) fn steps(steps: &[CampaignStep]) -> String {
    let step = |step: &CampaignStep| Step {
        sender: step.sender.clone(),
        account: step.account.clone(),
        pace: step.pace.clone(),
        channel: step.channel.as_str().to_owned(),
        call: step.call.as_ref().map(|call| Call {
            confirm: call.confirm.as_str().to_owned(),
            language: call.language.clone(),
            voice: call.voice.clone(),
            timeout_s: call.timeout_s,
            time_limit_s: call.time_limit_s,
        }),
        wait_s: step.wait.as_secs(),
        prefix: step.prefix.clone(),
    };
    json(&steps.iter().map(step).collect::<Vec<_>>())
}

pub(super) fn read_steps(text: &str) -> Result<Vec<CampaignStep>, sqlx::Error> {
    let steps: Vec<Step> = serde_json::from_str(text).map_err(|_| malformed("plan"))?;
    let step = |step: Step| {
        let call = |call: Call| {
            Some(CallPlan {
                confirm: Confirm::parse(&call.confirm)?,
                language: call.language,
                voice: call.voice,
                timeout_s: call.timeout_s,
                time_limit_s: call.time_limit_s,
            })
        };
        let call = match step.call {
            Some(of) => Some(call(of)?),
            None => None,
        };
        Some(CampaignStep {
            sender: step.sender,
            account: step.account,
            pace: step.pace,
            channel: Channel::parse(&step.channel)?,
            call,
            wait: Duration::from_secs(step.wait_s),
            prefix: step.prefix,
        })
    };
    let read: Option<Vec<_>> = steps.into_iter().map(step).collect();
    read.filter(|steps| !steps.is_empty()).ok_or_else(|| malformed("plan"))
}

pub(super) fn costs(costs: &[StepCost]) -> String {
    let cost = |cost: &StepCost| Cost { units: cost.units, price: cost.price };
    json(&costs.iter().map(cost).collect::<Vec<_>>())
}

pub(super) fn read_costs(text: &str) -> Result<Vec<StepCost>, sqlx::Error> {
    let costs: Vec<Cost> = serde_json::from_str(text).map_err(|_| malformed("costs"))?;
    Ok(costs.into_iter().map(|Cost { units, price }| StepCost { units, price }).collect())
}

pub(super) fn evidence(outcomes: &Outcomes) -> String {
    let Outcomes { of, failed, opted_out, filtered } = *outcomes;
    json(&Evidence { of, failed, opted_out, filtered })
}

pub(super) fn read_evidence(text: &str) -> Result<Outcomes, sqlx::Error> {
    let Evidence { of, failed, opted_out, filtered } =
        serde_json::from_str(text).map_err(|_| malformed("evidence"))?;
    Ok(Outcomes { of, failed, opted_out, filtered })
}
