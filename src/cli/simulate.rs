//! `offhook simulate`: a pretend Twilio and SendGrid, to try out what sends.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use clap::Args;
use serde::Serialize;
use tokio::net::TcpListener;

use super::output::Format;
use crate::lab::twilio::{Behaviour, Identity, MailKey, Simulator};
use crate::shutdown;

/// The arguments.
#[derive(Debug, Args)]
pub(super) struct Simulate {
    /// Where to listen: an address of loopback; default: a free port
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// The account's SID; default: a made-up one
    #[arg(long, value_name = "SID")]
    account: Option<String>,
    /// The account's auth token; default: a made-up one
    #[arg(long, value_name = "TOKEN")]
    auth_token: Option<String>,
    /// The seed; the same one gives the same account, and for requests in the same order the same SIDs and misbehaviour
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// A number of the account, whose URLs are empty; may be repeated
    #[arg(long, value_name = "NUMBER")]
    number: Vec<String>,
    /// A Messaging Service of the account, whose URLs are empty; may be repeated
    #[arg(long, value_name = "NAME")]
    messaging_service: Vec<String>,
    /// Report the events of emails to this URL: <public_url><path_prefix>/email-events
    #[arg(long, value_name = "URL")]
    mail_events: Option<String>,
    /// Sign the events of emails with the key in this file (PKCS #8), which is created if it is missing; default: a new key
    #[arg(long, value_name = "FILE")]
    mail_key: Option<PathBuf>,
    #[command(flatten)]
    behaviour: Behaviour,
    #[command(flatten)]
    format: Format,
}

/// What to configure to send through it.
#[derive(Serialize)]
struct Started {
    url: String,
    account: String,
    auth_token: String,
    seed: u64,
    sendgrid_api_key: String,
    sendgrid_verification_key: String,
}

/// Runs until a signal.
///
/// # Errors
/// It cannot listen there.
pub(super) async fn run(simulate: Simulate) -> anyhow::Result<()> {
    let stop = shutdown::on_signal().context("signals cannot be listened to")?;
    let Simulate { listen, .. } = simulate;
    ensure!(
        listen.ip().is_loopback(),
        "{listen} is not an address of loopback: the simulator is for this machine alone; use 127.0.0.1"
    );
    let listener = TcpListener::bind(listen);
    let listener = listener.await.with_context(|| format!("{listen} cannot be listened on"))?;
    let seed = simulate.seed.unwrap_or_else(|| rand::random::<u32>().into());
    let made_up = Identity::made_up(seed);
    let identity = Identity {
        account: simulate.account.unwrap_or(made_up.account),
        token: simulate.auth_token.unwrap_or(made_up.token),
    };
    let mail_key = match &simulate.mail_key {
        Some(path) => mail_key(path).with_context(|| format!("--mail-key {}", path.display()))?,
        None => MailKey::generate()?,
    };
    let simulator = Simulator::start(listener, identity, mail_key, seed, simulate.behaviour)?;
    if let Some(url) = &simulate.mail_events {
        simulator.report_mails_to(url);
    }
    for number in &simulate.number {
        simulator.add_number(number);
    }
    for name in &simulate.messaging_service {
        simulator.add_service(name);
    }
    let sendgrid_api_key = simulator.identity().mail_key();
    let Identity { account, token } = simulator.identity().clone();
    let started = Started {
        url: simulator.url(),
        account,
        auth_token: token,
        seed,
        sendgrid_api_key,
        sendgrid_verification_key: simulator.mail_public_key(),
    };
    simulate.format.print(&started, describe);
    stop.cancelled().await;
    Ok(())
}

/// The key in a file, which is made if it is not there.
fn mail_key(path: &Path) -> std::io::Result<MailKey> {
    match std::fs::read(path) {
        Ok(pkcs8) => MailKey::parse(&pkcs8),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let key = MailKey::generate()?;
            std::fs::write(path, key.pkcs8())?;
            Ok(key)
        }
        Err(error) => Err(error),
    }
}

fn describe(started: &Started) -> String {
    let Started { url, account, auth_token, seed, .. } = started;
    let (key, public) = (&started.sendgrid_api_key, &started.sendgrid_verification_key);
    format!(
        "A pretend Twilio (seed {seed}): it sends nothing. Ctrl-C stops it, and its messages are gone.\n\n  \
         API         {url}\n  \
         account     {account}\n  \
         auth token  {auth_token}\n\n\
         As SendGrid, at the same URL, for [sendgrid]:\n\n  \
         api_key = \"{key}\"\n  \
         verification_keys = [\"{public}\"]\n\n\
         Send a message, and look at what happened:\n  \
         curl -u {account}:{auth_token} -d To=+15550100 -d From=+15550199 -d Body=Hello \\\n    \
         {url}/2010-04-01/Accounts/{account}/Messages.json\n  \
         curl -u {account}:{auth_token} {url}/simulator/ledger\n"
    )
}
