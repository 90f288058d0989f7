//! [`Verdict`]: the sentence at the top of the page, for somebody who is tired. No I/O.

use super::words::{count, minute, number_of, rate, seconds};
use crate::admin::watch::{Seen, Vitals};
use crate::backend::InForce;

/// How bad it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Tone {
    /// Nothing to do.
    Good,
    /// Nothing is lost, and somebody should look.
    Odd,
    /// Act now.
    Bad,
}

impl Tone {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Odd => "odd",
            Self::Bad => "bad",
        }
    }

    /// In words, for those who do not see the colour.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Good => "Good",
            Self::Odd => "Look at this",
            Self::Bad => "Act now",
        }
    }
}

/// A sentence, and the page that has more about it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Finding {
    pub(super) tone: Tone,
    pub(super) text: String,
    pub(super) page: Option<&'static str>,
}

/// What there is to say, the worst first; never empty.
pub(super) fn verdict(vitals: &Vitals, durability: &[(&'static str, InForce)]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut say = |tone, text, page| findings.push(Finding { tone, text, page });
    let now = vitals.now.at;
    let since_minute = |reason: &str| vitals.refused_since(&vitals.minute, reason);

    let lost = since_minute("not_durable") + since_minute("overloaded");
    if lost > 0 {
        let text =
            format!("{} in the last minute: nothing could make them durable.", refused(lost));
        say(Tone::Bad, text, Some("/refusals"));
    }
    for away in vitals.dependencies.iter().filter(|seen| seen.away.is_some()) {
        let tone = if away.need == "must" { Tone::Bad } else { Tone::Odd };
        say(tone, away_text(away, vitals), None);
    }
    let redis_away =
        vitals.dependencies.iter().any(|seen| seen.name == "redis" && seen.away.is_some());
    match vitals.circuit_open {
        Some(since) if !redis_away => {
            let (since, spool) = (minute(since, now), waiting(vitals.now.spool));
            let text = format!("Redis is too slow since {since}: events go to the spool, {spool}.");
            say(Tone::Odd, text, None);
        }
        None if vitals.now.spool > 0 && !redis_away => {
            let text = format!("The spool is being emptied: {}.", waiting(vitals.now.spool));
            say(Tone::Odd, text, None);
        }
        _ => {}
    }
    if vitals.now.dead_letters > 0 {
        let letters = number_of(vitals.now.dead_letters, "dead letter waits", "dead letters wait");
        say(Tone::Odd, format!("{letters} to be looked at."), Some("/dead-letters"));
    }
    let unsigned = since_minute("wrong_signature") + since_minute("unknown_account");
    if unsigned > 0 {
        let text = format!("{} for their signature in the last minute.", refused(unsigned));
        say(Tone::Odd, text, Some("/refusals"));
    }
    if vitals.now.oldest > SLOW_S {
        let (age, depth) = (seconds(vitals.now.oldest), waiting(vitals.now.depth));
        say(Tone::Odd, format!("Workers are {age} behind: {depth} in Redis."), None);
    }
    if vitals.now.reload_failed {
        let text =
            "The configuration was to be reloaded, and is wrong: the one before is in force.";
        say(Tone::Odd, text.to_owned(), None);
    }
    for (backend, in_force) in durability {
        if let Some(breach) = in_force.breach {
            say(
                Tone::Odd,
                format!("What {} has committed is not safe: {breach}.", name(backend)),
                None,
            );
        }
    }
    if findings.is_empty() {
        findings.push(Finding { tone: Tone::Good, text: well(vitals), page: None });
    }
    // Stable, so that those of one tone stay as they are above.
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.tone));
    findings
}

/// A worker's own pace is seconds at most.
const SLOW_S: f64 = 60.0;

fn well(vitals: &Vitals) -> String {
    match (vitals.per_second > 0.0, vitals.p95) {
        (true, Some(p95)) => {
            let (rate, p95) = (rate(vitals.per_second), seconds(p95));
            format!("Everything is well: {rate} callbacks per second, answered within {p95}.")
        }
        _ => "Everything is well: no callback in the last minute.".to_owned(),
    }
}

fn away_text(away: &Seen, vitals: &Vitals) -> String {
    let since = away.away.map_or_else(String::new, |at| minute(at, vitals.now.at));
    match (away.name, away.need) {
        ("redis", "either") => {
            let spool = waiting(vitals.now.spool);
            format!("Redis is down since {since}: events go to the spool, {spool}.")
        }
        ("redis", _) => format!("Redis is down since {since}: nothing can be stored."),
        ("postgres", _) => {
            let depth = waiting(vitals.now.depth);
            format!("Postgres is down since {since}: events stay in Redis, {depth}.")
        }
        ("sqlite", _) => {
            format!("The store's file does not work since {since}: callbacks are lost.")
        }
        ("spool_disk", _) => format!("The spool's disk does not work since {since}."),
        ("spool", _) => format!("The spool is full since {since}."),
        (other, _) => format!("{other} is down since {since}."),
    }
}

fn refused(number: u64) -> String {
    number_of(number, "callback was refused", "callbacks were refused")
}

fn waiting(number: u64) -> String {
    match number {
        0 => "none waits".to_owned(),
        1 => "1 waits".to_owned(),
        many => format!("{} wait", count(many)),
    }
}

/// A dependency as people call it.
pub(super) fn name(dependency: &str) -> &str {
    match dependency {
        "redis" => "Redis",
        "postgres" => "Postgres",
        "sqlite" => "the store's file",
        "spool" => "the spool",
        "spool_disk" => "the spool's disk",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::watch::Sample;
    use crate::clock::Timestamp;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse_rfc3339(text).expect("a time")
    }

    fn vitals() -> Vitals {
        let now = Sample { at: at("2026-11-24T03:10:00Z"), ..Sample::default() };
        Vitals { now, ..Vitals::default() }
    }

    fn away(name: &'static str, need: &'static str) -> Seen {
        Seen { name, need, away: Some(at("2026-11-24T02:58:30Z")), error: None }
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
        let sentence = "Everything is well: 12 callbacks per second, answered within 3.1 ms.";
        check(&busy, Tone::Good, sentence);
    }

    #[test]
    fn what_is_down_is_said_with_what_becomes_of_the_events() {
        let mut vitals = vitals();
        vitals.now.spool = 12_345;
        vitals.dependencies = vec![away("redis", "either")];
        let sentence = "Redis is down since 02:58: events go to the spool, 12,345 wait.";
        check(&vitals, Tone::Odd, sentence);
        assert_eq!(verdict(&vitals, &[]).len(), 1, "the spool is not told of twice");
        vitals.dependencies = vec![away("postgres", "must")];
        vitals.now.depth = 1;
        let sentence = "Postgres is down since 02:58: events stay in Redis, 1 waits.";
        check(&vitals, Tone::Bad, sentence);
    }

    #[test]
    fn a_configuration_that_was_not_taken_is_told() {
        let mut vitals = vitals();
        vitals.now.reload_failed = true;
        let sentence =
            "The configuration was to be reloaded, and is wrong: the one before is in force.";
        check(&vitals, Tone::Odd, sentence);
    }

    #[test]
    fn the_worst_comes_first() {
        let mut vitals = vitals();
        vitals.now.dead_letters = 1;
        check(&vitals, Tone::Odd, "1 dead letter waits to be looked at.");
        vitals.now.refusals.insert("not_durable".to_owned(), 2);
        let findings = verdict(&vitals, &[]);
        assert_eq!(findings.len(), 2);
        let sentence =
            "2 callbacks were refused in the last minute: nothing could make them durable.";
        check(&vitals, Tone::Bad, sentence);
    }
}
