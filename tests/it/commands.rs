//! The commands, as the real program: what they print, and how they end.

mod bench;
mod callback_url;
mod conventions;
mod dead_letters;
mod doctor;
mod numbers;
mod running_server;
mod send;
mod terminal;
mod tokens;
mod verify;

use std::collections::BTreeMap;

use offhook::config::Role;

use crate::harness::{Callback, Offhook, Settings, TOKEN, Testbed, fixture, run};
use crate::services::{Durability, needs};

/// Every command, as `--help` lists them.
fn commands() -> Vec<String> {
    let help = run(&Settings::new(Role::All), &["--help"]).well();
    let list = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let names = list.map_while(|line| line.split_whitespace().next());
    names.filter(|name| *name != "help").map(str::to_owned).collect()
}

#[test]
fn the_help_lists_the_commands() {
    let commands = commands();
    for known in ["serve", "demo", "send", "verify", "check", "healthcheck", "migrate"] {
        assert!(commands.iter().any(|name| name == known), "{commands:?}");
    }
}

#[test]
fn a_command_that_nobody_knows_is_a_mistake_of_usage() {
    let ended = run(&Settings::new(Role::All), &["sreve"]);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.error.contains("sreve"), "{ended:?}");
}

/// `  name  figure   explanation`
fn figures(printed: &str) -> BTreeMap<&str, usize> {
    let rows = printed.lines().filter_map(|line| {
        let (name, rest) = line.strip_prefix("  ")?.split_once("  ")?;
        Some((name, rest.split_whitespace().next()?.parse().ok()?))
    });
    rows.collect()
}

#[test]
fn the_demo_ends_well_and_its_figures_explain_one_another() {
    let printed = run(&Settings::new(Role::All), &["demo", "--exit", "--seed", "7"]).well();
    let figures = figures(&printed);
    let refused: &str = printed.lines().find(|line| line.starts_with("  refused")).expect("a row");
    let by_reason =
        refused.split(',').filter_map(|part| part.rsplit(' ').next()?.parse::<usize>().ok());
    assert_eq!(by_reason.sum::<usize>(), figures["refused"], "{printed}");
    assert_eq!(figures["sent"], figures["accepted"] + figures["refused"], "{printed}");
    assert!(figures["duplicates absorbed"] > 0 && figures["out of order"] > 0, "{printed}");
    assert_eq!(figures["calls"], 200, "{printed}");
    for row in ["stored", "messages", "recordings", "conferences", "transcriptions"] {
        assert!(figures[row] > 0, "{printed}");
    }
    // Of what was sent, one recipient is not valid.
    assert_eq!(figures["messages at Twilio"] + 1, figures["asked to send"], "{printed}");
    assert_eq!(figures["notifications"], figures["asked to send"], "{printed}");
    assert!(printed.contains("the pretend Twilio took is there once"), "{printed}");
    assert!(printed.contains("ack latency           p50 "), "{printed}");
    assert!(printed.contains("stored once, and every status is right"), "{printed}");
}

#[test]
fn check_says_what_the_configuration_means_and_hides_every_secret() {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    let text = "public_url = 'https://hooks.example.com/twilio'\n\
                [[account]]\nsid = 'AC1'\nname = 'main'\n\
                auth_tokens = ['secret-1', 'secret-2']\n\
                shared_keys = [{ id = 'KS1', secret = 'secret-3-0123456789' }]\n\
                [admin]\nlisten = '0.0.0.0:8081'\ntoken = 'secret-4-0123456789abcdef'\n\
                [store]\nurl = 'postgres://user:secret-5@db/offhook'\n\
                [stream]\nurl = 'redis://:secret-6@cache'\n";
    std::fs::write(file.path(), text).expect("the file is ours");
    let path = file.path().display().to_string();
    let settings = Settings::new(Role::All).unset("OFFHOOK_PUBLIC_URL");
    let settings = settings.unset("OFFHOOK_ADMIN__LISTEN");
    let printed = run(&settings, &["check", "--config", &path, "--role", "receiver"]).well();
    for part in [
        "https://hooks.example.com/twilio/status#rc=5&rp=all",
        "https://hooks.example.com/twilio/voice-fallback",
        "0.0.0.0:8081, with a token",
        "AC1 (main): auth tokens 2, shared keys 1 KS1",
        "scale-out",
        "this process receives",
    ] {
        assert!(printed.contains(part), "`{part}` is not in: {printed}");
    }
    assert!(!printed.contains("secret-"), "{printed}");
}

#[test]
fn check_and_doctor_show_no_password_of_the_public_url() {
    let settings = Settings::new(Role::All)
        .set("OFFHOOK_PUBLIC_URL", "https://user:hunter2@127.0.0.1:1")
        .set("OFFHOOK_ADMIN__LISTEN", "127.0.0.1:1");
    let printed = run(&settings, &["check"]).well();
    assert!(printed.contains("https://user:…@127.0.0.1:1/status"), "{printed}");
    assert!(!printed.contains("hunter2"), "{printed}");
    let ended = run(&settings, &["doctor", "--no-callback"]);
    assert!(!ended.out.contains("hunter2") && !ended.error.contains("hunter2"), "{ended:?}");
    // What is pasted into Twilio needs it.
    assert!(run(&settings, &["callback-url"]).well().contains("user:hunter2@"));
}

#[test]
fn check_and_doctor_warn_of_the_same() {
    let settings = Settings::new(Role::All)
        .set("TWILIO_AUTH_TOKEN", "'0123456789abcdef0123456789abcdef'")
        .set("OFFHOOK_PUBLIC_URL", "http://127.0.0.1:1/status")
        .set("OFFHOOK_ADMIN__LISTEN", "127.0.0.1:1")
        .set("OFFHOOK_LOG__FILTER", "offhok=debug");
    let printed = run(&settings, &["check"]).well();
    let found = run(&settings, &["doctor", "--no-callback"]).out;
    for part in ["account[0].auth_tokens", "quotes", "/status/status", "log.filter"] {
        assert!(printed.contains(part), "`{part}` is not in: {printed}");
        assert!(found.contains(part), "`{part}` is not in: {found}");
    }
    assert!(!printed.contains("0123456789abcdef0123"), "{printed}");
}

#[test]
fn check_refuses_what_serve_would_refuse() {
    let settings = Settings::new(Role::All).set("DATABASE_URL", "postgres://u:secret@h:port/d");
    let said = run(&settings.set("REDIS_URL", "redis://h"), &["check"]).badly();
    assert!(said.contains("store.url (environment variable DATABASE_URL)"), "{said}");
    assert!(!said.contains("secret") && !said.contains(TOKEN), "{said}");
}

#[tokio::test]
async fn healthcheck_says_whether_the_server_is_ready() {
    let mut testbed = Testbed::embedded();
    let offhook = testbed.start();
    let asked = offhook.client.private().to_string();
    let settings = testbed.settings.clone().set("OFFHOOK_ADMIN__LISTEN", asked);
    assert!(run(&settings, &["healthcheck"]).well().contains("\"ready\":true"));
    drop(offhook);
    let said = run(&settings, &["healthcheck"]).badly();
    assert!(said.contains("no answer from http://127.0.0.1:"), "{said}");

    // One that runs, and cannot do its job.
    testbed = Testbed::embedded();
    let offhook = Offhook::start(&testbed.settings.clone().set("OFFHOOK_SPOOL__MAX_BYTES", "1"));
    let asked = offhook.client.private().to_string();
    let settings = testbed.settings.clone().set("OFFHOOK_ADMIN__LISTEN", asked);
    let said = run(&settings, &["healthcheck"]).badly();
    assert!(said.contains("not ready") && said.contains("spool"), "{said}");
}

#[tokio::test]
async fn migrate_makes_the_tables_and_again_changes_nothing() {
    let testbed = Testbed::embedded();
    for _ in 0..2 {
        let printed = run(&testbed.settings, &["migrate"]).well();
        assert!(printed.contains("offhook.db is up to date"), "{printed}");
        let offhook = testbed.start();
        offhook.client.accepts(&Callback::form(fixture("call.form"))).await;
        testbed.contents_of(1).await;
    }
}

#[tokio::test]
async fn migrate_says_that_postgres_is_away() {
    needs!(Redis, Postgres);
    let mut testbed = Testbed::scale_out(Durability::Unsynced);
    testbed.postgres().kill();
    let said = run(&testbed.settings, &["migrate"]).badly();
    assert!(said.contains("migrations"), "{said}");
}
