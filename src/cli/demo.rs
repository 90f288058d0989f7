//! `offhook demo`: the whole thing in a directory that goes away with it, an hour of callbacks in
//! seconds, and a look at what came of them. Needs nothing.

mod outcome;
mod report;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::Args;
use secrecy::SecretString;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::outcome::Outcome;
use super::terminal::{out, outln};
use crate::app::{self, Listeners, Running};
use crate::backend::sqlite::Query;
use crate::clock::{Clock, Timestamp};
use crate::config::{Config, LogFormat};
use crate::http::client;
use crate::lab::sender;
use crate::lab::traffic::{Request, Traffic, Volume};
use crate::twilio::keyring::Secret;
use crate::{shutdown, telemetry};

/// Requests under way at one time: about what 50 calls at once cause in their liveliest second.
const CONNECTIONS: usize = 16;
/// Longest wait for an answer: as long as Twilio's.
const PATIENCE: Duration = Duration::from_secs(15);

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
    /// Stop when everything was sent and checked; fail if anything was wrong.
    #[arg(long)]
    exit: bool,
    /// Make the same hour again.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
}

/// Plays the hour, reports, and stays up until Ctrl-C unless told otherwise.
///
/// # Errors
/// Something that is stored, answered or counted is not as it must be.
pub(super) async fn run(demo: Demo) -> anyhow::Result<()> {
    let _log = telemetry::start_log(&crate::config::Log {
        format: LogFormat::Text,
        // Refusals are part of the show, and in the table.
        filter: "warn,offhook::inbound=error".to_owned(),
    });
    let stop = shutdown::on_signal().context("signals cannot be listened to")?;
    let stage = Stage::build(stop.clone()).await?;
    let seed = demo.seed.unwrap_or_else(rand::random);
    let start = Timestamp::from_micros(Clock::System.now().micros() - 3_600_000_000);
    let traffic = Traffic::hour(seed, &stage.account, start, VOLUME);

    outln!("offhook demo: an hour of a small business, in seconds (seed {seed})\n");
    let began = Instant::now();
    let answers = stage.play(&traffic.requests).await?;
    let outcome =
        Outcome::gather(answers, began.elapsed(), &stage.query, stage.running.admin).await?;
    out!("{}", report::table(&traffic, &outcome));
    let wrong = outcome.compare(&traffic);
    for problem in &wrong {
        outln!("  WRONG: {problem}");
    }
    if wrong.is_empty() {
        outln!("\nEvery event that was acknowledged is stored once, and every status is right.");
    }
    if !demo.exit && !stop.is_cancelled() {
        out!("{}", stage.invite(&traffic));
        stop.cancelled().await;
    }
    stop.cancel();
    stage.running.stopped().await?;
    ensure!(wrong.is_empty(), "{} things are not as they must be (seed {seed})", wrong.len());
    Ok(())
}

/// A server in a directory of its own, on free ports of loopback.
struct Stage {
    running: Running,
    url: String,
    account: String,
    token: String,
    query: Query,
    _directory: tempfile::TempDir,
}

impl Stage {
    async fn build(stop: CancellationToken) -> anyhow::Result<Self> {
        let directory = tempfile::tempdir().context("no temporary directory can be made")?;
        let account = format!("AC{:032x}", rand::random::<u128>());
        let token = format!("{:032x}", rand::random::<u128>());
        let free = SocketAddr::from(([127, 0, 0, 1], 0));
        let (inbound, admin) = (TcpListener::bind(free).await?, TcpListener::bind(free).await?);
        let address = inbound.local_addr()?;
        let config = Config::demo(directory.path(), &account, &token, address)?;
        let listeners = Listeners { inbound: Some(inbound), admin };
        let running = app::start(config, listeners, stop).await?;
        let query = Query::of_file(&directory.path().join("offhook.db"));
        let url = format!("http://{address}");
        Ok(Self { running, url, account, token, query, _directory: directory })
    }

    /// Sends everything in its order, as far as concurrent requests have one.
    async fn play(&self, requests: &[Request]) -> anyhow::Result<Vec<(u16, Duration)>> {
        let (client, next) = (client::new(PATIENCE)?, Arc::new(AtomicUsize::new(0)));
        let requests: Arc<[Request]> = requests.into();
        let token = SecretString::from(self.token.as_str());
        let mut senders = JoinSet::new();
        for _ in 0..CONNECTIONS {
            let (client, requests, next) =
                (client.clone(), Arc::clone(&requests), Arc::clone(&next));
            let (base, token) = (self.url.clone(), token.clone());
            senders.spawn(async move {
                let secret = Secret::auth_token(&token);
                let mut answers = Vec::new();
                while let Some(request) = requests.get(next.fetch_add(1, Ordering::Relaxed)) {
                    answers.push(send(&client, &base, request, &secret).await?);
                }
                anyhow::Ok(answers)
            });
        }
        let answers = senders.join_all().await.into_iter().collect::<Result<Vec<_>, _>>()?;
        Ok(answers.into_iter().flatten().collect())
    }

    /// What there is to look at.
    fn invite(&self, traffic: &Traffic) -> String {
        let (admin, url) = (self.running.admin, &self.url);
        let sid = traffic.expected.statuses.keys().next().map_or("", String::as_str);
        format!(
            "\nIt is still up; look at it, or send more:\n  \
             http://{admin}/ in a browser\n  \
             curl http://{admin}/api/timeline/{sid}\n  \
             curl http://{admin}/metrics\n  \
             curl http://{admin}/readyz\n  \
             offhook send {url}/status --kind message --account {} --auth-token {}\n\n\
             Ctrl-C ends it, and all of it is gone.\n",
            self.account, self.token,
        )
    }
}

async fn send(
    client: &reqwest::Client,
    base: &str,
    request: &Request,
    secret: &Secret,
) -> anyhow::Result<(u16, Duration)> {
    let url = format!("{base}{}", request.path);
    let (signed, signature) = match request.forgery {
        Some(forgery) => forgery.forge(&request.callback, &url, secret),
        None => {
            let signed = request.callback.post(&url, secret);
            let signature = Some(signed.signature.clone());
            (signed, signature)
        }
    };
    let answer = sender::deliver(client, &signed.url, &signed, signature.as_deref()).await?;
    Ok((answer.status.as_u16(), answer.took))
}
