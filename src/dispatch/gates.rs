//! The gates that a message passes before it is sent: asked when it is planned, and again in the commit that precedes
//! the POST. Of values alone: what is known, and the time.
//!
//! A refusal is final. A hold says until when; at that time the gates are asked again.

use std::time::Duration;

use super::Purpose;
use super::country::{Country, Number};
use super::quiet_hours::{Quiet, QuietHours, Zone};
use crate::clock::Timestamp;
use crate::labels::labels;

labels! {
    /// A gate, in the order in which they are asked.
    pub enum Gate {
        /// The recipient must not be reached: a STOP, or an entry by hand.
        Suppression = "suppression",
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
    /// The only numbers to which messages go; empty for all.
    pub only_to: Vec<Number>,
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
    /// The recipient, without the channel.
    pub to: &'a Number,
    /// Why it is sent.
    pub purpose: Purpose,
    /// The recipient's own zone, if the request said it.
    pub zone: Option<&'a Zone>,
    /// When it is of no use any more.
    pub deadline: Timestamp,
    /// Whether the latest entry about the recipient says stop.
    pub suppressed: bool,
    /// When messages were sent to the recipient, the newest first: of the last hour, or as many as the limit is.
    pub recent: &'a [Timestamp],
    /// What is known of the calls, if it is one.
    pub call: Option<KnownCalls<'a>>,
    /// What the deployment has sent since midnight UTC.
    pub sent_today: u32,
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
        let may_be_there = known.to.country().is_some_and(|it| self.countries.contains(&it));
        let refused = [
            (Gate::Suppression, known.suppressed),
            (Gate::Country, known.to.is_barred() || !may_be_there),
            (Gate::OnlyTo, !self.only_to.is_empty() && !self.only_to.contains(known.to)),
            (Gate::Deadline, validity(known.deadline, now).is_none()),
        ];
        refused.into_iter().find(|(_, refused)| *refused).map(|(gate, _)| gate)
    }

    /// Whether it is quiet at the recipient's; `None` if that is not asked.
    #[must_use]
    pub fn quiet(&self, to: &Number, zone: Option<&Zone>, now: Timestamp) -> Option<Quiet> {
        Some(self.quiet_hours.as_ref()?.ask(to, zone, now))
    }

    fn quiet_until(&self, known: &Known<'_>, now: Timestamp) -> Option<Timestamp> {
        if !QuietHours::hold(known.purpose) {
            return None;
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
        Purpose::Transactional => Duration::from_secs(24 * 3600),
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
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::dispatch::quiet_hours::Hours;

    /// 2025-11-24 16:00 UTC, and this many seconds.
    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros((1_764_000_000 + seconds) * 1_000_000)
    }

    fn number(text: &str) -> Number {
        Number::parse(text).unwrap()
    }

    fn rules() -> Rules {
        Rules {
            countries: vec![Country::parse("US").unwrap()],
            only_to: Vec::new(),
            max_per_recipient_hour: MAX_PER_RECIPIENT_HOUR,
            max_calls_per_recipient_hour: MAX_CALLS_PER_RECIPIENT_HOUR,
            max_per_day: MAX_PER_DAY,
            quiet_hours: None,
        }
    }

    fn known(to: &Number) -> Known<'_> {
        Known {
            to,
            purpose: Purpose::Transactional,
            zone: None,
            deadline: at(36_000),
            suppressed: false,
            recent: &[],
            call: None,
            sent_today: 0,
            sender: Pause::None,
            account: Pause::None,
            deployment: Pause::None,
        }
    }

    fn refuse(gate: Gate) -> Verdict {
        Verdict::Refuse { gate }
    }

    fn hold(gate: Gate, until: Timestamp) -> Verdict {
        Verdict::Hold { gate, until }
    }

    #[test]
    fn each_gate_refuses_or_holds_what_it_is_there_for() {
        let (us, ca, premium) =
            (number("+12125550100"), number("+14165550100"), number("+19005550100"));
        let check = |known: Known<'_>, expected| assert_eq!(rules().ask(&known, at(0)), expected);
        check(known(&us), Verdict::Pass);
        check(Known { suppressed: true, ..known(&us) }, refuse(Gate::Suppression));
        check(known(&ca), refuse(Gate::Country));
        check(known(&premium), refuse(Gate::Country));
        check(Known { deadline: at(4), ..known(&us) }, refuse(Gate::Deadline));
        check(Known { deadline: at(-1), ..known(&us) }, refuse(Gate::Deadline));
        check(Known { deadline: at(5), ..known(&us) }, Verdict::Pass);
        let recent = [at(-1), at(-2), at(-3), at(-4), at(-5), at(-6)];
        let limited = Known { recent: &recent, ..known(&us) };
        check(limited, hold(Gate::RecipientLimit, at(3595)));
        check(Known { recent: &recent[..4], ..known(&us) }, Verdict::Pass);
        let day = Known { sent_today: MAX_PER_DAY, ..known(&us) };
        check(day, hold(Gate::DailyLimit, at(8 * 3600)));
        let paused = Known { sender: Pause::Until(at(9)), ..known(&us) };
        check(paused, hold(Gate::Sender, at(9)));
        check(Known { sender: Pause::Until(at(0)), ..known(&us) }, Verdict::Pass);
        let paused = Known { account: Pause::Until(at(9)), ..known(&us) };
        check(paused, hold(Gate::Account, at(9)));
        let held = Known { deployment: Pause::Indefinite, ..known(&us) };
        let expiry = Timestamp::from_micros(at(36_000 - 5).micros() + 1);
        check(held, hold(Gate::Deployment, expiry));
    }

    fn quiet_hours() -> QuietHours {
        QuietHours { hours: Hours::TCPA, unknown: None }
    }

    #[test]
    fn quiet_hours_hold_all_but_alerts_and_passwords() {
        let rules = Rules { quiet_hours: Some(quiet_hours()), ..rules() };
        // 16:00 UTC is 11 o'clock in New York, and 6 in Honolulu.
        let (new_york, honolulu) = (number("+12125550100"), number("+18085550100"));
        let check = |known: Known<'_>, expected, until| {
            assert_eq!(rules.ask(&known, at(0)), expected);
            let quiet = rules.quiet(known.to, known.zone, at(0));
            assert_eq!(valid_until(known.purpose, known.deadline, quiet), until);
        };
        let far = |known| Known { deadline: at(90_000), ..known };
        check(far(known(&new_york)), Verdict::Pass, at(10 * 3600));
        check(known(&new_york), Verdict::Pass, at(36_000));
        let held = hold(Gate::QuietHours, at(2 * 3600));
        check(known(&honolulu), held, at(36_000));
        for purpose in [Purpose::Alert, Purpose::Otp] {
            check(Known { purpose, ..known(&honolulu) }, Verdict::Pass, at(36_000));
        }
        let own = Zone::parse("Europe/Berlin");
        check(Known { zone: own.as_ref(), ..known(&honolulu) }, Verdict::Pass, at(4 * 3600));
        let gone = Known { deadline: at(3600), ..known(&honolulu) };
        let expiry = Timestamp::from_micros(at(3595).micros() + 1);
        check(gone, hold(Gate::QuietHours, expiry), at(3600));
        // What would be there only after 21 o'clock waits for 8.
        let late = rules.ask(&far(known(&new_york)), at(10 * 3600 - 4));
        assert_eq!(late, hold(Gate::QuietHours, at(10 * 3600)));
    }

    #[test]
    fn a_call_waits_for_a_free_line_and_a_recipient_is_called_twice_an_hour() {
        let (to, recent) = (number("+12125550100"), [at(-10), at(-20), at(-30)]);
        let call = KnownCalls { recent: &[], open: 0, limit: 1 };
        let check = |recent, call, expected| {
            let known = Known { recent, call: Some(call), ..known(&to) };
            assert_eq!(rules().ask(&known, at(0)), expected);
        };
        check(&recent, call, Verdict::Pass);
        check(&[], KnownCalls { open: 1, ..call }, hold(Gate::CallsLimit, at(1)));
        check(&[], KnownCalls { open: 1, limit: 2, ..call }, Verdict::Pass);
        let one = KnownCalls { recent: &recent[..1], ..call };
        check(&recent, one, Verdict::Pass);
        check(
            &recent,
            KnownCalls { recent: &recent[..2], ..call },
            hold(Gate::RecipientLimit, at(3580)),
        );
        assert_eq!(rules().ask(&Known { recent: &recent, ..known(&to) }, at(0)), Verdict::Pass);
    }

    #[test]
    fn only_to_refuses_every_other_number() {
        let (one, other) = (number("+12125550100"), number("+12125550101"));
        let rules = Rules { only_to: vec![one.clone()], ..rules() };
        assert_eq!(rules.ask(&known(&one), at(0)), Verdict::Pass);
        assert_eq!(rules.ask(&known(&other), at(0)), refuse(Gate::OnlyTo));
    }

    #[test]
    fn a_limit_of_0_sends_nothing() {
        let to = number("+12125550100");
        let none = Rules { max_per_recipient_hour: 0, ..rules() };
        assert_eq!(none.ask(&known(&to), at(0)), hold(Gate::RecipientLimit, at(3600)));
        let none = Rules { max_per_day: 0, ..rules() };
        assert_eq!(none.ask(&known(&to), at(0)), hold(Gate::DailyLimit, at(8 * 3600)));
        let none = Rules { countries: Vec::new(), ..rules() };
        assert_eq!(none.ask(&known(&to), at(0)), refuse(Gate::Country));
    }

    #[test]
    fn a_message_is_valid_until_its_deadline_for_10_hours_at_most() {
        let check = |left: i64, expected: Option<u64>| {
            assert_eq!(validity(at(left), at(0)), expected.map(Duration::from_secs), "{left}");
        };
        check(-9, None);
        check(4, None);
        check(5, Some(5));
        check(600, Some(600));
        check(36_001, Some(36_000));
        let almost = Timestamp::from_micros(at(7).micros() - 1);
        assert_eq!(validity(almost, at(0)), Some(Duration::from_secs(6)));
        let hours = Purpose::ALL.map(|purpose| default_deadline(purpose).as_secs());
        assert_eq!(hours, [3600, 600, 86_400]);
    }

    fn pause() -> impl Strategy<Value = Pause> {
        prop_oneof![
            Just(Pause::None),
            Just(Pause::Indefinite),
            (-10..100_000_i64).prop_map(|end| Pause::Until(at(end))),
        ]
    }

    proptest! {
        #[test]
        fn a_hold_ends_later_than_now_and_at_its_end_the_message_passes_is_held_on_or_has_expired(
            deadline in -10..90_000_i64,
            sent in prop::collection::vec(-7200..0_i64, 0..8),
            sent_today in 0..2_000_u32,
            sender in pause(), account in pause(), deployment in pause(), quiet: bool,
        ) {
            let rules = Rules { quiet_hours: quiet.then(quiet_hours), ..rules() };
            let mut recent: Vec<Timestamp> = sent.into_iter().map(at).collect();
            recent.sort_by(|a, b| b.cmp(a));
            let to = number("+12125550100");
            let asked = Known {
                to: &to, purpose: Purpose::Transactional, zone: None, deadline: at(deadline), suppressed: false,
                recent: &recent, call: None, sent_today,
                sender, account, deployment,
            };
            let (mut now, mut known, mut holds) = (at(0), asked, 0);
            loop {
                match rules.ask(&known, now) {
                    Verdict::Hold { until, .. } => {
                        prop_assert!(until > now, "it would be asked again at once");
                        now = until;
                        // The day that a limit waits for begins anew.
                        known.sent_today = 0;
                        holds += 1;
                        prop_assert!(holds < 9);
                    }
                    Verdict::Pass => {
                        let left = validity(known.deadline, now);
                        prop_assert!(left.is_some_and(|left| left <= known.deadline.since(now)));
                        let quiet = rules.quiet(&to, None, now);
                        let until = valid_until(known.purpose, known.deadline, quiet);
                        prop_assert!(validity(until, now).is_some(), "it is quiet before it is there");
                        break;
                    }
                    Verdict::Refuse { gate } => {
                        prop_assert!(gate == Gate::Deadline && validity(known.deadline, now).is_none());
                        break;
                    }
                }
            }
        }

        #[test]
        fn what_is_suppressed_abroad_or_not_listed_never_passes(
            text in "\\+[1-9][0-9]{7,13}", suppressed: bool, listed: bool,
        ) {
            let to = number(&text);
            let rules = Rules {
                only_to: if listed { vec![to.clone()] } else { vec![number("+12125550199")] },
                ..rules()
            };
            let verdict = rules.ask(&Known { suppressed, ..known(&to) }, at(0));
            let at_home = to.country() == Country::parse("US") && !to.is_barred();
            prop_assert_eq!(verdict == Verdict::Pass, !suppressed && listed && at_home);
        }
    }
}
