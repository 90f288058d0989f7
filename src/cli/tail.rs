//! `offhook tail`: events as they are committed, until Ctrl-C.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde_json::Value;
use tokio::time::sleep;

use super::admin_client::{AdminArgs, AdminClient};
use super::kinds;
use super::output::{kind, say, text, time_of_day};
use crate::event::Kind;

/// Between two attempts to come back.
const PAUSE: Duration = Duration::from_millis(500);

/// The arguments.
#[derive(Debug, Args)]
pub(super) struct Tail {
    /// Only of this kind
    #[arg(long, value_parser = kinds::parser())]
    kind: Option<Kind>,
    /// Only those that report this status
    #[arg(long)]
    status: Option<String>,
    #[command(flatten)]
    admin: AdminArgs,
}

/// Prints a line for each.
///
/// # Errors
/// The server does not answer.
pub(super) async fn run(config: Option<PathBuf>, tail: Tail) -> anyhow::Result<()> {
    let admin = tail.admin.client(config)?;
    let wanted = [("kind", tail.kind.map(Kind::as_str)), ("status", tail.status.as_deref())];
    let query: Vec<_> =
        wanted.iter().filter_map(|(name, value)| Some((*name, (*value)?))).collect();
    let print = |line: &str| match tail.admin.for_people() {
        true => say(&show(&serde_json::from_str(line).unwrap_or_default())),
        false => say(&format!("{line}\n")),
    };
    let mut last = None;
    loop {
        // The server ends it now and then, and remembers what comes meanwhile.
        follow(&admin, &query, &mut last, print).await?;
        sleep(PAUSE).await;
    }
}

async fn follow(
    admin: &AdminClient,
    query: &[(&str, &str)],
    last: &mut Option<String>,
    mut print: impl FnMut(&str) -> std::io::Result<()>,
) -> anyhow::Result<()> {
    let mut answer = admin.stream("/api/live", query, last.as_deref()).await?;
    let mut unread = Vec::new();
    while let Ok(Some(bytes)) = answer.chunk().await {
        unread.extend_from_slice(&bytes);
        while let Some(end) = unread.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = unread.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            match line.trim_end().split_once(": ") {
                Some(("id", id)) => *last = Some(id.to_owned()),
                Some(("data", data)) => print(data)?,
                _ => {}
            }
        }
    }
    Ok(())
}

fn show(line: &Value) -> String {
    let again = if line["duplicate"] == true { "  duplicate" } else { "" };
    let error = match text(&line["error_code"]) {
        code if code.is_empty() => code,
        code => format!("  error {code}"),
    };
    let what = match &line["sid"] {
        Value::Null => text(&line["key"]),
        sid => text(sid),
    };
    let (at, kind) = (time_of_day(&line["at"]), kind(&line["kind"]));
    format!("{at}  {kind:<13} {:<12} {what}{error}{again}\n", text(&line["status"]))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_line_says_what_came() {
        let line = json!({
            "at": "2026-11-24T08:00:01.250000Z", "kind": "call", "status": "busy", "sid": "CA1",
            "key": "CA1-busy", "error_code": null, "duplicate": true,
        });
        assert_eq!(show(&line), "08:00:01.250  call          busy         CA1  duplicate\n");
    }
}
