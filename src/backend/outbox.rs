//! What the outbox keeps, as values: [`NewNotification`] and what is asked of it, claims, and outcomes.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::dispatch::gates::Pause;
use crate::dispatch::{AttemptState, NotificationState, OnUnknown, Purpose};
use crate::event::{AttemptId, Event};
use crate::labels::labels;

/// Most rows of one page of a list.
pub const ROWS_PER_PAGE: u32 = 1000;

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
    /// How many segments the text has.
    pub segments: u32,
    /// The application's own reference.
    pub reference: Option<String>,
    /// After this nothing is sent any more.
    pub deadline: Timestamp,
    /// The id of its first attempt.
    pub attempt: AttemptId,
}

impl NewNotification {
    /// Smaller is sent earlier.
    #[must_use]
    pub fn priority(&self) -> u32 {
        priority(self.purpose)
    }
}

/// The priority of a purpose; smaller is sent earlier.
#[must_use]
pub fn priority(purpose: Purpose) -> u32 {
    match purpose {
        Purpose::Otp => 0,
        Purpose::Alert => 1,
        Purpose::Transactional => 2,
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
    /// How many segments the text has.
    pub segments: u64,
    /// The application's own reference.
    pub reference: Option<String>,
    /// After this nothing is sent any more.
    pub deadline: Timestamp,
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
}

/// Slots of a pace are asked for.
#[derive(Clone, Debug)]
pub struct ClaimAsk {
    /// The name of the pace.
    pub pace: String,
    /// The account of all that share it.
    pub account: String,
    /// How long one unit takes.
    pub per_unit: Duration,
    /// How far ahead slots are taken.
    pub ahead: Duration,
    /// Most requests of the account in flight.
    pub max_in_flight: u32,
    /// Most attempts.
    pub limit: u32,
    /// The process.
    pub holder: String,
    /// How long after its slot an attempt may stay claimed.
    pub lease: Duration,
}

/// An attempt with its slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Claimed {
    /// The attempt.
    pub id: AttemptId,
    /// When it may be sent, by the store's clock.
    pub send_at: Timestamp,
}

/// What came of a claim.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Claims {
    /// Those that were taken.
    pub claimed: Vec<Claimed>,
    /// The store's clock, when they were.
    pub now: Option<Timestamp>,
    /// In how long there may be more.
    pub again: Option<Duration>,
    /// Whether the pace was so far ahead that the clock must have gone back.
    pub clamped: bool,
}

/// Attempts are to be committed to writing.
#[derive(Clone, Debug)]
pub struct WriteAsk {
    /// They must be claimed by this process.
    pub ids: Vec<AttemptId>,
    /// The process.
    pub holder: String,
    /// One that is later than this after its slot is given back.
    pub late_after: Duration,
    /// How long it may take until an answer is stored.
    pub lease: Duration,
    /// Most requests in flight, per account.
    pub max_in_flight: u32,
}

/// What an attempt says, to be sent now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Letter {
    /// The name of the sender.
    pub sender: String,
    /// The sender's account.
    pub account: String,
    /// The address.
    pub to: String,
    /// The text.
    pub body: String,
    /// After this it must not be delivered.
    pub deadline: Timestamp,
    /// POSTs that it took, this one included.
    pub tries: u32,
    /// How often it was throttled in a row.
    pub throttled: u32,
    /// When it was committed.
    pub written_at: Timestamp,
}

/// What came of the commit to writing, for one attempt.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Written {
    /// It is in writing: it must be sent now.
    Send(Letter),
    /// It is due again, or a gate holds it.
    Back(Option<&'static str>),
    /// A gate refused it, its deadline has passed, or it was cancelled.
    Ended(&'static str),
    /// It is not claimed by this process any more.
    Lost,
}

/// An answer to an attempt, to be stored.
#[derive(Clone, Debug)]
pub struct Answered {
    /// The attempt.
    pub id: AttemptId,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of a POST.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// The provider has it.
    Accepted {
        /// Under this SID.
        sid: String,
        /// The answer, as an event.
        event: Box<Event>,
    },
    /// Nothing was sent or created.
    Back {
        /// Due again after this.
        after: Duration,
        /// Why, from a closed set.
        why: Back,
        /// What follows for others.
        stop: Option<Stop>,
    },
    /// It was refused for good.
    Failed {
        /// Twilio's code, or why.
        reason: String,
        /// What follows for others.
        stop: Option<Stop>,
    },
    /// Whether it was sent is not known.
    Unknown {
        /// Why not.
        reason: String,
        /// When it is looked for.
        look_after: Duration,
    },
}

labels! {
    /// Why an attempt is due again after a POST.
    pub enum Back {
        /// No connection came about.
        Unsent = "unsent",
        /// Too many requests at once.
        Throttled = "throttled",
        /// The account, or the sender, is held.
        Held = "held",
    }
}

/// What follows from an answer for other attempts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Stop {
    /// The account waits.
    AccountCooldown(Duration),
    /// The account is paused until a person resumes it.
    AccountPause(String),
    /// The sender waits, each time twice as long, up to 5 minutes.
    SenderCooldown,
    /// The sender is paused until a person resumes it.
    SenderPause(String),
    /// A code that is not known: five in a row pause the sender.
    Unlisted,
    /// The recipient has opted out.
    OptedOut,
    /// No connection to the provider: the account waits, each time twice as long, up to 60 s.
    Disconnected,
}

/// An attempt whose outcome is not known, to be looked up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unknown {
    /// The attempt.
    pub id: AttemptId,
    /// The notification.
    pub notification: String,
    /// The account.
    pub account: String,
    /// The sender.
    pub sender: String,
    /// The address.
    pub to: String,
    /// The text.
    pub body: String,
    /// When it was written.
    pub written_at: Timestamp,
    /// How often it was looked for.
    pub looks: u32,
    /// Why it is unknown.
    pub reason: Option<String>,
}

/// What is to be looked for among the messages to one recipient.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Search {
    /// The account.
    pub account: String,
    /// The address.
    pub to: String,
    /// The attempts that are to be settled by it.
    pub due: Vec<AttemptId>,
    /// Every attempt that may have a claim to one of the messages.
    pub sought: Vec<Unknown>,
}

/// What a look-up found.
#[derive(Clone, Debug)]
pub enum Looked {
    /// A message that must be it.
    Inferred {
        /// Its SID.
        sid: String,
        /// What was found, as an event.
        event: Box<Event>,
    },
    /// A message that may be it: never sent again.
    Perhaps,
    /// None.
    Absent {
        /// Whether that is final.
        last: bool,
        /// When it is looked for again.
        look_after: Duration,
    },
    /// The look-up failed.
    Failed {
        /// When it is looked for again.
        look_after: Duration,
    },
}

/// What became of attempts by callbacks and by time.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Settled {
    /// Wakes that were taken.
    pub wakes: u64,
    /// Attempts that are confirmed now.
    pub confirmed: u64,
    /// Attempts that failed.
    pub failed: u64,
    /// Callbacks that name an attempt that is not theirs.
    pub mismatches: u64,
    /// Second SIDs of an attempt.
    pub duplicates: u64,
    /// Where notifications stand now that stood elsewhere before.
    pub outcomes: Vec<NotificationState>,
}

/// What time has done.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Overdue {
    /// Claimed attempts whose lease was over.
    pub released: u64,
    /// Attempts in writing whose lease was over.
    pub unknown: u64,
    /// Attempts whose deadline passed.
    pub expired: u64,
    /// Accepted ones without a confirmation in time.
    pub unconfirmed: u64,
    /// Where notifications stand now that stood elsewhere before.
    pub outcomes: Vec<NotificationState>,
}

/// What storing answers has changed.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct AnswersStored {
    /// Answers whose attempts were settled already.
    pub late: u64,
    /// Second SIDs of an attempt.
    pub duplicates: u64,
    /// Where notifications stand now that stood elsewhere before.
    pub outcomes: Vec<NotificationState>,
}

/// What holds a sender, an account or everything.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct SenderState {
    /// The sender.
    pub name: String,
    /// Why it is paused.
    pub paused: Option<String>,
    /// Since when.
    pub paused_at: Option<Timestamp>,
    /// Until when it waits.
    pub cooldown_until: Option<Timestamp>,
    /// Attempts that are due, those included that a gate holds.
    pub due: u64,
    /// Attempts that a gate holds.
    pub held: u64,
    /// Attempts in writing.
    pub writing: u64,
    /// When the oldest of those that are due and not held was due.
    pub oldest_due: Option<Timestamp>,
    /// Attempts whose outcome is unknown.
    pub unknown: u64,
    /// Those of them that are still looked for.
    pub sought: u64,
}

/// What holds an account.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AccountState {
    /// The account.
    pub account: String,
    /// Why it is paused.
    pub paused: Option<String>,
    /// Since when.
    pub paused_at: Option<Timestamp>,
    /// Until when it waits.
    pub cooldown_until: Option<Timestamp>,
}

/// The whole of it.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct SendingState {
    /// Why nothing is sent.
    pub held: Option<String>,
    /// Senders that the store knows.
    pub senders: Vec<SenderState>,
    /// Accounts that the store knows.
    pub accounts: Vec<AccountState>,
}

/// An entry of the log of suppressions: the latest of an address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Suppression {
    /// The address, if it was not purged.
    pub to: Option<String>,
    /// Its hash.
    pub to_hash: String,
    /// Where it comes from.
    pub source: String,
    /// Since when.
    pub at: Timestamp,
}

/// What a deployment is, as the store remembers it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    /// Keys the hashes of requests.
    pub secret: String,
    /// Check value of the key of addresses.
    pub suppression: Option<String>,
    /// Hash of the public URL and the accounts.
    pub identity: Option<String>,
    /// Why nothing is sent.
    pub held: Option<String>,
}

/// What the store knows of an attempt when it is about to be sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Known {
    /// Why it is sent.
    pub purpose: Purpose,
    /// The name of the sender.
    pub sender: String,
    /// The address.
    pub to: String,
    /// After this nothing is sent any more.
    pub deadline: Timestamp,
    /// Where the suppression of the address comes from, if there is one.
    pub suppressed: Option<String>,
    /// When messages to the recipient were written in the last hour, the newest first.
    pub recent: Vec<Timestamp>,
    /// Messages of the deployment on this day, in UTC.
    pub today: u64,
    /// Whether the sender may send.
    pub sender_pause: Pause,
    /// Whether the account may.
    pub account_pause: Pause,
    /// Whether the deployment may.
    pub deployment_pause: Pause,
}

/// What the gates say.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Gated {
    /// Send it.
    Pass,
    /// Not now.
    Hold {
        /// Which gate.
        gate: &'static str,
        /// Until when.
        until: Timestamp,
    },
    /// Never.
    Refuse {
        /// Which gate.
        gate: &'static str,
    },
    /// Its deadline has passed, or is too near.
    Expire,
}
