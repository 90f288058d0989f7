//! [`Sending`]: a testbed that sends through a pretend Twilio, from the first request to the verdict.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context as _;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::Run;
use super::asking::{By, ask};
use super::meddling::Meddler;
use super::provider::{self, Provided, Tempo};
use super::reading;
use super::report::{Facts, Report};
use super::sent::{self, Acknowledged, Check, Kept, KeptAttempt, Meddled};
use super::testbed::Testbed;
use super::verdict::Store;
use crate::lab::twilio::{Behaviour, Ledger, Simulator};

/// Until all must have an end once everything works again: longer than every lease and every time-out below.
const DRAIN_WITHIN: Duration = Duration::from_secs(90);
const POLL: Duration = Duration::from_millis(250);
/// Work without faults, before and after them.
const CALM: Duration = Duration::from_millis(500);

/// What is asked about what was sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Question {
    /// Each message by itself.
    Sending,
    /// A message, a call if that is not confirmed, and an email after both.
    Chain,
    /// Whether each has a final status in the end, although callbacks are lost.
    Finals,
}

impl Question {
    fn by(self) -> By {
        match self {
            Self::Sending | Self::Finals => By::Sender("alerts"),
            Self::Chain => By::Route("urgent"),
        }
    }

    /// Whether what has to come by itself has come.
    fn is_over(self, kept: &Kept) -> bool {
        match self {
            Self::Sending => true,
            Self::Chain => kept.notifications.values().all(|state| state != "open"),
            Self::Finals => kept.sids.iter().all(|it| kept.finals.contains_key(&it.sid)),
        }
    }
}

/// A testbed that sends.
pub(super) struct Sending {
    pub(super) testbed: Testbed,
    pub(super) simulator: Simulator,
    pub(super) facts: Facts,
    rng: StdRng,
    name: String,
    question: Question,
    run: Run,
    store: Store,
    until: Instant,
    acknowledged: Arc<Mutex<Vec<Acknowledged>>>,
    asker: JoinSet<anyhow::Result<()>>,
    no_more: CancellationToken,
    meddler: JoinSet<anyhow::Result<Meddled>>,
    enough: CancellationToken,
}

/// How often something came of looking for what was unknown.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct LookedUp {
    pub(super) resent: usize,
    pub(super) inferred: usize,
    pub(super) perhaps: usize,
}

impl LookedUp {
    fn of(kept: &Kept) -> Self {
        let is_perhaps = |it: &&KeptAttempt| it.reason.as_deref() == Some("perhaps");
        Self {
            resent: kept.attempts.iter().filter(|it| it.number > 1).count(),
            inferred: kept.sids.iter().filter(|it| it.proof == "look-up").count(),
            perhaps: kept.attempts.iter().filter(is_perhaps).count(),
        }
    }

    /// Whether each has come of it.
    pub(super) fn has_all(self) -> bool {
        self.resent > 0 && self.inferred > 0 && self.perhaps > 0
    }
}

impl Sending {
    /// Starts the provider, all processes and what asks them to send; the faults may begin.
    pub(super) async fn begin(
        name: String,
        run: &Run,
        mut testbed: Testbed,
        behaviour: Behaviour,
        question: Question,
    ) -> anyhow::Result<Self> {
        let Provided { simulator, admin, receivers } =
            provider::provide(&mut testbed, run, behaviour, &Tempo::USUAL).await?;
        let (no_more, enough) = (CancellationToken::new(), CancellationToken::new());
        let acknowledged: Arc<Mutex<Vec<Acknowledged>>> = Arc::default();
        let meddler = Meddler::new(admin.clone(), receivers, Arc::clone(&acknowledged), run.seed)?;
        let mut asker = JoinSet::new();
        asker.spawn(ask(question.by(), admin, Arc::clone(&acknowledged), no_more.clone()));
        sleep(CALM).await;
        let mut meddling = JoinSet::new();
        meddling.spawn(meddler.run(enough.clone()));
        Ok(Self {
            store: testbed.store(),
            testbed,
            simulator,
            facts: Facts::default(),
            rng: StdRng::seed_from_u64(run.seed),
            name,
            question,
            run: run.clone(),
            until: Instant::now() + run.duration,
            acknowledged,
            asker,
            no_more,
            meddler: meddling,
            enough,
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
        self.enough.cancel();
        let meddled = self.meddler.join_next().await.context("it meddles until there is enough")?;
        let meddled = meddled.context("what meddles")??;
        self.no_more.cancel();
        while let Some(ended) = self.asker.join_next().await {
            ended.context("what asks to send")??;
        }
        let drained = self.drain().await?;
        if drained.is_none() {
            let failure = format!("not all had an end after {} s", DRAIN_WITHIN.as_secs());
            self.facts.failures.push(failure);
        }
        let problems = self.testbed.stop();
        self.facts.failures.extend(problems);

        let kept = reading::read(&self.store).await?;
        let ledger = self.simulator.ledger();
        let acknowledged =
            std::mem::take(&mut *self.acknowledged.lock().expect("nothing panics with it"));
        let checks = self.judge(&acknowledged, &kept, &ledger, &meddled);
        let LookedUp { resent, inferred, perhaps } = LookedUp::of(&kept);
        self.tell(
            "looked_up",
            json!({ "resent": resent, "inferred": inferred, "perhaps": perhaps }),
        );
        self.tell("most_in_a_second", most_in_a_second(&ledger));
        self.tell("late_ms", late(&ledger, &kept));
        self.tell("posts", ledger.posts.len());
        self.tell("messages", ledger.messages.len());
        self.tell("calls", ledger.calls.len());
        self.tell("mails", ledger.mails.len());
        self.tell("attempts", states(kept.attempts.iter().map(|attempt| &*attempt.state)));
        self.tell("notifications", states(kept.notifications.values().map(String::as_str)));
        self.tell("drain_ms", drained.map(|took| took.as_millis() as u64));
        self.facts.failures.extend(checks.iter().filter_map(|it| it.failure()));
        let (asked, facts) = (acknowledged.len(), self.facts);
        Ok(Report::of_sending(self.name, &self.run, asked, &checks, facts))
    }

    fn judge(
        &self,
        acknowledged: &[Acknowledged],
        kept: &Kept,
        ledger: &Ledger,
        meddled: &Meddled,
    ) -> Vec<Check> {
        match self.question {
            Question::Sending => {
                let mut checks =
                    sent::judge(acknowledged, kept, ledger, meddled, Tempo::USUAL.per_unit());
                // Only where what is unknown stays so long enough; that scenario sees to it itself.
                checks.retain(|it| it.name != "explained" || it.judged > 0);
                checks
            }
            Question::Chain => sent::chain::judge(acknowledged, kept, ledger),
            Question::Finals => sent::lost::judge(acknowledged, kept, ledger),
        }
    }

    /// Something that only this scenario has to tell.
    pub(super) fn tell(&mut self, name: &str, value: impl Into<Value>) {
        self.facts.details.insert(name.to_owned(), value.into());
    }

    /// Waits until no attempt waits or is on its way, and every callback was taken; how long that took.
    async fn drain(&self) -> anyhow::Result<Option<Duration>> {
        let (began, mut are_reported) = (Instant::now(), false);
        while began.elapsed() < DRAIN_WITHIN {
            // A store that was just killed may not answer yet.
            let kept = reading::read(&self.store).await.unwrap_or_default();
            let are_settled = kept.attempts.iter().all(KeptAttempt::is_settled);
            let are_settled = are_settled && self.question.is_over(&kept);
            if !kept.attempts.is_empty() && are_settled && kept.wakes == 0 {
                if are_reported {
                    return Ok(Some(began.elapsed()));
                }
                self.simulator.settled().await;
                // What the last callbacks say is looked at, too.
                are_reported = true;
            }
            sleep(POLL).await;
        }
        Ok(None)
    }

    /// What has come of looking for what was unknown.
    pub(super) async fn looked_up(&self) -> LookedUp {
        reading::read(&self.store).await.as_ref().map(LookedUp::of).unwrap_or_default()
    }
}

/// The most requests that the provider had within a second.
pub(super) fn most_in_a_second(ledger: &Ledger) -> usize {
    let mut times: Vec<i64> = ledger.posts.iter().map(|post| post.at.micros()).collect();
    times.sort_unstable();
    let within = |first: usize| times.partition_point(|at| *at < times[first] + 1_000_000) - first;
    (0..times.len()).map(within).max().unwrap_or_default()
}

/// How long after their slots the requests of attempts that took one came to the provider, in milliseconds.
pub(super) fn late(ledger: &Ledger, kept: &Kept) -> Value {
    let slots = kept.attempts.iter().filter(|it| it.tries == 1);
    let slots: HashMap<&str, i64> = slots.filter_map(|it| Some((&*it.id, it.send_at?))).collect();
    let late = ledger.posts.iter().filter_map(|post| {
        let slot = slots.get(post.attempt.as_deref()?)?;
        Some((post.at.micros() - slot) as f64 / 1e3)
    });
    let mut late: Vec<f64> = late.collect();
    late.sort_by(f64::total_cmp);
    let at =
        |share: f64| late.get(((late.len() as f64 * share) as usize).min(late.len().max(1) - 1));
    json!({ "p50": at(0.5), "p99": at(0.99), "max": late.last() })
}

/// How many of each.
pub(super) fn states<'s>(all: impl Iterator<Item = &'s str>) -> Value {
    let mut counts: HashMap<&str, u64> = HashMap::new();
    all.for_each(|state| *counts.entry(state).or_default() += 1);
    json!(counts)
}
