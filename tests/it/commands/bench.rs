//! `offhook bench`, the program, against the server: what it says is what happened.

use offhook::config::Role;
use serde_json::{Value, json};

use crate::harness::{Ended, Offhook, Settings, Testbed, both_modes, run};

both_modes! {
    what_the_load_generator_counts_is_what_is_stored,
    refusals_are_counted_by_status,
}

/// Runs it against a server.
fn bench(offhook: &Offhook, settings: &Settings, arguments: &[&str]) -> Ended {
    let url = format!("http://{}/status", offhook.client.inbound());
    let public = &settings.environment()["OFFHOOK_PUBLIC_URL"];
    let always = ["bench", &url, "--public-url", public, "--json", "--warm-up", "0"];
    run(settings, &[&always, arguments].concat())
}

fn report(printed: &str) -> Value {
    serde_json::from_str(printed).expect("it prints JSON")
}

async fn what_the_load_generator_counts_is_what_is_stored(testbed: Testbed) {
    let offhook = testbed.start();
    let settings = testbed.settings.environment();
    let store = settings.get("OFFHOOK_STORE__URL").or_else(|| settings.get("DATABASE_URL"));
    let store = store.expect("a mode has a store");
    let fast = ["--requests", "300", "--connections", "8"];
    let at_a_rate = ["--requests", "300", "--rate", "200", "--seconds", "60", "--store", store];
    let runs = [&fast[..], &at_a_rate];
    let runs = runs.map(|plan| report(&bench(&offhook, &testbed.settings, plan).well()));

    for report in &runs {
        assert_eq!(report["statuses"], json!({ "200": 300 }), "{report}");
        assert_eq!(report["errors"], json!({}), "{report}");
        assert!(report["latency_ms"]["p50"].as_f64() > Some(0.0), "{report}");
    }
    let seen = &runs[1]["to_row"];
    assert!(seen["samples"].as_u64() > Some(0) && seen["missing"] == 0, "{seen}");
    // Some callbacks are repeated, and those are one event.
    let events = runs.map(|report| report["events"].as_u64().expect("a number"));
    let events = usize::try_from(events.iter().sum::<u64>()).expect("some hundreds");
    testbed.contents_of(events).await;
}

async fn refusals_are_counted_by_status(testbed: Testbed) {
    let offhook = testbed.start();
    let guess = testbed.role(Role::All).set("TWILIO_AUTH_TOKEN", "a guess");
    let ended = bench(&offhook, &guess, &["--requests", "20"]);
    assert_eq!(ended.code, Some(1), "nothing was accepted: {ended:?}");
    assert_eq!(report(&ended.out)["statuses"], json!({ "403": 20 }));
}
