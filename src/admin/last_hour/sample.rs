//! [`Sample`]: what the metrics say at one moment, as far as a page shows it or a condition looks at it.

use prometheus::core::{Collector, Metric as _};
use prometheus::{Histogram, IntCounter, IntGauge};

use super::handles::{ForwardHandles, Handles, Receiving, SendHandles};
use crate::backend::Backend;
use crate::backend::forwards::Disabled;
use crate::clock::Timestamp;
use crate::event::{Freshness, Resource, Route};
use crate::http::RequestOutcome;
use crate::labels::{Label as _, Labels};
use crate::metrics::Counters;
use crate::pipeline::CommitFailure;
use crate::recent::Refusal;
use crate::twilio::kind::twiml_request::Verb;

/// The metrics at one moment. Counters count from the start of the process.
#[derive(Clone, Default, Debug)]
pub(crate) struct Sample {
    pub(crate) at: Timestamp,
    /// Whether this process takes callbacks: only then its listener has metrics.
    pub(crate) receives: bool,
    pub(crate) requests: Counts<(Option<Route>, RequestOutcome)>,
    pub(crate) refusals: Counts<Refusal>,
    /// How long answers took.
    pub(crate) answered: Answered,
    pub(crate) twiml_requests: Counts<Verb>,
    pub(crate) accept_failures: u64,
    pub(crate) fallback_unrecorded: u64,
    pub(crate) secret_matches: Counts<SecretName>,
    pub(crate) retiring: Vec<SecretName>,
    /// Events that reached the store for the first time.
    pub(crate) stored: u64,
    pub(crate) duplicates: u64,
    pub(crate) differing: u64,
    pub(crate) contradicted: u64,
    pub(crate) outcomes: Counts<(Resource, &'static str)>,
    pub(crate) commit_errors: Counts<(Backend, CommitFailure)>,
    pub(crate) stream_errors: u64,
    pub(crate) stream_resets: u64,
    pub(crate) group_resets: u64,
    pub(crate) stream_unsupported: bool,
    pub(crate) stream_refusing: bool,
    pub(crate) blocking_groups: u64,
    pub(crate) depth: u64,
    /// Seconds.
    pub(crate) oldest: f64,
    pub(crate) dead_letters: u64,
    pub(crate) spool: u64,
    pub(crate) damaged_files: u64,
    pub(crate) circuit_open: bool,
    /// Backends that are less durable than was asked for.
    pub(crate) below: Vec<Backend>,
    pub(crate) calls_in_progress: u64,
    pub(crate) calls_limit: u64,
    /// Of the fullest conference.
    pub(crate) participants: u64,
    /// Whether what was written last is wrong, so that an older configuration is in force.
    pub(crate) reload_failed: bool,
    /// By table.
    pub(crate) retention_errors: Counts<&'static str>,
    /// Tables of which nothing is deleted, since a clock seems to be wrong.
    pub(crate) retention_held: Vec<&'static str>,
    /// Those of the configuration.
    pub(crate) forwards: Vec<ForwardSample>,
    pub(crate) sending: SendSample,
}

/// What is sent, at one moment; all of it 0 in a process that does not send.
#[derive(Clone, Default, Debug)]
pub(crate) struct SendSample {
    /// Each account with its requests, and those of them that were throttled.
    pub(crate) requests: Vec<(String, u64, u64)>,
    /// Each account with those for which there was no connection.
    pub(crate) unsent: Vec<(String, u64)>,
    /// Nothing is sent, because the key of addresses is not the store's.
    pub(crate) has_other_key: bool,
    /// Each account that calls with its open calls, and how many there may be.
    pub(crate) calls: Vec<(String, u64, u64)>,
    pub(crate) paused: Vec<String>,
    pub(crate) due: u64,
    /// Seconds.
    pub(crate) oldest_due: f64,
    pub(crate) unknown: u64,
    pub(crate) mismatches: u64,
    pub(crate) missed: u64,
    pub(crate) escalated_blind: u64,
    pub(crate) duplicates: u64,
    pub(crate) campaigns_stopped: u64,
}

impl SendSample {
    fn of(handles: &SendHandles) -> Self {
        let paused = handles.paused.load();
        let paused = paused.iter().filter(|(_, paused)| paused.get() > 0);
        let requests = handles.accounts.iter().map(|account| {
            let all = account.requests.iter().map(IntCounter::get).sum();
            (account.name.clone(), all, account.throttled.get())
        });
        let calls = handles.accounts.iter().map(|account| {
            (account.name.clone(), whole(&account.calls), whole(&account.calls_limit))
        });
        Self {
            requests: requests.collect(),
            unsent: handles
                .accounts
                .iter()
                .map(|account| (account.name.clone(), account.unsent.get()))
                .collect(),
            has_other_key: handles.other_key.get() > 0,
            calls: calls.filter(|(.., limit)| *limit > 0).collect(),
            paused: paused.map(|(name, _)| name.clone()).collect(),
            due: whole(&handles.due),
            oldest_due: handles.oldest_due.get(),
            unknown: whole(&handles.unknown),
            mismatches: handles.mismatches.get(),
            missed: handles.missed.get(),
            escalated_blind: handles.escalated_blind.get(),
            duplicates: handles.duplicates.get(),
            campaigns_stopped: whole(&handles.campaigns_stopped),
        }
    }
}

/// A forward at one moment.
#[derive(Clone, Default, Debug)]
pub(crate) struct ForwardSample {
    pub(crate) name: String,
    /// Seconds.
    pub(crate) lag: f64,
    pub(crate) waiting: u64,
    pub(crate) given_up: u64,
    pub(crate) cut: u64,
    pub(crate) store_errors: u64,
    pub(crate) down: bool,
    pub(crate) disabled: Option<Disabled>,
}

impl ForwardSample {
    fn of(handles: &ForwardHandles) -> Self {
        let disabled = handles.disabled.iter().find(|(_, gauge)| gauge.get() > 0);
        Self {
            name: handles.name.clone(),
            lag: handles.lag.get(),
            waiting: whole(&handles.waiting),
            given_up: handles.given_up.get(),
            cut: handles.cut.get(),
            store_errors: handles.store_errors.get(),
            down: handles.down.get() > 0,
            disabled: disabled.map(|(why, _)| *why),
        }
    }
}

/// A secret by the names that its series has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct SecretName {
    pub(crate) account: String,
    pub(crate) key_id: String,
}

impl Sample {
    /// Looks at every metric.
    pub(crate) fn take(handles: &Handles, at: Timestamp) -> Self {
        let freshness = |which| {
            let series = handles.events.iter().filter(|((_, freshness), _)| *freshness == which);
            series.map(|(_, counter)| counter.get()).sum()
        };
        let outcomes = handles.outcomes.iter();
        let retention = handles.retention.iter();
        let held = retention.clone().filter(|table| table.held.get() > 0.0);
        let sample = Self {
            at,
            stored: freshness(Freshness::Fresh),
            duplicates: freshness(Freshness::Duplicate),
            differing: handles.differing.get(),
            contradicted: handles.contradicted.get(),
            outcomes: Counts::of(outcomes.map(|(ended, counter)| (*ended, counter.get()))),
            commit_errors: Counts::of_family(&handles.commit_errors),
            stream_errors: handles.stream_errors.get(),
            stream_resets: handles.stream_resets.get(),
            group_resets: handles.group_resets.get(),
            stream_unsupported: handles.stream_unsupported.get() > 0,
            stream_refusing: handles.stream_refusing.get() > 0,
            blocking_groups: whole(&handles.blocking_groups),
            depth: whole(&handles.depth),
            oldest: handles.oldest.get(),
            dead_letters: whole(&handles.dead_letters) + whole(&handles.spool_dead_letters),
            spool: whole(&handles.spool),
            damaged_files: whole(&handles.damaged_files),
            circuit_open: handles.circuit_open.get() > 0,
            below: below(handles),
            calls_in_progress: whole(&handles.calls_in_progress),
            participants: whole(&handles.participants),
            calls_limit: whole(&handles.calls_limit),
            reload_failed: handles.reload_successful.get() == 0,
            retention_errors: Counts::of(retention.map(|table| (table.name, table.errors.get()))),
            retention_held: held.map(|table| table.name).collect(),
            forwards: handles.forwards.load().iter().map(ForwardSample::of).collect(),
            sending: handles.sending.as_ref().map(SendSample::of).unwrap_or_default(),
            ..Self::default()
        };
        match &handles.receiving {
            Some(receiving) => sample.and_of(receiving),
            None => sample,
        }
    }

    fn and_of(self, receiving: &Receiving) -> Self {
        let histograms = receiving.duration.iter().map(|(_, histogram)| histogram);
        let matches = series_of(&receiving.secret_matches).into_iter();
        let retiring = series_of(&receiving.secret_retiring).into_iter();
        Self {
            receives: true,
            requests: Counts::of_family(&receiving.requests),
            refusals: Counts::of_family(&receiving.refusals),
            answered: Answered::of(histograms),
            twiml_requests: Counts::of_family(&receiving.twiml_requests),
            accept_failures: receiving.accept_failures.get(),
            fallback_unrecorded: receiving.fallback_unrecorded.get(),
            secret_matches: Counts::of(
                matches.map(|(labels, count)| (SecretName::of(labels), count as u64)),
            ),
            retiring: retiring
                .filter(|(_, retiring)| *retiring > 0.0)
                .map(|(labels, _)| SecretName::of(labels))
                .collect(),
            ..self
        }
    }

    /// Callbacks that were answered with 200.
    pub(crate) fn accepted(&self) -> u64 {
        self.requests.sum(|(_, outcome)| *outcome == RequestOutcome::Accepted)
    }

    /// Requests that were refused.
    pub(crate) fn refused(&self) -> u64 {
        self.requests.sum(|(_, outcome)| *outcome == RequestOutcome::Refused)
    }
}

impl SecretName {
    /// In the order of the names of the labels, which is the alphabet's.
    fn of(labels: Vec<String>) -> Self {
        let mut labels = labels.into_iter();
        let mut next = || labels.next().unwrap_or_default();
        Self { account: next(), key_id: next() }
    }
}

fn below(handles: &Handles) -> Vec<Backend> {
    let below = series_of(&handles.below).into_iter().filter(|(_, below)| *below > 0.0);
    below.filter_map(|(labels, _)| Backend::parse(labels.first()?)).collect()
}

/// The series of a family whose labels are not all known from the start: the values of its labels, by their
/// names, and what it stands at.
fn series_of(family: &impl Collector) -> Vec<(Vec<String>, f64)> {
    let metrics = family.collect().into_iter().flat_map(|mut family| family.take_metric());
    metrics
        .map(|metric| {
            let labels = metric.get_label().iter().map(|pair| pair.value().to_owned()).collect();
            // Of a counter the gauge is 0, and the other way round.
            (labels, metric.get_counter().get_value() + metric.get_gauge().get_value())
        })
        .collect()
}

fn whole(gauge: &IntGauge) -> u64 {
    u64::try_from(gauge.get()).unwrap_or_default()
}

/// Counters by their labels. What is 0 is left out, so that an hour of them is small while all is well.
#[derive(Clone, Debug)]
pub(crate) struct Counts<L>(Vec<(L, u64)>);

impl<L> Default for Counts<L> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<L> Counts<L> {
    fn of(series: impl Iterator<Item = (L, u64)>) -> Self {
        Self(series.filter(|(_, count)| *count > 0).collect())
    }

    /// All series together that have such labels.
    pub(crate) fn sum(&self, which: impl Fn(&L) -> bool) -> u64 {
        self.0.iter().filter(|(labels, _)| which(labels)).map(|(_, count)| count).sum()
    }

    /// The labels of the series that are not 0.
    pub(crate) fn labels(&self) -> impl Iterator<Item = &L> {
        self.0.iter().map(|(labels, _)| labels)
    }

    /// Notes one more series.
    #[cfg(test)]
    pub(crate) fn add(&mut self, labels: L, count: u64) {
        self.0.push((labels, count));
    }
}

impl<L: Labels> Counts<L> {
    fn of_family(family: &Counters<L>) -> Self {
        Self::of(family.iter().map(|(labels, counter): (L, &IntCounter)| (labels, counter.get())))
    }
}

impl<L: PartialEq> Counts<L> {
    /// The series of these labels.
    pub(crate) fn get(&self, labels: &L) -> u64 {
        self.sum(|other| other == labels)
    }
}

/// A histogram: upper bounds, and how many lie below each.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answered(Vec<(f64, u64)>);

impl Answered {
    /// Of all series together.
    fn of<'h>(series: impl Iterator<Item = &'h Histogram>) -> Self {
        let mut sums: Vec<(f64, u64)> = Vec::new();
        for histogram in series {
            let metric = histogram.metric();
            let buckets = metric.get_histogram().get_bucket();
            sums.resize(sums.len().max(buckets.len()), (f64::INFINITY, 0));
            for (sum, bucket) in sums.iter_mut().zip(buckets) {
                *sum = (bucket.upper_bound(), sum.1 + bucket.cumulative_count());
            }
        }
        Self(sums)
    }

    /// Those that came after `earlier`.
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        let before = |place: usize| earlier.0.get(place).map_or(0, |(_, count)| *count);
        let bounds = self.0.iter().enumerate();
        Self(bounds.map(|(at, (le, n))| (*le, n.saturating_sub(before(at)))).collect())
    }

    /// As Prometheus does it: evenly spread within a bucket. `None` if there was nothing.
    pub(crate) fn quantile(&self, share: f64) -> Option<f64> {
        let total = self.0.last().map(|(_, count)| *count).filter(|count| *count > 0)?;
        let wanted = share * total as f64;
        let mut below = (0.0, 0);
        for (bound, count) in &self.0 {
            if *count as f64 >= wanted && bound.is_finite() {
                let inside = (count - below.1).max(1) as f64;
                return Some(below.0 + (bound - below.0) * (wanted - below.1 as f64) / inside);
            }
            below = (*bound, *count);
        }
        // Longer than the last bound.
        self.0.iter().rev().find(|(bound, _)| bound.is_finite()).map(|(bound, _)| *bound)
    }
}

#[cfg(test)]
mod tests {
    use prometheus::HistogramOpts;

    use super::*;
    use crate::event::Kind;

    fn sample(handles: &Handles) -> Sample {
        Sample::take(handles, Timestamp::from_micros(1))
    }

    #[test]
    fn what_is_counted_is_read() {
        let handles = Handles::of_a_receiver();
        let receiving = handles.receiving.as_ref().expect("it receives");
        let ended = |route, outcome, times| receiving.requests.of((route, outcome)).inc_by(times);
        ended(Some(Route::Status), RequestOutcome::Accepted, 3);
        ended(Some(Route::Debugger), RequestOutcome::Accepted, 2);
        ended(None, RequestOutcome::Refused, 1);
        receiving.secret_matches.with_label_values(&["main", "auth_token_1"]).inc_by(4);
        receiving.secret_retiring.with_label_values(&["main", "auth_token_1"]).set(1);
        receiving.secret_retiring.with_label_values(&["main", "auth_token_2"]).set(0);
        handles.events.of((Kind::Call, Freshness::Fresh)).inc_by(5);
        handles.below.with_label_values(&["redis"]).set(1.0);
        handles.below.with_label_values(&["postgres"]).set(0.0);
        handles.spool.set(7);
        let sample = sample(&handles);
        assert_eq!((sample.accepted(), sample.refused(), sample.spool), (5, 1, 7));
        assert_eq!((sample.stored, sample.duplicates), (5, 0));
        let secret = SecretName { account: "main".to_owned(), key_id: "auth_token_1".to_owned() };
        assert_eq!(sample.secret_matches.get(&secret), 4);
        assert_eq!((sample.retiring, sample.below), (vec![secret], vec![Backend::Redis]));
    }

    #[test]
    fn a_quantile_lies_in_its_bucket() {
        let options = HistogramOpts::new("test_seconds", "Time.").buckets(vec![0.1, 0.2, 0.4]);
        let histogram = Histogram::with_opts(options).expect("good names");
        let take = || Answered::of([&histogram].into_iter());
        let before = take();
        assert_eq!(before.quantile(0.5), None);
        (0..9).for_each(|_| histogram.observe(0.15));
        histogram.observe(0.3);
        let median = take().since(&before).quantile(0.5).expect("ten");
        assert!((0.1..0.2).contains(&median), "{median}");
        let p95 = take().since(&before).quantile(0.95).expect("ten");
        assert!((0.2..=0.4).contains(&p95), "{p95}");
        assert_eq!(take().since(&take()).quantile(0.5), None);
        histogram.observe(9.0);
        assert_eq!(take().quantile(1.0), Some(0.4));
    }
}
