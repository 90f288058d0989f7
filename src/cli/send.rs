//! `offhook send`: one signed callback, to see whether a deployment takes it.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, anyhow, ensure};
use clap::Args;
use reqwest::header::CONTENT_TYPE;
use serde::Serialize;
use serde_json::Value;

use super::output::{Format, no_answer};
use super::terminal::outln;
use super::{kinds, secrets};
use crate::clock::{Clock, millis};
use crate::event::Kind;
use crate::http::client;
use crate::lab::sample::{self, Callback, Parties, Signed};
use crate::lab::sender;
use crate::twilio::public_url::PublicUrl;
use crate::twilio::signature::Content;

/// Longest wait for the answer: as long as Twilio's.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);

/// The arguments.
#[derive(Debug, Args)]
pub(super) struct Send {
    /// Where to send it
    url: String,
    /// The kind of event; an event-stream is sent as JSON, every other kind as a form
    #[arg(long, default_value = "call", value_parser = kinds::signed_by_twilio())]
    kind: Kind,
    /// The resource's SID; default: a new one
    #[arg(long)]
    sid: Option<String>,
    /// The status; default: a usual one of the kind
    #[arg(long)]
    status: Option<String>,
    /// A parameter to add or to replace; may be repeated
    #[arg(long = "param", value_name = "NAME=VALUE", value_parser = pair)]
    params: Vec<(String, String)>,
    /// The method to send it with
    #[arg(long, ignore_case = true, default_value = "POST", value_parser = ["POST", "GET"])]
    method: String,
    /// The public URL to sign for, if the server is not reached through it; path and query are those of URL
    #[arg(long, value_name = "BASE", value_parser = PublicUrl::parse)]
    public_url: Option<PublicUrl>,
    #[command(flatten)]
    secret: secrets::Given,
    #[command(flatten)]
    format: Format,
}

/// Sends it, and prints what was sent and answered.
///
/// # Errors
/// There is no answer, or one outside of 2xx.
pub(super) async fn run(config: Option<PathBuf>, send: Send) -> anyhow::Result<()> {
    let (account, secret) = send.secret.signer(config)?;
    let callback = send.callback(account);
    let (asked, public) = send.urls()?;
    let sign = |url: &str| match send.method.eq_ignore_ascii_case("GET") {
        false => callback.post(url, &secret),
        true => callback.get(url, &secret),
    };
    let (signed, sent_to) = (sign(&public), sign(&asked).url);
    if !send.format.json {
        print_request(&signed, &sent_to, &callback);
    }

    let signature = Some(signed.signature.as_str());
    let answer = sender::deliver(&client::new(ANSWER_TIMEOUT)?, &sent_to, &signed, signature).await;
    let answer = answer.map_err(|error| {
        let cause = no_answer(&error);
        anyhow!("no answer from {asked}: {cause}; start the server there, or fix the URL")
    })?;
    let answered = Answered {
        method: sender::method(&signed).to_string(),
        url: sent_to,
        signed_for: signed.url.clone(),
        parameters: parameters(&signed, &callback),
        status: answer.status.as_u16(),
        duration_ms: millis(answer.took),
        content_type: answer.headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok()),
        body: String::from_utf8_lossy(&answer.body).into_owned(),
    };
    send.format.print(&answered, |answered| describe(answered, &answer.status.to_string()));
    ensure!(
        answer.status.as_u16() != 403,
        "refused with 403: the server has another secret or another public_url than {public}; add --public-url, or \
         look for the reason in its log"
    );
    ensure!(answer.status.is_success(), "refused with {}; its log has the reason", answer.status);
    Ok(())
}

/// The callback and its answer, in JSON.
#[derive(Serialize)]
struct Answered<'a> {
    method: String,
    url: String,
    signed_for: String,
    parameters: Value,
    status: u16,
    duration_ms: f64,
    content_type: Option<&'a str>,
    body: String,
}

fn describe(answered: &Answered<'_>, status: &str) -> String {
    let content_type = answered.content_type.map(|of| format!("  content-type: {of}\n"));
    let Answered { duration_ms, body, .. } = answered;
    format!("\n{status} in {duration_ms:.1} ms\n{}  {body}\n", content_type.unwrap_or_default())
}

fn parameters(signed: &Signed, callback: &Callback) -> Value {
    match (callback, signed.content) {
        // They are in the URL.
        (_, Content::Query) => Value::Null,
        (Callback::Json(json), _) => json.clone(),
        (Callback::Form(params), _) => {
            let pairs = params.iter().map(|(name, value)| (name.clone(), value.clone().into()));
            Value::Object(pairs.collect())
        }
    }
}

impl Send {
    fn callback(&self, account: String) -> Callback {
        let mut rng = rand::rng();
        let parties = Parties {
            account,
            from: sample::number(&mut rng),
            to: sample::number(&mut rng),
            at: Clock::System.now(),
        };
        let new_sid = || sample::sid(sample::sid_prefix(self.kind), &mut rand::rng());
        let sid = self.sid.clone().unwrap_or_else(new_sid);
        let status = self.status.as_deref().unwrap_or(sample::usual_status(self.kind));
        sample::of_kind(self.kind, &parties, &sid, status, 1).with(&self.params)
    }

    /// Where to send to, and what to sign for.
    fn urls(&self) -> anyhow::Result<(String, String)> {
        let asked = self.url.split('#').next().unwrap_or_default().to_owned();
        let authority = asked.find("://").map(|at| at + 3);
        let authority = authority.with_context(|| {
            format!("the URL must start with http:// or https://; it is `{}`", self.url)
        })?;
        let path = asked[authority..].find(['/', '?']).map_or("/", |at| &asked[authority + at..]);
        let public = self.public_url.as_ref().map(|base| base.join(path));
        Ok((asked.clone(), public.unwrap_or(asked)))
    }
}

fn print_request(signed: &Signed, sent_to: &str, callback: &Callback) {
    outln!("{} {sent_to}", sender::method(signed));
    if signed.url != sent_to {
        outln!("  signed for {}", signed.url);
    }
    match (callback, signed.content) {
        (_, Content::Query) => {}
        (Callback::Form(params), _) => {
            params.iter().for_each(|(name, value)| outln!("  {name}={value}"));
        }
        (Callback::Json(json), _) => outln!("  {json:#}"),
    }
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) =
        text.split_once('=').ok_or("it must be NAME=VALUE, such as ErrorCode=30003")?;
    Ok((name.to_owned(), value.to_owned()))
}
