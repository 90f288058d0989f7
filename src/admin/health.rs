//! Liveness depends on nothing; readiness says whether this process can do its job right now.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use tokio::time::timeout;

use super::Admin;
use crate::backend::{Backend, Dependency, DurabilityLevel, DurabilityReport, Need};

/// Longest wait for all dependencies. Orchestrators often give a probe no more than that.
const PATIENCE: Duration = Duration::from_secs(2);

/// The answer of `/readyz`.
#[derive(Debug, Serialize)]
pub(super) struct Readiness {
    ready: bool,
    /// Whether the process was told to stop.
    stopping: bool,
    dependencies: Vec<Checked>,
    /// By backend, where its own settings decide.
    durability: BTreeMap<Backend, InForceView>,
}

#[derive(Debug, Serialize)]
struct InForceView {
    level: DurabilityLevel,
    settings: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    breach: Option<&'static str>,
}

impl From<DurabilityReport> for InForceView {
    fn from(DurabilityReport { level, settings, breach }: DurabilityReport) -> Self {
        Self { level, settings, breach }
    }
}

/// A dependency, and whether it can do its job right now.
#[derive(Debug, Serialize)]
pub(super) struct Checked {
    #[serde(rename = "name")]
    pub(super) dependency: Dependency,
    pub(super) ready: bool,
    /// Whether the process can do its job without it.
    pub(super) need: Need,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<String>,
}

/// The process runs.
pub(super) async fn live() -> &'static str {
    "ok\n"
}

/// Asks every dependency.
pub(super) async fn dependencies(admin: &Admin) -> Vec<Checked> {
    let mut dependencies = Vec::with_capacity(admin.probes.len());
    for (need, probe) in &admin.probes {
        let checked = timeout(PATIENCE / 2, probe.check()).await;
        let error = match checked {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some("no answer in time".to_owned()),
        };
        let (dependency, ready) = (probe.dependency(), error.is_none());
        dependencies.push(Checked { dependency, ready, need: *need, error });
    }
    dependencies
}

/// Whether this process can do its job right now.
pub(super) async fn ready(State(admin): State<Arc<Admin>>) -> (StatusCode, Json<Readiness>) {
    let dependencies = dependencies(&admin).await;
    let needs = admin.probes.iter().zip(&dependencies);
    let able = Need::are_met(needs.map(|((need, _), there)| (*need, there.ready)));
    let stopping = admin.stop.is_cancelled();
    let ready = !stopping && able;
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let seen = admin.durabilities.all().into_iter();
    let durability = seen.map(|(backend, report)| (backend, report.into())).collect();
    (status, Json(Readiness { ready, stopping, dependencies, durability }))
}
