//! `offhook copy`: what an embedded store holds goes into the Postgres of the configuration.

use std::io::IsTerminal as _;
use std::path::PathBuf;

use anyhow::{Context as _, anyhow, ensure};
use clap::Args;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use super::output::{Format, count};
use super::terminal::{errln, progress};
use crate::backend::copy::{Copied, Step};
use crate::backend::postgres::Postgres;
use crate::clock::Clock;
use crate::config::{Config, Role, Sources, StoreUrl, log_beside};
use crate::copy::{Compared, Kept, Milestone, Report, Task};
use crate::crash_points;

/// The arguments.
#[derive(Debug, Args)]
pub(super) struct Copy {
    /// The file of the embedded store: a path, or the `sqlite:` URL of its store.url
    #[arg(long, value_name = "FILE")]
    from: String,
    /// The directory of its local log; by default FILE-log
    #[arg(long, value_name = "DIR")]
    log: Option<PathBuf>,
    /// Copy nothing; only check that all of it is in the target
    #[arg(long)]
    verify: bool,
    #[command(flatten)]
    format: Format,
}

/// Copies into the configured store, continues where an earlier run stopped, and compares each row at the end.
///
/// # Errors
/// The configuration has no Postgres, the source is in use, one of the two is not fit, or the target lacks something.
pub(super) async fn run(config: Option<PathBuf>, copy: Copy) -> anyhow::Result<()> {
    let sources = Sources::of_process(config);
    crash_points::arm(&sources.environment);
    let config = Config::load(&sources, Role::All)?;
    let StoreUrl::Postgres(url) = config.deployment.store() else {
        anyhow::bail!(
            "store.url names a SQLite file, and the target of a copy is Postgres: set store.url or DATABASE_URL to the \
             postgres:// URL of the new deployment, and --from to the file of the old one"
        );
    };
    let target_log = config.deployment.local_log().context("a worker has no local log")?;
    let target = Postgres::new(url.expose_secret()).context("store.url")?;
    let plan = crate::copy::Copy {
        log: copy.log.unwrap_or_else(|| log_beside(&copy.from)),
        source: copy.from,
        bounds: target_log.bounds,
        target: target.clone(),
        target_log: target_log.directory.clone(),
        kept: Kept { statuses: config.retention.statuses, events: config.retention.events },
        clock: Clock::System,
        task: if copy.verify { Task::Verify } else { Task::Copy },
    };
    let is_watched = std::io::stderr().is_terminal();
    let done = plan.run(|milestone| {
        if is_watched {
            progress(&line(milestone));
        }
    });
    let done = done.await;
    if is_watched {
        progress("");
    }
    target.close().await;
    let report = done.map_err(|error| match error.has_begun() {
        true => anyhow!("{error}; fix that and run the copy again: it continues where it stopped"),
        false => error.into(),
    })?;
    let aside = target_log.directory.join("aside").display().to_string();
    copy.format.print(&as_json(&report), |_| as_text(&report, &aside));
    for name in wrong(&report) {
        errln!("{name}");
    }
    ensure!(report.is_whole(), "the target does not have all of it; the source still does");
    Ok(())
}

fn line(Milestone { step, rows, of }: Milestone) -> String {
    let doing = match step {
        Step::Statuses => "copying statuses",
        Step::Events => "copying events",
        Step::DeadLetters => "copying dead letters",
        Step::Done => "checking",
    };
    format!("{doing}: {rows} of {of} rows")
}

fn as_text(report: &Report, aside: &str) -> String {
    let mut lines = Vec::new();
    if report.waited > 0 {
        let waited = count(report.waited, "event");
        lines.push(format!("{waited} waited in the source's log and moved to its file"));
    }
    if let Some(Copied { statuses, events, duplicates }) = report.copied {
        lines.push(format!("{} copied", count(statuses, "status row")));
        lines.push(format!(
            "{} copied, {duplicates} found in the target already",
            count(events, "event")
        ));
        lines.push(match report.dead_letters {
            0 => "no dead letters copied".to_owned(),
            some => format!("{} copied to {aside}", count(some, "dead letter")),
        });
    }
    let outbox = ("sending row", &report.outbox);
    for (what, compared) in [("status row", &report.statuses), ("event", &report.events), outbox] {
        if compared.rows == 0 && what == outbox.0 {
            continue;
        }
        lines.push(format!("{} compared: {}", count(compared.rows, what), result(compared)));
    }
    lines.extend(left_behind(report));
    lines.push(String::new());
    lines.join("\n")
}

fn result(compared: &Compared) -> String {
    let Compared { missing, differing, expired, .. } = compared;
    let found = match compared.is_whole() {
        true => "the target has all of them".to_owned(),
        false => format!("{missing} missing in the target, {differing} different"),
    };
    match expired {
        0 => found,
        some => format!("{found}, except for {some} that its [retention] has deleted"),
    }
}

/// What does not come along, and what to do about it.
fn left_behind(report: &Report) -> Vec<String> {
    let mut lines = vec![
        String::new(),
        format!(
            "The change feed is not copied. The source's ends at {}: a program that has read it to there continues at \
             the start of the target's.",
            report.feed
        ),
    ];
    if report.is_held {
        lines.push(
            "Sending is held here and in the source, so that nothing is sent twice. The new deployment sends once you \
             have run `offhook senders resume-all` there; do not serve the source again and resume it, too."
                .to_owned(),
        );
    }
    for forward in report.unforwarded.iter().filter(|forward| forward.is_some()) {
        lines.push(format!(
            "The source has not forwarded everything to `{}`: {} not tried yet, {} waiting for a retry, {} given up. The \
             target will not forward them. Start the source again until it has.",
            forward.name,
            count(forward.behind, "change"),
            forward.waiting,
            forward.given_up
        ));
    }
    if report.damaged > 0 {
        lines.push(format!(
            "{} of the source's log not copied: list and replay with `offhook local-log` and the source's \
             configuration, then copy again.",
            count(report.damaged, "damaged file")
        ));
    }
    lines
}

/// A line for each of the first rows that are not as they should be.
fn wrong(report: &Report) -> Vec<String> {
    let refused = report.refused.named.iter().map(|row| format!("refused: {row}"));
    let compared =
        report.statuses.named.iter().chain(&report.events.named).chain(&report.outbox.named);
    let compared = compared.cloned();
    refused.chain(compared).collect()
}

fn as_json(report: &Report) -> Value {
    let copied = report.copied.map(|copied| {
        json!({
            "statuses": copied.statuses,
            "events": copied.events,
            "duplicates": copied.duplicates,
            "dead_letters": report.dead_letters,
        })
    });
    let unforwarded = report.unforwarded.iter().map(|forward| {
        json!({
            "name": forward.name,
            "behind": forward.behind,
            "waiting": forward.waiting,
            "given_up": forward.given_up,
        })
    });
    json!({
        "source": report.source.display().to_string(),
        "waited": report.waited,
        "copied": copied,
        "refused": report.refused.rows,
        "statuses": report.statuses,
        "events": report.events,
        "outbox": report.outbox,
        "sending_held": report.is_held,
        "feed": report.feed,
        "unforwarded": unforwarded.collect::<Vec<_>>(),
        "damaged": report.damaged,
        "whole": report.is_whole(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named_and_what_expired_is_no_fault() {
        let compared =
            |missing, expired| Compared { rows: 9, missing, expired, ..Compared::default() };
        assert_eq!(result(&compared(0, 0)), "the target has all of them");
        assert_eq!(
            result(&compared(0, 2)),
            "the target has all of them, except for 2 that its [retention] has deleted"
        );
        assert_eq!(result(&compared(1, 0)), "1 missing in the target, 0 different");
    }
}
