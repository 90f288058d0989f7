//! What the outbox keeps, as JSON.

use serde::Serialize;

use crate::backend::outbox::{Attempt, Notification, StepRow, Unknown};
use crate::clock::Timestamp;
use crate::dispatch::decision::StepState;
use crate::dispatch::{AttemptState, Channel, Confirm, NotificationState, OnUnknown, Purpose};

/// A notification.
#[derive(Debug, Serialize)]
pub(super) struct NotificationView {
    id: String,
    created_at: Timestamp,
    state: NotificationState,
    reason: Option<String>,
    purpose: Purpose,
    on_unknown: OnUnknown,
    /// The route by which it goes; the sender and the segments are those of its first step.
    route: Option<String>,
    /// The campaign that asked for it; null if it was asked for alone.
    campaign: Option<String>,
    sender: String,
    account: String,
    to: String,
    /// The email address, if it has a number as well.
    email: Option<String>,
    segments: u64,
    reference: Option<String>,
    deadline: Timestamp,
    time_zone: Option<String>,
    settled_at: Option<Timestamp>,
}

impl NotificationView {
    pub(super) fn of(it: Notification) -> Self {
        Self {
            id: it.id,
            created_at: it.created_at,
            state: it.state,
            reason: it.reason,
            purpose: it.purpose,
            on_unknown: it.on_unknown,
            route: it.route,
            campaign: it.campaign,
            sender: it.sender,
            account: it.account,
            to: it.to,
            email: it.email,
            segments: it.segments,
            reference: it.reference,
            deadline: it.deadline,
            time_zone: it.time_zone,
            settled_at: it.settled_at,
        }
    }
}

/// A step of a route.
#[derive(Debug, Serialize)]
pub(super) struct StepView {
    number: u64,
    channel: Channel,
    sender: String,
    state: StepState,
    /// How long it is waited for after it was sent.
    wait_s: u64,
    begun_at: Option<Timestamp>,
    /// When its time is over, once it was sent.
    over_at: Option<Timestamp>,
    /// When it was decided that its time is over.
    ended_at: Option<Timestamp>,
}

impl StepView {
    pub(super) fn of(it: StepRow) -> Self {
        Self {
            number: it.number,
            channel: it.channel,
            sender: it.sender,
            state: it.state,
            wait_s: it.wait_s,
            begun_at: it.begun_at,
            over_at: it.over_at,
            ended_at: it.ended_at,
        }
    }
}

/// An attempt.
#[derive(Debug, Serialize)]
pub(super) struct AttemptView {
    id: String,
    number: u64,
    /// Which step of the notification it is of.
    step: u64,
    channel: Channel,
    /// What confirms it, if it is a call.
    confirm: Option<Confirm>,
    state: AttemptState,
    reason: Option<String>,
    created_at: Timestamp,
    due_at: Timestamp,
    /// The gate that holds it until `due_at`.
    held: Option<String>,
    send_at: Option<Timestamp>,
    written_at: Option<Timestamp>,
    /// Requests that it took.
    tries: u64,
    sid: Option<String>,
    /// Every SID that it is proven to have: more than one is a duplicate.
    sids: Vec<String>,
}

impl AttemptView {
    pub(super) fn of(it: Attempt) -> Self {
        Self {
            id: it.id.to_string(),
            number: it.number,
            step: it.step,
            channel: it.channel,
            confirm: it.confirm,
            state: it.state,
            reason: it.reason,
            created_at: it.created_at,
            due_at: it.due_at,
            held: it.held,
            send_at: it.send_at,
            written_at: it.written_at,
            tries: it.tries,
            sid: it.sid,
            sids: it.sids,
        }
    }
}

/// An attempt whose outcome is unknown.
#[derive(Debug, Serialize)]
pub(super) struct UnknownView {
    attempt: String,
    notification: String,
    sender: String,
    written_at: Timestamp,
    reason: Option<String>,
    /// How often it was looked for.
    looks: u32,
}

impl UnknownView {
    pub(super) fn of(it: Unknown) -> Self {
        Self {
            attempt: it.id.to_string(),
            notification: it.notification,
            sender: it.sender,
            written_at: it.written_at,
            reason: it.reason,
            looks: it.looks,
        }
    }
}
