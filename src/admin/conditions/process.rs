//! How this process and its backends are set.

use super::{Scene, Sign, minutes};
use crate::admin::console::words::number_of;
use crate::admin::verdict::name;

pub(super) fn durability(scene: &Scene<'_>) -> Vec<Sign> {
    let mut signs = Vec::new();
    for (backend, in_force) in scene.durability {
        if let Some(breach) = in_force.breach {
            signs.push(Sign::new(format!(
                "What {} has committed is not safe: {breach}.",
                name(backend)
            )));
        }
        let below = scene
            .series("offhook_durability_below_configured")
            .any(|(labels, value)| labels.get("backend") == *backend && value > 0.0);
        if below {
            signs.push(Sign::new(format!(
                "A crash of {} would lose events that were answered: {}.",
                name(backend),
                in_force.settings
            )));
        }
    }
    signs
}

pub(super) fn reload(scene: &Scene<'_>) -> Vec<Sign> {
    let text = "The configuration was to be reloaded, and is wrong: the one before is in force.";
    scene.vitals.now.reload_failed.then(|| Sign::new(text)).into_iter().collect()
}

pub(super) fn retiring_secret(scene: &Scene<'_>) -> Vec<Sign> {
    let retiring = scene.series("offhook_secret_retiring");
    retiring
        .filter_map(|(retiring, _)| {
            let same =
                |label: &str, labels: &super::Labels<'_>| labels.get(label) == retiring.get(label);
            let times = scene.rose(minutes(60), "offhook_secret_matches_total", |labels| {
                same("account", labels) && same("key_id", labels)
            });
            let text = format!(
                "Twilio still signs with {} of {}, which is retiring: {} in the last hour.",
                retiring.get("key_id"),
                retiring.get("account"),
                number_of(times, "callback", "callbacks")
            );
            (times > 0).then(|| Sign::new(text))
        })
        .collect()
}

pub(super) fn retention_held(scene: &Scene<'_>) -> Vec<Sign> {
    let held =
        scene.series("offhook_retention_held").map(|(labels, _)| labels.get("table").to_owned());
    held.map(|table| {
        let table = table.replace('_', " ");
        Sign::new(format!(
            "Nothing is deleted from {table}: a clock seems to be wrong. The log says which, and what to do."
        ))
    })
    .collect()
}

pub(super) fn retention(scene: &Scene<'_>) -> Vec<Sign> {
    const ERRORS: &str = "offhook_retention_errors_total";
    let failing = scene.series(ERRORS).filter_map(|(labels, _)| {
        let table = labels.get("table");
        let failed = scene.rose(minutes(15), ERRORS, |labels| labels.get("table") == table);
        (failed > 0).then(|| table.replace('_', " "))
    });
    failing
        .map(|table| {
            Sign::new(format!(
                "What is older than it may become is not deleted from {table}. The log has the reason."
            ))
        })
        .collect()
}
