//! [`Outcome`]: what was answered, stored and counted, held against what was expected.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::Context;
use reqwest::Client;
use tokio::time::sleep;

use crate::backend::StoredEvent;
use crate::backend::sqlite::Query;
use crate::event::{CurrentStatus, Kind, Resource};
use crate::http::client;
use crate::lab::load::{Quantiles, Tally};
use crate::lab::traffic::Traffic;

/// What came of it.
#[derive(Debug)]
pub(super) struct Outcome {
    /// How long all of it took.
    pub(super) took: Duration,
    /// Times of the requests that were accepted.
    pub(super) latencies: Quantiles,
    pub(super) accepted: usize,
    pub(super) events: Vec<StoredEvent>,
    pub(super) statuses: Vec<CurrentStatus>,
    /// From the metrics.
    pub(super) refused: BTreeMap<String, usize>,
    /// From the metrics.
    pub(super) absorbed: usize,
    sent: usize,
}

/// The metrics once all that was answered has gone from the log to the store.
async fn settled(client: &Client, admin: SocketAddr) -> anyhow::Result<String> {
    const PATIENCE: Duration = Duration::from_secs(60);
    let began = Instant::now();
    loop {
        let metrics = client.get(format!("http://{admin}/metrics")).send().await;
        let metrics = metrics.context("the metrics cannot be read")?.text().await?;
        let events = |backend| {
            total(&metrics, &format!("offhook_batch_events_sum{{backend=\"{backend}\""))
                + total(&metrics, &format!("offhook_folded_events_total{{backend=\"{backend}\""))
        };
        let appended = total(&metrics, "offhook_batch_events_sum{backend=\"spool\"");
        if events("sqlite") >= appended || began.elapsed() > PATIENCE {
            return Ok(metrics);
        }
        sleep(Duration::from_millis(20)).await;
    }
}

impl Outcome {
    /// Asks the store and the metrics.
    pub(super) async fn gather(
        tally: &Tally,
        took: Duration,
        query: &Query,
        admin: SocketAddr,
    ) -> anyhow::Result<Self> {
        let client = client::new(Duration::from_secs(5))?;
        let metrics = settled(&client, admin).await?;
        let refused = series(&metrics, "offhook_refusals_total{reason=\"");
        let duplicates = total(&metrics, "offhook_events_total{freshness=\"duplicate\"");
        Ok(Self {
            took,
            accepted: tally.accepted() as usize,
            latencies: tally.latencies.quantiles(),
            events: query.all_events().await?,
            statuses: query.all_statuses().await?,
            refused: refused.into_iter().filter(|(_, count)| *count > 0).collect(),
            absorbed: duplicates + total(&metrics, "offhook_folded_events_total"),
            sent: tally.answered() as usize,
        })
    }

    /// How many SIDs of a resource ended in which status.
    pub(super) fn by_status(&self, resource: Resource) -> BTreeMap<&str, usize> {
        let mut counts = BTreeMap::new();
        for row in self.statuses.iter().filter(|row| row.resource == resource) {
            *counts.entry(row.position.status.as_str()).or_default() += 1;
        }
        counts
    }

    /// Everything that is not as it must be.
    pub(super) fn compare(&self, traffic: &Traffic) -> Vec<String> {
        let expected = &traffic.expected;
        let mut wrong = Vec::new();
        let mut count = |what: &str, is: usize, must: usize| {
            if is != must {
                wrong.push(format!("{what}: {is}, not {must}"));
            }
        };
        let refused: usize = expected.refused.values().sum();
        count("answers", self.sent, traffic.requests.len());
        count("accepted", self.accepted, traffic.requests.len() - refused);
        count("duplicates absorbed", self.absorbed, expected.duplicates);
        count("stored", self.events.len(), expected.stored());
        count("statuses", self.statuses.len(), expected.statuses.len());

        let reasons: BTreeMap<&str, usize> =
            self.refused.iter().map(|(reason, count)| (reason.as_str(), *count)).collect();
        if reasons != expected.refused {
            wrong.push(format!("refused: {reasons:?}, not {:?}", expected.refused));
        }
        let named = self.events.iter().filter(|stored| stored.event.kind != Kind::Fallback);
        let keys: BTreeSet<&str> = named.map(|stored| stored.event.key.as_str()).collect();
        let lost = expected.keys.iter().filter(|key| !keys.contains(key.as_str()));
        wrong.extend(lost.map(|key| format!("{key} is not stored")));
        let extra = keys.iter().filter(|key| !expected.keys.contains(**key));
        wrong.extend(extra.map(|key| format!("{key} is stored, and was not sent by Twilio")));
        wrong.extend(self.statuses.iter().filter_map(|row| {
            let is = (row.resource, row.position.status.as_str());
            let must = expected.statuses.get(&row.sid).copied();
            (must != Some(is)).then(|| format!("{}: {is:?}, not {must:?}", row.sid))
        }));
        let contradicted = self.statuses.iter().filter(|row| row.is_contradicted());
        let contradicted: BTreeSet<&String> = contradicted.map(|row| &row.sid).collect();
        if !contradicted.iter().copied().eq(&expected.contradicted) {
            wrong.push(format!("contradicted: {contradicted:?}, not {:?}", expected.contradicted));
        }
        wrong
    }
}

/// The values of a metric with one label, by it.
fn series(metrics: &str, start: &str) -> BTreeMap<String, usize> {
    let lines = metrics.lines().filter_map(|line| line.strip_prefix(start)?.split_once("\"} "));
    lines.filter_map(|(label, value)| Some((label.to_owned(), value.parse().ok()?))).collect()
}

/// The sum of a metric's series.
fn total(metrics: &str, start: &str) -> usize {
    let lines = metrics.lines().filter(|line| line.starts_with(start));
    lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<usize>().ok()).sum()
}
