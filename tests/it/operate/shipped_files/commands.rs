//! Commands that only print: what to paste into Twilio, what shells and `man` read.

use offhook::config::Role;

use crate::harness::{Settings, run};

#[test]
fn callback_urls_are_those_of_the_configuration() {
    let settings = Settings::new(Role::All).set("OFFHOOK_INBOUND__PATH_PREFIX", "/twilio");
    let said = run(&settings, &["callback-url"]).well();
    assert!(said.contains("'https://hooks.example.com/twilio/status#rc=5&rp=all'"), "{said}");
}

#[test]
fn each_shell_has_completions() {
    let settings = Settings::new(Role::All);
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let said = run(&settings, &["completions", shell]).well();
        assert!(said.contains("callback-url") && said.contains("dead-letters"), "{shell}: {said}");
    }
}

#[test]
fn each_command_has_a_page_of_the_manual() {
    let settings = Settings::new(Role::All);
    let page = run(&settings, &["man"]).well();
    assert!(page.contains(".TH offhook 1"), "{page}");
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().display().to_string();
    run(&settings, &["man", "--directory", &path]).well();
    for page in ["offhook.1", "offhook-serve.1", "offhook-dead-letters-replay.1"] {
        let text = std::fs::read_to_string(directory.path().join(page));
        assert!(text.is_ok_and(|text| text.contains(".SH OPTIONS")), "{page}");
    }
}
