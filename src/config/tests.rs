//! What holds of every section.

use std::collections::BTreeSet;

use super::testing::{MINIMAL, check_error, check_tokens, load, minimal, sources, warnings};
use super::*;
use crate::twilio::keyring::Account;

#[test]
fn the_conventional_variables_are_enough_but_for_the_public_url() {
    let config = load(&MINIMAL, "").expect("complete");
    assert_eq!(config.public_url.as_str(), "https://hooks.example.com");
    let account = &config.keyring.accounts()[0];
    assert_eq!((account.sid(), account.name()), ("AC1", "account_1"));
    assert_eq!(config.admin.listen.to_string(), "127.0.0.1:8081");
    assert!(
        matches!(config.deployment, Deployment::Embedded { store, .. } if store == "sqlite:offhook.db")
    );
    check_error(load(&MINIMAL[..2], ""), &["public_url (not set)", "OFFHOOK_PUBLIC_URL"]);
}

/// Every key, dotted, also those without a default.
fn keys() -> Vec<String> {
    let (mut keys, mut section) = (Vec::new(), String::new());
    for line in DEFAULTS.lines() {
        let line = line.trim_start_matches("# ");
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.split(']').next()) {
            let name = name.trim_start_matches('[');
            if name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'.') {
                section = format!("{name}.");
            }
            continue;
        }
        let Some((name, _)) = line.split_once(" = ") else { continue };
        if name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_') {
            keys.push(format!("{section}{name}"));
            keys.push(format!("{section}{name}_file"));
        }
    }
    let sections = ["inbound", "admin", "store", "stream", "spool", "worker", "calls", "log"];
    keys.extend(sections.map(str::to_owned));
    keys.extend(
        ["retention", "fallback", "fallback.number", "privacy", "traces", "twilio", "outbound"]
            .map(str::to_owned),
    );
    keys.extend(["account", "account.sid", "public_url"].map(str::to_owned));
    for name in
        ["auth_tokens_file", "shared_keys.secret", "shared_keys.algorithm", "shared_keys.id"]
    {
        keys.push(format!("account.{name}"));
    }
    keys
}

/// The likeliest slip is a text where a list belongs; and a reload writes the error into the log.
#[test]
fn no_error_shows_a_secret_whichever_key_it_was_put_in_and_however() {
    const SECRET: &str = "t0ken-6f1c";
    let values = [
        format!("\"{SECRET}\""),
        format!("[\"{SECRET}\"]"),
        format!("[[\"{SECRET}\"]]"),
        format!("{{ {SECRET} = 1 }}").replace("{ t0", "{ x = \"t0").replace(" = 1", "\""),
        format!("[{{ x = \"{SECRET}\" }}]"),
        format!("{{ \"{SECRET}\" = 1 }}"),
        format!("[{{ \"{SECRET}\" = [1] }}]"),
        format!("{{ x = {{ \"{SECRET}\" = 1 }} }}"),
        format!("\"postgres://u:{SECRET}@h/d\""),
        format!("\"postgres://u@h/d?sslmode={SECRET}\""),
        format!("\"postgres://u@h:{SECRET}/d\""),
        format!("\"redis://u:{SECRET}@h:port\""),
        format!("\"redis://h/{SECRET}\""),
        format!("\"redis://h/?protocol={SECRET}\""),
        format!("\"redis+sentinel://u:{SECRET}@h:x/name\""),
        format!("\"https://u:{SECRET}@h/?x\""),
        format!("\"1, expected {SECRET}\""),
        format!("\"{SECRET}, expected a sequence\""),
        format!("\"unknown field `{SECRET}`\""),
    ];
    let base = "[[account]]\nsid = \"AC1\"\nauth_tokens = [\"a\"]\n";
    let mut wrong = 0;
    for key in keys() {
        for value in &values {
            let text = match key.split_once('.') {
                None => format!("{key} = {value}\n"),
                Some(("account", rest)) if rest.starts_with("shared_keys.") => {
                    let rest = rest.trim_start_matches("shared_keys.");
                    let known = "id = \"k\", secret = \"0123456789abcdef\"";
                    let known = match rest {
                        "id" | "secret" => known.replace(&format!("{rest} = "), "algorithm = "),
                        _ => known.to_owned(),
                    };
                    format!("{base}shared_keys = [{{ {known}, {rest} = {value} }}]\n")
                }
                Some(("account", "sid")) => format!("[[account]]\nsid = {value}\n"),
                Some(("account", "auth_tokens")) => {
                    format!("[[account]]\nsid = \"AC1\"\nauth_tokens = {value}\n")
                }
                Some(("account", rest)) => format!("{base}{rest} = {value}\n"),
                Some(("forward", rest)) => {
                    let known = ["name = \"app\"", "url = \"https://h/\"", "form = \"twilio\""];
                    let other = |line: &&str| !line.starts_with(&format!("{rest} = "));
                    let known: Vec<&str> = known.into_iter().filter(other).collect();
                    format!("[[forward]]\n{}\n{rest} = {value}\n", known.join("\n"))
                }
                Some(("sender", rest)) => {
                    let known = ["name = \"app\"", "from = \"+12125550100\""];
                    let other = |line: &&str| !line.starts_with(&format!("{rest} = "));
                    let known: Vec<&str> = known.into_iter().filter(other).collect();
                    format!("[[sender]]\n{}\n{rest} = {value}\n", known.join("\n"))
                }
                Some(("fallback", "number.number")) => {
                    format!("[[fallback.number]]\nnumber = {value}\n")
                }
                Some(("fallback", rest)) if rest.starts_with("number.") => {
                    let rest = rest.trim_start_matches("number.");
                    format!("[[fallback.number]]\nnumber = \"+1\"\n{rest} = {value}\n")
                }
                Some((section, rest)) => format!("[{section}]\n{rest} = {value}\n"),
            };
            // What is asked of the URLs of the scale-out mode is asked of nothing else.
            let scaled = minimal(&[("DATABASE_URL", "postgres://h/d"), ("REDIS_URL", "redis://h")]);
            let url = key.starts_with("store") || key.starts_with("stream");
            let environment = if url { scaled } else { MINIMAL.to_vec() };
            if let Err(error) = load(&environment, &text) {
                wrong += 1;
                assert!(!error.contains("t0ken"), "{text}\n{error}");
            }
        }
        // The same by a variable, which is always text.
        let name = format!("OFFHOOK_{}", key.to_uppercase().replace('.', "__"));
        for value in values.iter().filter(|value| value.starts_with('"')) {
            let value = value.trim_matches('"');
            let mut environment = MINIMAL.to_vec();
            environment.push((&name, value));
            if let Err(error) = load(&environment, "") {
                wrong += 1;
                assert!(!error.contains("t0ken"), "{name}={value}\n{error}");
            }
        }
    }
    // Of a shared key, where its id is.
    for keys in [
        format!("{{ id = '{SECRET}' }}"),
        format!("{{ id = '{SECRET}', secret = 'short' }}"),
        format!("{{ id = '{SECRET}', secret = '' }}"),
        format!("{{ id = '{SECRET}', secret = '0123456789abcdef', secret_file = '/x/y' }}"),
        format!("{{ id = '{SECRET} x', secret = '0123456789abcdef' }}"),
        [(); 2].map(|()| format!("{{ id = '{SECRET}', secret = '0123456789abcdef' }}")).join(", "),
    ] {
        let error = load(&MINIMAL, &format!("{base}shared_keys = [{keys}]\n"));
        let error = error.expect_err("it is wrong");
        assert!(error.contains("shared_keys[") && !error.contains("t0ken"), "{keys}\n{error}");
    }
    assert!(wrong > 1000, "only {wrong} of them are wrong: the keys are not found");
}

#[test]
fn an_error_says_what_belongs_there() {
    let check = |file: &str, parts: &[&str]| check_error(load(&MINIMAL[2..], file), parts);
    let account = "[[account]]\nsid = 'AC1'\n";
    check(&format!("{account}auth_tokens = 't0ken'"), &["auth_tokens", "my.toml", "a list"]);
    check(&format!("{account}shared_keys = ['t0ken']"), &["shared_keys", "a section"]);
    let key = "id = 'k', secret = '0123456789abcdef'";
    let file = format!("{account}shared_keys = [{{ {key}, algorithm = 't0ken' }}]");
    check(&file, &["algorithm", "HMAC_SHA1", "HMAC_SHA256"]);
    let environment =
        |name: &'static str, value: &'static str| load(&minimal(&[(name, value)]), "");
    check_error(environment("OFFHOOK_STORE", "postgres://u:t0ken@h/d"), &["store", "a section"]);
    let scaled = |name: &'static str, value: &'static str| {
        load(
            &minimal(&[
                ("DATABASE_URL", "postgres://h/d"),
                ("REDIS_URL", "redis://h"),
                (name, value),
            ]),
            "",
        )
    };
    let url = "postgres://u@h/d?sslmode=t0ken";
    check_error(scaled("OFFHOOK_STORE__URL", url), &["store.url", "the value of sslmode"]);
    check(&format!("{account}auth_tokens_file = 't0ken'"), &["auth_tokens_file", "cannot be read"]);
    check("[inbound]\nlisten = 't0ken'\n[", &["my.toml", "not valid TOML", "line 3"]);
}

#[test]
fn later_layers_override_earlier_ones() {
    let file = "public_url = 'https://file.example'\n[inbound]\nlisten = '127.0.0.1:1'\n";
    let config = load(&MINIMAL[..2], file).expect("complete");
    assert_eq!(config.public_url.as_str(), "https://file.example");
    assert_eq!(config.inbound.listen.port(), 1);
    let config =
        load(&minimal(&[("OFFHOOK_INBOUND__LISTEN", "127.0.0.1:2")]), file).expect("complete");
    assert_eq!(config.public_url.as_str(), "https://hooks.example.com");
    assert_eq!(config.inbound.listen.port(), 2);
    // An account in the file takes the place of the conventional one.
    let file = "[[account]]\nsid = 'AC2'\nauth_tokens = ['12345', '6e7']";
    let config = load(&MINIMAL, file).expect("complete");
    let sids: Vec<&str> = config.keyring.accounts().iter().map(Account::sid).collect();
    assert_eq!(sids, ["AC2"]);
}

#[test]
fn digits_stay_text() {
    let environment = [MINIMAL[0], ("TWILIO_AUTH_TOKEN", "00123e4"), MINIMAL[2]];
    let config = load(&environment, "").expect("complete");
    check_tokens(&config, &["00123e4"]);
}

#[test]
fn what_nobody_knows_is_named_with_its_place() {
    check_error(load(&MINIMAL, "[inbuond]\nlisten = '1'"), &["inbuond", "my.toml"]);
    check_error(load(&MINIMAL, "[inbound]\nlissten = '1'"), &["lissten", "my.toml"]);
    check_error(
        load(&minimal(&[("OFFHOOK_INBOUND__LISSTEN", "1")]), ""),
        &["inbound.lissten", "environment variable OFFHOOK_INBOUND__LISSTEN"],
    );
    check_error(load(&MINIMAL, "[inbound"), &["my.toml", "TOML"]);
    check_error(load(&MINIMAL, "[inbound]\nbody_limit = 'many'"), &["body_limit", "my.toml"]);
    check_error(
        load(&minimal(&[("OFFHOOK_STORE__MIGRATE", "perhaps")]), ""),
        &["store.migrate", "OFFHOOK_STORE__MIGRATE"],
    );
    check_error(
        Config::load(&sources(&MINIMAL, Some("/nowhere/my.toml".into())), Role::All)
            .map_err(|error| error.to_string()),
        &["--config", "/nowhere/my.toml", "cannot be read"],
    );
}

#[test]
fn secrets_come_from_files_too() {
    use secrecy::ExposeSecret;
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).expect("the file can be written");
        path.display().to_string()
    };
    let tokens = path("tokens", "one\n two \n\n");
    let url = path("url", "postgres://u:p@h/d\n");
    let environment = [
        MINIMAL[0],
        ("TWILIO_AUTH_TOKEN_FILE", &tokens),
        MINIMAL[2],
        ("DATABASE_URL_FILE", &url),
        ("OFFHOOK_STREAM__URL", "redis://h"),
    ];
    let config = load(&environment, "").expect("complete");
    check_tokens(&config, &["one", "two"]);
    let Deployment::Scaled(scaled) = &config.deployment else { panic!("not scaled") };
    assert_eq!(scaled.store.expose_secret(), "postgres://u:p@h/d");
    assert!(!format!("{config:?}").contains("u:p"), "Debug shows a secret");

    // A value in the user's file is stronger than a file that a variable names.
    let config = load(&environment, "[store]\nurl = 'postgres://other/d'").expect("complete");
    let Deployment::Scaled(scaled) = &config.deployment else { panic!("not scaled") };
    assert_eq!(scaled.store.expose_secret(), "postgres://other/d");

    let missing = [MINIMAL[0], ("TWILIO_AUTH_TOKEN_FILE", "/nowhere/token"), MINIMAL[2]];
    check_error(load(&missing, ""), &["auth_tokens_file", "/nowhere/token cannot be read"]);
    check_error(
        load(&MINIMAL, "[admin]\ntoken = 'a'\ntoken_file = '/nowhere/b'"),
        &["admin.token_file", "keep one"],
    );
}

#[test]
fn what_is_good_is_not_warned_of() {
    assert_eq!(warnings(&[], ""), [""; 0]);
    // What stands around a value is not a part of it.
    let padded = [("TWILIO_AUTH_TOKEN", " 0123456789abcdef0123456789abcdef\r\n")];
    assert_eq!(warnings(&padded, "[inbound]\nhealth_path = ''"), [""; 0]);
}

/// Compose makes an empty one of a variable that is not set: `${X:-}`.
#[test]
fn an_empty_variable_counts_as_unset() {
    let empty = [
        "OFFHOOK_ADMIN__TOKEN",
        "OFFHOOK_CALLS__LIMIT",
        "OFFHOOK_INBOUND__LISTEN",
        "DATABASE_URL",
        "DATABASE_URL_FILE",
        "REDIS_URL",
        "TWILIO_AUTH_TOKEN_FILE",
    ];
    for blank in ["", " \n"] {
        for name in empty {
            let config = load(&minimal(&[(name, blank)]), "").expect(name);
            assert!(matches!(config.deployment, Deployment::Embedded { .. }), "{name}");
            assert!(config.admin.token.is_none(), "{name}");
            assert_eq!(config.inbound.listen.to_string(), "0.0.0.0:8080", "{name}");
        }
    }
    let blank = [MINIMAL[0], MINIMAL[1], ("OFFHOOK_PUBLIC_URL", "")];
    check_error(load(&blank, ""), &["public_url (not set)"]);
}

/// Options of commands are no keys: every variable that a command reads may be set while it reads the configuration.
#[test]
fn options_in_the_environment_are_not_taken_for_keys() {
    let mut options = BTreeSet::new();
    for entry in std::fs::read_dir("src/cli").expect("it is there").flatten() {
        let Ok(text) = std::fs::read_to_string(entry.path()) else { continue };
        let read = text.split("variable(\"").skip(1).filter_map(|rest| rest.split('"').next());
        options.extend(read.filter(|name| name.starts_with("OFFHOOK_")).map(str::to_owned));
    }
    options.insert("OFFHOOK_CONFIG".to_owned());
    assert!(options.len() >= 3, "the commands are not read: {options:?}");
    for name in options {
        let name: &'static str = name.leak();
        load(&minimal(&[(name, "x")]), "").expect(name);
    }
}

/// The slips that are made most: each error says what to write.
#[test]
fn an_error_says_what_to_write_in_the_place_of_a_slip() {
    check_error(
        load(&MINIMAL, "[account]\nsid = 'AC1'"),
        &["account", "[[account]]", "two brackets"],
    );
    check_error(load(&MINIMAL, "[forward]\nname = 'a'"), &["forward", "[[forward]]"]);
    for listen in ["8080", ":8080", "localhost:8080"] {
        let listen = [("OFFHOOK_INBOUND__LISTEN", listen)];
        check_error(
            load(&minimal(&listen), ""),
            &["inbound.listen", "ADDRESS:PORT, such as 0.0.0.0:8080"],
        );
    }
    for number in ["-1", "many", "1.5"] {
        let number = [("OFFHOOK_CALLS__LIMIT", number)];
        check_error(load(&minimal(&number), ""), &["calls.limit", "a whole number, 0 or more"]);
    }
    check_error(load(&minimal(&[("OFFHOOK_STORE__MIGRATE", "maybe")]), ""), &["true or false"]);
    check_error(
        load(&minimal(&[("OFFHOOK_FOO", "1")]), ""),
        &["`foo` is not a known key", "`inbound`"],
    );
}
