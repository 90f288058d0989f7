use std::path::PathBuf;

use super::*;
use crate::twilio::keyring::{Account, Secret};

/// What every configuration needs.
const MINIMAL: [(&str, &str); 3] = [
    ("TWILIO_ACCOUNT_SID", "AC1"),
    ("TWILIO_AUTH_TOKEN", "t0ken"),
    ("OFFHOOK_PUBLIC_URL", "https://hooks.example.com"),
];

fn sources(environment: &[(&str, &str)], file: Option<PathBuf>) -> Sources {
    let pairs = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Sources { environment: pairs.collect(), file }
}

fn load(environment: &[(&str, &str)], file: &str) -> Result<Config, String> {
    load_as(environment, file, Role::All)
}

fn load_as(environment: &[(&str, &str)], file: &str, role: Role) -> Result<Config, String> {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("my.toml");
    std::fs::write(&path, file).expect("the file can be written");
    let config = Config::load(&sources(environment, Some(path)), role);
    config.map_err(|error| error.to_string())
}

fn minimal(more: &[(&'static str, &'static str)]) -> Vec<(&'static str, &'static str)> {
    MINIMAL.iter().chain(more).copied().collect()
}

/// The error names the key, where it was set, and the fix; and never a secret.
#[track_caller]
fn check_error(result: Result<Config, String>, parts: &[&str]) {
    let error = result.expect_err("this configuration is wrong");
    for part in parts {
        assert!(error.contains(part), "`{part}` is not in: {error}");
    }
    assert!(!error.contains("t0ken"), "{error}");
}

/// The first account signs as with these auth tokens.
#[track_caller]
fn check_tokens(config: &Config, tokens: &[&str]) {
    let sign = |secret: &Secret| secret.sign("https://h", b"");
    let expected = tokens.iter().map(|token| sign(&Secret::auth_token(&(*token).into())));
    let found = config.keyring.accounts()[0].secrets().iter().map(sign);
    assert!(found.eq(expected));
}

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

/// HMAC takes any key, and with an empty one anybody can sign.
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
    check_error(load(&MINIMAL, "[admin]\ntoken = ' '"), &["admin.token", "empty"]);
}

/// A few characters are guessed from everywhere; on loopback, by who is on the machine already.
#[test]
fn a_short_admin_token_is_refused_but_on_loopback() {
    let admin = |text: &str| load(&MINIMAL, &format!("[admin]\n{text}"));
    let (open, long) = ("listen = '0.0.0.0:1'", "0123456789abcdef01234567");
    for short in ["x", "changeme", "0123456789abcdef0123456"] {
        check_error(
            admin(&format!("{open}\ntoken = '{short}'")),
            &["admin.token (", "my.toml", "fewer than 24", "openssl"],
        );
        let read = format!("{open}\ntoken = '{long}'\nread_token = '{short}'");
        check_error(admin(&read), &["admin.read_token (", "fewer than 24"]);
        let local = admin(&format!("token = '{short}'")).expect("on loopback");
        let found = local.warnings.iter().find(|warning| warning.key == "admin.token");
        assert!(found.is_some_and(|found| found.to_string().contains("my.toml")));
    }
    let both = format!("{open}\ntoken = '{long}'\nread_token = '{long}x'");
    let config = admin(&both).expect("both are long");
    assert!(config.admin.read_token.is_some());
    assert!(config.warnings.iter().all(|warning| !warning.key.starts_with("admin")));
    check_error(admin(&format!("token = '{long}'\nread_token = '{long}'")), &["admin.read_token"]);
    check_error(admin(&format!("read_token = '{long}'")), &["admin.read_token", "admin.token"]);
}

/// Each key that there is, dotted; those that have no default, too.
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
        ["retention", "fallback", "fallback.number", "privacy", "traces"].map(str::to_owned),
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
fn the_stores_url_decides_the_mode() {
    let scaled = [("DATABASE_URL", "postgres://h/d"), ("REDIS_URL", "redis://h")];
    let config = load(&minimal(&scaled), "").expect("complete");
    let Deployment::Scaled(scaled_config) = config.deployment else { panic!("not scaled") };
    assert_eq!(scaled_config.names.stream, "offhook:events");
    assert_eq!(scaled_config.role, Role::All);

    let config = load(&minimal(&scaled[..1]), "").expect("complete");
    assert!(matches!(config.deployment, Deployment::Direct { .. }), "a Postgres alone");
    assert_eq!(
        config.deployment.local_log().expect("it has one").directory,
        Path::new("offhook-spool")
    );
    for role in [Role::Receiver, Role::Worker] {
        let refused = load_as(&minimal(&scaled[..1]), "", role);
        check_error(refused, &["stream.url (not set)", "REDIS_URL", "--role"]);
    }
    let config = load(&MINIMAL, "[store]\nurl = 'sqlite:///a/b.db?mode=rwc'").expect("complete");
    assert_eq!(
        config.deployment.local_log().expect("it has one").directory,
        Path::new("/a/b.db-log")
    );
    // A REDIS_URL alone is somebody else's; a stream in our own file is meant.
    assert!(load(&minimal(&scaled[1..]), "").is_ok());
    check_error(
        load(&MINIMAL, "[stream]\nurl = 'redis://h'"),
        &["stream.url", "my.toml", "postgres://"],
    );
    check_error(load_as(&MINIMAL, "", Role::Worker), &["store.url", "--role", "postgres://"]);
    check_error(load(&MINIMAL, "[store]\nurl = 'mysql://h'"), &["store.url", "my.toml", "sqlite:"]);
}

/// A spool that filled such a disk could not be emptied again.
#[test]
fn a_spools_disk_keeps_the_room_that_emptying_it_needs() {
    let scaled = minimal(&[("DATABASE_URL", "postgres://h/d"), ("REDIS_URL", "redis://h")]);
    let error = load(&scaled, "[spool]\nmin_free_bytes = 16777215");
    check_error(error, &["spool.min_free_bytes", "my.toml", "16777216"]);
    assert!(load(&scaled, "[spool]\nmin_free_bytes = 16777216").is_ok());
}

#[test]
fn a_process_has_one_thread_for_each_of_its_roles() {
    let scaled = minimal(&[("DATABASE_URL", "postgres://h/d"), ("REDIS_URL", "redis://h")]);
    let threads = |environment: &[(&str, &str)], role| {
        load_as(environment, "", role).expect("complete").deployment.threads()
    };
    assert_eq!(
        [Role::Receiver, Role::Worker, Role::All].map(|role| threads(&scaled, role)),
        [1, 1, 2]
    );
    assert_eq!(threads(&MINIMAL, Role::All), 1);
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
fn values_are_checked() {
    check_error(
        load(&MINIMAL, "[admin]\nlisten = '0.0.0.0:1'"),
        &["admin.listen", "my.toml", "admin.token"],
    );
    check_error(
        load(&MINIMAL, "[fallback]\nvoice = '<Response><say/></Response>'"),
        &["fallback.voice", "my.toml", "<say> is no voice verb"],
    );
    check_error(load(&MINIMAL, "[inbound]\npath_prefix = 'x/'"), &["path_prefix", "my.toml"]);
    let spaced = load(&MINIMAL, "[traces]\nendpoint = 'http://h/v1?key=t0 ken'");
    assert!(!spaced.as_ref().is_err_and(|error| error.contains("ken")), "{spaced:?}");
    check_error(spaced, &["traces.endpoint", "my.toml"]);
    check_error(
        load(&MINIMAL, "public_url = 'x'\n[log]\nfilter = 'a=b=c'"),
        &["log.filter", "my.toml"],
    );
    let file = "[[account]]\nsid = 'AC2'\nauth_tokens = ['a']\n[[account]]\nsid = 'AC2'\nauth_tokens = ['b']";
    check_error(load(&MINIMAL, file), &["account", "AC2 is there twice"]);
    check_error(
        load(&MINIMAL, "[[account]]\nsid = 'XX'\nauth_tokens = ['a']"),
        &["account[0].sid", "AC"],
    );
}

#[test]
fn a_status_is_never_kept_for_less_time_than_its_events() {
    use std::time::Duration;
    let retention = |text: &str| load(&MINIMAL, &format!("[retention]\n{text}"));
    let days = |days: u64| Some(Duration::from_secs(days * 24 * 60 * 60));
    let config = load(&MINIMAL, "").expect("complete").retention;
    assert_eq!(config, retention::Config { events: None, statuses: None, dead_letters: None });
    let config = retention("events_days = 30\nstatuses_days = 30\ndead_letters_days = 7");
    let (events, dead_letters) = (days(30), days(7));
    let expected = retention::Config { events, statuses: events, dead_letters };
    assert_eq!(config.expect("complete").retention, expected);
    assert!(retention("events_days = 30").is_ok());
    let key = "retention.statuses_days";
    check_error(retention("statuses_days = 400"), &[key, "my.toml", "for ever"]);
    let shorter = "events_days = 30\nstatuses_days = 29";
    check_error(retention(shorter), &[key, "kept for 30 days", "retention.events_days"]);
    let calls = "events_days = 1\nstatuses_days = 1\n[calls]\nmax_age_s = 86401";
    check_error(retention(calls), &[key, "calls.max_age_s"]);
    check_error(retention("events_days = -1"), &["events_days", "my.toml"]);
}

#[test]
fn what_is_not_plain_needs_a_key() {
    let key = "0123456789abcdef0123456789abcdef";
    let hashed = "[privacy]\nnumbers = 'hash'\nalso_numbers = ['phone']\n";
    let config = load(&MINIMAL, &format!("{hashed}key = '{key}'")).expect("complete");
    let forms = config.privacy.forms("+15550100");
    assert!(forms.len() == 2 && forms[1].starts_with("hash:"), "{forms:?}");
    let shown = format!("{config:?}");
    assert!(shown.contains("\"phone\": Numbers"), "{shown}");
    assert!(!shown.contains(key), "Debug shows the key");

    check_error(
        load(&MINIMAL, hashed),
        &["privacy.numbers (", "my.toml", "privacy.key_file", "openssl"],
    );
    let dropped = "[privacy]\nbodies = 'drop'";
    check_error(load(&MINIMAL, dropped), &["privacy.bodies (", "privacy.key_file"]);
    let short = format!("{hashed}key = 't0ken'");
    check_error(load(&MINIMAL, &short), &["privacy.key (", "my.toml", "less than 32"]);
    let nowhere = format!("{hashed}key_file = '/nowhere/key'");
    check_error(load(&MINIMAL, &nowhere), &["privacy.key_file", "/nowhere/key cannot be read"]);
    let unheard = "[privacy]\nnames = 't0ken'";
    check_error(load(&MINIMAL, unheard), &["privacy.names", "my.toml", "`mask`, `hash`, `drop`"]);
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

/// Each is good enough to start with, and is warned of by key, with what follows.
#[test]
fn what_can_be_read_and_is_most_likely_not_meant_is_warned_of() {
    const SID: (&str, &str) = ("TWILIO_ACCOUNT_SID", "AC0123456789abcdef0123456789abcdef");
    const TOKEN: (&str, &str) = ("TWILIO_AUTH_TOKEN", "0123456789abcdef0123456789abcdef");
    let warnings = |more: &[(&'static str, &'static str)], file: &str| {
        let mut environment = vec![SID, TOKEN, MINIMAL[2]];
        environment.retain(|(name, _)| !more.iter().any(|(other, _)| other == name));
        environment.extend(more);
        let config = load(&environment, file).expect("it can be read");
        config.warnings.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(warnings(&[], ""), [""; 0]);
    // What stands around a value is not a part of it.
    let padded =
        [("TWILIO_AUTH_TOKEN", " 0123456789abcdef0123456789abcdef\r\n"), ("REDIS_URL", "")];
    let found = warnings(&padded[..1], "[inbound]\nhealth_path = ''");
    assert_eq!(found, [""; 0]);

    let check = |more: &[(&'static str, &'static str)], file: &str, key: &str, part: &str| {
        let found = warnings(more, file);
        let told = matches!(&found[..], [one] if one.starts_with(key) && one.contains(part));
        assert!(told, "{key}: {found:?}");
        assert!(!found[0].contains("0123456789abcdef0123"), "{found:?}");
    };
    let token = |token| [("TWILIO_AUTH_TOKEN", token)];
    let key = "account[0].auth_tokens (environment variable TWILIO_ACCOUNT_SID, TWILIO_AUTH_TOKEN)";
    check(&token("\"0123456789abcdef0123456789abcdef\""), "", key, "quotes");
    check(&token("0123456789abcdef 0123456789abcdef"), "", key, "blanks");
    check(&token("SK23456789abcdef0123456789abcdef"), "", key, "API key");
    check(&token("0123456789"), "", key, "32 digits");
    check(&[("TWILIO_ACCOUNT_SID", "AC123")], "", "account[0].sid", "32 digits");
    for (section, name) in [
        ("inbound", "body_limit"),
        ("inbound", "body_timeout_ms"),
        ("inbound", "header_timeout_ms"),
        ("inbound", "idle_timeout_ms"),
        ("inbound", "request_timeout_ms"),
        ("stream", "timeout_ms"),
        ("spool", "max_bytes"),
        ("worker", "reclaim_idle_ms"),
        ("worker", "trim_every_ms"),
        ("calls", "max_age_s"),
    ] {
        let file = format!("[{section}]\n{name} = 0");
        check(&[], &file, &format!("{section}.{name}"), "with 0");
    }
    let url = |url| [("OFFHOOK_PUBLIC_URL", url)];
    check(&url("https://h.example/status"), "", "public_url", "/status/status");
    check(&url("https://h.example/a/sms-fallback/"), "", "public_url", "which is a route");
    let prefix = "[inbound]\npath_prefix = '/twilio'";
    check(&url("https://h.example/twilio"), prefix, "inbound.path_prefix", "/twilio/twilio/status");
    check(
        &[("REDIS_URL", "redis://h")],
        "",
        "stream.url (environment variable REDIS_URL)",
        "DATABASE_URL",
    );
    for filter in ["offhok=debug", "verbose!!"] {
        check(&[("OFFHOOK_LOG__FILTER", filter)], "", "log.filter", "no line of offhook");
    }
}

#[test]
fn a_redis_url_that_lies_about_is_not_read() {
    let stray = minimal(&[("REDIS_URL_FILE", "/nowhere/redis")]);
    let config = load(&stray, "").expect("a SQLite process needs no Redis");
    assert!(config.warnings.iter().any(|warning| warning.key == "stream.url_file"));
    check_error(
        load(&MINIMAL, "[stream]\nurl_file = '/nowhere'"),
        &["stream.url_file", "SQLite store uses no stream"],
    );
}

#[test]
fn a_password_that_is_not_encoded_is_named() {
    let scaled =
        |store, stream| load(&minimal(&[("DATABASE_URL", store), ("REDIS_URL", stream)]), "");
    let (store, stream) = ("postgres://u@h/d", "redis://h");
    assert!(scaled(store, stream).is_ok());
    check_error(scaled("postgres://u:p#w/d@h/d", stream), &["store.url", "percent-encoded"]);
    check_error(scaled(store, "redis://:p#w/d@h"), &["stream.url", "percent-encoded"]);
    check_error(
        scaled(store, "redis+sentinel://:p#w/d=@h/main"),
        &["stream.url", "percent-encoded"],
    );
    check_error(scaled(store, "rediss://h/#insecure"), &["stream.url", "stream.ca_file"]);
}
