//! The log: what its first line says, and that an outage is not repeated for as long as it lasts.

use std::collections::BTreeMap;

use offhook::config::Role;
use serde_json::Value;

use crate::harness::{ACCOUNT, Callback, Mode, Settings, Spawned, Testbed, until};
use crate::services::needs;

fn lines(log: &str) -> impl Iterator<Item = Value> {
    log.lines().filter_map(|line| serde_json::from_str(line).ok())
}

/// How often each message stands there, with its level.
fn counted(log: &str, levels: &[&str]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for line in lines(log) {
        if levels.iter().any(|level| line["level"] == *level) {
            let message = line["message"].as_str().unwrap_or_default();
            *counts.entry(message.to_owned()).or_default() += 1;
        }
    }
    counts
}

/// One that ends at once, since another program has its port: the first line comes before that.
fn first_line(settings: &Settings, admin: &str) -> Value {
    let settings = settings.clone().set("OFFHOOK_ADMIN__LISTEN", admin);
    let (_, log) = Spawned::fails(&settings);
    lines(&log).next().unwrap_or_else(|| panic!("no line: {log}"))
}

#[test]
fn the_first_line_says_version_deployment_role_and_where_the_console_is() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let admin = taken.local_addr().expect("it is bound").to_string();
    let embedded = Testbed::embedded();
    let scaled = Settings::new(Role::Worker)
        .set("REDIS_URL", "redis://127.0.0.1:1")
        .set("DATABASE_URL", "postgres://offhook@127.0.0.1:1/offhook");
    for (settings, deployment, role) in
        [(&embedded.settings, "embedded", Value::Null), (&scaled, "scale-out", "worker".into())]
    {
        let first = first_line(settings, &admin);
        assert_eq!(first["message"], "offhook starts", "{first}");
        assert_eq!(first["version"], env!("CARGO_PKG_VERSION"), "{first}");
        assert_eq!((&first["deployment"], &first["role"]), (&deployment.into(), &role), "{first}");
        assert_eq!(first["console"], format!("http://{admin}/"), "{first}");
    }
    // On a free port, the line that says that it runs has it.
    let offhook = Spawned::start(&embedded.settings);
    let log = offhook.log();
    let runs = lines(&log).find(|line| line["message"] == "offhook runs").expect("it runs");
    assert_eq!(runs["console"], format!("http://{}/", offhook.client.admin_address()));
}

#[tokio::test]
async fn an_outage_is_a_line_when_it_begins_and_one_when_it_ends() {
    needs!(all Mode::ScaleOut.needs());
    let mut testbed = Testbed::of(Mode::ScaleOut);
    let offhook = Spawned::start(&testbed.settings);
    let send = async |n: usize| {
        let body = format!(
            "CallSid=CA{n}&AccountSid={ACCOUNT}&CallStatus=completed&CallbackSource=call-progress-events"
        );
        offhook.client.accepts(&Callback::form(body)).await;
    };
    send(0).await;
    testbed.contents_of(1).await;

    testbed.redis().kill();
    until("reads have failed many times", async || {
        send(1).await;
        (offhook.client.metric("offhook_stream_errors_total").await > 10.0).then_some(())
    })
    .await;
    testbed.redis().restart();
    testbed.contents_of(2).await;
    testbed.postgres().kill();
    send(2).await;
    until("commits have failed several times", async || {
        let failed = "offhook_commit_errors_total{backend=\"postgres\",error=\"transient\"}";
        (offhook.client.metric(failed).await > 3.0).then_some(())
    })
    .await;
    testbed.postgres().restart();
    testbed.contents_of(3).await;
    until("the end of each outage is logged", async || {
        let ended = counted(&offhook.log(), &["INFO"]);
        ["events are read from the log again", "batches are committed again"]
            .iter()
            .all(|message| ended.contains_key(*message))
            .then_some(())
    })
    .await;

    let log = offhook.log();
    for (message, times) in counted(&log, &["WARN", "ERROR"]) {
        // Of a batch, Redis and Postgres each had an outage.
        let most = if message == "batch not committed" { 2 } else { 1 };
        assert!(times <= most, "{times} times: {message}\n{log}");
    }
    let sqlx = lines(&log)
        .filter(|line| line["target"].as_str().is_some_and(|target| target.starts_with("sqlx")));
    assert_eq!(sqlx.filter(|line| line["level"] == "INFO").count(), 0, "{log}");
}
