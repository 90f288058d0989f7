//! `[[forward]]`: what it needs, what it means, and what is refused.

use super::*;
use crate::config::testing::{MINIMAL, check_error, check_warning, load};
use crate::config::{self, DEFAULTS};

const WHSEC: &str = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
const HANDLER: &str =
    "[[forward]]\nname = 'app'\nurl = 'https://app.example.com/x'\nform = 'twilio'\n";

fn standard() -> String {
    format!("{}secrets = ['{WHSEC}']\n", HANDLER.replace("twilio'", "standard'"))
}

/// The only one of a configuration with these lines below it.
fn forward(text: &str) -> config::Config {
    load(&MINIMAL, text).expect("it is right")
}

#[track_caller]
fn check_wrong(more: &str, parts: &[&str]) {
    check_error(load(&MINIMAL, &format!("{HANDLER}{more}")), parts);
}

#[test]
fn a_name_a_url_and_a_form_are_enough_for_a_handler() {
    let config = forward(HANDLER);
    let [forward] = &config.forwards[..] else { panic!("one") };
    assert_eq!(
        (&*forward.name, &*forward.target.to_string()),
        ("app", "https://app.example.com/x")
    );
    assert_eq!(forward.filter.kinds, STATUS_KINDS);
    assert!(matches!(forward.form, Form::Twilio(SignWith::AuthToken)));
    assert_eq!(forward.from, Beginning::End);
    for missing in ["name", "url", "form"] {
        let lines = HANDLER.lines().filter(|line| !line.starts_with(missing));
        let text = lines.collect::<Vec<_>>().join("\n");
        check_error(load(&MINIMAL, &text), &["forward", missing, "missing", "my.toml"]);
    }
}

/// The built-in file says them as a comment.
#[test]
fn the_defaults_are_those_that_are_documented() {
    let section = DEFAULTS.split("# [[forward]]\n").nth(1).expect("it is there");
    let section = section.split("\n\n").next().expect("it ends");
    let keys = section.lines().filter_map(|line| line.strip_prefix("# ")?.split_once(" = "));
    let needed = ["name", "url", "form", "accounts", "secrets", "ca_file", "kinds", "statuses"];
    let keys = keys.filter(|(key, _)| !key.starts_with(' ') && !needed.contains(key));
    let said: Vec<String> = keys
        .map(|(key, rest)| format!("{key} = {}", rest.split('#').next().unwrap_or_default()))
        .collect();
    assert_eq!(said.len(), 8, "{said:?}");
    let all = forward(&format!("{HANDLER}{}", said.join("\n")));
    let shown = |config: config::Config| {
        let forwards = config.forwards.into_iter();
        // What was written differs.
        let read: Vec<_> = forwards.map(|forward| Config { fingerprint: 0, ..forward }).collect();
        format!("{read:?}")
    };
    assert_eq!(shown(all), shown(forward(HANDLER)));
}

#[test]
fn what_cannot_work_is_refused_with_the_fix() {
    check_wrong(HANDLER, &["forward[1].name", "another forward"]);
    for name in ["", "App", "a b", "a/b", &"a".repeat(41)] {
        let text = HANDLER.replace("'app'", &format!("'{name}'"));
        check_error(load(&MINIMAL, &text), &["forward[0].name (", "a to z"]);
    }
    for (url, part) in [
        ("app.example.com", "is not a URL"),
        ("https://h/#rc=5", "fragment"),
        ("https://hooks.example.com/status", "public_url"),
    ] {
        let text = HANDLER.replace("https://app.example.com/x", url);
        check_error(load(&MINIMAL, &text), &["forward[0].url (", part]);
    }
    check_wrong("kinds = ['call', 'twiml_request']", &["forward[0].kinds", "twiml_request"]);
    check_wrong("kinds = ['fallback']", &["forward[0].kinds", "thrown away"]);
    let incoming = "kinds = ['incoming_message']";
    check_wrong(incoming, &["forward[0].kinds", "my.toml", "`incoming_message`", "leave it out"]);
    let standard = forward(&standard());
    assert!(standard.forwards[0].filter.kinds.contains(&Kind::IncomingMessage));
    check_wrong("kinds = ['calls']", &["kinds", "`call`, `message`"]);
    check_wrong("statuses = ['']", &["forward[0].statuses"]);
    check_wrong("accounts = ['AC9']", &["forward[0].accounts", "[[account]]"]);
    check_wrong("ca_file = '/nowhere/ca'", &["forward[0].ca_file", "/nowhere/ca cannot be read"]);
    check_wrong("from = 'now'", &["from", "`start` or `end`"]);
    for key in ["timeout_ms", "in_flight", "max_waiting", "disable_after_s"] {
        check_wrong(&format!("{key} = 0"), &[&format!("forward[0].{key}"), "leave it out"]);
    }
}

#[test]
fn each_form_is_signed_in_its_own_way() {
    check_wrong("sign_with = 'key1'", &["forward[0].sign_with", "account_1", "shared key"]);
    let one = "secrets = ['t0ken']\n";
    check_wrong(&format!("{one}sign_with = 'auth_token'"), &["sign_with", "leave one"]);
    check_wrong("secrets = ['t0ken', 't0ken2']", &["forward[0].secrets", "leave one"]);
    check_wrong("secrets = [' ']", &["forward[0].secrets", "empty"]);
    let config = forward(&format!("{HANDLER}{one}"));
    assert!(matches!(config.forwards[0].form, Form::Twilio(SignWith::Own(_))));
    assert!(!format!("{config:?}").contains("t0ken"), "Debug shows a secret");

    let keys = "shared_keys = [{ id = 'key1', secret = '0123456789abcdef' }]";
    let account = format!("[[account]]\nsid = 'AC1'\n{keys}\n");
    let config = load(&MINIMAL[2..], &format!("{account}{HANDLER}sign_with = 'key1'"));
    assert!(matches!(
        config.expect("it is right").forwards[0].form,
        Form::Twilio(SignWith::SharedKey(_))
    ));
    let without_token = load(&MINIMAL[2..], &format!("{account}{HANDLER}"));
    check_error(without_token, &["forward[0].sign_with", "auth token"]);

    assert!(matches!(forward(&standard()).forwards[0].form, Form::Standard(_)));
    let none = HANDLER.replace("twilio'", "standard'");
    check_error(load(&MINIMAL, &none), &["forward[0].secrets", "openssl rand -base64 32"]);
    let plain = format!("{none}secrets = ['t0ken']");
    check_error(load(&MINIMAL, &plain), &["forward[0].secrets", "whsec_"]);
    let with = format!("{}sign_with = 'auth_token'", standard());
    check_error(load(&MINIMAL, &with), &["forward[0].sign_with", "secrets sign"]);
}

#[test]
fn a_callback_that_is_not_kept_as_it_was_cannot_be_sent_as_it_was() {
    let key = "0123456789abcdef0123456789abcdef";
    let masked = format!("[privacy]\nnumbers = 'mask'\nkey = '{key}'\n");
    let refused = load(&MINIMAL, &format!("{HANDLER}{masked}"));
    check_error(refused, &["forward[0].form (", "my.toml", "privacy.numbers", "\"plain\""]);
    forward(&format!("{}{masked}", standard()));
}

#[test]
fn a_url_that_others_can_read_along_is_warned_of() {
    let text = HANDLER.replace("https://app.example.com", "http://10.0.0.1");
    check_warning(&[], &text, "forward[0].url", "https");
}
