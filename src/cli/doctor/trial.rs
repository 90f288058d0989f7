//! One signed callback, sent as Twilio sends it, must end in the store.

use std::time::Duration;

use anyhow::Context as _;
use secrecy::ExposeSecret as _;
use tokio::time::{Instant, sleep};

use super::Finding;
use crate::backend::postgres::{Postgres, Query};
use crate::backend::{Reads, sqlite};
use crate::cli::callback_url::Urls;
use crate::cli::output::no_answer;
use crate::config::{Config, StoreUrl};
use crate::event::AttemptId;
use crate::http::client;
use crate::lab::sample::{Callback, Signed};
use crate::lab::sender;
use crate::twilio::rest::status_callback;

const SUBJECT: &str = "callback";
/// Longest wait for the answer: as long as Twilio's.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);
/// Longest wait for the store.
const STORE_TIMEOUT: Duration = Duration::from_secs(15);

pub(super) async fn run(config: &Config) -> Finding {
    let mut accounts = config.keyring.accounts().iter();
    let Some((account, token)) =
        accounts.find_map(|account| Some((account.sid(), account.auth_token()?)))
    else {
        let fix = "send one by hand: `offhook send` takes a token";
        return Finding::warning(SUBJECT, "not tried: no account has an auth token", fix);
    };
    // A kind that is not known is kept as it is, under the SID that it names, and moves no status.
    let sid = format!("OD{:032x}", rand::random::<u128>());
    let pairs = [("AccountSid", account), ("OffhookDoctor", "trial"), ("Sid", &sid)];
    let pairs = pairs.map(|(name, value)| (name.to_owned(), value.to_owned()));
    // As Twilio calls back about a message that offhook sent: with a query, which a balancer must not change.
    let url = match config.outbound.as_ref().filter(|_| config.deployment.sends()) {
        Some(sending) => status_callback(&sending.callback_url, AttemptId::new(rand::random())),
        None => Urls::of(config).status,
    };
    let signed = Callback::Form(pairs.to_vec()).post(&url, token);
    match send(&signed).await {
        Err(finding) => finding,
        Ok(took) => match arrives(config, &sid).await {
            Ok(true) => {
                let took = took.as_secs_f64() * 1e3;
                Finding::ok(SUBJECT, format!("answered in {took:.0} ms, and is in the store"))
            }
            Ok(false) => Finding::failure(
                SUBJECT,
                format!("answered, and after {} s not in the store", STORE_TIMEOUT.as_secs()),
                "start a worker, or look at what its log says; offhook_stream_depth says how much waits",
            ),
            Err(error) => Finding::failure(
                SUBJECT,
                format!("answered, but the store cannot be read: {error:#}"),
                "look at the store",
            ),
        },
    }
}

async fn send(signed: &Signed) -> Result<Duration, Finding> {
    let client = client::new(ANSWER_TIMEOUT).map_err(|error| {
        Finding::failure(SUBJECT, format!("{error:#}"), "install ca-certificates")
    })?;
    let answer = sender::deliver(&client, &signed.url, signed, Some(&signed.signature)).await;
    let answer = answer.map_err(|error| {
        Finding::failure(
            SUBJECT,
            format!("no answer: {}", no_answer(&error)),
            "look at the balancer's log",
        )
    })?;
    let fix = match answer.status.as_u16() {
        200 => return Ok(answer.took),
        403 => {
            "the server there has another token, account or public_url than this configuration, or \
             the balancer changes path or query; its log has the reason"
        }
        503 => "nothing there can make it durable: look at Redis, and at the spool's disk",
        _ => "look at the log of what answers there",
    };
    Err(Finding::failure(SUBJECT, format!("refused with {}", answer.status), fix))
}

async fn arrives(config: &Config, sid: &str) -> anyhow::Result<bool> {
    let reader = reader(config)?;
    let until = Instant::now() + STORE_TIMEOUT;
    loop {
        if reader.events_of(sid, None, 1).await.is_ok_and(|found| !found.is_empty()) {
            return Ok(true);
        }
        if Instant::now() >= until {
            return Ok(!reader.events_of(sid, None, 1).await?.is_empty());
        }
        sleep(Duration::from_millis(100)).await;
    }
}

fn reader(config: &Config) -> anyhow::Result<Reads> {
    Ok(match config.deployment.store() {
        StoreUrl::Sqlite(store) => {
            Reads::Sqlite(sqlite::Query::of_url(store).context("store.url")?)
        }
        StoreUrl::Postgres(store) => {
            let postgres = Postgres::new(store.expose_secret()).context("store.url")?;
            Reads::Postgres(Query::new(postgres))
        }
    })
}
