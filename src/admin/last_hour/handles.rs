//! [`Handles`]: the metrics of this process that the console reads, each by the handle that counts it. They have other
//! owners, which the assembly knows; a metric that is renamed or taken out is found by the compiler.

use std::sync::Arc;

use arc_swap::ArcSwap;
use prometheus::{Gauge, GaugeVec, Histogram, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

use crate::backend::Backend;
use crate::backend::forwards::Disabled;
use crate::event::{Freshness, Kind, Resource, Route};
use crate::http::RequestOutcome;
use crate::metrics::{Counters, Family};
use crate::pipeline::CommitFailure;
use crate::recent::Refusal;
use crate::twilio::kind::twiml_request::Verb;

/// Metrics that the console reads.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "each is described where it is declared")]
pub struct Handles {
    /// Those of the public listener; `None` in a worker.
    pub receiving: Option<Receiving>,
    pub events: Counters<(Kind, Freshness)>,
    pub differing: IntCounter,
    pub contradicted: IntCounter,
    /// By resource and terminal status.
    pub outcomes: Vec<((Resource, &'static str), IntCounter)>,
    pub commit_errors: Counters<(Backend, CommitFailure)>,
    pub stream_errors: IntCounter,
    pub stream_resets: IntCounter,
    pub group_resets: IntCounter,
    pub stream_unsupported: IntGauge,
    pub stream_refusing: IntGauge,
    pub blocking_groups: IntGauge,
    pub depth: IntGauge,
    pub oldest: Gauge,
    pub dead_letters: IntGauge,
    pub spool: IntGauge,
    pub spool_dead_letters: IntGauge,
    pub damaged_files: IntGauge,
    pub circuit_open: IntGauge,
    /// By backend, those in use.
    pub below: GaugeVec,
    pub calls_in_progress: IntGauge,
    pub calls_limit: IntGauge,
    pub participants: IntGauge,
    pub reload_successful: IntGauge,
    /// One of each table.
    pub retention: Vec<TableHandles>,
    /// One of each forward of the configuration.
    pub forwards: Arc<ArcSwap<Vec<ForwardHandles>>>,
    /// Those of sending; `None` in a process that does not send.
    pub sending: Option<SendHandles>,
}

/// Metrics of the public listener that the console reads.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "each is described where it is declared")]
pub struct Receiving {
    pub requests: Counters<(Option<Route>, RequestOutcome)>,
    pub duration: Family<Option<Route>, Histogram>,
    pub refusals: Counters<Refusal>,
    pub twiml_requests: Counters<Verb>,
    pub accept_failures: IntCounter,
    pub fallback_unrecorded: IntCounter,
    pub secret_matches: IntCounterVec,
    pub secret_retiring: IntGaugeVec,
}

/// Metrics of the retention of one table.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "each is described where it is declared")]
pub struct TableHandles {
    /// What the table is called.
    pub name: &'static str,
    pub errors: IntCounter,
    pub held: Gauge,
}

/// Metrics of one forward.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "each is described where it is declared")]
pub struct ForwardHandles {
    pub name: String,
    pub lag: Gauge,
    pub waiting: IntGauge,
    pub given_up: IntCounter,
    pub cut: IntCounter,
    pub store_errors: IntCounter,
    pub down: IntGauge,
    /// By the reason.
    pub disabled: Vec<(Disabled, IntGauge)>,
}

/// Metrics of what is sent for one account.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "each is described where it is declared")]
pub struct AccountHandles {
    pub name: String,
    /// By what came of them, all of them together.
    pub requests: Vec<IntCounter>,
    pub throttled: IntCounter,
    /// Without a connection.
    pub unsent: IntCounter,
    pub calls: IntGauge,
    pub calls_limit: IntGauge,
}

/// Metrics of sending.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "each is described where it is declared")]
pub struct SendHandles {
    pub accounts: Vec<AccountHandles>,
    /// By sender, as the configuration in force has them.
    pub paused: Arc<ArcSwap<Vec<(String, IntGauge)>>>,
    pub due: IntGauge,
    pub oldest_due: Gauge,
    pub unknown: IntGauge,
    pub other_key: IntGauge,
    pub mismatches: IntCounter,
    pub missed: IntCounter,
    /// Steps that began although Twilio could not be asked.
    pub escalated_blind: IntCounter,
    pub duplicates: IntCounter,
    /// Campaigns that have stopped themselves, and wait for a person.
    pub campaigns_stopped: IntGauge,
}

#[cfg(test)]
impl Handles {
    /// Of a process that receives and works, which has counted nothing.
    pub(crate) fn of_a_receiver() -> Self {
        crate::app::console::handles_of_a_receiver()
    }
}
