//! The files for Kubernetes: what they say fits together, and offhook takes what it is told there.

use std::collections::BTreeMap;

use offhook::config::{Config, Deployment, Role, Sources};
use serde_json::Value;

use super::{path, read, yaml};

const DIRECTORY: &str = "config/kubernetes";
const SECRETS: &str = "/run/secrets/offhook";

fn objects() -> Vec<Value> {
    let files = std::fs::read_dir(path(DIRECTORY)).expect("the directory is there");
    let names = files.map(|file| file.expect("it can be listed").file_name());
    let names = names.map(|name| format!("{DIRECTORY}/{}", name.to_string_lossy()));
    names.flat_map(|name| yaml(&name)).collect()
}

fn of_kind(kind: &str) -> Vec<Value> {
    objects().into_iter().filter(|object| object["kind"] == kind).collect()
}

fn at<'a>(object: &'a Value, pointer: &str) -> &'a Value {
    object.pointer(pointer).unwrap_or_else(|| panic!("no {pointer} in {object}"))
}

fn workloads() -> Vec<(Role, Value)> {
    let [receiver, worker] = ["StatefulSet", "Deployment"].map(|kind| of_kind(kind).remove(0));
    vec![(Role::Receiver, receiver), (Role::Worker, worker)]
}

/// The names and values that pods are given, with the secrets in another directory.
fn environment(secrets: &str) -> BTreeMap<String, String> {
    let settings = of_kind("ConfigMap").remove(0);
    let pairs = settings["data"].as_object().expect("pairs").iter();
    let text = |value: &Value| value.as_str().expect("text").replace(SECRETS, secrets);
    pairs.map(|(name, value)| (name.clone(), text(value))).collect()
}

/// A directory with the secrets that the first file says to make.
fn secrets() -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let text = read(&format!("{DIRECTORY}/settings.yaml"));
    for made in text.split("--from-literal=").skip(1) {
        let (name, value) = made.split_once('=').expect("a name and a value");
        let value = value.split_whitespace().next().unwrap_or_default().trim_matches(['\'', '"']);
        // What a command would print.
        let value = if value.starts_with("$(") { "0123456789abcdef01234567" } else { value };
        std::fs::write(directory.path().join(name), value).expect("the directory is ours");
    }
    directory
}

/// Heads that do not end, and bodies, of as many connections as there may be.
#[test]
fn a_receivers_memory_is_enough_for_the_worst_of_all_its_connections() {
    const MIB: usize = 1024 * 1024;
    /// Of a connection besides what was read of its head or body, as measured with 10,000 bodies at once; and
    /// of a process without any.
    const CONNECTION: usize = 27 * 1024;
    const PROCESS: usize = 64 * MIB;
    let secrets = secrets();
    let environment = environment(&secrets.path().display().to_string());
    let inbound = Config::load(&Sources { file: None, environment }, Role::Receiver);
    let inbound = inbound.unwrap_or_else(|error| panic!("{error}")).inbound;
    let limits = inbound.limits;
    let connections = limits.max_connections * (limits.max_header_bytes + CONNECTION);
    let worst = PROCESS + connections + inbound.body_memory;
    let workload = workloads().into_iter().find(|(role, _)| *role == Role::Receiver);
    let (_, workload) = workload.expect("there are receivers");
    let limit = at(&workload, "/spec/template/spec/containers/0/resources/limits/memory");
    let limit = limit.as_str().and_then(|limit| limit.strip_suffix("Mi")).expect("MiB");
    let limit = limit.parse::<usize>().expect("a number") * MIB;
    assert!(worst <= limit, "{} MiB of {}", worst / MIB, limit / MIB);
}

#[test]
fn offhook_takes_what_each_pod_is_told() {
    let secrets = secrets();
    let environment = environment(&secrets.path().display().to_string());
    for (role, workload) in workloads() {
        let pod = at(&workload, "/spec/template/spec");
        assert_eq!(pod["enableServiceLinks"], false, "its variables would be taken for settings");
        let container = &pod["containers"][0];
        let name = if role == Role::Receiver { "receiver" } else { "worker" };
        assert_eq!(container["args"], serde_json::json!(["serve", "--role", name]));
        let sources = Sources { file: None, environment: environment.clone() };
        let config = Config::load(&sources, role).unwrap_or_else(|error| panic!("{error}"));
        let port = |name: &str| {
            let ports = container["ports"].as_array().expect("ports").iter();
            ports
                .clone()
                .find(|port| port["name"] == name)
                .map(|port| port["containerPort"].clone())
        };
        assert_eq!(port("admin"), Some(config.admin.listen.port().into()));
        let inbound = config.deployment.receives().then(|| config.inbound.listen.port().into());
        assert_eq!(port("http"), inbound);
        let Deployment::Scaled(scaled) = config.deployment else { panic!("not scaled") };
        let mounts = container["volumeMounts"].as_array().expect("mounts");
        let has_disk = mounts.iter().any(|mount| {
            mount["name"] == "spool"
                && scaled.spool.directory.starts_with(mount["mountPath"].as_str().expect("a path"))
        });
        assert_eq!(has_disk, role == Role::Receiver);
    }
}

/// The name is the one that `.github/workflows/release.yml` pushes: `ghcr.io/` and the repository.
#[test]
fn pods_run_the_image_of_this_version() {
    let repository = env!("CARGO_PKG_REPOSITORY").strip_prefix("https://github.com/");
    let repository = repository.expect("it is on GitHub");
    assert!(
        read(".github/workflows/release.yml").contains("IMAGE: ghcr.io/${{ github.repository }}")
    );
    let image = format!("ghcr.io/{repository}:{}", env!("CARGO_PKG_VERSION"));
    for (_, workload) in workloads() {
        assert_eq!(*at(&workload, "/spec/template/spec/containers/0/image"), image);
    }
}

#[test]
fn pods_may_do_nothing_that_they_need_not() {
    for (_, workload) in workloads() {
        let pod = at(&workload, "/spec/template/spec");
        assert_eq!(pod["automountServiceAccountToken"], false);
        assert_eq!(*at(pod, "/securityContext/runAsNonRoot"), true);
        let container = at(pod, "/containers/0/securityContext");
        assert_eq!(container["readOnlyRootFilesystem"], true);
        assert_eq!(container["allowPrivilegeEscalation"], false);
        assert_eq!(*at(container, "/capabilities/drop"), serde_json::json!(["ALL"]));
        let grace = pod["terminationGracePeriodSeconds"].as_u64().expect("seconds");
        let pause = pod.pointer("/containers/0/lifecycle/preStop/sleep/seconds");
        let pause = pause.and_then(Value::as_u64).unwrap_or_default();
        assert!(grace >= pause + 25, "it needs 25 s to finish");
    }
}

/// Whether all labels of the selector are among those.
fn selects(selector: &Value, labels: &Value) -> bool {
    let wanted = selector.as_object().expect("labels");
    wanted.iter().all(|(name, value)| labels.get(name) == Some(value))
}

#[test]
fn selectors_and_ports_lead_to_pods() {
    let pods: Vec<Value> = workloads()
        .into_iter()
        .map(|(_, workload)| at(&workload, "/spec/template").clone())
        .collect();
    let chosen = |selector: &Value| -> Vec<&Value> {
        pods.iter().filter(|pod| selects(selector, at(pod, "/metadata/labels"))).collect()
    };
    for service in of_kind("Service") {
        let chosen = chosen(at(&service, "/spec/selector"));
        assert_eq!(chosen.len(), 1, "{service}");
        let ports = at(chosen[0], "/spec/containers/0/ports").as_array().expect("ports");
        for port in at(&service, "/spec/ports").as_array().expect("ports") {
            assert!(ports.iter().any(|known| known["name"] == port["targetPort"]), "{service}");
        }
    }
    for budget in of_kind("PodDisruptionBudget") {
        assert_eq!(chosen(at(&budget, "/spec/selector/matchLabels")).len(), 1, "{budget}");
    }
    for (_, workload) in workloads() {
        assert_eq!(chosen(at(&workload, "/spec/selector/matchLabels")).len(), 1);
        for probe in ["livenessProbe", "readinessProbe"] {
            let probe = at(&workload, "/spec/template/spec/containers/0")[probe]["httpGet"].clone();
            assert!(
                probe["port"] == "admin"
                    && ["/livez", "/readyz"].contains(&probe["path"].as_str().unwrap_or_default())
            );
        }
    }
    let monitor = of_kind("ServiceMonitor").remove(0);
    let services = of_kind("Service");
    let watched = services.iter().filter(|service| {
        selects(at(&monitor, "/spec/selector/matchLabels"), at(service, "/metadata/labels"))
    });
    assert_eq!(watched.count(), 2, "receivers and workers");
    let token = at(&monitor, "/spec/endpoints/0/authorization/credentials/key");
    assert!(secrets().path().join(token.as_str().expect("text")).exists());
}
