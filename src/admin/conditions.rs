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
mod sending;
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
    /// The section of the runbook that says what to do.
    pub(super) section: &'static str,
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
    /// The section of the runbook, where it is not the condition's.
    pub(super) section: Option<&'static str>,
}

impl Sign {
    /// As bad as the condition is.
    fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), tone: None, section: None }
    }

    /// Not as bad, or not yet.
    fn with(tone: Tone, text: impl Into<String>) -> Self {
        Self { text: text.into(), tone: Some(tone), section: None }
    }
}

impl Condition {
    /// How a sign of it is shown.
    pub(super) fn tone(&self, sign: &Sign) -> Tone {
        sign.tone.unwrap_or(self.severity.tone())
    }

    /// Where the runbook says what to do about a sign of it.
    pub(super) fn section(&self, sign: &Sign) -> &'static str {
        sign.section.unwrap_or(self.section)
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
    section: &'static str,
    look: fn(&Evidence<'_>) -> Vec<Sign>,
) -> Condition {
    Condition { alert: Some(alert), severity, page, section, look }
}

use Severity::{Critical, Info, Warning};

const REFUSALS: Option<&str> = Some("/refusals");
const FORWARDS: Option<&str> = Some("/forwards");
const SENDERS: Option<&str> = Some("/senders");

/// The worst first. Signs of one tone are shown in this order.
pub(super) const CONDITIONS: &[Condition] = &[
    row("OffhookNotDurable", Critical, REFUSALS, "refusals", callbacks::not_durable),
    Condition {
        alert: None,
        severity: Critical,
        page: None,
        section: "circuit-open",
        look: waiting::away,
    },
    row("OffhookInternalErrors", Critical, None, "internal-errors", callbacks::internal_errors),
    row("OffhookSignedToNoRoute", Critical, REFUSALS, "refusals", callbacks::signed_to_no_route),
    row("OffhookLostParameters", Critical, REFUSALS, "lost-parameters", callbacks::lost_parameters),
    row("OffhookTwimlRequests", Critical, None, "twiml-requests", callbacks::twiml_requests),
    row("OffhookRefusals", Critical, REFUSALS, "refusals", callbacks::refusals),
    row("OffhookNoCallbacks", Critical, None, "no-callbacks", callbacks::silence),
    row("OffhookSlowAnswers", Critical, None, "slow-answers", callbacks::slow_answers),
    row(
        "OffhookConnectionsNotTaken",
        Critical,
        None,
        "connections-not-taken",
        callbacks::connections_not_taken,
    ),
    row(
        "OffhookDurabilityBelowConfigured",
        Critical,
        None,
        "durability-below-configured",
        process::durability,
    ),
    row("OffhookLocalLogDamaged", Critical, None, "local-log-damaged", waiting::damaged),
    row("OffhookStreamUnsupported", Critical, None, "stream-unsupported", waiting::unsupported),
    row("OffhookStreamTakenAway", Critical, None, "stream-taken-away", waiting::taken_away),
    row("OffhookForwardDisabled", Critical, FORWARDS, "forward-disabled", forwards::disabled),
    row("OffhookForwardCut", Critical, FORWARDS, "forward-cut", forwards::cut),
    row("OffhookSendOtherKey", Critical, SENDERS, "sending-with-another-key", sending::other_key),
    row("OffhookSendUnreachable", Critical, SENDERS, "provider-unreachable", sending::unreachable),
    row("OffhookOldestAge", Critical, None, "oldest-age", waiting::oldest),
    row("OffhookStreamRefusing", Warning, None, "stream-refusing", waiting::refusing),
    row("OffhookCircuitOpen", Warning, None, "circuit-open", waiting::circuit),
    row("OffhookSpoolNotEmpty", Warning, None, "spool-not-empty", waiting::spool),
    row("OffhookCommitsFail", Warning, None, "commits-fail", waiting::commits),
    row("OffhookStreamErrors", Warning, None, "stream-errors", waiting::stream_errors),
    row("OffhookStreamGrowing", Warning, None, "stream-growing", waiting::growing),
    row(
        "OffhookDeadLetters",
        Warning,
        Some("/dead-letters"),
        "dead-letters",
        waiting::dead_letters,
    ),
    row("OffhookSendLate", Warning, SENDERS, "sending-late", sending::late),
    row(
        "OffhookCallsNearLimit",
        Warning,
        SENDERS,
        "calls-near-their-limit",
        sending::calls_near_limit,
    ),
    row("OffhookSendUnknown", Warning, SENDERS, "outcome-unknown", sending::unknown),
    row("OffhookSenderPaused", Warning, SENDERS, "sender-paused", sending::paused),
    row(
        "OffhookCampaignStopped",
        Warning,
        Some("/campaigns?state=stopped"),
        "campaign-stopped",
        sending::campaigns_stopped,
    ),
    row("OffhookSentTwice", Warning, SENDERS, "sent-twice", sending::duplicates),
    row("OffhookAttemptMismatch", Warning, None, "attempt-mismatch", sending::mismatches),
    row("OffhookEscalatedBlind", Warning, None, "escalated-blind", sending::escalated_blind),
    row("OffhookCallbacksMissed", Warning, None, "callbacks-missed", sending::missed),
    row("OffhookSendThrottled", Warning, SENDERS, "sending-throttled", sending::throttled),
    row("OffhookForwardErrors", Warning, FORWARDS, "forward-errors", forwards::errors),
    row("OffhookForwardDown", Warning, FORWARDS, "forward-down", forwards::down),
    row("OffhookForwardLate", Warning, FORWARDS, "forward-late", forwards::late),
    row("OffhookForwardGivenUp", Warning, FORWARDS, "forward-given-up", forwards::given_up),
    row(
        "OffhookBlockedByAnotherGroup",
        Warning,
        None,
        "blocked-by-another-group",
        waiting::blocked,
    ),
    row(
        "OffhookDifferingDuplicates",
        Warning,
        None,
        "differing-duplicates",
        outcomes::differing_duplicates,
    ),
    row("OffhookFallbackUnrecorded", Warning, None, "refusals", callbacks::fallback_unrecorded),
    row("OffhookReloadFailed", Warning, None, "reload-failed", process::reload),
    row("OffhookRetentionHeld", Warning, None, "retention-held", process::retention_held),
    row(
        "OffhookDeliveryFailures",
        Warning,
        Some("/search"),
        "delivery-failures",
        outcomes::delivery_failures,
    ),
    row("OffhookEmailBounces", Warning, Some("/search"), "email-bounces", outcomes::email_bounces),
    row("OffhookConcurrentCalls", Warning, None, "concurrent-calls", outcomes::concurrent_calls),
    row("OffhookFullConference", Warning, None, "full-conference", outcomes::full_conference),
    row("OffhookContradictedStatuses", Info, None, "contradicted-statuses", outcomes::contradicted),
    row(
        "OffhookRetiringSecretStillMatches",
        Info,
        None,
        "retiring-secret-still-matches",
        process::retiring_secret,
    ),
    row("OffhookRetentionFails", Info, None, "retention-fails", process::retention),
];

/// Alerts that no process can tell of by itself, why, and their sections of the runbook.
pub const ELSEWHERE: &[(&str, &str, &str)] = &[
    ("OffhookDown", "a process that does not answer has no page", "no-callbacks"),
    ("OffhookAllDown", "no process answers", "no-callbacks"),
];

/// Each alert that the verdict knows, with its severity and its section of the runbook.
pub fn alerts() -> impl Iterator<Item = (&'static str, Severity, &'static str)> {
    let known = CONDITIONS.iter();
    known.filter_map(|known| Some((known.alert?, known.severity, known.section)))
}

#[cfg(test)]
mod tests;
