//! Whether all is well, as the page says it.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;

use crate::admin::Admin;
use crate::admin::verdict::{Finding, Tone, verdict};

#[derive(Debug, Serialize)]
pub(super) struct Answer {
    /// The worst of the findings.
    tone: Tone,
    findings: Vec<WithHelp>,
}

#[derive(Debug, Serialize)]
struct WithHelp {
    #[serde(flatten)]
    finding: Finding,
    /// Where it is said what to do: a path of this listener, or the URL of another runbook.
    help: Option<String>,
}

/// `GET /api/verdict`, the worst first.
pub(super) async fn show(State(admin): State<Arc<Admin>>) -> Json<Answer> {
    let vitals = admin.last_hour.vitals(&admin).await;
    let durability: Vec<_> = admin.durabilities.all().into_iter().collect();
    let findings = verdict(&vitals, &durability);
    let tone = findings.first().map_or(Tone::Good, |worst| worst.tone);
    let with_help = |finding: Finding| WithHelp { help: finding.help(&admin.runbook), finding };
    Json(Answer { tone, findings: findings.into_iter().map(with_help).collect() })
}
