//! What holds of every command: help and manual pages, JSON, empty variables, errors, and questions before a deletion.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use offhook::config::Role;
use serde_json::Value;

use super::commands;
use crate::harness::{ACCOUNT, Ended, Settings, Testbed, run};
use crate::services::tool;

/// Commands without `--json`, and why.
const NO_JSON: [(&str, &str); 4] = [
    ("serve", "it prints nothing, and log.format is its own"),
    ("healthcheck", "what it prints is JSON: the server's answer"),
    ("completions", "a shell reads it"),
    ("man", "`man` reads it"),
];

fn help(command: &[&str]) -> String {
    run(&Settings::new(Role::All), &[&["help"], command].concat()).well()
}

/// What a help page lists below this heading: the first word of each line that is indented by two.
fn listed<'h>(help: &'h str, heading: &str) -> Vec<&'h str> {
    let lines = help.lines().skip_while(|line| *line != heading).skip(1);
    let lines = lines.take_while(|line| !line.is_empty());
    lines.filter_map(|line| line.strip_prefix("  ")?.split_whitespace().next()).collect()
}

/// Every command that does something, as it is typed.
fn all() -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for name in commands() {
        let page = help(&[&name]);
        let below = listed(&page, "Commands:");
        found.extend(
            below
                .iter()
                .filter(|below| **below != "help")
                .map(|below| vec![name.clone(), (*below).to_owned()]),
        );
        // `forwards` alone does something, too.
        if below.is_empty() || page.contains("--json") {
            found.push(vec![name]);
        }
    }
    assert!(found.len() > 25, "the help pages are not read: {found:?}");
    found
}

#[test]
fn every_command_that_prints_can_print_json() {
    for command in all() {
        let words: Vec<&str> = command.iter().map(String::as_str).collect();
        let has = help(&words).contains("--json ") || help(&words).contains("--json\n");
        let excused = NO_JSON.iter().any(|(name, _)| words == [*name]);
        assert_ne!(has, excused, "{words:?}");
    }
}

#[test]
fn every_help_page_has_examples_and_the_exit_status() {
    for name in commands() {
        let page = help(&[&name]);
        assert!(!listed(&page, "Examples:").is_empty() && page.contains(&name), "{page}");
        assert_eq!(listed(&page, "Exit status:"), ["0", "1", "2"], "{page}");
    }
}

/// The sections of a manual page.
fn headings(page: &str) -> Vec<&str> {
    page.lines()
        .filter_map(|line| line.strip_prefix(".SH "))
        .map(|name| name.trim_matches('"'))
        .collect()
}

/// A section of a manual page; empty if it has none of that name.
fn section<'p>(page: &'p str, heading: &str) -> &'p str {
    let (_, rest) = page.split_once(&format!(".SH {heading}\n")).unwrap_or_default();
    rest.split("\n.SH ").next().unwrap_or_default()
}

#[test]
fn every_manual_page_has_the_sections_that_people_look_for() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().display().to_string();
    run(&Settings::new(Role::All), &["man", "--directory", &path]).well();
    // What each command takes, on one line, by the name that its page has.
    let helps: Vec<(String, String)> = all()
        .into_iter()
        .map(|words| {
            let page = help(&words.iter().map(String::as_str).collect::<Vec<_>>());
            (words.join("-"), page.split_whitespace().collect::<Vec<_>>().join(" "))
        })
        .collect();
    let mut pages = 0;
    for entry in std::fs::read_dir(directory.path()).expect("it is ours").flatten() {
        let (name, text) =
            (entry.file_name(), std::fs::read_to_string(entry.path()).expect("text"));
        let name = name.to_string_lossy().into_owned();
        let found = headings(&text);
        for section in ["NAME", "SYNOPSIS", "OPTIONS", "EXAMPLES", "EXIT STATUS", "VERSION"] {
            assert!(found.contains(&section), "{name} has no {section}: {found:?}");
        }
        assert!(!found.contains(&"EXTRA"), "{name}");
        let first = name.trim_start_matches("offhook").trim_matches('-').trim_end_matches(".1");
        let alone = ["demo", "torture", "simulate", "completions", "man"].contains(&first);
        for section in ["ENVIRONMENT", "FILES"] {
            assert_ne!(found.contains(&section), alone, "{name}: {section}");
        }
        let environment = section(&text, "ENVIRONMENT");
        for (variable, taken) in [
            ("OFFHOOK_ADMIN_URL", "--admin "),
            ("OFFHOOK_ADMIN__TOKEN", "[env: OFFHOOK_ADMIN__TOKEN]"),
            ("OFFHOOK_SENDING_TOKEN", "[env: OFFHOOK_SENDING_TOKEN]"),
        ] {
            let takes = helps.iter().any(|(typed, help)| {
                let is_below = typed.strip_prefix(first).is_some_and(|rest| {
                    first.is_empty() || rest.is_empty() || rest.starts_with('-')
                });
                is_below && help.contains(taken)
            });
            assert_eq!(environment.contains(variable), takes, "{name}: {variable}");
        }
        // A page of a subcommand has its own examples.
        let typed = format!("offhook {}", first.replace('-', " "));
        let plain = text.replace("\\-", "-").replace('-', " ");
        assert!(plain.contains(&typed), "{name} has no example of {typed}");
        pages += 1;
    }
    assert!(pages > 30, "{pages} pages");
    formats_without_a_warning(&directory.path().join("offhook-dead-letters-purge.1"));
    formats_without_a_warning(&directory.path().join("offhook.1"));
}

fn formats_without_a_warning(page: &Path) {
    let groff = tool!(optional "groff");
    let output = Command::new(groff).args(["-man", "-Tutf8", "-ww", "-z"]).arg(page).output();
    let output = output.expect("it can be started");
    let warnings = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && warnings.is_empty(), "{}: {warnings}", page.display());
}

#[test]
fn pages_go_only_into_a_directory_that_is_there() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let missing = directory.path().join("a/b").display().to_string();
    let said = run(&Settings::new(Role::All), &["man", "--directory", &missing]).badly();
    assert!(said.contains(&missing) && said.contains("create it first"), "{said}");
    assert!(!directory.path().join("a").exists());
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn json_is_one_value_with_what_the_text_says() {
    let testbed = Testbed::embedded();
    let settings = testbed.settings.clone().set("OFFHOOK_ADMIN__LISTEN", "127.0.0.1:1");
    let ask = |arguments: &[&str]| json(&run(&settings, arguments).well());
    let check = ask(&["check", "--json"]);
    assert_eq!((&check["good"], &check["deployment"]), (&true.into(), &"embedded".into()));
    assert_eq!(check["accounts"][0]["sid"], ACCOUNT);
    let urls = ask(&["callback-url", "--json", "--own", "order_id=A-1"]);
    assert_eq!(urls["status"], "https://hooks.example.com/status?order_id=A-1#rc=5&rp=all");
    assert_eq!(ask(&["migrate", "--json"])["up_to_date"], true);
    let demo = ask(&["demo", "--exit", "--json", "--seed", "7"]);
    assert_eq!((&demo["seed"], &demo["wrong"]), (&7.into(), &Value::Array(vec![])));
    let refused = demo["refused"].as_object().expect("by reason").values();
    let refused: u64 = refused.filter_map(Value::as_u64).sum();
    assert_eq!(demo["sent"].as_u64(), demo["accepted"].as_u64().map(|accepted| accepted + refused));
    for list in [["dead-letters", "list", "--json"], ["local-log", "list", "--json"]] {
        assert_eq!(run(&settings, &list).well(), "", "a line for each, of which there are none");
    }
    let doctor = run(&settings, &["doctor", "--json", "--no-callback"]);
    let found = json(&doctor.out);
    assert_eq!((doctor.code, &found["failures"]), (Some(1), &1.into()), "{found}");
    assert_eq!(found["findings"][0]["subject"], "configuration");
    let list = run(&settings, &["torture", "--list", "--json"]).well();
    assert!(list.lines().all(|line| json(line)["scenario"].is_string()), "{list}");
}

#[test]
fn a_wrong_configuration_is_json_too() {
    let settings = Settings::new(Role::All).set("OFFHOOK_CALLS__LIMIT", "-1");
    let ended = run(&settings, &["check", "--json"]);
    let found = json(&ended.out);
    assert_eq!((ended.code, &found["good"]), (Some(1), &false.into()));
    assert_eq!(found["error"]["key"], "calls.limit");
    assert!(ended.error.contains("calls.limit (environment variable OFFHOOK_CALLS__LIMIT)"));
}

#[tokio::test]
async fn what_was_sent_and_what_was_verified_is_json() {
    let testbed = Testbed::embedded();
    let offhook = testbed.start();
    let url = format!("http://{}/status", offhook.client.inbound());
    let public = "https://hooks.example.com";
    let sent = ["send", &url, "--public-url", public, "--json", "--method", "POST"];
    let sent = json(&run(&testbed.settings, &sent).well());
    assert_eq!((&sent["status"], &sent["method"]), (&200.into(), &"POST".into()));
    assert_eq!(sent["signed_for"], "https://hooks.example.com/status");
    assert_eq!(sent["parameters"]["AccountSid"], ACCOUNT);
    let verify =
        ["verify", "--url", public, "--signature", "AAAAAAAAAAAAAAAAAAAAAAAAAAA=", "--json"];
    let ended = run(&testbed.settings, &verify);
    let found = json(&ended.out);
    assert_eq!((ended.code, &found["right"]), (Some(1), &false.into()), "{found}");
    assert!(found["tried"].as_array().is_some_and(|tried| !tried.is_empty()), "{found}");
    assert!(found["advice"].is_string(), "{found}");
}

/// Compose makes an empty one of a variable that is not set: `${X:-}`.
#[test]
fn an_empty_variable_counts_as_unset() {
    let names = [
        "OFFHOOK_CONFIG",
        "OFFHOOK_ADMIN_URL",
        "OFFHOOK_ADMIN__TOKEN",
        "DATABASE_URL",
        "REDIS_URL",
        "TWILIO_AUTH_TOKEN_FILE",
        "RUST_LOG",
        "OFFHOOK_LOG__FORMAT",
    ];
    let mut settings = Settings::new(Role::All);
    for name in names {
        settings = settings.set(name, "");
    }
    let printed = run(&settings, &["check"]).well();
    assert!(printed.starts_with("the configuration is good"), "{printed}");
    let settings =
        Settings::new(Role::All).set("TWILIO_AUTH_TOKEN", "").set("TWILIO_ACCOUNT_SID", "");
    for arguments in [&["check"][..], &["send", "http://127.0.0.1:1/status"]] {
        let said = run(&settings, arguments).badly();
        assert!(said.contains("account (not set)"), "{said}");
    }
    let said = run(&Settings::none().set("OFFHOOK_ADMIN_URL", " "), &["inspect", "CA1"]).badly();
    assert!(said.contains("--admin URL"), "{said}");
}

/// An option that comes by environment is no part of what the command line lacks.
#[test]
fn usage_names_only_what_is_to_be_typed() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("empty.toml");
    std::fs::write(&file, "").expect("it is ours");
    let settings = Settings::new(Role::All)
        .set("OFFHOOK_CONFIG", file.display().to_string())
        .set("OFFHOOK_ADMIN_URL", "http://127.0.0.1:1")
        .set("OFFHOOK_ADMIN__TOKEN", "s3cret");
    for (arguments, usage) in [
        (&["send"][..], "Usage: offhook send <URL>\n"),
        (&["inspect"], "Usage: offhook inspect <SID>\n"),
        (&["dead-letters", "purge"], "Usage: offhook dead-letters purge <ID|--all>\n"),
        (&["dead-letters", "replay"], "Usage: offhook dead-letters replay <ID|--all>\n"),
        (&["local-log", "purge"], "Usage: offhook local-log purge <NAME|--all>\n"),
    ] {
        let ended = run(&settings, arguments);
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(ended.error.contains(usage), "{usage}\n{}", ended.error);
    }
}

/// What failed, the value, its last cause, and what to do; each once.
#[test]
fn an_error_gives_the_last_cause_and_the_fix() {
    let settings = Settings::new(Role::All).set("OFFHOOK_ADMIN__LISTEN", "127.0.0.1:1");
    let admin = "no answer from http://127.0.0.1:1: Connection refused; start the server there, or name another one \
                 with --admin URL";
    let away = settings
        .clone()
        .set("REDIS_URL", "redis://127.0.0.1:1")
        .set("DATABASE_URL", "postgres://offhook@127.0.0.1:1/offhook");
    for (settings, arguments, expected) in [
        (&settings, &["inspect", "CA1"][..], admin),
        (&settings, &["stats"], admin),
        (&settings, &["changes"], admin),
        (&settings, &["tail"], admin),
        (&settings, &["forwards"], admin),
        (&settings, &["purge", "--sid", "CA1", "--yes"], admin),
        (
            &settings,
            &["healthcheck"],
            "no answer from http://127.0.0.1:1/readyz: Connection refused; start the server, or look at its log",
        ),
        (
            &settings,
            &["send", "http://127.0.0.1:1/status"],
            "no answer from http://127.0.0.1:1/status: Connection refused; start the server there, or fix the URL",
        ),
        (
            &settings,
            &["send", "h.example"],
            "the URL must start with http:// or https://; it is `h.example`",
        ),
        (
            &settings,
            &["verify", "--url", "h.example", "--signature", "x"],
            "--url must start with https:// or http://, as Twilio requested it; it is `h.example`",
        ),
        (
            &settings,
            &["dead-letters", "show", "1-1"],
            "there is no dead letter 1-1: `offhook dead-letters list` prints the ids",
        ),
        (
            &away,
            &["dead-letters", "list"],
            "dead letters cannot be read: Connection refused; start Redis, or fix REDIS_URL (stream.url)",
        ),
        (
            &away,
            &["migrate"],
            "the migrations cannot be run: Connection refused; start Postgres, or fix DATABASE_URL \
             (store.url)",
        ),
    ] {
        let said = run(settings, arguments).badly();
        assert_eq!(said.trim_end(), format!("offhook: {expected}"), "{arguments:?}");
    }
}

#[test]
fn a_kind_is_typed_in_one_spelling_and_both_are_understood() {
    let settings = Settings::new(Role::All).set("OFFHOOK_ADMIN__LISTEN", "127.0.0.1:1");
    for command in ["tail", "changes", "send"] {
        let page = help(&[command]);
        assert!(page.contains("event-stream") && page.contains("twiml-request"), "{page}");
        assert!(!page.contains("event_stream") && !page.contains("twiml_request"), "{page}");
    }
    for kind in ["event-stream", "event_stream"] {
        let ended = run(&settings, &["tail", "--kind", kind]);
        assert_eq!(ended.code, Some(1), "it asks the server: {ended:?}");
    }
}

/// On a terminal of its own, with this answer.
fn answered(settings: &Settings, script: &Path, command: &str, answer: &str) -> Ended {
    let command = format!("{} {command}", env!("CARGO_BIN_EXE_offhook"));
    let mut child = Command::new(script)
        .args(["-qec", &command, "/dev/null"])
        .env_clear()
        .envs(settings.environment())
        .env("PATH", env!("PATH"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it can be started");
    let mut stdin = child.stdin.take().expect("it is piped");
    stdin.write_all(answer.as_bytes()).expect("it reads");
    drop(stdin);
    Ended::of(child)
}

#[test]
fn what_is_deleted_for_good_is_asked_for_first() {
    let script = tool!("script");
    let testbed = Testbed::embedded();
    for (command, what) in [
        ("dead-letters purge 1-1", "Delete 1 dead letter for good?"),
        ("dead-letters purge --all", "Delete 0 dead letters for good?"),
        ("local-log purge x", "Delete 1 damaged file for good?"),
    ] {
        let words: Vec<&str> = command.split(' ').collect();
        let said = run(&testbed.settings, &words).badly();
        assert!(said.contains("no terminal to ask on") && said.contains("--yes"), "{said}");
        let ended = answered(&testbed.settings, &script, command, "n\n");
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.out.contains(what) && ended.out.contains("nothing was deleted"), "{ended:?}");
        let ended = answered(&testbed.settings, &script, command, "y\n");
        assert!(ended.out.contains("purge") || ended.out.contains("0 of 0"), "{ended:?}");
        let ended = run(&testbed.settings, &[&words[..], &["--yes"]].concat());
        assert!(!ended.error.contains("terminal"), "{ended:?}");
    }
    // Nothing is deleted, so nothing is asked.
    run(&testbed.settings, &["dead-letters", "purge", "--all", "--dry-run"]).well();
}
