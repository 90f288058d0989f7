//! `offhook send`: one signed callback, to see whether a deployment takes it.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::{Args, ValueEnum};
use reqwest::header::CONTENT_TYPE;

use super::secrets;
use super::terminal::outln;
use crate::clock::Clock;
use crate::event::Kind;
use crate::http::client;
use crate::lab::sample::{self, Callback, Parties, Signed};
use crate::lab::sender;
use crate::labels::Label as _;
use crate::twilio::public_url::PublicUrl;
use crate::twilio::signature::Content;

/// Longest wait for the answer: as long as Twilio's.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);

/// The arguments.
#[derive(Debug, Args)]
pub(super) struct Send {
    /// Where to send it.
    url: String,
    /// What it tells about: call, message, recording, conference, amd, transcription, debugger,
    /// event-stream (as JSON), fallback or other.
    #[arg(long, default_value = "call", value_parser = kind)]
    kind: Kind,
    /// The resource's SID; a new one if there is none.
    #[arg(long)]
    sid: Option<String>,
    /// The status; a usual one of the kind if there is none.
    #[arg(long)]
    status: Option<String>,
    /// A parameter to add, or to take the place of one; may be given several times.
    #[arg(long = "param", value_name = "NAME=VALUE", value_parser = pair)]
    params: Vec<(String, String)>,
    /// How to send it.
    #[arg(long, value_enum, default_value_t = Method::Post)]
    method: Method,
    /// The public URL to sign for, if the server is not asked through it: the path and query are
    /// those of URL.
    #[arg(long, value_name = "BASE", value_parser = PublicUrl::parse)]
    public_url: Option<PublicUrl>,
    #[command(flatten)]
    secret: secrets::Given,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Method {
    Post,
    Get,
}

/// Sends it, and prints what was sent and answered.
///
/// # Errors
/// There is no answer, or one outside of 2xx.
pub(super) async fn run(config: Option<PathBuf>, send: Send) -> anyhow::Result<()> {
    let (account, secret) = send.secret.signer(config)?;
    let callback = send.callback(account);
    let (asked, public) = send.urls()?;
    let sign = |url: &str| match send.method {
        Method::Post => callback.post(url, &secret),
        Method::Get => callback.get(url, &secret),
    };
    let (signed, sent_to) = (sign(&public), sign(&asked).url);
    print_request(&signed, &sent_to, &callback);

    let signature = Some(signed.signature.as_str());
    let answer = sender::deliver(&client::new(ANSWER_TIMEOUT)?, &sent_to, &signed, signature).await;
    let answer = answer.with_context(|| format!("no answer from {asked}"))?;
    outln!("\n{} in {:.1} ms", answer.status, answer.took.as_secs_f64() * 1e3);
    if let Some(content_type) = answer.headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok()) {
        outln!("  content-type: {content_type}");
    }
    outln!("  {}", String::from_utf8_lossy(&answer.body));
    ensure!(
        answer.status.as_u16() != 403,
        "refused: the server has another secret, or another public_url than {public} (say \
         --public-url, or ask its log for the reason)"
    );
    ensure!(answer.status.is_success(), "refused with {}", answer.status);
    Ok(())
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
        let authority = authority.context("the URL must start with http:// or https://")?;
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

fn kind(name: &str) -> Result<Kind, String> {
    Kind::parse(&name.replace('-', "_")).ok_or_else(|| {
        let known: Vec<String> = Kind::ALL.map(|kind| kind.as_str().replace('_', "-")).to_vec();
        format!("known are {}", known.join(", "))
    })
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}
