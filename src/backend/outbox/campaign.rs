//! Campaigns: planned from a list, started, handed over recipient by recipient, and accounted for.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::dispatch::call::CallPlan;
use crate::dispatch::campaign::brake::{Brake, Outcomes};
use crate::dispatch::{AttemptState, Channel, NotificationState, OnUnknown, Purpose};
use crate::labels::labels;

/// Most recipients that are added at once: each has a dozen parameters, and SQLite looks each of a statement up among all
/// of them. A thousand took ten times as long for each as a hundred.
pub const RECIPIENTS_AT_ONCE: usize = 100;

labels! {
    /// Where a campaign stands.
    pub enum CampaignState {
        /// Its list is being read.
        Planning = "planning",
        /// It is planned, and waits to be started.
        Draft = "draft",
        /// Its recipients are handed over.
        Running = "running",
        /// A person has paused it.
        Paused = "paused",
        /// It has stopped itself, and a person must resume or cancel it.
        Stopped = "stopped",
        /// It was cancelled.
        Cancelled = "cancelled",
        /// Each of its recipients has an outcome.
        Finished = "finished",
    }
}

labels! {
    /// Where a recipient stands.
    pub enum RecipientState {
        /// It waits to be handed over.
        Waiting = "waiting",
        /// It is a notification.
        HandedOver = "handed_over",
        /// A gate said never.
        Refused = "refused",
        /// The deadline passed before it was handed over.
        Expired = "expired",
        /// It was cancelled before it was handed over.
        Cancelled = "cancelled",
    }
}

/// A campaign whose list is about to be read.
#[derive(Clone, Debug)]
pub struct NewCampaign {
    /// Its id, which has not been used before.
    pub id: String,
    /// The id of the token that asks.
    pub token: String,
    /// Its name.
    pub name: String,
    /// Why it is sent.
    pub purpose: Purpose,
    /// On which side to err.
    pub on_unknown: OnUnknown,
    /// The route by which it goes; `None` if it goes by a sender alone.
    pub route: Option<String>,
    /// The steps of the route, or the one of the sender; at least one.
    pub steps: Vec<CampaignStep>,
    /// The template of the text.
    pub text: String,
    /// The template of the subject of its emails.
    pub subject: Option<String>,
    /// The template of their HTML.
    pub html: Option<String>,
    /// After this nothing is sent any more; `None` if that is counted from its start.
    pub deadline: Option<Timestamp>,
    /// What it may cost at most, in millionths of the currency.
    pub cost_cap: Option<u64>,
    /// The currency of prices; `None` if there are none.
    pub currency: Option<String>,
}

/// A step of each of a campaign's notifications.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CampaignStep {
    /// The name of the sender.
    pub sender: String,
    /// The sender's account.
    pub account: String,
    /// The name of the pace that the sender shares.
    pub pace: String,
    /// How it reaches its recipient.
    pub channel: Channel,
    /// How it is called; `None` if it is sent a message or an email.
    pub call: Option<CallPlan>,
    /// How long it is waited for after it was sent.
    pub wait: Duration,
    /// What is put before a number, so that this sender reaches it: `whatsapp:`.
    pub prefix: String,
}

/// What a step takes for one recipient.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StepCost {
    /// How many segments the text has; a call and an email count as one.
    pub units: u32,
    /// What it costs, in millionths of the currency; `None` if no price is configured.
    pub price: Option<u64>,
}

/// A recipient, with everything frozen that is sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewRecipient {
    /// The line of the list.
    pub number: u64,
    /// The application's own name for it.
    pub key: Option<String>,
    /// The number, or the email address if only emails are sent.
    pub to: String,
    /// The keyed hash of its number, as the first step reaches it that sends no email; of the email address, if only emails
    /// are sent.
    pub to_hash: String,
    /// The email address, if it has a number as well.
    pub email: Option<String>,
    /// The keyed hash of the email address, if it has a number as well.
    pub email_hash: Option<String>,
    /// The recipient's own zone, if it is known.
    pub time_zone: Option<String>,
    /// The text.
    pub text: String,
    /// The subject of its email.
    pub subject: Option<String>,
    /// The text of its email as HTML.
    pub html: Option<String>,
    /// For each step what it takes.
    pub costs: Vec<StepCost>,
}

/// A row of a list that cannot be sent to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InvalidRow {
    /// Its line.
    pub line: u64,
    /// Why, without what it said.
    pub reason: String,
}

/// A campaign as it is kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Campaign {
    /// Its id.
    pub id: String,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// The id of the token that asked.
    pub token: String,
    /// Its name.
    pub name: String,
    /// Why it is sent.
    pub purpose: Purpose,
    /// On which side to err.
    pub on_unknown: OnUnknown,
    /// The name of the sender, of its first step if it goes by a route.
    pub sender: String,
    /// The route by which it goes.
    pub route: Option<String>,
    /// Its steps.
    pub steps: Vec<CampaignStep>,
    /// After this nothing is sent any more; `None` if that is counted from its start.
    pub deadline: Option<Timestamp>,
    /// What it may cost at most, in millionths of the currency.
    pub cost_cap: Option<u64>,
    /// The currency of prices; `None` if there are none.
    pub currency: Option<String>,
    /// What was sent has cost, by the prices that were configured, in millionths of the currency.
    pub spent: u64,
    /// How many recipients it has.
    pub recipients: u64,
    /// Rows of the list that named a recipient again.
    pub doubles: u64,
    /// Rows of the list that cannot be sent to.
    pub invalid: u64,
    /// Recipients that have become notifications.
    pub handed_over: u64,
    /// Where it stands.
    pub state: CampaignState,
    /// Why it has stopped itself.
    pub reason: Option<String>,
    /// What it has stopped itself for.
    pub evidence: Option<Outcomes>,
    /// When it was started.
    pub started_at: Option<Timestamp>,
    /// When each recipient had an outcome.
    pub finished_at: Option<Timestamp>,
}

/// A page of campaigns is asked for.
#[derive(Clone, Default, Debug)]
pub struct CampaignSearch {
    /// In this state.
    pub state: Option<CampaignState>,
    /// Behind this place of the list, from the newest back.
    pub after: Option<(Timestamp, String)>,
    /// At most this many.
    pub limit: u32,
}

/// How far a campaign is. Each recipient is in one of the counts of `waiting`, `held`, `ended` and `notifications`.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Progress {
    /// Recipients that wait to be handed over.
    pub waiting: u64,
    /// Those that a gate holds, by gate.
    pub held: BTreeMap<String, u64>,
    /// Those that ended before they were handed over, by state and reason.
    pub ended: BTreeMap<(RecipientState, String), u64>,
    /// Those that are notifications, by state and reason.
    pub notifications: BTreeMap<(NotificationState, String), u64>,
    /// The attempts of those that are open, by state.
    pub attempts: BTreeMap<AttemptState, u64>,
    /// The attempts that a gate holds, by gate.
    pub held_attempts: BTreeMap<String, u64>,
}

/// A planned recipient, as far as gates ask for it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PlannedRecipient {
    /// The line of the list.
    pub number: u64,
    /// The number, or the email address; `None` once it is handed over.
    pub to: Option<String>,
    /// The email address, if it has a number as well.
    pub email: Option<String>,
    /// The recipient's own zone, if it is known.
    pub time_zone: Option<String>,
    /// For each step what it takes.
    pub costs: Vec<StepCost>,
    /// Whether the recipient must not be reached.
    pub suppressed: bool,
    /// Whether the recipient has agreed to marketing, at each address.
    pub consented: bool,
}

/// What came of starting a campaign.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Started {
    /// It runs.
    Running,
    /// It has another number of recipients.
    Mismatch {
        /// How many it has.
        recipients: u64,
    },
    /// It is no draft.
    Not(CampaignState),
}

/// What came of pausing, resuming or cancelling a campaign.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CampaignOutcome {
    /// Where it stands now.
    pub state: CampaignState,
    /// Whether that was changed.
    pub changed: bool,
    /// How many of its attempts are on their way: they may still arrive.
    pub in_writing: u64,
}

/// What a campaign that may be worked on needs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OpenCampaign {
    /// Its id.
    pub id: String,
    /// Where it stands: running, or cancelled.
    pub state: CampaignState,
    /// The sender of its first step.
    pub sender: String,
}

/// Recipients of a campaign are to be handed over.
#[derive(Clone, Debug)]
pub struct HandOverAsk {
    /// The campaign.
    pub campaign: String,
    /// How many attempts may wait for their turn.
    pub window: u64,
    /// Most recipients of one transaction.
    pub limit: u32,
}

/// What came of handing over.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct HandedOver {
    /// How many recipients have become notifications.
    pub handed_over: u64,
    /// How many a gate holds, by gate.
    pub held: BTreeMap<&'static str, u64>,
    /// How many a gate has refused, by gate.
    pub refused: BTreeMap<&'static str, u64>,
    /// Whether there may be more to hand over now.
    pub again: bool,
}

/// What came of looking after a campaign.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kept {
    /// It goes on.
    Open,
    /// It has stopped itself.
    Stopped(Brake, Outcomes),
    /// Each recipient has an outcome.
    Finished,
}

/// What became of a recipient.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RecipientResult {
    /// The line of the list.
    pub number: u64,
    /// The application's own name for it.
    pub key: Option<String>,
    /// The address; `None` if it is not kept any more.
    pub to: Option<String>,
    /// Where it stands.
    pub outcome: RecipientOutcome,
    /// Why.
    pub reason: Option<String>,
    /// The notification that it has become.
    pub notification: Option<String>,
    /// The channel that confirmed it.
    pub channel: Option<Channel>,
    /// How many attempts were sent.
    pub attempts: u64,
    /// Their SIDs.
    pub sids: Vec<String>,
    /// When the first one was sent.
    pub sent_at: Option<Timestamp>,
    /// When it had its outcome.
    pub settled_at: Option<Timestamp>,
}

labels! {
    /// Where a recipient stands, for who reads results.
    pub enum RecipientOutcome {
        /// It waits to be sent.
        Waiting = "waiting",
        /// A gate holds it.
        Held = "held",
        /// It is being sent, or its confirmation is awaited.
        Open = "open",
        /// Proof of delivery came.
        Confirmed = "confirmed",
        /// It cannot be delivered.
        Failed = "failed",
        /// It was accepted, and no proof of delivery came in time.
        Unconfirmed = "unconfirmed",
        /// It is unknown whether it was sent.
        Unknown = "unknown",
        /// A gate said never.
        Refused = "refused",
        /// The deadline passed before it was sent.
        Expired = "expired",
        /// It was cancelled before it was sent.
        Cancelled = "cancelled",
        /// It was purged, and what became of it is not kept any more.
        Purged = "purged",
    }
}
