//! What the outbox keeps, as values: [`notification`], what is asked for; [`sending`], from a slot to an answer;
//! [`calling`], the calls among it; [`consenting`], who has agreed to marketing; [`settling`], what becomes of it then;
//! [`standing`], what holds senders; [`stepping`], the steps of a route; [`campaign`], many of them at once; [`following`],
//! what Twilio is asked back; [`trail`], what people see of it.

pub mod calling;
pub mod campaign;
pub mod consenting;
pub mod following;
pub mod notification;
pub mod sending;
pub mod settling;
pub mod standing;
pub mod stepping;
pub mod trail;

pub use self::calling::{HangUp, HungUp, KnownCalls};
pub use self::campaign::{
    Campaign, CampaignOutcome, CampaignSearch, CampaignState, CampaignStep, HandOverAsk,
    HandedOver, InvalidRow, Kept, NewCampaign, NewRecipient, OpenCampaign, PlannedRecipient,
    Progress, RECIPIENTS_AT_ONCE, RecipientOutcome, RecipientResult, RecipientState, Started,
    StepCost,
};
pub use self::consenting::{Agreement, ConsentEntry, NewConsent};
pub use self::following::{FollowUp, FollowUpAsk, Followed};
pub use self::notification::{
    Asked, Attempt, CancelOutcome, KeptBefore, MailPart, NewNotification, Notification,
    NotificationSearch, PRIORITIES,
};
pub use self::sending::{
    Answered, Back, ClaimAsk, Claimed, Claims, Gated, Known, Letter, MailLetter, Outcome, Stop,
    WriteAsk, Written,
};
pub use self::settling::{
    AnswersStored, Looked, Overdue, Search, SetAside, Settled, Unheard, Unknown,
};
pub use self::standing::{
    AccountState, Identity, NewSuppression, SenderState, SendingState, Suppression, new_secret,
};
pub use self::stepping::{Concluded, NewRoute, NewStep, OverStep, StepRow};
pub use self::trail::{Proven, Trail};

use crate::clock::Timestamp;

/// The place in a list, from the newest back, behind which its next page begins: as text, for who asks for that.
#[must_use]
pub fn place_text(at: Timestamp, id: &str) -> String {
    format!("{at}~{id}")
}

/// The place of which this is the text.
#[must_use]
pub fn place(text: &str) -> Option<(Timestamp, String)> {
    let (at, id) = text.split_once('~')?;
    Some((Timestamp::parse_rfc3339(at)?, id.to_owned()))
}

/// Most rows of one page of a list.
pub const ROWS_PER_PAGE: u32 = 1000;
