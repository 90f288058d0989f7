//! Campaigns and their preflight, as people read them.

use std::fmt::Write as _;

use serde_json::Value;

use crate::cli::admin_client::SendingArgs;
use crate::cli::output::{table, text};

/// Campaigns as a table.
pub(super) fn list(answer: &Value, admin: &SendingArgs) -> String {
    if !admin.for_people() {
        return format!("{answer}\n");
    }
    let keys = ["id", "name", "state", "recipients", "handed_over", "invalid", "created_at"];
    let rows = answer["campaigns"].as_array().into_iter().flatten();
    let rows: Vec<_> = rows.map(|it| keys.map(|key| text(&it[key]))).collect();
    let names = ["id", "name", "state", "recipients", "handed over", "invalid", "created"];
    let more = answer["next"].as_str().map(|next| format!("more: --after {next}\n"));
    table(names, &rows) + &more.unwrap_or_default()
}

/// A campaign, and how far it is.
pub(super) fn shown(answer: &Value, admin: &SendingArgs) -> String {
    if !admin.for_people() {
        return format!("{answer}\n");
    }
    let mut shown = String::new();
    for key in [
        "id",
        "name",
        "state",
        "reason",
        "purpose",
        "route",
        "sender",
        "recipients",
        "doubles",
        "invalid",
        "handed_over",
        "spent",
        "cost_cap",
        "currency",
        "created_at",
        "started_at",
        "deadline",
        "finished_at",
    ] {
        let value = text(&answer[key]);
        if !value.is_empty() {
            let _ = writeln!(shown, "{key:11} {value}");
        }
    }
    if answer["evidence"].is_object() {
        let _ = writeln!(shown, "{:11} {}", "evidence", evidence(answer));
    }
    let rows = standing(&answer["progress"]);
    if rows.is_empty() {
        shown
    } else {
        shown + "\n" + &table(["recipients", "are", "because of"], &rows)
    }
}

/// What a campaign has stopped itself for.
pub(super) fn evidence(answer: &Value) -> String {
    let [of, failed, opted_out, filtered] =
        ["of", "failed", "opted_out", "filtered"].map(|key| text(&answer["evidence"][key]));
    format!(
        "of the last {of} recipients {failed} failed, {opted_out} opted out, {filtered} were filtered"
    )
}

/// How many recipients stand where, and why.
fn standing(progress: &Value) -> Vec<[String; 3]> {
    let mut rows = Vec::new();
    if progress["waiting"].as_u64().is_some_and(|waiting| waiting > 0) {
        rows.push([text(&progress["waiting"]), "waiting".to_owned(), String::new()]);
    }
    for (gate, count) in progress["held"].as_object().into_iter().flatten() {
        rows.push([text(count), "held".to_owned(), gate.clone()]);
    }
    let counts = ["ended", "notifications"].into_iter().flat_map(|key| progress[key].as_array());
    rows.extend(
        counts.flatten().map(|it| ["recipients", "state", "reason"].map(|key| text(&it[key]))),
    );
    rows
}

/// What a campaign would do.
pub(super) fn preflight(answer: &Value, admin: &SendingArgs) -> String {
    if !admin.for_people() {
        return format!("{answer}\n");
    }
    let mut shown = String::new();
    let mut line = |name: &str, value: String| {
        if !value.is_empty() {
            let _ = writeln!(shown, "{name:15} {value}");
        }
    };
    let money = |value: &Value| match value.as_str() {
        Some(amount) => format!("{amount} {}", text(&answer["currency"])),
        None => "not known: [campaigns.prices]".to_owned(),
    };
    line("recipients", text(&answer["recipients"]));
    line("doubles", text(&answer["doubles"]));
    line("invalid", text(&answer["invalid"]));
    line("held now", by_gate(&answer["held"]));
    line("refused now", by_gate(&answer["refused"]));
    line("segments", text(&answer["segments"]));
    line("cost", money(&answer["cost"]));
    line("cost cap", text(&answer["cost_cap"]));
    let [sender, rate, lasts] =
        ["sender", "rate_per_second", "lasts_s"].map(|key| text(&answer["sender"][key]));
    line("sender", format!("{sender}, {rate} per second, takes {}", time(&lasts)));
    line("last leaves", text(&answer["last_leaves_at"]));
    line("deadline", text(&answer["deadline"]));
    line("late", text(&answer["late"]));
    let worst = &answer["worst_case"];
    if worst["steps"].as_array().is_some_and(|steps| steps.len() > 1) || worst["calls"] != 0 {
        let [calls, hours] = ["calls", "call_hours"].map(|key| text(&worst[key]));
        line("at worst", format!("{calls} calls in {hours} hours; {}", money(&worst["cost"])));
    }
    for warning in answer["warnings"].as_array().into_iter().flatten() {
        line("warning", text(warning));
    }
    shown
}

fn by_gate(gates: &Value) -> String {
    let gates = gates.as_object().into_iter().flatten();
    gates.map(|(gate, count)| format!("{count} by {gate}")).collect::<Vec<_>>().join(", ")
}

/// Seconds as people say them.
pub(super) fn time(seconds: &str) -> String {
    let seconds: u64 = seconds.parse().unwrap_or_default();
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        _ => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
    }
}
