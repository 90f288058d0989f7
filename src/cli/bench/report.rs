//! [`Report`]: what was measured, for people and for programs.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::Bench;
use crate::lab::bench::RowLatencies;
use crate::lab::load::{Quantiles, Tally};

/// Its names are those of the JSON.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Report {
    pub(super) urls: Vec<String>,
    pub(super) connections: u16,
    /// Requests a second, if they were sent at a rate.
    pub(super) rate: Option<f64>,
    pub(super) seconds: f64,
    pub(super) answered: u64,
    pub(super) accepted: u64,
    pub(super) accepted_per_second: f64,
    pub(super) statuses: BTreeMap<u16, u64>,
    /// Requests without an answer, by what went wrong.
    pub(super) errors: BTreeMap<String, u64>,
    pub(super) latency_ms: Quantiles,
    pub(super) to_row: Option<ToRow>,
    /// Accepted, but for repetitions: as many rows must come of it.
    pub(super) events: u64,
    pub(super) warm_up: WarmUp,
}

/// What came before it, which counts for nothing else.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct WarmUp {
    answered: u64,
    events: u64,
}

impl WarmUp {
    pub(super) fn of(tally: &Tally) -> Self {
        Self { answered: tally.answered(), events: tally.events }
    }
}

/// From a request to its row, of some of them.
#[derive(Clone, Debug, Serialize)]
pub(super) struct ToRow {
    pub(super) samples: u64,
    /// Accepted, and not seen in the store.
    pub(super) missing: usize,
    pub(super) latency_ms: Quantiles,
}

impl Report {
    pub(super) fn new(
        bench: &Bench,
        took: Duration,
        tally: &Tally,
        warm_up: WarmUp,
        seen: Option<&RowLatencies>,
    ) -> Self {
        let seconds = took.as_secs_f64();
        let errors = tally.errors.iter().map(|(kind, count)| (kind.to_string(), *count));
        Self {
            urls: bench.urls.clone(),
            connections: bench.connections,
            rate: bench.rate,
            seconds,
            answered: tally.answered(),
            accepted: tally.accepted(),
            accepted_per_second: tally.accepted() as f64 / seconds,
            statuses: tally.statuses.clone(),
            errors: errors.collect(),
            latency_ms: tally.latencies.quantiles(),
            to_row: seen.map(|seen| ToRow {
                samples: seen.latencies.len(),
                missing: seen.missing,
                latency_ms: seen.latencies.quantiles(),
            }),
            events: tally.events,
            warm_up,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = match self.rate {
            Some(rate) => format!("at {rate}/s"),
            None => "as fast as answers come".to_owned(),
        };
        writeln!(f, "offhook bench: {} connections, {how}\n", self.connections)?;
        let rate = self.accepted_per_second;
        writeln!(f, "  accepted  {:>9}   {rate:.0}/s in {:.1} s", self.accepted, self.seconds)?;
        let refused = self.statuses.iter().filter(|(status, _)| !(200..300).contains(*status));
        for (status, count) in refused {
            writeln!(f, "  {status:<8}  {count:>9}")?;
        }
        for (error, count) in &self.errors {
            writeln!(f, "  no answer {count:>9}   {error}")?;
        }
        writeln!(f, "  latency   {}", self.latency_ms)?;
        if let Some(ToRow { samples, missing, latency_ms }) = &self.to_row {
            writeln!(f, "  to row    {latency_ms}  ({samples} samples, {missing} missing)")?;
        }
        Ok(())
    }
}

impl fmt::Display for Quantiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { p50, p90, p99, p99_9, max } = self;
        write!(f, "p50 {p50:.2}  p90 {p90:.2}  p99 {p99:.2}  p99.9 {p99_9:.2}  max {max:.2} ms")
    }
}
