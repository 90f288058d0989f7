//! What the commands print, on a terminal and where nobody reads it.

use std::process::Command;

use offhook::config::Role;

use crate::harness::{ACCOUNT, Callback, Ended, Settings, Testbed, program, run};
use crate::services::tool;

/// As `offhook … | head -1` is, once `head` has gone.
fn unread(settings: &Settings, arguments: &[&str], errors_too: bool) -> Ended {
    let closed = || {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        writer
    };
    let mut command = program(settings, arguments);
    command.stdout(closed());
    if errors_too {
        command.stderr(closed());
    }
    Ended::from(command.output().expect("the program is built"))
}

#[test]
fn a_pipe_that_nobody_reads_is_no_reason_to_panic() {
    let testbed = Testbed::embedded();
    let settings = testbed.settings.clone().set("OFFHOOK_ADMIN__LISTEN", "127.0.0.1:1");
    for (arguments, code) in [
        (&["check"][..], 0),
        (&["callback-url"], 0),
        (&["dead-letters", "list"], 0),
        (&["man"], 0),
        (&["completions", "bash"], 0),
        (&["torture", "--list"], 0),
        (&["migrate"], 0),
        (&["--help"], 0),
        (&["demo", "--exit"], 0),
        // Whether it found something is still told.
        (&["doctor", "--no-callback"], 1),
        (&["send", "http://127.0.0.1:1/status"], 1),
        (&["verify", "--url", "https://h.example/", "--signature", "x"], 1),
        (&["inspect", "CA1"], 1),
        (&["stats"], 1),
        (&["healthcheck"], 1),
    ] {
        for errors_too in [false, true] {
            let ended = unread(&settings, arguments, errors_too);
            assert!(!ended.error.contains("panicked"), "{arguments:?}: {ended:?}");
            assert_eq!(ended.code, Some(code), "{arguments:?}: {ended:?}");
        }
    }
}

#[test]
fn what_cannot_be_written_is_no_success() {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("Linux has one");
    let mut command = program(&Settings::new(Role::All), &["callback-url"]);
    let ended = Ended::from(command.stdout(full).output().expect("the program is built"));
    assert!(ended.badly().contains("standard output"));
}

#[tokio::test]
async fn what_twilio_sent_does_nothing_to_a_terminal() {
    let script = tool!("script");
    let testbed = Testbed::embedded();
    let offhook = testbed.start();
    let sid = "CA00000000000000000000000000000077";
    let body = format!(
        "AccountSid={ACCOUNT}&CallSid={sid}&CallStatus=busy&CallbackSource=call-progress-events\
         &From=%1B%5D0%3BPWNED%07%1B%5B2J&To=%C2%9B2J&ErrorCode=%1B%5B31m13224"
    );
    offhook.client.accepts(&Callback::form(body)).await;
    testbed.contents_of(1).await;
    let admin = format!("http://{}", offhook.client.admin_address());
    let settings = testbed.settings.clone().set("OFFHOOK_ADMIN_URL", admin);
    for command in [&format!("inspect {sid}")[..], "stats", &format!("inspect --json {sid}")] {
        // On a terminal of its own.
        let on_terminal = format!("{} {command}", env!("CARGO_BIN_EXE_offhook"));
        let output = Command::new(&script)
            .args(["-qec", &on_terminal, "/dev/null"])
            .env_clear()
            .envs(settings.environment())
            .env("PATH", env!("PATH"))
            .output()
            .expect("it can be started");
        let shown = String::from_utf8_lossy(&output.stdout).into_owned();
        let shown = shown.replace("\r\n", "\n");
        assert!(output.status.success(), "{shown}");
        assert!(!shown.chars().any(|c| c.is_control() && c != '\n'), "{command}: {shown:?}");
        assert!(shown.contains("13224"), "{command}: {shown:?}");
    }
    // A program gets what was stored.
    let piped = run(&settings, &["inspect", sid]).well();
    assert!(piped.contains("\\u001b]0;PWNED"), "{piped}");
}
