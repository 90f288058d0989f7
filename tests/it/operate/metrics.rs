//! The metrics are there from the start, can be read, and say what happened.

use std::collections::{BTreeMap, BTreeSet};

use crate::harness::{Callback, Client, Testbed, every_mode, fixture, until};

every_mode! {
    every_series_is_there_before_anything_happens,
    the_numbers_say_what_happened,
    a_call_is_in_progress_until_it_ends_or_is_too_old,
}

/// Name and type.
pub(crate) const FAMILIES: &[(&str, &str)] = &[
    ("offhook_about_other_accounts_total", "counter"),
    ("offhook_accept_failures_total", "counter"),
    ("offhook_callbacks_missed_total", "counter"),
    ("offhook_differing_duplicates_total", "counter"),
    ("offhook_statuses_never_final_total", "counter"),
    ("offhook_twiml_requests_total", "counter"),
    ("offhook_admin_wrong_tokens_total", "counter"),
    ("offhook_batch_events", "histogram"),
    ("offhook_build_info", "gauge"),
    ("offhook_calls_in_progress", "gauge"),
    ("offhook_calls_limit", "gauge"),
    ("offhook_circuit_open", "gauge"),
    ("offhook_circuit_opened_total", "counter"),
    ("offhook_claimed_deliveries_total", "counter"),
    ("offhook_commit_duration_seconds", "histogram"),
    ("offhook_commit_errors_total", "counter"),
    ("offhook_conference_participants", "gauge"),
    ("offhook_config_last_reload_success_timestamp_seconds", "gauge"),
    ("offhook_config_last_reload_successful", "gauge"),
    ("offhook_config_reloads_total", "counter"),
    ("offhook_connections", "gauge"),
    ("offhook_connections_cut_total", "counter"),
    ("offhook_connections_limit", "gauge"),
    ("offhook_connections_saturated_total", "counter"),
    ("offhook_contradicted_statuses_total", "counter"),
    ("offhook_dead_letters", "gauge"),
    ("offhook_dead_letters_total", "counter"),
    ("offhook_durability_below_configured", "gauge"),
    ("offhook_durability_breach", "gauge"),
    ("offhook_durability_in_force", "gauge"),
    ("offhook_events_total", "counter"),
    ("offhook_failures_total", "counter"),
    ("offhook_fallback_unrecorded_total", "counter"),
    ("offhook_feed_listen_failures_total", "counter"),
    ("offhook_feed_listening", "gauge"),
    ("offhook_folded_events_total", "counter"),
    ("offhook_forward_age_seconds", "histogram"),
    ("offhook_forward_attempts_total", "counter"),
    ("offhook_forward_cut_total", "counter"),
    ("offhook_forward_disabled", "gauge"),
    ("offhook_forward_down", "gauge"),
    ("offhook_forward_given_up_total", "counter"),
    ("offhook_forward_lag_seconds", "gauge"),
    ("offhook_forward_store_errors_total", "counter"),
    ("offhook_forward_waiting", "gauge"),
    ("offhook_late_updates_total", "counter"),
    ("offhook_log_lines_dropped_total", "counter"),
    ("offhook_marks_given_up", "gauge"),
    ("offhook_notification_confirmed_seconds", "histogram"),
    ("offhook_notifications_total", "counter"),
    ("offhook_outcomes_total", "counter"),
    ("offhook_reaped_consumers_total", "counter"),
    ("offhook_refusals_total", "counter"),
    ("offhook_request_duration_seconds", "histogram"),
    ("offhook_requests_total", "counter"),
    ("offhook_retention_deleted_total", "counter"),
    ("offhook_retention_errors_total", "counter"),
    ("offhook_retention_held", "gauge"),
    ("offhook_retention_oldest_age_seconds", "gauge"),
    ("offhook_secret_matches_total", "counter"),
    ("offhook_secret_retiring", "gauge"),
    ("offhook_send_calls_cancelled_total", "counter"),
    ("offhook_campaign_recipients_total", "counter"),
    ("offhook_campaigns", "gauge"),
    ("offhook_campaign_stops_total", "counter"),
    ("offhook_send_escalations_total", "counter"),
    ("offhook_send_calls_limit", "gauge"),
    ("offhook_send_calls_open", "gauge"),
    ("offhook_send_due", "gauge"),
    ("offhook_send_duplicates_total", "counter"),
    ("offhook_send_errors_total", "counter"),
    ("offhook_send_held_total", "counter"),
    ("offhook_send_in_quiet_hours_total", "counter"),
    ("offhook_send_lateness_seconds", "histogram"),
    ("offhook_send_mismatches_total", "counter"),
    ("offhook_send_missing_attempts_total", "counter"),
    ("offhook_send_oldest_due_age_seconds", "gauge"),
    ("offhook_send_other_key", "gauge"),
    ("offhook_send_paces_clamped_total", "counter"),
    ("offhook_send_refused_total", "counter"),
    ("offhook_send_request_duration_seconds", "histogram"),
    ("offhook_send_requests_total", "counter"),
    ("offhook_send_store_errors_total", "counter"),
    ("offhook_send_unknown", "gauge"),
    ("offhook_send_writing", "gauge"),
    ("offhook_sender_paused", "gauge"),
    ("offhook_skipped_deliveries_total", "counter"),
    ("offhook_spool_bytes", "gauge"),
    ("offhook_spool_damaged_files", "gauge"),
    ("offhook_spool_dead_letters", "gauge"),
    ("offhook_spool_events", "gauge"),
    ("offhook_stored_lag_seconds", "histogram"),
    ("offhook_stream_blocking_groups", "gauge"),
    ("offhook_stream_depth", "gauge"),
    ("offhook_stream_errors_total", "counter"),
    ("offhook_stream_kept_age_seconds", "gauge"),
    ("offhook_stream_length", "gauge"),
    ("offhook_stream_oldest_age_seconds", "gauge"),
    ("offhook_stream_pending", "gauge"),
    ("offhook_stream_refusing", "gauge"),
    ("offhook_stream_resets_total", "counter"),
    ("offhook_stream_trimmed_total", "counter"),
    ("offhook_stream_unsupported", "gauge"),
    ("offhook_stream_usable", "gauge"),
    ("offhook_stream_vanished_total", "counter"),
    // Not ours, and expected of every process.
    ("process_open_fds", "gauge"),
];

/// What Prometheus would read.
pub(crate) struct Exposition {
    pub(crate) types: BTreeMap<String, String>,
    pub(crate) series: BTreeMap<String, f64>,
}

/// Reads the text format, and is as strict as Prometheus: each family has its help and its type
/// before its samples, each sample a number, no series is there twice.
fn parse(text: &str) -> Exposition {
    let (mut types, mut series, mut helped) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').expect("a name and a sentence");
            assert!(!help.is_empty() && helped.insert(name.to_owned()), "{line}");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a name and a type");
            assert!(helped.contains(name), "{line}");
            assert_eq!(types.insert(name.to_owned(), kind.to_owned()), None, "{line}");
        } else {
            let (name, value) = line.rsplit_once(' ').expect("a name and a value");
            let value = value.parse().unwrap_or_else(|_| panic!("no number: {line}"));
            let family = name.split('{').next().expect("a name");
            let is_of = |suffix| family.strip_suffix(suffix).is_some_and(|f| types.contains_key(f));
            let known =
                types.contains_key(family) || ["_bucket", "_sum", "_count"].into_iter().any(is_of);
            assert!(known, "no type: {line}");
            assert_eq!(series.insert(name.to_owned(), value), None, "twice: {line}");
        }
    }
    Exposition { types, series }
}

pub(crate) async fn scrape(client: &Client) -> Exposition {
    let answer = client.admin("/metrics").await;
    assert_eq!(answer.status(), 200);
    parse(&answer.text().await.expect("the whole answer"))
}

async fn every_series_is_there_before_anything_happens(mut testbed: Testbed) {
    testbed.settings = testbed.settings.clone().with_a_forward();
    let offhook = testbed.start();
    let found = scrape(&offhook.client).await;
    for (name, kind) in FAMILIES {
        assert_eq!(found.types[*name], *kind, "{name}");
    }
    let known: BTreeSet<_> = FAMILIES.iter().map(|(name, _)| *name).collect();
    let ours = found.types.keys().filter(|name| name.starts_with("offhook_"));
    let unknown: Vec<_> = ours.filter(|name| !known.contains(name.as_str())).collect();
    assert!(unknown.is_empty(), "say in this test what {unknown:?} are");
    for name in ["refusals_total{reason=\"not_durable\"}", "dead_letters_total", "stream_depth"] {
        assert_eq!(found.series[&format!("offhook_{name}")], 0.0, "{name}");
    }
}

async fn the_numbers_say_what_happened(testbed: Testbed) {
    let offhook = testbed.start();
    let call = Callback::form(fixture("call.form"));
    let message = Callback::form(fixture("message.form"));
    for callback in [&call, &message] {
        offhook.client.accepts(callback).await;
    }
    testbed.contents_of(2).await;
    offhook.client.accepts(&call).await;
    let text = String::from_utf8(fixture("message.form")).expect("text");
    let contrary = text.replace("delivered", "failed") + "&ErrorCode=30003";
    offhook.client.accepts(&Callback::form(contrary)).await;
    testbed.contents_of(3).await;

    let expected = [
        ("offhook_requests_total{outcome=\"accepted\",route=\"status\"}", 4.0),
        ("offhook_request_duration_seconds_count{route=\"status\"}", 4.0),
        ("offhook_events_total{freshness=\"fresh\",kind=\"call\"}", 1.0),
        ("offhook_events_total{freshness=\"fresh\",kind=\"message\"}", 2.0),
        ("offhook_outcomes_total{resource=\"call\",status=\"completed\"}", 1.0),
        ("offhook_outcomes_total{resource=\"message\",status=\"delivered\"}", 1.0),
        ("offhook_outcomes_total{resource=\"message\",status=\"failed\"}", 1.0),
        ("offhook_failures_total{error_code=\"30003\",resource=\"message\"}", 1.0),
        ("offhook_failures_total{error_code=\"none\",resource=\"message\"}", 0.0),
        ("offhook_contradicted_statuses_total", 1.0),
        ("offhook_late_updates_total", 1.0),
        ("offhook_secret_matches_total{account=\"account_1\",key_id=\"auth_token_1\"}", 4.0),
        ("offhook_secret_retiring{account=\"account_1\",key_id=\"auth_token_1\"}", 0.0),
        ("offhook_stream_depth", 0.0),
        ("offhook_stream_pending", 0.0),
    ];
    // The worker counts after it has committed.
    let series = until("the numbers are there", async || {
        let series = scrape(&offhook.client).await.series;
        let duplicate = series["offhook_events_total{freshness=\"duplicate\",kind=\"call\"}"];
        let seen = duplicate + series["offhook_skipped_deliveries_total"] == 1.0;
        let all = expected.iter().all(|(name, value)| series.get(*name) == Some(value));
        (seen && all).then_some(series)
    })
    .await;
    assert!(series["process_open_fds"] > 0.0);
}

async fn a_call_is_in_progress_until_it_ends_or_is_too_old(mut testbed: Testbed) {
    testbed.settings = testbed.settings.clone().set("OFFHOOK_CALLS__LIMIT", "30");
    let offhook = testbed.start();
    let text = String::from_utf8(fixture("call.form")).expect("text");
    for (sid, status) in [("A", "ringing"), ("B", "in-progress"), ("C", "ringing")] {
        let text = text.replace("0010&", &format!("001{sid}&")).replace("completed", status);
        offhook.client.accepts(&Callback::form(text)).await;
    }
    testbed.contents_of(3).await;
    is_in_progress(&offhook.client, 3.0).await;
    assert_eq!(offhook.client.metric("offhook_calls_limit").await, 30.0);

    offhook.client.accepts(&Callback::form(text.replace("0010&", "001A&"))).await;
    testbed.contents_of(4).await;
    testbed
        .execute(
            "UPDATE statuses SET first_seen = '2001-01-01T00:00:00.000000Z' WHERE sid LIKE '%C'",
        )
        .await;
    is_in_progress(&offhook.client, 1.0).await;
    drop(offhook);
    // Nothing is remembered that could be forgotten.
    is_in_progress(&testbed.start().client, 1.0).await;
}

async fn is_in_progress(client: &Client, calls: f64) {
    until(&format!("{calls} calls are in progress"), async || {
        (client.metric("offhook_calls_in_progress").await == calls).then_some(())
    })
    .await;
}
