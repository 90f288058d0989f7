//! `offhook bench`: how many callbacks a server takes, and how fast it answers.

mod report;

use std::io::{self, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use clap::Args;
use secrecy::{ExposeSecret as _, SecretString};

use self::report::{Report, WarmUp};
use super::output::Format;
use super::secrets;
use super::terminal::{errln, progress};
use crate::backend::Reads;
use crate::backend::postgres::{self, Postgres};
use crate::backend::sqlite;
use crate::lab::bench::{self, Measured, RowSampler, Target};
use crate::lab::load::{Plan, Quantiles};
use crate::twilio::public_url::PublicUrl;

/// The arguments.
#[derive(Debug, Args)]
pub(super) struct Bench {
    /// Where to send callbacks, with http://; several URLs share the connections evenly
    #[arg(required = true, value_name = "URL")]
    urls: Vec<String>,
    /// Connections, each with one request at a time
    #[arg(long, default_value_t = 50, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    connections: u16,
    /// Requests per second, sent whether or not earlier ones were answered, and timed from when each was due; default: as
    /// fast as answers come
    #[arg(long, value_name = "R", value_parser = rate)]
    rate: Option<f64>,
    /// How long to measure, in seconds
    #[arg(long, default_value = "10", value_name = "S", value_parser = seconds)]
    seconds: Duration,
    /// Stop after this many requests
    #[arg(long, value_name = "N")]
    requests: Option<u64>,
    /// How long to send callbacks before the measurement, in seconds
    #[arg(long, default_value = "1", value_name = "S", value_parser = seconds)]
    warm_up: Duration,
    /// The store that the events end in, sqlite: or postgres://, to measure how long until their rows are there
    #[arg(long, value_name = "URL")]
    store: Option<SecretString>,
    /// The public URL to sign for, if the server is not reached through it; path and query are those of URL
    #[arg(long, value_name = "BASE", value_parser = PublicUrl::parse)]
    public_url: Option<PublicUrl>,
    #[command(flatten)]
    secret: secrets::Given,
    #[command(flatten)]
    format: Format,
}

/// Sends, and prints what was measured.
///
/// # Errors
/// Nothing was accepted.
pub(super) async fn run(config: Option<PathBuf>, bench: Bench) -> anyhow::Result<()> {
    let (account, secret) = bench.secret.signer(config)?;
    let secret = Arc::new(secret);
    let reader = bench.store.as_ref().map(reader).transpose()?;
    let mut targets = Vec::new();
    for url in &bench.urls {
        let (public, secret) = (bench.public_url.as_ref(), Arc::clone(&secret));
        targets.push(Arc::new(Target::new(url, public, &account, secret).await?));
    }

    let warmed = if bench.warm_up.is_zero() {
        WarmUp::default()
    } else {
        let plan = Plan { time: Some(bench.warm_up), requests: None, ..bench.plan() };
        measure(&targets, bench.connections, plan, None).await?.0.with(|tally| WarmUp::of(tally))
    };
    let watching = reader.map(|reader| {
        let (sampler, samples) = RowSampler::new();
        let seen = async move { bench::row_latencies(&reader, samples).await };
        (Arc::new(sampler), seen)
    });
    let (measured, took, seen) = match watching {
        None => {
            let (measured, took) = measure(&targets, bench.connections, bench.plan(), None).await?;
            (measured, took, None)
        }
        Some((sampler, seen)) => {
            let measuring = measure(&targets, bench.connections, bench.plan(), Some(sampler));
            let (measured, seen) = tokio::join!(measuring, seen);
            let (measured, took) = measured?;
            (measured, took, Some(seen.context("the store cannot be read")?))
        }
    };
    let report = measured.with(|tally| Report::new(&bench, took, tally, warmed, seen.as_ref()));
    bench.format.print(&report, Report::to_string);
    ensure!(
        measured.with(|tally| tally.accepted()) > 0,
        "nothing was accepted; `offhook send` says more about a single request"
    );
    Ok(())
}

impl Bench {
    fn plan(&self) -> Plan {
        Plan {
            rate: self.rate,
            time: Some(self.seconds),
            requests: self.requests,
            ..Plan::default()
        }
    }
}

/// Runs the load on a thread of its own, and says on stderr how it goes.
async fn measure(
    targets: &[Arc<Target>],
    connections: u16,
    plan: Plan,
    sampler: Option<Arc<RowSampler>>,
) -> anyhow::Result<(Measured, Duration)> {
    let measured = Measured::default();
    let (targets, theirs) = (targets.to_vec(), measured.clone());
    let connections = usize::from(connections);
    let load = move || bench::run(&targets, connections, plan, &theirs, sampler.as_ref());
    let mut load = tokio::task::spawn_blocking(load);
    let mut progress = Progress::default();
    let mut second = tokio::time::interval(Duration::from_secs(1));
    second.tick().await;
    let took = loop {
        tokio::select! {
            ended = &mut load => break ended??,
            _ = second.tick() => progress.say(&measured),
        }
    };
    progress.end();
    Ok((measured, took))
}

/// One line on stderr that is written over.
#[derive(Default)]
struct Progress {
    seconds: u64,
    answered: u64,
}

impl Progress {
    fn say(&mut self, measured: &Measured) {
        let (answered, failed, Quantiles { p50, p99, .. }) = measured.with(|tally| {
            let wrong = tally.answered() - tally.accepted() + tally.failed();
            (tally.answered(), wrong, tally.latencies.quantiles())
        });
        self.seconds += 1;
        let line = format!(
            "{:>4} s  {:>7}/s  p50 {p50:.2} ms  p99 {p99:.2} ms  {failed} not accepted",
            self.seconds,
            answered - self.answered,
        );
        match io::stderr().is_terminal() {
            true => progress(&line),
            false => errln!("{line}"),
        }
        self.answered = answered;
    }

    fn end(&self) {
        if self.seconds > 0 && io::stderr().is_terminal() {
            let _ = io::stderr().write_all(b"\x1b[K");
        }
    }
}

fn reader(url: &SecretString) -> anyhow::Result<Reads> {
    let url = url.expose_secret();
    ensure!(
        ["sqlite:", "postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme)),
        "--store must start with sqlite: or postgres://"
    );
    Ok(match url.starts_with("sqlite:") {
        true => Reads::Sqlite(sqlite::Query::of_url(url)?),
        false => Reads::Postgres(postgres::Query::new(Postgres::new(url)?)),
    })
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate| (0.1..=1e6).contains(rate));
    rate.ok_or_else(|| "it must be a number from 0.1 to 1000000".to_owned())
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|seconds| (0.0..=86_400.0).contains(seconds));
    seconds
        .map(Duration::from_secs_f64)
        .ok_or_else(|| "it must be a number from 0 to 86400".to_owned())
}
