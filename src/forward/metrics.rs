//! [`Metrics`] of forwards, by their names, which are those of the configuration.

use std::time::Duration;

use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
};

use super::runner::Observer;
use super::{Delivery, Failure, Unsendable};
use crate::backend::forwards::Disabled;
use crate::labels::Label as _;
use crate::metrics::{metrics, show};

/// Buckets in seconds, from an endpoint beside offhook to one that is retried for hours.
const AGES: &[f64] =
    &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0, 600.0, 3600.0, 36000.0];

/// What a try that was taken, and one that ended the forward, are called.
const DONE: &str = "done";
const GONE: &str = "gone";

metrics! {
    /// Metrics of every forward. The process that holds a forward's lease counts; in every other, gauges are 0.
    #[derive(Clone)]
    pub struct Metrics {
        /// Requests to the endpoint of a forward, by what came of them
        attempts: IntCounterVec = "offhook_forward_attempts_total" by ["forward", "outcome"],
        /// Time from a change's commit until its endpoint had taken it
        age: HistogramVec = "offhook_forward_age_seconds" by ["forward"] in AGES,
        /// Age of the first change that is neither forwarded nor waiting for another attempt, or 0
        lag: GaugeVec = "offhook_forward_lag_seconds" by ["forward"],
        /// Changes that wait for another try, or behind an earlier one of their SID
        waiting: IntGaugeVec = "offhook_forward_waiting" by ["forward"],
        /// Changes that are not tried again unless they are replayed
        given_up: IntCounterVec = "offhook_forward_given_up_total" by ["forward"],
        /// Times that retention deleted changes which were not forwarded
        cut: IntCounterVec = "offhook_forward_cut_total" by ["forward"],
        /// 1 while the endpoint takes nothing, so that the cursor stays where it is
        down: IntGaugeVec = "offhook_forward_down" by ["forward"],
        /// 1 while nothing is forwarded, by the reason
        disabled: IntGaugeVec = "offhook_forward_disabled" by ["forward", "reason"],
        /// Times that the store could not be asked what to forward
        store_errors: IntCounterVec = "offhook_forward_store_errors_total" by ["forward"],
    }
}

/// The metrics of one forward. Cheap to clone; all clones count together.
#[derive(Clone)]
#[expect(missing_docs, reason = "each is described where it is declared")]
pub struct ForwardMetrics {
    pub name: String,
    /// The counters by [`Delivery`], in the order of [`outcomes`].
    attempts: Vec<IntCounter>,
    age: Histogram,
    pub lag: Gauge,
    pub waiting: IntGauge,
    pub given_up: IntCounter,
    pub cut: IntCounter,
    pub down: IntGauge,
    /// The gauges by reason.
    pub disabled: Vec<(Disabled, IntGauge)>,
    pub store_errors: IntCounter,
}

/// Every outcome, in the order of its [place].
fn outcomes() -> impl Iterator<Item = &'static str> {
    let failures = Failure::ALL.into_iter().map(Failure::as_str);
    let unsendable = Unsendable::ALL.into_iter().map(Unsendable::as_str);
    [DONE, GONE].into_iter().chain(failures).chain(unsendable)
}

fn place(delivery: Delivery) -> usize {
    match delivery {
        Delivery::Done => 0,
        Delivery::Gone => 1,
        Delivery::Failed(failure) => 2 + failure.place(),
        Delivery::Skipped(why) => 2 + Failure::ALL.len() + why.place(),
    }
}

impl Metrics {
    /// The metrics of the forward with this name. Every series exists from now on.
    #[must_use]
    pub fn of(&self, name: &str) -> ForwardMetrics {
        let attempt = |outcome| self.attempts.with_label_values(&[name, outcome]);
        let disabled =
            |why: Disabled| (why, self.disabled.with_label_values(&[name, why.as_str()]));
        ForwardMetrics {
            name: name.to_owned(),
            attempts: outcomes().map(attempt).collect(),
            age: self.age.with_label_values(&[name]),
            lag: self.lag.with_label_values(&[name]),
            waiting: self.waiting.with_label_values(&[name]),
            given_up: self.given_up.with_label_values(&[name]),
            cut: self.cut.with_label_values(&[name]),
            down: self.down.with_label_values(&[name]),
            disabled: Disabled::ALL.map(disabled).into(),
            store_errors: self.store_errors.with_label_values(&[name]),
        }
    }
}

impl Metrics {
    /// Shows the forward with this name no more.
    pub fn forget(&self, name: &str) {
        // Each of them is there.
        for outcome in outcomes() {
            let _ = self.attempts.remove_label_values(&[name, outcome]);
        }
        for why in Disabled::ALL {
            let _ = self.disabled.remove_label_values(&[name, why.as_str()]);
        }
        let name = &[name];
        let _ = self.age.remove_label_values(name);
        let _ = self.lag.remove_label_values(name);
        let _ = self.waiting.remove_label_values(name);
        let _ = self.given_up.remove_label_values(name);
        let _ = self.cut.remove_label_values(name);
        let _ = self.down.remove_label_values(name);
        let _ = self.store_errors.remove_label_values(name);
    }
}

impl Observer for ForwardMetrics {
    fn attempted(&self, delivery: Delivery, after: Duration) {
        self.attempts[place(delivery)].inc();
        if delivery == Delivery::Done {
            self.age.observe(after.as_secs_f64());
        }
    }

    fn gave_up(&self) {
        self.given_up.inc();
    }

    fn cut(&self) {
        self.cut.inc();
    }

    fn stands(&self, waiting: usize, lag: Duration) {
        show(&self.waiting, waiting as u64);
        self.lag.set(lag.as_secs_f64());
    }

    fn is_down(&self, down: bool) {
        self.down.set(down.into());
    }

    fn is_disabled(&self, disabled: Option<Disabled>) {
        for (why, gauge) in &self.disabled {
            gauge.set((disabled == Some(*why)).into());
        }
    }

    fn failed(&self) {
        self.store_errors.inc();
    }
}

#[cfg(test)]
mod tests {
    use prometheus::Registry;

    use super::*;

    #[test]
    fn each_outcome_is_counted_under_its_own_name() {
        let metrics = Metrics::register(&Registry::new()).expect("the names are new");
        let of_app = metrics.of("app");
        let failures = Failure::ALL.map(|failure| (Delivery::Failed(failure), failure.as_str()));
        let unsendable = Unsendable::ALL.map(|why| (Delivery::Skipped(why), why.as_str()));
        let ends = [(Delivery::Done, DONE), (Delivery::Gone, GONE)];
        for (delivery, name) in ends.into_iter().chain(failures).chain(unsendable) {
            of_app.attempted(delivery, Duration::from_secs(1));
            let counted = metrics.attempts.with_label_values(&["app", name]).get();
            assert_eq!(counted, 1, "{name}");
        }
        assert_eq!(of_app.attempts.len(), outcomes().count());
        assert_eq!(of_app.age.get_sample_count(), 1, "only what was taken has an age");
    }

    #[test]
    fn one_reason_at_most_is_why_nothing_is_forwarded() {
        let metrics = Metrics::register(&Registry::new()).expect("the names are new");
        let of_app = metrics.of("app");
        let shown = || -> i64 { of_app.disabled.iter().map(|(_, gauge)| gauge.get()).sum() };
        for why in Disabled::ALL {
            of_app.is_disabled(Some(why));
            assert_eq!(shown(), 1);
            assert_eq!(metrics.disabled.with_label_values(&["app", why.as_str()]).get(), 1);
        }
        of_app.is_disabled(None);
        assert_eq!(shown(), 0);
    }
}
