//! What becomes of attempts without their process: by callbacks, by time, and by looking for them.

use std::time::Duration;

use super::stepping::Concluded;
use crate::clock::Timestamp;
use crate::dispatch::{Channel, OnUnknown};
use crate::event::{AttemptId, Event};

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
    /// How it reaches its recipient.
    pub channel: Channel,
    /// The address.
    pub to: String,
    /// The text.
    pub body: String,
    /// When it was written.
    pub written_at: Timestamp,
    /// Whether it was sent again already, in its step.
    pub is_again: bool,
    /// After this it is of no use.
    pub deadline: Timestamp,
    /// On which side to err.
    pub on_unknown: OnUnknown,
    /// How often it was looked for.
    pub looks: u32,
    /// Why it is unknown.
    pub reason: Option<String>,
}

/// What is to be looked for among the messages, or the calls, to one recipient.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Search {
    /// The account.
    pub account: String,
    /// Among which of them; emails can be found nowhere, and are proven by their events alone.
    pub channel: Channel,
    /// The address.
    pub to: String,
    /// The store's clock.
    pub now: Timestamp,
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
    /// Callbacks that name an attempt that is not in the store.
    pub missing: u64,
    /// Messages too many.
    pub duplicates: u64,
    /// One whose wake was dropped, and nothing else was done.
    pub set_aside: Option<SetAside>,
    /// How notifications have gone on.
    pub concluded: Concluded,
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
    /// Whether there may be more of them.
    pub is_cut: bool,
    /// How notifications have gone on.
    pub concluded: Concluded,
}

/// What became of accepted attempts that were not confirmed in time.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Unheard {
    /// Those that are unconfirmed now.
    pub unconfirmed: u64,
    /// One that was put off, and nothing else was done.
    pub set_aside: Option<SetAside>,
    /// Whether there may be more of them.
    pub is_cut: bool,
    /// How notifications have gone on.
    pub concluded: Concluded,
}

/// The store refuses what is to be stored of an attempt. It was set aside, so that it is in the way of no other.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SetAside {
    /// Which one, if it is there.
    pub attempt: Option<String>,
    /// Why the store refuses it.
    pub why: String,
}

/// What storing answers has changed.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct AnswersStored {
    /// Answers whose attempts were settled already.
    pub late: u64,
    /// Messages too many.
    pub duplicates: u64,
    /// How notifications have gone on.
    pub concluded: Concluded,
}
