use serde_json::{Value, json};

use super::*;
use crate::backend::outbox::{CampaignState, StepCost};
use crate::dispatch::call::CallPlan;
use crate::dispatch::country::Country;
use crate::dispatch::quiet_hours::Hours as Open;
use crate::dispatch::{Confirm, OnUnknown, Purpose};
use crate::outbound::config::testing;

fn config() -> Config {
    let mut config = testing::config();
    config.rules.countries = vec![Country::parse("US").expect("a country")];
    config.rules.quiet_hours =
        Some(crate::dispatch::quiet_hours::QuietHours { hours: Open::TCPA, unknown: None });
    config
}

fn step(sender: &str, call: Option<CallPlan>) -> CampaignStep {
    CampaignStep {
        sender: sender.to_owned(),
        account: "AC1".to_owned(),
        pace: sender.to_owned(),
        channel: if call.is_some() { Channel::Call } else { Channel::Message },
        call,
        wait: Duration::from_secs(300),
        prefix: String::new(),
    }
}

/// By a message and then a call, which lasts for 90 s at most.
fn campaign() -> Campaign {
    let call = CallPlan {
        confirm: Confirm::Digit,
        language: None,
        voice: None,
        timeout_s: 20,
        time_limit_s: 90,
    };
    Campaign {
        id: "cmp_1".to_owned(),
        created_at: noon(),
        token: "shop".to_owned(),
        name: "autumn".to_owned(),
        purpose: Purpose::Transactional,
        on_unknown: OnUnknown::Report,
        sender: "alerts".to_owned(),
        route: Some("urgent".to_owned()),
        steps: vec![step("alerts", None), step("calls", Some(call))],
        deadline: None,
        cost_cap: Some(50_000),
        currency: Some("USD".to_owned()),
        spent: 0,
        recipients: 5_000,
        doubles: 1,
        invalid: 2,
        handed_over: 0,
        state: CampaignState::Draft,
        reason: None,
        evidence: None,
        started_at: None,
        finished_at: None,
    }
}

/// In New York.
fn noon() -> Timestamp {
    Timestamp::parse_rfc3339("2026-11-24T17:00:00Z").expect("a time")
}

fn recipient(to: &str, zone: &str, suppressed: bool) -> PlannedRecipient {
    let cost = |units, price| StepCost { units, price: Some(price) };
    PlannedRecipient {
        number: 2,
        to: Some(to.to_owned()),
        email: None,
        time_zone: Some(zone.to_owned()),
        costs: vec![cost(2, 20_000), cost(1, 14_000)],
        suppressed,
        consented: false,
    }
}

fn preflight(recipients: &[PlannedRecipient], sequential: u64) -> Value {
    let (config, campaign) = (config(), campaign());
    let mut survey = Survey::new(&config, &campaign, noon());
    recipients.iter().for_each(|recipient| survey.take(recipient));
    serde_json::to_value(survey.preflight(sequential)).expect("it has keys of text")
}

#[test]
fn each_recipient_is_counted_with_what_its_gates_say() {
    let (east, tokyo) = ("America/New_York", "Asia/Tokyo");
    let found = preflight(
        &[
            recipient("+12125550100", east, false),
            recipient("+12125550101", east, false),
            // Where it is 2 o'clock in the morning.
            recipient("+12125550102", tokyo, false),
            recipient("+12125550103", east, true),
            recipient("+491701234567", east, false),
        ],
        0,
    );
    assert_eq!(found["held"], json!({ "quiet_hours": 1 }));
    assert_eq!(found["refused"], json!({ "suppression": 1, "country": 1 }));
    assert_eq!((&found["segments"], &found["cost"]), (&json!(6), &json!("0.06")));
    // Tokyo's 8 o'clock, and two segments at one a second.
    assert_eq!(found["last_leaves_at"], "2026-11-24T23:00:02.000000Z");
    let worst = &found["worst_case"];
    assert_eq!((&worst["calls"], &worst["call_hours"]), (&json!(3), &json!(0.1)));
    // Each call has two minutes that have begun.
    assert_eq!((&worst["cost"], &worst["steps"][1]["cost"]), (&json!("0.144"), &json!("0.084")));
    let warnings = found["warnings"].as_array().expect("a list");
    assert!(warnings.len() == 1 && warnings[0].as_str().expect("text").contains("0.06"), "{found}");
}

#[test]
fn what_is_odd_or_too_slow_is_a_warning() {
    let one = recipient("+12125550100", "America/New_York", false);
    let found = preflight(&vec![one; 5_000], 1_001);
    let warnings: Vec<&str> =
        found["warnings"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for part in [
        "1001 of 5000 numbers",
        "before the deadline",
        "the first step costs",
        "more calls per second",
        "calls_limit",
    ] {
        assert!(
            warnings.iter().any(|warning| warning.contains(part)),
            "{part} is not in {warnings:?}"
        );
    }
    // A thousand a day, of which one ends before the deadline does.
    assert_eq!(found["late"], 3_000);
}
