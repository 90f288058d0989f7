//! [`Report`]: what came of a scenario, as one line of JSON.

use std::fmt;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value};

use super::Run;
use super::load::Tally;
use super::sent::Check;
use super::verdict::Verdict;
use crate::lab::load;

/// What a scenario did, and what must come of it.
#[derive(Debug, Default)]
pub(super) struct Facts {
    pub(super) kills: usize,
    pub(super) outages: usize,
    /// Whether events may be lost: a setting that breaks the promise is what is shown.
    pub(super) expected_loss: bool,
    /// Where a disk is spoilt: how many events that can have cost, and no more may be lost.
    pub(super) most_lost: Option<usize>,
    /// How soon all must be stored once the fault is over, where nothing is to be made up for.
    pub(super) recovers_within: Option<Duration>,
    /// Whether 503s are among what must happen.
    pub(super) may_refuse: bool,
    pub(super) dead_letters: usize,
    /// What only this scenario has to tell.
    pub(super) details: Map<String, Value>,
    /// What is wrong besides the four figures, a sentence each.
    pub(super) failures: Vec<String>,
}

/// What came of a scenario.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub struct Report(Line);

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Line {
    Ran(Box<Ran>),
    Sent(Box<Sent>),
    Skipped { scenario: String, skipped: String },
}

/// The line; its fields in this order.
#[derive(Debug, Serialize)]
struct Ran {
    scenario: String,
    ok: bool,
    #[serde(flatten)]
    verdict: Verdict,
    sent: u64,
    acked: u64,
    refused: u64,
    unknown: u64,
    kills: usize,
    outages: usize,
    dead_letters: usize,
    ack_ms: Quantiles,
    over_1_s: usize,
    /// From the end of load and faults until everything acked was stored.
    drain_ms: Option<u128>,
    #[serde(flatten)]
    details: Map<String, Value>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    expected_loss: bool,
    seconds: f64,
    seed: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    failures: Vec<String>,
}

/// The line of a scenario that sends. The four figures stand for the same as elsewhere.
#[derive(Debug, Serialize)]
struct Sent {
    scenario: String,
    ok: bool,
    /// Notifications that are gone, or were never sent and are said to be.
    lost: usize,
    /// Notifications that were sent twice, and must not be.
    doubled: usize,
    /// What the store says otherwise than the provider, slots that are too near, and what was sent after a stop.
    wrong: usize,
    /// Messages that are not the store's.
    extra: usize,
    /// Notifications that were acknowledged.
    acked: usize,
    kills: usize,
    outages: usize,
    checks: Vec<Check>,
    #[serde(flatten)]
    details: Map<String, Value>,
    seconds: f64,
    seed: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    failures: Vec<String>,
}

/// The checks that are counted as wrong.
const OTHERS: [&str; 18] = [
    "agreed",
    "begun",
    "ended",
    "final",
    "followed",
    "named",
    "not_called",
    "not_mailed",
    "settled",
    "proven",
    "paced",
    "ahead",
    "paused",
    "cancelled",
    "suppressed",
    "withdrawn",
    "explained",
    "foreign",
];

/// Of what was acked while there was a fault.
#[derive(Debug, Serialize)]
struct Quantiles {
    p50: f64,
    p99: f64,
    max: f64,
}

impl Report {
    pub(super) fn new(
        scenario: String,
        run: &Run,
        tally: &Tally,
        facts: Facts,
        verdict: Verdict,
        drained: Option<Duration>,
    ) -> Self {
        let load::Quantiles { p50, p99, max, .. } = tally.quantiles();
        let failures = failures(run, tally, &facts, verdict, drained);
        Self(Line::Ran(Box::new(Ran {
            scenario,
            ok: failures.is_empty(),
            verdict,
            sent: tally.sent(),
            acked: tally.acked(),
            refused: tally.refused(),
            unknown: tally.unknown(),
            kills: facts.kills,
            outages: facts.outages,
            dead_letters: facts.dead_letters,
            ack_ms: Quantiles { p50, p99, max },
            over_1_s: tally.slow,
            drain_ms: drained.map(|took| took.as_millis()),
            details: facts.details,
            expected_loss: facts.expected_loss,
            seconds: run.duration.as_secs_f64(),
            seed: run.seed,
            failures,
        })))
    }

    /// Of a scenario that sends.
    pub(super) fn of_sending(
        scenario: String,
        run: &Run,
        acked: usize,
        checks: &[Check],
        facts: Facts,
    ) -> Self {
        let wrong = |names: &[&str]| {
            let of_these = checks.iter().filter(|check| names.contains(&check.name));
            of_these.map(|check| check.wrong).sum()
        };
        Self(Line::Sent(Box::new(Sent {
            scenario,
            ok: facts.failures.is_empty(),
            lost: wrong(&["kept", "sent"]),
            doubled: wrong(&["once"]),
            wrong: wrong(&OTHERS),
            extra: wrong(&["known"]),
            acked,
            kills: facts.kills,
            outages: facts.outages,
            checks: checks.to_vec(),
            details: facts.details,
            seconds: run.duration.as_secs_f64(),
            seed: run.seed,
            failures: facts.failures,
        })))
    }

    /// Of a scenario that cannot run here, and why.
    pub(super) fn skipped(scenario: String, why: String) -> Self {
        Self(Line::Skipped { scenario, skipped: why })
    }

    /// What is not as it must be.
    #[must_use]
    pub fn failures(&self) -> &[String] {
        match &self.0 {
            Line::Ran(ran) => &ran.failures,
            Line::Sent(sent) => &sent.failures,
            Line::Skipped { .. } => &[],
        }
    }
}

/// What is not as it must be, a sentence each.
fn failures(
    run: &Run,
    tally: &Tally,
    facts: &Facts,
    verdict: Verdict,
    drained: Option<Duration>,
) -> Vec<String> {
    let Verdict { lost, doubled, wrong, extra, .. } = verdict;
    let mut failures = facts.failures.clone();
    let mut fail = |bad: bool, what: String| {
        if bad {
            failures.push(what);
        }
    };
    fail(lost > 0 && !facts.expected_loss, format!("{lost} events are lost"));
    let most = facts.most_lost.unwrap_or(usize::MAX);
    fail(lost > most, format!("{lost} events are lost, and {most} can have been spoilt"));
    fail(doubled > 0, format!("{doubled} events are stored more than once"));
    fail(wrong > 0, format!("{wrong} statuses are wrong"));
    fail(extra > 0, format!("{extra} events were never sent"));
    fail(tally.acked() == 0, "nothing was acked".to_owned());
    let (refused, other) = (tally.refused(), tally.other());
    fail(refused > 0 && !facts.may_refuse, format!("{refused} callbacks were refused"));
    fail(!other.is_empty(), format!("unexpected answers by status: {other:?}"));
    fail(drained.is_none() && lost == 0, "all is stored, but not in time".to_owned());
    // A short run is a test on a machine that does other things, too.
    if let (Some(limit), Some(took), true) =
        (facts.recovers_within, drained, run.duration >= Duration::from_secs(10))
    {
        fail(took > limit, format!("it took {took:?} until all was stored"));
    }
    failures
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(self).map_err(|_| fmt::Error)?)
    }
}
