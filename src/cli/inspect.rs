//! `offhook inspect`: what happened to one call, message, recording, conference or transcription.

use std::path::PathBuf;

use clap::Args;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::admin_client::AdminArgs;
use super::output::{count, kind, say, table, text, time_of_day};

/// The arguments.
#[derive(Debug, Args)]
pub(super) struct Inspect {
    /// The SID of a call, message, recording, conference or transcription
    sid: String,
    /// The account's SID, if several accounts have reported it
    #[arg(long, value_name = "SID")]
    account: Option<String>,
    #[command(flatten)]
    admin: AdminArgs,
}

/// Asks the server for the timeline.
///
/// # Errors
/// The server does not answer, or knows nothing of the SID.
pub(super) async fn run(config: Option<PathBuf>, inspect: Inspect) -> anyhow::Result<()> {
    let sid = utf8_percent_encode(&inspect.sid, NON_ALPHANUMERIC);
    let admin = inspect.admin.client(config)?;
    let account = inspect.account.as_deref().map(|account| ("account", account));
    let timeline = admin.json(&format!("/api/timeline/{sid}"), account.as_slice()).await?;
    Ok(say(&match inspect.admin.for_people() {
        true => show(&timeline),
        false => format!("{timeline}\n"),
    })?)
}

fn show(timeline: &Value) -> String {
    let mut shown = String::new();
    if let status @ Value::Object(_) = &timeline["status"] {
        let what =
            ["resource", "status", "from", "to", "direction", "duration", "error_code", "account"];
        shown.push_str(&format!("{:<11} {}\n", "sid", text(&timeline["sid"])));
        for name in what.into_iter().filter(|name| !status[name].is_null()) {
            shown.push_str(&format!("{:<11} {}\n", name.replace('_', " "), text(&status[name])));
        }
        for (name, value) in status["own"].as_object().into_iter().flatten() {
            let values = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
            for value in values {
                shown.push_str(&format!("{:<11} {name}={}\n", "own", text(value)));
            }
        }
        if status["contradicted"] == true {
            shown.push_str("Terminal statuses that exclude each other were reported.\n");
        }
        shown.push('\n');
    }
    let events = timeline["events"].as_array().map(Vec::as_slice).unwrap_or_default();
    let rows: Vec<_> = events.iter().map(row).collect();
    shown.push_str(&table(["received", "kind", "status", "delay", "error", "notes"], &rows));
    if timeline["truncated"] == true {
        shown.push_str("… and more, which the table `events` has\n");
    }
    shown
}

fn row(event: &Value) -> [String; 6] {
    let delay = event["delay"].as_f64().map_or(String::new(), |delay| format!("{delay:.1} s"));
    let again = event["came_again"].as_array().map_or(0, Vec::len);
    let mut notes = Vec::new();
    if event["out_of_order"] == true {
        notes.push("out of order".to_owned());
    }
    if again > 0 {
        notes.push(format!("{} absorbed", count(again as u64, "duplicate")));
    }
    let day = event["received_at"].as_str().and_then(|at| at.get(..10)).unwrap_or_default();
    [
        format!("{day} {}", time_of_day(&event["received_at"])),
        kind(&event["kind"]),
        text(&event["status"]),
        delay,
        text(&event["error_code"]),
        notes.join(", "),
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_timeline_is_a_table() {
        let event = json!({
            "received_at": "2026-11-24T08:00:01.250000Z", "kind": "message", "status": "failed",
            "delay": null, "error_code": "30003", "out_of_order": true,
            "came_again": ["2026-11-24T08:00:02.000000Z"],
        });
        let status = json!({
            "resource": "message", "status": "failed", "to": "+15550100",
            "own": { "order_id": ["A-1", "A-2"] },
        });
        let shown = show(&json!({ "sid": "SM1", "status": status, "events": [event] }));
        assert!(shown.starts_with("sid         SM1\nresource    message\n"), "{shown}");
        assert!(shown.contains("own         order_id=A-1\nown         order_id=A-2\n"), "{shown}");
        let line = "2026-11-24 08:00:01.250  message  failed         30003  \
                    out of order, 1 duplicate absorbed\n";
        assert!(shown.ends_with(line), "{shown}");
    }
}
