//! [`Behaviour`]: how a [`Simulator`](super::Simulator) treats who asks it, switch by switch, and the [`Plan`] that it
//! makes of them for one message.

use std::str::FromStr;

use clap::Args;
use rand::RngExt as _;
use rand::rngs::StdRng;
use serde::{Deserialize, Serialize};

/// Longer than a client should wait.
const LATE_BY_MS: u64 = 35_000;
/// Ten hours at one segment a second.
const SENDER_QUEUE: u32 = 36_000;
/// `queued`, `sent`, and the last one.
const CALLBACKS: u8 = 3;

/// The switches. By default it behaves: it accepts every message, delivers it at once, and reports it; a call is answered
/// by a person who presses 1 where the call asks for a key.
#[derive(Clone, PartialEq, Debug, Args, Serialize, Deserialize)]
#[command(next_help_heading = "Behaviour (a SHARE is from 0 to 1, of the messages and calls)")]
#[serde(default, deny_unknown_fields)]
pub struct Behaviour {
    /// Answer each request after N ms
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub answer_after_ms: u64,
    /// Create the message, and close the connection without an answer
    #[arg(long, value_name = "SHARE", default_value_t)]
    pub drop_answers: Share,
    /// Create the message, and answer --late-by-ms later
    #[arg(long, value_name = "SHARE", default_value_t)]
    pub late_answers: Share,
    /// How late a late answer is
    #[arg(long, value_name = "N", default_value_t = LATE_BY_MS)]
    pub late_by_ms: u64,
    /// Create the message, and answer with 500
    #[arg(long, value_name = "SHARE", default_value_t)]
    pub fail_created: Share,
    /// Create nothing, and answer with 503
    #[arg(long, value_name = "SHARE", default_value_t)]
    pub fail_uncreated: Share,
    /// Create nothing, and reset the connection
    #[arg(long, value_name = "SHARE", default_value_t)]
    pub reset: Share,
    /// Answer with 429 (20429) while more than N requests are in progress; 0: never
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub max_in_flight: u32,
    /// Answer the next N requests with 429 (20429)
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub throttle_next: u32,
    /// Answer the next N creates with 429 (63038), as over the daily limit of the account
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub daily_limit_next: u32,
    /// Send Retry-After with each 20429; 0: do not
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    pub retry_after: u32,
    /// Segments a second that leave the queue of each sender; 0: all at once
    #[arg(long, value_name = "N", default_value_t = 0.0)]
    pub sender_rate: f64,
    /// Segments that fit into the queue of a sender: more are refused (21611), of a Messaging Service accepted and
    /// failed (30001)
    #[arg(long, value_name = "N", default_value_t = SENDER_QUEUE)]
    pub sender_queue: u32,
    /// Leave a message out of lists until it is N ms old
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub list_lag_ms: u64,
    /// Keep another text than the one that was given
    #[arg(long, value_name = "SHARE", default_value_t)]
    pub rewrite_bodies: Share,
    /// End as undelivered (30003), not as delivered
    #[arg(long, value_name = "SHARE", default_value_t)]
    pub undelivered: Share,
    /// The time between two statuses of a message
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub status_after_ms: u64,
    /// How many statuses are reported: 3 are queued, sent and the last one, 1 is the last one
    #[arg(long, value_name = "N", default_value_t = CALLBACKS, value_parser = clap::value_parser!(u8).range(0..=3))]
    pub callbacks: u8,
    /// Report the first status before the request is answered
    #[arg(long, value_name = "SHARE", default_value_t)]
    pub callbacks_first: Share,
    /// Report all statuses N ms after the last one
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub callbacks_late_ms: u64,
    /// Report each status twice
    #[arg(long, value_name = "SHARE", default_value_t)]
    pub callbacks_twice: Share,
    /// Report delivered as well as undelivered
    #[arg(long, value_name = "SHARE", default_value_t)]
    pub callbacks_contradict: Share,
    /// Report nothing of the message
    #[arg(long, value_name = "SHARE", default_value_t)]
    pub callbacks_missing: Share,
    /// How long a call rings
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub ring_ms: u64,
    /// End a call as busy
    #[arg(long, value_name = "SHARE", default_value_t)]
    pub calls_busy: Share,
    /// End a call as not answered
    #[arg(long, value_name = "SHARE", default_value_t)]
    pub calls_unanswered: Share,
    /// Have a call answered by a voicemail
    #[arg(long, value_name = "SHARE", default_value_t)]
    pub calls_voicemail: Share,
    /// Have a call answered by a person who presses no key; the others press 1
    #[arg(long, value_name = "SHARE", default_value_t)]
    pub calls_silent: Share,
    /// Report no status of a call
    #[arg(long, value_name = "SHARE", default_value_t)]
    pub calls_unreported: Share,
    /// Return an email (bounce)
    #[arg(long, value_name = "SHARE", default_value_t)]
    pub mails_bounced: Share,
    /// Report an email as delivered, and return it afterwards (bounce)
    #[arg(long, value_name = "SHARE", default_value_t)]
    pub mails_returned: Share,
    /// Do not send an email on (dropped)
    #[arg(long, value_name = "SHARE", default_value_t)]
    pub mails_dropped: Share,
    /// Deliver an email at the second try (deferred)
    #[arg(long, value_name = "SHARE", default_value_t)]
    pub mails_deferred: Share,
    /// Have the recipient of an email unsubscribe
    #[arg(long, value_name = "SHARE", default_value_t)]
    pub mails_unsubscribed: Share,
    /// Report nothing of an email
    #[arg(long, value_name = "SHARE", default_value_t)]
    pub mails_unreported: Share,
    /// Refuse this recipient as one that has opted out (21610); may be repeated
    #[arg(long, value_name = "NUMBER")]
    pub opted_out: Vec<String>,
    /// Refuse this recipient as invalid (21211); may be repeated
    #[arg(long, value_name = "NUMBER")]
    pub bad_number: Vec<String>,
}

impl Default for Behaviour {
    fn default() -> Self {
        let never = Share::default();
        Self {
            answer_after_ms: 0,
            drop_answers: never,
            late_answers: never,
            late_by_ms: LATE_BY_MS,
            fail_created: never,
            fail_uncreated: never,
            reset: never,
            max_in_flight: 0,
            throttle_next: 0,
            daily_limit_next: 0,
            retry_after: 0,
            sender_rate: 0.0,
            sender_queue: SENDER_QUEUE,
            list_lag_ms: 0,
            rewrite_bodies: never,
            undelivered: never,
            status_after_ms: 0,
            callbacks: CALLBACKS,
            callbacks_first: never,
            callbacks_late_ms: 0,
            callbacks_twice: never,
            callbacks_contradict: never,
            callbacks_missing: never,
            ring_ms: 0,
            calls_busy: never,
            calls_unanswered: never,
            calls_voicemail: never,
            calls_silent: never,
            calls_unreported: never,
            mails_bounced: never,
            mails_returned: never,
            mails_dropped: never,
            mails_deferred: never,
            mails_unsubscribed: never,
            mails_unreported: never,
            opted_out: Vec::new(),
            bad_number: Vec::new(),
        }
    }
}

/// A part of all, from 0 to 1.
#[derive(Clone, Copy, PartialEq, Default, Debug, Serialize, Deserialize)]
#[serde(try_from = "f64")]
pub struct Share(f64);

impl Share {
    /// None of it.
    pub const NEVER: Self = Self(0.0);
    /// All of it.
    pub const ALWAYS: Self = Self(1.0);

    fn takes(self, rng: &mut StdRng) -> bool {
        rng.random::<f64>() < self.0
    }
}

impl TryFrom<f64> for Share {
    type Error = &'static str;

    fn try_from(share: f64) -> Result<Self, Self::Error> {
        (0.0..=1.0).contains(&share).then_some(Self(share)).ok_or("it must be from 0 to 1")
    }
}

impl FromStr for Share {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse::<f64>().map_err(|_| "it must be a number from 0 to 1")?.try_into()
    }
}

impl std::fmt::Display for Share {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// What happens to the request that would create a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fate {
    Answered,
    AnsweredLate,
    Dropped,
    FailedCreated,
    FailedUncreated,
    Reset,
}

impl Fate {
    /// Whether the message exists afterwards.
    pub(super) fn creates(self) -> bool {
        !matches!(self, Self::FailedUncreated | Self::Reset)
    }
}

/// What happens to one message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Plan {
    pub(super) fate: Fate,
    pub(super) rewritten: bool,
    pub(super) undelivered: bool,
    pub(super) reported_first: bool,
    pub(super) reported_twice: bool,
    pub(super) contradicted: bool,
    pub(super) unreported: bool,
    pub(super) call_unreported: bool,
}

/// What becomes of a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Life {
    /// A person answers, and presses 1.
    Pressed,
    /// A person answers, and presses nothing.
    Silent,
    /// A voicemail answers.
    Voicemail,
    /// The line is busy.
    Busy,
    /// Nothing answers.
    NoAnswer,
}

/// What becomes of an email.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum MailLife {
    /// It is delivered.
    Delivered,
    /// It is delivered at the second try.
    Deferred,
    /// It is delivered, and the recipient unsubscribes.
    Unsubscribed,
    /// It is returned.
    Bounced,
    /// It is delivered, and returned afterwards.
    Returned,
    /// It is not sent on.
    Dropped,
}

impl Behaviour {
    /// What becomes of an email, and whether that is reported: the same of the same random numbers.
    pub(super) fn mail_life(&self, rng: &mut StdRng) -> (MailLife, bool) {
        let lives = [
            (self.mails_bounced, MailLife::Bounced),
            (self.mails_returned, MailLife::Returned),
            (self.mails_dropped, MailLife::Dropped),
            (self.mails_deferred, MailLife::Deferred),
            (self.mails_unsubscribed, MailLife::Unsubscribed),
        ];
        let life = one_of(rng.random(), lives).unwrap_or(MailLife::Delivered);
        (life, !self.mails_unreported.takes(rng))
    }

    /// What becomes of a call: the same of the same random numbers.
    pub(super) fn life(&self, rng: &mut StdRng) -> Life {
        let lives = [
            (self.calls_busy, Life::Busy),
            (self.calls_unanswered, Life::NoAnswer),
            (self.calls_voicemail, Life::Voicemail),
            (self.calls_silent, Life::Silent),
        ];
        one_of(rng.random(), lives).unwrap_or(Life::Pressed)
    }

    /// What happens to a message: the same of the same random numbers.
    pub(super) fn plan(&self, rng: &mut StdRng) -> Plan {
        Plan {
            fate: self.fate(rng.random()),
            rewritten: self.rewrite_bodies.takes(rng),
            undelivered: self.undelivered.takes(rng),
            reported_first: self.callbacks_first.takes(rng),
            reported_twice: self.callbacks_twice.takes(rng),
            contradicted: self.callbacks_contradict.takes(rng),
            unreported: self.callbacks_missing.takes(rng),
            call_unreported: self.calls_unreported.takes(rng),
        }
    }

    /// One of the fates, each as often as its share says.
    fn fate(&self, at: f64) -> Fate {
        let shares = [
            (self.drop_answers, Fate::Dropped),
            (self.late_answers, Fate::AnsweredLate),
            (self.fail_created, Fate::FailedCreated),
            (self.fail_uncreated, Fate::FailedUncreated),
            (self.reset, Fate::Reset),
        ];
        one_of(at, shares).unwrap_or(Fate::Answered)
    }

    /// With these switches set, by their names.
    ///
    /// # Errors
    /// There is no such switch, or it cannot have this value.
    pub(super) fn with(&self, changes: &[u8]) -> serde_json::Result<Self> {
        let changes: serde_json::Map<_, _> = serde_json::from_slice(changes)?;
        let mut all = serde_json::to_value(self)?;
        for (name, value) in changes {
            all[name] = value;
        }
        serde_json::from_value(all)
    }
}

/// One of several, each as often as its share says; `None` for the rest.
fn one_of<T>(mut at: f64, shares: impl IntoIterator<Item = (Share, T)>) -> Option<T> {
    for (Share(share), one) in shares {
        if at < share {
            return Some(one);
        }
        at -= share;
    }
    None
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use rand::SeedableRng as _;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        behaviour: Behaviour,
    }

    #[test]
    fn it_behaves_by_default_on_the_command_line_and_in_json() {
        let line = Line::try_parse_from(["simulate"]).expect("nothing is required");
        assert_eq!(line.behaviour, Behaviour::default());
        assert_eq!(Behaviour::default().with(b"{}").expect("it is JSON"), Behaviour::default());
        let plan = Behaviour::default().plan(&mut StdRng::seed_from_u64(1));
        assert_eq!(plan.fate, Fate::Answered);
        assert!(!plan.rewritten && !plan.undelivered && !plan.unreported && !plan.contradicted);
    }

    #[test]
    fn a_switch_changes_itself_and_no_other() {
        let changed = Behaviour { throttle_next: 3, ..Behaviour::default() };
        let again = changed.with(br#"{"reset":0.5}"#).expect("it is a switch");
        assert_eq!(again, Behaviour { reset: Share(0.5), ..changed.clone() });
        for wrong in [&br#"{"reset":2}"#[..], br#"{"rest":0.5}"#, b"[]", b""] {
            assert!(changed.with(wrong).is_err());
        }
        assert!(Line::try_parse_from(["simulate", "--reset", "1.5"]).is_err());
        assert!(Line::try_parse_from(["simulate", "--callbacks", "4"]).is_err());
    }

    #[test]
    fn fates_are_as_frequent_as_their_shares_and_the_same_for_the_same_seed() {
        let behaviour =
            Behaviour { drop_answers: Share(0.2), reset: Share(0.3), ..Behaviour::default() };
        let fates = |seed| {
            let mut rng = StdRng::seed_from_u64(seed);
            (0..10_000).map(|_| behaviour.plan(&mut rng).fate).collect::<Vec<_>>()
        };
        let all = fates(7);
        let count = |fate| all.iter().filter(|it| **it == fate).count();
        assert!((1_800..2_200).contains(&count(Fate::Dropped)), "{}", count(Fate::Dropped));
        assert!((2_800..3_200).contains(&count(Fate::Reset)), "{}", count(Fate::Reset));
        assert_eq!(count(Fate::Dropped) + count(Fate::Reset) + count(Fate::Answered), 10_000);
        assert_eq!(all, fates(7));
    }
}
