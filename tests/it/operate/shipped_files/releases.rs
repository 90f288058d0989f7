//! The workflows and what a release consists of: they name what is there, and the versions agree.

use std::process::Command;

use serde_json::Value;

use super::{path, read, yaml};
use crate::services::tool;

const WORKFLOWS: [&str; 2] = [".github/workflows/ci.yml", ".github/workflows/release.yml"];

/// Each step of each job.
fn steps(workflow: &str) -> Vec<Value> {
    let file = yaml(workflow).remove(0);
    let jobs = file["jobs"].as_object().expect("jobs").clone();
    let steps = jobs.values().flat_map(|job| job["steps"].as_array().expect("steps").clone());
    let steps: Vec<Value> = steps.collect();
    assert!(steps.len() > 4, "{workflow} is not read");
    steps
}

#[test]
fn actions_are_pinned_and_scripts_are_there() {
    for workflow in WORKFLOWS {
        for step in steps(workflow) {
            if let Some(action) = step["uses"].as_str() {
                let (_, commit) = action.split_once('@').expect("a version");
                let is_commit = commit.len() == 40 && commit.bytes().all(|b| b.is_ascii_hexdigit());
                assert!(is_commit, "{workflow}: {action} can change");
            }
            let run = step["run"].as_str().unwrap_or_default();
            for word in run.split_whitespace().filter(|word| word.starts_with(".ci/")) {
                assert!(path(word).exists(), "{workflow}: {word}");
            }
        }
    }
}

#[test]
fn workflows_may_do_only_what_their_jobs_need() {
    for workflow in WORKFLOWS {
        let file = yaml(workflow).remove(0);
        assert_eq!(file["permissions"], serde_json::json!({ "contents": "read" }), "{workflow}");
        for (name, job) in file["jobs"].as_object().expect("jobs") {
            assert!(job["timeout-minutes"].is_u64(), "{workflow}: {name} may run for hours");
        }
    }
}

#[test]
fn the_linter_of_workflows_takes_them() {
    let program = tool!(optional "actionlint");
    let output = Command::new(program).args(WORKFLOWS).current_dir(path(".")).output();
    let output = output.expect("it can be started");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn workflows_build_with_the_version_that_the_manifest_needs() {
    let manifest = read("Cargo.toml");
    let needed = manifest.lines().find_map(|line| line.strip_prefix("rust-version = \""));
    let needed = needed.expect("it says").trim_end_matches('"');
    for workflow in WORKFLOWS {
        let text = read(workflow);
        let toolchains = text.lines().filter(|line| line.contains("rustup toolchain install"));
        for line in toolchains {
            let wanted = format!("install {needed} ");
            assert!(
                line.contains(&wanted) && line.ends_with(&format!("default {needed}")),
                "{line}"
            );
        }
    }
    assert!(read("Dockerfile").contains(&format!("FROM rust:{needed}-slim")));
    assert!(read(WORKFLOWS[0]).contains(&format!("image: rust:{needed}-bookworm")));
}

/// What the release says is the part of the changelog, and there is one.
#[test]
fn the_changelog_has_this_version() {
    let notes = |version: &str| {
        let command = Command::new(path(".ci/package")).args(["notes", version]).output();
        command.expect("bash is there")
    };
    let found = notes(env!("CARGO_PKG_VERSION"));
    let text = String::from_utf8_lossy(&found.stdout);
    assert!(found.status.success() && text.contains("### Added"), "{text}");
    assert!(!text.contains("\n## "), "it ends where the next version begins: {text}");
    assert!(!notes("99.0.0").status.success());
}

/// The Debian package takes what `.ci/package` makes, and what is in the repository.
#[test]
fn the_debian_package_takes_what_is_there() {
    let manifest = read("Cargo.toml");
    let assets: Vec<&str> = manifest
        .lines()
        .skip_while(|line| *line != "assets = [")
        .skip(1)
        .take_while(|line| *line != "]")
        .filter_map(|line| line.trim().strip_prefix("[\"")?.split('"').next())
        .collect();
    assert!(assets.len() > 5, "{assets:?}");
    let script = read(".ci/package");
    for asset in assets {
        match asset.strip_prefix("target/dist/deb/") {
            Some(made) => {
                let name = made.split('/').next().expect("a name");
                assert!(script.contains(name), "{asset} is not made");
            }
            None => assert!(path(asset).exists(), "{asset}"),
        }
    }
    assert!(
        read("config/systemd/offhook.service").contains("/usr/local/bin/offhook"),
        "as replaced"
    );
}
