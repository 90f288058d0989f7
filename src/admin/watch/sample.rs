//! [`Sample`]: what the metrics say at one moment, as far as a page shows it.

use std::collections::BTreeMap;

use prometheus::Registry;
use prometheus::proto::{Metric, MetricFamily, MetricType};

use crate::clock::Timestamp;

/// The metrics at one moment. Counters count from the start of the process.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) at: Timestamp,
    pub(crate) accepted: u64,
    pub(crate) refused: u64,
    pub(crate) refusals: BTreeMap<String, u64>,
    /// How long answers took.
    pub(crate) answered: Answered,
    /// Events that reached the store for the first time.
    pub(crate) stored: u64,
    pub(crate) duplicates: u64,
    pub(crate) dead_letters: u64,
    pub(crate) spool: u64,
    pub(crate) circuit_open: bool,
    /// Whether what was written last is wrong, so that an older configuration is in force.
    pub(crate) reload_failed: bool,
    pub(crate) depth: u64,
    /// Seconds.
    pub(crate) oldest: f64,
    /// Every counter and gauge of offhook's, for the conditions.
    pub(crate) figures: Figures,
}

impl Default for Sample {
    fn default() -> Self {
        Self::of(&[], Timestamp::from_micros(0))
    }
}

impl Sample {
    /// Asks every metric.
    pub(crate) fn take(registry: &Registry, at: Timestamp) -> Self {
        Self::of(&registry.gather(), at)
    }

    fn of(families: &[MetricFamily], at: Timestamp) -> Self {
        let series = |name: &str| {
            let family = families.iter().find(|family| family.name() == name);
            family.map(MetricFamily::get_metric).unwrap_or_default()
        };
        let counted = |name: &str, label: &str| {
            let labelled = series(name).iter().filter(|metric| {
                label.is_empty() || metric.get_label().iter().any(|pair| pair.value() == label)
            });
            labelled.map(|metric| metric.get_counter().get_value() as u64).sum()
        };
        let gauge = |name| series(name).iter().map(|metric| metric.get_gauge().get_value()).sum();
        let whole = |name| -> u64 {
            let value: f64 = gauge(name);
            value as u64
        };
        let refusals = series("offhook_refusals_total").iter().filter_map(|metric| {
            let reason = metric.get_label().first()?.value().to_owned();
            Some((reason, metric.get_counter().get_value() as u64))
        });
        Self {
            at,
            accepted: counted("offhook_requests_total", "accepted"),
            refused: counted("offhook_requests_total", "refused"),
            refusals: refusals.collect(),
            answered: Answered::of(series("offhook_request_duration_seconds")),
            stored: counted("offhook_events_total", "fresh"),
            duplicates: counted("offhook_events_total", "duplicate"),
            dead_letters: whole("offhook_dead_letters") + whole("offhook_spool_dead_letters"),
            spool: whole("offhook_spool_events"),
            circuit_open: whole("offhook_circuit_open") > 0,
            reload_failed: series("offhook_config_last_reload_successful")
                .iter()
                .any(|metric| metric.get_gauge().get_value() == 0.0),
            depth: whole("offhook_stream_depth"),
            oldest: gauge("offhook_stream_oldest_age_seconds"),
            figures: Figures::of(families),
        }
    }
}

/// Counters and gauges by name. What is 0 is left out, so that an hour of them is small while all is well.
#[derive(Clone, Debug, Default)]
pub(crate) struct Figures(BTreeMap<String, Vec<(Pairs, f64)>>);

/// The labels of a series, by name.
type Pairs = Vec<(String, String)>;

impl Figures {
    fn of(families: &[MetricFamily]) -> Self {
        let mut figures = Self::default();
        for family in families.iter().filter(|family| family.name().starts_with("offhook_")) {
            for metric in family.get_metric() {
                let value = match family.get_field_type() {
                    MetricType::COUNTER => metric.get_counter().get_value(),
                    MetricType::GAUGE => metric.get_gauge().get_value(),
                    _ => continue,
                };
                let pairs = metric.get_label().iter();
                let labels = pairs.map(|pair| (pair.name().to_owned(), pair.value().to_owned()));
                figures.set(family.name(), labels.collect(), value);
            }
        }
        figures
    }

    /// Notes one.
    pub(crate) fn set(&mut self, name: &str, labels: Pairs, value: f64) {
        if value != 0.0 {
            self.0.entry(name.to_owned()).or_default().push((labels, value));
        }
    }

    /// The series of a metric that are not 0.
    pub(crate) fn series(&self, name: &str) -> impl Iterator<Item = (&[(String, String)], f64)> {
        let series = self.0.get(name).into_iter().flatten();
        series.map(|(labels, value)| (labels.as_slice(), *value))
    }

    /// All series of a metric that have these labels together.
    pub(crate) fn sum(&self, name: &str, which: impl Fn(&[(String, String)]) -> bool) -> f64 {
        self.series(name).filter(|(labels, _)| which(labels)).map(|(_, value)| value).sum()
    }
}

/// A histogram: upper bounds, and how many lie below each.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answered(Vec<(f64, u64)>);

impl Answered {
    /// Of all series together.
    fn of(series: &[Metric]) -> Self {
        let mut sums: Vec<(f64, u64)> = Vec::new();
        for metric in series {
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
    use prometheus::{Histogram, HistogramOpts, IntCounterVec, IntGauge, Opts};

    use super::*;

    #[test]
    fn the_metrics_are_found_by_their_names() {
        let registry = Registry::new();
        let requests = Opts::new("offhook_requests_total", "Requests.");
        let requests = IntCounterVec::new(requests, &["route", "outcome"]).expect("good names");
        let spool = IntGauge::new("offhook_spool_events", "Spool.").expect("a good name");
        registry.register(Box::new(requests.clone())).expect("free");
        registry.register(Box::new(spool.clone())).expect("free");
        requests.with_label_values(&["status", "accepted"]).inc_by(3);
        requests.with_label_values(&["debugger", "accepted"]).inc_by(2);
        requests.with_label_values(&["status", "refused"]).inc();
        spool.set(7);
        let sample = Sample::take(&registry, Timestamp::from_micros(1));
        assert_eq!((sample.accepted, sample.refused, sample.spool), (5, 1, 7));
    }

    #[test]
    fn a_quantile_lies_in_its_bucket() {
        let registry = Registry::new();
        let options = HistogramOpts::new("offhook_request_duration_seconds", "Time.");
        let options = options.buckets(vec![0.1, 0.2, 0.4]);
        let histogram = Histogram::with_opts(options).expect("good names");
        registry.register(Box::new(histogram.clone())).expect("free");
        let take = || Sample::take(&registry, Timestamp::from_micros(1)).answered;
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
