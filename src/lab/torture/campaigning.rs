//! [`Campaigning`]: a testbed that sends a campaign through a pretend Twilio, from its list to the verdict.

use std::net::SocketAddr;
use std::ops::Range;
use std::time::Duration;

use anyhow::{Context as _, bail};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::Run;
use super::admin_api::AdminApi;
use super::callbacks::Callbacks;
use super::operator::{Operator, Quitting, Seen, list};
use super::provider::{self, Provided, Tempo};
use super::reading;
use super::report::{Facts, Report};
use super::sending::{late, most_in_a_second, states};
use super::sent::KeptAttempt;
use super::sent::campaign::{self, Listed, Quitter, Story};
use super::testbed::Testbed;
use super::verdict::Store;
use crate::lab::twilio::{Behaviour, Simulator};

const TEMPO: Tempo = Tempo::FAST;
/// Fewer recipients would be sent everything before something is killed.
const LEAST: usize = 400;
/// How long a campaign may take beyond three times what it should: its last attempts may be unknown.
const PATIENCE: Duration = Duration::from_secs(60);
/// Until what was sent is settled once the campaign has ended.
const DRAIN_WITHIN: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(250);

/// A testbed that sends a campaign.
pub(super) struct Campaigning {
    pub(super) testbed: Testbed,
    pub(super) facts: Facts,
    simulator: Simulator,
    rng: StdRng,
    name: String,
    run: Run,
    store: Store,
    admin: Vec<SocketAddr>,
    campaign: String,
    listed: Vec<Listed>,
    operator: JoinSet<anyhow::Result<Seen>>,
    quitters: JoinSet<anyhow::Result<Vec<Quitter>>>,
    sent: CancellationToken,
}

impl Campaigning {
    /// Starts the provider, all processes and the campaign; the faults may begin.
    pub(super) async fn begin(
        name: String,
        run: &Run,
        mut testbed: Testbed,
        behaviour: Behaviour,
    ) -> anyhow::Result<Self> {
        let Provided { simulator, admin, receivers } =
            provider::provide(&mut testbed, run, behaviour, &TEMPO).await?;
        let store = testbed.store();
        let Store::Postgres(url) = &store else { bail!("it asks Postgres how far it is") };
        let seconds = usize::try_from(run.duration.as_secs())?;
        let listed = list((TEMPO.rate as usize * seconds).max(LEAST));
        let quitting = async |seed| {
            let callbacks = Callbacks::new(receivers.clone())?;
            Quitting::new(listed.clone(), callbacks, url, seed).await
        };
        let api = AdminApi::new(admin.clone())?;
        let operator = Operator::start(api, &listed, quitting(run.seed).await?).await?;
        let campaign = operator.campaign().to_owned();
        let (sent, over) = (CancellationToken::new(), CancellationToken::new());
        let (mut quitters, mut operating) = (JoinSet::new(), JoinSet::new());
        quitters.spawn(quitting(run.seed ^ 1).await?.run(over.clone()));
        let longest = run.duration * 3 + PATIENCE;
        operating.spawn(operator.run(longest, sent.clone(), over));
        Ok(Self {
            testbed,
            facts: Facts::default(),
            simulator,
            rng: StdRng::seed_from_u64(run.seed),
            name,
            run: run.clone(),
            store,
            admin,
            campaign,
            listed,
            operator: operating,
            quitters,
            sent,
        })
    }

    /// Waits for some milliseconds of this range; whether something waits to be sent then.
    pub(super) async fn goes_on(&mut self, millis: Range<u64>) -> bool {
        let millis = Duration::from_millis(self.rng.random_range(millis));
        self.sent.run_until_cancelled(sleep(millis)).await.is_some()
    }

    /// A random number below `of`.
    pub(super) fn any(&mut self, of: usize) -> usize {
        self.rng.random_range(0..of)
    }

    /// No more faults: waits until all is settled, stops everything, and holds the results and the store against the
    /// provider's ledger.
    pub(super) async fn end(mut self) -> anyhow::Result<Report> {
        let seen = self.operator.join_next().await.context("it runs until the end")?;
        let mut seen = seen.context("what operates")??;
        let quitters = self.quitters.join_next().await.context("they run until the end")?;
        let mut quitters = quitters.context("who says STOP")??;
        quitters.append(&mut seen.quitters);
        let drained = self.drain().await?;
        let told = Operator::results(&AdminApi::new(self.admin.clone())?, &self.campaign).await?;
        let problems = self.testbed.stop();
        self.facts.failures.extend(problems);

        let (kept, ledger) = (reading::read(&self.store).await?, self.simulator.ledger());
        self.tell("braked", seen.braked);
        self.tell("took_s", seen.took.as_secs_f64());
        self.tell("stops", quitters.len());
        self.tell("named", json!(seen.pauses.iter().map(|it| it.named).collect::<Vec<_>>()));
        self.tell("outcomes", states(told.iter().map(|it| &*it.outcome)));
        let story = Story { listed: self.listed.clone(), told, pauses: seen.pauses, quitters };
        let checks = campaign::judge(&story, &kept, &ledger, TEMPO.per_unit());
        self.tell("most_in_a_second", most_in_a_second(&ledger));
        self.tell("late_ms", late(&ledger, &kept));
        self.tell("posts", ledger.posts.len());
        self.tell("messages", ledger.messages.len());
        self.tell("attempts", states(kept.attempts.iter().map(|attempt| &*attempt.state)));
        self.tell("drain_ms", drained.map(|took| took.as_millis() as u64));
        self.facts.failures.extend(checks.iter().filter_map(|it| it.failure()));
        let (asked, facts) = (self.listed.len(), self.facts);
        Ok(Report::of_sending(self.name, &self.run, asked, &checks, facts))
    }

    fn tell(&mut self, name: &str, value: impl Into<Value>) {
        self.facts.details.insert(name.to_owned(), value.into());
    }

    /// Waits until every attempt is settled and every callback was taken; how long that took.
    async fn drain(&self) -> anyhow::Result<Option<Duration>> {
        let began = Instant::now();
        self.simulator.settled().await;
        while began.elapsed() < DRAIN_WITHIN {
            let kept = reading::read(&self.store).await?;
            if kept.attempts.iter().all(KeptAttempt::is_settled) && kept.wakes == 0 {
                return Ok(Some(began.elapsed()));
            }
            sleep(POLL).await;
        }
        Ok(None)
    }
}
