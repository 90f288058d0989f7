//! Redis: whether it keeps what it takes, and lets offhook do what it needs to.

use std::time::Duration;

use super::Finding;
use crate::backend::redis::{Examined, Names};
use crate::backend::{DurabilityLevel, DurabilityReport, certificate};
use crate::config::Scaled;
use crate::pipeline::spooled::AnswerAfter;

const SUBJECT: &str = "Redis";
/// The oldest major version whose streams do what is needed.
const OLDEST: u32 = 7;

pub(super) async fn look(scaled: &Scaled, rate: Option<u32>) -> Vec<Finding> {
    let examined = match scaled.stream.examine(&scaled.names).await {
        Ok(examined) => examined,
        Err(error) => {
            return vec![away(&error.to_string())];
        }
    };
    let mut findings = vec![version(&examined.version)];
    match scaled.stream.durability().await {
        Ok(report) => findings.extend(durability(&report, scaled.answer_after)),
        Err(error) => findings.push(Finding::warning(
            SUBJECT,
            format!("its settings cannot be read: {error}"),
            "run this again when it is less busy",
        )),
    }
    let rate = rate.map(f64::from).or(examined.rate);
    findings.extend(memory(&examined, rate, scaled.worker.mark_ttl));
    findings.extend(refused(&examined.refused, &scaled.names));
    findings.extend(examined.clock.map(|clock| Finding::of_clock(SUBJECT, clock)));
    findings
}

/// No answer, or one that says no: each has a fix of its own.
fn away(error: &str) -> Finding {
    if let Some(meaning) = certificate::explain(error) {
        let fix = "name the authority that signed it in stream.ca_file, as PEM; a certificate of a public authority \
                   needs none";
        return Finding::failure(SUBJECT, format!("no connection: {meaning} ({error})"), fix);
    }
    let said_no = ["NOAUTH", "WRONGPASS", "NOPERM", "invalid username-password"];
    if said_no.iter().any(|word| error.contains(word)) {
        let fix = "Redis rejects the login: fix user and password in stream.url";
        return Finding::failure(SUBJECT, format!("refused: {error}"), fix);
    }
    let fix = "start it, or fix stream.url; until then callbacks go to the spool";
    Finding::failure(SUBJECT, format!("no answer: {error}"), fix)
}

/// Each refusal with what mends it: that is another thing for each cause.
fn refused(refused: &[String], names: &Names) -> Vec<Finding> {
    if refused.is_empty() {
        return vec![Finding::ok(SUBJECT, "every command that is needed is allowed")];
    }
    let mut findings = Vec::new();
    let mut rest: Vec<&String> = refused.iter().collect();
    let keys = format!("{}*", names.probe().trim_end_matches(":probe"));
    let causes = [
        ("NOPERM", format!("allow these to our user, on the keys {}* and {keys}", names.stream)),
        (
            "CROSSSLOT",
            "in a cluster stream.key must have no braces, or one {tag} of at least one letter"
                .into(),
        ),
        ("WRONGTYPE", "another program uses that key: remove the key, or set stream.key".into()),
        ("NOREPLICAS", "bring its replicas back, or lower min-replicas-to-write".into()),
        ("MISCONF", "look at Redis's log: it cannot write its files, so it accepts nothing".into()),
        ("READONLY", "let stream.url lead to the primary: this one is a replica".into()),
        (
            "XREADGROUP BLOCK",
            "use a Redis that lets a read wait: until then workers poll it".into(),
        ),
    ];
    for (cause, fix) in causes {
        let (these, others) = rest.into_iter().partition(|refusal| refusal.contains(cause));
        rest = others;
        findings.extend(finding(these, fix));
    }
    findings.extend(finding(rest, "ask those who run it what its answer means".into()));
    findings
}

fn finding(refused: Vec<&String>, fix: String) -> Option<Finding> {
    let texts: Vec<&str> = refused.into_iter().map(String::as_str).collect();
    (!texts.is_empty())
        .then(|| Finding::failure(SUBJECT, format!("it refuses {}", texts.join("; ")), fix))
}

fn version(version: &str) -> Finding {
    let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok());
    match major {
        Some(major) if major >= OLDEST => Finding::ok(SUBJECT, format!("version {version}")),
        Some(_) => {
            let fix = format!("use Redis {OLDEST} or later, or Valkey");
            Finding::failure(SUBJECT, format!("version {version} is too old"), fix)
        }
        None => {
            let fix = format!("make sure that it is Redis {OLDEST} or later, or Valkey");
            Finding::warning(SUBJECT, "it does not report its version", fix)
        }
    }
}

fn durability(report: &DurabilityReport, wanted: AnswerAfter) -> Vec<Finding> {
    let settings = &report.settings;
    let mut findings = vec![match (report.level, wanted) {
        (DurabilityLevel::Synced, _) => {
            Finding::ok(SUBJECT, format!("it syncs before it answers: {settings}"))
        }
        (_, AnswerAfter::Spool) => {
            Finding::ok(SUBJECT, format!("every event is in the spool first: {settings}"))
        }
        (DurabilityLevel::Unknown, _) => Finding::warning(
            SUBJECT,
            "it hides its settings, so what survives a crash is not known",
            "make sure that it has appendonly yes and appendfsync always, or set stream.durability = \
             \"spool\"",
        ),
        _ => Finding::failure(
            SUBJECT,
            format!("a crash would lose events that were answered: {settings}"),
            "set appendonly yes and appendfsync always, or stream.durability = \"spool\"",
        ),
    }];
    if let Some(breach) = report.breach {
        findings.push(Finding::failure(SUBJECT, breach, "set maxmemory-policy volatile-ttl"));
    }
    findings
}

/// Whether there is a limit, and for how long it lasts at this rate while Postgres is away.
fn memory(examined: &Examined, rate: Option<f64>, mark_ttl: Duration) -> Option<Finding> {
    const MIB: f64 = 1024.0 * 1024.0;
    /// Measured with callbacks of 300 bytes; larger ones take as much more.
    const EVENT: f64 = 750.0;
    const MARK: f64 = 165.0;
    /// Shorter than people take to wake up and bring a Postgres back.
    const SHORT_S: f64 = 15.0 * 60.0;
    let bytes = match examined.max_memory? {
        0 => {
            return Some(Finding::warning(
                SUBJECT,
                "it has no maxmemory",
                "set one: then Redis refuses what it has no room for, and the spool takes over; without one the \
                 system kills it",
            ));
        }
        bytes => bytes as f64,
    };
    let text = format!("maxmemory is {:.0} MiB", bytes / MIB);
    let Some(rate) = rate.filter(|rate| *rate >= 1.0) else {
        return Some(Finding::ok(SUBJECT, text));
    };
    // More than a half is never theirs.
    let marks = (rate * mark_ttl.as_secs_f64() * MARK).min(bytes / 2.0);
    let lasts = (bytes - marks) / (rate * EVENT);
    let (minutes, marks) = (lasts / 60.0, marks / MIB);
    let text = format!(
        "{text}: at {rate:.0} callbacks a second it holds {minutes:.0} min of events while Postgres is \
         away, beside {marks:.0} MiB of marks"
    );
    if lasts >= SHORT_S {
        return Some(Finding::ok(SUBJECT, text));
    }
    let fix = "give it more memory, or make sure that the spools are large enough: they take what it cannot";
    Some(Finding::warning(SUBJECT, text, fix))
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn memory_is_held_against_the_rate() {
        let examined = |max_memory| Examined {
            version: "7.0.15".to_owned(),
            clock: None,
            max_memory,
            rate: None,
            refused: Vec::new(),
        };
        let look = |mib: u64, rate: Option<f64>| {
            let ttl = Duration::from_secs(600);
            memory(&examined(Some(mib * 1024 * 1024)), rate, ttl).expect("it is known").to_string()
        };
        assert!(look(512, None).contains("maxmemory is 512 MiB"));
        let enough = look(512, Some(300.0));
        assert!(enough.starts_with("ok") && enough.contains("holds 38 min"), "{enough}");
        assert!(enough.contains("28 MiB of marks"), "{enough}");
        assert!(look(64, Some(300.0)).starts_with("warning"));
        assert!(look(0, Some(300.0)).contains("no maxmemory"));
    }

    #[test]
    fn an_old_redis_is_found() {
        assert_eq!(version("7.0.15").verdict, Verdict::Ok);
        assert_eq!(version("6.2.14").verdict, Verdict::Failure);
        assert_eq!(version("unknown").verdict, Verdict::Warning);
    }
}
