//! [`CONDITIONS`]: everything that can be wrong with a deployment while it runs. One list, for the verdict
//! on the page, for `GET /api/verdict`, which `offhook doctor` asks, and for the alerts: a test holds each
//! alert of `config/prometheus/alerts.yml` against its row here.
//!
//! A new condition is one row and one function. The function looks through the same window as its alert, so
//! that the page names what the alert is about for as long as the alert fires.

mod callbacks;
mod forwards;
mod outcomes;
mod process;
mod waiting;

use std::time::Duration;

use super::last_hour::{Sample, Vitals};
use super::verdict::Tone;
use crate::backend::{Backend, Dependency, DurabilityReport};

/// One thing that can be wrong.
pub(super) struct Condition {
    /// The alert that tells of it; `None` where readiness does, or where another alert has it at its end.
    pub(super) alert: Option<&'static str>,
    /// How bad it is. The alert's severity, if there is one.
    pub(super) severity: Severity,
    /// The page of the console that has more about it.
    pub(super) page: Option<&'static str>,
    /// What there is to say; nothing while all is well.
    pub(super) look: fn(&Evidence<'_>) -> Vec<Sign>,
}

/// How bad a condition is, in the words of the alerts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Severity {
    /// Callbacks are late or lost.
    Critical,
    /// They will be.
    Warning,
    /// It can wait for the morning.
    Info,
}

impl Severity {
    /// The label of the alert.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Warning => "warning",
            Self::Info => "info",
        }
    }

    fn tone(self) -> Tone {
        match self {
            Self::Critical => Tone::Bad,
            Self::Warning => Tone::Odd,
            Self::Info => Tone::Later,
        }
    }
}

/// A sentence about a condition that holds.
pub(super) struct Sign {
    pub(super) text: String,
    /// Less than the condition's severity says, where it has only begun.
    pub(super) tone: Option<Tone>,
}

impl Sign {
    /// As bad as the condition is.
    fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), tone: None }
    }

    /// Not as bad, or not yet.
    fn with(tone: Tone, text: impl Into<String>) -> Self {
        Self { text: text.into(), tone: Some(tone) }
    }
}

impl Condition {
    /// How a sign of it is shown.
    pub(super) fn tone(&self, sign: &Sign) -> Tone {
        sign.tone.unwrap_or(self.severity.tone())
    }
}

/// What a condition is looked for in.
pub(super) struct Evidence<'v> {
    pub(super) vitals: &'v Vitals,
    pub(super) durability: &'v [(Backend, DurabilityReport)],
}

impl Evidence<'_> {
    /// By how much a count rose within `span`, or since the process started.
    fn rose(&self, span: Duration, count: impl Fn(&Sample) -> u64) -> u64 {
        count(&self.vitals.now).saturating_sub(count(self.vitals.before(span)))
    }

    /// Whether a dependency does not answer.
    fn away(&self, dependency: Dependency) -> bool {
        let dependencies = &self.vitals.dependencies;
        dependencies.iter().any(|seen| seen.dependency == dependency && seen.away.is_some())
    }

    /// Whether this process takes callbacks.
    fn receives(&self) -> bool {
        self.vitals.now.receives
    }
}

const fn minutes(minutes: u64) -> Duration {
    Duration::from_secs(minutes * 60)
}

const fn row(
    alert: &'static str,
    severity: Severity,
    page: Option<&'static str>,
    look: fn(&Evidence<'_>) -> Vec<Sign>,
) -> Condition {
    Condition { alert: Some(alert), severity, page, look }
}

use Severity::{Critical, Info, Warning};

const REFUSALS: Option<&str> = Some("/refusals");
const FORWARDS: Option<&str> = Some("/forwards");

/// The worst first. Signs of one tone are shown in this order.
pub(super) const CONDITIONS: &[Condition] = &[
    row("OffhookNotDurable", Critical, REFUSALS, callbacks::not_durable),
    Condition { alert: None, severity: Critical, page: None, look: waiting::away },
    row("OffhookInternalErrors", Critical, None, callbacks::internal_errors),
    row("OffhookSignedToNoRoute", Critical, REFUSALS, callbacks::signed_to_no_route),
    row("OffhookLostParameters", Critical, REFUSALS, callbacks::lost_parameters),
    row("OffhookTwimlRequests", Critical, None, callbacks::twiml_requests),
    row("OffhookRefusals", Critical, REFUSALS, callbacks::refusals),
    row("OffhookNoCallbacks", Critical, None, callbacks::silence),
    row("OffhookSlowAnswers", Critical, None, callbacks::slow_answers),
    row("OffhookConnectionsNotTaken", Critical, None, callbacks::connections_not_taken),
    row("OffhookDurabilityBelowConfigured", Critical, None, process::durability),
    row("OffhookLocalLogDamaged", Critical, None, waiting::damaged),
    row("OffhookStreamUnsupported", Critical, None, waiting::unsupported),
    row("OffhookStreamTakenAway", Critical, None, waiting::taken_away),
    row("OffhookForwardDisabled", Critical, FORWARDS, forwards::disabled),
    row("OffhookForwardCut", Critical, FORWARDS, forwards::cut),
    row("OffhookOldestAge", Critical, None, waiting::oldest),
    row("OffhookStreamRefusing", Warning, None, waiting::refusing),
    row("OffhookCircuitOpen", Warning, None, waiting::circuit),
    row("OffhookSpoolNotEmpty", Warning, None, waiting::spool),
    row("OffhookCommitsFail", Warning, None, waiting::commits),
    row("OffhookStreamErrors", Warning, None, waiting::stream_errors),
    row("OffhookStreamGrowing", Warning, None, waiting::growing),
    row("OffhookDeadLetters", Warning, Some("/dead-letters"), waiting::dead_letters),
    row("OffhookForwardDown", Warning, FORWARDS, forwards::down),
    row("OffhookForwardLate", Warning, FORWARDS, forwards::late),
    row("OffhookForwardGivenUp", Warning, FORWARDS, forwards::given_up),
    row("OffhookBlockedByAnotherGroup", Warning, None, waiting::blocked),
    row("OffhookDifferingDuplicates", Warning, None, outcomes::differing_duplicates),
    row("OffhookFallbackUnrecorded", Warning, None, callbacks::fallback_unrecorded),
    row("OffhookReloadFailed", Warning, None, process::reload),
    row("OffhookRetentionHeld", Warning, None, process::retention_held),
    row("OffhookDeliveryFailures", Warning, Some("/search"), outcomes::delivery_failures),
    row("OffhookConcurrentCalls", Warning, None, outcomes::concurrent_calls),
    row("OffhookContradictedStatuses", Info, None, outcomes::contradicted),
    row("OffhookRetiringSecretStillMatches", Info, None, process::retiring_secret),
    row("OffhookRetentionFails", Info, None, process::retention),
];

/// Alerts that no process can tell of by itself, and why.
pub const ELSEWHERE: &[(&str, &str)] =
    &[("OffhookDown", "a process that does not answer has no page")];

/// Each alert that the verdict knows, with its severity.
pub fn alerts() -> impl Iterator<Item = (&'static str, Severity)> {
    CONDITIONS.iter().filter_map(|condition| Some((condition.alert?, condition.severity)))
}

#[cfg(test)]
mod tests;
