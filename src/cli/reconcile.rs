//! `offhook reconcile`: asks Twilio about calls and messages without a final callback.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use super::admin_client::SendingArgs;
use super::output::{table, text};
use super::terminal::{outln, say};
use crate::clock;

/// The arguments.
#[derive(Debug, Args)]
pub(super) struct Reconcile {
    /// Only those whose first event is at least this old (15m, 2h, 7d); default: the first of outbound.reconcile_after_s
    #[arg(long, value_name = "AGE", value_parser = age)]
    older_than: Option<Duration>,
    /// Only list them
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    admin: SendingArgs,
}

fn age(text: &str) -> Result<Duration, &'static str> {
    clock::age(text).ok_or("it is not an age, such as 15m, 2h or 7d")
}

/// Has the server ask Twilio, or lists what it would ask for.
///
/// # Errors
/// The server does not answer.
pub(super) async fn run(config: Option<PathBuf>, asked: Reconcile) -> anyhow::Result<()> {
    let client = asked.admin.client(config)?;
    let seconds = asked.older_than.map(|age| age.as_secs());
    if asked.dry_run {
        let age = seconds.map(|seconds| seconds.to_string());
        let query: Vec<(&str, &str)> =
            age.iter().map(|age| ("older_than_s", age.as_str())).collect();
        let answer = client.json("/api/reconcile", &query).await?;
        return match asked.admin.for_people() {
            true => list(&answer),
            false => Ok(say(&format!("{answer}\n"))?),
        };
    }
    let answer = client.post("/api/reconcile", &json!({ "older_than_s": seconds })).await?;
    match (asked.admin.for_people(), answer["planned"].as_u64()) {
        (false, _) => say(&format!("{answer}\n"))?,
        (true, Some(0)) => outln!("nothing has waited that long for its end"),
        (true, planned) => {
            outln!("Twilio is asked for {}; two at a time", planned.unwrap_or_default());
        }
    }
    Ok(())
}

fn list(answer: &Value) -> anyhow::Result<()> {
    let statuses = answer["statuses"].as_array().map_or(&[][..], Vec::as_slice);
    if statuses.is_empty() {
        outln!("nothing has waited that long for its end");
        return Ok(());
    }
    let row = |status: &Value| {
        ["first_seen", "resource", "sid", "account"].map(|name| text(&status[name]))
    };
    let rows: Vec<_> = statuses.iter().map(row).collect();
    say(&table(["first heard of", "resource", "sid", "account"], &rows))?;
    if answer["more"] == true {
        outln!("and more");
    }
    Ok(())
}
