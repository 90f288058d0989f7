//! `offhook callback-url`: parameters of one's own, as the command writes them and as its snippets do.

use std::path::Path;
use std::process::Command;

use offhook::config::Role;

use crate::harness::{Settings, run};
use crate::services::tool;

/// Names and values that encoders write in different ways.
const OWN: [(&str, &str); 6] = [
    ("order_id", "A/1002 \u{fc}+x&y=z"),
    ("note", "it's (not) *here*! ~ 50% #1 @ 12:30"),
    ("\u{e9}t\u{e9}", "\u{1f600}"),
    ("order", "'\"\\ $x"),
    ("order-id", "-._~"),
    ("empty", ""),
];

/// What the command prints for them.
fn printed() -> String {
    let own: Vec<String> = OWN.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let mut arguments = vec!["callback-url"];
    arguments.extend(own.iter().flat_map(|own| ["--own", own]));
    let said = run(&Settings::new(Role::All), &arguments).well();
    let line = said.lines().find_map(|line| line.trim().strip_prefix("status callbacks"));
    line.expect("the URL of status callbacks").trim().to_owned()
}

fn snippet(language: &str) -> String {
    run(&Settings::new(Role::All), &["callback-url", "--snippet", language]).well()
}

/// What a program prints that is told the parameters as JSON.
#[track_caller]
fn printed_by(program: &Path, option: &str, code: &str) -> String {
    let own: serde_json::Map<_, _> =
        OWN.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect();
    let own = serde_json::to_string(&own).expect("an object");
    let ended = Command::new(program).args([option, code, "--", &own]).output();
    let ended = ended.expect("the program is there");
    assert!(ended.status.success(), "{}\n{code}", String::from_utf8_lossy(&ended.stderr));
    String::from_utf8(ended.stdout).expect("a URL").trim().to_owned()
}

#[test]
fn own_parameters_go_before_the_fragment() {
    let said = run(&Settings::new(Role::All), &["callback-url", "--own", "b=2", "--own", "a=1 2"]);
    let said = said.well();
    for route in ["/status", "/voice-fallback", "/sms-fallback"] {
        assert!(said.contains(&format!("{route}?a=1%202&b=2#rc=5&rp=all\n")), "{said}");
        assert!(said.contains(&format!("{route}?a=1%202&b=2#rc=5&rp=all'")), "{said}");
    }
    assert!(said.contains("/debugger\n") && said.contains("/event-streams\n"), "{said}");
    let ended = run(&Settings::new(Role::All), &["callback-url", "--own", "offhook_x=1"]);
    assert!(ended.code == Some(2) && ended.error.contains("reserved"), "{ended:?}");
}

#[test]
fn the_snippet_for_node_writes_what_the_command_writes() {
    let node = tool!("node");
    let call = "console.log(statusCallback(JSON.parse(process.argv.at(-1))))";
    let code = format!("{}\n{call}", snippet("node"));
    assert_eq!(printed_by(&node, "-e", &code), printed());
}

#[test]
fn the_snippet_for_python_writes_what_the_command_writes() {
    let python = tool!("python3");
    let call = "import json, sys\nprint(status_callback(json.loads(sys.argv[-1])))";
    let code = format!("{}\n{call}", snippet("python"));
    assert_eq!(printed_by(&python, "-c", &code), printed());
}

#[test]
fn the_snippet_for_php_writes_what_the_command_writes() {
    let php = tool!("php");
    let call = "echo statusCallback(json_decode(end($argv), true));";
    let code = format!("{}\n{call}", snippet("php"));
    assert_eq!(printed_by(&php, "-r", &code), printed());
}

#[test]
fn a_snippet_shows_how_it_is_called_with_the_parameters_that_were_given() {
    let with = |language: &str| {
        let arguments = ["callback-url", "--snippet", language, "--own", "it's=\"1\\"];
        run(&Settings::new(Role::All), &arguments).well()
    };
    assert!(with("node").contains(r#"statusCallback({ "it's": "\"1\\" })"#));
    assert!(with("python").contains(r#"status_callback({"it's": "\"1\\"})"#));
    assert!(with("php").contains(r#"statusCallback(['it\'s' => '"1\\'])"#));
}
