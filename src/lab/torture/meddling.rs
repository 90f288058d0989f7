//! [`Meddler`]: what operators and strangers do while messages are sent. It pauses, cancels and suppresses, reports
//! messages under another account, and notes when each of that was acknowledged.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, RequestBuilder};
use secrecy::SecretString;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::asking::ASKER;
use super::sent::{Acknowledged, Meddled, Stop, Stopped};
use super::testbed::{PUBLIC_URL, TOKEN};
use crate::clock::Clock;
use crate::http::client;
use crate::lab::sample::{self, Parties};
use crate::lab::sender;
use crate::twilio::keyring::Secret;

/// A sub-account, for which the account signs, and which sends nothing.
pub(super) const STRANGER: &str = "AC00000000000000000000000000000002";
/// Notifications that must wait before some of them are stopped.
const WAITING: usize = 6;
/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Longest wait for something to happen while processes are killed.
const LONGEST: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);

/// Meddles through any process that answers.
pub(super) struct Meddler {
    admin: Vec<SocketAddr>,
    inbound: Vec<SocketAddr>,
    acknowledged: Arc<Mutex<Vec<Acknowledged>>>,
    client: Client,
    rng: StdRng,
}

/// Since the epoch, in microseconds: the clock of the processes and of their store.
fn now() -> i64 {
    Clock::System.now().micros()
}

impl Meddler {
    pub(super) fn new(
        admin: Vec<SocketAddr>,
        inbound: Vec<SocketAddr>,
        acknowledged: Arc<Mutex<Vec<Acknowledged>>>,
        seed: u64,
    ) -> anyhow::Result<Self> {
        let client = client::without_keep_alive(PATIENCE)?;
        Ok(Self { admin, inbound, acknowledged, client, rng: StdRng::seed_from_u64(seed) })
    }

    /// Goes on until there is enough of it, and has done everything once by then.
    pub(super) async fn run(mut self, enough: CancellationToken) -> anyhow::Result<Meddled> {
        let mut meddled = Meddled::default();
        loop {
            self.round(&mut meddled).await?;
            let pause = Duration::from_millis(self.rng.random_range(100..600));
            if enough.is_cancelled() || enough.run_until_cancelled(sleep(pause)).await.is_none() {
                return Ok(meddled);
            }
        }
    }

    async fn round(&mut self, meddled: &mut Meddled) -> anyhow::Result<()> {
        self.post("/api/senders/alerts/pause", None).await?;
        let from = now();
        // What is asked for while the sender is paused waits, so that it is sure to be stopped.
        let waiting = self.asked_from_now_on().await?;
        let [reported, .., cancelled, suppressed] = &waiting[..] else {
            bail!("too few notifications wait");
        };
        self.cancel(cancelled, meddled).await?;
        let number = json!({ "to": suppressed.to });
        self.post("/api/suppressions", Some(&number)).await?;
        let suppressed_from = now();
        meddled.stops.push(Stop { what: Stopped::Sender, from, until: now() });
        self.post("/api/senders/alerts/resume", None).await?;

        // One that may be on its way.
        let last = self.all().last().cloned().context("some were acknowledged")?;
        self.cancel(&last, meddled).await?;
        // One that is sent, so that its own callbacks have it decided about again.
        self.report(reported, meddled).await?;

        self.until_ended(suppressed).await?;
        let what = Stopped::Recipient(suppressed.to.clone());
        meddled.stops.push(Stop { what, from: suppressed_from, until: now() });
        self.post("/api/suppressions/lift", Some(&number)).await?;
        Ok(())
    }

    fn all(&self) -> std::sync::MutexGuard<'_, Vec<Acknowledged>> {
        self.acknowledged.lock().expect("nothing panics while it is held")
    }

    /// The next notifications that are acknowledged.
    async fn asked_from_now_on(&self) -> anyhow::Result<Vec<Acknowledged>> {
        let (first, deadline) = (self.all().len(), Instant::now() + LONGEST);
        while self.all().len() < first + WAITING {
            ensure!(Instant::now() < deadline, "nothing more is acknowledged");
            sleep(POLL).await;
        }
        Ok(self.all()[first..].to_vec())
    }

    /// Cancels a notification; notes it if nothing of it was sent or is on its way.
    async fn cancel(&self, one: &Acknowledged, meddled: &mut Meddled) -> anyhow::Result<()> {
        let answer = self.post(&format!("/api/notifications/{}/cancel", one.id), None).await?;
        if answer["state"] == "cancelled" && answer["in_writing"] == 0 {
            let what = Stopped::Notification(one.id.clone());
            meddled.stops.push(Stop { what, from: now(), until: i64::MAX });
        }
        Ok(())
    }

    /// Reports an attempt as delivered, under a SID of another account.
    async fn report(&mut self, one: &Acknowledged, meddled: &mut Meddled) -> anyhow::Result<()> {
        let found = self.get(&format!("/api/notifications/{}", one.id)).await?;
        let attempt = found["attempts"][0]["id"].as_str().context("it has an attempt")?;
        let url = format!("{PUBLIC_URL}/status?offhook_attempt={attempt}");
        let parties = Parties {
            account: STRANGER.to_owned(),
            from: "+12015550198".to_owned(),
            to: one.to.clone(),
            at: Clock::System.now(),
        };
        let sid = sample::sid("SM", &mut self.rng);
        let secret = Secret::auth_token(&SecretString::from(TOKEN));
        let signed = sample::message(&parties, &sid, "delivered").post(&url, &secret);
        let deadline = Instant::now() + LONGEST;
        for turn in 0.. {
            let path = signed.url.strip_prefix(PUBLIC_URL).context("it is the public URL")?;
            let way = format!("http://{}{path}", self.inbound[turn % self.inbound.len()]);
            let answer =
                sender::deliver(&self.client, &way, &signed, Some(&signed.signature)).await;
            match answer {
                Ok(answer) if answer.status.is_success() => break,
                Ok(answer) if answer.status.is_client_error() => {
                    bail!("a callback of a sub-account is refused with {}", answer.status)
                }
                _ => ensure!(Instant::now() < deadline, "no process takes a callback"),
            }
            sleep(POLL).await;
        }
        meddled.foreign.push(sid);
        Ok(())
    }

    /// Waits until a notification has come to a gate, or is not to be waited for.
    async fn until_ended(&self, one: &Acknowledged) -> anyhow::Result<()> {
        let deadline = Instant::now() + LONGEST / 3;
        while Instant::now() < deadline {
            if self.get(&format!("/api/notifications/{}", one.id)).await?["state"] != "open" {
                break;
            }
            sleep(POLL).await;
        }
        Ok(())
    }

    async fn post(&self, path: &str, body: Option<&Value>) -> anyhow::Result<Value> {
        let request = |url: String| match body {
            Some(body) => self
                .client
                .post(url)
                .header(CONTENT_TYPE, "application/json")
                .body(body.to_string()),
            None => self.client.post(url),
        };
        self.ask(path, request).await
    }

    async fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.ask(path, |url| self.client.get(url)).await
    }

    /// Asks one process after the other until one answers. Each request may be made again.
    async fn ask(
        &self,
        path: &str,
        request: impl Fn(String) -> RequestBuilder,
    ) -> anyhow::Result<Value> {
        let deadline = Instant::now() + LONGEST;
        for turn in 0.. {
            let url = format!("http://{}{path}", self.admin[turn % self.admin.len()]);
            match request(url).bearer_auth(ASKER).send().await {
                Ok(answer) if answer.status().is_success() => {
                    let Ok(body) = answer.bytes().await else { continue };
                    return serde_json::from_slice(&body).with_context(|| path.to_owned());
                }
                Ok(answer) if answer.status().is_client_error() => {
                    bail!("{path} is refused with {}", answer.status())
                }
                _ => ensure!(Instant::now() < deadline, "no process answers {path}"),
            }
            sleep(POLL).await;
        }
        unreachable!("it asks until the deadline")
    }
}
