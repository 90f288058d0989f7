//! Each condition is named by the verdict while it holds, and by nothing less.

use std::collections::BTreeSet;

use super::*;
use crate::admin::verdict::verdict;
use crate::admin::watch::{Habit, Sample, Seen};
use crate::backend::DurabilityLevel;
use crate::clock::Timestamp;

/// A receiver and worker in one, two minutes before its last hour is over.
fn quiet() -> Vitals {
    let at = |minutes: i64| Timestamp::from_micros(minutes * 60_000_000);
    let sample = |minute| Sample { at: at(minute), ..Sample::default() };
    let mut now = sample(60);
    now.refusals.insert("not_durable".to_owned(), 0);
    Vitals { samples: (0..60).map(sample).collect(), hour: sample(0), now, ..Vitals::default() }
}

fn set(sample: &mut Sample, series: &str, value: f64) {
    let (name, labels) = series.split_once('{').unwrap_or((series, ""));
    let pairs = labels.trim_end_matches('}').split(',').filter_map(|pair| pair.split_once('='));
    let labels = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    sample.figures.set(name, labels, value);
}

/// A quiet hour in which this counter rose, or this gauge stands there, by now.
fn with(series: &[(&str, f64)]) -> Vitals {
    let mut vitals = quiet();
    for (series, value) in series {
        set(&mut vitals.now, series, *value);
    }
    vitals
}

fn changed(change: impl FnOnce(&mut Vitals)) -> Vitals {
    let mut vitals = quiet();
    change(&mut vitals);
    vitals
}

/// Each alert, and the least that it is about.
fn scenes() -> Vec<(&'static str, Vitals)> {
    let refused = |reason: &str| {
        let series = format!("offhook_refusals_total{{reason={reason}}}");
        let mut vitals = with(&[(&series, 1.0)]);
        vitals.now.refusals.insert(reason.to_owned(), 1);
        vitals
    };
    let silent = || {
        let mut vitals = quiet();
        let accepted = "offhook_requests_total{route=status,outcome=accepted}";
        vitals.samples[30..].iter_mut().for_each(|sample| set(sample, accepted, 21.0));
        set(&mut vitals.now, accepted, 21.0);
        vitals
    };
    let outcome = |status| format!("offhook_outcomes_total{{resource=message,status={status}}}");
    let secret = "{account=main,key_id=auth_token_1}";
    vec![
        ("OffhookNotDurable", refused("not_durable")),
        ("OffhookNotDurable", refused("overloaded")),
        ("OffhookNotDurable", refused("no_room")),
        (
            "OffhookInternalErrors",
            with(&[("offhook_requests_total{route=status,outcome=error}", 1.0)]),
        ),
        ("OffhookSignedToNoRoute", refused("signed_unknown_route")),
        ("OffhookLostParameters", refused("lost_parameters")),
        ("OffhookLostParameters", refused("lost_body")),
        ("OffhookTwimlRequests", with(&[("offhook_twiml_requests_total{verb=Gather}", 1.0)])),
        ("OffhookDifferingDuplicates", with(&[("offhook_differing_duplicates_total", 1.0)])),
        ("OffhookRefusals", refused("wrong_signature")),
        ("OffhookRefusals", refused("missing_signature")),
        ("OffhookRefusals", refused("malformed_signature")),
        ("OffhookRefusals", refused("unknown_account")),
        ("OffhookRefusals", refused("missing_body_hash")),
        ("OffhookRefusals", refused("wrong_body_hash")),
        ("OffhookRefusals", refused("unsupported_content_type")),
        ("OffhookRefusals", refused("body_too_large")),
        ("OffhookNoCallbacks", silent()),
        // After a restart.
        (
            "OffhookNoCallbacks",
            changed(|vitals| vitals.habit = Some(Habit { recent: false, usual: true })),
        ),
        ("OffhookSlowAnswers", changed(|vitals| vitals.p95 = Some(5.1))),
        ("OffhookConnectionsNotTaken", with(&[("offhook_accept_failures_total", 1.0)])),
        (
            "OffhookDurabilityBelowConfigured",
            with(&[("offhook_durability_below_configured{backend=redis}", 1.0)]),
        ),
        ("OffhookLocalLogDamaged", with(&[("offhook_spool_damaged_files", 1.0)])),
        ("OffhookOldestAge", changed(|vitals| vitals.now.oldest = 61.0)),
        ("OffhookCircuitOpen", changed(|vitals| vitals.circuit_open = Some(vitals.now.at))),
        ("OffhookSpoolNotEmpty", changed(|vitals| vitals.now.spool = 1)),
        (
            "OffhookCommitsFail",
            with(&[("offhook_commit_errors_total{backend=postgres,error=transient}", 1.0)]),
        ),
        ("OffhookStreamErrors", with(&[("offhook_stream_errors_total", 1.0)])),
        (
            "OffhookStreamGrowing",
            changed(|vitals| (vitals.now.depth, vitals.now.oldest) = (513, 6.0)),
        ),
        ("OffhookStreamUnsupported", with(&[("offhook_stream_unsupported", 1.0)])),
        ("OffhookStreamRefusing", with(&[("offhook_stream_refusing", 1.0)])),
        ("OffhookStreamTakenAway", with(&[("offhook_stream_resets_total{what=stream}", 1.0)])),
        ("OffhookStreamTakenAway", with(&[("offhook_stream_resets_total{what=group}", 1.0)])),
        ("OffhookDeadLetters", changed(|vitals| vitals.now.dead_letters = 1)),
        ("OffhookBlockedByAnotherGroup", with(&[("offhook_stream_blocking_groups", 1.0)])),
        ("OffhookFallbackUnrecorded", with(&[("offhook_fallback_unrecorded_total", 1.0)])),
        ("OffhookReloadFailed", changed(|vitals| vitals.now.reload_failed = true)),
        (
            "OffhookDeliveryFailures",
            with(&[(&outcome("failed"), 2.0), (&outcome("delivered"), 50.0)]),
        ),
        (
            "OffhookConcurrentCalls",
            with(&[("offhook_calls_in_progress", 41.0), ("offhook_calls_limit", 50.0)]),
        ),
        ("OffhookContradictedStatuses", with(&[("offhook_contradicted_statuses_total", 1.0)])),
        (
            "OffhookRetiringSecretStillMatches",
            with(&[
                (&format!("offhook_secret_retiring{secret}"), 1.0),
                (&format!("offhook_secret_matches_total{secret}"), 1.0),
            ]),
        ),
        ("OffhookRetentionHeld", with(&[("offhook_retention_held{table=events}", 1.0)])),
        ("OffhookRetentionFails", with(&[("offhook_retention_errors_total{table=events}", 1.0)])),
    ]
}

fn everysec() -> [(&'static str, DurabilityReport); 1] {
    let settings = "appendonly yes, appendfsync everysec".to_owned();
    [("redis", DurabilityReport { level: DurabilityLevel::EverySecond, settings, breach: None })]
}

#[test]
fn a_condition_that_holds_is_named_and_all_is_not_well() {
    for (alert, vitals) in scenes() {
        let findings = verdict(&vitals, &everysec());
        let named: Vec<_> = findings.iter().filter_map(|finding| finding.alert).collect();
        assert_eq!(named, [alert], "{findings:?}");
        assert_ne!(findings[0].tone, Tone::Good, "{findings:?}");
        assert!(!findings[0].text.contains("Everything is well"), "{findings:?}");
    }
}

#[test]
fn every_condition_has_a_scene() {
    let tried: BTreeSet<_> = scenes().into_iter().map(|(alert, _)| alert).collect();
    let known: BTreeSet<_> = alerts().map(|(alert, _)| alert).collect();
    assert_eq!(tried, known);
}

#[test]
fn an_hour_in_which_nothing_happened_has_none() {
    let findings = verdict(&quiet(), &everysec());
    assert_eq!((findings.len(), findings[0].tone), (1, Tone::Good), "{findings:?}");
}

#[test]
fn what_is_over_for_as_long_as_the_alert_looks_back_is_not_named_any_more() {
    for (alert, vitals) in scenes() {
        let mut later = vitals.clone();
        // All that was counted had been counted an hour ago.
        later.samples = vec![Sample { at: later.samples[0].at, ..vitals.now.clone() }];
        later.hour = later.samples[0].clone();
        later.habit = None;
        let named = |vitals: &Vitals| {
            let findings = verdict(vitals, &everysec());
            findings.iter().any(|finding| finding.alert == Some(alert))
        };
        let gauge = [
            "OffhookSlowAnswers",
            "OffhookDurabilityBelowConfigured",
            "OffhookLocalLogDamaged",
            "OffhookOldestAge",
            "OffhookCircuitOpen",
            "OffhookSpoolNotEmpty",
            "OffhookStreamUnsupported",
            "OffhookStreamRefusing",
            "OffhookRetentionHeld",
            "OffhookDeadLetters",
            "OffhookBlockedByAnotherGroup",
            "OffhookReloadFailed",
            "OffhookConcurrentCalls",
        ];
        assert_eq!(named(&later), gauge.contains(&alert), "{alert}");
    }
}

#[test]
fn a_silence_that_is_usual_or_only_ours_is_none() {
    let silent = scenes().into_iter().find(|(alert, _)| *alert == "OffhookNoCallbacks");
    let (_, silent) = silent.expect("it has a scene");
    for (recent, usual) in [(true, true), (true, false), (false, false)] {
        let vitals = Vitals { habit: Some(Habit { recent, usual }), ..silent.clone() };
        assert_eq!(verdict(&vitals, &everysec())[0].tone, Tone::Good, "{recent} {usual}");
    }
    let mut vitals = Vitals { habit: Some(Habit { recent: false, usual: true }), ..quiet() };
    vitals.now.depth = 1;
    assert_eq!(verdict(&vitals, &everysec())[0].tone, Tone::Good, "what came waits");
    vitals.now.depth = 0;
    vitals.now.refusals.clear();
    assert_eq!(verdict(&vitals, &everysec())[0].tone, Tone::Good, "a worker takes none");
}

#[test]
fn a_redis_that_is_away_is_told_of_once() {
    let mut vitals = with(&[("offhook_stream_errors_total", 9.0)]);
    let now = vitals.now.at;
    vitals.dependencies =
        vec![Seen { name: "redis", need: "either", away: Some(now), error: None }];
    (vitals.now.oldest, vitals.now.spool, vitals.circuit_open) = (99.0, 7, Some(now));
    let findings = verdict(&vitals, &everysec());
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert!(findings[0].text.contains("7 events wait"), "{findings:?}");
}

#[test]
fn what_redis_refuses_is_said_in_its_own_words() {
    let mut vitals = with(&[("offhook_stream_refusing", 1.0)]);
    let (away, error) = (Some(vitals.now.at), Some("XADD: NOREPLICAS Not enough".to_owned()));
    vitals.dependencies = vec![Seen { name: "redis", need: "either", away, error }];
    let says = |vitals: &Vitals, where_to: &str| {
        let found: Vec<_> =
            verdict(vitals, &everysec()).into_iter().map(|finding| finding.text).collect();
        let refused = |text: &&String| text.contains("refused what is needed since");
        let said: Vec<_> = found.iter().filter(refused).collect();
        assert_eq!(said.len(), 1, "{found:?}");
        let parts = ["NOREPLICAS Not enough", "Callbacks are answered", where_to];
        assert!(parts.iter().all(|part| said[0].contains(part)), "{found:?}");
        assert!(!found.iter().any(|text| text.contains("been down")), "{found:?}");
    };
    // Only what stores is refused.
    vitals.now.depth = 3;
    says(&vitals, "and wait in Redis: 3 events wait there");
    (vitals.circuit_open, vitals.now.spool) = (Some(vitals.now.at), 7);
    says(&vitals, "and go to the spool: 7 events wait there");
    vitals.now.refusals.clear();
    says(&vitals, "answered. The reason");
}

#[test]
fn a_share_of_refusals_is_urgent_and_a_stray_scanner_is_not() {
    let told = |reason: &str, refused: u64, requests: f64| {
        let mut vitals =
            with(&[("offhook_requests_total{route=status,outcome=accepted}", requests)]);
        // Probes and scanners are no requests for a route.
        set(&mut vitals.now, "offhook_requests_total{route=other,outcome=refused}", 100_000.0);
        vitals.now.refusals.insert(reason.to_owned(), refused);
        verdict(&vitals, &everysec()).remove(0).tone
    };
    assert_eq!(told("wrong_signature", 6, 100.0), Tone::Bad);
    assert_eq!(told("wrong_signature", 5, 100.0), Tone::Odd);
    assert_eq!(told("missing_signature", 2, 100.0), Tone::Later);
    assert_eq!(told("missing_signature", 3, 100.0), Tone::Odd);
    assert_eq!(told("unknown_route", 1000, 100.0), Tone::Good);
}

/// Of a process without Redis.
#[test]
fn before_a_store_of_its_own_events_wait_in_the_local_log() {
    let seen = |name, need, away| Seen { name, need, away, error: None };
    let mut vitals = quiet();
    let now = vitals.now.at;
    for (store, text) in [("postgres", "Postgres has not"), ("sqlite", "The store's file has not")]
    {
        vitals.dependencies = vec![seen("spool", "must", None), seen(store, "optional", Some(now))];
        vitals.now.depth = 12;
        let findings = verdict(&vitals, &everysec());
        assert_eq!(findings.len(), 1, "{findings:?}");
        let said = &findings[0].text;
        assert!(said.starts_with(text) && said.contains("12 events wait there"), "{said}");
        assert!(!said.contains("Redis"), "{said}");
    }
    // Everything goes through it, so that some of it being there is nothing to look at.
    vitals.dependencies = vec![seen("spool", "must", None), seen("sqlite", "optional", None)];
    (vitals.now.depth, vitals.now.oldest) = (5000, 0.1);
    assert_eq!(verdict(&vitals, &everysec())[0].tone, Tone::Good);
    vitals.dependencies = vec![seen("spool", "must", Some(now))];
    let said = verdict(&vitals, &everysec()).remove(0);
    assert_eq!(said.tone, Tone::Bad);
    assert!(said.text.contains("callbacks are refused"), "{said:?}");
}
