//! [`Metrics`]: what the public listener counts. Every series exists from the start, so that a
//! rate is right from the first request and a secret that nobody uses reads as flat.

use std::collections::HashSet;
use std::io;
use std::time::Duration;

use prometheus::core::Collector as _;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry,
};

use super::{Refusal, label};
use crate::event::Route;
use crate::http::{Cut, Observer};
use crate::twilio::keyring::{Account, Keyring, Secret};
use crate::twilio::kind::twiml_request::Verb;

/// Seconds. An embedded commit takes about a millisecond; Twilio gives up after 15 s.
const BUCKETS: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0];

/// How a request ended. A closed set: it is a metric label.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Answered with 200.
    Accepted,
    /// Answered with something else, on purpose.
    Refused,
    /// Its client left, or was cut off, before there was an answer. Twilio does when it has waited
    /// for too long; the event may have been stored all the same.
    Abandoned,
    /// We are at fault: a panic, answered with 500.
    Error,
}

impl Outcome {
    const ALL: [Self; 4] = [Self::Accepted, Self::Refused, Self::Abandoned, Self::Error];

    /// The label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Refused => "refused",
            Self::Abandoned => "abandoned",
            Self::Error => "error",
        }
    }
}

/// The public listener's metrics.
#[derive(Debug)]
pub struct Metrics {
    /// The last of requests to no route.
    routes: [PerRoute; Route::ALL.len() + 1],
    refusals: [IntCounter; Refusal::ALL.len()],
    secret_matches: IntCounterVec,
    secret_retiring: IntGaugeVec,
    fallback_unrecorded: IntCounter,
    twiml_requests: [IntCounter; Verb::ALL.len()],
    about_other_accounts: IntCounter,
    connections: IntGauge,
    connections_limit: IntGauge,
    connections_saturated: IntCounter,
    connections_cut: [IntCounter; Cut::ALL.len()],
    accept_failures: IntCounter,
}

#[derive(Debug)]
struct PerRoute {
    outcomes: [IntCounter; Outcome::ALL.len()],
    duration: Histogram,
}

impl Metrics {
    /// Registers them. Those of secrets are shown by the assembly.
    ///
    /// # Errors
    /// One of the names is taken.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let requests = counters(
            registry,
            "offhook_requests_total",
            "Requests of the public listener, by route and how they ended.",
            &["route", "outcome"],
        )?;
        let refusals = counters(
            registry,
            "offhook_refusals_total",
            "Requests that were refused, by reason.",
            &["reason"],
        )?;
        let secret_matches = counters(
            registry,
            "offhook_secret_matches_total",
            "Requests that were signed with this secret. Flat: nothing uses it any more.",
            &["account", "key_id"],
        )?;
        let connections_cut = counters(
            registry,
            "offhook_connections_cut_total",
            "Connections closed by us against their client's will, by what took too long.",
            &["phase"],
        )?;
        let twiml_requests = counters(
            registry,
            "offhook_twiml_requests_total",
            "Requests of a call's TwiML that came to a status route, by verb: the answer ends the call.",
            &["verb"],
        )?;
        let duration = HistogramVec::new(
            HistogramOpts::new(
                "offhook_request_duration_seconds",
                "From the end of a request's head to its answer, by route.",
            )
            .buckets(BUCKETS.to_vec()),
            &["route"],
        )?;
        registry.register(Box::new(duration.clone()))?;
        let secret_retiring = IntGaugeVec::new(
            Opts::new(
                "offhook_secret_retiring",
                "1 for a secret that is about to be taken out: it should match nothing any more.",
            ),
            &["account", "key_id"],
        )?;
        registry.register(Box::new(secret_retiring.clone()))?;
        Ok(Self {
            routes: std::array::from_fn(|place| {
                let route = label(Route::ALL.get(place).copied());
                PerRoute {
                    outcomes: Outcome::ALL
                        .map(|outcome| requests.with_label_values(&[route, outcome.as_str()])),
                    duration: duration.with_label_values(&[route]),
                }
            }),
            refusals: Refusal::ALL.map(|reason| refusals.with_label_values(&[reason.as_str()])),
            secret_matches,
            secret_retiring,
            fallback_unrecorded: counter(
                registry,
                "offhook_fallback_unrecorded_total",
                "Fallback requests that were answered though they could not be recorded.",
            )?,
            twiml_requests: Verb::ALL
                .map(|verb| twiml_requests.with_label_values(&[verb.as_str()])),
            about_other_accounts: counter(
                registry,
                "offhook_about_other_accounts_total",
                "Events that name another account than the one that signed them: they move no status.",
            )?,
            connections: gauge(
                registry,
                "offhook_connections",
                "Connections that are open on the public listener.",
            )?,
            connections_limit: gauge(
                registry,
                "offhook_connections_limit",
                "Connections that may be open on the public listener.",
            )?,
            connections_saturated: counter(
                registry,
                "offhook_connections_saturated_total",
                "Times that as many connections were open as may be, so that others waited.",
            )?,
            connections_cut: Cut::ALL.map(|cut| connections_cut.with_label_values(&[cut.as_str()])),
            accept_failures: counter(
                registry,
                "offhook_accept_failures_total",
                "Times that the system handed out no connection.",
            )?,
        })
    }

    /// Shows the series of every secret of a keyring.
    pub fn show_secrets(&self, keyring: &Keyring) {
        for (labels, secret) in labelled(keyring) {
            self.secret_matches.with_label_values(&labels);
            self.secret_retiring.with_label_values(&labels).set(secret.is_retiring().into());
        }
    }

    /// Shows no secret any more that is not of this keyring: however often secrets change, there
    /// are no more series than secrets. A request that is under way may bring one back, which is
    /// forgotten the next time.
    pub fn forget_secrets_but(&self, keyring: &Keyring) {
        let known: HashSet<_> = labelled(keyring).map(|(labels, _)| labels).collect();
        for family in self.secret_matches.collect() {
            for series in family.get_metric() {
                // In the order of their names, which is ours.
                let [account, key_id] = series.get_label() else { continue };
                let labels = [account.value(), key_id.value()];
                if !known.contains(&labels) {
                    let _ = self.secret_matches.remove_label_values(&labels);
                    let _ = self.secret_retiring.remove_label_values(&labels);
                }
            }
        }
    }

    /// As many connections may be open.
    pub(super) fn limited(&self, connections: usize) {
        self.connections_limit.set(i64::try_from(connections).unwrap_or(i64::MAX));
    }

    /// A request ended.
    pub(super) fn ended(&self, route: Option<Route>, outcome: Outcome, took: Duration) {
        let route = &self.routes[route.map_or(Route::ALL.len(), |route| route as usize)];
        route.outcomes[outcome as usize].inc();
        route.duration.observe(took.as_secs_f64());
    }

    /// A request was refused.
    pub(super) fn refused(&self, reason: Refusal) {
        self.refusals[reason as usize].inc();
    }

    /// A request was signed with this secret.
    pub(super) fn matched(&self, account: &Account, secret: &Secret) {
        self.secret_matches.with_label_values(&[account.name(), secret.id()]).inc();
    }

    /// A request of a call's TwiML came to where status callbacks belong.
    pub(super) fn twiml_request(&self, verb: Verb) {
        self.twiml_requests[verb as usize].inc();
    }

    /// So many events were about other accounts than the one that signed them.
    pub(super) fn about_other_accounts(&self, events: usize) {
        self.about_other_accounts.inc_by(events as u64);
    }

    /// A fallback request was answered, and could not be recorded.
    pub(super) fn fallback_unrecorded(&self) {
        self.fallback_unrecorded.inc();
    }
}

impl Observer for Metrics {
    fn opened(&self) {
        self.connections.inc();
    }

    fn closed(&self) {
        self.connections.dec();
    }

    fn cut(&self, why: Cut) {
        self.connections_cut[why as usize].inc();
    }

    fn saturated(&self) {
        self.connections_saturated.inc();
    }

    fn accept_failed(&self, _error: &io::Error) {
        self.accept_failures.inc();
    }
}

/// Each secret with its labels.
fn labelled(keyring: &Keyring) -> impl Iterator<Item = ([&str; 2], &Secret)> {
    keyring.accounts().iter().flat_map(|account| {
        account.secrets().iter().map(|secret| ([account.name(), secret.id()], secret))
    })
}

fn counters(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> Result<IntCounterVec, prometheus::Error> {
    let counters = IntCounterVec::new(Opts::new(name, help), labels)?;
    registry.register(Box::new(counters.clone()))?;
    Ok(counters)
}

fn counter(registry: &Registry, name: &str, help: &str) -> Result<IntCounter, prometheus::Error> {
    let counter = IntCounter::new(name, help)?;
    registry.register(Box::new(counter.clone()))?;
    Ok(counter)
}

fn gauge(registry: &Registry, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
    let gauge = IntGauge::new(name, help)?;
    registry.register(Box::new(gauge.clone()))?;
    Ok(gauge)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_label_stands_at_its_own_place() {
        assert!(Outcome::ALL.iter().enumerate().all(|(place, &outcome)| outcome as usize == place));
        assert!(Route::ALL.iter().enumerate().all(|(place, &route)| route as usize == place));
        assert!(Cut::ALL.iter().enumerate().all(|(place, &cut)| cut as usize == place));
    }
}
