//! What became of everyone on the list of a campaign that was paused, told to stop by some, and whose processes were
//! killed.

use std::collections::{HashMap, HashSet};

use super::{Case, Check, Kept, KeptAttempt, Stop, Stopped, check, paced};
use crate::lab::twilio::{Entry, Ledger};

/// A recipient on the list.
#[derive(Clone, Debug)]
pub(in crate::lab::torture) struct Listed {
    pub(in crate::lab::torture) key: String,
    pub(in crate::lab::torture) to: String,
}

/// What the results say of a recipient.
#[derive(Clone, Debug)]
pub(in crate::lab::torture) struct Told {
    pub(in crate::lab::torture) key: String,
    pub(in crate::lab::torture) outcome: String,
}

/// A pause that was acknowledged. Times are in microseconds.
#[derive(Clone, Copy, Debug)]
pub(in crate::lab::torture) struct Paused {
    pub(in crate::lab::torture) from: i64,
    /// When it was asked to go on.
    pub(in crate::lab::torture) until: i64,
    /// How many the answer said were on their way.
    pub(in crate::lab::torture) named: usize,
}

/// A recipient who has said STOP.
#[derive(Clone, Debug)]
pub(in crate::lab::torture) struct Quitter {
    pub(in crate::lab::torture) to: String,
    /// When the store was seen to know it, in microseconds.
    pub(in crate::lab::torture) known_at: i64,
}

/// A campaign as its operator saw it.
#[derive(Clone, Default, Debug)]
pub(in crate::lab::torture) struct Story {
    pub(in crate::lab::torture) listed: Vec<Listed>,
    pub(in crate::lab::torture) told: Vec<Told>,
    pub(in crate::lab::torture) pauses: Vec<Paused>,
    pub(in crate::lab::torture) quitters: Vec<Quitter>,
}

/// Every check. `per_unit` is the time of the pace for one unit, in microseconds.
pub(in crate::lab::torture) fn judge(
    story: &Story,
    kept: &Kept,
    ledger: &Ledger,
    per_unit: i64,
) -> Vec<Check> {
    let (case, campaign) = (Case::new(&[], kept, &ledger.messages), Campaign::new(story, ledger));
    let messages = &ledger.messages;
    vec![
        check("kept", campaign.told_once()),
        check("ended", story.told.iter().map(has_ended)),
        check("agreed", story.told.iter().map(|told| campaign.is_agreed(told))),
        check("once", story.listed.iter().map(|it| campaign.messages(&it.to).len() <= 1)),
        check("settled", kept.attempts.iter().map(KeptAttempt::is_settled)),
        check("known", messages.iter().map(|entry| case.is_known(entry))),
        check("paced", paced(&kept.attempts, per_unit).into_iter()),
        check("ahead", ledger.posts.iter().map(|post| case.is_written_ahead(post))),
        check("paused", case.held(&campaign.stops(), |what| *what == Stopped::Sender)),
        check("named", story.pauses.iter().map(|pause| is_named(pause, ledger))),
        check("suppressed", story.quitters.iter().filter_map(|it| campaign.is_spared(it, kept))),
    ]
}

/// Both sides, by what they have in common.
struct Campaign<'c> {
    story: &'c Story,
    numbers: HashMap<&'c str, &'c str>,
    /// The messages to each number.
    messages: HashMap<&'c str, Vec<&'c Entry>>,
}

impl<'c> Campaign<'c> {
    fn new(story: &'c Story, ledger: &'c Ledger) -> Self {
        let mut messages: HashMap<&str, Vec<&Entry>> = HashMap::new();
        for entry in &ledger.messages {
            messages.entry(&entry.to).or_default().push(entry);
        }
        let numbers = story.listed.iter().map(|it| (&*it.key, &*it.to)).collect();
        Self { story, numbers, messages }
    }

    fn messages(&self, to: &str) -> &[&'c Entry] {
        self.messages.get(to).map_or(&[], Vec::as_slice)
    }

    /// Of each recipient on the list, and of each in the results that is not: whether there is one of each.
    fn told_once(&self) -> impl Iterator<Item = bool> {
        let mut told: HashMap<&str, usize> = HashMap::new();
        for one in &self.story.told {
            *told.entry(&one.key).or_default() += 1;
        }
        let listed = self.story.listed.iter().map(|it| told.remove(&*it.key) == Some(1));
        let listed: Vec<bool> = listed.collect();
        let strangers = told.len();
        listed.into_iter().chain(std::iter::repeat_n(false, strangers))
    }

    /// Whether the provider has what the results say was confirmed, and nothing of what they say was never sent.
    fn is_agreed(&self, told: &Told) -> bool {
        let Some(messages) = self.numbers.get(&*told.key).map(|to| self.messages(to)) else {
            return false;
        };
        match &*told.outcome {
            "confirmed" => messages.iter().any(|entry| entry.status == "delivered"),
            "refused" | "expired" | "cancelled" => messages.is_empty(),
            _ => true,
        }
    }

    fn stops(&self) -> super::Meddled {
        let stop =
            |pause: &Paused| Stop { what: Stopped::Sender, from: pause.from, until: pause.until };
        let stops = self.story.pauses.iter().map(stop).collect();
        super::Meddled { stops, ..super::Meddled::default() }
    }

    /// Of a recipient whose STOP was known before the message was on its way: whether it never was.
    fn is_spared(&self, quitter: &Quitter, kept: &Kept) -> Option<bool> {
        let sent = self.messages(&quitter.to);
        let attempts: HashSet<&str> =
            sent.iter().filter_map(|entry| entry.attempt.as_deref()).collect();
        let of_it = kept.attempts.iter().filter(|it| attempts.contains(&*it.id));
        let mut written = of_it.filter_map(|it| it.written_at);
        // What was on its way by then may be sent.
        (!written.any(|at| at <= quitter.known_at)).then_some(sent.is_empty())
    }
}

/// An outcome is one that stays.
fn has_ended(told: &Told) -> bool {
    const OUTCOMES: [&str; 7] =
        ["confirmed", "failed", "unconfirmed", "unknown", "refused", "expired", "cancelled"];
    OUTCOMES.contains(&&*told.outcome)
}

/// Whether no more requests came to the provider during a pause than its answer had named.
fn is_named(pause: &Paused, ledger: &Ledger) -> bool {
    let during = |at: i64| pause.from < at && at < pause.until;
    ledger.posts.iter().filter(|post| during(post.at.micros())).count() <= pause.named
}

#[cfg(test)]
mod tests {
    use super::super::tests::{attempt, entry, kept_sid, post};
    use super::*;

    const PER_UNIT: i64 = 10_000;

    /// One who got a message before the pause, one after it, one whose message was on its way when it began, and one who
    /// said STOP.
    fn good() -> (Story, Kept, Ledger) {
        let to = |n: usize| format!("+1201555010{n}");
        let listed = (1..=4).map(|n| Listed { key: format!("r{n}"), to: to(n) });
        let outcomes = [(1, "confirmed"), (2, "confirmed"), (3, "unknown"), (4, "refused")];
        let told =
            outcomes.map(|(n, outcome)| Told { key: format!("r{n}"), outcome: outcome.to_owned() });
        let (from, until) = (3 * PER_UNIT, 4 * PER_UNIT);
        let story = Story {
            listed: listed.collect(),
            told: told.into(),
            pauses: vec![Paused { from, until, named: 1 }],
            quitters: vec![Quitter { to: to(4), known_at: PER_UNIT }],
        };
        let never =
            KeptAttempt { send_at: None, written_at: None, ..attempt("a4", "n4", "refused", 0) };
        let kept = Kept {
            attempts: vec![
                attempt("a1", "n1", "confirmed", 0),
                attempt("a2", "n2", "confirmed", until),
                attempt("a3", "n3", "unknown", from - PER_UNIT),
                never,
            ],
            sids: vec![kept_sid("a1", "SM1"), kept_sid("a2", "SM2")],
            ..Kept::default()
        };
        let sent = |n: usize| Entry { to: to(n), ..entry(&format!("SM{n}"), &format!("a{n}")) };
        let ledger = Ledger {
            messages: vec![sent(1), sent(2)],
            posts: vec![post("a1", 1), post("a2", until + 1), post("a3", from + 1)],
            ..Ledger::default()
        };
        (story, kept, ledger)
    }

    #[track_caller]
    fn check(spoil: impl Fn(&mut Story, &mut Kept, &mut Ledger), expected: &[&str]) {
        let (mut story, mut kept, mut ledger) = good();
        spoil(&mut story, &mut kept, &mut ledger);
        let checks = judge(&story, &kept, &ledger, PER_UNIT);
        let found = checks.iter().filter(|it| it.failure().is_some()).map(|it| it.name);
        assert_eq!(found.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_good_story_passes_every_check() {
        check(|_, _, _| {}, &[]);
    }

    #[test]
    fn who_is_not_accounted_for_is_found() {
        check(|story, _, _| drop(story.told.pop()), &["kept"]);
        let twice = |story: &mut Story, _: &mut Kept, _: &mut Ledger| {
            story.told.push(story.told[0].clone());
        };
        check(twice, &["kept"]);
        check(|story, _, _| story.told[0].key = "r9".to_owned(), &["kept", "agreed"]);
        for open in ["open", "waiting", "held"] {
            check(|story, _, _| story.told[2].outcome = open.to_owned(), &["ended"]);
        }
    }

    #[test]
    fn what_the_provider_says_otherwise_is_found() {
        check(|_, _, ledger| ledger.messages[0].status = "sent", &["agreed"]);
        for never in ["refused", "expired", "cancelled"] {
            check(|story, _, _| story.told[0].outcome = never.to_owned(), &["agreed"]);
        }
    }

    #[test]
    fn who_is_sent_two_messages_is_found() {
        let twice = |_: &mut Story, kept: &mut Kept, ledger: &mut Ledger| {
            let to = ledger.messages[0].to.clone();
            ledger.messages.push(Entry { to, ..entry("SM5", "a5") });
            kept.attempts.push(attempt("a5", "n5", "confirmed", 7 * PER_UNIT));
            kept.sids.push(kept_sid("a5", "SM5"));
        };
        check(twice, &["once"]);
    }

    #[test]
    fn what_leaves_during_a_pause_is_found() {
        let written = |_: &mut Story, kept: &mut Kept, _: &mut Ledger| {
            kept.attempts[1].written_at = Some(3 * PER_UNIT + 1);
        };
        check(written, &["paused"]);
        check(|story, _, _| story.pauses[0].named = 0, &["named"]);
        let second = |_: &mut Story, _: &mut Kept, ledger: &mut Ledger| {
            ledger.posts.push(post("a3", 4 * PER_UNIT - 1));
        };
        check(second, &["named"]);
        check(|story, _, _| story.pauses.clear(), &["paused", "named"]);
    }

    #[test]
    fn who_is_sent_a_message_after_a_stop_is_found() {
        let sent = |written_at: i64| {
            move |story: &mut Story, kept: &mut Kept, ledger: &mut Ledger| {
                story.told[3].outcome = "confirmed".to_owned();
                ledger.messages.push(Entry { to: "+12015550104".to_owned(), ..entry("SM4", "a4") });
                ledger.posts.push(post("a4", written_at + 1));
                kept.sids.push(kept_sid("a4", "SM4"));
                let to_four = attempt("a4", "n4", "confirmed", written_at);
                kept.attempts[3] = KeptAttempt { send_at: None, ..to_four };
            }
        };
        check(sent(PER_UNIT + 1), &["suppressed"]);
        // It was on its way: no other STOP is left to judge.
        check(sent(PER_UNIT), &["suppressed"]);
        let another = |story: &mut Story, kept: &mut Kept, ledger: &mut Ledger| {
            sent(PER_UNIT)(story, kept, ledger);
            story.quitters.push(Quitter { to: "+12015550103".to_owned(), known_at: 0 });
        };
        check(another, &[]);
    }
}
