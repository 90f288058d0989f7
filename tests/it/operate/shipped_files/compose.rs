//! `docker-compose.yml`: Compose takes it, and offhook takes what it is told there.

use std::collections::BTreeMap;
use std::process::Command;

use offhook::config::{Config, Deployment, Role, Sources};
use serde_json::{Map, Value};

use super::{path, read, yaml};
use crate::harness::ACCOUNT;
use crate::services::tool;

const FILE: &str = "docker-compose.yml";
/// What Twilio was told.
const PUBLIC_URL: &str = "https://hooks.example.com";

#[test]
fn compose_takes_the_file() {
    let program = tool!(optional "docker-compose");
    let output = Command::new(program)
        .args(["-f", FILE, "config", "--quiet"])
        .env("OFFHOOK_PUBLIC_URL", PUBLIC_URL)
        .env("TWILIO_ACCOUNT_SID", ACCOUNT)
        .current_dir(path("."))
        .output()
        .expect("it can be started");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn services() -> Map<String, Value> {
    yaml(FILE).remove(0)["services"].as_object().expect("services").clone()
}

/// What offhook reads of this service, with the secrets in another directory.
fn environment(service: &Value, secrets: &str) -> BTreeMap<String, String> {
    let pairs = service["environment"].as_object().expect("variables").iter();
    let pairs = pairs.map(|(name, value)| {
        let value = value.as_str().expect("text");
        let value = match name.as_str() {
            "OFFHOOK_PUBLIC_URL" => PUBLIC_URL.to_owned(),
            "TWILIO_ACCOUNT_SID" => ACCOUNT.to_owned(),
            _ => value.replace("/run/secrets", secrets),
        };
        (name.clone(), value)
    });
    pairs.collect()
}

/// The role after `--role`.
fn role(command: &Value) -> Role {
    let words: Vec<&str> =
        command.as_array().expect("words").iter().flat_map(Value::as_str).collect();
    match words[..] {
        ["serve", "--role", "receiver"] => Role::Receiver,
        ["serve", "--role", "worker"] => Role::Worker,
        _ => panic!("{words:?}"),
    }
}

#[test]
fn offhook_takes_what_each_container_is_told() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let secrets = directory.path().display().to_string();
    let known = yaml(FILE).remove(0)["secrets"].as_object().expect("secrets").clone();
    for name in known.keys() {
        let text = if name == "database_url" {
            "postgres://offhook@postgres/offhook"
        } else {
            "0123456789abcdef01234567"
        };
        std::fs::write(directory.path().join(name), text).expect("the directory is ours");
    }
    let file = directory.path().join("offhook.toml");
    let text = read("config/compose.toml").replace("/run/secrets", &secrets);
    std::fs::write(&file, text).expect("the directory is ours");
    for name in ["receiver", "worker"] {
        let service = &services()[name];
        let environment = environment(service, &secrets);
        let sources = Sources { file: Some(file.clone()), environment };
        let config = Config::load(&sources, role(&service["command"]));
        let config = config.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(matches!(config.deployment, Deployment::Scaled(_)), "{name}");
        let volumes = service["volumes"].to_string();
        assert!(volumes.contains("./config/compose.toml:/etc/offhook/offhook.toml"), "{volumes}");
        assert_eq!(service["read_only"], true, "{name}");
    }
}

#[test]
fn images_are_pinned_and_what_is_mounted_is_there() {
    for (name, service) in services() {
        if service.get("build").is_none() {
            let image = service["image"].as_str().expect("an image");
            let (_, tag) = image.split_once(':').unwrap_or_else(|| panic!("{image} has no tag"));
            assert!(tag.trim_start_matches('v').contains('.'), "{image} is no one version");
        }
        for volume in service["volumes"].as_array().into_iter().flatten() {
            let source = volume.as_str().and_then(|volume| volume.split(':').next()).expect("text");
            assert!(!source.starts_with('.') || path(source).exists(), "{name}: {source}");
        }
    }
}
