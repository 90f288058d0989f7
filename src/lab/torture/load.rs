//! [`Load`]: callbacks as Twilio would send them, signed, with duplicates and reordering, at a rate,
//! until told to stop. Does not send again what was refused: the ledger has it.

mod supply;
mod tally;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context as _;
use secrecy::SecretString;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use self::supply::Supply;
pub(super) use self::tally::Tally;
use super::ledger::{Answer, Ledger};
use super::stage::{ACCOUNT, PUBLIC_URL, TOKEN};
use crate::http::client;
use crate::lab::sender;
use crate::lab::traffic::Request;
use crate::twilio::keyring::Secret;

/// As long as Twilio waits.
const PATIENCE: Duration = Duration::from_secs(15);
/// How often some are sent.
const TICK: Duration = Duration::from_millis(10);
/// Most requests at one time. When so many wait, the rate falls.
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
    /// As a load balancer is told of one that comes or goes.
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
    stop: CancellationToken,
    shared: Arc<Shared>,
}

struct Shared {
    targets: Targets,
    client: reqwest::Client,
    secret: Secret,
    ledger: Ledger,
    tally: Mutex<Tally>,
    /// Latencies count while it is set.
    fault: AtomicBool,
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
        let shared = Arc::new(Shared {
            targets,
            client: client(PATIENCE)?,
            secret: Secret::auth_token(&SecretString::from(TOKEN)),
            ledger,
            tally: Mutex::default(),
            fault: AtomicBool::new(false),
        });
        let stop = CancellationToken::new();
        let mut task = JoinSet::new();
        let supply = Supply::new(seed, ACCOUNT, volume.copies);
        task.spawn(send_all(supply, volume.rate, Arc::clone(&shared), stop.clone()));
        Ok(Self { task, stop, shared })
    }

    /// Whether a fault is there now: latencies are those of the fault.
    pub(super) fn in_fault(&self, fault: bool) {
        self.shared.fault.store(fault, Ordering::Relaxed);
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
        self.stop.cancel();
        while let Some(ended) = self.task.join_next().await {
            ended.context("the load panicked")??;
        }
        Ok(())
    }
}

async fn send_all(
    mut supply: Supply,
    rate: usize,
    shared: Arc<Shared>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let (slots, mut senders) = (Arc::new(Semaphore::new(AT_ONCE)), JoinSet::new());
    let mut ticks = interval(TICK);
    // A machine that fell behind does not send the rest at once.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut turn, mut due) = (0, 0.0);
    while !stop.is_cancelled() {
        ticks.tick().await;
        due += rate as f64 * TICK.as_secs_f64();
        while due >= 1.0 {
            due -= 1.0;
            // Nobody is there: a balancer would not even ask.
            let Some(target) = shared.targets.next(turn) else { break };
            turn += 1;
            let slot = Arc::clone(&slots).acquire_owned().await.context("it is never closed")?;
            let (request, shared) = (supply.next(), Arc::clone(&shared));
            senders.spawn(async move {
                let _slot = slot;
                shared.send(target, &request).await
            });
        }
        while let Some(sent) = senders.try_join_next() {
            sent.context("a sender panicked")??;
        }
    }
    while let Some(sent) = senders.join_next().await {
        sent.context("a sender panicked")??;
    }
    Ok(())
}

impl Shared {
    async fn send(&self, target: SocketAddr, request: &Request) -> anyhow::Result<()> {
        let signed = request.callback.post(&format!("{PUBLIC_URL}{}", request.path), &self.secret);
        let path = signed.url.strip_prefix(PUBLIC_URL).unwrap_or_default();
        let url = format!("http://{target}{path}");
        let fault = self.fault.load(Ordering::Relaxed);
        self.ledger.sends(&request.keys).context("the ledger")?;
        let answer = sender::deliver(&self.client, &url, &signed, Some(&signed.signature)).await;
        let (answer, other, took) = match answer {
            Ok(answer) if answer.status.is_success() => (Answer::Acked, None, Some(answer.took)),
            Ok(answer) if answer.status == 503 => (Answer::Refused, None, Some(answer.took)),
            Ok(answer) => (Answer::Refused, Some(answer.status.as_u16()), None),
            Err(error) => {
                self.tally().why_unknown = Some(format!("{:#}", anyhow::Error::from(error)));
                (Answer::Unknown, None, None)
            }
        };
        self.ledger.answered(answer, &request.keys).context("the ledger")?;
        self.tally().count(answer, other, took.filter(|_| fault));
        Ok(())
    }

    fn tally(&self) -> std::sync::MutexGuard<'_, Tally> {
        self.tally.lock().expect("nobody panics while counting")
    }
}
