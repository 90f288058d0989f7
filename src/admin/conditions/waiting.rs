//! What does not get on from where it lies, and what is put aside.

use super::{Evidence, Sign, minutes};
use crate::admin::console::format::{count, minute, number_of, seconds};
use crate::admin::last_hour::{DependencyStatus, Log};
use crate::admin::verdict::{Tone, backend_name, name};
use crate::backend::{Backend, Dependency, Need};
use crate::pipeline::CommitFailure;

/// A worker's own pace is seconds at most.
const LATE_S: f64 = 60.0;
/// From then on the alert fires: it waits for two minutes.
const ALERT_S: f64 = 180.0;
/// A store that is not behind takes what comes within less.
const KEEPS_UP_S: f64 = 5.0;
/// More than one batch of a worker.
const MANY: u64 = 512;

fn wait(number: u64) -> String {
    match number {
        0 => "nothing waits".to_owned(),
        1 => "1 event waits".to_owned(),
        many => format!("{} events wait", count(many)),
    }
}

/// Each dependency that does not answer, with what becomes of the events.
pub(super) fn away(evidence: &Evidence<'_>) -> Vec<Sign> {
    let away = evidence.vitals.dependencies.iter().filter(|seen| seen.away.is_some());
    let away = away.filter(|seen| seen.dependency != Dependency::Redis || !is_refusing(evidence));
    away.map(|seen| {
        let tone = match (seen.dependency, seen.need) {
            // The receivers answer, and keep what Redis does not take.
            (Dependency::Redis, _) | (_, Need::Either | Need::Optional) => Tone::Odd,
            (_, Need::Must) => Tone::Bad,
        };
        let mut text = away_text(seen, evidence);
        // Of the others the page has it beside: of Redis there are many, such as Sentinels that disagree.
        if let (Dependency::Redis, Some(error)) = (seen.dependency, &seen.error) {
            text = format!("{text} The reason: {error}.");
        }
        let section = match seen.dependency {
            Dependency::Redis => None,
            Dependency::Postgres | Dependency::Sqlite => Some("commits-fail"),
            Dependency::Spool | Dependency::SpoolDisk => Some("the-spool"),
        };
        Sign { section, ..Sign::with(tone, text) }
    })
    .collect()
}

fn away_text(away: &DependencyStatus, evidence: &Evidence<'_>) -> String {
    let now = &evidence.vitals.now;
    let since = away.away.map_or_else(String::new, |at| minute(at, now.at));
    let redis = evidence.vitals.log() == Log::Redis;
    match away.dependency {
        Dependency::Redis if evidence.receives() => {
            let spool = wait(now.spool);
            format!(
                "Redis has been down since {since}. Callbacks are answered and go to the spool: {spool} there."
            )
        }
        Dependency::Redis => format!(
            "Redis has been down since {since}. Callbacks are answered and wait in the receivers' spools."
        ),
        Dependency::Postgres | Dependency::Sqlite if !redis => {
            let (store, depth) = (name(away.dependency, evidence.vitals.log()), wait(now.depth));
            let text = format!(
                "{store} has not answered since {since}. Callbacks are answered and wait in the local log: \
                 {depth} there."
            );
            capital(&text)
        }
        // Where Redis does not answer either, nobody knows how many.
        Dependency::Postgres if evidence.away(Dependency::Redis) => {
            format!("Postgres has been down since {since}. Nothing is stored until it is back.")
        }
        Dependency::Postgres => {
            let depth = wait(now.depth);
            format!("Postgres has been down since {since}. Events stay in Redis: {depth} there.")
        }
        Dependency::SpoolDisk if !redis => {
            format!(
                "The disk of the local log has not worked since {since}: callbacks are refused."
            )
        }
        Dependency::SpoolDisk => format!("The spool's disk has not worked since {since}."),
        Dependency::Spool if !redis => {
            format!("The local log has been full since {since}: callbacks are refused.")
        }
        Dependency::Spool => format!("The spool has been full since {since}."),
        Dependency::Sqlite => format!("The store's file has not worked since {since}."),
    }
}

/// As the start of a sentence.
fn capital(text: &str) -> String {
    text[..1].to_uppercase() + &text[1..]
}

/// Whether Redis answers, and refuses something that this process needs.
fn is_refusing(evidence: &Evidence<'_>) -> bool {
    evidence.vitals.now.stream_refusing
}

/// A process that receives and works stays ready while its receiving half is, so this is where its other half is
/// told of.
pub(super) fn refusing(evidence: &Evidence<'_>) -> Vec<Sign> {
    if !is_refusing(evidence) {
        return Vec::new();
    }
    let now = &evidence.vitals.now;
    let redis =
        evidence.vitals.dependencies.iter().find(|seen| seen.dependency == Dependency::Redis);
    let since = redis
        .and_then(|seen| seen.away)
        .map_or_else(String::new, |at| format!(" since {}", minute(at, now.at)));
    let becomes = match (evidence.receives(), evidence.vitals.circuit_open) {
        (true, Some(_)) => format!(" and go to the spool: {} there", wait(now.spool)),
        (true, None) => format!(" and wait in Redis: {} there", wait(now.depth)),
        (false, _) => String::new(),
    };
    let reason = redis.and_then(|seen| seen.error.as_ref());
    let reason = reason.map_or_else(String::new, |error| format!(" The reason: {error}."));
    let text = format!(
        "Redis has refused what is needed{since}. Callbacks are answered{becomes}.{reason}"
    );
    vec![Sign::new(text)]
}

pub(super) fn unsupported(evidence: &Evidence<'_>) -> Vec<Sign> {
    let text = "offhook cannot work with this Redis. Nothing is stored; callbacks wait in the receivers' spools. \
                /readyz says what is needed.";
    evidence.vitals.now.stream_unsupported.then(|| Sign::new(text)).into_iter().collect()
}

/// What is lost with it, only the log can say.
pub(super) fn taken_away(evidence: &Evidence<'_>) -> Vec<Sign> {
    if evidence.rose(minutes(15), |sample| sample.stream_resets) > 0 {
        let text = "The stream in Redis was deleted (FLUSHALL, DEL or a failover). Events that were answered may be \
                    lost. The log has how many waited.";
        return vec![Sign::new(text)];
    }
    let text = "The consumer group in Redis was deleted, and offhook has made it again. What is still in the stream is \
                read once more; nothing is lost.";
    let group = evidence.rose(minutes(15), |sample| sample.group_resets);
    (group > 0).then(|| Sign::new(text)).into_iter().collect()
}

pub(super) fn oldest(evidence: &Evidence<'_>) -> Vec<Sign> {
    let now = &evidence.vitals.now;
    // What was last seen of a Redis that is away is of no time.
    if now.oldest <= LATE_S || evidence.away(Dependency::Redis) {
        return Vec::new();
    }
    let (age, waits) = (seconds(now.oldest), wait(now.depth));
    let log = evidence.vitals.log().as_str();
    let text = format!("The store is {age} behind: {waits} in {log}.");
    vec![if now.oldest > ALERT_S { Sign::new(text) } else { Sign::with(Tone::Odd, text) }]
}

pub(super) fn circuit(evidence: &Evidence<'_>) -> Vec<Sign> {
    let since = evidence.vitals.circuit_open.filter(|_| !evidence.away(Dependency::Redis));
    let text = |at| {
        let (since, spool) = (minute(at, evidence.vitals.now.at), wait(evidence.vitals.now.spool));
        format!("Redis has taken no events since {since}. They go to the spool: {spool} there.")
    };
    since.map(|at| Sign::new(text(at))).into_iter().collect()
}

pub(super) fn spool(evidence: &Evidence<'_>) -> Vec<Sign> {
    let (vitals, waits) = (evidence.vitals, evidence.vitals.now.spool);
    let told = vitals.circuit_open.is_some() || evidence.away(Dependency::Redis);
    let text = format!("The spool is being emptied: {}.", wait(waits));
    (waits > 0 && !told).then(|| Sign::new(text)).into_iter().collect()
}

/// A batch that its backend did not take is tried again, or it goes to the spool.
pub(super) fn commits(evidence: &Evidence<'_>) -> Vec<Sign> {
    let mut signs = Vec::new();
    for (backend, dependency) in [
        (Backend::Postgres, Dependency::Postgres),
        (Backend::Sqlite, Dependency::Sqlite),
        (Backend::Spool, Dependency::Spool),
    ] {
        let failed = evidence.rose(minutes(2), |sample| {
            sample
                .commit_errors
                .sum(|(of, error)| *of == backend && *error != CommitFailure::Refused)
        });
        if failed > 0 && !evidence.away(dependency) {
            let batches = number_of(failed, "batch", "batches");
            let depth = match backend {
                Backend::Postgres | Backend::Sqlite => {
                    let log = evidence.vitals.log().as_str();
                    format!(": {} in {log}", wait(evidence.vitals.now.depth))
                }
                Backend::Redis | Backend::Spool => String::new(),
            };
            signs.push(Sign::new(format!(
                "{} did not take {batches} in the last 2 minutes{depth}. The log has the reason.",
                capital(backend_name(backend, evidence.vitals.log()))
            )));
        }
    }
    signs
}

pub(super) fn stream_errors(evidence: &Evidence<'_>) -> Vec<Sign> {
    let failed = evidence.rose(minutes(2), |sample| sample.stream_errors);
    let text = format!(
        "{} failed {} that store events in the last 2 minutes. The log has the reason.",
        match evidence.vitals.log() {
            Log::Redis => "Redis",
            Log::Local => "The local log",
        },
        number_of(failed, "command", "commands")
    );
    (failed > 0 && !evidence.away(Dependency::Redis)).then(|| Sign::new(text)).into_iter().collect()
}

pub(super) fn growing(evidence: &Evidence<'_>) -> Vec<Sign> {
    let (now, before) = (evidence.vitals.now.depth, evidence.vitals.before(minutes(5)).depth);
    // Before a store that keeps up, many wait for a moment.
    if now <= MANY
        || now <= before
        || evidence.vitals.now.oldest <= KEEPS_UP_S
        || evidence.away(Dependency::Redis)
    {
        return Vec::new();
    }
    vec![Sign::new(format!(
        "More comes in than is stored: {} in {}, {} more than 5 minutes ago.",
        wait(now),
        evidence.vitals.log().as_str(),
        count(now - before)
    ))]
}

pub(super) fn dead_letters(evidence: &Evidence<'_>) -> Vec<Sign> {
    let letters = evidence.vitals.now.dead_letters;
    let text = number_of(letters, "dead letter waits", "dead letters wait");
    (letters > 0)
        .then(|| Sign::new(format!("{text}. Fix the cause, then replay.")))
        .into_iter()
        .collect()
}

pub(super) fn damaged(evidence: &Evidence<'_>) -> Vec<Sign> {
    let files = evidence.vitals.now.damaged_files;
    let text = format!(
        "{} damaged and put aside. Callbacks go to a new one. Check the disk, then run `offhook local-log replay`.",
        number_of(files, "file of the local log is", "files of the local log are")
    );
    (files > 0).then(|| Sign::new(text)).into_iter().collect()
}

pub(super) fn blocked(evidence: &Evidence<'_>) -> Vec<Sign> {
    let groups = evidence.vitals.now.blocking_groups;
    let text = format!(
        "{} not offhook's keeps entries from being freed, and Redis fills up. The log has the name.",
        number_of(groups, "consumer group that is", "consumer groups, each of them")
    );
    (groups > 0).then(|| Sign::new(text)).into_iter().collect()
}
