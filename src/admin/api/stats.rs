//! How much of what: of the store, and of this process.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use serde::{Deserialize, Serialize};

use super::{Problem, ask};
use crate::admin::Admin;
use crate::admin::last_hour::{DependencyStatus, Vitals};
use crate::backend::search::Counts;
use crate::backend::{self, Need};
use crate::clock::Timestamp;

/// An hour, unless something else is asked for.
const SINCE: &str = "1h";

#[derive(Debug, Serialize)]
pub(super) struct Stats {
    store: Store,
    process: Process,
}

#[derive(Debug, Serialize)]
struct Store {
    since: Timestamp,
    /// Events by kind.
    events: BTreeMap<String, i64>,
    /// SIDs by what they are, then by status.
    statuses: BTreeMap<String, BTreeMap<String, i64>>,
    /// The most frequent, the first the most.
    errors: Vec<ErrorCount>,
}

#[derive(Debug, Serialize)]
struct ErrorCount {
    code: String,
    count: i64,
}

/// What this process saw, at most an hour back.
#[derive(Debug, Serialize)]
struct Process {
    since: Timestamp,
    accepted: u64,
    refused: u64,
    refusals: BTreeMap<&'static str, u64>,
    accepted_per_second: f64,
    refused_per_second: f64,
    /// In seconds; null if nothing was answered.
    latency_median: Option<f64>,
    latency_p95: Option<f64>,
    /// Events that it brought into the store.
    stored: u64,
    duplicates: u64,
    /// What waits to be stored: in Redis, null where that cannot be asked; else in the local log.
    stream_depth: Option<u64>,
    /// Seconds; null likewise.
    stream_oldest_age: Option<f64>,
    /// Null where there is no local log behind Redis, as in a worker.
    spool_events: Option<u64>,
    /// Since when events go to the spool without asking Redis.
    circuit_open: Option<Timestamp>,
    /// Null where Redis cannot be asked.
    dead_letters: Option<u64>,
    dependencies: Vec<Dependency>,
    /// Who watches events as they are committed.
    watchers: usize,
}

#[derive(Debug, Serialize)]
struct Dependency {
    name: backend::Dependency,
    need: Need,
    /// Since when.
    away: Option<Timestamp>,
    error: Option<String>,
}

impl Process {
    fn of(vitals: &Vitals, watchers: usize) -> Self {
        let Vitals { now, hour, circuit_open, .. } = vitals;
        let dependencies = vitals.dependencies.iter().cloned();
        let named = vitals.refusals_since(hour).into_iter();
        let named = named.map(|(reason, times)| (reason.as_str(), times));
        Self {
            since: hour.at,
            accepted: now.accepted().saturating_sub(hour.accepted()),
            refused: now.refused().saturating_sub(hour.refused()),
            refusals: named.collect(),
            accepted_per_second: vitals.per_second,
            refused_per_second: vitals.refused_per_second,
            latency_median: vitals.median,
            latency_p95: vitals.p95,
            stored: now.stored.saturating_sub(hour.stored),
            duplicates: now.duplicates.saturating_sub(hour.duplicates),
            stream_depth: vitals.unstored(now.depth),
            stream_oldest_age: vitals.unstored(0).map(|_| now.oldest),
            spool_events: vitals.has_spool().then_some(now.spool),
            circuit_open: *circuit_open,
            dead_letters: vitals.unstored(now.dead_letters),
            dependencies: dependencies
                .map(|DependencyStatus { dependency: name, need, away, error }| Dependency {
                    name,
                    need,
                    away,
                    error,
                })
                .collect(),
            watchers,
        }
    }
}

/// The query of `GET /api/stats`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StatsQuery {
    since: Option<String>,
}

/// `GET /api/stats?since=1h`
pub(super) async fn show(
    State(admin): State<Arc<Admin>>,
    query: Result<Query<StatsQuery>, QueryRejection>,
) -> Result<Json<Stats>, Problem> {
    let Query(StatsQuery { since }) = query?;
    let since = ask::when(since.as_deref().unwrap_or(SINCE), admin.clock.now());
    let since = since.ok_or_else(|| {
        Problem::bad("`since` is not a time (2026-11-24T08:00:00Z), a date (2026-11-24) or an age (15m, 2h, 7d)")
    })?;
    let Counts { events, statuses, errors } = admin.reader.counts(since).await?;
    let mut by_resource: BTreeMap<String, BTreeMap<String, i64>> = BTreeMap::new();
    for (resource, status, count) in statuses {
        by_resource.entry(resource).or_default().insert(status, count);
    }
    let errors = errors.into_iter().map(|(code, count)| ErrorCount { code, count }).collect();
    let events = events.into_iter().collect();
    let store = Store { since, events, statuses: by_resource, errors };
    let vitals = admin.last_hour.vitals(&admin).await;
    Ok(Json(Stats { store, process: Process::of(&vitals, admin.live.watchers()) }))
}
