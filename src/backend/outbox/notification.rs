//! Notifications: kept, looked at, cancelled.

use super::stepping::NewRoute;
use crate::clock::Timestamp;
use crate::dispatch::call::CallPlan;
use crate::dispatch::{AttemptState, Channel, Confirm, NotificationState, OnUnknown, Purpose};
use crate::event::AttemptId;

/// A notification to be kept.
#[derive(Clone, Debug)]
pub struct NewNotification {
    /// Its id, which has not been used before.
    pub id: String,
    /// The id of the token that asks.
    pub token: String,
    /// The key of the request, if it has one.
    pub idempotency_key: Option<String>,
    /// The hash of the request.
    pub request_hash: String,
    /// Why it is sent.
    pub purpose: Purpose,
    /// On which side to err.
    pub on_unknown: OnUnknown,
    /// The route by which it goes; `None` if it goes by its sender alone. The sender, the account, the pace and the call
    /// are those of its first step.
    pub route: Option<NewRoute>,
    /// The name of the sender.
    pub sender: String,
    /// The sender's account.
    pub account: String,
    /// The name of the pace that the sender shares.
    pub pace: String,
    /// The address, in E.164, with its channel before it where there is one.
    pub to: String,
    /// The keyed hash of the address.
    pub to_hash: String,
    /// The text.
    pub body: String,
    /// What else an email says; `None` where none may be sent.
    pub mail: Option<MailPart>,
    /// How many segments the text has; a call and an email count as one.
    pub segments: u32,
    /// How it is reached, by its first step if it has several.
    pub channel: Channel,
    /// How it is called; `None` if it is sent a message or an email.
    pub call: Option<CallPlan>,
    /// The application's own reference.
    pub reference: Option<String>,
    /// After this nothing is sent any more.
    pub deadline: Timestamp,
    /// The recipient's own zone, if it is known.
    pub time_zone: Option<String>,
    /// The gate that holds it already, and until when.
    pub held: Option<(&'static str, Timestamp)>,
    /// The id of its first attempt.
    pub attempt: AttemptId,
    /// The campaign that asks for it; `None` if it is asked for alone.
    pub campaign: Option<String>,
    /// What its first attempt costs, in millionths of the currency; `None` if no price is known.
    pub price: Option<u64>,
}

/// What of a notification only its email has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MailPart {
    /// The email address; `None` if it is the address of the notification, which has no number then.
    pub to: Option<String>,
    /// The subject.
    pub subject: String,
    /// The text as HTML.
    pub html: Option<String>,
}

/// How many priorities there are: each is smaller than this.
pub const PRIORITIES: u32 = 4;

impl NewNotification {
    /// Smaller is sent earlier.
    #[must_use]
    pub fn priority(&self) -> u32 {
        match self.purpose {
            Purpose::Otp => 0,
            Purpose::Alert => 1,
            // One that was asked for alone is not behind a thousand of a campaign.
            Purpose::Transactional if self.campaign.is_some() => 3,
            Purpose::Transactional => 2,
            Purpose::Marketing => 3,
        }
    }
}

/// What came of asking.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Asked {
    /// It was kept.
    Kept,
    /// The same request was kept before, under this id.
    Before(String),
    /// Another request was kept before under the same key.
    Conflict,
}

/// What was kept under the key of a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeptBefore {
    /// Its id.
    pub id: String,
    /// The hash of its request.
    pub request_hash: String,
    /// How many segments its text has.
    pub segments: u32,
}

/// A notification as it is kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Notification {
    /// Its id.
    pub id: String,
    /// When it was kept.
    pub created_at: Timestamp,
    /// Why it is sent.
    pub purpose: Purpose,
    /// On which side to err.
    pub on_unknown: OnUnknown,
    /// The name of the sender.
    pub sender: String,
    /// The sender's account.
    pub account: String,
    /// The address.
    pub to: String,
    /// The email address, if it has a number as well.
    pub email: Option<String>,
    /// How many segments the text has.
    pub segments: u64,
    /// The application's own reference.
    pub reference: Option<String>,
    /// After this nothing is sent any more.
    pub deadline: Timestamp,
    /// The recipient's own zone, if it is known and may be kept.
    pub time_zone: Option<String>,
    /// The route by which it goes; its sender and segments are those of its first step.
    pub route: Option<String>,
    /// The campaign that asked for it; `None` if it was asked for alone.
    pub campaign: Option<String>,
    /// Where it stands.
    pub state: NotificationState,
    /// Why it ended so.
    pub reason: Option<String>,
    /// When it ended so; `None` if it is open.
    pub settled_at: Option<Timestamp>,
}

/// An attempt as it is kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Attempt {
    /// Its id.
    pub id: AttemptId,
    /// Which of the notification's it is, from 1.
    pub number: u64,
    /// Which step of the notification it is of, from 1.
    pub step: u64,
    /// How it reaches its recipient.
    pub channel: Channel,
    /// What confirms it, if it is a call.
    pub confirm: Option<Confirm>,
    /// When it was planned.
    pub created_at: Timestamp,
    /// Where it stands.
    pub state: AttemptState,
    /// When it is due; a gate holds it until then if `held` is set.
    pub due_at: Timestamp,
    /// The gate that holds it.
    pub held: Option<String>,
    /// Its slot.
    pub send_at: Option<Timestamp>,
    /// POSTs that it took.
    pub tries: u64,
    /// When it was last committed to writing.
    pub written_at: Option<Timestamp>,
    /// The SID.
    pub sid: Option<String>,
    /// Why it ended so, or what is known.
    pub reason: Option<String>,
    /// Every SID that it is proven to have.
    pub sids: Vec<String>,
}

/// A page of notifications is asked for.
#[derive(Clone, Default, Debug)]
pub struct NotificationSearch {
    /// In this state.
    pub state: Option<NotificationState>,
    /// With this reference.
    pub reference: Option<String>,
    /// By this route.
    pub route: Option<String>,
    /// Of this campaign.
    pub campaign: Option<String>,
    /// Behind this place of the list, from the newest back.
    pub after: Option<(Timestamp, String)>,
    /// At most this many.
    pub limit: u32,
}

/// What came of a cancellation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CancelOutcome {
    /// Where the notification stands.
    pub state: NotificationState,
    /// How many of its attempts are on their way: they may still arrive.
    pub in_writing: u64,
    /// How many of its calls are cancelled at Twilio, unless they are answered before.
    pub hanging_up: u64,
}
