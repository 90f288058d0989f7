use super::*;
use crate::clock::Timestamp;
use crate::lab::twilio::Report;

const PER_UNIT: i64 = 10_000;

struct Story {
    acknowledged: Vec<Acknowledged>,
    kept: Kept,
    ledger: Ledger,
    meddled: Meddled,
}

pub(super) fn post(attempt: &str, at: i64) -> Post {
    Post {
        at: Timestamp::from_micros(at),
        to: None,
        attempt: Some(attempt.to_owned()),
        sid: None,
        answered: None,
        code: None,
    }
}

pub(super) fn kept_sid(attempt: &str, sid: &str) -> KeptSid {
    let [attempt, sid, proof] = [attempt, sid, "callback"].map(str::to_owned);
    KeptSid { attempt, sid, proof, at: Some(0) }
}

fn stop(what: Stopped, from: i64, until: i64) -> Stop {
    Stop { what, from, until }
}

pub(super) fn entry(sid: &str, attempt: &str) -> Entry {
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
        fetched: Vec::new(),
    }
}

pub(super) fn attempt(id: &str, notification: &str, state: &str, send_at: i64) -> KeptAttempt {
    let [id, notification, state] = [id, notification, state].map(str::to_owned);
    KeptAttempt {
        id,
        notification,
        number: 1,
        state,
        created_at: Some(0),
        send_at: Some(send_at),
        written_at: Some(send_at),
        settled_at: Some(send_at + PER_UNIT),
        units: 1,
        tries: 1,
        ..KeptAttempt::default()
    }
}

/// One that errs on the side of once, one on the side of sent and was sent again, one of which nothing is known, one
/// that was cancelled, and one that was suppressed.
fn good() -> Story {
    use OnUnknown::{Report, Resend};
    let asked = [("n1", Report), ("n2", Resend), ("n3", Report), ("n4", Report), ("n5", Resend)];
    let acknowledged = asked.map(|(id, on_unknown)| Acknowledged {
        id: id.to_owned(),
        to: format!("to {id}"),
        on_unknown,
    });
    let states = [
        ("n1", "confirmed"),
        ("n2", "confirmed"),
        ("n3", "unknown"),
        ("n4", "cancelled"),
        ("n5", "refused"),
    ];
    let states = states.map(|(id, state)| (id.to_owned(), state.to_owned()));
    let never = |id, notification, state| KeptAttempt {
        send_at: None,
        written_at: None,
        tries: 0,
        ..attempt(id, notification, state, 0)
    };
    let kept = Kept {
        notifications: states.into(),
        attempts: vec![
            attempt("a1", "n1", "confirmed", 0),
            KeptAttempt { looks: 2, ..attempt("a2", "n2", "unknown", PER_UNIT) },
            attempt("a3", "n3", "unknown", 3 * PER_UNIT),
            never("a4", "n4", "cancelled"),
            never("a5", "n5", "refused"),
            KeptAttempt { number: 2, ..attempt("a6", "n2", "confirmed", 5 * PER_UNIT) },
        ],
        sids: vec![kept_sid("a1", "SM1"), kept_sid("a6", "SM6")],
        wakes: 0,
        ..Kept::default()
    };
    let posts = [("a1", 0), ("a2", PER_UNIT), ("a3", 3 * PER_UNIT), ("a6", 5 * PER_UNIT)];
    let ledger = Ledger {
        mails: Vec::new(),
        calls: Vec::new(),
        messages: vec![entry("SM1", "a1"), entry("SM3", "a3"), entry("SM6", "a6")],
        posts: posts.map(|(attempt, at)| post(attempt, at + 5)).into(),
        updates: Vec::new(),
    };
    let meddled = Meddled {
        stops: vec![
            stop(Stopped::Sender, 4 * PER_UNIT, 5 * PER_UNIT),
            stop(Stopped::Notification("n4".to_owned()), 4 * PER_UNIT, i64::MAX),
            stop(Stopped::Recipient("to n5".to_owned()), 4 * PER_UNIT, 7 * PER_UNIT),
        ],
        foreign: vec!["SM9".to_owned()],
    };
    Story { acknowledged: acknowledged.into(), kept, ledger, meddled }
}

/// The names of the checks that find something wrong.
fn found(story: &Story) -> Vec<&'static str> {
    let checks = judge(&story.acknowledged, &story.kept, &story.ledger, &story.meddled, PER_UNIT);
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
    check(|story| story.ledger.messages.push(entry("SM4", "a1")), &["once", "known"]);
    let again = |story: &mut Story| {
        story.ledger.messages.push(entry("SM7", "a7"));
        story.kept.attempts.push(attempt("a7", "n3", "accepted", 9 * PER_UNIT));
        story.kept.sids.push(kept_sid("a7", "SM7"));
    };
    check(again, &["once"]);
}

#[test]
fn what_a_missing_write_ahead_does_is_found() {
    // The process died after the POST, and the attempt is due again, or was never stored.
    check(|story| story.kept.attempts[2].state = "due".to_owned(), &["settled", "known"]);
    check(|story| story.ledger.messages.push(entry("SM4", "a9")), &["known"]);
    // It was committed after the request, or not at all.
    check(|story| story.kept.attempts[2].written_at = Some(4 * PER_UNIT), &["ahead"]);
    check(|story| story.kept.attempts[2].written_at = None, &["ahead"]);
    check(|story| story.ledger.posts.push(post("a9", 0)), &["ahead"]);
}

#[test]
fn what_a_forgotten_request_does_is_found() {
    check(|story| drop(story.kept.notifications.remove("n3")), &["kept"]);
    let unsent = |story: &mut Story| {
        story.ledger.messages.pop();
        story.kept.sids.pop();
        story.kept.attempts[1].state = "accepted".to_owned();
    };
    check(unsent, &["sent", "agreed"]);
    // It was found nowhere, and nothing followed.
    let given_up = |story: &mut Story| {
        story.kept.attempts.pop();
        story.kept.attempts[1].reason = Some("absent".to_owned());
        story.kept.notifications.insert("n2".to_owned(), "unknown".to_owned());
        story.kept.sids.pop();
        story.ledger.messages.pop();
        story.ledger.posts.pop();
    };
    // Nor is any message left that was sent again.
    check(given_up, &["sent", "explained"]);
}

#[test]
fn what_is_sent_again_without_a_reason_is_found() {
    // It was not asked for, or not looked for.
    check(|story| story.acknowledged[1].on_unknown = OnUnknown::Report, &["explained"]);
    check(|story| story.kept.attempts[1].looks = 0, &["explained"]);
    // A duplicate that was asked for is no mistake if it is listed.
    check(|story| story.ledger.messages.push(entry("SM2", "a2")), &[]);
}

#[test]
fn what_a_gate_that_is_not_read_again_does_is_found() {
    let between = 4 * PER_UNIT + PER_UNIT / 2;
    check(|story| story.kept.attempts[5].written_at = Some(between), &["paused"]);
    check(|story| story.kept.attempts[3].written_at = Some(between), &["paused", "cancelled"]);
    let sent = |story: &mut Story| story.ledger.messages.push(entry("SM4", "a4"));
    check(sent, &["known", "agreed", "cancelled"]);
    check(|story| story.kept.attempts[4].written_at = Some(6 * PER_UNIT), &["suppressed"]);
}

#[test]
fn what_is_sent_after_the_proof_of_another_attempt_is_found() {
    let proven = |story: &mut Story| {
        story.kept.attempts[1].state = "confirmed".to_owned();
        story.ledger.messages.push(entry("SM2", "a2"));
        story.kept.sids.push(kept_sid("a2", "SM2"));
    };
    check(proven, &["withdrawn"]);
}

#[test]
fn an_outcome_that_the_provider_denies_is_found() {
    let lost = |story: &mut Story| story.ledger.messages[0].status = "undelivered";
    check(lost, &["agreed"]);
    let reported = |story: &mut Story| {
        let delivered = Report { status: "delivered", tries: 1, answered: Some(200) };
        story.ledger.messages[0].reports.push(delivered);
    };
    check(
        |story| {
            lost(story);
            reported(story);
        },
        &[],
    );
    // It is said to have failed, and arrived.
    let failed = |story: &mut Story| {
        story.kept.attempts[0].state = "failed".to_owned();
        story.kept.notifications.insert("n1".to_owned(), "failed".to_owned());
    };
    check(failed, &["agreed"]);
    check(
        |story| {
            failed(story);
            lost(story);
        },
        &[],
    );
}

#[test]
fn a_notification_that_says_otherwise_than_its_attempts_is_found() {
    for (id, state) in [("n1", "unknown"), ("n3", "confirmed")] {
        let says = |story: &mut Story| {
            story.kept.notifications.insert(id.to_owned(), state.to_owned());
        };
        check(says, &["concluded"]);
    }
}

#[test]
fn what_a_sid_without_its_account_does_is_found() {
    // A callback of another account settles an attempt.
    check(|story| story.kept.sids.push(kept_sid("a3", "SM9")), &["proven", "foreign"]);
}

#[test]
fn what_a_pace_in_memory_does_is_found() {
    check(|story| story.kept.attempts[1].send_at = Some(PER_UNIT - 1), &["paced"]);
    check(|story| story.kept.attempts[1].units = 3, &["paced"]);
}

#[test]
fn a_check_that_judged_nothing_fails() {
    check(|story| story.meddled.foreign.clear(), &["foreign"]);
    check(|story| drop(story.meddled.stops.remove(0)), &["paused"]);
}
