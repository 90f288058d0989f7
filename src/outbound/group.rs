//! Group commit of the two commits that each attempt needs: to `writing` before its POST, and of its answer after it.
//! While one runs, the next gathers by itself.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tracing::{debug, warn};

use super::gate::Gates;
use super::{Outbound, SendMetrics};
use crate::backend::Outbox;
use crate::backend::outbox::{Answered, Gated, Known, WriteAsk, Written};
use crate::clock::Timestamp;
use crate::crash_points::{self, Point, Sabotage};
use crate::dispatch::pace::Lateness;
use crate::event::AttemptId;
use crate::outage::Outage;
use crate::retry::Backoff;

/// Most attempts of one commit.
const AT_ONCE: usize = 128;
/// Most that wait. Each has a task, of which there are no more than requests in flight and slots that were claimed.
const QUEUE: usize = 4096;
/// How often an answer is tried to be stored: for about ten minutes. What is not stored then is unknown, and looked for.
const TRIES: u32 = 120;

/// An attempt that is to be committed to `writing`.
struct ToWrite {
    id: AttemptId,
    done: oneshot::Sender<Written>,
}

/// Commits attempts to `writing`. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Writes(mpsc::Sender<ToWrite>);

impl Writes {
    /// Commits an attempt, or reports what is in the way. One whose commit failed counts as lost: the store knows
    /// whether it is in `writing`, and its lease ends.
    pub(super) async fn write(&self, id: AttemptId) -> Written {
        let (done, written) = oneshot::channel();
        if self.0.send(ToWrite { id, done }).await.is_err() {
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
    let Outbound { outbox, config, metrics, .. } = outbound.clone();
    let commit = async move {
        let mut group: Vec<ToWrite> = Vec::new();
        while waiting.recv_many(&mut group, AT_ONCE).await > 0 {
            let ids = group.iter().map(|one| one.id).collect();
            let ask = WriteAsk { ids, late_after: lateness.allowed(), ..ask.clone() };
            let gates = Gates::new(config.now().rules.clone());
            let ask_gates = |known: &Known, now: Timestamp| match crash_points::is_sabotaged(
                Sabotage::GateNotReadAgain,
            ) {
                true => Gated::Pass,
                false => gates.ask(known, now),
            };
            match outbox.write(&ask, &ask_gates).await {
                Ok(written) => {
                    crash_points::point(Point::Writing);
                    let any = |is: fn(&Written) -> bool| written.iter().any(|(_, it)| is(it));
                    let sends = any(|it| matches!(it, Written::Send(_)));
                    lateness.learn(sends, any(|it| *it == Written::Back(None)));
                    for (one, (_, written)) in group.drain(..).zip(written) {
                        let _ = one.done.send(written);
                    }
                }
                Err(error) => {
                    metrics.store_errors.inc();
                    debug!(error = %error, "attempts could not be committed to writing");
                    group.clear();
                }
            }
        }
    };
    (Writes(sender), commit)
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
pub(super) fn answers(
    outbox: Outbox,
    metrics: SendMetrics,
    news: watch::Sender<()>,
) -> (Answers, impl Future<Output = ()>) {
    let (sender, mut waiting) = mpsc::channel(QUEUE);
    let commit = async move {
        let (mut group, outage) = (Vec::new(), Outage::default());
        while waiting.recv_many(&mut group, AT_ONCE).await > 0 {
            store(&outbox, &group, &outage, &metrics).await;
            crash_points::point(Point::Answered);
            // There is room for others.
            news.send_replace(());
            group.clear();
        }
    };
    (Answers(sender), commit)
}

/// Stores answers, however often that fails: an answer that is not stored is an outcome that is not known.
async fn store(outbox: &Outbox, group: &[Answered], outage: &Outage, metrics: &SendMetrics) {
    let mut backoff = Backoff::default();
    for _ in 0..TRIES {
        match outbox.answer(group).await {
            Ok(stored) => {
                if let Some(over) = outage.ends() {
                    let (failures, lasted_s) = (over.failures, over.seconds());
                    warn!(failures, lasted_s, "answers of Twilio are stored again");
                }
                metrics.duplicates.inc_by(stored.duplicates);
                stored.outcomes.iter().for_each(|state| metrics.settled(*state));
                if stored.late > 0 {
                    debug!(late = stored.late, "answers came after their attempts were settled");
                }
                return;
            }
            Err(error) if outage.begins() => {
                warn!(error = %error, "answers of Twilio cannot be stored: they are kept in memory and stored later");
            }
            Err(error) => debug!(error = %error, "answers of Twilio cannot be stored"),
        }
        tokio::time::sleep(backoff.next_wait().min(Duration::from_secs(5))).await;
    }
    warn!(answers = group.len(), "answers of Twilio are given up: their attempts become unknown");
}
