use std::path::PathBuf;

use super::*;

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

#[test]
fn the_conventional_variables_are_enough_but_for_the_public_url() {
    let config = load(&MINIMAL, "").expect("complete");
    assert_eq!(config.public_url.as_str(), "https://hooks.example.com");
    assert_eq!(
        (config.accounts[0].sid.as_str(), config.accounts[0].name.as_str()),
        ("AC1", "account_1")
    );
    assert_eq!(config.admin.listen.to_string(), "127.0.0.1:8081");
    assert!(
        matches!(config.deployment, Deployment::Embedded { store } if store == "sqlite:offhook.db")
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
             shared_keys = [{{ id = 'k', secret = 's' }}]\nretiring = {retiring}\n"
        );
        load(&MINIMAL[2..], &file)
    };
    let secrets = account("['auth_token_1', 'k']").expect("complete").accounts[0].secrets();
    let retiring: Vec<bool> = secrets.secrets().iter().map(keyring::Secret::is_retiring).collect();
    assert_eq!(retiring, [true, false, true]);
    check_error(account("['auth_token_3']"), &["account[0].retiring", "auth_token_2, k"]);
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
    assert_eq!((config.accounts.len(), config.accounts[0].sid.as_str()), (1, "AC2"));
}

#[test]
fn digits_stay_text() {
    use secrecy::ExposeSecret;
    let environment = [MINIMAL[0], ("TWILIO_AUTH_TOKEN", "00123e4"), MINIMAL[2]];
    let config = load(&environment, "").expect("complete");
    assert_eq!(config.accounts[0].auth_tokens[0].expose_secret(), "00123e4");
}

#[test]
fn the_stores_url_decides_the_mode() {
    let scaled = [("DATABASE_URL", "postgres://h/d"), ("REDIS_URL", "redis://h")];
    let config = load(&minimal(&scaled), "").expect("complete");
    let Deployment::Scaled(scaled_config) = config.deployment else { panic!("not scaled") };
    assert_eq!(scaled_config.names.stream, "offhook:events");
    assert_eq!(scaled_config.role, Role::All);

    check_error(load(&minimal(&scaled[..1]), ""), &["stream.url (not set)", "REDIS_URL"]);
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
    assert!(load(&MINIMAL, "[admin]\nlisten = '0.0.0.0:1'\ntoken = 'x'").is_ok());
    check_error(
        load(&MINIMAL, "[fallback]\nvoice = '<Response><say/></Response>'"),
        &["fallback.voice", "my.toml", "<say> is no voice verb"],
    );
    check_error(load(&MINIMAL, "[inbound]\npath_prefix = 'x/'"), &["path_prefix", "my.toml"]);
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
    let tokens: Vec<_> = config.accounts[0].auth_tokens.iter().map(|t| t.expose_secret()).collect();
    assert_eq!(tokens, ["one", "two"]);
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
