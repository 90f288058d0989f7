//! [`Operator`]: runs a campaign as a person does, pauses it and lets it go on, and resumes it if it has stopped itself.
//! Meanwhile some of its recipients say STOP.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::json;
use sqlx::Connection as _;
use sqlx::postgres::PgConnection;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::admin_api::AdminApi;
use super::callbacks::Callbacks;
use super::sent::campaign::{Listed, Paused, Quitter, Told};
use super::testbed::ACCOUNT;
use crate::clock::Clock;
use crate::dispatch::country::{Country, Number};
use crate::lab::sample::{self, Parties};

/// How often a campaign is paused.
const PAUSES: usize = 2;
/// Recipients between two of whom the first says STOP: far fewer than stop a campaign.
const BETWEEN_STOPS: usize = 100;
/// How far ahead of what is sent a STOP comes at least and at most: in time, and for some that are handed over already.
const AHEAD: [usize; 2] = [40, 1_500];
/// What a campaign begins with, before it goes on to the rest.
const TRIAL: usize = 100;
const POLL: Duration = Duration::from_millis(50);
/// Longest wait until a STOP that was answered is in the store: its process may have been killed, and come back.
const LONGEST: Duration = Duration::from_secs(60);

/// Since the epoch, in microseconds: the clock of the processes and of their store.
fn now() -> i64 {
    Clock::System.now().micros()
}

/// A number of recipients in the United States, with the numbers for fiction of each area.
pub(super) fn list(recipients: usize) -> Vec<Listed> {
    let home = Country::parse("US");
    let is_at_home = |number: &String| {
        let number = Number::parse(number).expect("it is one of America");
        number.country() == home && !number.is_barred()
    };
    let areas = 201..=989;
    let numbers =
        areas.flat_map(|area| (0..100).map(move |line| format!("+1{area}55501{line:02}")));
    let listed = numbers.filter(is_at_home).take(recipients).enumerate();
    listed.map(|(at, to)| Listed { key: format!("r{at}"), to }).collect()
}

/// A list as a file: every fiftieth recipient is on it twice.
fn csv(listed: &[Listed]) -> String {
    let mut text = "to,key,name\n".to_owned();
    for (at, Listed { key, to }) in listed.iter().enumerate() {
        let row = format!("{to},{key},Ana {at}\n");
        text.push_str(&row.repeat(if at % 50 == 0 { 2 } else { 1 }));
    }
    text
}

/// Asks any process, and looks into the store.
pub(super) struct Operator {
    api: AdminApi,
    campaign: String,
    recipients: usize,
    quitting: Quitting,
}

/// What an operator has seen.
#[derive(Default, Debug)]
pub(super) struct Seen {
    pub(super) pauses: Vec<Paused>,
    /// Who has said STOP during a pause: in time, for sure.
    pub(super) quitters: Vec<Quitter>,
    /// How often the campaign has stopped itself.
    pub(super) braked: usize,
    /// From its start to its end, without the pauses.
    pub(super) took: Duration,
}

impl Operator {
    /// Plans a campaign by this list and starts it.
    pub(super) async fn start(
        api: AdminApi,
        listed: &[Listed],
        quitting: Quitting,
    ) -> anyhow::Result<Self> {
        const BOUNDARY: &str = "torture-torture-torture";
        let field = |name: &str, more: &str, value: &str| {
            format!(
                "--{BOUNDARY}\r\ncontent-disposition: form-data; name=\"{name}\"{more}\r\n\r\n{value}\r\n"
            )
        };
        let fields = [
            ("name", "Torture"),
            ("purpose", "transactional"),
            ("sender", "alerts"),
            ("text", "Dear {{ name }}, your order has left."),
            ("on_unknown", "report"),
        ];
        let mut body: String = fields.iter().map(|(name, value)| field(name, "", value)).collect();
        let file = "; filename=\"list.csv\"\r\ncontent-type: text/csv";
        body += &field("recipients", file, &csv(listed));
        body += &format!("--{BOUNDARY}--\r\n");
        let kind = format!("multipart/form-data; boundary={BOUNDARY}");
        let made = api.send("/api/campaigns", Some((&kind, &body))).await?;
        let campaign = made["id"].as_str().with_context(|| format!("no id: {made}"))?.to_owned();
        let path = format!("/api/campaigns/{campaign}/start");
        api.post(&path, Some(&json!({ "recipients": listed.len() }))).await?;
        Ok(Self { api, campaign, recipients: listed.len(), quitting })
    }

    fn path(&self, what: &str) -> String {
        format!("/api/campaigns/{}{what}", self.campaign)
    }

    /// Goes on until the campaign has ended, or for as long as that may take. `sent` is cancelled once nothing waits to be
    /// sent, and `over` at the end.
    pub(super) async fn run(
        mut self,
        longest: Duration,
        sent: CancellationToken,
        over: CancellationToken,
    ) -> anyhow::Result<Seen> {
        let (_sent, _over) = (sent.clone().drop_guard(), over.drop_guard());
        let (began, mut seen, mut paused) = (Instant::now(), Seen::default(), Duration::ZERO);
        loop {
            let state = self.api.get(&self.path("")).await?["state"].clone();
            match state.as_str().context("a campaign has a state")? {
                "finished" => break,
                "stopped" => {
                    seen.braked += 1;
                    self.api.post(&self.path("/resume"), None).await?;
                }
                _ => {}
            }
            let due = self.recipients * (seen.pauses.len() + 1) / (PAUSES + 1);
            if seen.pauses.len() < PAUSES && written(&mut self.quitting.store).await? >= due {
                let before = Instant::now();
                self.pause(&mut seen).await?;
                paused += before.elapsed();
            }
            if has_left(&mut self.quitting.store).await? {
                sent.cancel();
            }
            let is_late = || format!("the campaign is {state} after {:?}", began.elapsed());
            ensure!(began.elapsed() < longest, is_late());
            sleep(POLL).await;
        }
        seen.took = began.elapsed().saturating_sub(paused);
        Ok(seen)
    }

    async fn pause(&mut self, seen: &mut Seen) -> anyhow::Result<()> {
        /// Longer than the slots that were given before it last.
        const LASTS: Duration = Duration::from_millis(500);
        let answer = self.api.post(&self.path("/pause"), None).await?;
        let from = now();
        let named = answer["in_writing"].as_u64().context("it says how many are on their way")?;
        sleep(LASTS).await;
        let written = written(&mut self.quitting.store).await?;
        seen.quitters.extend(self.quitting.one(written).await?);
        let until = now();
        self.api.post(&self.path("/resume"), None).await?;
        seen.pauses.push(Paused { from, until, named: usize::try_from(named)? });
        Ok(())
    }

    /// What the results say of everyone.
    pub(super) async fn results(api: &AdminApi, campaign: &str) -> anyhow::Result<Vec<Told>> {
        let path = format!("/api/campaigns/{campaign}/results?format=ndjson");
        let told = api.lines(&path).await?.into_iter().map(|line| {
            let text = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
            Told { key: text("key"), outcome: text("outcome") }
        });
        Ok(told.collect())
    }

    pub(super) fn campaign(&self) -> &str {
        &self.campaign
    }
}

/// Recipients of a list who say STOP.
pub(super) struct Quitting {
    listed: Vec<Listed>,
    callbacks: Callbacks,
    store: PgConnection,
    rng: StdRng,
}

impl Quitting {
    pub(super) async fn new(
        listed: Vec<Listed>,
        callbacks: Callbacks,
        store: &str,
        seed: u64,
    ) -> anyhow::Result<Self> {
        let rng = StdRng::seed_from_u64(seed);
        Ok(Self { listed, callbacks, store: PgConnection::connect(store).await?, rng })
    }

    /// Lets some recipients say it, one after the other, until the campaign is over.
    pub(super) async fn run(mut self, over: CancellationToken) -> anyhow::Result<Vec<Quitter>> {
        let (mut quitters, mut next): (Vec<Quitter>, usize) = (Vec::new(), TRIAL);
        while over.run_until_cancelled(sleep(POLL)).await.is_some() {
            let written = written(&mut self.store).await?;
            if written >= next {
                next = written + BETWEEN_STOPS;
                quitters.extend(self.one(written).await?);
            }
        }
        Ok(quitters)
    }

    /// Lets one say it who is soon to be sent a message, and waits until the store knows; `None` if all were sent theirs.
    async fn one(&mut self, written: usize) -> anyhow::Result<Option<Quitter>> {
        let [least, most] = AHEAD.map(|ahead| (written + ahead).min(self.listed.len()));
        if least == most {
            return Ok(None);
        }
        let to = self.listed[self.rng.random_range(least..most)].to.clone();
        let parties = Parties {
            account: ACCOUNT.to_owned(),
            from: to.clone(),
            to: "+12015550199".to_owned(),
            at: Clock::System.now(),
        };
        let sid = sample::sid("SM", &mut self.rng);
        let stop = sample::incoming_message(&parties, &sid, "STOP");
        self.callbacks.send(&stop, "/incoming-message").await?;
        let answered = Instant::now();
        while !is_known(&mut self.store, &to).await? {
            ensure!(answered.elapsed() < LONGEST, "a STOP that was answered is not in the store");
            sleep(POLL).await;
        }
        Ok(Some(Quitter { to, known_at: now() }))
    }
}

/// How many attempts were committed to writing.
async fn written(store: &mut PgConnection) -> anyhow::Result<usize> {
    const WRITTEN: &str = "SELECT count(*) FROM attempts WHERE written_at IS NOT NULL";
    let written: i64 = sqlx::query_scalar(WRITTEN).fetch_one(store).await?;
    Ok(usize::try_from(written)?)
}

/// Whether nothing waits to be sent.
async fn has_left(store: &mut PgConnection) -> anyhow::Result<bool> {
    const LEFT: &str = "SELECT NOT EXISTS (SELECT 1 FROM recipients WHERE state = 'waiting') \
                        AND NOT EXISTS (SELECT 1 FROM attempts WHERE state IN ('due', 'claimed'))";
    Ok(sqlx::query_scalar(LEFT).fetch_one(store).await?)
}

async fn is_known(store: &mut PgConnection, to: &str) -> anyhow::Result<bool> {
    const KNOWN: &str = "SELECT EXISTS (SELECT 1 FROM suppressions WHERE stop AND \"to\" = $1)";
    Ok(sqlx::query_scalar(KNOWN).bind(to).fetch_one(store).await?)
}
