//! The figures of the last hour, each with a small drawing.

use std::time::Duration;

use maud::{Markup, html};

use super::since;
use crate::admin::Admin;
use crate::admin::console::format::{count, number_of, rate, seconds};
use crate::admin::console::plot::plot;
use crate::admin::last_hour::{Sample, Vitals};
use crate::recent::events::EventStage;

/// Those that this process has.
pub(super) fn figures(admin: &Admin, vitals: &Vitals) -> Markup {
    html! {
        section class="figures" aria-label="Figures" {
            @if vitals.now.receives { (received(vitals)) }
            @if admin.live.stage() == EventStage::Stored { (stored(vitals)) }
            (waiting(vitals))
        }
    }
}

fn received(vitals: &Vitals) -> Markup {
    let counted = |of: fn(&Sample) -> u64| {
        let number = of(&vitals.now).saturating_sub(of(&vitals.hour));
        format!("mean over a minute; {} since {}", count(number), since(vitals))
    };
    let accepted = per_second(vitals, Sample::accepted);
    let refused = per_second(vitals, Sample::refused);
    // Over a minute: a few answers make no quantile.
    let p95 =
        between(vitals, 6, |before, after| after.answered.since(&before.answered).quantile(0.95));
    let answered = vitals.p95.map_or("–".to_owned(), seconds);
    let median = vitals.median.map_or("no answer in 5 minutes".to_owned(), |median| {
        format!("median {}, over 5 minutes", seconds(median))
    });
    html! {
        (figure("Callbacks per second", &rate(vitals.per_second),
            &counted(Sample::accepted), &plot("Callbacks per second", &accepted, rate)))
        (figure("Answer time, p95", &answered, &median,
            &plot("Answer time, p95", &p95, seconds)))
        (figure("Refused per second", &rate(vitals.refused_per_second),
            &counted(Sample::refused), &plot("Refused per second", &refused, rate)))
    }
}

fn stored(vitals: &Vitals) -> Markup {
    let took = vitals.now.at.since(vitals.minute.at).max(Duration::from_secs(1));
    let now = vitals.now.stored.saturating_sub(vitals.minute.stored) as f64 / took.as_secs_f64();
    let duplicates = vitals.now.duplicates.saturating_sub(vitals.hour.duplicates);
    let duplicates = number_of(duplicates, "duplicate absorbed", "duplicates absorbed");
    let values = per_second(vitals, |sample| sample.stored);
    let plot = plot("Stored per second", &values, rate);
    figure("Stored per second", &rate(now), &duplicates, &plot)
}

fn waiting(vitals: &Vitals) -> Markup {
    let plot = |name: &str, of: fn(&Sample) -> u64| {
        let values: Vec<_> = vitals.samples.iter().map(|sample| Some(of(sample) as f64)).collect();
        plot(name, &values, |value| count(value.round() as u64))
    };
    let Sample { depth, spool, dead_letters, oldest, .. } = vitals.now;
    let (unstored, log) = (vitals.unstored(depth), vitals.log().as_str());
    let oldest = match unstored {
        None => "Redis does not answer".to_owned(),
        Some(0) => "waiting to be stored".to_owned(),
        Some(_) => format!("waiting to be stored, the oldest for {}", seconds(oldest)),
    };
    let waiting = format!("Waiting in {log}");
    html! {
        (figure(&waiting, &known(unstored), &oldest, &plot(&waiting, |sample| sample.depth)))
        @if vitals.has_spool() {
            (figure("Waiting in the spool", &count(spool), "on the disk of this process",
                &plot("Waiting in the spool", |sample| sample.spool)))
        }
        (figure("Dead letters", &known(vitals.unstored(dead_letters)), "events that could not be stored",
            &plot("Dead letters", |sample| sample.dead_letters)))
    }
}

/// A number, or that it cannot be known right now.
fn known(number: Option<u64>) -> String {
    number.map_or("unknown".to_owned(), count)
}

fn figure(name: &str, value: &str, note: &str, plot: &Markup) -> Markup {
    html! {
        article class="figure" {
            h2 { (name) }
            p class="value" { (value) }
            p class="note" { (note) }
            (plot)
        }
    }
}

fn per_second(vitals: &Vitals, of: fn(&Sample) -> u64) -> Vec<Option<f64>> {
    between(vitals, 1, |before, after| {
        let took = after.at.since(before.at).as_secs_f64().max(1.0);
        Some(of(after).saturating_sub(of(before)) as f64 / took)
    })
}

/// Something of each pair of samples that lie so many apart.
fn between(
    vitals: &Vitals,
    apart: usize,
    of: impl Fn(&Sample, &Sample) -> Option<f64>,
) -> Vec<Option<f64>> {
    let pairs = vitals.samples.iter().zip(vitals.samples.iter().skip(apart));
    pairs.map(|(before, after)| of(before, after)).collect()
}
