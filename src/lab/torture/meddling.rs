//! [`Meddler`]: what operators and strangers do while messages are sent. It pauses, cancels and suppresses, reports
//! messages under another account, and notes when each of that was acknowledged.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::json;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::admin_api::AdminApi;
use super::callbacks::Callbacks;
use super::sent::{Acknowledged, Meddled, Stop, Stopped};
use crate::clock::Clock;
use crate::lab::sample::{self, Parties};

/// A sub-account, for which the account signs, and which sends nothing.
pub(super) const STRANGER: &str = "AC00000000000000000000000000000002";
/// Notifications that must wait before some of them are stopped.
const WAITING: usize = 6;
/// Longest wait for something to happen while processes are killed.
const LONGEST: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);

/// Meddles through any process that answers.
pub(super) struct Meddler {
    api: AdminApi,
    callbacks: Callbacks,
    acknowledged: Arc<Mutex<Vec<Acknowledged>>>,
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
        let (api, callbacks) = (AdminApi::new(admin)?, Callbacks::new(inbound)?);
        Ok(Self { api, callbacks, acknowledged, rng: StdRng::seed_from_u64(seed) })
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
        self.api.post("/api/senders/alerts/pause", None).await?;
        let from = now();
        // What is asked for while the sender is paused waits, so that it is sure to be stopped.
        let waiting = self.asked_from_now_on().await?;
        let [reported, .., cancelled, suppressed] = &waiting[..] else {
            bail!("too few notifications wait");
        };
        self.cancel(cancelled, meddled).await?;
        let number = json!({ "to": suppressed.to });
        self.api.post("/api/suppressions", Some(&number)).await?;
        let suppressed_from = now();
        meddled.stops.push(Stop { what: Stopped::Sender, from, until: now() });
        self.api.post("/api/senders/alerts/resume", None).await?;

        // One that may be on its way.
        let last = self.all().last().cloned().context("some were acknowledged")?;
        self.cancel(&last, meddled).await?;
        // One that is sent, so that its own callbacks have it decided about again.
        self.report(reported, meddled).await?;

        self.until_ended(suppressed).await?;
        let what = Stopped::Recipient(suppressed.to.clone());
        meddled.stops.push(Stop { what, from: suppressed_from, until: now() });
        self.api.post("/api/suppressions/lift", Some(&number)).await?;
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
        let answer = self.api.post(&format!("/api/notifications/{}/cancel", one.id), None).await?;
        if answer["state"] == "cancelled" && answer["in_writing"] == 0 {
            let what = Stopped::Notification(one.id.clone());
            meddled.stops.push(Stop { what, from: now(), until: i64::MAX });
        }
        Ok(())
    }

    /// Reports an attempt as delivered, under a SID of another account.
    async fn report(&mut self, one: &Acknowledged, meddled: &mut Meddled) -> anyhow::Result<()> {
        let found = self.api.get(&format!("/api/notifications/{}", one.id)).await?;
        let attempt = found["attempts"][0]["id"].as_str().context("it has an attempt")?;
        let parties = Parties {
            account: STRANGER.to_owned(),
            from: "+12015550198".to_owned(),
            to: one.to.clone(),
            at: Clock::System.now(),
        };
        let sid = sample::sid("SM", &mut self.rng);
        let callback = sample::message(&parties, &sid, "delivered");
        self.callbacks.send(&callback, &format!("/status?offhook_attempt={attempt}")).await?;
        meddled.foreign.push(sid);
        Ok(())
    }

    /// Waits until a notification has come to a gate, or is not to be waited for.
    async fn until_ended(&self, one: &Acknowledged) -> anyhow::Result<()> {
        let deadline = Instant::now() + LONGEST / 3;
        while Instant::now() < deadline {
            if self.api.get(&format!("/api/notifications/{}", one.id)).await?["state"] != "open" {
                break;
            }
            sleep(POLL).await;
        }
        Ok(())
    }
}
