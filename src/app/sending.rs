//! The sending half, where a sender is configured.

use std::sync::Arc;

use anyhow::Context as _;
use axum::Router;
use secrecy::ExposeSecret as _;
use tokio::sync::watch;

use crate::backend::postgres::{Handles, Postgres};
use crate::backend::{Outbox, Store};
use crate::config::{Config, StoreUrl};
use crate::outbound::{InForce, Outbound, Rest, SendGrid, SendMetrics, api, asks};
use crate::policy::Part;
use crate::spans::Spans;
use crate::tasks::Tasks;
use crate::twilio::privacy::Privacy;

/// Connections of a process that sends: for claims, for commits to writing, for answers, and for what settles them.
const CONNECTIONS: u32 = 4;

/// Starts what sends, and returns what it is asked by.
///
/// # Errors
/// The URL of the store is not valid, or the system's root certificates cannot be read.
pub(super) fn start(
    config: &Config,
    privacy: Part<Privacy>,
    in_force: Option<&InForce>,
    outbox: &Outbox,
    metrics: Option<SendMetrics>,
    spans: Spans,
    tasks: &mut Tasks,
) -> anyhow::Result<Router> {
    if !config.deployment.sends() && !config.deployment.stores() {
        return Ok(api::elsewhere());
    }
    let Some(in_force) = in_force else { return Ok(Router::new()) };
    let sending = in_force.now();
    // Others close theirs when they have ended, and answers are stored until the last one has come.
    let postgres = match config.deployment.store() {
        StoreUrl::Postgres(url) => {
            let url = url.expose_secret();
            Some(Postgres::with_writers(url, CONNECTIONS).context("store.url")?)
        }
        StoreUrl::Sqlite(_) => None,
    };
    let own = postgres.clone().map(|postgres| Store::Postgres(Handles::new(postgres)).outbox());
    let outbox = own.as_ref().unwrap_or(outbox);
    let rest = Rest::new(
        &sending.api_url,
        sending.timeout,
        sending.max_in_flight as usize * sending.accounts.len(),
        config.clock,
    )?;
    let sendgrid = sending.mail.as_ref().map(|mail| {
        let in_flight = sending.max_in_flight as usize;
        SendGrid::new(&mail.url, sending.timeout, in_flight, config.clock)
    });
    let sendgrid = sendgrid.transpose()?;
    let news = watch::Sender::new(());
    if let Some(metrics) = metrics {
        let service = Outbound {
            config: in_force.clone(),
            outbox: outbox.clone(),
            rest,
            sendgrid,
            privacy: Arc::new(privacy),
            clock: config.clock,
            metrics,
            spans: spans.clone(),
            news: news.clone(),
            answered: watch::Sender::default(),
        };
        let stop = tasks.stop();
        tasks.spawn("sending", async move {
            service.run(stop).await;
            if let Some(postgres) = postgres {
                postgres.close().await;
            }
        });
    }
    // As long as the private listener answers.
    let (asks, keep) = asks::asks(outbox.clone());
    let (watching, until) = tasks.watching();
    watching.spawn(async move {
        until.run_until_cancelled(keep).await;
    });
    let api = api::Api::new(in_force.clone(), outbox.clone(), asks, config.clock, spans, news);
    Ok(api::router(api))
}
