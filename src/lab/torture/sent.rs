//! What was asked for, what the store has of it and what the provider's ledger says, compared: [`judge`]. No I/O.

use std::collections::{HashMap, HashSet};

use serde::Serialize;

use crate::dispatch::OnUnknown;
use crate::lab::twilio::Entry;

/// A notification that was acknowledged.
#[derive(Clone, Debug)]
pub(super) struct Acknowledged {
    pub(super) id: String,
    pub(super) on_unknown: OnUnknown,
}

/// What the store has.
#[derive(Clone, Default, Debug)]
pub(super) struct Kept {
    /// The state of each notification, by its id.
    pub(super) notifications: HashMap<String, String>,
    pub(super) attempts: Vec<KeptAttempt>,
    /// An attempt, and a SID that it is said to have.
    pub(super) sids: Vec<(String, String)>,
}

/// An attempt as it is stored.
#[derive(Clone, Debug)]
pub(super) struct KeptAttempt {
    pub(super) id: String,
    pub(super) notification: String,
    pub(super) state: String,
    /// Its slot, in microseconds.
    pub(super) send_at: Option<i64>,
    pub(super) units: i64,
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
    ledger: &[Entry],
    per_unit: i64,
) -> Vec<Check> {
    let case = Case::new(kept, ledger);
    let of = |on_unknown| acknowledged.iter().filter(move |it| it.on_unknown == on_unknown);
    let check = |name, verdicts: Vec<bool>| Check {
        name,
        judged: verdicts.len(),
        wrong: verdicts.iter().filter(|right| !**right).count(),
    };
    vec![
        check("kept", acknowledged.iter().map(|it| case.is_kept(it)).collect()),
        check("once", of(OnUnknown::Report).map(|it| case.sent(&it.id) <= 1).collect()),
        check("sent", of(OnUnknown::Resend).map(|it| case.is_sent(it)).collect()),
        check("settled", kept.attempts.iter().map(KeptAttempt::is_settled).collect()),
        check("known", ledger.iter().map(|entry| case.is_known(entry)).collect()),
        check("proven", kept.sids.iter().map(|(id, sid)| case.is_proven(id, sid)).collect()),
        check("paced", paced(&kept.attempts, per_unit)),
    ]
}

impl KeptAttempt {
    /// Whether nothing of it is under way.
    pub(super) fn is_settled(&self) -> bool {
        !["due", "claimed", "writing"].contains(&&*self.state)
    }
}

/// Both sides, by what they have in common.
struct Case<'c> {
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
    fn new(kept: &'c Kept, ledger: &'c [Entry]) -> Self {
        let mut of_notification: HashMap<&str, Vec<&KeptAttempt>> = HashMap::new();
        for attempt in &kept.attempts {
            of_notification.entry(&attempt.notification).or_default().push(attempt);
        }
        let mut messages: HashMap<&str, Vec<&Entry>> = HashMap::new();
        for entry in ledger {
            messages.entry(entry.attempt.as_deref().unwrap_or_default()).or_default().push(entry);
        }
        Self {
            kept,
            attempts: kept.attempts.iter().map(|it| (&*it.id, it)).collect(),
            of_notification,
            messages,
            ledger: ledger.iter().map(|entry| (&*entry.sid, entry)).collect(),
            sids: kept.sids.iter().map(|(id, sid)| (&**id, &**sid)).collect(),
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

    /// The provider has a message of it, or it is said to be refused or unknown.
    fn is_sent(&self, asked: &Acknowledged) -> bool {
        const ENDS: [&str; 5] = ["failed", "refused", "expired", "cancelled", "unknown"];
        let is_listed = |attempt: &&KeptAttempt| ENDS.contains(&&*attempt.state);
        self.sent(&asked.id) > 0 || self.attempts(&asked.id).iter().any(is_listed)
    }

    /// A message is of an attempt, and the store has its SID there, or says that it does not know.
    fn is_known(&self, entry: &Entry) -> bool {
        let Some(attempt) = entry.attempt.as_deref().and_then(|id| self.attempts.get(id)) else {
            return false;
        };
        attempt.state == "unknown" || self.sids.contains(&(&*attempt.id, &*entry.sid))
    }

    /// A SID is of this attempt by the provider's ledger as well.
    fn is_proven(&self, attempt: &str, sid: &str) -> bool {
        self.ledger.get(sid).is_some_and(|entry| entry.attempt.as_deref() == Some(attempt))
    }
}

/// Of each two slots that follow one another, whether the units of the first fit between them.
fn paced(attempts: &[KeptAttempt], per_unit: i64) -> Vec<bool> {
    let slot = |attempt: &KeptAttempt| Some((attempt.send_at?, attempt.units));
    let mut slots: Vec<(i64, i64)> = attempts.iter().filter_map(slot).collect();
    slots.sort_unstable();
    slots.windows(2).map(|pair| pair[1].0 - pair[0].0 >= pair[0].1 * per_unit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;

    const PER_UNIT: i64 = 10_000;

    struct Story {
        acknowledged: Vec<Acknowledged>,
        kept: Kept,
        ledger: Vec<Entry>,
    }

    fn entry(sid: &str, attempt: &str) -> Entry {
        Entry {
            sid: sid.to_owned(),
            to: "+12015550100".to_owned(),
            from: None,
            service: None,
            body: String::new(),
            kept_body: String::new(),
            segments: 1,
            status_callback: None,
            attempt: Some(attempt.to_owned()),
            validity_period: None,
            created_at: Timestamp::from_micros(0),
            sent_at: None,
            status: "delivered",
            error_code: None,
            reports: Vec::new(),
        }
    }

    fn attempt(id: &str, notification: &str, state: &str, send_at: i64) -> KeptAttempt {
        let [id, notification, state] = [id, notification, state].map(str::to_owned);
        KeptAttempt { id, notification, state, send_at: Some(send_at), units: 1 }
    }

    /// One that errs on the side of once, one on the side of sent, and one of which nobody knows.
    fn good() -> Story {
        let acknowledged =
            [("n1", OnUnknown::Report), ("n2", OnUnknown::Resend), ("n3", OnUnknown::Report)]
                .map(|(id, on_unknown)| Acknowledged { id: id.to_owned(), on_unknown });
        let states = [("n1", "confirmed"), ("n2", "confirmed"), ("n3", "unknown")];
        let states = states.map(|(id, state)| (id.to_owned(), state.to_owned()));
        let kept = Kept {
            notifications: states.into(),
            attempts: vec![
                attempt("a1", "n1", "confirmed", 0),
                attempt("a2", "n2", "confirmed", PER_UNIT),
                attempt("a3", "n3", "unknown", 3 * PER_UNIT),
            ],
            sids: [("a1", "SM1"), ("a2", "SM2")].map(|(a, s)| (a.to_owned(), s.to_owned())).into(),
        };
        let ledger = vec![entry("SM1", "a1"), entry("SM2", "a2"), entry("SM3", "a3")];
        Story { acknowledged: acknowledged.into(), kept, ledger }
    }

    /// The names of the checks that find something wrong.
    fn found(story: &Story) -> Vec<&'static str> {
        let checks = judge(&story.acknowledged, &story.kept, &story.ledger, PER_UNIT);
        checks.iter().filter(|check| check.failure().is_some()).map(|check| check.name).collect()
    }

    #[track_caller]
    fn check(spoil: impl Fn(&mut Story), expected: &[&str]) {
        let mut story = good();
        spoil(&mut story);
        assert_eq!(found(&story), expected);
    }

    #[test]
    fn a_good_story_passes_every_check() {
        check(|_| {}, &[]);
    }

    #[test]
    fn what_a_retry_after_a_time_out_does_is_found() {
        // The same attempt is posted again: two messages, of which the store knows one.
        check(|story| story.ledger.push(entry("SM4", "a1")), &["once", "known"]);
        let again = |story: &mut Story| {
            story.ledger.push(entry("SM4", "a4"));
            story.kept.attempts.push(attempt("a4", "n1", "confirmed", 9 * PER_UNIT));
            story.kept.sids.push(("a4".to_owned(), "SM4".to_owned()));
        };
        check(again, &["once"]);
    }

    #[test]
    fn what_a_missing_write_ahead_does_is_found() {
        // The process died after the POST, and the attempt is due again, or was never stored.
        check(|story| story.kept.attempts[2].state = "due".to_owned(), &["settled", "known"]);
        check(|story| story.ledger.push(entry("SM4", "a9")), &["known"]);
    }

    #[test]
    fn what_a_forgotten_request_does_is_found() {
        check(|story| drop(story.kept.notifications.remove("n3")), &["kept"]);
        let unsent = |story: &mut Story| {
            story.ledger.remove(1);
            story.kept.sids.remove(1);
        };
        check(unsent, &["sent"]);
    }

    #[test]
    fn what_a_duplicate_that_was_asked_for_does_is_no_mistake_if_it_is_listed() {
        let again = |story: &mut Story| {
            story.ledger.push(entry("SM4", "a4"));
            story.kept.attempts.push(attempt("a4", "n2", "confirmed", 9 * PER_UNIT));
            story.kept.sids.push(("a4".to_owned(), "SM4".to_owned()));
        };
        check(again, &[]);
    }

    #[test]
    fn what_a_sid_without_its_account_does_is_found() {
        // A callback of somebody else's settles an attempt.
        let foreign = |story: &mut Story| {
            story.kept.sids.push(("a3".to_owned(), "SM9".to_owned()));
        };
        check(foreign, &["proven"]);
    }

    #[test]
    fn what_a_pace_in_memory_does_is_found() {
        check(|story| story.kept.attempts[1].send_at = Some(PER_UNIT - 1), &["paced"]);
        check(|story| story.kept.attempts[1].units = 3, &["paced"]);
    }

    #[test]
    fn a_check_that_judged_nothing_fails() {
        let nothing = |story: &mut Story| story.acknowledged.retain(|it| it.id != "n2");
        check(nothing, &["sent"]);
    }
}
