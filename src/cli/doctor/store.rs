//! Postgres: whether it keeps what it takes, and has the tables that this version needs.

use secrecy::{ExposeSecret as _, SecretString};

use super::Finding;
use crate::backend::postgres::{
    Denied, ExamineError, Examined, Health, Listen, OLDEST, Postgres, Tables,
};
use crate::backend::{DurabilityLevel, certificate};
use crate::config::Config;
use crate::upkeep::retention;

const SUBJECT: &str = "Postgres";

pub(super) async fn look(
    store: &SecretString,
    listen: Option<&SecretString>,
    config: &Config,
) -> Vec<Finding> {
    match ask(store).await {
        Ok((examined, durability)) => {
            let mut findings = vec![version(examined.version), durability];
            findings.extend(tables(&examined, config.migrate));
            findings.extend(retention(&examined, config.retention));
            findings.push(Finding::of_clock(SUBJECT, examined.clock));
            if let Some(listen) = listen {
                findings.push(listening(listen).await);
            }
            findings
        }
        Err(error) => vec![refused(&error)],
    }
}

/// Whether what is notified can be heard where store.listen_url leads.
async fn listening(url: &SecretString) -> Finding {
    let begun = match Listen::new(url.expose_secret()) {
        Ok(listen) => listen.begin().await,
        Err(error) => Err(error),
    };
    match begun {
        Ok(_) => Finding::ok(SUBJECT, "store.listen_url is notified of changes at once"),
        Err(error) => Finding::warning(
            SUBJECT,
            format!("store.listen_url cannot be notified of changes: {error}"),
            "let it lead to Postgres itself, without a pooler; until then the end of the feed is polled",
        ),
    }
}

/// No answer, or one that says no: each has a fix of its own.
fn refused(error: &ExamineError) -> Finding {
    let fix = match error.denied {
        Some(Denied::Right) => "our role lacks a right: GRANT it, as the owner of the tables",
        Some(Denied::Login) => {
            "Postgres rejects the login: fix user and password in store.url, or its pg_hba.conf"
        }
        Some(Denied::Absent) => {
            "Postgres answers, but has no such thing: create it, or fix the name in store.url"
        }
        None => {
            let text = match certificate::explain(&error.to_string()) {
                Some(meaning) => format!("no connection: {meaning} ({error})"),
                None => format!("no answer: {error}"),
            };
            let fix = "start it, or fix store.url; until then events wait in the log";
            return Finding::failure(SUBJECT, text, fix);
        }
    };
    Finding::failure(SUBJECT, format!("refused: {error}"), fix)
}

async fn ask(store: &SecretString) -> Result<(Examined, Finding), ExamineError> {
    let postgres = Postgres::new(store.expose_secret())?;
    let examined = postgres.examine().await?;
    let report = Health::new(postgres.clone()).durability().await?;
    postgres.close().await;
    let settings = &report.settings;
    let durability = match (report.breach, report.level) {
        (Some(breach), _) => Finding::failure(
            SUBJECT,
            breach,
            "ALTER ROLE … SET synchronous_commit = on, for the role in store.url",
        ),
        (None, DurabilityLevel::Synced) => {
            Finding::ok(SUBJECT, format!("it syncs before it answers: {settings}"))
        }
        (None, _) => Finding::failure(
            SUBJECT,
            format!("a crash would lose what is stored: {settings}"),
            "set fsync = on in postgresql.conf",
        ),
    };
    Ok((examined, durability))
}

fn retention(examined: &Examined, retention: retention::Config) -> Option<Finding> {
    let deletes = retention.events.or(retention.statuses).is_some();
    (deletes && !examined.may_delete).then(|| {
        let text = "our role may not delete, so [retention] does nothing";
        Finding::failure(
            SUBJECT,
            text,
            "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public to our role, as their owner",
        )
    })
}

fn version(version: i32) -> Finding {
    let text = format!("version {}.{}", version / 10_000, version % 10_000);
    if version >= OLDEST {
        return Finding::ok(SUBJECT, text);
    }
    let fix = "use Postgres 14 or later, which offhook is tested with";
    Finding::warning(SUBJECT, format!("{text} is too old to be supported"), fix)
}

fn migrations(missing: usize) -> String {
    if missing == 1 { "1 migration is".to_owned() } else { format!("{missing} migrations are") }
}

fn tables(examined: &Examined, migrate: bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    if examined.read_only {
        let fix =
            "let store.url lead to the primary: this one is a replica, or is set to be read-only";
        findings.push(Finding::failure(SUBJECT, "it cannot be written", fix));
    }
    findings.push(match (examined.tables, migrate, examined.may_create) {
        (Tables::UpToDate, _, _) => Finding::ok(SUBJECT, "its tables are up to date"),
        (Tables::Ahead, _, _) => Finding::failure(
            SUBJECT,
            "its tables are of a newer version",
            "run the version that made them, or a later one",
        ),
        (Tables::Behind(count), true, true) => Finding::warning(
            SUBJECT,
            format!("{} missing", migrations(count)),
            "start a worker, which runs migrations, or run `offhook migrate`",
        ),
        (Tables::Behind(count), false, true) => Finding::failure(
            SUBJECT,
            format!("{} missing, and store.migrate is off", migrations(count)),
            "run `offhook migrate`",
        ),
        (Tables::Behind(count), _, false) => Finding::failure(
            SUBJECT,
            format!("{} missing, and our role may not create tables", migrations(count)),
            "run `offhook migrate` as the owner of the schema, or GRANT CREATE ON SCHEMA to our role",
        ),
    });
    if !examined.forbidden.is_empty() {
        let text = format!("our role may not {}", examined.forbidden.join(", "));
        findings.push(Finding::failure(SUBJECT, text, "GRANT it, as the owner of the tables"));
    }
    findings
}
