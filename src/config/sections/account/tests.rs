use super::*;
use crate::config::testing::{MINIMAL, check_error, check_warning, load};

#[test]
fn without_an_account_it_says_what_to_set() {
    check_error(
        load(&MINIMAL[2..], ""),
        &["account (not set)", "TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN", "[[account]]"],
    );
    let no_token = [MINIMAL[0], MINIMAL[2]];
    check_error(
        load(&no_token, ""),
        &["account[0].auth_tokens", "TWILIO_ACCOUNT_SID", "no secret"],
    );
}

#[test]
fn email_events_need_no_account_and_messages_do() {
    let keys = "[sendgrid]\nverification_keys = ['MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE83T4O/n84iotIvIW4mdBgQ/7dAfSmp\
                qIM8kF9mN1flpVKS3GRqe62gw+2fNNRaINXvVpiglSI8eNEc6wEA3F+g==']\n";
    let config = load(&MINIMAL[2..], keys).expect("complete");
    assert!(config.keyring.accounts().is_empty());
    let sender = "[[sender]]\nname = 'alerts'\nfrom = '+15550100001'\n[outbound]\ntokens = [{ id = 'm', token = '0123456789abcdef0123456789' }]";
    check_error(
        load(&MINIMAL[2..], &format!("{keys}{sender}")),
        &["sender[0].account", "my.toml", "[[account]]", "add one"],
    );
}

#[test]
fn a_secret_that_is_retiring_must_be_one_of_the_account() {
    let account = |retiring: &str| {
        let file = format!(
            "[[account]]\nsid = 'AC1'\nauth_tokens = ['t0ken', 'new']\n\
             shared_keys = [{{ id = 'k', secret = '0123456789abcdef' }}]\nretiring = {retiring}\n"
        );
        load(&MINIMAL[2..], &file)
    };
    let keyring = account("['auth_token_1', 'k']").expect("complete").keyring;
    let secrets = keyring.accounts()[0].secrets();
    let retiring: Vec<bool> = secrets.iter().map(Secret::is_retiring).collect();
    assert_eq!(retiring, [true, false, true]);
    check_error(account("['auth_token_3']"), &["account[0].retiring", "auth_token_2, k"]);
    check_error(account("['t0ken']"), &["account[0].retiring", "auth_token_2, k"]);
}

/// HMAC accepts any key, and with an empty one anyone can sign.
#[test]
fn a_secret_is_never_empty_and_a_shared_key_never_short() {
    let account = |rest: &str| load(&MINIMAL[2..], &format!("[[account]]\nsid = 'AC1'\n{rest}\n"));
    let key = |id: &str, secret: &str| {
        account(&format!("shared_keys = [{{ id = '{id}', secret = \"{secret}\" }}]"))
    };
    let (place, fine) = ("account[0].shared_keys", "0123456789abcdef");
    assert!(key("WK1", fine).is_ok());
    for blank in ["", " ", "                    ", "\\t"] {
        check_error(key("WK1", blank), &[place, "[0].secret", "my.toml", "is empty"]);
    }
    for short in ["x", "0123456789abcde"] {
        check_error(key("WK1", short), &[place, "[0].secret", "fewer than 16"]);
    }
    for no_id in ["", " ", "a,b", "a=b", "a b"] {
        check_error(key(no_id, fine), &[place, "needs the id"]);
    }
    for token in ["auth_token_1", " auth_token_1 ", "auth_token_01", "auth_token_"] {
        check_error(key(token, fine), &[place, "[0].id", "another id"]);
    }
    for same in ["WK1", "WK1 "] {
        let twice = ["WK1", same].map(|id| format!("{{ id = '{id}', secret = '{fine}' }}"));
        let twice = format!("shared_keys = [{}]", twice.join(", "));
        check_error(account(&twice), &[place, "[1].id", "another key has this id"]);
    }
    for blank in ["['']", "['t0ken', ' ']"] {
        check_error(
            account(&format!("auth_tokens = {blank}")),
            &["account[0].auth_tokens", "empty"],
        );
    }
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("secret");
    let from_file = |text: &str| {
        std::fs::write(&path, text).expect("the file can be written");
        account(&format!("shared_keys = [{{ id = 'WK1', secret_file = '{}' }}]", path.display()))
    };
    check_error(from_file("\n \n"), &[place, "is empty"]);
    check_error(from_file("short\n"), &[place, "fewer than 16"]);
    assert!(from_file(fine).is_ok());
}

#[test]
fn a_sub_account_is_an_account_with_one_parent() {
    let file = |subaccounts: &str| {
        format!(
            "[[account]]\nsid = 'AC1'\nauth_tokens = ['a']\nsubaccounts = {subaccounts}\n\
             [[account]]\nsid = 'AC2'\nauth_tokens = ['b']\nsubaccounts = ['AC3']"
        )
    };
    let config = load(&MINIMAL, &file("[' AC4 ']")).expect("complete");
    assert!(config.keyring.accounts()[0].speaks_for("AC4"));
    assert!(!config.keyring.accounts()[0].speaks_for("AC3"));
    check_error(load(&MINIMAL, &file("['SK1']")), &["account[0].subaccounts", "AC"]);
    check_error(load(&MINIMAL, &file("['AC1']")), &["account[0].subaccounts", "itself"]);
    check_error(load(&MINIMAL, &file("['AC3']")), &["account", "AC3 is listed twice"]);
}

#[test]
fn an_account_is_there_once_and_has_the_form_of_one() {
    let file = "[[account]]\nsid = 'AC2'\nauth_tokens = ['a']\n[[account]]\nsid = 'AC2'\nauth_tokens = ['b']";
    check_error(load(&MINIMAL, file), &["account", "AC2 is there twice"]);
    check_error(
        load(&MINIMAL, "[[account]]\nsid = 'XX'\nauth_tokens = ['a']"),
        &["account[0].sid", "AC"],
    );
}

#[test]
fn a_secret_that_does_not_look_like_one_is_warned_of() {
    let token = |token| [("TWILIO_AUTH_TOKEN", token)];
    let key = "account[0].auth_tokens (environment variable TWILIO_ACCOUNT_SID, TWILIO_AUTH_TOKEN)";
    check_warning(&token("\"0123456789abcdef0123456789abcdef\""), "", key, "quotes");
    check_warning(&token("0123456789abcdef 0123456789abcdef"), "", key, "blanks");
    check_warning(&token("SK23456789abcdef0123456789abcdef"), "", key, "API key");
    check_warning(&token("0123456789"), "", key, "32 digits");
    check_warning(&[("TWILIO_ACCOUNT_SID", "AC123")], "", "account[0].sid", "32 digits");
}
