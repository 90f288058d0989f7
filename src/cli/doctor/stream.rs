//! Redis: whether it keeps what it takes, and lets offhook do what it needs to.

use super::Finding;
use crate::backend::redis::Examined;
use crate::backend::{InForce, Level, certificate};
use crate::config::{Durability, Scaled};

const SUBJECT: &str = "Redis";
/// The oldest major version whose streams do what is needed.
const OLDEST: u32 = 7;

pub(super) async fn look(scaled: &Scaled) -> Vec<Finding> {
    let examined = match scaled.stream.examine(&scaled.names).await {
        Ok(examined) => examined,
        Err(error) => {
            return vec![away(&error.to_string())];
        }
    };
    let mut findings = vec![version(&examined.version)];
    match scaled.stream.in_force().await {
        Ok(in_force) => findings.extend(durability(&in_force, scaled.durability)),
        Err(error) => findings.push(Finding::warning(
            SUBJECT,
            format!("its settings cannot be read: {error}"),
            "ask again when it is less busy",
        )),
    }
    findings.extend(memory(&examined));
    findings.push(match examined.refused.as_slice() {
        [] => Finding::ok(SUBJECT, "every command that is needed is allowed"),
        refused => Finding::failure(
            SUBJECT,
            format!("it refuses {}", refused.join("; ")),
            format!("allow these to our user, on the keys {}*", scaled.names.stream),
        ),
    });
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
        let fix = "it answers, and does not let us in: mend user and password in stream.url";
        return Finding::failure(SUBJECT, format!("refused: {error}"), fix);
    }
    let fix = "start it, or mend stream.url; until then callbacks go to the spool";
    Finding::failure(SUBJECT, format!("no answer: {error}"), fix)
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
            let fix = format!("see that it is Redis {OLDEST} or later, or Valkey");
            Finding::warning(SUBJECT, "it does not tell its version", fix)
        }
    }
}

fn durability(in_force: &InForce, wanted: Durability) -> Vec<Finding> {
    let settings = &in_force.settings;
    let mut findings = vec![match (in_force.level, wanted) {
        (Level::Synced, _) => {
            Finding::ok(SUBJECT, format!("it syncs before it answers: {settings}"))
        }
        (_, Durability::Spool) => {
            Finding::ok(SUBJECT, format!("every event is in the spool first: {settings}"))
        }
        (Level::Unknown, _) => Finding::warning(
            SUBJECT,
            "it hides its settings, so nobody knows what survives a crash",
            "see that it has appendonly yes and appendfsync always, or set stream.durability = \
             \"spool\"",
        ),
        _ => Finding::failure(
            SUBJECT,
            format!("a crash would lose events that were answered: {settings}"),
            "set appendonly yes and appendfsync always, or stream.durability = \"spool\"",
        ),
    }];
    if let Some(breach) = in_force.breach {
        findings.push(Finding::failure(SUBJECT, breach, "set maxmemory-policy noeviction"));
    }
    findings
}

fn memory(examined: &Examined) -> Option<Finding> {
    const MIB: u64 = 1024 * 1024;
    match examined.max_memory? {
        0 => Some(Finding::warning(
            SUBJECT,
            "it has no maxmemory",
            "set one: then it refuses what it has no room for, and the spool takes over; without \
             one the system kills it",
        )),
        bytes => Some(Finding::ok(SUBJECT, format!("maxmemory is {} MiB", bytes / MIB))),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn an_old_redis_is_found() {
        assert_eq!(version("7.0.15").verdict, Verdict::Ok);
        assert_eq!(version("6.2.14").verdict, Verdict::Failure);
        assert_eq!(version("unknown").verdict, Verdict::Warning);
    }
}
