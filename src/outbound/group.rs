//! Group commit of the two commits that each attempt needs: to `writing` before its POST, and of its answer after it.
//! While one runs, the next gathers by itself. A group that the store refuses as data is halved, so that one row that it
//! does not take holds no other.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, timeout};
use tracing::{debug, info, warn};

use super::Outbound;
use super::gate::Gates;
use crate::backend::Outbox;
use crate::backend::outbox::{
    Answered, AnswersStored, Claimed, Gated, Known, Outcome, WriteAsk, Written,
};
use crate::clock::Timestamp;
use crate::crash_points::{self, Point, Sabotage};
use crate::dispatch::pace::Lateness;
use crate::outage::Outage;
use crate::pipeline::CommitError;
use crate::retry::Backoff;
use crate::twilio::rest::Doubt;

/// Most attempts of one commit.
const AT_ONCE: usize = 128;
/// Most that wait. Each has a task, of which there are no more than requests in flight and slots that were claimed.
const QUEUE: usize = 4096;
/// How long an attempt waits that the store refuses as data, so that it takes no slots of others.
const SET_ASIDE: Duration = Duration::from_secs(60);
/// How often an answer is tried to be stored: for about ten minutes. What is not stored then is unknown, and looked for.
const TRIES: u32 = 120;

/// An attempt that is to be committed to `writing`.
struct ToWrite {
    claim: Claimed,
    done: oneshot::Sender<Written>,
}

/// The shortest and the longest time before its slot at which an attempt is committed to `writing`. What its gates say
/// may be as old as that when its request leaves.
const LEAD: [Duration; 2] = [Duration::from_millis(8), Duration::from_millis(80)];

/// Commits attempts to `writing`. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Writes {
    waiting: mpsc::Sender<ToWrite>,
    /// How long a commit takes, in microseconds: the longest of the last few.
    takes: Arc<AtomicU64>,
}

impl Writes {
    /// How long before its slot an attempt is to be committed, so that its request can leave in it: it may have to wait
    /// for the commit before its own.
    pub(super) fn lead(&self) -> Duration {
        let takes = Duration::from_micros(self.takes.load(Ordering::Relaxed));
        let [shortest, longest] = LEAD;
        (takes * 2).clamp(shortest, longest)
    }

    /// Commits an attempt, or reports what is in the way. One whose commit failed counts as lost: the store knows
    /// whether it is in `writing`, and its lease ends.
    pub(super) async fn write(&self, claim: Claimed) -> Written {
        let (done, written) = oneshot::channel();
        if self.waiting.send(ToWrite { claim, done }).await.is_err() {
            return Written::Lost;
        }
        written.await.unwrap_or(Written::Lost)
    }
}

/// What [`Writes`] hands over, and what commits it until the last of them is gone.
pub(super) fn writes(
    outbound: &Outbound,
    ask: WriteAsk,
    mut lateness: Lateness,
) -> (Writes, impl Future<Output = ()> + use<>) {
    let (sender, mut waiting) = mpsc::channel(QUEUE);
    let Outbound { outbox, config, metrics, news, .. } = outbound.clone();
    // The first are the slowest, on connections and with statements that are new.
    let takes =
        Arc::new(AtomicU64::new(u64::try_from(LEAD[1].as_micros() / 2).unwrap_or_default()));
    let writes = Writes { waiting: sender, takes: Arc::clone(&takes) };
    let commit = async move {
        let mut group: Vec<ToWrite> = Vec::new();
        let mut in_doubt = InDoubt::default();
        loop {
            let received = in_doubt.meanwhile(waiting.recv_many(&mut group, AT_ONCE)).await;
            in_doubt.take_back(&outbox, &news).await;
            match received {
                None => continue,
                Some(0) => return,
                Some(_) => {}
            }
            let mut parts = vec![std::mem::take(&mut group)];
            while let Some(mut part) = parts.pop() {
                let claims = part.iter().map(|one| one.claim).collect();
                let config = config.now();
                let ask = WriteAsk {
                    claims,
                    late_after: lateness.allowed(),
                    lines: config.lines(),
                    ..ask.clone()
                };
                let (gates, began) = (Gates::new(config.rules.clone()), Instant::now());
                match outbox.write(&ask, &|known, now| ask_again(&gates, known, now)).await {
                    Ok(written) => {
                        let took = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
                        let before = takes.load(Ordering::Relaxed);
                        takes.store(took.max(before - before / 16), Ordering::Relaxed);
                        crash_points::point(Point::Writing);
                        let any = |is: fn(&Written) -> bool| written.iter().any(is);
                        let sends = any(|it| matches!(it, Written::Send(_)));
                        lateness.learn(sends, any(|it| *it == Written::Late));
                        for (one, written) in part.into_iter().zip(written) {
                            let _ = one.done.send(written);
                        }
                    }
                    Err(CommitError::Refused(_)) if part.len() > 1 => {
                        let rest = part.split_off(part.len() / 2);
                        parts.extend([rest, part]);
                    }
                    Err(CommitError::Refused(why)) => {
                        metrics.store_errors.inc();
                        for ToWrite { claim, .. } in &part {
                            warn!(
                                attempt = %claim.id,
                                error = why,
                                again_s = SET_ASIDE.as_secs(),
                                "the store does not take a message to be sent: it waits, and others are sent before it"
                            );
                            // If this fails as well, its lease ends.
                            let _ = outbox.set_aside(claim.id, &ask.holder, SET_ASIDE).await;
                        }
                    }
                    Err(error) => {
                        metrics.store_errors.inc();
                        debug!(error = %error, "attempts could not be committed to writing");
                        in_doubt.add(part.iter().map(|one| one.claim));
                    }
                }
            }
        }
    };
    (writes, commit)
}

/// Attempts whose commit to `writing` has failed. If only the answer to it was lost they are in `writing`, and would be
/// unknown once their lease ends, although nothing was sent.
#[derive(Default)]
struct InDoubt(Vec<Claimed>);

impl InDoubt {
    /// How often the store is told.
    const EVERY: Duration = Duration::from_secs(1);

    /// The longest in doubt are dropped if there are too many: their lease ends.
    fn add(&mut self, claims: impl Iterator<Item = Claimed>) {
        self.0.extend(claims);
        let too_many = self.0.len().saturating_sub(QUEUE);
        self.0.drain(..too_many);
    }

    /// What comes of some work; `None` if it is time to tell the store.
    async fn meanwhile<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        match self.0.is_empty() {
            true => Some(work.await),
            false => timeout(Self::EVERY, work).await.ok(),
        }
    }

    /// Makes them due again, if the store answers.
    async fn take_back(&mut self, outbox: &Outbox, news: &watch::Sender<()>) {
        if self.0.is_empty() {
            return;
        }
        match outbox.take_back(&self.0).await {
            Ok(()) => {
                info!(
                    attempts = self.0.len(),
                    "the store answers again: none of the attempts whose commit was in doubt was sent, and they wait for their turn"
                );
                self.0.clear();
                news.send_replace(());
            }
            Err(error) => debug!(error = %error, "attempts in doubt cannot be made due again"),
        }
    }
}

fn ask_again(gates: &Gates, known: &Known, now: Timestamp) -> Gated {
    match crash_points::is_sabotaged(Sabotage::GateNotReadAgain) {
        true => Gated::Pass,
        false => gates.ask(known, now),
    }
}

/// Stores answers. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Answers(mpsc::Sender<Answered>);

impl Answers {
    /// Hands an answer over.
    pub(super) async fn store(&self, answered: Answered) {
        let _ = self.0.send(answered).await;
    }
}

/// What [`Answers`] hands over, and what stores it until the last of them is gone.
pub(super) fn answers(outbound: &Outbound) -> (Answers, impl Future<Output = ()> + use<>) {
    let (sender, mut waiting) = mpsc::channel(QUEUE);
    let storing = Storing { outbound: outbound.clone(), outage: Outage::default() };
    let commit = async move {
        let mut group = Vec::new();
        while waiting.recv_many(&mut group, AT_ONCE).await > 0 {
            storing.store(&group).await;
            crash_points::point(Point::Answered);
            storing.outbound.answered.send_replace(());
            // What was not sent is due again.
            if !group.iter().all(|one| matches!(one.outcome, Outcome::Accepted { .. })) {
                storing.outbound.news.send_replace(());
            }
            group.clear();
        }
    };
    (Answers(sender), commit)
}

/// Stores answers.
struct Storing {
    outbound: Outbound,
    outage: Outage,
}

impl Storing {
    /// Stores a group, and what is refused of it as what is known then: nothing.
    async fn store(&self, group: &[Answered]) {
        let mut parts = vec![group];
        while let Some(part) = parts.pop() {
            match self.patiently(part).await {
                Ok(stored) => self.count(&stored),
                Err(CommitError::Refused(_) | CommitError::Late(_)) if part.len() > 1 => {
                    let (left, right) = part.split_at(part.len() / 2);
                    parts.extend([right, left]);
                }
                Err(CommitError::Refused(why)) => {
                    for Answered { id, tries, .. } in part {
                        warn!(attempt = %id, error = why, "the store does not take an answer of Twilio: what it says is unknown, and looked for");
                        let reason = Doubt::Unreadable.as_str().to_owned();
                        let look_after = self.outbound.config.now().first_look();
                        let outcome = Outcome::Unknown { reason, look_after };
                        match self.patiently(&[Answered { id: *id, tries: *tries, outcome }]).await
                        {
                            Ok(stored) => self.count(&stored),
                            Err(error) => give_up(part, &error),
                        }
                    }
                }
                Err(error) => give_up(part, &error),
            }
        }
    }

    /// Tries as long as that may help.
    async fn patiently(&self, answers: &[Answered]) -> Result<AnswersStored, CommitError> {
        let mut backoff = Backoff::default();
        for _ in 1..TRIES {
            match self.outbound.outbox.answer(answers).await {
                Ok(stored) => {
                    if let Some(over) = self.outage.ends() {
                        let (failures, lasted_s) = (over.failures, over.seconds());
                        warn!(failures, lasted_s, "answers of Twilio are stored again");
                    }
                    return Ok(stored);
                }
                Err(error @ CommitError::Refused(_)) => return Err(error),
                Err(error @ CommitError::Late(_)) if answers.len() > 1 => return Err(error),
                Err(error) if self.outage.begins() => {
                    warn!(error = %error, "answers of Twilio cannot be stored: they are kept in memory and stored later");
                }
                Err(error) => debug!(error = %error, "answers of Twilio cannot be stored"),
            }
            tokio::time::sleep(backoff.next_wait().min(Duration::from_secs(5))).await;
        }
        self.outbound.outbox.answer(answers).await
    }

    fn count(&self, stored: &AnswersStored) {
        self.outbound.metrics.duplicates.inc_by(stored.duplicates);
        self.outbound.concluded(&stored.concluded);
        if stored.late > 0 {
            debug!(late = stored.late, "answers came after their attempts were settled");
        }
    }
}

fn give_up(answers: &[Answered], error: &CommitError) {
    let answers = answers.len();
    warn!(answers, error = %error, "answers of Twilio are given up: their attempts become unknown");
}
