//! What operators are given is read by what will read it, and speaks of what is there: alerts, the
//! dashboard, and the ways to run offhook.

mod alerts;
mod commands;
mod compose;
mod dashboard;
mod kubernetes;
mod query;
mod releases;
mod systemd;

use std::path::PathBuf;

/// A file of the repository.
fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// Its text.
fn read(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The documents of a file of YAML.
fn yaml(name: &str) -> Vec<serde_json::Value> {
    let text = read(name);
    let documents = serde_yaml_ng::Deserializer::from_str(&text).map(|document| {
        let mut value: serde_yaml_ng::Value = serde::Deserialize::deserialize(document)?;
        value.apply_merge()?;
        serde_yaml_ng::from_value(value)
    });
    documents.collect::<Result<_, _>>().unwrap_or_else(|error| panic!("{name}: {error}"))
}
