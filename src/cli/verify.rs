//! `offhook verify`: why a signature is right or wrong, offline. Never prints a right one.

mod sendgrid;

use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use bytes::Bytes;
use clap::Args;
use serde::Serialize;

use super::output::Format;
use super::secrets;
use crate::twilio::diagnosis::diagnose;
use crate::twilio::keyring::Keyring;
use crate::twilio::params::Params;
use crate::twilio::signature::{BODY_HASH, Claim, Content, SignedRequest, Trial};

/// The arguments.
#[derive(Debug, Args)]
pub(super) struct Verify {
    /// The URL that Twilio requested: scheme, host, path and query
    #[arg(long, required_unless_present = "sendgrid")]
    url: Option<String>,
    /// The request is one of SendGrid's Event Webhook, which signs the timestamp and the body
    #[arg(long, conflicts_with_all = ["url", "settings", "method", "json_body", "auth_token", "account"])]
    sendgrid: bool,
    /// The value of X-Twilio-Email-Event-Webhook-Timestamp
    #[arg(long, requires = "sendgrid")]
    timestamp: Option<String>,
    /// A verification key of SendGrid's; may be repeated; default: those of the configuration
    #[arg(long = "key", value_name = "BASE64", requires = "sendgrid")]
    keys: Vec<String>,
    /// The value of X-Twilio-Signature, or of X-Twilio-Email-Event-Webhook-Signature
    #[arg(long)]
    signature: String,
    /// The value of X-Twilio-Webhooks-Signature-Settings, if there was one
    #[arg(long)]
    settings: Option<String>,
    /// The method of the request
    #[arg(long, default_value = "POST", ignore_case = true, value_parser = ["POST", "GET"])]
    method: String,
    /// A file with the body as it was sent, or `-` for standard input; default: an empty body
    #[arg(long, value_name = "FILE")]
    body: Option<PathBuf>,
    /// Read the body as JSON, as happens anyway if the URL has a bodySHA256
    #[arg(long)]
    json_body: bool,
    #[command(flatten)]
    secret: secrets::Given,
    #[command(flatten)]
    format: Format,
}

/// Verifies, and prints what was tried.
///
/// # Errors
/// The signature is wrong; the error is the reason.
pub(super) fn run(config: Option<PathBuf>, verify: &Verify) -> anyhow::Result<()> {
    if verify.sendgrid {
        return sendgrid::run(config, verify);
    }
    let url = verify.url();
    ensure!(
        url.starts_with("https://") || url.starts_with("http://"),
        "--url must start with https:// or http://, as Twilio requested it; it is `{url}`"
    );
    let content = verify.content();
    let body = match (content, &verify.body) {
        (Content::Query, _) | (_, None) => Bytes::new(),
        (_, Some(path)) => read(path)?,
    };
    let names = verify.account(content, &body);
    let keyring = verify.secret.keyring(config, names.as_deref())?;
    let settings = verify.settings.as_ref().map(String::as_bytes);
    let claim = Claim::parse([verify.signature.trim().as_bytes()], settings)?;
    let found = Found::of(url, content, &body, &claim, &keyring);
    // What is wrong is said once, on standard error.
    if found.right || verify.format.json {
        verify.format.print(&found, Found::describe);
    }
    ensure!(
        found.right,
        "{}",
        if verify.format.json { WRONG.to_owned() } else { found.describe() }
    );
    Ok(())
}

const WRONG: &str = "the signature is wrong";

/// What was found out.
#[derive(Serialize)]
struct Found {
    right: bool,
    /// What matched; `url` is null if only a URL with other bytes did.
    #[serde(skip_serializing_if = "Option::is_none")]
    matched: Option<Matched>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// Each URL and key that was tried.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tried: Vec<Matched>,
    /// The likely mistake, and what to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<String>,
}

#[derive(Serialize)]
struct Matched {
    url: Option<String>,
    account: String,
    key: String,
}

impl From<Trial> for Matched {
    fn from(Trial { url, account, secret, .. }: Trial) -> Self {
        Self { url: Some(url), account, key: secret }
    }
}

impl Verify {
    /// What was requested, of a request of Twilio's.
    fn url(&self) -> &str {
        self.url.as_deref().unwrap_or_default()
    }

    fn content(&self) -> Content {
        let query = self.url().split_once('?').map_or("", |(_, query)| query);
        match self.method.as_str() {
            method if method.eq_ignore_ascii_case("GET") => Content::Query,
            _ if self.json_body || Params::parse(query.as_bytes()).has(BODY_HASH) => Content::Json,
            _ => Content::Form,
        }
    }

    /// The `AccountSid` of the request.
    fn account(&self, content: Content, body: &Bytes) -> Option<String> {
        let params = match content {
            Content::Query => self.url().split_once('?')?.1.as_bytes(),
            Content::Form => body,
            Content::Json => return None,
        };
        Params::parse(params).get("AccountSid").map(std::borrow::Cow::into_owned)
    }
}

impl Found {
    fn of(url: &str, content: Content, body: &Bytes, claim: &Claim, keyring: &Keyring) -> Self {
        let request = SignedRequest::new(url, content, body, claim.clone());
        let trials = request.trials(keyring);
        match request.verify(keyring) {
            Ok(request) => {
                let verified = request.verified();
                let matched = Matched {
                    url: trials.into_iter().find(|trial| trial.matched).map(|trial| trial.url),
                    account: verified.account.sid().to_owned(),
                    key: verified.secret.id().to_owned(),
                };
                Self {
                    right: true,
                    matched: Some(matched),
                    error: None,
                    tried: vec![],
                    advice: None,
                }
            }
            Err(error) => {
                let advice = match diagnose(url, content, body, claim, keyring, usize::MAX) {
                    Some(diagnosis) => diagnosis.advice(),
                    None => UNEXPLAINED,
                };
                Self {
                    right: false,
                    matched: None,
                    error: Some(error.to_string()),
                    tried: trials.into_iter().map(Matched::from).collect(),
                    advice: Some(advice.to_owned()),
                }
            }
        }
    }

    fn describe(&self) -> String {
        if let Some(Matched { url, account, key }) = &self.matched {
            let url = url.as_deref().unwrap_or("any, with invalid UTF-8 replaced");
            return format!(
                "the signature is right\n  url      {url}\n  account  {account}\n  key      {key}\n"
            );
        }
        let mut lines = vec![format!("{}; tried:", self.error.as_deref().unwrap_or(WRONG))];
        let url = |of: &Matched| of.url.clone().unwrap_or_default();
        lines.extend(
            self.tried.iter().map(|of| format!("  {} with {} of {}", url(of), of.key, of.account)),
        );
        if self.tried.is_empty() {
            lines.push("  nothing: no account has a secret of this kind".to_owned());
        }
        lines.extend(self.advice.clone());
        lines.join("\n")
    }
}

/// When no known mistake explains it.
const UNEXPLAINED: &str = "neither the scheme, the port, a slash, the query nor a line end explains it: the token is another \
                           one, the host or path is, or the request was changed; an API key signs no callbacks";

fn read(path: &Path) -> anyhow::Result<Bytes> {
    if path == Path::new("-") {
        let mut body = Vec::new();
        std::io::stdin()
            .read_to_end(&mut body)
            .context("the body cannot be read from standard input")?;
        return Ok(body.into());
    }
    let body = std::fs::read(path)
        .with_context(|| format!("the body {} cannot be read", path.display()))?;
    Ok(body.into())
}

#[cfg(test)]
mod tests {
    use super::super::output::json;
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
        let found = Found::of(url, Content::Form, &body, &claim, &keyring);
        let text = found.describe();
        let parts = match expected {
            Ok(part) => std::slice::from_ref(&part).to_vec(),
            Err(parts) => parts.to_vec(),
        };
        assert_eq!(found.right, expected.is_ok(), "{text}");
        assert!(parts.iter().all(|part| text.contains(part)), "{text}");
        let wrong = !found.right && (text + &json(&found)).contains(&right);
        assert!(!wrong, "it shows a right signature");
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
