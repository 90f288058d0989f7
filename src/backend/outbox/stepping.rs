//! The steps of a notification that goes by a route: as they are asked for, as they are kept, and as Twilio is asked for
//! them.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::dispatch::call::CallPlan;
use crate::dispatch::decision::{Escalation, StepState};
use crate::dispatch::{Channel, NotificationState, Purpose};
use crate::event::AttemptId;

/// The route of a notification to be kept.
#[derive(Clone, Debug)]
pub struct NewRoute {
    /// Its name.
    pub name: String,
    /// Its steps, in their order; at least one.
    pub steps: Vec<NewStep>,
}

/// A step of a notification to be kept.
#[derive(Clone, Debug)]
pub struct NewStep {
    /// The name of the sender.
    pub sender: String,
    /// The sender's account.
    pub account: String,
    /// The name of the pace that the sender shares.
    pub pace: String,
    /// The keyed hash of the address, as this sender reaches it.
    pub to_hash: String,
    /// How many segments the text has; a call and an email count as one.
    pub units: u32,
    /// How it reaches its recipient.
    pub channel: Channel,
    /// How it is called; `None` if it is sent a message or an email.
    pub call: Option<CallPlan>,
    /// How long it is waited for after it was sent.
    pub wait: Duration,
    /// Whether it goes on after the recipient has said STOP.
    pub despite_stop: bool,
    /// What it costs, in millionths of the currency; `None` if no price is known.
    pub price: Option<u64>,
}

/// A step as it is kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StepRow {
    /// Its place among the steps, from 1.
    pub number: u64,
    /// The name of the sender.
    pub sender: String,
    /// How it reaches its recipient.
    pub channel: Channel,
    /// How long it is waited for after it was sent, in seconds.
    pub wait_s: u64,
    /// Where it stands.
    pub state: StepState,
    /// When it began.
    pub begun_at: Option<Timestamp>,
    /// When its time is over, once it was sent.
    pub over_at: Option<Timestamp>,
    /// When it was decided that its time is over.
    pub ended_at: Option<Timestamp>,
}

/// A step whose time is over, for which Twilio is to be asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OverStep {
    /// The notification.
    pub notification: String,
    /// The number of the step.
    pub number: u32,
    /// Its attempt that Twilio has, or else the latest one that it may have.
    pub attempt: AttemptId,
    /// The attempt's account.
    pub account: String,
    /// The attempt's sender.
    pub sender: String,
    /// How it reaches its recipient.
    pub channel: Channel,
    /// Why it is sent.
    pub purpose: Purpose,
    /// The attempt's SID, if it is known.
    pub sid: Option<String>,
    /// When its time was over.
    pub over_at: Timestamp,
    /// For how long it is by now.
    pub over_for: Duration,
}

/// How notifications have gone on.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Concluded {
    /// Where those stand now that stood elsewhere before.
    pub outcomes: Vec<NotificationState>,
    /// What confirmed those that are confirmed now, and how long after they were asked for.
    pub confirmed: Vec<(Channel, Duration)>,
    /// Steps that have begun, each for this reason.
    pub begun: Vec<Escalation>,
}
