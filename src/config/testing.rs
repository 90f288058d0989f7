//! What the tests of every section need.

use std::path::PathBuf;

use super::{Config, Role, Sources};
use crate::twilio::keyring::Secret;

/// What every configuration needs.
pub(crate) const MINIMAL: [(&str, &str); 3] = [
    ("TWILIO_ACCOUNT_SID", "AC1"),
    ("TWILIO_AUTH_TOKEN", "t0ken"),
    ("OFFHOOK_PUBLIC_URL", "https://hooks.example.com"),
];

pub(crate) fn sources(environment: &[(&str, &str)], file: Option<PathBuf>) -> Sources {
    let pairs = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Sources { environment: pairs.collect(), file }
}

pub(crate) fn load(environment: &[(&str, &str)], file: &str) -> Result<Config, String> {
    load_as(environment, file, Role::All)
}

pub(crate) fn load_as(
    environment: &[(&str, &str)],
    file: &str,
    role: Role,
) -> Result<Config, String> {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("my.toml");
    std::fs::write(&path, file).expect("the file can be written");
    let config = Config::load(&sources(environment, Some(path)), role);
    config.map_err(|error| error.to_string())
}

pub(crate) fn minimal(more: &[(&'static str, &'static str)]) -> Vec<(&'static str, &'static str)> {
    MINIMAL.iter().chain(more).copied().collect()
}

/// The error names the key, where it was set, and the fix; and never a secret.
#[track_caller]
pub(crate) fn check_error(result: Result<Config, String>, parts: &[&str]) {
    let error = result.expect_err("this configuration is wrong");
    for part in parts {
        assert!(error.contains(part), "`{part}` is not in: {error}");
    }
    assert!(!error.contains("t0ken"), "{error}");
}

/// The first account signs as with these auth tokens.
#[track_caller]
pub(crate) fn check_tokens(config: &Config, tokens: &[&str]) {
    let sign = |secret: &Secret| secret.sign("https://h", b"");
    let expected = tokens.iter().map(|token| sign(&Secret::auth_token(&(*token).into())));
    let found = config.keyring.accounts()[0].secrets().iter().map(sign);
    assert!(found.eq(expected));
}

const SID: (&str, &str) = ("TWILIO_ACCOUNT_SID", "AC0123456789abcdef0123456789abcdef");
const TOKEN: (&str, &str) = ("TWILIO_AUTH_TOKEN", "0123456789abcdef0123456789abcdef");

/// What is warned of in a configuration that is good but for this.
pub(crate) fn warnings(more: &[(&'static str, &'static str)], file: &str) -> Vec<String> {
    let mut environment = vec![SID, TOKEN, MINIMAL[2]];
    environment.retain(|(name, _)| !more.iter().any(|(other, _)| other == name));
    environment.extend(more);
    let config = load(&environment, file).expect("it can be read");
    config.warnings.iter().map(ToString::to_string).collect()
}

/// The configuration is good enough to start with, and causes one warning, with the key and the consequence.
#[track_caller]
pub(crate) fn check_warning(
    more: &[(&'static str, &'static str)],
    file: &str,
    key: &str,
    part: &str,
) {
    let found = warnings(more, file);
    let warned = matches!(&found[..], [one] if one.starts_with(key) && one.contains(part));
    assert!(warned, "{key}: {found:?}");
    assert!(!found[0].contains("0123456789abcdef0123"), "{found:?}");
}
