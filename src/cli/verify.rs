//! `offhook verify`: why a signature is right or wrong, offline. Never prints a right one.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use bytes::Bytes;
use clap::Args;

use super::secrets;
use super::terminal::outln;
use crate::twilio::diagnosis::diagnose;
use crate::twilio::keyring::Keyring;
use crate::twilio::params::Params;
use crate::twilio::signature::{BODY_HASH, Claim, Content, SignedRequest};

/// The arguments.
#[derive(Debug, Args)]
pub(super) struct Verify {
    /// The URL as Twilio requested it: scheme, host, path and query.
    #[arg(long)]
    url: String,
    /// The value of X-Twilio-Signature.
    #[arg(long)]
    signature: String,
    /// The value of X-Twilio-Webhooks-Signature-Settings, if there was one.
    #[arg(long)]
    settings: Option<String>,
    /// POST or GET.
    #[arg(long, default_value = "POST", ignore_case = true, value_parser = ["POST", "GET"])]
    method: String,
    /// A file with the body as it was sent; `-` is standard input. Without one the body is empty.
    #[arg(long, value_name = "FILE")]
    body: Option<PathBuf>,
    /// The body is JSON. By default it is if the URL has a bodySHA256.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    secret: secrets::Given,
}

/// Verifies, and prints what was tried.
///
/// # Errors
/// The signature is wrong; the error is the reason.
pub(super) fn run(config: Option<PathBuf>, verify: &Verify) -> anyhow::Result<()> {
    let content = verify.content();
    let body = match (content, &verify.body) {
        (Content::Query, _) | (_, None) => Bytes::new(),
        (_, Some(path)) => read(path)?,
    };
    let names = verify.account(content, &body);
    let keyring = verify.secret.keyring(config, names.as_deref())?;
    let settings = verify.settings.as_ref().map(String::as_bytes);
    let claim = Claim::parse([verify.signature.trim().as_bytes()], settings)?;
    outln!("{}", explain(&verify.url, content, &body, &claim, &keyring)?);
    Ok(())
}

impl Verify {
    fn content(&self) -> Content {
        let query = self.url.split_once('?').map_or("", |(_, query)| query);
        match self.method.as_str() {
            method if method.eq_ignore_ascii_case("GET") => Content::Query,
            _ if self.json || Params::parse(query.as_bytes()).has(BODY_HASH) => Content::Json,
            _ => Content::Form,
        }
    }

    /// The `AccountSid` of the request.
    fn account(&self, content: Content, body: &Bytes) -> Option<String> {
        let params = match content {
            Content::Query => self.url.split_once('?')?.1.as_bytes(),
            Content::Form => body,
            Content::Json => return None,
        };
        Params::parse(params).get("AccountSid").map(std::borrow::Cow::into_owned)
    }
}

/// What matched, or else the reason as an error, with what was tried.
fn explain(
    url: &str,
    content: Content,
    body: &Bytes,
    claim: &Claim,
    keyring: &Keyring,
) -> anyhow::Result<String> {
    let request = SignedRequest::new(url, content, body, claim.clone());
    let trials = request.trials(keyring);
    match request.verify(keyring) {
        Ok(request) => {
            let verified = request.verified();
            let matched = trials.iter().find(|trial| trial.matched);
            Ok(format!(
                "the signature is right\n  url      {}\n  account  {}\n  key      {}",
                matched.map_or("any, with invalid UTF-8 replaced", |trial| trial.url.as_str()),
                verified.account.sid(),
                verified.secret.id(),
            ))
        }
        Err(error) => {
            let mut lines = vec![format!("{error}; tried:")];
            let tried =
                trials.iter().map(|t| format!("  {} with {} of {}", t.url, t.secret, t.account));
            lines.extend(tried);
            if trials.is_empty() {
                lines.push("  nothing: no account has a secret of this kind".to_owned());
            }
            lines.push(match diagnose(url, content, body, claim, keyring, usize::MAX) {
                Some(diagnosis) => diagnosis.advice().to_owned(),
                None => "none of the usual mistakes (scheme, port, slash, query, line end) explains it: the token is \
                         another one, or the host or path is; or the request was changed. An API key signs nothing"
                    .to_owned(),
            });
            bail!("{}", lines.join("\n"))
        }
    }
}

fn read(path: &Path) -> anyhow::Result<Bytes> {
    if path == Path::new("-") {
        let mut body = Vec::new();
        std::io::stdin().read_to_end(&mut body).context("the body cannot be read")?;
        return Ok(body.into());
    }
    let body = std::fs::read(path).with_context(|| format!("{} cannot be read", path.display()))?;
    Ok(body.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::twilio::keyring::{Account, Secret};
    use crate::twilio::signature::sign;

    const URL: &str = "https://h.example/status";

    fn check(url: &str, expected: Result<&str, &[&str]>) {
        let token = "12345".into();
        let account = Account::new("AC1".into(), "main".into(), std::slice::from_ref(&token), &[]);
        let keyring = Keyring::new(vec![account]).expect("has a token");
        let body = Bytes::from_static(b"CallSid=CA1&AccountSid=AC1");
        let secret = Secret::auth_token(&token);
        let signature = sign(&secret, URL, Content::Form, &body);
        let right = sign(&secret, url, Content::Form, &body);
        let claim = Claim::parse([signature.as_bytes()], None).expect("well-formed");
        let explained = explain(url, Content::Form, &body, &claim, &keyring);
        match (explained, expected) {
            (Ok(text), Ok(part)) => assert!(text.contains(part), "{text}"),
            (Err(error), Err(parts)) => {
                let text = error.to_string();
                assert!(parts.iter().all(|part| text.contains(part)), "{text}");
                assert!(!text.contains(&right), "it shows a right signature");
            }
            (explained, _) => panic!("{url}: {explained:?}"),
        }
    }

    #[test]
    fn it_says_which_url_and_key_matched() {
        check(URL, Ok("https://h.example/status\n  account  AC1\n  key      auth_token_1"));
        check("https://h.example:8443/status", Ok("url      https://h.example/status"));
    }

    #[test]
    fn it_says_what_was_tried_and_what_the_mistake_may_be() {
        check(
            "http://h.example/status",
            Err(&["wrong", "http://h.example:80/status with auth_token_1 of AC1", "public_url"]),
        );
        check("https://h.example/other", Err(&["the signature is wrong", "tried"]));
    }
}
