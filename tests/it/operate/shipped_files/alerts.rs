//! The alerts: `promtool` takes them, and they are raised by what they are for.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use offhook::admin;
use offhook::inbound::Refusal;
use serde_json::Value;

use super::{path, query, yaml};
use crate::harness::{Testbed, both_modes};
use crate::operate::metrics;
use crate::services::tool;

both_modes! {
    alerts_ask_for_what_a_server_exports,
}

const RULES: &str = "config/prometheus/alerts.yml";

fn promtool(program: &Path, arguments: &[&str]) {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(path("config/prometheus"))
        .output()
        .expect("it can be started");
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    let (said, complained) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "promtool {arguments:?}:\n{said}\n{complained}");
}

#[test]
fn prometheus_takes_the_rules_and_its_configuration() {
    let program = tool!("promtool");
    promtool(&program, &["check", "rules", "alerts.yml"]);
    // The token's file is there only where it runs.
    promtool(&program, &["check", "config", "--syntax-only", "prometheus.yml"]);
}

#[test]
fn each_alert_is_raised_by_what_it_is_for() {
    let program = tool!("promtool");
    promtool(&program, &["test", "rules", "alerts_test.yml", "alerts_silence_test.yml"]);
}

fn rules() -> Vec<Value> {
    let groups = yaml(RULES).remove(0)["groups"].as_array().expect("groups").clone();
    groups.iter().flat_map(|group| group["rules"].as_array().expect("rules").clone()).collect()
}

fn text<'a>(rule: &'a Value, pointer: &str) -> &'a str {
    rule.pointer(pointer).and_then(Value::as_str).unwrap_or_else(|| panic!("{pointer} of {rule}"))
}

/// Where an alert leads, without the section: to what an external label says, else to a process of the job that runs,
/// else to the repository.
const RUNBOOK: &str = concat!(
    "{{ with $externalLabels.offhook_runbook_url }}{{ . }}{{ else }}",
    "{{ with printf \"offhook_build_info{job=%q}\" $labels.job | query }}",
    "http://{{ . | first | label \"instance\" }}/help/operations{{ else }}",
    env!("CARGO_PKG_REPOSITORY"),
    "/blob/main/docs/operations.md{{ end }}{{ end }}#"
);

#[test]
fn each_alert_is_tested_and_says_what_to_do() {
    let tests = super::read("config/prometheus/alerts_test.yml")
        + &super::read("config/prometheus/alerts_silence_test.yml");
    let elsewhere = admin::ELSEWHERE.iter().map(|(alert, _, section)| (*alert, *section));
    let named = admin::alerts().map(|(alert, _, section)| (alert, section));
    let sections: BTreeMap<_, _> = named.chain(elsewhere).collect();
    for rule in rules() {
        let name = text(&rule, "/alert");
        assert!(tests.contains(name), "{name} is not tested");
        let link = text(&rule, "/annotations/runbook_url");
        let section = link.strip_prefix(RUNBOOK).unwrap_or_else(|| panic!("{name}: {link}"));
        assert_eq!(sections.get(name), Some(&section), "{name}: the console leads elsewhere");
        let severity = text(&rule, "/labels/severity");
        assert!(["critical", "warning", "info"].contains(&severity), "{name}: {severity}");
        for annotation in ["summary", "description"] {
            assert!(!text(&rule, &format!("/annotations/{annotation}")).is_empty(), "{name}");
        }
    }
}

/// So that the page never says that all is well while somebody is woken.
#[test]
fn each_alert_is_a_condition_that_the_verdict_names() {
    let rules = rules();
    let severity = |rule: &Value| text(rule, "/labels/severity").to_owned();
    let mut alerts: BTreeMap<_, _> =
        rules.iter().map(|rule| (text(rule, "/alert").to_owned(), severity(rule))).collect();
    for (alert, why, _) in admin::ELSEWHERE {
        assert!(alerts.remove(*alert).is_some() && !why.is_empty(), "{alert} is no alert");
    }
    let named: BTreeMap<_, _> = admin::alerts()
        .map(|(alert, severity, _)| (alert.to_owned(), severity.as_str().to_owned()))
        .collect();
    assert_eq!(named, alerts);
}

/// What is refused and is in no alert would be lost without a word.
#[test]
fn each_reason_to_refuse_is_in_an_alert_or_is_noise() {
    let rules = rules();
    for refusal in Refusal::ALL {
        let reason = refusal.as_str();
        // Scanners, and probes at the wrong path.
        let noise = ["unknown_route", "method_not_allowed"].contains(&reason);
        let asked = rules.iter().any(|rule| {
            let mut words = text(rule, "/expr").split(|c: char| !c.is_alphanumeric() && c != '_');
            words.any(|word| word == reason)
        });
        assert_ne!(asked, noise, "{reason}");
    }
}

async fn alerts_ask_for_what_a_server_exports(mut testbed: Testbed) {
    testbed.settings = testbed.settings.clone().with_a_forward();
    let offhook = testbed.start();
    let exported = metrics::scrape(&offhook.client).await;
    for rule in rules() {
        query::check(text(&rule, "/alert"), text(&rule, "/expr"), &exported);
    }
}
