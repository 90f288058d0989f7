//! `offhook demo`: the whole thing in a directory that goes away with it, an hour of callbacks in seconds, a few
//! messages through a pretend Twilio, and a look at what came of them. Needs nothing.

mod messages;
mod outcome;
mod report;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Context, ensure};
use clap::Args;
use secrecy::SecretString;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use self::messages::Twilio;
use self::outcome::Outcome;
use super::output::{Format, count};
use super::terminal::{out, outln};
use crate::app::{self, Listeners, Running};
use crate::backend::sqlite::Query;
use crate::clock::{Clock, Timestamp};
use crate::config::{Config, LogFormat};
use crate::http::client;
use crate::lab::load::{ANSWER_TIMEOUT, Lane, Plan, Schedule, Tally, Turn, send_all};
use crate::lab::sender;
use crate::lab::traffic::{Request, Traffic, Volume};
use crate::twilio::keyring::Secret;
use crate::{shutdown, telemetry};

/// Requests under way at one time: about what 50 calls at once cause in their liveliest second.
const CONNECTIONS: usize = 16;

/// A small business at noon.
const VOLUME: Volume = Volume {
    calls: 200,
    messages: 400,
    conferences: 4,
    event_streams: 8,
    fallbacks: 6,
    forgeries: 5,
    duplicates: 8,
    late: 10,
};

/// The arguments.
#[derive(Debug, Args)]
pub(super) struct Demo {
    /// End as soon as everything was sent and checked
    #[arg(long)]
    exit: bool,
    /// The seed; the same one gives the same hour
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    #[command(flatten)]
    format: Format,
}

/// Plays the hour, reports, and stays up until Ctrl-C unless told otherwise.
///
/// # Errors
/// Something that is stored, answered or counted is not as it must be.
pub(super) async fn run(demo: Demo) -> anyhow::Result<()> {
    let _log = telemetry::start_log(&crate::config::Log {
        format: LogFormat::Text,
        // Refusals, and what is lost on the way to Twilio, are part of the show, and in the table.
        filter: "warn,offhook::inbound=error,offhook::outbound=error".to_owned(),
    });
    let stop = shutdown::on_signal().context("signals cannot be listened to")?;
    let seed = demo.seed.unwrap_or_else(rand::random);
    let server = DemoServer::build(seed, stop.clone()).await?;
    let start = Timestamp::from_micros(Clock::System.now().micros() - 3_600_000_000);
    let traffic = Traffic::hour(seed, &server.account, start, VOLUME);

    if !demo.format.json {
        outln!("offhook demo: an hour of a small business, in a few seconds (seed {seed})\n");
    }
    let began = Instant::now();
    let tally = server.send_hour(&traffic.requests).await?;
    let outcome =
        Outcome::gather(&tally, began.elapsed(), &server.query, server.running.admin).await?;
    // Afterwards, so that their callbacks are none of the hour's.
    let messages = server.twilio.send(server.running.admin).await?;
    let mut wrong = outcome.compare(&traffic);
    wrong.extend(messages.wrong());
    let figures = report::figures(&traffic, &outcome, &messages, seed, &wrong);
    demo.format.print(&figures, |_| {
        report::table(&traffic, &outcome, &messages) + &report::verdict(&wrong)
    });
    if !demo.exit && !stop.is_cancelled() {
        if !demo.format.json {
            out!("{}", server.invite(&traffic));
        }
        stop.cancelled().await;
    }
    stop.cancel();
    server.running.stopped().await?;
    ensure!(
        wrong.is_empty(),
        "{} not as expected (seed {seed})",
        count(wrong.len() as u64, "figure")
    );
    Ok(())
}

/// A server in a directory of its own, on free ports of loopback.
struct DemoServer {
    running: Running,
    url: String,
    account: String,
    token: String,
    query: Query,
    twilio: Twilio,
    _directory: tempfile::TempDir,
}

impl DemoServer {
    async fn build(seed: u64, stop: CancellationToken) -> anyhow::Result<Self> {
        let directory = tempfile::tempdir().context("a temporary directory cannot be made")?;
        let account = format!("AC{:032x}", rand::random::<u128>());
        let token = format!("{:032x}", rand::random::<u128>());
        let free = SocketAddr::from(([127, 0, 0, 1], 0));
        let (inbound, admin) = (TcpListener::bind(free).await?, TcpListener::bind(free).await?);
        let address = inbound.local_addr()?;
        let twilio = Twilio::start(seed, &account, &token).await?;
        let file = directory.path().join("offhook.toml");
        std::fs::write(&file, twilio.settings()).context("the demo's directory is ours")?;
        let config = Config::demo(directory.path(), &account, &token, address, Some(file))?;
        let listeners = Listeners { inbound: Some(inbound), admin };
        let running = app::start(config, listeners, stop).await?;
        let query = Query::of_file(&directory.path().join("offhook.db"));
        let url = format!("http://{address}");
        Ok(Self { running, url, account, token, query, twilio, _directory: directory })
    }

    /// Sends everything in its order, as far as concurrent requests have one.
    async fn send_hour(&self, requests: &[Request]) -> anyhow::Result<Tally> {
        let plan = Plan { requests: Some(requests.len() as u64), ..Plan::default() };
        let tally: Arc<Mutex<Tally>> = Arc::default();
        let sender = Sender {
            client: client::new(ANSWER_TIMEOUT)?,
            base: self.url.clone(),
            secret: Arc::new(Secret::auth_token(&SecretString::from(self.token.as_str()))),
            requests: requests.into(),
            tally: Arc::clone(&tally),
        };
        let lanes = std::iter::repeat_n(sender, CONNECTIONS);
        send_all(&Arc::new(Schedule::start(plan)?), lanes).await?;
        let tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(tally.clone())
    }

    /// What there is to look at.
    fn invite(&self, traffic: &Traffic) -> String {
        let (admin, url, may_send) = (self.running.admin, &self.url, &self.twilio.may_send);
        let sid = traffic.expected.statuses.keys().next().map_or("", String::as_str);
        format!(
            "\nThe server is still running. Look at it, or send more:\n  \
             http://{admin}/ in a browser\n  \
             curl http://{admin}/api/timeline/{sid}\n  \
             curl http://{admin}/metrics\n  \
             curl http://{admin}/readyz\n  \
             offhook send {url}/status --kind message --account {} --auth-token {}\n  \
             offhook notify --admin http://{admin} --token {may_send} --to +14155550100 \\\n    \
             --purpose alert --text \"The pump has stopped\" --wait\n\n\
             Ctrl-C stops it and deletes everything.\n",
            self.account, self.token,
        )
    }
}

/// Sends the requests of its turns.
#[derive(Clone)]
struct Sender {
    client: reqwest::Client,
    base: String,
    secret: Arc<Secret>,
    requests: Arc<[Request]>,
    tally: Arc<Mutex<Tally>>,
}

impl Lane for Sender {
    async fn send(&mut self, turn: Turn) -> anyhow::Result<()> {
        let request = &self.requests[turn.number as usize];
        let url = format!("{}{}", self.base, request.path);
        let (signed, signature) = match request.forgery {
            Some(forgery) => forgery.forge(&request.callback, &url, &self.secret),
            None => {
                let signed = request.callback.post(&url, &self.secret);
                let signature = Some(signed.signature.clone());
                (signed, signature)
            }
        };
        let signature = signature.as_deref();
        let answer = sender::deliver(&self.client, &signed.url, &signed, signature).await?;
        let (status, events) = (Ok(answer.status.as_u16()), request.keys.len() as u64);
        let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        tally.record(&status, Some(answer.took), events);
        Ok(())
    }
}
