//! The table of what was sent, answered and stored, each figure with what explains it.

use std::collections::BTreeMap;
use std::fmt::Display;

use serde_json::{Value, json};

use super::messages::{self, Messages};
use super::outcome::Outcome;
use crate::event::Resource;
use crate::lab::load::Quantiles;
use crate::lab::traffic::Traffic;

/// One figure a line.
pub(super) fn table(traffic: &Traffic, outcome: &Outcome, messages: &Messages) -> String {
    let expected = &traffic.expected;
    let refused: usize = outcome.refused.values().sum();
    let mut rows = vec![
        row("sent", traffic.requests.len(), sent(traffic)),
        row(
            "accepted",
            outcome.accepted,
            "correctly signed, durable, answered with 200".to_owned(),
        ),
        row("refused", refused, list(&outcome.refused)),
        row(
            "out of order",
            expected.out_of_order,
            "sent after an event that happened later".to_owned(),
        ),
        row("duplicates absorbed", outcome.absorbed, "events sent twice, stored once".to_owned()),
        row("stored", outcome.events.len(), stored(traffic)),
    ];
    for resource in Resource::ALL {
        let statuses = outcome.by_status(resource);
        if !statuses.is_empty() {
            let name = format!("{}s", resource.as_str());
            rows.push(row(&name, statuses.values().sum(), list(&statuses)));
        }
    }
    rows.push(row(
        "contradicted",
        expected.contradicted.len(),
        "messages reported undelivered and delivered: delivered wins".to_owned(),
    ));
    rows.extend(sending(messages));
    let Quantiles { p50, p99, max, .. } = outcome.latencies;
    // A debug build is what a newcomer waits least for, and not what one would judge offhook by.
    let build = if cfg!(debug_assertions) { " (a debug build: --release is faster)" } else { "" };
    rows.push(format!(
        "  ack latency           p50 {p50:.2} ms, p99 {p99:.2} ms, max {max:.2} ms{build}"
    ));
    let (hour, sending) = (outcome.took.as_secs_f64(), messages.took.as_secs_f64());
    rows.push(format!("  time                  {hour:.1} s, and {sending:.1} s to send"));
    rows.join("\n") + "\n"
}

/// Whether all is well, below the table.
pub(super) fn verdict(wrong: &[String]) -> String {
    match wrong {
        [] => "\nEvery event that was acknowledged is stored once, and every status is right.\n\
               Every message that the pretend Twilio took is there once, and its outcome is known.\n"
            .to_owned(),
        wrong => wrong.iter().map(|problem| format!("  WRONG: {problem}\n")).collect(),
    }
}

/// The same for programs.
pub(super) fn figures(
    traffic: &Traffic,
    outcome: &Outcome,
    messages: &Messages,
    seed: u64,
    wrong: &[String],
) -> Value {
    let statuses = Resource::ALL.map(|resource| (resource.as_str(), outcome.by_status(resource)));
    json!({
        "seed": seed,
        "sent": traffic.requests.len(),
        "accepted": outcome.accepted,
        "refused": outcome.refused,
        "out_of_order": traffic.expected.out_of_order,
        "duplicates_absorbed": outcome.absorbed,
        "stored": outcome.events.len(),
        "statuses": BTreeMap::from(statuses),
        "contradicted": traffic.expected.contradicted.len(),
        "sending": {
            "asked": messages.asked,
            "requests": messages.requests,
            "throttled": messages.throttled,
            "unanswered": messages.unanswered,
            "refused": messages.refused,
            "at_twilio": messages.at_twilio,
            "outcomes": messages.outcomes(),
            "seconds": rounded(messages.took.as_secs_f64()),
        },
        "latency_ms": outcome.latencies,
        "seconds": rounded(outcome.took.as_secs_f64()),
        "wrong": wrong,
    })
}

/// What was sent through the pretend Twilio.
fn sending(messages: &Messages) -> [String; 3] {
    let Messages { requests, throttled, unanswered, refused, .. } = messages;
    let rate = messages::RATE;
    [
        row(
            "asked to send",
            messages.asked,
            format!("{rate} a second: {requests} requests, of which {throttled} met a 429"),
        ),
        row(
            "messages at Twilio",
            messages.at_twilio,
            format!("answers lost on their way {unanswered}, messages refused {refused}"),
        ),
        row(
            "notifications",
            messages.outcomes().values().sum(),
            format!("{}: by the callbacks that came back", list(&messages.outcomes())),
        ),
    ]
}

fn rounded(seconds: f64) -> f64 {
    (seconds * 10.0).round() / 10.0
}

fn sent(traffic: &Traffic) -> String {
    let of = |wanted| {
        traffic.expected.statuses.values().filter(|(resource, _)| *resource == wanted).count()
    };
    format!(
        "{} callbacks about {} calls, {} messages and more, {} of them twice; {} forged",
        callbacks(traffic),
        of(Resource::Call),
        of(Resource::Message),
        traffic.expected.repeats,
        forged(traffic),
    )
}

fn stored(traffic: &Traffic) -> String {
    // An array of Event Streams is one callback and several events.
    let more = traffic.expected.stored() - callbacks(traffic);
    format!("events, each once: one for each callback, and {more} more in those of Event Streams")
}

/// Those that are not forged, each once.
fn callbacks(traffic: &Traffic) -> usize {
    traffic.requests.len() - traffic.expected.repeats - forged(traffic)
}

fn forged(traffic: &Traffic) -> usize {
    traffic.requests.iter().filter(|request| request.forgery.is_some()).count()
}

fn row(name: &str, figure: usize, explanation: String) -> String {
    format!("  {name:<20} {figure:>6}   {explanation}")
}

fn list(counts: &BTreeMap<impl Display, usize>) -> String {
    let parts: Vec<String> = counts.iter().map(|(name, count)| format!("{name} {count}")).collect();
    parts.join(", ")
}
