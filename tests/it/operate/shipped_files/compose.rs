//! `docker-compose.yml`: Compose takes it, and offhook takes what it is told there.

use std::collections::BTreeMap;
use std::process::Command;

use offhook::config::{Config, Role, Sources};
use serde_json::{Map, Value};

use super::{path, read, yaml};
use crate::harness::ACCOUNT;
use crate::services::tool;

const FILE: &str = "docker-compose.yml";
/// What Twilio was told.
const PUBLIC_URL: &str = "https://hooks.example.com";

#[test]
fn compose_takes_the_file_with_each_profile_and_not_without_one() {
    let program = tool!(optional "docker-compose");
    for profiles in ["scale-out", "direct,demo", ""] {
        let output = Command::new(&program)
            .args(["-f", FILE, "config", "--quiet"])
            .env("OFFHOOK_PUBLIC_URL", PUBLIC_URL)
            .env("TWILIO_ACCOUNT_SID", ACCOUNT)
            .env("COMPOSE_PROFILES", profiles)
            .current_dir(path("."))
            .output()
            .expect("it can be started");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.success(), !profiles.is_empty(), "{profiles}: {said}");
        assert!(!profiles.is_empty() || said.contains("scale-out or direct"), "{said}");
    }
}

/// Of a service, the profiles that it is in; none if it is in all.
fn profiles(service: &Value) -> Vec<&str> {
    service["profiles"].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

#[test]
fn direct_needs_no_redis_and_each_profile_starts_by_itself() {
    let services = services();
    for (name, service) in &services {
        let needed: Vec<&str> = match &service["depends_on"] {
            Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
            Value::Object(names) => names.keys().map(String::as_str).collect(),
            _ => Vec::new(),
        };
        for needed in needed {
            let (of, theirs) = (profiles(service), profiles(&services[needed]));
            assert!(theirs.is_empty() || of == theirs, "{name} needs {needed}");
        }
    }
    assert_eq!(profiles(&services["redis"]), ["scale-out"]);
    assert_eq!(profiles(&services["direct"]), ["direct"]);
    assert_eq!(services["direct"]["networks"]["back"]["aliases"][0], "receiver", "Prometheus");
}

#[test]
fn the_application_can_reach_postgres_and_only_from_this_machine() {
    let file = yaml(FILE).remove(0);
    let postgres = &file["services"]["postgres"];
    assert_eq!(postgres["ports"], serde_json::json!(["127.0.0.1:5432:5432"]));
    let networks = postgres["networks"].as_array().expect("a list").clone();
    let open = networks.iter().filter_map(Value::as_str);
    let open: Vec<&str> = open.filter(|name| file["networks"][*name]["internal"] != true).collect();
    // Compose publishes no port of a service that is in internal networks alone.
    assert_eq!(open, ["store"]);
    assert_eq!(file["networks"]["store"]["name"], "offhook-store");
}

#[test]
fn every_alert_goes_to_an_alertmanager_that_takes_its_configuration() {
    const ALERTMANAGER: &str = "config/alertmanager/alertmanager.yml";
    let prometheus = yaml("config/prometheus/prometheus.yml").remove(0);
    let targets = "/alerting/alertmanagers/0/static_configs/0/targets/0";
    assert_eq!(prometheus.pointer(targets).and_then(Value::as_str), Some("alertmanager:9093"));
    let volumes = services()["alertmanager"]["volumes"].to_string();
    assert!(volumes.contains(&format!("./{ALERTMANAGER}:/etc/alertmanager/alertmanager.yml")));
    let file = yaml(ALERTMANAGER).remove(0);
    let receivers = file["receivers"].as_array().expect("receivers");
    let names: Vec<&str> =
        receivers.iter().filter_map(|receiver| receiver["name"].as_str()).collect();
    for route in ["/route", "/route/routes/0"].map(|route| file.pointer(route).expect("a route")) {
        assert!(route["receiver"].as_str().is_some_and(|name| names.contains(&name)), "{route}");
    }
    for receiver in receivers {
        let secret = "/run/secrets/alert_webhook";
        assert_eq!(receiver["webhook_configs"][0]["url_file"], secret, "{receiver}");
    }
    let program = tool!(optional "amtool");
    // Debian's is older than `url_file`.
    let text = read(ALERTMANAGER)
        .replace("url_file: /run/secrets/alert_webhook", "url: 'http://127.0.0.1:1/'");
    let directory = tempfile::tempdir().expect("a temporary directory");
    let copy = directory.path().join("alertmanager.yml");
    std::fs::write(&copy, text).expect("the directory is ours");
    let output = Command::new(program).arg("check-config").arg(&copy).output();
    let output = output.expect("it can be started");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stdout));
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
        ["serve"] => Role::All,
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
    for (name, deployment) in
        [("receiver", "scale-out"), ("worker", "scale-out"), ("direct", "direct")]
    {
        let service = &services()[name];
        let environment = environment(service, &secrets);
        let sources = Sources { file: Some(file.clone()), environment };
        let config = Config::load(&sources, role(&service["command"]));
        let config = config.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(config.deployment.name(), deployment, "{name}");
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
