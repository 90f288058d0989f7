//! The gates that a message passes before it is sent: asked when it is planned, and again in the commit that precedes
//! the POST. Of values alone: what is known, and the time.
//!
//! A refusal is final. A hold says until when; at that time the gates are asked again.

use std::time::Duration;

use super::Purpose;
use super::country::Country;
use super::quiet_hours::{Quiet, QuietHours, Zone};
use super::recipient::Recipient;
use crate::clock::Timestamp;
use crate::labels::labels;

labels! {
    /// A gate, in the order in which they are asked.
    pub enum Gate {
        /// The recipient must not be reached: a STOP, or an entry by hand.
        Suppression = "suppression",
        /// It is marketing, and the recipient has not agreed to it.
        Consent = "consent",
        /// The recipient is in a country that is not allowed, or the number is a premium one.
        Country = "country",
        /// The deployment sends to certain numbers only.
        OnlyTo = "only_to",
        /// It is night where the recipient is, or may be.
        QuietHours = "quiet_hours",
        /// It would be of no use any more.
        Deadline = "deadline",
        /// The recipient has had enough messages, or enough calls, in the last hour.
        RecipientLimit = "recipient_limit",
        /// The deployment has sent enough today.
        DailyLimit = "daily_limit",
        /// Its campaign is paused, or has stopped itself.
        Campaign = "campaign",
        /// Its campaign would cost more than it may.
        CostCap = "cost_cap",
        /// The sender is paused, or cools down.
        Sender = "sender",
        /// The account is paused, or cools down.
        Account = "account",
        /// The whole deployment is held.
        Deployment = "deployment",
        /// The account has as many open calls as it may.
        CallsLimit = "calls_limit",
    }
}

/// What the gates say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It may be sent.
    Pass,
    /// It may not be sent now.
    Hold {
        /// Which gate holds it.
        gate: Gate,
        /// When to ask again, never later than the moment at which it expires.
        until: Timestamp,
    },
    /// It is never sent. For [`Gate::Deadline`] it has expired.
    Refuse {
        /// Which gate refuses it.
        gate: Gate,
    },
}

/// Whether a sender, an account or the deployment may send.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Pause {
    /// It may.
    #[default]
    None,
    /// Not before this time.
    Until(Timestamp),
    /// Not before a person resumes it.
    Indefinite,
}

impl Pause {
    /// The time at which it ends; `None` if it is over.
    fn end(self, now: Timestamp) -> Option<Timestamp> {
        match self {
            Self::None => None,
            Self::Until(end) => (end > now).then_some(end),
            Self::Indefinite => Some(Timestamp::from_micros(i64::MAX)),
        }
    }
}

/// What the configuration allows.
#[derive(Clone, Debug)]
pub struct Rules {
    /// The countries to which messages go.
    pub countries: Vec<Country>,
    /// The only numbers and email addresses to which messages go; empty for all.
    pub only_to: Vec<Recipient>,
    /// Messages to one recipient in an hour.
    pub max_per_recipient_hour: u32,
    /// How many of these may be calls.
    pub max_calls_per_recipient_hour: u32,
    /// Messages of the deployment in a day, which begins at midnight UTC.
    pub max_per_day: u32,
    /// When recipients are not disturbed; `None` if at any hour.
    pub quiet_hours: Option<QuietHours>,
}

/// Messages to one recipient in an hour, unless configured.
pub const MAX_PER_RECIPIENT_HOUR: u32 = 5;
/// Calls of one recipient in an hour, unless configured.
pub const MAX_CALLS_PER_RECIPIENT_HOUR: u32 = 2;
/// Messages of the deployment in a day, unless configured.
pub const MAX_PER_DAY: u32 = 1_000;

/// What is known of one message, and of those who send it.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// The recipient, without the channel. An email address is in no country, and no mail rings at night.
    pub to: &'a Recipient,
    /// Why it is sent.
    pub purpose: Purpose,
    /// The recipient's own zone, if the request said it.
    pub zone: Option<&'a Zone>,
    /// When it is of no use any more.
    pub deadline: Timestamp,
    /// Whether the latest entry about the recipient says stop.
    pub suppressed: bool,
    /// Whether the recipient has agreed to marketing; not asked of anything else.
    pub consented: bool,
    /// When messages were sent to the recipient, the newest first: of the last hour, or as many as the limit is.
    pub recent: &'a [Timestamp],
    /// What is known of the calls, if it is one.
    pub call: Option<KnownCalls<'a>>,
    /// What the deployment has sent since midnight UTC.
    pub sent_today: u32,
    /// Whether its campaign may send.
    pub campaign: Pause,
    /// Whether its campaign would cost more than it may.
    pub is_over_cap: bool,
    /// Whether the sender may send.
    pub sender: Pause,
    /// Whether the account may.
    pub account: Pause,
    /// Whether the deployment may.
    pub deployment: Pause,
}

/// What is known of other calls when one is about to be made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KnownCalls<'a> {
    /// When calls to the recipient were made, the newest first: of the last hour, or as many as the limit is.
    pub recent: &'a [Timestamp],
    /// The account's open calls.
    pub open: u32,
    /// How many there may be.
    pub limit: u32,
}

/// How soon it is looked again whether one of the account's calls has ended.
const LINES_AGAIN: Duration = Duration::from_secs(1);

const HOUR: Duration = Duration::from_secs(3600);
const DAY_MICROS: i64 = 24 * 3600 * 1_000_000;

impl Rules {
    /// What the gates say of a message.
    #[must_use]
    pub fn ask(&self, known: &Known<'_>, now: Timestamp) -> Verdict {
        if let Some(gate) = self.refusal(known, now) {
            return Verdict::Refuse { gate };
        }
        match self.hold(known, now) {
            Some((gate, end)) => Verdict::Hold { gate, until: end.min(expiry(known.deadline)) },
            None => Verdict::Pass,
        }
    }

    fn refusal(&self, known: &Known<'_>, now: Timestamp) -> Option<Gate> {
        let is_elsewhere = known.to.number().is_some_and(|to| {
            to.is_barred() || !to.country().is_some_and(|it| self.countries.contains(&it))
        });
        let refused = [
            (Gate::Suppression, known.suppressed),
            (Gate::Consent, known.purpose == Purpose::Marketing && !known.consented),
            (Gate::Country, is_elsewhere),
            (Gate::OnlyTo, !self.only_to.is_empty() && !self.only_to.contains(known.to)),
            (Gate::Deadline, validity(known.deadline, now).is_none()),
            (Gate::CostCap, known.is_over_cap),
        ];
        refused.into_iter().find(|(_, refused)| *refused).map(|(gate, _)| gate)
    }

    /// Whether it is quiet at the recipient's; `None` if that is not asked, as of an email.
    #[must_use]
    pub fn quiet(&self, to: &Recipient, zone: Option<&Zone>, now: Timestamp) -> Option<Quiet> {
        Some(self.quiet_hours.as_ref()?.ask(to.number()?, zone, now))
    }

    fn quiet_until(&self, known: &Known<'_>, now: Timestamp) -> Option<Timestamp> {
        if !QuietHours::hold(known.purpose) {
            return None;
        }
        // It is asked for only where hours are configured: it does not go at night because they are no more.
        if known.purpose == Purpose::Marketing && self.quiet_hours.is_none() {
            return Some(Timestamp::from_micros(i64::MAX));
        }
        match self.quiet(known.to, known.zone, now)? {
            // It would not be there before it is quiet.
            Quiet::No { until } => validity(until, now).is_none().then_some(until),
            Quiet::Until(until) => Some(until),
            Quiet::Always => Some(Timestamp::from_micros(i64::MAX)),
        }
    }

    fn hold(&self, known: &Known<'_>, now: Timestamp) -> Option<(Gate, Timestamp)> {
        let (calls, is_full) = (known.call, |calls: KnownCalls<'_>| calls.open >= calls.limit);
        let held = [
            (Gate::QuietHours, self.quiet_until(known, now)),
            (Gate::RecipientLimit, self.recipient_free_at(known, now)),
            (Gate::DailyLimit, (known.sent_today >= self.max_per_day).then(|| midnight_after(now))),
            (Gate::Campaign, known.campaign.end(now)),
            (Gate::Sender, known.sender.end(now)),
            (Gate::Account, known.account.end(now)),
            (Gate::Deployment, known.deployment.end(now)),
            (Gate::CallsLimit, calls.is_some_and(is_full).then(|| after(now, LINES_AGAIN))),
        ];
        held.into_iter().find_map(|(gate, end)| Some((gate, end?)))
    }

    /// When the recipient may be sent another message, or called again; `None` for now.
    fn recipient_free_at(&self, known: &Known<'_>, now: Timestamp) -> Option<Timestamp> {
        let of_all = free_at(self.max_per_recipient_hour, known.recent, now);
        let of_calls = known
            .call
            .and_then(|calls| free_at(self.max_calls_per_recipient_hour, calls.recent, now));
        of_all.max(of_calls)
    }
}

/// When there may be one more in an hour; `None` for now. A limit of 0 holds for an hour at a time.
fn free_at(most: u32, recent: &[Timestamp], now: Timestamp) -> Option<Timestamp> {
    let Some(place) = most.checked_sub(1) else {
        return Some(after(now, HOUR));
    };
    let oldest = recent.get(usize::try_from(place).ok()?)?;
    let free_at = after(*oldest, HOUR);
    (free_at > now).then_some(free_at)
}

/// The longest time that Twilio keeps trying, in seconds: the most that `ValidityPeriod` takes.
const LONGEST_VALIDITY: Duration = Duration::from_secs(36_000);
/// What would be valid for less is not sent: it would expire on its way.
const SHORTEST_VALIDITY: Duration = Duration::from_secs(5);

/// The `ValidityPeriod` of a message that is sent now, in whole seconds; `None` if it has expired.
#[must_use]
pub fn validity(deadline: Timestamp, now: Timestamp) -> Option<Duration> {
    let left = Duration::from_secs(deadline.since(now).as_secs());
    (left >= SHORTEST_VALIDITY).then(|| left.min(LONGEST_VALIDITY))
}

/// Until when a message that is sent now may be delivered: until its deadline, and not in quiet hours.
#[must_use]
pub fn valid_until(purpose: Purpose, deadline: Timestamp, quiet: Option<Quiet>) -> Timestamp {
    match quiet {
        Some(Quiet::No { until }) if QuietHours::hold(purpose) => deadline.min(until),
        _ => deadline,
    }
}

/// The moment from which a message of this deadline has expired.
fn expiry(deadline: Timestamp) -> Timestamp {
    // The last microsecond in which 5 s are left, and one more.
    Timestamp::from_micros(deadline.before(SHORTEST_VALIDITY).micros().saturating_add(1))
}

/// How long a message of a purpose is of use, unless the request says.
#[must_use]
pub const fn default_deadline(purpose: Purpose) -> Duration {
    match purpose {
        Purpose::Otp => Duration::from_secs(600),
        Purpose::Alert => HOUR,
        Purpose::Transactional | Purpose::Marketing => Duration::from_secs(24 * 3600),
    }
}

fn after(time: Timestamp, by: Duration) -> Timestamp {
    let micros = i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
    Timestamp::from_micros(time.micros().saturating_add(micros))
}

fn midnight_after(now: Timestamp) -> Timestamp {
    let day = now.micros().div_euclid(DAY_MICROS) + 1;
    Timestamp::from_micros(day.saturating_mul(DAY_MICROS))
}

#[cfg(test)]
mod tests;
