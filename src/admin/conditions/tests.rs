//! Each condition is named by the verdict while it holds, and by nothing less.

use std::collections::BTreeSet;

use super::*;
use crate::admin::help;
use crate::admin::last_hour::{DependencyStatus, ForwardSample, Habit, Sample, SecretName};
use crate::admin::verdict::verdict;
use crate::backend::forwards::Disabled;
use crate::backend::{DurabilityLevel, Need};
use crate::clock::Timestamp;
use crate::event::{Resource, Route};
use crate::http::RequestOutcome;
use crate::pipeline::CommitFailure;
use crate::recent::Refusal;
use crate::twilio::kind::twiml_request::Verb;

/// A receiver and worker in one, two minutes before its last hour is over.
fn quiet() -> Vitals {
    let at = |minutes: i64| Timestamp::from_micros(minutes * 60_000_000);
    let sample = |minute| Sample { at: at(minute), ..Sample::default() };
    let mut now = sample(60);
    now.receives = true;
    Vitals { samples: (0..60).map(sample).collect(), hour: sample(0), now, ..Vitals::default() }
}

fn changed(change: impl FnOnce(&mut Vitals)) -> Vitals {
    let mut vitals = quiet();
    change(&mut vitals);
    vitals
}

/// A quiet hour in which this was counted, or stands there, by now.
fn counted(change: impl FnOnce(&mut Sample)) -> Vitals {
    changed(|vitals| change(&mut vitals.now))
}

/// A forward that stands like this.
fn forwarded(change: impl FnOnce(&mut ForwardSample)) -> Vitals {
    let mut forward = ForwardSample { name: "app".to_owned(), ..ForwardSample::default() };
    change(&mut forward);
    counted(|now| now.forwards.push(forward))
}

/// So many requests of an account to send, and those of them that were throttled.
fn requested(all: u64, throttled: u64) -> Vitals {
    counted(|now| now.sending.requests.push(("main".to_owned(), all, throttled)))
}

/// So many requests of an account to send, and those of them for which there was no connection.
fn unsent(all: u64, unsent: u64) -> Vitals {
    counted(|now| {
        now.sending.requests.push(("main".to_owned(), all, 0));
        now.sending.unsent.push(("main".to_owned(), unsent));
    })
}

#[test]
fn a_provider_is_out_of_reach_if_no_request_gets_there() {
    for (all, failed, is_told) in [(3, 3, true), (4, 3, false), (3, 0, false), (0, 0, false)] {
        let found = verdict(&unsent(all, failed), &everysec());
        let found = found.iter().any(|it| it.alert == Some("OffhookSendUnreachable"));
        assert_eq!(found, is_told, "{failed} of {all}");
    }
}

/// This many calls of an account are open, of 10 that there may be, for as many minutes.
fn calling(open: u64, minutes: usize) -> Vitals {
    changed(|vitals| {
        let calls = vec![("main".to_owned(), open, 10)];
        vitals.samples[60 - minutes..].iter_mut().for_each(|it| it.sending.calls = calls.clone());
        vitals.now.sending.calls = calls;
    })
}

#[test]
fn calls_are_near_their_limit_once_they_have_been_for_5_minutes() {
    let is_named = |vitals: &Vitals| {
        verdict(vitals, &[]).iter().any(|found| found.alert == Some("OffhookCallsNearLimit"))
    };
    assert!(is_named(&calling(9, 5)));
    assert!(!is_named(&calling(9, 4)), "for less");
    assert!(!is_named(&calling(8, 5)), "80 % is not more than that");
    let mut young = calling(9, 5);
    young.samples.drain(..58);
    assert!(!is_named(&young), "a process does not know what was before it");
}

/// Each alert, and the least that it is about.
fn scenes() -> Vec<(&'static str, Vitals)> {
    let refused = |reason| counted(|now| now.refusals.add(reason, 1));
    let counted_once = |count: fn(&mut Sample) -> &mut u64| counted(|now| *count(now) = 1);
    let status = |outcome| (Some(Route::Status), outcome);
    let silent = || {
        let mut vitals = quiet();
        let accept =
            |sample: &mut Sample| sample.requests.add(status(RequestOutcome::Accepted), 21);
        vitals.samples[30..].iter_mut().for_each(accept);
        accept(&mut vitals.now);
        vitals
    };
    let secret = || SecretName { account: "main".to_owned(), key_id: "auth_token_1".to_owned() };
    vec![
        ("OffhookNotDurable", refused(Refusal::NotDurable)),
        ("OffhookNotDurable", refused(Refusal::Overloaded)),
        ("OffhookNotDurable", refused(Refusal::NoRoom)),
        (
            "OffhookInternalErrors",
            counted(|now| now.requests.add(status(RequestOutcome::Error), 1)),
        ),
        ("OffhookSignedToNoRoute", refused(Refusal::SignedUnknownRoute)),
        ("OffhookLostParameters", refused(Refusal::LostParameters)),
        ("OffhookLostParameters", refused(Refusal::LostBody)),
        ("OffhookTwimlRequests", counted(|now| now.twiml_requests.add(Verb::Gather, 1))),
        ("OffhookDifferingDuplicates", counted_once(|now| &mut now.differing)),
        ("OffhookRefusals", refused(Refusal::WrongSignature)),
        ("OffhookRefusals", refused(Refusal::MissingSignature)),
        ("OffhookRefusals", refused(Refusal::MalformedSignature)),
        ("OffhookRefusals", refused(Refusal::UnknownAccount)),
        ("OffhookRefusals", refused(Refusal::MissingBodyHash)),
        ("OffhookRefusals", refused(Refusal::WrongBodyHash)),
        ("OffhookRefusals", refused(Refusal::UnsupportedContentType)),
        ("OffhookRefusals", refused(Refusal::BodyTooLarge)),
        ("OffhookNoCallbacks", silent()),
        // After a restart.
        (
            "OffhookNoCallbacks",
            changed(|vitals| vitals.habit = Some(Habit { recent: false, usual: true })),
        ),
        ("OffhookSlowAnswers", changed(|vitals| vitals.p95 = Some(5.1))),
        ("OffhookConnectionsNotTaken", counted_once(|now| &mut now.accept_failures)),
        ("OffhookDurabilityBelowConfigured", counted(|now| now.below.push(Backend::Redis))),
        ("OffhookLocalLogDamaged", counted_once(|now| &mut now.damaged_files)),
        ("OffhookOldestAge", counted(|now| now.oldest = 61.0)),
        ("OffhookCircuitOpen", changed(|vitals| vitals.circuit_open = Some(vitals.now.at))),
        ("OffhookSpoolNotEmpty", counted_once(|now| &mut now.spool)),
        (
            "OffhookCommitsFail",
            counted(|now| now.commit_errors.add((Backend::Postgres, CommitFailure::Transient), 1)),
        ),
        ("OffhookStreamErrors", counted_once(|now| &mut now.stream_errors)),
        ("OffhookStreamGrowing", counted(|now| (now.depth, now.oldest) = (513, 6.0))),
        ("OffhookStreamUnsupported", counted(|now| now.stream_unsupported = true)),
        ("OffhookStreamRefusing", counted(|now| now.stream_refusing = true)),
        ("OffhookStreamTakenAway", counted_once(|now| &mut now.stream_resets)),
        ("OffhookStreamTakenAway", counted_once(|now| &mut now.group_resets)),
        ("OffhookDeadLetters", counted_once(|now| &mut now.dead_letters)),
        ("OffhookBlockedByAnotherGroup", counted_once(|now| &mut now.blocking_groups)),
        ("OffhookFallbackUnrecorded", counted_once(|now| &mut now.fallback_unrecorded)),
        ("OffhookReloadFailed", counted(|now| now.reload_failed = true)),
        (
            "OffhookDeliveryFailures",
            counted(|now| {
                now.outcomes.add((Resource::Message, "failed"), 2);
                now.outcomes.add((Resource::Message, "delivered"), 50);
            }),
        ),
        (
            "OffhookEmailBounces",
            counted(|now| {
                now.outcomes.add((Resource::Email, "bounce"), 3);
                now.outcomes.add((Resource::Email, "delivered"), 50);
            }),
        ),
        (
            "OffhookConcurrentCalls",
            counted(|now| (now.calls_in_progress, now.calls_limit) = (41, 50)),
        ),
        ("OffhookFullConference", counted(|now| now.participants = 201)),
        ("OffhookContradictedStatuses", counted_once(|now| &mut now.contradicted)),
        (
            "OffhookRetiringSecretStillMatches",
            counted(|now| {
                now.retiring.push(secret());
                now.secret_matches.add(secret(), 1);
            }),
        ),
        ("OffhookForwardDisabled", forwarded(|forward| forward.disabled = Some(Disabled::Failing))),
        ("OffhookForwardCut", forwarded(|forward| forward.cut = 1)),
        ("OffhookForwardErrors", forwarded(|forward| forward.store_errors = 1)),
        ("OffhookForwardDown", forwarded(|forward| (forward.down, forward.lag) = (true, 601.0))),
        ("OffhookForwardLate", forwarded(|forward| forward.lag = 601.0)),
        ("OffhookForwardGivenUp", forwarded(|forward| forward.given_up = 1)),
        ("OffhookSendLate", counted(|now| (now.sending.due, now.sending.oldest_due) = (1, 60.1))),
        ("OffhookSendOtherKey", counted(|now| now.sending.has_other_key = true)),
        ("OffhookSendUnreachable", unsent(3, 3)),
        ("OffhookCallsNearLimit", calling(9, 5)),
        ("OffhookSendUnknown", counted_once(|now| &mut now.sending.unknown)),
        ("OffhookSenderPaused", counted(|now| now.sending.paused.push("alerts".to_owned()))),
        ("OffhookCampaignStopped", counted(|now| now.sending.campaigns_stopped = 1)),
        ("OffhookSentTwice", counted_once(|now| &mut now.sending.duplicates)),
        ("OffhookAttemptMismatch", counted_once(|now| &mut now.sending.mismatches)),
        ("OffhookEscalatedBlind", counted(|now| now.sending.escalated_blind = 1)),
        ("OffhookCallbacksMissed", counted(|now| now.sending.missed = 5)),
        ("OffhookSendThrottled", requested(20, 2)),
        ("OffhookRetentionHeld", counted(|now| now.retention_held.push("events"))),
        ("OffhookRetentionFails", counted(|now| now.retention_errors.add("events", 1))),
    ]
}

fn everysec() -> [(Backend, DurabilityReport); 1] {
    let settings = "appendonly yes, appendfsync everysec".to_owned();
    [(
        Backend::Redis,
        DurabilityReport { level: DurabilityLevel::EverySecond, settings, breach: None },
    )]
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
    let known: BTreeSet<_> = alerts().map(|(alert, ..)| alert).collect();
    assert_eq!(tried, known);
}

#[test]
fn every_condition_leads_to_a_section_of_the_runbook() {
    let runbook = help::page(help::RUNBOOK).expect("it is served").html();
    let dependencies = [
        Dependency::Redis,
        Dependency::Postgres,
        Dependency::Sqlite,
        Dependency::Spool,
        Dependency::SpoolDisk,
    ];
    let away = dependencies.map(|dependency| {
        changed(|vitals| {
            let away = Some(vitals.now.at);
            let seen = DependencyStatus { dependency, need: Need::Must, away, error: None };
            vitals.dependencies = vec![seen];
        })
    });
    for vitals in scenes().into_iter().map(|(_, vitals)| vitals).chain(away) {
        for finding in verdict(&vitals, &everysec()) {
            let section = finding.section.unwrap_or_else(|| panic!("no help: {finding:?}"));
            assert!(runbook.contains(&format!("id=\"{section}\"")), "no {section}: {finding:?}");
        }
    }
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
            "OffhookForwardDisabled",
            "OffhookForwardDown",
            "OffhookForwardLate",
            "OffhookRetentionHeld",
            "OffhookCallsNearLimit",
            "OffhookSendOtherKey",
            "OffhookSendUnknown",
            "OffhookSenderPaused",
            "OffhookCampaignStopped",
            "OffhookDeadLetters",
            "OffhookBlockedByAnotherGroup",
            "OffhookReloadFailed",
            "OffhookConcurrentCalls",
            "OffhookFullConference",
        ];
        assert_eq!(named(&later), gauge.contains(&alert), "{alert}");
    }
}

#[test]
fn a_silence_that_is_usual_or_only_ours_is_none() {
    let silent = scenes().into_iter().find(|(alert, _)| *alert == "OffhookNoCallbacks");
    let (_, silent) = silent.expect("it has a evidence");
    for (recent, usual) in [(true, true), (true, false), (false, false)] {
        let vitals = Vitals { habit: Some(Habit { recent, usual }), ..silent.clone() };
        assert_eq!(verdict(&vitals, &everysec())[0].tone, Tone::Good, "{recent} {usual}");
    }
    let mut vitals = Vitals { habit: Some(Habit { recent: false, usual: true }), ..quiet() };
    vitals.now.depth = 1;
    assert_eq!(verdict(&vitals, &everysec())[0].tone, Tone::Good, "what came waits");
    vitals.now.depth = 0;
    vitals.now.receives = false;
    assert_eq!(verdict(&vitals, &everysec())[0].tone, Tone::Good, "a worker takes none");
}

#[test]
fn a_redis_that_is_away_is_told_of_once() {
    let mut vitals = counted(|now| now.stream_errors = 9);
    let now = vitals.now.at;
    vitals.dependencies = vec![DependencyStatus {
        dependency: Dependency::Redis,
        need: Need::Either,
        away: Some(now),
        error: None,
    }];
    (vitals.now.oldest, vitals.now.spool, vitals.circuit_open) = (99.0, 7, Some(now));
    let findings = verdict(&vitals, &everysec());
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert!(findings[0].text.contains("7 events wait"), "{findings:?}");
}

#[test]
fn what_redis_refuses_is_said_in_its_own_words() {
    let mut vitals = counted(|now| now.stream_refusing = true);
    let (away, error) = (Some(vitals.now.at), Some("XADD: NOREPLICAS Not enough".to_owned()));
    vitals.dependencies =
        vec![DependencyStatus { dependency: Dependency::Redis, need: Need::Either, away, error }];
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
    vitals.now.receives = false;
    says(&vitals, "answered. The reason");
}

#[test]
fn a_share_of_refusals_is_urgent_and_a_stray_scanner_is_not() {
    let told = |reason, refused, requests| {
        let vitals = counted(|now| {
            let accepted = (Some(Route::Status), RequestOutcome::Accepted);
            now.requests.add(accepted, requests);
            // Probes and scanners are no requests for a route.
            now.requests.add((None, RequestOutcome::Refused), 100_000);
            now.refusals.add(reason, refused);
        });
        verdict(&vitals, &everysec()).remove(0).tone
    };
    assert_eq!(told(Refusal::WrongSignature, 6, 100), Tone::Bad);
    assert_eq!(told(Refusal::WrongSignature, 5, 100), Tone::Odd);
    assert_eq!(told(Refusal::MissingSignature, 2, 100), Tone::Later);
    assert_eq!(told(Refusal::MissingSignature, 3, 100), Tone::Odd);
    assert_eq!(told(Refusal::UnknownRoute, 1000, 100), Tone::Good);
}

/// Of a process without Redis.
#[test]
fn before_a_store_of_its_own_events_wait_in_the_local_log() {
    let seen = |dependency, need, away| DependencyStatus { dependency, need, away, error: None };
    let mut vitals = quiet();
    let now = vitals.now.at;
    for (store, text) in [
        (Dependency::Postgres, "Postgres has not"),
        (Dependency::Sqlite, "The store's file has not"),
    ] {
        vitals.dependencies =
            vec![seen(Dependency::Spool, Need::Must, None), seen(store, Need::Optional, Some(now))];
        vitals.now.depth = 12;
        let findings = verdict(&vitals, &everysec());
        assert_eq!(findings.len(), 1, "{findings:?}");
        let said = &findings[0].text;
        assert!(said.starts_with(text) && said.contains("12 events wait there"), "{said}");
        assert!(!said.contains("Redis"), "{said}");
    }
    // Everything goes through it, so that some of it being there is nothing to look at.
    vitals.dependencies = vec![
        seen(Dependency::Spool, Need::Must, None),
        seen(Dependency::Sqlite, Need::Optional, None),
    ];
    (vitals.now.depth, vitals.now.oldest) = (5000, 0.1);
    assert_eq!(verdict(&vitals, &everysec())[0].tone, Tone::Good);
    vitals.dependencies = vec![seen(Dependency::Spool, Need::Must, Some(now))];
    let said = verdict(&vitals, &everysec()).remove(0);
    assert_eq!(said.tone, Tone::Bad);
    assert!(said.text.contains("callbacks are refused"), "{said:?}");
}

/// Who disabled it knows.
#[test]
fn what_an_operator_disabled_is_not_told() {
    let vitals = forwarded(|forward| forward.disabled = Some(Disabled::Operator));
    let findings = verdict(&vitals, &everysec());
    assert!(findings.iter().all(|finding| finding.alert.is_none()), "{findings:?}");
}

#[test]
fn a_few_requests_that_are_throttled_or_a_small_share_are_not_told() {
    for (all, throttled) in [(19, 19), (20, 1), (1000, 50), (0, 0)] {
        let findings = verdict(&requested(all, throttled), &everysec());
        assert_eq!(findings[0].tone, Tone::Good, "{throttled} of {all}: {findings:?}");
    }
    assert_eq!(verdict(&requested(1000, 51), &everysec())[0].tone, Tone::Odd);
}

#[test]
fn what_is_due_and_becomes_less_is_not_told() {
    let mut vitals = counted(|now| (now.sending.due, now.sending.oldest_due) = (7, 99.0));
    vitals.samples.iter_mut().for_each(|sample| sample.sending.due = 8);
    assert_eq!(verdict(&vitals, &everysec())[0].tone, Tone::Good);
}
