//! How this process and its backends are set.

use super::{Evidence, Sign, minutes};
use crate::admin::console::format::number_of;
use crate::admin::last_hour::SecretName;
use crate::admin::verdict::backend_name;

pub(super) fn durability(evidence: &Evidence<'_>) -> Vec<Sign> {
    let mut signs = Vec::new();
    for (backend, in_force) in evidence.durability {
        if let Some(breach) = in_force.breach {
            signs.push(Sign::new(format!(
                "What {} has committed is not safe: {breach}.",
                backend_name(*backend, evidence.vitals.log())
            )));
        }
        if evidence.vitals.now.below.contains(backend) {
            signs.push(Sign::new(format!(
                "A crash of {} would lose events that were answered: {}.",
                backend_name(*backend, evidence.vitals.log()),
                in_force.settings
            )));
        }
    }
    signs
}

pub(super) fn reload(evidence: &Evidence<'_>) -> Vec<Sign> {
    let text = "The last reload failed: the configuration has an error, which the log names. The previous one stays in \
                force.";
    evidence.vitals.now.reload_failed.then(|| Sign::new(text)).into_iter().collect()
}

pub(super) fn retiring_secret(evidence: &Evidence<'_>) -> Vec<Sign> {
    let sign = |secret: &SecretName| {
        let times = evidence.rose(minutes(60), |sample| sample.secret_matches.get(secret));
        let SecretName { account, key_id } = secret;
        let text = format!(
            "Twilio still signs with {key_id} of {account}, which is retiring: {} in the last hour.",
            number_of(times, "callback", "callbacks")
        );
        (times > 0).then(|| Sign::new(text))
    };
    evidence.vitals.now.retiring.iter().filter_map(sign).collect()
}

pub(super) fn retention_held(evidence: &Evidence<'_>) -> Vec<Sign> {
    let sign = |table: &&str| {
        let table = table.replace('_', " ");
        Sign::new(format!(
            "Nothing is deleted from {table}: a clock seems to be wrong. The log says which one, and what to do."
        ))
    };
    evidence.vitals.now.retention_held.iter().map(sign).collect()
}

pub(super) fn retention(evidence: &Evidence<'_>) -> Vec<Sign> {
    let sign = |table: &&'static str| {
        let failed = evidence.rose(minutes(15), |sample| sample.retention_errors.get(table));
        let table = table.replace('_', " ");
        let text = format!("Old rows of {table} cannot be deleted. The log has the reason.");
        (failed > 0).then(|| Sign::new(text))
    };
    evidence.vitals.now.retention_errors.labels().filter_map(sign).collect()
}
