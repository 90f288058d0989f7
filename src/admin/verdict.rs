//! Whether all is well, and if not, what is wrong, the worst first. No I/O.

use serde::Serialize;

use super::conditions::{CONDITIONS, Evidence};
use super::console::format::{rate, seconds};
use super::last_hour::{Log, Vitals};
use super::runbook::Runbook;
use crate::backend::{Backend, Dependency, DurabilityReport};

/// How bad it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Tone {
    /// Nothing to do.
    Good,
    /// It can wait for the morning.
    Later,
    /// Nothing is lost, and it needs a look.
    Odd,
    /// Act now.
    Bad,
}

impl Tone {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Later => "later",
            Self::Odd => "odd",
            Self::Bad => "bad",
        }
    }

    /// In words, for those who do not see the colour.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Good => "Good",
            Self::Later => "Can wait",
            Self::Odd => "Look at this",
            Self::Bad => "Act now",
        }
    }
}

/// A sentence, and where there is more about it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(super) struct Finding {
    pub(super) tone: Tone,
    pub(super) text: String,
    /// A page of the console.
    pub(super) page: Option<&'static str>,
    /// The alert that tells of the same.
    pub(super) alert: Option<&'static str>,
    /// The section of the runbook that says what to do.
    #[serde(skip)]
    pub(super) section: Option<&'static str>,
}

impl Finding {
    /// Where it is said what to do.
    pub(super) fn help(&self, runbook: &Runbook) -> Option<String> {
        self.section.map(|section| runbook.section(section))
    }
}

/// What there is to say, the worst first; never empty.
pub(super) fn verdict(vitals: &Vitals, durability: &[(Backend, DurabilityReport)]) -> Vec<Finding> {
    let evidence = Evidence { vitals, durability };
    let mut findings: Vec<Finding> = Vec::new();
    for condition in CONDITIONS {
        let (page, alert) = (condition.page, condition.alert);
        findings.extend((condition.look)(&evidence).into_iter().map(|sign| Finding {
            tone: condition.tone(&sign),
            section: Some(condition.section(&sign)),
            text: sign.text,
            page,
            alert,
        }));
    }
    if findings.is_empty() {
        let text = well(vitals);
        findings.push(Finding { tone: Tone::Good, text, page: None, alert: None, section: None });
    }
    // Stable, so that those of one tone stay in the order of the list.
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.tone));
    findings
}

fn well(vitals: &Vitals) -> String {
    // A worker takes no callbacks.
    if !vitals.now.receives && vitals.now.stored > 0 {
        let took = vitals.now.at.since(vitals.minute.at).as_secs_f64().max(1.0);
        let stored = vitals.now.stored.saturating_sub(vitals.minute.stored) as f64 / took;
        return format!("Everything is well: {} events stored per second.", rate(stored));
    }
    let Some(p95) = vitals.p95.filter(|_| vitals.per_second > 0.0) else {
        return "Everything is well: no callback in the last minute.".to_owned();
    };
    let rate = rate(vitals.per_second);
    format!("Everything is well: {rate} callbacks per second, p95 {}.", seconds(p95))
}

/// A dependency as people call it. The local log is the spool where it stands behind Redis.
pub(super) fn name(dependency: Dependency, log: Log) -> &'static str {
    match (dependency, log) {
        (Dependency::Redis, _) => "Redis",
        (Dependency::Postgres, _) => "Postgres",
        (Dependency::Sqlite, _) => "the store's file",
        (Dependency::Spool, Log::Redis) => "the spool",
        (Dependency::SpoolDisk, Log::Redis) => "the spool's disk",
        (Dependency::Spool, Log::Local) => "the local log",
        (Dependency::SpoolDisk, Log::Local) => "the disk of the local log",
    }
}

/// A backend as people call it.
pub(super) fn backend_name(backend: Backend, log: Log) -> &'static str {
    let dependency = match backend {
        Backend::Redis => Dependency::Redis,
        Backend::Postgres => Dependency::Postgres,
        Backend::Sqlite => Dependency::Sqlite,
        Backend::Spool => Dependency::Spool,
    };
    name(dependency, log)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::last_hour::{DependencyStatus, Sample};
    use crate::backend::Need;
    use crate::clock::Timestamp;
    use crate::recent::Refusal;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse_rfc3339(text).expect("a time")
    }

    fn vitals() -> Vitals {
        let now = Sample { at: at("2026-11-24T03:10:00Z"), ..Sample::default() };
        Vitals { now, ..Vitals::default() }
    }

    fn away(dependency: Dependency, need: Need) -> DependencyStatus {
        DependencyStatus { dependency, need, away: Some(at("2026-11-24T02:58:30Z")), error: None }
    }

    #[track_caller]
    fn check(vitals: &Vitals, tone: Tone, sentence: &str) {
        let first = verdict(vitals, &[]).remove(0);
        assert_eq!((first.tone, first.text.as_str()), (tone, sentence));
    }

    #[test]
    fn when_all_is_well_it_says_so() {
        check(&vitals(), Tone::Good, "Everything is well: no callback in the last minute.");
        let busy = Vitals { per_second: 12.4, p95: Some(0.0031), ..vitals() };
        let sentence = "Everything is well: 12 callbacks per second, p95 3.1 ms.";
        check(&busy, Tone::Good, sentence);
    }

    #[test]
    fn what_is_down_is_said_with_what_becomes_of_the_events() {
        let mut vitals = vitals();
        vitals.dependencies = vec![away(Dependency::Redis, Need::Must)];
        let sentence = "Redis has been down since 02:58. Callbacks are answered and wait in the \
                        receivers' spools.";
        check(&vitals, Tone::Odd, sentence);
        vitals.now.spool = 12_345;
        vitals.now.receives = true;
        vitals.dependencies = vec![away(Dependency::Redis, Need::Either)];
        let sentence = "Redis has been down since 02:58. Callbacks are answered and go to the spool: \
                        12,345 events wait there.";
        check(&vitals, Tone::Odd, sentence);
        assert_eq!(verdict(&vitals, &[]).len(), 1, "the spool is not told of twice");
        vitals.now.spool = 0;
        let redis = DependencyStatus { away: None, ..away(Dependency::Redis, Need::Must) };
        vitals.dependencies = vec![redis, away(Dependency::Postgres, Need::Must)];
        vitals.now.depth = 1;
        let sentence =
            "Postgres has been down since 02:58. Events stay in Redis: 1 event waits there.";
        check(&vitals, Tone::Bad, sentence);
    }

    #[test]
    fn there_is_a_spool_only_behind_redis() {
        let names = |log| [Dependency::Spool, Dependency::SpoolDisk].map(|it| name(it, log));
        assert_eq!(names(Log::Local), ["the local log", "the disk of the local log"]);
        assert_eq!(names(Log::Redis), ["the spool", "the spool's disk"]);
    }

    #[test]
    fn a_configuration_that_was_not_taken_is_told() {
        let mut vitals = vitals();
        vitals.now.reload_failed = true;
        let sentence = "The last reload failed: the configuration has an error, which the log names. The previous one stays \
             in force.";
        check(&vitals, Tone::Odd, sentence);
    }

    #[test]
    fn the_worst_comes_first() {
        let mut vitals = vitals();
        vitals.now.dead_letters = 1;
        check(&vitals, Tone::Odd, "1 dead letter waits. Fix the cause, then replay.");
        vitals.samples = vec![Sample::default()];
        vitals.now.refusals.add(Refusal::NotDurable, 2);
        let findings = verdict(&vitals, &[]);
        assert_eq!(findings.len(), 2);
        let sentence = "2 callbacks were refused with 503 in the last 5 minutes: the local log did not take them. \
                        Twilio tries again for 15 s at most; after that they are lost.";
        check(&vitals, Tone::Bad, sentence);
    }
}
