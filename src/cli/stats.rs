//! `offhook stats`: counts of what was stored, and how the server is doing.

use std::path::PathBuf;

use clap::Args;
use serde_json::Value;

use super::admin_client::AdminArgs;
use super::output::{say, table, text};

/// The arguments.
#[derive(Debug, Args)]
pub(super) struct Stats {
    /// How far back to count: a time (2026-11-24T08:00:00Z) or an age (15m, 2h, 7d)
    #[arg(long, value_name = "TIME", default_value = "1h")]
    since: String,
    #[command(flatten)]
    admin: AdminArgs,
}

/// Asks the server.
///
/// # Errors
/// The server does not answer.
pub(super) async fn run(config: Option<PathBuf>, stats: Stats) -> anyhow::Result<()> {
    let admin = stats.admin.client(config)?;
    let answer = admin.json("/api/stats", &[("since", &stats.since)]).await?;
    Ok(say(&match stats.admin.for_people() {
        true => show(&answer),
        false => format!("{answer}\n"),
    })?)
}

fn show(stats: &Value) -> String {
    let (store, process) = (&stats["store"], &stats["process"]);
    let mut shown = format!("The store since {}\n\n", text(&store["since"]));
    let mut rows = Vec::new();
    for (resource, statuses) in store["statuses"].as_object().into_iter().flatten() {
        for (status, count) in statuses.as_object().into_iter().flatten() {
            rows.push([resource.clone(), status.clone(), text(count)]);
        }
    }
    shown.push_str(&table(["what", "status now", "count"], &rows));
    let errors = store["errors"].as_array().into_iter().flatten();
    let rows: Vec<_> = errors.map(|error| [text(&error["code"]), text(&error["count"])]).collect();
    if !rows.is_empty() {
        shown.push_str(&format!("\n{}", table(["error", "count"], &rows)));
    }
    shown.push_str(&format!("\nThis process since {}\n\n", text(&process["since"])));
    let millis = |name: &str| {
        let seconds = process[name].as_f64();
        seconds.map_or("none".to_owned(), |seconds| format!("{:.1} ms", seconds * 1e3))
    };
    let rate = |name: &str| format!("{:.1}/s", process[name].as_f64().unwrap_or_default());
    let spool = match process["spool_events"].as_u64() {
        Some(events) => format!("{events} waiting"),
        None => "not in this process".to_owned(),
    };
    for (name, value) in [
        ("accepted", format!("{} ({})", process["accepted"], rate("accepted_per_second"))),
        ("refused", format!("{} ({})", process["refused"], rate("refused_per_second"))),
        ("latency", format!("{} median, {} p95", millis("latency_median"), millis("latency_p95"))),
        ("duplicates", text(&process["duplicates"])),
        ("to be stored", format!("{} waiting", known(&process["stream_depth"]))),
        ("spool", spool),
        ("dead letters", known(&process["dead_letters"])),
    ] {
        shown.push_str(&format!("{name:<13} {value}\n"));
    }
    for away in process["dependencies"].as_array().into_iter().flatten() {
        if let Some(since) = away["away"].as_str() {
            let (name, error) = (text(&away["name"]), text(&away["error"]));
            shown.push_str(&format!("{name} has been down since {since}: {error}\n"));
        }
    }
    shown
}

/// A number, or that it cannot be known.
fn known(value: &Value) -> String {
    if value.is_null() { "unknown".to_owned() } else { text(value) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_away_is_said_at_the_end() {
        let away = json!([{ "name": "redis", "away": "2026-11-24T02:58:00Z", "error": "refused" }]);
        let stats = json!({
            "store": {
                "since": "2026-11-24T08:00:00.000000Z", "events": {},
                "statuses": { "call": { "busy": 2 } }, "errors": [{ "code": "1", "count": 3 }],
            },
            "process": { "accepted": 7, "latency_p95": 0.0021, "dependencies": away },
        });
        let shown = show(&stats);
        for part in
            ["call  busy        2\n", "ERROR  COUNT\n1      3\n", "none median, 2.1 ms p95\n"]
        {
            assert!(shown.contains(part), "{part}: {shown}");
        }
        assert!(
            shown.contains("unknown waiting\n") && shown.contains("not in this process"),
            "{shown}"
        );
        assert!(
            shown.ends_with("redis has been down since 2026-11-24T02:58:00Z: refused\n"),
            "{shown}"
        );
    }
}
