//! `[twilio]` and `[outbound]`: what they mean, and what is refused.

use std::time::Duration;

use crate::config::testing::{MINIMAL, check_error, load, minimal};
use crate::dispatch::country::Country;
use crate::dispatch::recipient::Recipient;
use crate::outbound;
use crate::twilio::consent::Listening;

const SENDER: &str = "[[sender]]\nname = 'alerts'\nfrom = '+12125550100'\n";
const TOKEN: &str = "0123456789abcdef01234567";

fn sending(text: &str) -> outbound::Config {
    load(&MINIMAL, &format!("{SENDER}{text}")).expect("it is right").outbound.expect("a sender")
}

#[track_caller]
fn check_wrong(text: &str, parts: &[&str]) {
    check_error(load(&MINIMAL, &format!("{SENDER}{text}")), parts);
}

#[test]
fn the_defaults_are_careful() {
    let config = sending("");
    assert_eq!(config.api_url, "https://api.twilio.com");
    assert_eq!((config.rules.max_per_day, config.rules.max_per_recipient_hour), (1000, 5));
    assert_eq!((config.max_in_flight, config.tokens.len()), (10, 0));
    let millis =
        [config.claim_lease, config.writing_lease, config.timeout].map(|it| it.as_millis());
    assert_eq!(millis, [2_000, 45_000, 30_000]);
    assert_eq!(config.looks, crate::dispatch::reconcile::LOOKS);
    assert!(config.rules.only_to.is_empty() && config.suppression_key.is_none());
}

#[test]
fn the_callback_url_has_the_prefix() {
    let config = sending("[inbound]\npath_prefix = '/twilio'\n");
    assert_eq!(config.callback_url, "https://hooks.example.com/twilio/status");
}

#[test]
fn a_token_is_long_and_of_its_own() {
    let one =
        |token: &str| format!("[outbound]\ntokens = [{{ id = 'shop', token = '{token}' }}]\n");
    let config = sending(&one(TOKEN));
    assert_eq!((config.tokens.len(), &*config.tokens[0].id), (1, "shop"));
    assert!(!format!("{config:?}").contains(TOKEN));
    check_wrong(&one("t0ken"), &["outbound.tokens[0].token (", "my.toml", "openssl"]);
    check_wrong(&one(" "), &["outbound.tokens[0].token (", "empty"]);
    let both = format!("{}[admin]\ntoken = '{TOKEN}'\n", one(TOKEN));
    check_wrong(&both, &["outbound.tokens[0].token (", "[admin]", "take another"]);
    let twice = format!(
        "[outbound]\ntokens = [{{ id = 'a', token = '{TOKEN}' }}, {{ id = 'a', token = '{TOKEN}x' }}]\n"
    );
    check_wrong(&twice, &["outbound.tokens[1].id (", "another token has this id"]);
    check_wrong(
        &twice.replace(
            "'a', token = '0123456789abcdef01234567x'",
            "'b', token = '0123456789abcdef01234567'",
        ),
        &["outbound.tokens[1].token (", "the same token"],
    );
    check_wrong(
        "[outbound]\ntokens = [{ id = 'a' }]\n",
        &["outbound.tokens[0].token (", "token_file"],
    );
    check_wrong(
        "[outbound]\ntokens = [{ id = 'A b', token = 'x' }]\n",
        &["outbound.tokens[0].id (", "a to z"],
    );
}

#[test]
fn countries_are_those_of_the_senders_unless_they_are_listed() {
    let country = |code: &str| Country::parse(code).expect("a country");
    assert_eq!(sending("").rules.countries, [country("US")]);
    let listed = sending("[outbound]\ncountries = ['GB', 'CA']\n");
    assert_eq!(listed.rules.countries, [country("GB"), country("CA")]);
    let wrong = "[outbound]\ncountries = ['US', 'usa']\n";
    check_wrong(wrong, &["outbound.countries[1] (", "my.toml", "two capital letters"]);
    let service = "[[sender]]\nname = 'a'\nmessaging_service_sid = 'MG1'\n";
    check_error(load(&MINIMAL, service), &["outbound.countries (", "[\"US\"]"]);
}

#[test]
fn only_to_has_numbers_and_addresses() {
    let number = Recipient::parse("+12125550111").expect("a number");
    assert_eq!(sending("[outbound]\nonly_to = ['+12125550111']\n").rules.only_to, [number]);
    let address = Recipient::parse("ana@example.com").unwrap();
    assert_eq!(sending("[outbound]\nonly_to = ['Ana@Example.com']\n").rules.only_to, [address]);
    let wrong = "[outbound]\nonly_to = ['12125550111']\n";
    check_wrong(wrong, &["outbound.only_to[0] (", "my.toml", "E.164"]);
}

#[test]
fn bounds_of_0_and_times_that_contradict_each_other_are_refused() {
    for name in ["max_per_day", "max_per_recipient_hour", "max_in_flight"] {
        let key = format!("outbound.{name} (");
        check_wrong(&format!("[outbound]\n{name} = 0\n"), &[&key, "my.toml", "with 0"]);
    }
    check_wrong("[outbound]\nclaim_lease_ms = 499\n", &["outbound.claim_lease_ms (", "500"]);
    check_wrong("[outbound]\ntimeout_ms = 999\n", &["outbound.timeout_ms (", "1000"]);
    check_wrong(
        "[outbound]\nwriting_lease_ms = 34999\n",
        &["outbound.writing_lease_ms (", "timeout_ms"],
    );
    let both = sending("[outbound]\nwriting_lease_ms = 6000\ntimeout_ms = 1000\n");
    assert_eq!(both.writing_lease, Duration::from_secs(6));
    for wrong in ["[]", "[59]", "[60, 60]", "[120, 60]"] {
        let text = format!("[outbound]\nlook_after_s = {wrong}\n");
        check_wrong(&text, &["outbound.look_after_s (", "my.toml", "lists lag"]);
    }
    for wrong in ["[]", "[599]", "[3600, 3600]", "[3600, 600]", "[601, 602, 603, 604, 605, 606]"] {
        let text = format!("[outbound]\nreconcile_after_s = {wrong}\n");
        check_wrong(
            &text,
            &["outbound.reconcile_after_s (", "my.toml", "callbacks may still come"],
        );
    }
    let pretend = "[outbound]\nlook_after_s = [1, 3]\n[twilio]\napi_url = \"http://127.0.0.1:1\"\n";
    assert_eq!(sending(pretend).looks, [1, 3].map(Duration::from_secs));
    // They are checked without a sender, too.
    check_error(load(&MINIMAL, "[outbound]\nmax_per_day = 0\n"), &["outbound.max_per_day"]);
}

/// It must not be an error: an existing deployment cannot add a key, by which no suppression would be found.
#[test]
fn without_a_key_and_numbers_a_stop_is_not_heeded_and_that_is_said() {
    let check = |more: &str, heeds: bool| {
        let config = load(&MINIMAL, &format!("{SENDER}{more}")).expect("it is right");
        let warns = config.warnings.iter().any(|it| it.key == "outbound.suppression_key");
        let is_deaf = matches!(config.listening, Listening::Deaf);
        assert_eq!((is_deaf, warns), (!heeds, !heeds), "{more}");
    };
    check("", true);
    let key = "0123456789abcdef0123456789abcdef";
    let dropped = format!("[privacy]\nnumbers = 'drop'\nkey = '{key}'\n");
    check(&dropped, false);
    check(&format!("{dropped}[outbound]\nsuppression_key = '{key}'\n"), true);
}

#[test]
fn a_suppression_key_is_hard_to_guess() {
    let key = "0123456789abcdef0123456789abcdef";
    let config = sending(&format!("[outbound]\nsuppression_key = '{key}'\n"));
    assert!(config.suppression_key.is_some() && !format!("{config:?}").contains(key));
    let wrong = "[outbound]\nsuppression_key = 't0ken'\n";
    check_wrong(wrong, &["outbound.suppression_key (", "my.toml", "openssl rand -hex 32"]);
    let nowhere = "[outbound]\nsuppression_key_file = '/nowhere/key'\n";
    check_wrong(nowhere, &["outbound.suppression_key_file (", "/nowhere/key cannot be read"]);
}

#[test]
fn the_api_is_a_base_url_and_what_is_exposed_is_warned_of() {
    let of = |url: &str| format!("[twilio]\napi_url = '{url}'\n");
    assert_eq!(sending(&of("http://127.0.0.1:1234/")).api_url, "http://127.0.0.1:1234");
    assert_eq!(sending(&of("https://h.example/base/")).api_url, "https://h.example/base");
    for wrong in ["", "api.twilio.com", "ftp://h.example"] {
        check_wrong(&of(wrong), &["twilio.api_url (", "my.toml", "https://api.twilio.com"]);
    }
    check_wrong(&of("https://a:t0ken@h.example"), &["twilio.api_url (", "api_key_sid"]);
    check_wrong(&of("https://h.example/?a=t0ken"), &["twilio.api_url (", "leave out"]);
    let keys = |environment: &[(&str, &str)], text: &str| -> Vec<String> {
        let config = load(environment, &format!("{SENDER}{text}")).expect("it is right");
        let keys = config.warnings.into_iter().map(|warning| warning.key);
        keys.filter(|key| ["public_url", "twilio.api_url"].contains(&key.as_str())).collect()
    };
    assert_eq!(keys(&MINIMAL, ""), [""; 0]);
    assert_eq!(keys(&MINIMAL, &of("http://h.example")), ["twilio.api_url"]);
    assert_eq!(keys(&MINIMAL, &of("http://127.0.0.1:1")), [""; 0]);
    let mut plain = minimal(&[]);
    plain[2] = ("OFFHOOK_PUBLIC_URL", "http://localhost:8080");
    assert_eq!(keys(&plain, ""), ["public_url"]);
    assert_eq!(keys(&plain, &of("http://127.0.0.1:1")), [""; 0]);
}
