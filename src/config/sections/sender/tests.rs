//! `[[sender]]`: what it needs, what it means, and what is refused.

use super::*;
use crate::config::testing::{MINIMAL, check_error, load};
use crate::config::{Config, DEFAULTS};
use crate::outbound::{self, config::Account};

const NUMBER: &str = "[[sender]]\nname = 'alerts'\nfrom = '+12125550100'\n";
const SERVICE: &str = "[[sender]]\nname = 'shop'\nmessaging_service_sid = 'MG1'\n";
const ABROAD: &str = "[outbound]\ncountries = ['US']\n";

fn sending(text: &str) -> outbound::Config {
    load(&MINIMAL, text).expect("it is right").outbound.expect("there is a sender")
}

#[track_caller]
fn check_wrong(text: &str, parts: &[&str]) {
    check_error(load(&MINIMAL, text), parts);
}

fn warnings_of(config: &Config) -> Vec<&str> {
    config
        .warnings
        .iter()
        .map(|warning| &*warning.key)
        .filter(|key| key.starts_with("sender"))
        .collect()
}

#[test]
fn without_a_sender_nothing_is_sent() {
    assert!(load(&MINIMAL, "").expect("complete").outbound.is_none());
}

#[test]
fn a_name_and_a_number_are_enough() {
    let config = sending(NUMBER);
    let [sender] = &config.senders[..] else { panic!("one") };
    assert_eq!(
        (&*sender.name, &*sender.account, sender.kind),
        ("alerts", "AC1", SenderKind::LongCode)
    );
    assert_eq!(sender.origin, Origin::From("+12125550100".to_owned()));
    assert_eq!(&*sender.credentials.user, "AC1");
    let (sid, name) = ("AC1".to_owned(), "account_1".to_owned());
    let account = Account { sid, name, calls_limit: 1 };
    assert_eq!(config.accounts, [account]);
    assert_eq!(sender.credentials.password.expose_secret(), "t0ken");
    let rate = Rate::per_second(1.0).expect("a rate");
    assert_eq!(config.paces, [Pace { name: "alerts".to_owned(), rate }]);
    assert_eq!(config.callback_url, "https://hooks.example.com/status");
    assert_eq!(config.confirm_url, "https://hooks.example.com/voice-confirm");
    assert_eq!(config.rules.countries.iter().map(|it| it.as_str()).collect::<Vec<_>>(), ["US"]);
    check_wrong(
        &NUMBER.replace("name = 'alerts'\n", ""),
        &["sender", "name", "missing", "my.toml"],
    );
}

#[test]
fn what_is_sent_from_is_exactly_one_thing() {
    check_wrong(
        "[[sender]]\nname = 'a'\n",
        &["sender[0].from (", "my.toml", "messaging_service_sid"],
    );
    let both = format!("{NUMBER}messaging_service_sid = 'MG1'\n");
    check_wrong(&both, &["sender[0].from (", "messaging_service_sid is set as well"]);
    for from in [
        "15550100",
        "+1 555 0100",
        "+1",
        "whatsapp:15550100",
        "a name that is too long",
        "",
        "12",
        "*&*",
    ] {
        if from == "15550100" {
            // Eight digits may be a short code.
            continue;
        }
        check_wrong(&NUMBER.replace("+12125550100", from), &["sender[0].from (", "E.164"]);
    }
    check_wrong(
        &SERVICE.replace("MG1", "AC1"),
        &["sender[0].messaging_service_sid (", "MG and 32"],
    );
}

#[test]
fn each_sender_has_its_name_to_itself() {
    check_wrong(
        &format!("{NUMBER}{NUMBER}"),
        &["sender[1].name (", "another sender has this name"],
    );
    check_wrong(&NUMBER.replace("'alerts'", "'My Alerts'"), &["sender[0].name (", "a to z"]);
    check_wrong("[sender]\nname = 'a'", &["sender", "[[sender]]"]);
}

#[test]
fn the_account_is_one_whose_callbacks_are_accepted() {
    check_wrong(
        &format!("{NUMBER}account = 'AC2'\n"),
        &["sender[0].account (", "my.toml", "[[account]]"],
    );
    let accounts = "[[account]]\nsid = 'AC1'\nauth_tokens = ['a']\nsubaccounts = ['AC3']\n\
                    [[account]]\nsid = 'AC2'\nshared_keys = [{ id = 'k', secret = '0123456789abcdef' }]\n";
    check_wrong(&format!("{accounts}{NUMBER}"), &["sender[0].account (", "several accounts"]);
    let of = |account: &str| format!("{accounts}{NUMBER}account = '{account}'\n");
    let mut config = sending(&of("AC3"));
    let sender = config.senders.remove(0);
    assert_eq!(config.accounts[0].name, "account_1_1");
    assert_eq!((&*sender.account, &*sender.credentials.user), ("AC3", "AC1"));
    check_wrong(&of("AC2"), &["sender[0].api_key_sid (", "account_2", "has no auth token"]);
    let keyed = format!("{}api_key_sid = 'SK1'\napi_key_secret = 's3cret'\n", of("AC2"));
    let sender = sending(&keyed).senders.remove(0);
    assert_eq!((&*sender.account, &*sender.credentials.user), ("AC2", "SK1"));
    assert!(!format!("{sender:?}").contains("s3cret"));
}

#[test]
fn an_api_key_is_an_id_and_a_secret() {
    let with = |more: &str| format!("{NUMBER}{more}\n");
    check_wrong(
        &with("api_key_sid = 'SK1'"),
        &["sender[0].api_key_secret (", "api_key_secret_file"],
    );
    check_wrong(&with("api_key_secret = 't0ken'"), &["sender[0].api_key_sid (", "begins with SK"]);
    let wrong = "api_key_sid = 'AC1'\napi_key_secret = 't0ken'";
    check_wrong(&with(wrong), &["sender[0].api_key_sid (", "it is not the SID of an API key"]);
    check_wrong(
        &with("api_key_sid = 'SK1'\napi_key_secret = ' '"),
        &["sender[0].api_key_secret (", "empty"],
    );
    let nowhere = "api_key_sid = 'SK1'\napi_key_secret_file = '/nowhere/key'";
    check_wrong(
        &with(nowhere),
        &["sender[0].api_key_secret_file (", "/nowhere/key cannot be read"],
    );
}

#[test]
fn a_rate_is_given_by_kind_by_itself_or_by_a_pool() {
    let rate = |text: &str| sending(text).paces[0].rate.get();
    let usual = |from: &str| rate(&format!("{}{ABROAD}", NUMBER.replace("+12125550100", from)));
    assert_eq!(["+18335550100", "12345", "whatsapp:+12125550100"].map(usual), [3.0, 100.0, 80.0]);
    assert_eq!(rate(&format!("{NUMBER}kind = 'toll_free'\n")), 3.0);
    assert_eq!(rate(&format!("{NUMBER}rate = 3.75\n")), 3.75);
    assert_eq!(rate(&format!("{NUMBER}rate = 4\n")), 4.0);
    let pool = format!("{SERVICE}pool = {{ long_code = 10, toll_free = 1 }}\n{ABROAD}");
    assert_eq!(rate(&pool), 13.0);
    let config = load(&MINIMAL, &format!("{SERVICE}{ABROAD}")).expect("it is right");
    assert_eq!(warnings_of(&config), ["sender[0].rate"]);
    assert_eq!(config.outbound.expect("there is a sender").paces[0].rate.get(), 10.0);
    assert!(warnings_of(&load(&MINIMAL, &pool).expect("it is right")).is_empty());
    for wrong in ["0", "-1", "0.0", "1e9", "nan"] {
        let text = format!("{NUMBER}rate = {wrong}\n");
        check_wrong(&text, &["sender[0].rate (", "my.toml", "more than 0"]);
    }
    check_wrong(&format!("{SERVICE}pool = {{}}\n{ABROAD}"), &["sender[0].pool (", "more than 0"]);
    let both = format!("{SERVICE}rate = 1\npool = {{ long_code = 1 }}\n{ABROAD}");
    check_wrong(&both, &["sender[0].rate (", "keep one"]);
    check_wrong(
        &format!("{NUMBER}pool = {{ long_code = 2 }}\n"),
        &["sender[0].pool (", "Messaging Service"],
    );
    check_wrong(&format!("{NUMBER}kind = 'whatsapp'\n"), &["sender[0].kind (", "whatsapp:"]);
    check_wrong(&format!("{NUMBER}kind = 'fax'\n"), &["sender", "`long_code`, `toll_free`"]);
}

#[test]
fn senders_share_a_pace_that_has_one_rate() {
    let other = NUMBER.replace("alerts", "other").replace("0100", "0101");
    let of = |first: &str, second: &str| format!("{NUMBER}{first}\n{other}{second}\n");
    let config = sending(&of("pace = 'ten'", "pace = 'ten'\nrate = 12.0"));
    let rate = Rate::per_second(12.0).expect("a rate");
    assert_eq!(config.paces, [Pace { name: "ten".to_owned(), rate }]);
    let two = of("pace = 'ten'\nrate = 10.0", "pace = 'ten'\nrate = 12.0");
    check_wrong(&two, &["sender[1].rate (", "sender[0] gives the pace ten another rate"]);
    check_wrong(
        &of("", "pace = 'alerts'"),
        &["sender[1].pace (", "alerts is the name of another sender"],
    );
    let accounts = "[[account]]\nsid = 'AC1'\nauth_tokens = ['a']\nsubaccounts = ['AC3']\n";
    let two = of("pace = 'ten'\naccount = 'AC1'", "pace = 'ten'\naccount = 'AC3'");
    check_wrong(
        &format!("{accounts}{two}"),
        &["sender[1].pace (", "senders of another account have the pace ten"],
    );
}

#[test]
fn a_whatsapp_sender_reaches_a_number_on_whatsapp() {
    let config = sending(&NUMBER.replace("+1212", "whatsapp:+1212"));
    assert_eq!(config.senders[0].address("+12125550111"), "whatsapp:+12125550111");
    assert_eq!(sending(NUMBER).senders[0].address("+12125550111"), "+12125550111");
}

/// The built-in file shows them as a comment.
#[test]
fn the_keys_that_are_documented_are_those_that_are_read() {
    let section = DEFAULTS.split("# [[sender]]\n").nth(1).expect("it is there");
    let section = section.split("\n\n").next().expect("it ends");
    let keys = section.lines().filter_map(|line| line.strip_prefix("# ")?.split_once(" = "));
    let keys: Vec<&str> = keys.map(|(key, _)| key).filter(|key| !key.starts_with(' ')).collect();
    assert_eq!(keys.len(), 15, "{keys:?}");
    let error = load(&MINIMAL, "[[sender]]\nnonsense = 1").expect_err("it is not a key");
    assert!(keys.iter().all(|key| error.contains(&format!("`{key}`"))), "{error}");
}
