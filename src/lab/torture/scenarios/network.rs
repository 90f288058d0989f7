//! The network between any two is cut, stalled, delayed, or cut within a word.

use std::time::Duration;

use anyhow::Context as _;

use crate::lab::torture::Run;
use crate::lab::torture::proxy::{LinkState, Proxy, Upstream};
use crate::lab::torture::report::Report;
use crate::lab::torture::testbed::{Setup, Testbed};
use crate::lab::torture::trial::Trial;

/// One bad network at a time, between a pair and for a time that are drawn by lot.
pub(super) async fn network(name: String, run: &Run) -> anyhow::Result<Report> {
    let mut testbed = Testbed::prepare(run, &Setup { workers: Some(2), ..Setup::default() })?;
    let services = testbed.services.as_ref().context("it has Redis and Postgres")?;
    let redis = services.redis.as_ref().context("it has Redis")?;
    let redis = Upstream::Unix(redis.socket());
    let postgres = Upstream::Unix(services.postgres.socket());
    let received = Proxy::start(redis.clone()).await?;
    let read = Proxy::start(redis).await?;
    let stored = Proxy::start(postgres).await?;
    for receiver in &mut testbed.receivers {
        receiver.set("REDIS_URL", format!("redis://{}", received.address));
    }
    for worker in &mut testbed.workers {
        worker.set("REDIS_URL", format!("redis://{}", read.address));
        let url = format!("postgres://offhook@{}/postgres?sslmode=disable", stored.address);
        worker.set("DATABASE_URL", url);
    }

    let mut trial = Trial::begin(name, run, testbed).await?;
    let receiver = trial.testbed.targets.first().context("it was just started")?;
    let sent = Proxy::start(Upstream::Tcp(receiver)).await?;
    trial.testbed.targets.set(0, Some(sent.address));
    let pairs = [
        ("client_receiver", &sent),
        ("receiver_redis", &received),
        ("worker_redis", &read),
        ("worker_postgres", &stored),
    ];
    let mut faults = serde_json::Map::new();
    while trial.goes_on() {
        let (pair, proxy) = pairs[trial.any(pairs.len())];
        let link = match trial.any(4) {
            0 => LinkState::Cut,
            1 => LinkState::Stalled,
            2 => LinkState::Delayed(Duration::from_millis(20 + trial.any(300) as u64)),
            _ => LinkState::CutAfter(1 + trial.any(20_000)),
        };
        proxy.set(link);
        trial.pause(100..1000).await;
        proxy.set(LinkState::Up);
        let count = faults.get(pair).and_then(serde_json::Value::as_u64).unwrap_or_default();
        faults.insert(pair.to_owned(), (count + 1).into());
        trial.facts.outages += 1;
        trial.pause(50..200).await;
    }
    trial.tell("faults", faults);
    trial.end().await
}
