//! What became of calls and messages.

use super::{Scene, Sign, minutes};
use crate::admin::console::words::{count, number_of};

/// Of fewer, a share says nothing.
const ENOUGH: u64 = 50;

pub(super) fn delivery_failures(scene: &Scene<'_>) -> Vec<Sign> {
    let ended = |statuses: &'static [&'static str]| {
        scene.rose(minutes(60), "offhook_outcomes_total", |labels| {
            labels.get("resource") == "message" && statuses.contains(&labels.get("status"))
        })
    };
    let failed = ended(&["failed", "undelivered"]);
    let all = ended(&["delivered", "failed", "undelivered"]);
    let share = failed as f64 / all.max(1) as f64;
    if all <= ENOUGH || share <= 0.02 {
        return Vec::new();
    }
    vec![Sign::new(format!(
        "{:.0} % of the messages of the last hour were not delivered: {} of {}.",
        share * 100.0,
        count(failed),
        count(all)
    ))]
}

pub(super) fn concurrent_calls(scene: &Scene<'_>) -> Vec<Sign> {
    let (calls, limit) =
        (scene.gauge("offhook_calls_in_progress"), scene.gauge("offhook_calls_limit"));
    if limit <= 0.0 || calls / limit <= 0.8 {
        return Vec::new();
    }
    vec![Sign::new(format!(
        "{} of the {} calls that the account may have are in progress. At the limit, Twilio refuses new ones.",
        count(calls as u64),
        count(limit as u64)
    ))]
}

pub(super) fn contradicted(scene: &Scene<'_>) -> Vec<Sign> {
    let times = scene.rose(minutes(60), "offhook_contradicted_statuses_total", |_| true);
    let text = format!(
        "Twilio contradicted itself about {} in the last hour. Both statuses are in the history.",
        number_of(times, "call or message", "calls or messages")
    );
    (times > 0).then(|| Sign::new(text)).into_iter().collect()
}

pub(super) fn differing_duplicates(scene: &Scene<'_>) -> Vec<Sign> {
    let times = scene.rose(minutes(60), "offhook_differing_duplicates_total", |_| true);
    let text = format!(
        "{} in the last hour said something else than the event that is stored under the same name: only \
         the first is kept. The log has their keys. Please report it.",
        number_of(times, "duplicate", "duplicates")
    );
    (times > 0).then(|| Sign::new(text)).into_iter().collect()
}
