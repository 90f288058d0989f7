//! [`Metrics`]: what the public listener counts. Every series exists from the start, so that a
//! rate is right from the first request and an unused secret reads as flat.

use std::collections::HashSet;
use std::io;
use std::time::Duration;

use prometheus::core::Collector as _;
use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

use super::Refusal;
use crate::event::Route;
use crate::http::{Cut, Observer, RequestOutcome};
use crate::metrics::{Counters, Histograms, metrics, show};
use crate::sendgrid::events::ACCOUNT;
use crate::sendgrid::keys::{VerificationKey, VerificationKeys};
use crate::twilio::keyring::{Account, Keyring, Secret};
use crate::twilio::kind::twiml_request::Verb;

/// Seconds. An embedded commit takes about a millisecond; Twilio gives up after 15 s.
const BUCKETS: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0];

metrics! {
    /// The public listener's metrics. Those of secrets are shown by the assembly.
    #[derive(Debug)]
    pub struct Metrics {
        /// Requests of the public listener, by route and how they ended.
        pub requests: Counters<(Option<Route>, RequestOutcome)> =
            "offhook_requests_total" by ["route", "outcome"],
        /// From the end of a request's head to its answer, by route.
        pub duration: Histograms<Option<Route>> =
            "offhook_request_duration_seconds" by ["route"] in BUCKETS,
        /// Requests that were refused, by reason.
        pub refusals: Counters<Refusal> = "offhook_refusals_total" by ["reason"],
        /// Requests that were signed with this secret. Flat: nothing uses it any more.
        pub secret_matches: IntCounterVec = "offhook_secret_matches_total" by ["account", "key_id"],
        /// 1 for a secret that is about to be removed and should no longer match.
        pub secret_retiring: IntGaugeVec = "offhook_secret_retiring" by ["account", "key_id"],
        /// Fallback requests and incoming messages that were answered though they could not be recorded.
        pub fallback_unrecorded: IntCounter = "offhook_fallback_unrecorded_total",
        /// Requests of a call's TwiML that came to a status route, by verb: the answer ends the call.
        pub twiml_requests: Counters<Verb> = "offhook_twiml_requests_total" by ["verb"],
        /// Events that name another account than the one that signed them: they move no status.
        about_other_accounts: IntCounter = "offhook_about_other_accounts_total",
        /// Connections that are open on the public listener.
        connections: IntGauge = "offhook_connections",
        /// Connections that may be open on the public listener.
        connections_limit: IntGauge = "offhook_connections_limit",
        /// Times that as many connections were open as may be, so that others waited.
        connections_saturated: IntCounter = "offhook_connections_saturated_total",
        /// Connections closed by us against their client's will, by what took too long.
        connections_cut: Counters<Cut> = "offhook_connections_cut_total" by ["phase"],
        /// Times that the system handed out no connection.
        pub accept_failures: IntCounter = "offhook_accept_failures_total",
    }
}

impl Metrics {
    /// Shows the series of every secret of a keyring, and of every key of email events.
    pub fn show_secrets(&self, keyring: &Keyring, email_keys: &VerificationKeys) {
        for (labels, secret) in labelled(keyring) {
            self.secret_matches.with_label_values(&labels);
            self.secret_retiring.with_label_values(&labels).set(secret.is_retiring().into());
        }
        for key in email_keys.iter() {
            self.secret_matches.with_label_values(&of_email(key));
        }
    }

    /// Removes the series of secrets that are not in this keyring: however often secrets change, there are no more
    /// series than secrets. A request in progress may bring one back, which the next call removes.
    pub fn forget_secrets_but(&self, keyring: &Keyring, email_keys: &VerificationKeys) {
        let known = labelled(keyring).map(|(labels, _)| labels);
        let known: HashSet<_> = known.chain(email_keys.iter().map(of_email)).collect();
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

    /// Shows how many connections may be open.
    pub(super) fn limited(&self, connections: usize) {
        show(&self.connections_limit, connections as u64);
    }

    /// A request ended.
    pub(super) fn ended(&self, route: Option<Route>, outcome: RequestOutcome, took: Duration) {
        self.requests.of((route, outcome)).inc();
        self.duration.of(route).observe(took.as_secs_f64());
    }

    /// A request was refused.
    pub(super) fn refused(&self, reason: Refusal) {
        self.refusals.of(reason).inc();
    }

    /// A request was signed with this secret.
    pub(super) fn matched(&self, account: &Account, secret: &Secret) {
        self.secret_matches.with_label_values(&[account.name(), secret.id()]).inc();
    }

    /// Email events were signed with this key.
    pub(super) fn email_matched(&self, key: &VerificationKey) {
        self.secret_matches.with_label_values(&of_email(key)).inc();
    }

    /// A request of a call's TwiML came to where status callbacks belong.
    pub(super) fn twiml_request(&self, verb: Verb) {
        self.twiml_requests.of(verb).inc();
    }

    /// Counts events about other accounts than the one that signed them.
    pub(super) fn about_other_accounts(&self, events: usize) {
        self.about_other_accounts.inc_by(events as u64);
    }

    /// A request was answered with TwiML, and could not be recorded.
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
        self.connections_cut.of(why).inc();
    }

    fn saturated(&self) {
        self.connections_saturated.inc();
    }

    fn accept_failed(&self, _error: &io::Error) {
        self.accept_failures.inc();
    }
}

/// The labels of a key of email events.
fn of_email(key: &VerificationKey) -> [&str; 2] {
    [ACCOUNT, key.id()]
}

/// Each secret with its labels.
fn labelled(keyring: &Keyring) -> impl Iterator<Item = ([&str; 2], &Secret)> {
    keyring.accounts().iter().flat_map(|account| {
        account.secrets().iter().map(|secret| ([account.name(), secret.id()], secret))
    })
}
