//! The commands that ask a server which runs.

use std::io::{BufRead as _, BufReader};

use offhook::config::Role;
use serde_json::Value;

use crate::harness::{ACCOUNT, Callback, Ended, Offhook, Settings, Testbed, program, run};
use crate::services::{Process, Signal};

const TOKEN: &str = "s3cret";

fn call(status: &str) -> Callback {
    Callback::form(format!(
        "CallSid=CA1&CallStatus={status}&CallbackSource=call-progress-events&AccountSid={ACCOUNT}&To=%2B15550100"
    ))
}

/// A server with a token, and how it is asked from a machine without its configuration.
fn server(testbed: &Testbed) -> (Offhook, String) {
    let settings: Settings = testbed.role(Role::All).set("OFFHOOK_ADMIN__TOKEN", TOKEN);
    let offhook = Offhook::start(&settings);
    let url = format!("http://{}", offhook.client.admin_address());
    (offhook, url)
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| panic!("no JSON: {text}"))
}

#[tokio::test]
async fn what_happened_and_how_much_is_json_for_other_programs() {
    let testbed = Testbed::embedded();
    let (offhook, url) = server(&testbed);
    offhook.client.accepts(&call("completed")).await;
    offhook.client.accepts(&call("ringing")).await;
    let nothing = Settings::none();
    let ask = |arguments: &[&str]| {
        let server = ["--admin", &url, "--token", TOKEN];
        run(&nothing, &[arguments, &server].concat())
    };
    let timeline = json(&ask(&["inspect", "CA1"]).well());
    assert_eq!(timeline["status"]["status"], "completed");
    assert_eq!(timeline["events"][1]["out_of_order"], true);
    assert!(ask(&["inspect", "CA2"]).badly().contains("nothing is known of this SID"));

    let stats = json(&ask(&["stats", "--since", "1h"]).well());
    assert_eq!(stats["store"]["events"]["call"], 2);
    assert_eq!(stats["store"]["statuses"]["call"]["completed"], 1);
    assert!(ask(&["stats", "--since", "long"]).badly().contains("is not a time"));

    let refused = run(&nothing, &["inspect", "CA1", "--admin", &url]).badly();
    assert!(refused.contains("--token"), "{refused}");
    let away = run(&nothing, &["inspect", "CA1", "--admin", "http://127.0.0.1:1"]).badly();
    assert!(away.contains("start the server there"), "{away}");
    // Neither a server nor a configuration to find one by.
    assert!(run(&nothing, &["inspect", "CA1"]).badly().contains("--admin"));
}

#[tokio::test]
async fn whoever_has_read_enough_ends_a_command_well() {
    let testbed = Testbed::embedded();
    let (_offhook, url) = server(&testbed);
    let arguments = ["stats", "--admin", &url, "--token", TOKEN];
    let mut stats = program(&Settings::none(), &arguments).spawn().expect("the program is built");
    drop(stats.stdout.take());
    assert_eq!(Ended::of(stats).well(), "");
}

#[tokio::test]
async fn a_tail_shows_what_it_was_asked_for_as_it_is_stored() {
    let testbed = Testbed::embedded();
    let (offhook, url) = server(&testbed);
    let arguments = ["tail", "--status", "completed", "--admin", &url, "--token", TOKEN];
    let mut tail = program(&Settings::none(), &arguments);
    let mut tail = Process::spawn(&mut tail, Signal::Kill).expect("the program is built");
    let mut lines = BufReader::new(tail.child().stdout.take().expect("it is piped")).lines();
    crate::harness::until("it watches", async || {
        let text = offhook.client.admin_as("/api/stats", Some(TOKEN)).await.text().await.ok()?;
        (json(&text)["process"]["watchers"] == 1).then_some(())
    })
    .await;
    offhook.client.accepts(&call("ringing")).await;
    offhook.client.accepts(&call("completed")).await;
    let line = json(&lines.next().expect("a line").expect("text"));
    assert_eq!((&line["key"], &line["duplicate"]), (&"CA1-completed".into(), &false.into()));
}
