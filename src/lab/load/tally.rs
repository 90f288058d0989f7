//! [`Tally`]: what was answered, and how long that took.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

/// Answers, failures, and the times of what was accepted.
#[derive(Clone, Debug)]
pub(crate) struct Tally {
    /// Of answers with 2xx whose time counts.
    pub(crate) latencies: Latencies,
    /// Answers by status.
    pub(crate) statuses: BTreeMap<u16, u64>,
    /// Requests without an answer, by what went wrong.
    pub(crate) errors: BTreeMap<io::ErrorKind, u64>,
    /// Those of requests that were accepted, but for repetitions: as many must be stored.
    pub(crate) events: u64,
}

impl Default for Tally {
    fn default() -> Self {
        let (statuses, errors) = (BTreeMap::new(), BTreeMap::new());
        Self { latencies: Latencies::new(), statuses, errors, events: 0 }
    }
}

impl Tally {
    /// Counts a request with this many events, which ended with this status or without any, after this time if that
    /// counts.
    pub(crate) fn record(&mut self, answer: &io::Result<u16>, took: Option<Duration>, events: u64) {
        match answer {
            Ok(status) => {
                *self.statuses.entry(*status).or_default() += 1;
                if (200..300).contains(status) {
                    self.events += events;
                    if let Some(took) = took {
                        self.latencies.record(took);
                    }
                }
            }
            Err(error) => *self.errors.entry(error.kind()).or_default() += 1,
        }
    }

    /// Of `planned` requests, those without a result got no answer in time.
    pub(crate) fn unanswered(&mut self, planned: u64) {
        let missing = planned.saturating_sub(self.answered() + self.failed());
        *self.errors.entry(io::ErrorKind::TimedOut).or_default() += missing;
    }

    /// Answers of every status.
    pub(crate) fn answered(&self) -> u64 {
        self.statuses.values().sum()
    }

    /// Requests without an answer.
    pub(crate) fn failed(&self) -> u64 {
        self.errors.values().sum()
    }

    /// Answers with 2xx.
    pub(crate) fn accepted(&self) -> u64 {
        self.statuses.range(200..300).map(|(_, count)| count).sum()
    }
}

/// Times, kept to a thousandth of themselves.
#[derive(Clone, Debug)]
pub(crate) struct Latencies(Histogram<u64>);

impl Latencies {
    /// None yet.
    pub(crate) fn new() -> Self {
        /// In microseconds; a longer time counts as this one.
        const LONGEST: u64 = 60_000_000;
        Self(Histogram::new_with_bounds(1, LONGEST, 3).expect("bounds and digits are valid"))
    }

    /// Adds one.
    pub(crate) fn record(&mut self, took: Duration) {
        self.0.saturating_record(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    }

    /// How many there are.
    pub(crate) fn len(&self) -> u64 {
        self.0.len()
    }

    /// What is reported of them.
    pub(crate) fn quantiles(&self) -> Quantiles {
        let at = |share| self.0.value_at_quantile(share) as f64 / 1e3;
        Quantiles {
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p99_9: at(0.999),
            max: self.0.max() as f64 / 1e3,
        }
    }
}

/// In milliseconds.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub(crate) struct Quantiles {
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
    pub(crate) p99_9: f64,
    pub(crate) max: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_accepted_has_a_latency() {
        let mut tally = Tally::default();
        let nine = Some(Duration::from_millis(9));
        tally.record(&Ok(200), Some(Duration::from_millis(2)), 1);
        tally.record(&Ok(202), None, 0);
        tally.record(&Ok(403), nine, 1);
        tally.record(&Err(io::ErrorKind::ConnectionReset.into()), nine, 1);
        assert_eq!((tally.answered(), tally.accepted(), tally.failed()), (3, 2, 1));
        assert_eq!((tally.events, tally.latencies.len()), (1, 1));
        let quantiles = tally.latencies.quantiles();
        assert!((1.99..2.01).contains(&quantiles.max), "{quantiles:?}");
    }

    #[test]
    fn what_is_never_answered_is_an_error() {
        let mut tally = Tally::default();
        tally.record(&Ok(200), Some(Duration::from_millis(2)), 1);
        tally.unanswered(5);
        assert_eq!(tally.errors, BTreeMap::from([(io::ErrorKind::TimedOut, 4)]));
    }
}
