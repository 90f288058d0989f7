//! What sends is killed, frozen and misled. The provider's ledger is the judge.

use tokio::time::{Duration, Instant};

use super::crash;
use crate::clock::Clock;
use crate::lab::servers::Signal;
use crate::lab::torture::Run;
use crate::lab::torture::report::Report;
use crate::lab::torture::sending::{LookedUp, Question, Sending};
use crate::lab::torture::testbed::{Alone, Setup, Testbed};
use crate::lab::twilio::{Behaviour, Share};

/// What a provider takes for an answer.
const ANSWERS_AFTER_MS: u64 = 20;
/// Until what is unknown was looked for, and all has come of it that can.
const LONGEST: Duration = Duration::from_secs(60);
/// In which a message without a callback has been followed by a call, where nothing asks whether it arrived.
const SILENT_FOR: Duration = Duration::from_secs(3);

/// One process on SQLite.
fn alone(run: &Run) -> anyhow::Result<Testbed> {
    Testbed::prepare(run, &Setup { workers: None, ..Setup::default() })
}

/// Two processes that send from one Postgres.
pub(super) fn two(run: &Run) -> anyhow::Result<Testbed> {
    let setup =
        Setup { receivers: 2, workers: None, alone_on: Alone::Postgres, ..Setup::default() };
    Testbed::prepare(run, &setup)
}

pub(super) fn share(share: f64) -> Share {
    share.try_into().expect("it is from 0 to 1")
}

/// A provider that leaves a part of the outcomes open.
pub(super) fn unreliable(part: f64) -> Behaviour {
    Behaviour {
        answer_after_ms: ANSWERS_AFTER_MS,
        drop_answers: share(part),
        late_answers: share(part),
        late_by_ms: 3_000,
        fail_created: share(part),
        fail_uncreated: share(part),
        reset: share(part),
        ..Behaviour::default()
    }
}

/// One process aborts at every step of an attempt.
pub(super) async fn crash(name: String, run: &Run) -> anyhow::Result<Report> {
    if let Some(report) = crash::skipped(&name) {
        return Ok(report);
    }
    let slow = Behaviour { answer_after_ms: ANSWERS_AFTER_MS, ..Behaviour::default() };
    let mut sending = Sending::begin(name, run, alone(run)?, slow, Question::Sending).await?;
    crash::abort_while_sending(&mut sending).await?;
    sending.end().await
}

/// kill -9 of one of two processes.
pub(super) async fn kill(name: String, run: &Run) -> anyhow::Result<Report> {
    let mut sending =
        Sending::begin(name, run, two(run)?, unreliable(0.005), Question::Sending).await?;
    while sending.goes_on() {
        sending.pause(300..1_500).await;
        let one = sending.any(2);
        sending.testbed.receivers[one].kill();
        sending.pause(0..500).await;
        sending.testbed.receivers[one].start()?;
        sending.facts.kills += 1;
    }
    sending.end().await
}

/// The provider leaves many outcomes open, and its callbacks come early, twice, contradicting or not at all.
pub(super) async fn unknown(name: String, run: &Run) -> anyhow::Result<Report> {
    let odd = Behaviour {
        callbacks_first: share(0.2),
        callbacks_twice: share(0.2),
        callbacks_contradict: share(0.05),
        callbacks_missing: share(0.05),
        undelivered: share(0.1),
        rewrite_bodies: share(0.1),
        ..unreliable(0.03)
    };
    // Nothing is reported of what is not answered: it has to be looked for.
    let dark = Behaviour {
        answer_after_ms: ANSWERS_AFTER_MS,
        drop_answers: share(0.5),
        fail_uncreated: share(0.5),
        callbacks_missing: Share::ALWAYS,
        rewrite_bodies: share(0.5),
        list_lag_ms: 1_500,
        ..Behaviour::default()
    };
    let mut sending =
        Sending::begin(name, run, alone(run)?, odd.clone(), Question::Sending).await?;
    let (began, mut found) = (Instant::now(), LookedUp::default());
    while sending.goes_on() || (!found.has_all() && began.elapsed() < run.duration + LONGEST) {
        sending.simulator.behave(dark.clone());
        sending.pause(200..400).await;
        sending.simulator.behave(odd.clone());
        sending.pause(400..800).await;
        sending.facts.outages += 1;
        found = sending.looked_up().await;
    }
    if !found.has_all() {
        sending.facts.failures.push(format!("not everything came of looking: {found:?}"));
    }
    sending.end().await
}

/// The provider allows fewer requests at a time than it is sent, and then none for a while.
pub(super) async fn throttled(name: String, run: &Run) -> anyhow::Result<Report> {
    let narrow = Behaviour { answer_after_ms: 100, max_in_flight: 4, ..Behaviour::default() };
    let mut sending =
        Sending::begin(name, run, alone(run)?, narrow.clone(), Question::Sending).await?;
    while sending.goes_on() {
        sending.pause(300..1_000).await;
        let next = 10 + sending.any(40) as u32;
        sending.simulator.behave(Behaviour { throttle_next: next, ..narrow.clone() });
        sending.facts.outages += 1;
    }
    let throttled =
        sending.simulator.ledger().posts.iter().filter(|it| it.code == Some(20429)).count();
    sending.tell("throttled", throttled);
    if throttled == 0 {
        sending.facts.failures.push("nothing was throttled".to_owned());
    }
    sending.end().await
}

/// One of two processes stands still, now and then for longer than its leases last.
pub(super) async fn frozen(name: String, run: &Run) -> anyhow::Result<Report> {
    let mut sending =
        Sending::begin(name, run, two(run)?, unreliable(0.005), Question::Sending).await?;
    while sending.goes_on() {
        sending.pause(200..800).await;
        let (one, long) = (sending.any(2), sending.any(3) == 0);
        sending.testbed.receivers[one].signal(Signal::Stop);
        let longest = if long { 9_000 } else { 2_500 };
        sending.pause(100..longest).await;
        sending.testbed.receivers[one].signal(Signal::Continue);
        sending.facts.outages += 1;
    }
    // What was frozen last has to notice.
    tokio::time::sleep(Duration::from_millis(500)).await;
    sending.end().await
}

/// A message, a call if that is not confirmed, and an email if neither is: callbacks come late, twice, contradicting or not at all, while one of two
/// processes is killed or stands still.
pub(super) async fn chain(name: String, run: &Run) -> anyhow::Result<Report> {
    let odd = Behaviour {
        undelivered: share(0.2),
        callbacks_first: share(0.2),
        callbacks_twice: share(0.2),
        callbacks_contradict: share(0.05),
        callbacks_missing: share(0.3),
        calls_busy: share(0.3),
        mails_bounced: share(0.2),
        mails_deferred: share(0.2),
        ..unreliable(0.005)
    };
    let late = Behaviour { callbacks_late_ms: 2_000, ..odd.clone() };
    let mut sending = Sending::begin(name, run, two(run)?, odd.clone(), Question::Chain).await?;
    let began = Instant::now();
    // Some have to arrive without a callback, and long enough ago for a call.
    let is_shown = |sending: &Sending| {
        let (ledger, before) = (sending.simulator.ledger(), Clock::System.now().before(SILENT_FOR));
        let silent = ledger.messages.iter().filter(|it| {
            it.status == "delivered" && it.reports.is_empty() && it.created_at < before
        });
        silent.count() >= 3 && !ledger.calls.is_empty() && !ledger.mails.is_empty()
    };
    while sending.goes_on() || (!is_shown(&sending) && began.elapsed() < run.duration + LONGEST) {
        let behaviour = if sending.any(2) == 0 { late.clone() } else { odd.clone() };
        sending.simulator.behave(behaviour);
        sending.pause(300..1_000).await;
        let one = sending.any(2);
        if sending.any(2) == 0 {
            sending.testbed.receivers[one].kill();
            sending.pause(0..500).await;
            sending.testbed.receivers[one].start()?;
            sending.facts.kills += 1;
        } else {
            sending.testbed.receivers[one].signal(Signal::Stop);
            let longest = if sending.any(3) == 0 { 9_000 } else { 2_500 };
            sending.pause(100..longest).await;
            sending.testbed.receivers[one].signal(Signal::Continue);
            sending.facts.outages += 1;
        }
    }
    // What was frozen last has to notice.
    tokio::time::sleep(Duration::from_millis(500)).await;
    sending.end().await
}

/// One callback in twenty is never sent: Twilio is asked for what is left open.
pub(super) async fn callbacks_lost(name: String, run: &Run) -> anyhow::Result<Report> {
    let lossy = Behaviour { callbacks_missing: share(0.05), ..Behaviour::default() };
    let mut sending = Sending::begin(name, run, alone(run)?, lossy, Question::Finals).await?;
    let began = Instant::now();
    let is_lost = |sending: &Sending| {
        let ledger = sending.simulator.ledger();
        ledger.messages.iter().any(|it| it.status == "delivered" && it.reports.is_empty())
    };
    while sending.goes_on() || (!is_lost(&sending) && began.elapsed() < run.duration + LONGEST) {
        sending.pause(200..400).await;
    }
    sending.end().await
}
