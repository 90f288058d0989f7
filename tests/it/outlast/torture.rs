//! `offhook torture`, a short run of each scenario, by the program itself; and that it finds out a
//! worker which loses events, and what sends wrongly.

use std::path::Path;
use std::process::{Output, Stdio};

use offhook::crash_points::Sabotage;
use serde_json::Value;

use crate::services::{Signal, guarded, needs, note, skip};

/// Runs `offhook torture`; its lines of JSON, and how it ended.
fn torture(arguments: &[&str]) -> (Vec<Value>, Output) {
    let mut command = guarded(Path::new(env!("CARGO_BIN_EXE_offhook")), Signal::Terminate);
    command.arg("torture").args(arguments).stdin(Stdio::null());
    let output = command.output().expect("setpriv starts it");
    let lines = String::from_utf8_lossy(&output.stdout).into_owned();
    (lines.lines().filter_map(|line| serde_json::from_str(line).ok()).collect(), output)
}

/// One test per scenario, of its name.
macro_rules! scenarios {
    ($($test:ident),+ $(,)?) => {
        const SCENARIOS: &[&str] = &[$(stringify!($test)),+];
        $(
            #[test]
            fn $test() {
                needs!(Redis, Postgres);
                fn here() {}
                nothing_is_lost(stringify!($test), std::any::type_name_of_val(&here));
            }
        )+
    };
}

scenarios! {
    worker_crash,
    receiver_crash,
    worker_kill,
    receiver_kill,
    embedded_kill,
    embedded_crash,
    feed_readers,
    embedded_feed_readers,
    forward_crash,
    forward_endpoint_down,
    direct_kill,
    direct_outage,
    embedded_power_cut,
    direct_power_cut,
    redis_kill,
    redis_power_cut,
    redis_stopped,
    redis_full,
    postgres_down,
    postgres_kill,
    postgres_locked,
    postgres_timeouts,
    postgres_read_only,
    redis_restart_backlog,
    marks_full,
    trim_pace,
    sentinel_stale,
    clock_ahead,
    spool_full,
    spool_damaged,
    network,
    duplicate_storm,
    clocks,
    stalled_consumer,
    rolling_restart,
    poison,
    slowloris,
    flood,
    forgeries,
    silent_clients,
    send_crash,
    send_kill,
    send_unknown,
    send_throttled,
    send_frozen,
    chain,
    campaign,
    callbacks_lost,
}

fn nothing_is_lost(test: &str, path: &str) {
    let name = test.replace('_', "-");
    let (lines, output) = torture(&["--only", &name, "--seconds", "2", "--seed", "1"]);
    let said = String::from_utf8_lossy(&output.stderr);
    let [line] = &lines[..] else { panic!("{lines:?}\n{said}") };
    println!("{line}");
    if line["skipped"].is_string() {
        // A disk of its own cannot be had everywhere.
        return match name.ends_with("power-cut") {
            true => note(path, "right to mount a file system"),
            false => skip(path, "program with the feature crash-points"),
        };
    }
    assert!(output.status.success(), "{line}\n{said}");
    for figure in ["doubled", "wrong", "extra"] {
        assert_eq!(line[figure], 0, "{line}");
    }
    assert!(line["lost"] == 0 || line["expected_loss"] == true, "{line}");
    assert_ne!(line["acked"], 0, "{line}");
}

#[test]
fn every_scenario_is_run_here() {
    let (_, output) = torture(&["--list"]);
    let listed = String::from_utf8_lossy(&output.stdout).into_owned();
    let listed: Vec<String> =
        listed.lines().filter_map(|line| Some(line.split(' ').next()?.replace('-', "_"))).collect();
    assert_eq!(listed, SCENARIOS);
}

/// What sends does it wrongly in one way: this check finds that out.
#[track_caller]
fn is_found_out(path: &str, sabotage: Sabotage, scenario: &str, check: &str) {
    if !offhook::crash_points::CAN_BE_SABOTAGED {
        return skip(path, "program with the feature naive-sender");
    }
    needs!(Redis, Postgres);
    let sabotaged = ["--sabotage", sabotage.as_str(), "--only", scenario];
    let (lines, output) = torture(&[&sabotaged[..], &["--seconds", "3", "--seed", "1"]].concat());
    let [line] = &lines[..] else { panic!("{}", String::from_utf8_lossy(&output.stderr)) };
    println!("{line}");
    let checks = line["checks"].as_array().expect("it sends");
    let found = checks.iter().find(|it| it["name"] == check).expect("there is this check");
    assert!(found["wrong"].as_u64().is_some_and(|wrong| wrong > 0), "{line}");
    assert_eq!(output.status.code(), Some(1), "{line}");
}

/// One test per sabotage: its name, where it is carried out, and the check that finds it.
macro_rules! sabotages {
    ($($test:ident: $sabotage:ident in $scenario:literal by $check:literal),+ $(,)?) => {
        const SABOTAGES: &[Sabotage] = &[$(Sabotage::$sabotage),+];
        $(
            #[test]
            fn $test() {
                fn here() {}
                let path = std::any::type_name_of_val(&here);
                is_found_out(path, Sabotage::$sabotage, $scenario, $check);
            }
        )+
    };
}

sabotages! {
    a_retry_after_a_time_out_is_found_out: RetriesTimeouts in "send-unknown" by "once",
    a_missing_write_ahead_is_found_out: NoWriteAhead in "send-unknown" by "ahead",
    a_gate_that_is_not_read_again_is_found_out: GateNotReadAgain in "send-unknown" by "suppressed",
    // Of a campaign more is due than its pace allows, also on a machine that is busy.
    a_pace_in_memory_is_found_out: PaceInMemory in "campaign" by "paced",
    a_sid_without_its_account_is_found_out: SidWithoutAccount in "send-unknown" by "foreign",
    an_escalation_on_silence_is_found_out: EscalatesOnSilence in "chain" by "not_called",
    a_pause_of_a_campaign_that_is_ignored_is_found_out: PauseIgnored in "campaign" by "paused",
}

#[test]
fn every_sabotage_is_found_out_here() {
    assert_eq!(SABOTAGES, Sabotage::ALL);
}

#[test]
fn a_worker_that_claims_before_it_stores_is_found_out() {
    fn here() {}
    if !offhook::crash_points::CAN_BE_NAIVE {
        return skip(std::any::type_name_of_val(&here), "program with the feature naive-worker");
    }
    needs!(Redis, Postgres);
    let arguments = ["--naive-workers", "--only", "worker-crash", "--seconds", "5", "--seed", "1"];
    let (lines, output) = torture(&arguments);
    let [line] = &lines[..] else { panic!("{}", String::from_utf8_lossy(&output.stderr)) };
    println!("{line}");
    assert!(line["lost"].as_u64().is_some_and(|lost| lost > 0), "{line}");
    assert_eq!(output.status.code(), Some(1), "{line}");
}
