//! What does not reach the URLs that it is forwarded to.

use std::time::Duration;

use super::{Evidence, Sign, minutes};
use crate::admin::console::format::{number_of, seconds};
use crate::admin::last_hour::ForwardSample;
use crate::backend::Dependency;
use crate::backend::forwards::Disabled;

/// An endpoint that keeps up is seconds behind.
const LATE_S: f64 = 600.0;

/// A sign for each forward of which `look` says something.
fn each(evidence: &Evidence<'_>, look: impl Fn(&ForwardSample) -> Option<String>) -> Vec<Sign> {
    evidence.vitals.now.forwards.iter().filter_map(look).map(Sign::new).collect()
}

/// By how much a count of a forward rose within a time.
fn rose(
    evidence: &Evidence<'_>,
    name: &str,
    within: Duration,
    count: fn(&ForwardSample) -> u64,
) -> u64 {
    evidence.rose(within, |sample| {
        sample.forwards.iter().find(|forward| forward.name == name).map_or(0, count)
    })
}

pub(super) fn disabled(evidence: &Evidence<'_>) -> Vec<Sign> {
    each(evidence, |forward| {
        let why = match forward.disabled? {
            // Who said so knows.
            Disabled::Operator => return None,
            Disabled::Gone => "its endpoint answered 410",
            Disabled::Failing => "every request to its endpoint had failed for too long",
            Disabled::OtherFeed => "this store is not the one that it has read so far",
        };
        let name = &forward.name;
        Some(format!("Nothing is forwarded to {name}: {why}. Fix the cause, then enable it."))
    })
}

pub(super) fn cut(evidence: &Evidence<'_>) -> Vec<Sign> {
    each(evidence, |forward| {
        let name = &forward.name;
        let times = rose(evidence, name, minutes(60), |forward| forward.cut);
        let text = format!(
            "Retention deleted changes before they were forwarded to {name}. Its endpoint never gets them."
        );
        (times > 0).then_some(text)
    })
}

pub(super) fn errors(evidence: &Evidence<'_>) -> Vec<Sign> {
    // That the store does not answer is said elsewhere.
    if evidence.away(Dependency::Postgres) || evidence.away(Dependency::Sqlite) {
        return Vec::new();
    }
    each(evidence, |forward| {
        let name = &forward.name;
        let failed = rose(evidence, name, minutes(2), |forward| forward.store_errors);
        let text = format!(
            "Forward {name} failed to read or write what it has done {} in the last 2 minutes. The log has the reason.",
            number_of(failed, "time", "times")
        );
        (failed > 0).then_some(text)
    })
}

pub(super) fn down(evidence: &Evidence<'_>) -> Vec<Sign> {
    each(evidence, |forward| {
        let waiting = number_of(forward.waiting, "change waits", "changes wait");
        let name = &forward.name;
        let text =
            format!("The endpoint of forward {name} takes nothing. {waiting}; nothing is lost.");
        forward.down.then_some(text)
    })
}

pub(super) fn late(evidence: &Evidence<'_>) -> Vec<Sign> {
    each(evidence, |forward| {
        let ForwardSample { name, lag, down, .. } = forward;
        let text = format!("Forward {name} is {} behind what is stored.", seconds(*lag));
        (*lag > LATE_S && !down).then_some(text)
    })
}

pub(super) fn given_up(evidence: &Evidence<'_>) -> Vec<Sign> {
    each(evidence, |forward| {
        let name = &forward.name;
        let given_up = rose(evidence, name, minutes(60), |forward| forward.given_up);
        let text = format!(
            "{} given up in the last hour: the endpoint of forward {name} did not take them. They can be replayed.",
            number_of(given_up, "change was", "changes were")
        );
        (given_up > 0).then_some(text)
    })
}
