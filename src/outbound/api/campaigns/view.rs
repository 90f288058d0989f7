//! Campaigns as the API shows them.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::backend::outbox::{Campaign, CampaignState, InvalidRow, Progress, RecipientState};
use crate::clock::Timestamp;
use crate::dispatch::campaign::brake::Outcomes;
use crate::dispatch::campaign::price::Price;
use crate::dispatch::{AttemptState, Channel, NotificationState, OnUnknown, Purpose};

/// A campaign.
#[derive(Debug, Serialize)]
pub(super) struct CampaignView {
    id: String,
    name: String,
    state: CampaignState,
    /// Why it has stopped itself.
    reason: Option<String>,
    /// What it has stopped itself for.
    evidence: Option<EvidenceView>,
    purpose: Purpose,
    on_unknown: OnUnknown,
    sender: String,
    route: Option<String>,
    /// The channels of its steps.
    channels: Vec<Channel>,
    recipients: u64,
    doubles: u64,
    invalid: u64,
    handed_over: u64,
    deadline: Option<Timestamp>,
    cost_cap: Option<String>,
    spent: Option<String>,
    currency: Option<String>,
    token: String,
    created_at: Timestamp,
    started_at: Option<Timestamp>,
    finished_at: Option<Timestamp>,
}

/// What came of the last recipients before it stopped.
#[derive(Debug, Serialize)]
struct EvidenceView {
    of: u32,
    failed: u32,
    opted_out: u32,
    filtered: u32,
}

/// Millionths as a decimal.
pub(super) fn money(micros: u64) -> String {
    Price::of_micros(micros).to_string()
}

impl CampaignView {
    pub(super) fn of(campaign: Campaign) -> Self {
        let evidence = |Outcomes { of, failed, opted_out, filtered }| EvidenceView {
            of,
            failed,
            opted_out,
            filtered,
        };
        Self {
            id: campaign.id,
            name: campaign.name,
            state: campaign.state,
            reason: campaign.reason,
            evidence: campaign.evidence.map(evidence),
            purpose: campaign.purpose,
            on_unknown: campaign.on_unknown,
            sender: campaign.sender,
            route: campaign.route,
            channels: campaign.steps.iter().map(|step| step.channel).collect(),
            recipients: campaign.recipients,
            doubles: campaign.doubles,
            invalid: campaign.invalid,
            handed_over: campaign.handed_over,
            deadline: campaign.deadline,
            cost_cap: campaign.cost_cap.map(money),
            spent: campaign.currency.is_some().then(|| money(campaign.spent)),
            currency: campaign.currency,
            token: campaign.token,
            created_at: campaign.created_at,
            started_at: campaign.started_at,
            finished_at: campaign.finished_at,
        }
    }
}

/// A row that cannot be sent to.
#[derive(Debug, Serialize)]
pub(super) struct InvalidView {
    line: u64,
    reason: String,
}

impl InvalidView {
    pub(super) fn of(row: InvalidRow) -> Self {
        Self { line: row.line, reason: row.reason }
    }
}

/// How many recipients stand where, and why.
#[derive(Debug, Serialize)]
struct CountView<S> {
    state: S,
    reason: Option<String>,
    recipients: u64,
}

/// How far a campaign is.
#[derive(Debug, Serialize)]
pub(super) struct ProgressView {
    /// Those that wait to be handed over.
    waiting: u64,
    /// Those that a gate holds, by gate.
    held: BTreeMap<String, u64>,
    /// Those that ended before they were handed over.
    ended: Vec<CountView<RecipientState>>,
    /// Those that are notifications.
    notifications: Vec<CountView<NotificationState>>,
    /// The attempts of those that are open, by state.
    attempts: BTreeMap<&'static str, u64>,
    /// The attempts that a gate holds, by gate.
    held_attempts: BTreeMap<String, u64>,
}

impl ProgressView {
    pub(super) fn of(progress: Progress) -> Self {
        let attempts = progress.attempts.into_iter();
        Self {
            waiting: progress.waiting,
            held: progress.held,
            ended: counts(progress.ended),
            notifications: counts(progress.notifications),
            attempts: attempts
                .map(|(state, count): (AttemptState, u64)| (state.as_str(), count))
                .collect(),
            held_attempts: progress.held_attempts,
        }
    }
}

fn counts<S>(counts: BTreeMap<(S, String), u64>) -> Vec<CountView<S>> {
    let view = |((state, reason), recipients): ((S, String), u64)| {
        let reason = (!reason.is_empty()).then_some(reason);
        CountView { state, reason, recipients }
    };
    counts.into_iter().map(view).collect()
}
