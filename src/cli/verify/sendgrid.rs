//! `offhook verify --sendgrid`: the same of a request of SendGrid's Event Webhook. Its keys are public, so that nothing
//! here is secret.

use std::path::PathBuf;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use serde::Serialize;

use super::{Verify, WRONG, read};
use crate::config::{Config, Role, Sources};
use crate::sendgrid::keys::{VerificationKey, VerificationKeys};
use crate::sendgrid::signature::Claim;

/// What was found out.
#[derive(Serialize)]
struct Found {
    right: bool,
    /// The key that verifies it.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    /// Each key that was tried.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tried: Vec<String>,
    /// The likely mistake, and what to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<&'static str>,
}

/// Verifies, and prints what was tried.
///
/// # Errors
/// The signature is wrong; the error is the reason.
pub(super) fn run(config: Option<PathBuf>, verify: &Verify) -> anyhow::Result<()> {
    let timestamp = verify.timestamp.as_deref().context(
        "--timestamp is missing: the value of X-Twilio-Email-Event-Webhook-Timestamp is signed, too",
    )?;
    let body = verify.body.as_ref().map_or_else(|| Ok(Bytes::new()), |path| read(path))?;
    let keys = keys(config, &verify.keys)?;
    let claim = Claim::parse([verify.signature.trim().as_bytes()], [timestamp.trim().as_bytes()])?;
    let found = Found::of(&claim, &body, &keys);
    if found.right || verify.format.json {
        verify.format.print(&found, Found::describe);
    }
    let problem = if verify.format.json { WRONG.to_owned() } else { found.describe() };
    ensure!(found.right, "{problem}");
    Ok(())
}

/// Those that were given, or else those of the configuration.
fn keys(config: Option<PathBuf>, given: &[String]) -> anyhow::Result<VerificationKeys> {
    if given.is_empty() {
        let config = Config::load(&Sources::of_process(config), Role::All)
            .context("there is no --key, and the configuration cannot be read")?;
        ensure!(
            !config.email_keys.is_empty(),
            "there is no --key, and sendgrid.verification_keys is empty: add one of them"
        );
        return Ok(VerificationKeys::clone(&config.email_keys));
    }
    let key = |(place, text): (usize, &String)| {
        VerificationKey::parse(place, text).with_context(|| format!("--key {}", place + 1))
    };
    let keys = given.iter().enumerate().map(key).collect::<anyhow::Result<_>>()?;
    Ok(VerificationKeys::new(keys))
}

impl Found {
    fn of(claim: &Claim, body: &[u8], keys: &VerificationKeys) -> Self {
        let signed_with = |body: &[u8]| {
            let signed = Bytes::from([claim.timestamp().as_bytes(), body].concat());
            claim.verify(keys, &signed).map(|signed| signed.key().id().to_owned())
        };
        let key = signed_with(body);
        let without = || {
            let shorter = [b"\r\n".as_slice(), b"\n"].into_iter();
            shorter.filter_map(|end| body.strip_suffix(end)).any(|body| signed_with(body).is_some())
        };
        let with = || {
            let ends = [b"\r\n".as_slice(), b"\n"].into_iter();
            ends.map(|end| [body, end].concat()).any(|body| signed_with(&body).is_some())
        };
        let advice = match &key {
            Some(_) => None,
            None if with() => Some(
                "the signature matches with a line end behind the body: SendGrid sends one, and something in front, or \
                 who saved the file, took it away",
            ),
            None if without() => Some(
                "the signature matches without the line end at the end of the body: the file has one that was not sent",
            ),
            None => Some(
                "no line end explains it: the key is another one (SendGrid makes one whenever signature verification is \
                 switched on), or the body or the timestamp was changed",
            ),
        };
        let tried = match &key {
            Some(_) => Vec::new(),
            None => keys.iter().map(|key| key.id().to_owned()).collect(),
        };
        Self { right: key.is_some(), key, tried, advice }
    }

    fn describe(&self) -> String {
        if let Some(key) = &self.key {
            return format!("the signature is right\n  key      {key}\n");
        }
        let mut lines = vec![format!("{WRONG}; tried: {}", self.tried.join(", "))];
        lines.extend(self.advice.map(str::to_owned));
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::email::EmailKey;

    #[test]
    fn it_says_which_key_matched_or_what_the_mistake_may_be() {
        let (one, other) = (EmailKey::default(), EmailKey::default());
        let both = [&one, &other].into_iter().enumerate();
        let both =
            both.map(|(place, key)| VerificationKey::parse(place, &key.public()).expect("a key"));
        let keys = VerificationKeys::new(both.collect());
        let check = |signed: &str, seen: &str, parts: &[&str]| {
            let signature = other.sign("1764000000", signed.as_bytes());
            let claim = Claim::parse([signature.as_bytes()], [b"1764000000".as_slice()]);
            let found = Found::of(&claim.expect("well-formed"), seen.as_bytes(), &keys);
            let text = found.describe();
            assert!(parts.iter().all(|part| text.contains(part)), "{text}");
            assert!(found.right || !text.contains(&signature), "{text}");
        };
        check("[]\r\n", "[]\r\n", &["is right", "verification_key_2"]);
        check(
            "[]\r\n",
            "[]",
            &["is wrong", "verification_key_1, verification_key_2", "took it away"],
        );
        check("[]", "[]\n", &["is wrong", "was not sent"]);
        check("[]", "[{}]", &["is wrong", "the key is another one"]);
    }
}
