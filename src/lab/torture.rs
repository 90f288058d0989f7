//! Faults under load, and the proof that nothing was lost: what `offhook torture` runs.
//!
//! A [`Testbed`](testbed::Testbed) is an offhook of several processes on private servers. A
//! [`Load`](load::Load) sends callbacks to it, and writes what was answered into a
//! [`Ledger`](ledger::Ledger) outside of those processes. A scenario injects faults meanwhile. Then
//! a [`Verdict`](verdict::Verdict) holds the store against the ledger.
//!
//! It looks at offhook from outside: by HTTP, signals, and what is in the store.

mod admin_api;
mod asking;
mod callbacks;
mod campaigning;
mod disk;
mod forwarded;
mod ledger;
mod load;
mod meddling;
mod operator;
mod provider;
mod proxy;
mod readers;
mod reading;
mod report;
mod scenarios;
mod sending;
mod sent;
mod server;
mod testbed;
mod trial;
mod verdict;

use std::path::PathBuf;
use std::time::Duration;

pub use self::report::Report;
pub use self::scenarios::Scenario;
use crate::crash_points::Sabotage;

/// How a scenario is run.
#[derive(Clone, Debug)]
pub struct Run {
    /// The `offhook` that is tortured.
    pub program: PathBuf,
    /// A directory for what several runs can share, the template of a Postgres cluster.
    pub home: PathBuf,
    /// For how long faults are injected.
    pub duration: Duration,
    /// Whether workers claim events before they store them, which loses some: to see whether it is
    /// found out.
    pub naive_workers: bool,
    /// How what sends is made to send wrongly: to see whether it is found out.
    pub sabotage: Option<Sabotage>,
    /// What the load and the faults are made from.
    pub seed: u64,
}
