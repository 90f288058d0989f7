//! What was asked for, what the store has of it and what the provider's ledger says, compared: [`judge`]. No I/O.

use std::collections::{HashMap, HashSet};

use serde::Serialize;

use crate::dispatch::OnUnknown;
use crate::lab::twilio::{Entry, Ledger, Post};

/// A notification that was acknowledged.
#[derive(Clone, Debug)]
pub(super) struct Acknowledged {
    pub(super) id: String,
    pub(super) to: String,
    pub(super) on_unknown: OnUnknown,
}

/// What the store has.
#[derive(Clone, Default, Debug)]
pub(super) struct Kept {
    /// The state of each notification, by its id.
    pub(super) notifications: HashMap<String, String>,
    pub(super) attempts: Vec<KeptAttempt>,
    pub(super) sids: Vec<KeptSid>,
    /// When it was decided that the time of each notification's first step is over, in microseconds.
    pub(super) over: HashMap<String, i64>,
    /// The final status of each message and call that has one in the store, by its SID.
    pub(super) finals: HashMap<String, String>,
    /// Callbacks about which nothing was decided yet.
    pub(super) wakes: i64,
}

/// A SID that an attempt is said to have.
#[derive(Clone, Debug)]
pub(super) struct KeptSid {
    pub(super) attempt: String,
    pub(super) sid: String,
    pub(super) proof: String,
    /// When it was proven, in microseconds.
    pub(super) at: Option<i64>,
}

/// An attempt as it is stored. Times are in microseconds.
#[derive(Clone, Default, Debug)]
pub(super) struct KeptAttempt {
    pub(super) id: String,
    pub(super) notification: String,
    pub(super) number: i64,
    pub(super) step: i64,
    pub(super) state: String,
    pub(super) reason: Option<String>,
    pub(super) created_at: Option<i64>,
    /// Its slot.
    pub(super) send_at: Option<i64>,
    /// When it was committed to writing for the last time.
    pub(super) written_at: Option<i64>,
    pub(super) settled_at: Option<i64>,
    pub(super) units: i64,
    pub(super) tries: i64,
    pub(super) looks: i64,
    /// Whether it is unknown, and looked for.
    pub(super) is_sought: bool,
}

/// What happened besides.
#[derive(Clone, Default, Debug)]
pub(super) struct Meddled {
    pub(super) stops: Vec<Stop>,
    /// SIDs that another account has reported with the ids of attempts.
    pub(super) foreign: Vec<String>,
}

/// Something that stops attempts. Times are in microseconds.
#[derive(Clone, Debug)]
pub(super) struct Stop {
    pub(super) what: Stopped,
    /// When it was acknowledged.
    pub(super) from: i64,
    /// When it was asked to take it back.
    pub(super) until: i64,
}

/// What was stopped.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Stopped {
    /// Everything: the sender was paused.
    Sender,
    /// The notification of this id, which was cancelled; nothing of it was in writing, sent or unknown.
    Notification(String),
    /// What goes to this number, which was suppressed.
    Recipient(String),
}

/// One question, of how many it was asked, and for how many the answer is wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub(super) struct Check {
    pub(super) name: &'static str,
    pub(super) judged: usize,
    pub(super) wrong: usize,
}

impl Check {
    /// Of a closed set of questions, each of which must be asked of something.
    pub(super) fn failure(self) -> Option<String> {
        let Self { name, judged, wrong } = self;
        match (judged, wrong) {
            (0, _) => Some(format!("`{name}` judged nothing")),
            (_, 0) => None,
            _ => Some(format!("`{name}`: {wrong} of {judged} are wrong")),
        }
    }
}

/// Every check. `per_unit` is the time of the pace for one unit, in microseconds.
pub(super) fn judge(
    acknowledged: &[Acknowledged],
    kept: &Kept,
    ledger: &Ledger,
    meddled: &Meddled,
    per_unit: i64,
) -> Vec<Check> {
    let case = Case::new(acknowledged, kept, &ledger.messages);
    let of = |on_unknown| acknowledged.iter().filter(move |it| it.on_unknown == on_unknown);
    let messages = &ledger.messages;
    vec![
        check("kept", acknowledged.iter().map(|it| case.is_kept(it))),
        check("once", of(OnUnknown::Report).map(|it| case.sent(&it.id) <= 1)),
        check("sent", of(OnUnknown::Resend).map(|it| case.is_sent(it))),
        check("settled", kept.attempts.iter().map(KeptAttempt::is_settled)),
        check("known", messages.iter().map(|entry| case.is_known(entry))),
        check("proven", kept.sids.iter().map(|it| case.is_proven(it))),
        check("agreed", kept.attempts.iter().filter_map(|it| case.is_agreed(it))),
        check("concluded", case.concluded()),
        check("paced", paced(&kept.attempts, per_unit).into_iter()),
        check("ahead", ledger.posts.iter().map(|post| case.is_written_ahead(post))),
        check("paused", case.held(meddled, |what| *what == Stopped::Sender)),
        check("cancelled", case.held(meddled, |it| matches!(it, Stopped::Notification(_)))),
        check("suppressed", case.held(meddled, |it| matches!(it, Stopped::Recipient(_)))),
        check("withdrawn", case.withdrawn()),
        check("explained", kept.attempts.iter().filter_map(|it| case.is_explained(it))),
        check("foreign", meddled.foreign.iter().map(|sid| !case.is_of_an_attempt(sid))),
    ]
}

fn check(name: &'static str, verdicts: impl Iterator<Item = bool>) -> Check {
    let mut check = Check { name, judged: 0, wrong: 0 };
    for right in verdicts {
        check.judged += 1;
        check.wrong += usize::from(!right);
    }
    check
}

impl KeptAttempt {
    /// Whether nothing of it is under way.
    pub(super) fn is_settled(&self) -> bool {
        !["due", "claimed", "writing"].contains(&&*self.state) && !self.is_sought
    }

    /// Whether it was there before `until`, and not committed to writing before `from`: a stop between could hold it.
    fn waits(&self, from: i64, until: i64) -> bool {
        self.created_at.is_some_and(|at| at < until) && self.written_at.is_none_or(|at| at > from)
    }
}

/// Both sides, by what they have in common.
struct Case<'c> {
    asked: HashMap<&'c str, &'c Acknowledged>,
    kept: &'c Kept,
    attempts: HashMap<&'c str, &'c KeptAttempt>,
    of_notification: HashMap<&'c str, Vec<&'c KeptAttempt>>,
    /// The messages of each attempt.
    messages: HashMap<&'c str, Vec<&'c Entry>>,
    /// The attempt of each message.
    ledger: HashMap<&'c str, &'c Entry>,
    sids: HashSet<(&'c str, &'c str)>,
}

impl<'c> Case<'c> {
    fn new(asked: &'c [Acknowledged], kept: &'c Kept, ledger: &'c [Entry]) -> Self {
        let mut of_notification: HashMap<&str, Vec<&KeptAttempt>> = HashMap::new();
        for attempt in &kept.attempts {
            of_notification.entry(&attempt.notification).or_default().push(attempt);
        }
        let mut messages: HashMap<&str, Vec<&Entry>> = HashMap::new();
        for entry in ledger {
            messages.entry(entry.attempt.as_deref().unwrap_or_default()).or_default().push(entry);
        }
        Self {
            asked: asked.iter().map(|it| (&*it.id, it)).collect(),
            kept,
            attempts: kept.attempts.iter().map(|it| (&*it.id, it)).collect(),
            of_notification,
            messages,
            ledger: ledger.iter().map(|entry| (&*entry.sid, entry)).collect(),
            sids: kept.sids.iter().map(|it| (&*it.attempt, &*it.sid)).collect(),
        }
    }

    fn attempts(&self, notification: &str) -> &[&'c KeptAttempt] {
        self.of_notification.get(notification).map_or(&[], Vec::as_slice)
    }

    /// An acknowledged notification is in the store, with an attempt.
    fn is_kept(&self, asked: &Acknowledged) -> bool {
        self.kept.notifications.contains_key(&asked.id) && !self.attempts(&asked.id).is_empty()
    }

    /// How many messages the provider has of a notification.
    fn sent(&self, notification: &str) -> usize {
        let of = |attempt: &&KeptAttempt| self.messages.get(&*attempt.id).map_or(0, Vec::len);
        self.attempts(notification).iter().map(of).sum()
    }

    /// The provider has a message of it, or it is said why not. One that was looked for everywhere and found nowhere is sent
    /// again, so that this says nothing.
    fn is_sent(&self, asked: &Acknowledged) -> bool {
        const ENDS: [&str; 4] = ["failed", "refused", "expired", "cancelled"];
        let is_listed = |attempt: &&KeptAttempt| {
            let was_found_nowhere = attempt.reason.as_deref() == Some("absent");
            ENDS.contains(&&*attempt.state) || (attempt.state == "unknown" && !was_found_nowhere)
        };
        let is_cancelled =
            self.kept.notifications.get(&asked.id).is_some_and(|it| it == "cancelled");
        is_cancelled || self.sent(&asked.id) > 0 || self.attempts(&asked.id).iter().any(is_listed)
    }

    /// A message is of an attempt, and the store has its SID there, or says that it does not know.
    fn is_known(&self, entry: &Entry) -> bool {
        let Some(attempt) = entry.attempt.as_deref().and_then(|id| self.attempts.get(id)) else {
            return false;
        };
        attempt.state == "unknown" || self.sids.contains(&(&*attempt.id, &*entry.sid))
    }

    /// A SID is of this attempt by the provider's ledger as well.
    fn is_proven(&self, kept: &KeptSid) -> bool {
        let entry = self.ledger.get(&*kept.sid);
        entry.is_some_and(|entry| entry.attempt.as_ref() == Some(&kept.attempt))
    }

    /// Of an attempt to send a message that claims something: whether the provider's ledger says the same. What was reported
    /// both ways may be either.
    fn is_agreed(&self, attempt: &KeptAttempt) -> Option<bool> {
        let messages = self.messages.get(&*attempt.id).map_or(&[][..], Vec::as_slice);
        match &*attempt.state {
            "confirmed" => Some(messages.iter().any(|entry| had(entry, &["delivered"]))),
            "failed" => {
                let is_lost = |entry: &&Entry| had(entry, &["undelivered", "failed"]);
                Some(messages.is_empty() || messages.iter().any(is_lost))
            }
            "accepted" => Some(!messages.is_empty()),
            "refused" | "expired" | "cancelled" => Some(messages.is_empty()),
            _ => None,
        }
    }

    /// Of each notification, whether it is confirmed if one of its attempts is, and only then.
    fn concluded(&self) -> impl Iterator<Item = bool> {
        self.kept.notifications.iter().map(|(id, state)| {
            let is_confirmed = self.attempts(id).iter().any(|it| it.state == "confirmed");
            is_confirmed == (state == "confirmed")
        })
    }

    /// A request was made after the commit to writing. Of several requests only the last commit is known.
    fn is_written_ahead(&self, post: &Post) -> bool {
        let attempt = post.attempt.as_deref().and_then(|id| self.attempts.get(id));
        let written = attempt.and_then(|attempt| Some((attempt.tries, attempt.written_at?)));
        written.is_some_and(|(tries, at)| tries > 1 || at <= post.at.micros())
    }

    /// Of each attempt that a stop could hold, whether it was not committed to writing until the stop was over.
    fn held<'m>(
        &'m self,
        meddled: &'m Meddled,
        is_of_kind: impl Fn(&Stopped) -> bool + 'm,
    ) -> impl Iterator<Item = bool> + 'm {
        let stops = meddled.stops.iter().filter(move |stop| is_of_kind(&stop.what));
        stops.flat_map(move |stop| {
            let Stop { what, from, until } = stop;
            let of_it = self.kept.attempts.iter().filter(move |attempt| match what {
                Stopped::Sender => attempt.waits(*from, *until),
                // The provider never hears of it.
                Stopped::Notification(id) => attempt.notification == *id,
                Stopped::Recipient(to) => {
                    let asked = self.asked.get(&*attempt.notification);
                    asked.is_some_and(|it| it.to == *to) && attempt.waits(*from, *until)
                }
            });
            of_it.map(move |attempt| {
                let is_sent = matches!(what, Stopped::Notification(id) if self.sent(id) > 0);
                !is_sent && attempt.written_at.is_none_or(|at| at <= *from || at >= *until)
            })
        })
    }

    /// Of each attempt of a notification that is confirmed, whether it was not committed to writing after that.
    fn withdrawn(&self) -> impl Iterator<Item = bool> {
        let confirmed = self.kept.attempts.iter().filter(|it| it.state == "confirmed");
        confirmed.filter_map(|it| Some((it, it.settled_at?))).flat_map(move |(it, settled_at)| {
            let all = self.attempts(&it.notification).iter();
            all.map(move |attempt| attempt.written_at.is_none_or(|at| at <= settled_at))
        })
    }

    /// What was sent again was asked for so, and the attempt before it was looked for in vain; `None` of a first one.
    fn is_explained(&self, attempt: &KeptAttempt) -> Option<bool> {
        let asked = self.asked.get(&*attempt.notification).filter(|_| attempt.number > 1)?;
        let mut all = self.attempts(&attempt.notification).iter();
        let before = all.find(|before| before.number == attempt.number - 1);
        let was_sought = before.is_some_and(|it| it.looks > 0 && it.written_at.is_some());
        Some(asked.on_unknown == OnUnknown::Resend && was_sought)
    }

    fn is_of_an_attempt(&self, sid: &str) -> bool {
        self.kept.sids.iter().any(|kept| kept.sid == sid)
    }
}

/// Whether a message had one of these statuses, or was said to have it.
fn had(entry: &Entry, statuses: &[&str]) -> bool {
    let said = entry.reports.iter().map(|it| it.status).chain([entry.status]);
    said.into_iter().any(|status| statuses.contains(&status))
}

/// Of each two slots that follow one another, whether the units of the first fit between them.
fn paced(attempts: &[KeptAttempt], per_unit: i64) -> Vec<bool> {
    let slot = |attempt: &KeptAttempt| Some((attempt.send_at?, attempt.units));
    let mut slots: Vec<(i64, i64)> = attempts.iter().filter_map(slot).collect();
    slots.sort_unstable();
    slots.windows(2).map(|pair| pair[1].0 - pair[0].0 >= pair[0].1 * per_unit).collect()
}

pub(super) mod campaign;
pub(super) mod chain;
pub(super) mod lost;
#[cfg(test)]
mod tests;
