//! [`Load`]: callbacks as Twilio would send them, signed, with duplicates and reordering, at a rate,
//! until a stop. Does not resend what was refused: the ledger has it.

mod supply;
mod tally;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use anyhow::Context as _;
use secrecy::SecretString;
use tokio::task::JoinSet;
use tokio::time::sleep;

use self::supply::Supply;
pub(super) use self::tally::Tally;
use super::ledger::{AnswerClass, Ledger};
use super::testbed::{ACCOUNT, PUBLIC_URL, TOKEN};
use crate::http::client;
use crate::lab::load::{ANSWER_TIMEOUT, Lane, Overdue, Plan, Schedule, Turn, send_all};
use crate::lab::sender;
use crate::twilio::keyring::Secret;

/// Between two looks for a receiver, while none runs.
const LOOK: Duration = Duration::from_millis(10);
/// Most requests at one time. While all wait for answers, the rate falls.
const AT_ONCE: usize = 512;

/// How much is sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Volume {
    /// Callbacks a second.
    pub(super) rate: usize,
    /// How often each is sent, besides the duplicates that there are anyway.
    pub(super) copies: usize,
    /// Whether connections are used again, as a load balancer's are.
    pub(super) keep_alive: bool,
}

impl Default for Volume {
    fn default() -> Self {
        Self { rate: 500, copies: 1, keep_alive: true }
    }
}

/// Where callbacks go: one place per receiver, empty while it does not run. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Targets(Arc<Mutex<Vec<Option<SocketAddr>>>>);

impl Targets {
    /// As a load balancer learns of a receiver that comes or goes.
    pub(super) fn set(&self, place: usize, address: Option<SocketAddr>) {
        let mut targets = self.0.lock().expect("nobody panics while it is held");
        if targets.len() <= place {
            targets.resize(place + 1, None);
        }
        targets[place] = address;
    }

    /// The first place's.
    pub(super) fn first(&self) -> Option<SocketAddr> {
        self.0.lock().expect("nobody panics while it is held").first().copied().flatten()
    }

    /// The turn's one of those that run.
    fn next(&self, turn: usize) -> Option<SocketAddr> {
        let targets = self.0.lock().expect("nobody panics while it is held");
        let up: Vec<SocketAddr> = targets.iter().copied().flatten().collect();
        up.get(turn % up.len().max(1)).copied()
    }
}

/// Callbacks on their way.
pub(super) struct Load {
    task: JoinSet<anyhow::Result<()>>,
    shared: Arc<Shared>,
}

struct Shared {
    schedule: Arc<Schedule>,
    supply: Mutex<Supply>,
    targets: Targets,
    client: reqwest::Client,
    secret: Secret,
    ledger: Ledger,
    tally: Mutex<Tally>,
    /// Latencies count while it is set.
    fault: AtomicBool,
    /// Nothing more is sent while it is set.
    rests: AtomicBool,
}

impl Load {
    /// Begins to send.
    pub(super) fn start(
        volume: Volume,
        seed: u64,
        targets: Targets,
        ledger: Ledger,
    ) -> anyhow::Result<Self> {
        let client = if volume.keep_alive { client::new } else { client::without_keep_alive };
        let plan =
            Plan { rate: Some(volume.rate as f64), overdue: Overdue::Skipped, ..Plan::default() };
        let schedule = Arc::new(Schedule::start(plan).context("the load has no clock")?);
        let shared = Arc::new(Shared {
            schedule: Arc::clone(&schedule),
            supply: Mutex::new(Supply::new(seed, ACCOUNT, volume.copies)),
            targets,
            client: client(ANSWER_TIMEOUT)?,
            secret: Secret::auth_token(&SecretString::from(TOKEN)),
            ledger,
            tally: Mutex::default(),
            fault: AtomicBool::new(false),
            rests: AtomicBool::new(false),
        });
        let lanes = std::iter::repeat_n(Sender(Arc::clone(&shared)), AT_ONCE);
        let mut task = JoinSet::new();
        task.spawn(async move { send_all(&schedule, lanes).await });
        Ok(Self { task, shared })
    }

    /// Whether a fault is there now: latencies are those of the fault.
    pub(super) fn in_fault(&self, fault: bool) {
        self.shared.fault.store(fault, Ordering::Relaxed);
    }

    /// Whether nothing more is sent for now, so that a slow machine catches up.
    pub(super) fn rest(&self, rests: bool) {
        self.shared.rests.store(rests, Ordering::Relaxed);
    }

    /// What has been answered so far.
    pub(super) fn tally(&self) -> Tally {
        self.shared.tally().clone()
    }

    /// Where it is written down.
    pub(super) fn ledger(&self) -> &Path {
        self.shared.ledger.path()
    }

    /// Ends it, and waits for what is on its way.
    pub(super) async fn stop(&mut self) -> anyhow::Result<()> {
        self.shared.schedule.stop();
        while let Some(ended) = self.task.join_next().await {
            ended.context("the load panicked")??;
        }
        Ok(())
    }
}

/// One callback at a time. The connections are the client's, which keeps those that can be used again.
#[derive(Clone)]
struct Sender(Arc<Shared>);

impl Lane for Sender {
    async fn send(&mut self, turn: Turn) -> anyhow::Result<()> {
        // While no receiver runs, a balancer would not even ask. What is due during a rest is sent after it.
        while !self.0.schedule.is_stopped() {
            let target = self.0.targets.next(turn.number as usize);
            if let Some(target) = target.filter(|_| !self.0.rests.load(Ordering::Relaxed)) {
                return self.0.send(target).await;
            }
            sleep(LOOK).await;
        }
        Ok(())
    }
}

impl Shared {
    async fn send(&self, target: SocketAddr) -> anyhow::Result<()> {
        let request = self.supply.lock().expect("no lane panics while it is held").next();
        let signed = request.callback.post(&format!("{PUBLIC_URL}{}", request.path), &self.secret);
        let path = signed.url.strip_prefix(PUBLIC_URL).unwrap_or_default();
        let url = format!("http://{target}{path}");
        let fault = self.fault.load(Ordering::Relaxed);
        self.ledger.sends(&request.keys).context("the ledger")?;
        let response = sender::deliver(&self.client, &url, &signed, Some(&signed.signature)).await;
        let response = response.map(|response| (response.status.as_u16(), response.took));
        let answer = match response {
            Ok((200..300, _)) => AnswerClass::Acked,
            Ok(_) => AnswerClass::Refused,
            Err(_) => AnswerClass::Unknown,
        };
        self.ledger.answered(answer, &request.keys).context("the ledger")?;
        self.tally().record(response, fault, request.keys.len() as u64);
        Ok(())
    }

    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().expect("nothing panics while counting")
    }
}
