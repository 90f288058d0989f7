//! [`Messages`]: what is sent through a pretend Twilio, which throttles, loses answers and cannot deliver everything, and
//! what its ledger says of it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use reqwest::Client;
use serde::Deserialize;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::time::sleep;

use crate::http::client;
use crate::lab::twilio::{Behaviour, Identity, Ledger, MailKey, Share, Simulator};

/// Messages: two seconds of them.
const ASKED: usize = 40;
/// Segments a second.
pub(super) const RATE: u32 = 20;
/// Longest wait for the last outcome.
const PATIENCE: Duration = Duration::from_secs(60);
/// A number that Twilio refuses.
const INVALID: &str = "+14155550013";

/// A pretend Twilio, and the token that may ask to send by it.
pub(super) struct Twilio {
    simulator: Simulator,
    pub(super) may_send: String,
}

/// What came of it.
#[derive(Debug)]
pub(super) struct Messages {
    pub(super) asked: usize,
    pub(super) took: Duration,
    /// POSTs that it took.
    pub(super) requests: usize,
    pub(super) throttled: usize,
    /// Answers that never came, although the message was created.
    pub(super) unanswered: usize,
    /// Creates that Twilio refused for good.
    pub(super) refused: usize,
    /// Messages that exist.
    pub(super) at_twilio: usize,
    notifications: Vec<Notification>,
    ledger: Ledger,
}

/// A notification, as far as it matters here.
#[derive(Debug, Deserialize)]
struct Notification {
    id: String,
    to: String,
    state: String,
}

#[derive(Deserialize)]
struct Page {
    notifications: Vec<Notification>,
}

impl Twilio {
    /// One of the demo's account.
    ///
    /// # Errors
    /// There is no free port.
    pub(super) async fn start(seed: u64, account: &str, token: &str) -> anyhow::Result<Self> {
        let share = |share| Share::try_from(share).expect("it is from 0 to 1");
        let behaviour = Behaviour {
            // An SMS takes its time, too.
            answer_after_ms: 20,
            status_after_ms: 50,
            throttle_next: 3,
            drop_answers: share(0.1),
            undelivered: share(0.1),
            callbacks_twice: share(0.1),
            bad_number: vec![INVALID.to_owned()],
            ..Behaviour::default()
        };
        let identity = Identity { account: account.to_owned(), token: token.to_owned() };
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let simulator =
            Simulator::start(listener, identity, MailKey::generate()?, seed, behaviour)?;
        Ok(Self { simulator, may_send: format!("{:032x}", rand::random::<u128>()) })
    }

    /// What sends by it, as a configuration.
    pub(super) fn settings(&self) -> String {
        format!(
            "sender = [{{ name = \"shop\", from = \"+12125550100\", rate = {RATE}.0 }}]\n\
             [twilio]\napi_url = \"{}\"\n\
             [outbound]\ntokens = [{{ id = \"demo\", token = \"{}\" }}]\n",
            self.simulator.url(),
            self.may_send
        )
    }

    /// Asks for every message, and waits until its outcome is known.
    ///
    /// # Errors
    /// The server does not answer as it must.
    pub(super) async fn send(&self, admin: SocketAddr) -> anyhow::Result<Messages> {
        let (client, began) = (client::new(Duration::from_secs(5))?, Instant::now());
        for number in 0..ASKED {
            self.ask(&client, admin, number).await?;
        }
        while !self.list(&client, admin, "state=open").await?.is_empty() {
            ensure!(began.elapsed() < PATIENCE, "messages are open for longer than {PATIENCE:?}");
            sleep(Duration::from_millis(50)).await;
        }
        let took = began.elapsed();
        let notifications = self.list(&client, admin, "limit=1000").await?;
        Ok(Messages::of(self.simulator.ledger(), notifications, took))
    }

    async fn ask(&self, client: &Client, admin: SocketAddr, number: usize) -> anyhow::Result<()> {
        let asked = json!({
            "to": format!("+1415555{number:04}"),
            "text": format!("Your order {number} has left the shop."),
            "purpose": "transactional",
        });
        let request = client.post(format!("http://{admin}/api/notifications"));
        let request =
            request.bearer_auth(&self.may_send).header("content-type", "application/json");
        let answer = request.body(asked.to_string()).send().await?;
        let (status, said) = (answer.status(), answer.text().await?);
        ensure!(status == reqwest::StatusCode::ACCEPTED, "a message is not taken: {status} {said}");
        Ok(())
    }

    async fn list(
        &self,
        client: &Client,
        admin: SocketAddr,
        which: &str,
    ) -> anyhow::Result<Vec<Notification>> {
        let request = client.get(format!("http://{admin}/api/notifications?{which}"));
        let answer = request.bearer_auth(&self.may_send).send().await?.error_for_status()?;
        let page: Page = serde_json::from_str(&answer.text().await?).context("no list")?;
        Ok(page.notifications)
    }
}

impl Messages {
    fn of(ledger: Ledger, notifications: Vec<Notification>, took: Duration) -> Self {
        let code = |wanted| ledger.posts.iter().filter(|post| post.code == Some(wanted)).count();
        Self {
            asked: ASKED,
            took,
            requests: ledger.posts.len(),
            throttled: code(20429),
            unanswered: ledger.posts.iter().filter(|post| post.answered.is_none()).count(),
            refused: code(21211),
            at_twilio: ledger.messages.len(),
            notifications,
            ledger,
        }
    }

    /// How many notifications ended in which state.
    pub(super) fn outcomes(&self) -> BTreeMap<&str, usize> {
        let mut counts = BTreeMap::new();
        for notification in &self.notifications {
            *counts.entry(notification.state.as_str()).or_default() += 1;
        }
        counts
    }

    /// Everything in which offhook and the ledger differ.
    pub(super) fn wrong(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        if self.notifications.len() != self.asked {
            let (are, must) = (self.notifications.len(), self.asked);
            wrong.push(format!("notifications: {are}, not {must}"));
        }
        for Notification { id, to, state } in &self.notifications {
            let found: Vec<_> = self.ledger.messages.iter().filter(|it| it.to == *to).collect();
            let (must, many) = match &found[..] {
                [] => ("failed", usize::from(to != INVALID)),
                [one] if one.status == "delivered" => ("confirmed", 0),
                [_] => ("failed", 0),
                several => ("once", several.len()),
            };
            if many != 0 {
                wrong.push(format!("{id}: there are {} messages at Twilio", found.len()));
            } else if state != must {
                wrong.push(format!("{id}: {state}, not {must}"));
            }
        }
        wrong
    }
}
