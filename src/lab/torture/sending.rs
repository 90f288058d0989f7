//! [`Sending`]: a testbed that sends through a pretend Twilio, from the first request to the verdict.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use reqwest::header::CONTENT_TYPE;
use serde_json::{Value, json};
use sqlx::postgres::PgConnection;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

use super::Run;
use super::report::{Facts, Report};
use super::sent::{Acknowledged, Kept, KeptAttempt, judge};
use super::testbed::{ACCOUNT, PUBLIC_URL, TOKEN, Testbed};
use super::verdict::Store;
use crate::dispatch::OnUnknown;
use crate::http::client;
use crate::lab::servers::free_port;
use crate::lab::twilio::{Behaviour, Identity, Simulator};

/// Notifications a second.
const ASKED_PER_SECOND: u64 = 60;
/// Messages of one segment a second, and the time of one, in microseconds.
const RATE: i64 = 100;
const PER_UNIT: i64 = 1_000_000 / RATE;
/// Longest wait for an answer to a request to send.
const PATIENCE: Duration = Duration::from_secs(5);
/// Until all must have an end once everything works again: longer than every lease and every time-out below.
const DRAIN_WITHIN: Duration = Duration::from_secs(90);
const POLL: Duration = Duration::from_millis(250);
/// Work without faults, before and after them.
const CALM: Duration = Duration::from_millis(500);
/// The token of those who ask to send.
const ASKER: &str = "torture-torture-torture-torture";
/// Area codes of the United States: with the hundred numbers for fiction of each, every recipient is another one for
/// long.
const AREAS: [u16; 40] = [
    201, 202, 203, 205, 206, 207, 208, 209, 210, 212, 213, 214, 215, 216, 217, 218, 219, 224, 225,
    228, 229, 231, 234, 239, 240, 248, 251, 252, 253, 254, 256, 260, 262, 267, 269, 270, 276, 281,
    301, 302,
];

const NOTIFICATIONS: &str = "SELECT id, state FROM notifications";
const ATTEMPTS_IN_SQLITE: &str = "SELECT id, notification, state, send_at, units FROM attempts";
const ATTEMPTS_IN_POSTGRES: &str = "SELECT id, notification, state, \
    to_char(send_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'), units::bigint FROM attempts";
const SIDS: &str = "SELECT attempt, sid FROM attempt_sids";

/// A testbed that sends.
pub(super) struct Sending {
    pub(super) testbed: Testbed,
    pub(super) simulator: Simulator,
    pub(super) facts: Facts,
    rng: StdRng,
    name: String,
    run: Run,
    store: Store,
    until: Instant,
    acknowledged: Arc<Mutex<Vec<Acknowledged>>>,
    asker: JoinSet<anyhow::Result<()>>,
    no_more: CancellationToken,
}

impl Sending {
    /// Starts the provider, all processes and what asks them to send; the faults may begin.
    pub(super) async fn begin(
        name: String,
        run: &Run,
        mut testbed: Testbed,
        behaviour: Behaviour,
    ) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("no port for a provider")?;
        let identity = Identity { account: ACCOUNT.to_owned(), token: TOKEN.to_owned() };
        let simulator = Simulator::start(listener, identity, run.seed, behaviour)?;
        configure(&mut testbed, &simulator.url())?;
        testbed.give_admin_port()?;
        let mut receivers = Vec::new();
        for server in testbed.servers() {
            let address = SocketAddr::from(([127, 0, 0, 1], free_port()?));
            server.set("OFFHOOK_INBOUND__LISTEN", address.to_string());
            receivers.push(address);
        }
        simulator.reach(PUBLIC_URL, receivers);
        testbed.start()?;

        let admin: Vec<SocketAddr> = testbed.servers().filter_map(|it| it.admin()).collect();
        let (acknowledged, no_more) = (Arc::default(), CancellationToken::new());
        let mut asker = JoinSet::new();
        asker.spawn(ask(admin, Arc::clone(&acknowledged), no_more.clone()));
        sleep(CALM).await;
        Ok(Self {
            store: testbed.store(),
            testbed,
            simulator,
            facts: Facts::default(),
            rng: StdRng::seed_from_u64(run.seed),
            name,
            run: run.clone(),
            until: Instant::now() + run.duration,
            acknowledged,
            asker,
            no_more,
        })
    }

    /// Whether there is time for more faults.
    pub(super) fn goes_on(&self) -> bool {
        Instant::now() < self.until
    }

    /// Waits, for some milliseconds of this range.
    pub(super) async fn pause(&mut self, millis: Range<u64>) {
        let millis = self.rng.random_range(millis);
        sleep(Duration::from_millis(millis)).await;
    }

    /// A random number below `of`.
    pub(super) fn any(&mut self, of: usize) -> usize {
        self.rng.random_range(0..of)
    }

    /// No more faults and no more requests: waits until all has an end, stops everything, and holds the store against
    /// the provider's ledger.
    pub(super) async fn end(mut self) -> anyhow::Result<Report> {
        sleep(CALM).await;
        self.simulator.behave(Behaviour::default());
        self.no_more.cancel();
        while let Some(ended) = self.asker.join_next().await {
            ended.context("what asks to send")??;
        }
        let drained = self.drain().await?;
        let problems = self.testbed.stop();
        self.facts.failures.extend(problems);

        let kept = self.kept().await?;
        let ledger = self.simulator.ledger();
        let acknowledged =
            std::mem::take(&mut *self.acknowledged.lock().expect("nothing panics with it"));
        let checks = judge(&acknowledged, &kept, &ledger.messages, PER_UNIT);
        self.tell("posts", ledger.posts.len());
        self.tell("messages", ledger.messages.len());
        self.tell("attempts", states(kept.attempts.iter().map(|attempt| &*attempt.state)));
        self.tell("notifications", states(kept.notifications.values().map(String::as_str)));
        self.tell("drain_ms", drained.map(|took| took.as_millis() as u64));
        self.facts.failures.extend(checks.iter().filter_map(|it| it.failure()));
        let (asked, facts) = (acknowledged.len(), self.facts);
        Ok(Report::of_sending(self.name, &self.run, asked, &checks, facts))
    }

    /// Something that only this scenario has to tell.
    pub(super) fn tell(&mut self, name: &str, value: impl Into<Value>) {
        self.facts.details.insert(name.to_owned(), value.into());
    }

    /// Waits until no attempt waits or is on its way, and every callback was taken; how long that took.
    async fn drain(&self) -> anyhow::Result<Option<Duration>> {
        let began = Instant::now();
        while began.elapsed() < DRAIN_WITHIN {
            // A store that was just killed may not answer yet.
            let kept = self.kept().await.unwrap_or_default();
            if !kept.attempts.is_empty() && kept.attempts.iter().all(KeptAttempt::is_settled) {
                self.simulator.settled().await;
                return Ok(Some(began.elapsed()));
            }
            sleep(POLL).await;
        }
        Ok(None)
    }

    async fn kept(&self) -> anyhow::Result<Kept> {
        type Row = (String, String, String, Option<String>, i64);
        let (notifications, attempts, sids) = match &self.store {
            Store::Sqlite(path) => {
                let mut on = SqliteConnectOptions::new().filename(path).connect().await?;
                (
                    sqlx::query_as(NOTIFICATIONS).fetch_all(&mut on).await?,
                    sqlx::query_as::<_, Row>(ATTEMPTS_IN_SQLITE).fetch_all(&mut on).await?,
                    sqlx::query_as(SIDS).fetch_all(&mut on).await?,
                )
            }
            Store::Postgres(url) => {
                let mut on = PgConnection::connect(url).await?;
                (
                    sqlx::query_as(NOTIFICATIONS).fetch_all(&mut on).await?,
                    sqlx::query_as::<_, Row>(ATTEMPTS_IN_POSTGRES).fetch_all(&mut on).await?,
                    sqlx::query_as(SIDS).fetch_all(&mut on).await?,
                )
            }
        };
        let notifications: Vec<(String, String)> = notifications;
        let attempt = |(id, notification, state, send_at, units): Row| {
            let send_at = send_at.as_deref().and_then(crate::clock::Timestamp::parse_rfc3339);
            let send_at = send_at.map(crate::clock::Timestamp::micros);
            KeptAttempt { id, notification, state, send_at, units }
        };
        let attempts = attempts.into_iter().map(attempt).collect();
        Ok(Kept { notifications: notifications.into_iter().collect(), attempts, sids })
    }
}

/// How many of each.
fn states<'s>(all: impl Iterator<Item = &'s str>) -> Value {
    let mut counts: HashMap<&str, u64> = HashMap::new();
    all.for_each(|state| *counts.entry(state).or_default() += 1);
    json!(counts)
}

/// Every process sends through this provider. What is left open by a process that is gone counts as unknown soon.
fn configure(testbed: &mut Testbed, api_url: &str) -> anyhow::Result<()> {
    let file = testbed.directory().join("sending.toml");
    let text = format!(
        "[[sender]]\nname = \"alerts\"\nfrom = \"+12015550199\"\nrate = {RATE}.0\n\n\
         [twilio]\napi_url = \"{api_url}\"\n\n\
         [outbound]\ntokens = [{{ id = \"torture\", token = \"{ASKER}\" }}]\n\
         max_per_day = 1000000\nmax_per_recipient_hour = 1000000\nmax_in_flight = 64\n\
         timeout_ms = 2000\nwriting_lease_ms = 7000\n"
    );
    std::fs::write(&file, text).context("the configuration")?;
    testbed.set("OFFHOOK_CONFIG", &file.display().to_string());
    Ok(())
}

/// Asks to send until there is no more to do, each request until it is acknowledged, by any process.
async fn ask(
    admin: Vec<SocketAddr>,
    acknowledged: Arc<Mutex<Vec<Acknowledged>>>,
    no_more: CancellationToken,
) -> anyhow::Result<()> {
    ensure!(!admin.is_empty(), "no process has a port to ask");
    let client = client::without_keep_alive(PATIENCE)?;
    let mut turns = interval(Duration::from_micros(1_000_000 / ASKED_PER_SECOND));
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for number in 0_usize.. {
        if no_more.run_until_cancelled(turns.tick()).await.is_none() {
            break;
        }
        let on_unknown = [OnUnknown::Report, OnUnknown::Resend][number % 2];
        let area = AREAS[number / 100 % AREAS.len()];
        let body = json!({
            "to": format!("+1{area}55501{:02}", number % 100),
            "text": format!("Message {number}"),
            "purpose": "transactional",
            "on_unknown": on_unknown,
        });
        for turn in number.. {
            let url = format!("http://{}/api/notifications", admin[turn % admin.len()]);
            let request =
                client.post(url).bearer_auth(ASKER).header(CONTENT_TYPE, "application/json");
            let request = request.header("idempotency-key", format!("torture-{number}"));
            match request.body(body.to_string()).send().await {
                Ok(answer) if answer.status().as_u16() == 202 => {
                    let Ok(kept) = answer.bytes().await else { continue };
                    let kept: Value = serde_json::from_slice(&kept).context("the answer")?;
                    let id = kept["id"].as_str().context("the answer has no id")?.to_owned();
                    let mut all = acknowledged.lock().expect("nothing panics while it is held");
                    all.push(Acknowledged { id, on_unknown });
                    break;
                }
                Ok(answer) if answer.status().is_client_error() => {
                    let status = answer.status();
                    let why = answer.text().await.unwrap_or_default();
                    anyhow::bail!("a request to send is refused with {status}: {why}");
                }
                // It is killed, or its store does not answer.
                _ if no_more.is_cancelled() => break,
                _ => sleep(Duration::from_millis(20)).await,
            }
        }
    }
    Ok(())
}
