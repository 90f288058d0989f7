//! What became of notifications that go by a route of a message, a call and an email.

use std::collections::HashMap;

use super::{Acknowledged, Case, Check, Kept, KeptAttempt, check};
use crate::dispatch::OnUnknown;
use crate::lab::twilio::{Entry, Ledger};

/// Every check.
pub(in crate::lab::torture) fn judge(
    acknowledged: &[Acknowledged],
    kept: &Kept,
    ledger: &Ledger,
) -> Vec<Check> {
    let case = Case::new(acknowledged, kept, &ledger.messages);
    let chain = Chain::new(kept, ledger);
    let called = ledger.calls.iter().filter_map(|call| call.attempt.as_deref());
    let mailed = ledger.mails.iter().filter_map(|mail| mail.attempt.as_deref());
    let first_steps = kept.attempts.iter().filter(|it| it.step == 1);
    let once = || acknowledged.iter().filter(|it| it.on_unknown == OnUnknown::Report);
    vec![
        check("kept", acknowledged.iter().map(|it| case.is_kept(it))),
        check("ended", acknowledged.iter().filter_map(|it| chain.has_ended(&it.id))),
        check("settled", kept.attempts.iter().map(KeptAttempt::is_settled)),
        check("begun", once().flat_map(|it| chain.began_once(case.attempts(&it.id)))),
        check(
            "followed",
            acknowledged.iter().filter_map(|it| chain.was_followed(&it.id, case.attempts(&it.id))),
        ),
        check("once", once().map(|it| chain.reached_once(case.attempts(&it.id)))),
        check("agreed", first_steps.filter_map(|it| case.is_agreed(it))),
        check("concluded", case.concluded()),
        check("ahead", ledger.posts.iter().map(|post| case.is_written_ahead(post))),
        check("withdrawn", case.withdrawn()),
        check("not_called", called.filter_map(|attempt| chain.may_follow(attempt))),
        check("not_mailed", mailed.filter_map(|attempt| chain.may_follow(attempt))),
    ]
}

struct Chain<'c> {
    kept: &'c Kept,
    attempts: HashMap<&'c str, &'c KeptAttempt>,
    messages: HashMap<&'c str, Vec<&'c Entry>>,
    calls: HashMap<&'c str, usize>,
    mails: HashMap<&'c str, usize>,
    /// When each SID was proven to be of its attempt.
    proven: HashMap<&'c str, i64>,
}

impl<'c> Chain<'c> {
    fn new(kept: &'c Kept, ledger: &'c Ledger) -> Self {
        let mut messages: HashMap<&str, Vec<&Entry>> = HashMap::new();
        for entry in &ledger.messages {
            messages.entry(entry.attempt.as_deref().unwrap_or_default()).or_default().push(entry);
        }
        let mut calls: HashMap<&str, usize> = HashMap::new();
        for call in &ledger.calls {
            *calls.entry(call.attempt.as_deref().unwrap_or_default()).or_default() += 1;
        }
        let mut mails: HashMap<&str, usize> = HashMap::new();
        for mail in &ledger.mails {
            *mails.entry(mail.attempt.as_deref().unwrap_or_default()).or_default() += 1;
        }
        Self {
            kept,
            attempts: kept.attempts.iter().map(|it| (&*it.id, it)).collect(),
            messages,
            calls,
            mails,
            proven: kept.sids.iter().filter_map(|it| Some((&*it.sid, it.at?))).collect(),
        }
    }

    /// Of one that is in the store.
    fn has_ended(&self, notification: &str) -> Option<bool> {
        Some(self.kept.notifications.get(notification)? != "open")
    }

    /// Of each step that has begun, whether it has one attempt: it is not sent again.
    fn began_once(&self, attempts: &[&KeptAttempt]) -> Vec<bool> {
        let of_step = |step| attempts.iter().filter(|it| it.step == step).count();
        [1, 2, 3]
            .map(of_step)
            .into_iter()
            .filter(|count| *count > 0)
            .map(|count| count == 1)
            .collect()
    }

    /// Of a notification that neither its message nor its call has confirmed, whether each of its steps began. One that a gate
    /// refused, that was too late or whose recipient had opted out ends before.
    fn was_followed(&self, notification: &str, attempts: &[&KeptAttempt]) -> Option<bool> {
        const BEFORE: [&str; 3] = ["refused", "expired", "cancelled"];
        const OPTED_OUT: &str = "21610";
        let is_open = self.kept.notifications.get(notification)? == "open";
        let ended_before = attempts.iter().any(|it| {
            let is_confirmed = it.state == "confirmed" && it.step < 3;
            let is_refused = BEFORE.contains(&&*it.state);
            is_confirmed || is_refused || it.reason.as_deref() == Some(OPTED_OUT)
        });
        let has = |step: &i64| attempts.iter().any(|it| it.step == *step);
        (!is_open && !ended_before).then(|| [1, 2, 3].iter().all(has))
    }

    /// Whether the provider has a message, a call and an email of it at most.
    fn reached_once(&self, attempts: &[&KeptAttempt]) -> bool {
        let messages = attempts.iter().map(|it| self.messages.get(&*it.id).map_or(0, Vec::len));
        let calls = attempts.iter().map(|it| self.calls.get(&*it.id).copied().unwrap_or(0));
        let mails = attempts.iter().map(|it| self.mails.get(&*it.id).copied().unwrap_or(0));
        messages.sum::<usize>() <= 1 && calls.sum::<usize>() <= 1 && mails.sum::<usize>() <= 1
    }

    /// Whether a call or an email was right to be made: no message of its notification had been delivered that the store knew
    /// of when it was decided. What was reported as undelivered as well may be followed at once.
    fn may_follow(&self, attempt: &str) -> Option<bool> {
        let attempt = self.attempts.get(attempt)?;
        // A step that failed was not over by time: what followed was decided as it was planned.
        let over = self.kept.over.get(&attempt.notification).copied();
        let over = over.or(attempt.created_at).unwrap_or(i64::MAX);
        let of_it = self.kept.attempts.iter();
        let of_it = of_it.filter(|it| it.notification == attempt.notification && it.step == 1);
        let mut messages = of_it.filter_map(|it| self.messages.get(&*it.id)).flatten();
        let had_arrived = messages.any(|entry| {
            let was_known = self.proven.get(&*entry.sid).is_some_and(|at| *at <= over);
            let is_contradicted = entry.reports.iter().any(|it| it.status == "undelivered");
            // Asked before that, the provider may have said that it had not arrived, and be right.
            let fetched = entry.fetched.iter().rfind(|it| it.at.micros() <= over);
            let was_on_its_way = fetched.is_some_and(|it| it.status != "delivered");
            entry.status == "delivered" && was_known && !is_contradicted && !was_on_its_way
        });
        Some(!had_arrived)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{attempt, entry, kept_sid};
    use super::*;
    use crate::clock::Timestamp;
    use crate::lab::twilio::{CallEntry, Fetched, MailEntry};

    /// One whose message arrived, and one whose message did not, and that was called.
    fn good() -> (Vec<Acknowledged>, Kept, Ledger) {
        let asked = ["n1", "n2"].map(|id| Acknowledged {
            id: id.to_owned(),
            to: format!("to {id}"),
            on_unknown: OnUnknown::Report,
        });
        let states = [("n1", "confirmed"), ("n2", "confirmed")];
        let of = |step, number, attempt| KeptAttempt { step, number, ..attempt };
        let kept = Kept {
            notifications: states.map(|(id, it)| (id.to_owned(), it.to_owned())).into(),
            attempts: vec![
                of(1, 1, attempt("a1", "n1", "confirmed", 0)),
                of(1, 1, attempt("a2", "n2", "unconfirmed", 10)),
                of(2, 2, attempt("a3", "n2", "confirmed", 50_000)),
            ],
            sids: vec![kept_sid("a1", "SM1"), kept_sid("a2", "SM2")],
            over: [("n2".to_owned(), 40_000)].into(),
            ..Kept::default()
        };
        let undelivered = Entry { status: "sent", ..entry("SM2", "a2") };
        let ledger = Ledger {
            messages: vec![entry("SM1", "a1"), undelivered],
            calls: vec![call("CA1", "a3")],
            ..Ledger::default()
        };
        (asked.into(), kept, ledger)
    }

    fn mail(attempt: &str) -> MailEntry {
        MailEntry {
            id: "mail".to_owned(),
            to: "recipient@example.com".to_owned(),
            from: "alerts@example.com".to_owned(),
            from_name: None,
            subject: String::new(),
            text: String::new(),
            html: None,
            attempt: Some(attempt.to_owned()),
            categories: Vec::new(),
            created_at: Timestamp::from_micros(70_000),
            status: "delivered",
            reports: Vec::new(),
        }
    }

    fn call(sid: &str, attempt: &str) -> CallEntry {
        CallEntry {
            sid: sid.to_owned(),
            to: "+12015550100".to_owned(),
            from: "+12015550199".to_owned(),
            twiml: String::new(),
            status_callback: None,
            events: Vec::new(),
            detects_machines: false,
            attempt: Some(attempt.to_owned()),
            timeout_s: 5,
            time_limit_s: None,
            created_at: Timestamp::from_micros(50_000),
            over_at: None,
            status: "completed",
            answered_by: None,
            pressed: None,
            reports: Vec::new(),
        }
    }

    /// The call of the second notification was not confirmed.
    fn is_not_confirmed(kept: &mut Kept) {
        let unconfirmed = "unconfirmed".to_owned();
        kept.attempts[2].state.clone_from(&unconfirmed);
        kept.notifications.insert("n2".to_owned(), unconfirmed);
    }

    #[track_caller]
    fn check(spoil: impl Fn(&mut Kept, &mut Ledger), expected: &[&str]) {
        let (asked, mut kept, mut ledger) = good();
        spoil(&mut kept, &mut ledger);
        let wrong = judge(&asked, &kept, &ledger).into_iter().filter(|it| it.wrong > 0);
        assert_eq!(wrong.map(|it| it.name).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn what_escalates_on_silence_is_found() {
        check(|_, _| {}, &[]);
        check(|_, ledger| ledger.messages[1].status = "delivered", &["not_called"]);
        // Its SID was not known yet when the time of the step was over.
        let late = |kept: &mut Kept, ledger: &mut Ledger| {
            ledger.messages[1].status = "delivered";
            kept.sids[1].at = Some(60_000);
        };
        check(late, &[]);
        // The provider, asked before it was decided, said so; then it said something else, or was asked later.
        let fetched = |at: i64, status| {
            move |_: &mut Kept, ledger: &mut Ledger| {
                ledger.messages[1].status = "delivered";
                ledger.messages[1].fetched =
                    vec![Fetched { at: Timestamp::from_micros(at), status }];
            }
        };
        check(fetched(30_000, "sent"), &[]);
        check(fetched(30_000, "delivered"), &["not_called"]);
        check(fetched(50_000, "sent"), &["not_called"]);
        // Another message of its step had failed, and this one was heard of after the call was planned.
        let failed = |proven_at: i64| {
            move |kept: &mut Kept, ledger: &mut Ledger| {
                kept.over.clear();
                kept.attempts[2].created_at = Some(45_000);
                kept.sids[1].at = Some(proven_at);
                ledger.messages[1].status = "delivered";
            }
        };
        check(failed(50_000), &[]);
        check(failed(44_000), &["not_called"]);
    }

    #[test]
    fn an_email_after_a_message_that_arrived_is_found_and_a_second_one() {
        let mailed = |kept: &mut Kept, ledger: &mut Ledger| {
            let attempt = attempt("a4", "n2", "accepted", 70_000);
            is_not_confirmed(kept);
            kept.attempts.push(KeptAttempt { step: 3, number: 3, ..attempt });
            ledger.mails.push(mail("a4"));
        };
        check(mailed, &[]);
        let arrived = |kept: &mut Kept, ledger: &mut Ledger| {
            mailed(kept, ledger);
            ledger.messages[1].status = "delivered";
        };
        check(arrived, &["not_called", "not_mailed"]);
        let twice = |kept: &mut Kept, ledger: &mut Ledger| {
            mailed(kept, ledger);
            ledger.mails.push(mail("a4"));
        };
        check(twice, &["once"]);
    }

    #[test]
    fn what_begins_twice_or_never_ends_is_found() {
        let twice = |kept: &mut Kept, ledger: &mut Ledger| {
            let again =
                KeptAttempt { step: 2, number: 3, ..attempt("a4", "n2", "accepted", 60_000) };
            kept.attempts.push(again);
            is_not_confirmed(kept);
            ledger.calls.push(call("CA2", "a4"));
        };
        check(twice, &["begun", "followed", "once"]);
        let open = |kept: &mut Kept, _: &mut Ledger| {
            kept.notifications.insert("n1".to_owned(), "open".to_owned());
        };
        check(open, &["ended", "concluded"]);
        let late =
            |kept: &mut Kept, _: &mut Ledger| kept.attempts[1].state = "confirmed".to_owned();
        check(late, &["agreed", "withdrawn"]);
    }

    #[test]
    fn a_route_that_ends_before_its_last_step_is_found() {
        let ends = |reason: Option<&'static str>| {
            move |kept: &mut Kept, _: &mut Ledger| {
                is_not_confirmed(kept);
                kept.attempts[2].reason = reason.map(str::to_owned);
            }
        };
        check(ends(None), &["followed"]);
        check(ends(Some("21610")), &[]);
    }
}
