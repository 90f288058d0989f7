//! Which durability is in force: read from the backends at start and again and again, logged when
//! it changes, shown by metrics and `/readyz`, and refused where it breaks the promise.

use std::time::Duration;

use anyhow::bail;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::backend::{BackendError, DurabilityLevel, DurabilityReport, DurabilityReports, Probe};
use crate::pipeline::spooled::AnswerAfter;
use crate::telemetry::metrics::Metrics;

/// Settings change rarely, but callbacks that are answered meanwhile are less durable than promised; and the
/// operator who has corrected one wants to see it.
const EVERY: Duration = Duration::from_secs(5);

/// Reads what is in force, and tells.
pub(crate) struct Watch {
    pub(crate) backends: Vec<Probe>,
    pub(crate) shown: DurabilityReports,
    pub(crate) metrics: Metrics,
    /// What a callback is answered for.
    pub(crate) answer_after: AnswerAfter,
}

/// In bounded time: a start must not wait for a backend that is away.
async fn ask(backend: &Probe) -> Option<Result<DurabilityReport, BackendError>> {
    const PATIENCE: Duration = Duration::from_secs(2);
    let late = |_| Some(Err(BackendError("no answer in time".to_owned())));
    timeout(PATIENCE, backend.durability()).await.unwrap_or_else(late)
}

impl Watch {
    /// The first look. A backend that is away is looked at later.
    ///
    /// # Errors
    /// A setting breaks the promise; the error says which, and the fix.
    pub(crate) async fn look(&self) -> anyhow::Result<()> {
        for backend in &self.backends {
            let Some(read) = ask(backend).await else { continue };
            if let Some(breach) = self.tell(backend.name(), read) {
                bail!("{}: {breach}", backend.name());
            }
        }
        Ok(())
    }

    /// Looks again and again; ends early, which stops the process, at a breach that was there when
    /// a backend was first seen.
    pub(crate) async fn run(self, stop: CancellationToken) -> &'static str {
        const NAME: &str = "durability watch";
        loop {
            tokio::select! {
                () = tokio::time::sleep(EVERY) => {}
                () = stop.cancelled() => return NAME,
            }
            for backend in &self.backends {
                let Some(read) = ask(backend).await else { continue };
                let first = self.shown.get(backend.name()).is_none();
                if self.tell(backend.name(), read).is_some() && first {
                    return NAME;
                }
            }
        }
    }

    /// Shows it, and logs it if it is news; returns a breach.
    fn tell(
        &self,
        name: &'static str,
        read: Result<DurabilityReport, BackendError>,
    ) -> Option<&'static str> {
        let report = match read {
            Ok(report) => report,
            Err(error) => {
                warn!(backend = name, error = %error, "durability cannot be read yet");
                return None;
            }
        };
        self.metrics.show_durability(name, &report, self.is_below(name, report.level));
        let breach = report.breach;
        if self.shown.set(name, report.clone()) {
            self.log(name, &report);
        }
        breach
    }

    /// Whether it is known to be less than asked for. Behind a spool that has everything first, the
    /// stream may be as it is.
    fn is_below(&self, backend: &str, level: DurabilityLevel) -> bool {
        let spooled = backend == "redis" && self.answer_after == AnswerAfter::Spool;
        !spooled && !matches!(level, DurabilityLevel::Synced | DurabilityLevel::Unknown)
    }

    fn log(&self, backend: &str, report: &DurabilityReport) {
        let (level, settings) = (report.level.as_str(), report.settings.as_str());
        if let Some(breach) = report.breach {
            error!(backend, level, settings, breach, "durability in force breaks the promise");
        } else if report.level == DurabilityLevel::Unknown && self.answer_after == AnswerAfter::Log
        {
            warn!(
                backend,
                level,
                settings,
                "durability in force is hidden: unless you know that this backend syncs before it \
                 answers, set stream.durability = \"spool\""
            );
        } else if self.is_below(backend, report.level) {
            let fix = match backend {
                "redis" => {
                    "set appendonly yes and appendfsync always, or stream.durability = \"spool\""
                }
                _ => "set fsync on",
            };
            warn!(
                backend,
                level,
                settings,
                fix,
                "durability in force is less than synced: a crash of this backend can lose events \
                 that were answered"
            );
        } else {
            info!(backend, level, settings, "durability in force");
        }
    }
}
