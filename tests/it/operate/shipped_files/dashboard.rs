//! The dashboard: every panel asks for what is there, and says so where there is nothing.

use serde_json::Value;

use super::{query, read, yaml};
use crate::harness::{Testbed, both_modes};
use crate::operate::metrics;

both_modes! {
    panels_ask_for_what_a_server_exports,
}

fn dashboard() -> Value {
    serde_json::from_str(&read("config/grafana/offhook.json")).expect("JSON")
}

/// All but the rows, which only have a title.
fn panels() -> Vec<Value> {
    let all = dashboard()["panels"].as_array().expect("panels").clone();
    all.into_iter().filter(|panel| panel["type"] != "row").collect()
}

#[test]
fn a_panel_without_data_says_so() {
    let panels = panels();
    assert!(panels.len() > 12, "the parts of the service each have one");
    for panel in panels {
        let says = panel.pointer("/fieldConfig/defaults/noValue").and_then(Value::as_str);
        assert!(says.is_some_and(|text| !text.is_empty()), "{}", panel["title"]);
        assert!(!panel["targets"].as_array().expect("queries").is_empty(), "{}", panel["title"]);
    }
}

#[test]
fn panels_have_ids_of_their_own_and_lie_side_by_side() {
    let all = dashboard()["panels"].as_array().expect("panels").clone();
    let number = |panel: &Value, name: &str| panel.pointer(name).and_then(Value::as_u64);
    let place = |panel: &Value| {
        let [x, y, w, h] = ["x", "y", "w", "h"]
            .map(|name| number(panel, &format!("/gridPos/{name}")).expect("a number"));
        (x..x + w, y..y + h)
    };
    for (at, panel) in all.iter().enumerate() {
        let (across, down) = place(panel);
        assert!(across.end <= 24, "{}", panel["title"]);
        for other in &all[at + 1..] {
            assert_ne!(number(panel, "/id"), number(other, "/id"), "{}", other["title"]);
            let (x, y) = place(other);
            let apart = x.end <= across.start || across.end <= x.start;
            let above = y.end <= down.start || down.end <= y.start;
            assert!(apart || above, "{} covers {}", panel["title"], other["title"]);
        }
    }
}

#[test]
fn grafana_finds_it_and_its_prometheus() {
    let provider = &yaml("config/grafana/provisioning/dashboards/offhook.yml")[0]["providers"][0];
    let source =
        &yaml("config/grafana/provisioning/datasources/prometheus.yml")[0]["datasources"][0];
    let volumes = yaml("docker-compose.yml")[0]["services"]["grafana"]["volumes"].to_string();
    let directory = provider["options"]["path"].as_str().expect("a path");
    assert!(volumes.contains(&format!("config/grafana/offhook.json:{directory}/")), "{volumes}");
    assert!(volumes.contains("config/grafana/provisioning:/etc/grafana/provisioning"));
    assert_eq!(source["type"], "prometheus");
}

async fn panels_ask_for_what_a_server_exports(mut testbed: Testbed) {
    testbed.settings = testbed.settings.clone().with_a_forward();
    let offhook = testbed.start();
    let exported = metrics::scrape(&offhook.client).await;
    for panel in panels() {
        for target in panel["targets"].as_array().expect("queries") {
            let expr = target["expr"].as_str().expect("a query");
            query::check(&panel["title"].to_string(), expr, &exported);
        }
    }
}
