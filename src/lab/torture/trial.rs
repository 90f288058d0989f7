//! [`Trial`]: a testbed under load, from the first callback to the verdict. Scenarios inject faults
//! into it.

use std::collections::HashSet;
use std::ops::Range;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::Run;
use super::ledger::{Ledger, LedgerSummary};
use super::load::Load;
use super::report::{Facts, Report};
use super::testbed::{DEAD, STREAM, Testbed};
use super::verdict::{self, Store, Verdict};

/// Longest wait until everything acked is stored.
const DRAIN_WITHIN: Duration = Duration::from_secs(180);
/// What has not changed for this long never will: longer than every backoff and every time-out.
const STILL: Duration = Duration::from_secs(45);
/// How often the store is asked.
const POLL: Duration = Duration::from_millis(100);
/// Load without faults, before and after them.
const CALM: Duration = Duration::from_millis(500);

/// A testbed under load.
pub(super) struct Trial {
    pub(super) testbed: Testbed,
    pub(super) load: Load,
    pub(super) facts: Facts,
    pub(super) rng: StdRng,
    name: String,
    run: Run,
    store: Store,
    until: Instant,
    /// How long it took until everything acked was stored; `None` within if it never was.
    drained: Option<Option<Duration>>,
}

impl Trial {
    /// Starts all processes and the load; the faults may begin.
    pub(super) async fn begin(
        name: String,
        run: &Run,
        mut testbed: Testbed,
    ) -> anyhow::Result<Self> {
        testbed.start()?;
        let store = testbed.store();
        let tables = Instant::now() + DRAIN_WITHIN;
        while store.keys().await.is_err() {
            ensure!(Instant::now() < tables, "the tables are not there");
            sleep(POLL).await;
        }
        let ledger = Ledger::create(testbed.directory().join("ledger")).context("the ledger")?;
        let load = Load::start(testbed.volume, run.seed, testbed.targets.clone(), ledger)?;
        sleep(CALM).await;
        load.in_fault(true);
        Ok(Self {
            store,
            testbed,
            load,
            facts: Facts::default(),
            rng: StdRng::seed_from_u64(run.seed),
            name,
            run: run.clone(),
            until: Instant::now() + run.duration,
            drained: None,
        })
    }

    /// Whether there is time for more faults.
    pub(super) fn goes_on(&self) -> bool {
        Instant::now() < self.until
    }

    /// How long faults are injected.
    pub(super) fn duration(&self) -> Duration {
        self.run.duration
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

    /// All must be stored soon after the end: what the fault has spoilt must not stay so.
    pub(super) fn recovers(&mut self) {
        self.facts.recovers_within = Some(Duration::from_secs(10));
    }

    /// Something that only this scenario has to tell.
    pub(super) fn tell(&mut self, name: &str, value: impl Into<Value>) {
        self.facts.details.insert(name.to_owned(), value.into());
    }

    /// Something that is not as it must be.
    pub(super) fn fail(&mut self, what: impl Into<String>) {
        self.facts.failures.push(what.into());
    }

    /// No more faults, and a moment later no more load; returns what was answered.
    pub(super) async fn calm(&mut self) -> anyhow::Result<LedgerSummary> {
        self.load.in_fault(false);
        sleep(CALM).await;
        self.load.stop().await?;
        LedgerSummary::read(self.load.ledger()).context("the ledger")
    }

    /// What has been acked so far, while the load goes on.
    pub(super) async fn calm_for_now(&self) -> anyhow::Result<HashSet<String>> {
        Ok(LedgerSummary::read(self.load.ledger()).context("the ledger")?.acked)
    }

    /// Waits until all of these are stored, or never will be; how long that took.
    pub(super) async fn stored(&self, wanted: &HashSet<String>) -> Option<Duration> {
        let loses = self.facts.expected_loss || self.run.naive_workers;
        let still = if loses { STILL / 4 } else { STILL };
        let (began, mut seen, mut changed) = (Instant::now(), 0, Instant::now());
        loop {
            // A Postgres that was just started may not answer yet.
            let keys = self.store.keys().await.unwrap_or_default();
            if verdict::holds(&keys, wanted) {
                return Some(began.elapsed());
            }
            if keys.len() != seen {
                (seen, changed) = (keys.len(), Instant::now());
            }
            if changed.elapsed() > still || began.elapsed() > DRAIN_WITHIN {
                return None;
            }
            sleep(POLL).await;
        }
    }

    /// Waits until everything acked is stored, or never will be.
    pub(super) async fn drain(&mut self) -> anyhow::Result<LedgerSummary> {
        let summary = self.calm().await?;
        let drained = self.stored(&summary.acked).await;
        self.drained.get_or_insert(drained);
        self.settle().await?;
        Ok(summary)
    }

    /// Nothing may stay pending in the stream: all is stored, and must be acked soon.
    async fn settle(&mut self) -> anyhow::Result<()> {
        let Some(redis) = self.testbed.services.as_ref().and_then(|all| all.redis.as_ref()) else {
            return Ok(());
        };
        let (pending, began) =
            (redis::cmd("XPENDING").arg(STREAM).arg("offhook").to_owned(), Instant::now());
        let left = loop {
            let (left, ..): (usize, redis::Value, redis::Value, redis::Value) =
                redis.query(&pending)?;
            if left == 0 || began.elapsed() > STILL {
                break left;
            }
            sleep(POLL).await;
        };
        if left > 0 {
            self.fail(format!("{left} entries stay pending"));
        }
        Ok(())
    }

    /// Drains, stops everything, and holds the store against the ledger.
    pub(super) async fn end(mut self) -> anyhow::Result<Report> {
        let summary = self.drain().await?;
        let problems = self.testbed.stop();
        self.facts.failures.extend(problems);
        let peak = self.testbed.servers().map(|server| server.peak_kib()).max().unwrap_or_default();
        self.tell("peak_rss_mib", peak / 1024);
        self.look_at_files().await?;
        if let Some(redis) = self.testbed.services.as_ref().and_then(|all| all.redis.as_ref()) {
            let dead: usize = redis.query(redis::cmd("XLEN").arg(DEAD))?;
            if dead != self.facts.dead_letters {
                self.fail(format!("{dead} dead letters, not {}", self.facts.dead_letters));
            }
            self.facts.dead_letters = dead;
        }
        let verdict = Verdict::of(&summary, &self.store.contents().await?);
        let (tally, drained) = (self.load.tally(), self.drained.flatten());
        Ok(Report::new(self.name, &self.run, &tally, self.facts, verdict, drained))
    }

    /// Those of SQLite, which no process writes any more.
    async fn look_at_files(&mut self) -> anyhow::Result<()> {
        let mut said = Vec::new();
        for path in self.testbed.sqlite_files() {
            said.push(verdict::integrity(&path).await?);
        }
        said.sort();
        said.dedup();
        if said.iter().any(|said| said != "ok") {
            self.fail(format!("integrity_check: {said:?}"));
        }
        if !said.is_empty() {
            self.tell("integrity_check", json!(said.join("; ")));
        }
        Ok(())
    }
}
