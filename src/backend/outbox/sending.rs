//! An attempt from a slot of its pace to its answer.

use std::time::Duration;

use super::calling::KnownCalls;
use crate::clock::Timestamp;
use crate::dispatch::Purpose;
use crate::dispatch::call::{CallPlan, Lines};
use crate::dispatch::gates::Pause;
use crate::dispatch::rejection::Effect;
use crate::event::{AttemptId, Event};
use crate::labels::labels;

/// Slots of a pace are asked for.
#[derive(Clone, Debug)]
pub struct ClaimAsk {
    /// The name of the pace.
    pub pace: String,
    /// The senders that share it.
    pub senders: Vec<String>,
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
    /// How many calls there may be, if it is a pace of calls.
    pub lines: Option<Lines>,
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
    /// When the pace allows more; `None` where it is not the pace that is waited for: nothing more is due, or the account
    /// has as many requests in flight as it may, or is stopped.
    pub again: Option<Duration>,
    /// When the next of those is due that a gate or a backoff holds, where nothing more is due now; `None` if none is held.
    pub next_due: Option<Duration>,
    /// Whether the account has as many requests in flight, or as many calls, as it may: answers make room.
    pub waits_for_answers: bool,
    /// Whether the pace was so far ahead that the clock must have gone back.
    pub clamped: bool,
}

/// Attempts are to be committed to writing.
#[derive(Clone, Debug)]
pub struct WriteAsk {
    /// Their slots must still be theirs: a process that stood still may have lost one, and have taken the attempt again.
    pub claims: Vec<Claimed>,
    /// The process.
    pub holder: String,
    /// One that is later than this after its slot is given back.
    pub late_after: Duration,
    /// How long it may take until an answer is stored.
    pub lease: Duration,
    /// Most requests in flight, per account.
    pub max_in_flight: u32,
    /// How many calls there may be.
    pub lines: Lines,
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
    /// Why it is sent.
    pub purpose: Purpose,
    /// The recipient's own zone, if it is known.
    pub time_zone: Option<String>,
    /// How it is called; `None` if it is sent a message or an email.
    pub call: Option<CallPlan>,
    /// What else it says if it is an email.
    pub mail: Option<Box<MailLetter>>,
    /// The campaign that it is of; `None` if it was asked for alone.
    pub campaign: Option<String>,
    /// After this it must not be delivered.
    pub deadline: Timestamp,
    /// POSTs that it took, this one included.
    pub tries: u32,
    /// How often it was throttled in a row.
    pub throttled: u32,
    /// When it was committed.
    pub written_at: Timestamp,
}

/// What of an attempt only an email has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MailLetter {
    /// The subject.
    pub subject: String,
    /// The text as HTML.
    pub html: Option<String>,
}

/// What came of the commit to writing, for one attempt.
#[derive(Clone, PartialEq, Eq, Debug)]
#[expect(clippy::large_enum_variant, reason = "most are sent, and a group has few")]
pub enum Written {
    /// It is in writing: it must be sent now.
    Send(Letter),
    /// It missed its slot, and is due again.
    Late,
    /// Its account has as many requests in flight as it may: it is due again.
    Full,
    /// A gate holds it.
    Held(&'static str),
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
    /// Which POST of it was answered, from [`Letter::tries`]: what is due again, or unknown, by one is not so by another.
    pub tries: u32,
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
        /// No connection came about, or the process stood still too long to try.
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

impl Stop {
    /// What follows for others from an error of this code.
    #[must_use]
    pub fn of(effect: Effect, code: &str) -> Option<Self> {
        match effect {
            Effect::None | Effect::Backoff => None,
            Effect::CoolAccount(lasts) => Some(Self::AccountCooldown(lasts)),
            Effect::CoolSender => Some(Self::SenderCooldown),
            Effect::PauseSender => Some(Self::SenderPause(code.to_owned())),
            Effect::PauseAccount => Some(Self::AccountPause(code.to_owned())),
            Effect::Suppress => Some(Self::OptedOut),
            Effect::CountUnclassified => Some(Self::Unlisted),
        }
    }
}

/// What the store knows of an attempt when it is about to be sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Known {
    /// The name of the sender.
    pub sender: String,
    /// The address.
    pub to: String,
    /// Why it is sent.
    pub purpose: Purpose,
    /// The recipient's own zone, if it is known.
    pub time_zone: Option<String>,
    /// After this nothing is sent any more.
    pub deadline: Timestamp,
    /// Whether the recipient must not be reached.
    pub suppressed: bool,
    /// Whether the recipient has agreed to marketing; read only for what is marketing.
    pub consented: bool,
    /// When messages to the recipient were written in the last hour, the newest first.
    pub recent: Vec<Timestamp>,
    /// What is known of calls, if it is one.
    pub calls: Option<KnownCalls>,
    /// Messages of the deployment on this day, in UTC.
    pub today: u64,
    /// Whether its campaign may send; if it is of none, it may.
    pub campaign_pause: Pause,
    /// Whether its campaign would cost more than it may.
    pub is_over_cap: bool,
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
