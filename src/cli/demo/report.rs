//! The table of what was sent, answered and stored, each figure with what explains it.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::time::Duration;

use super::outcome::Outcome;
use crate::event::Resource;
use crate::traffic::{Traffic, Volume};

/// One figure a line.
pub(super) fn table(volume: Volume, traffic: &Traffic, outcome: &Outcome) -> String {
    let expected = &traffic.expected;
    let refused: usize = outcome.refused.values().sum();
    let mut rows = vec![
        row("sent", traffic.requests.len(), sent(volume, traffic)),
        row("accepted", outcome.accepted, "signed well, durable, answered with 200".to_owned()),
        row("refused", refused, list(&outcome.refused)),
        row("out of order", expected.out_of_order, "sent after one that happened later".to_owned()),
        row("duplicates absorbed", outcome.absorbed, "events sent twice, stored once".to_owned()),
        row("stored", outcome.events.len(), "events, each once".to_owned()),
    ];
    for resource in Resource::ALL {
        let statuses = outcome.by_status(resource);
        let name = format!("{}s", resource.as_str());
        rows.push(row(&name, statuses.values().sum(), list(&statuses)));
    }
    rows.push(row(
        "contradicted",
        expected.contradicted.len(),
        "messages reported undelivered and delivered: delivered wins".to_owned(),
    ));
    rows.push(format!(
        "  ack latency           p50 {}, p99 {}, max {}",
        millis(outcome.quantile(0.5)),
        millis(outcome.quantile(0.99)),
        millis(outcome.quantile(1.0)),
    ));
    rows.push(format!("  time                  {:.1} s", outcome.took.as_secs_f64()));
    rows.join("\n") + "\n"
}

fn sent(volume: Volume, traffic: &Traffic) -> String {
    let forged = traffic.requests.iter().filter(|request| request.forgery.is_some()).count();
    let repeats = traffic.expected.repeats;
    format!(
        "{} callbacks about {} calls, {} messages and more, {repeats} of them twice; {forged} forged",
        traffic.requests.len() - repeats - forged,
        volume.calls,
        volume.messages,
    )
}

fn row(name: &str, figure: usize, explanation: String) -> String {
    format!("  {name:<20} {figure:>6}   {explanation}")
}

fn list(counts: &BTreeMap<impl Display, usize>) -> String {
    let parts: Vec<String> = counts.iter().map(|(name, count)| format!("{name} {count}")).collect();
    parts.join(", ")
}

fn millis(took: Duration) -> String {
    format!("{:.2} ms", took.as_secs_f64() * 1e3)
}
