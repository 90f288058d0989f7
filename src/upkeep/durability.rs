//! [`DurabilityMonitor`]: the durability in force. It is read from the backends at start and periodically, logged when
//! it changes, shown, and refused if it breaks the promise.

use std::time::Duration;

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use super::rest;
use crate::backend::{
    Backend, BackendError, DurabilityLevel, DurabilityReport, DurabilityReports, Probe,
};
use crate::pipeline::spooled::AnswerAfter;

/// Settings change rarely, but callbacks that are answered meanwhile are less durable than promised; and the
/// operator who has corrected one wants to see it.
const READ_INTERVAL: Duration = Duration::from_secs(5);
/// A start must not wait for a backend that is away.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// What can say which durability is in force.
pub trait Durable: Send + Sync {
    /// Which backend it is.
    fn backend(&self) -> Backend;

    /// Reads it; `None` where it is our own settings that decide.
    fn durability(
        &self,
    ) -> impl Future<Output = Option<Result<DurabilityReport, BackendError>>> + Send;
}

impl Durable for Probe {
    fn backend(&self) -> Backend {
        self.dependency().backend()
    }

    async fn durability(&self) -> Option<Result<DurabilityReport, BackendError>> {
        Self::durability(self).await
    }
}

/// A setting of a backend breaks the promise.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{}: {breach}", .backend.as_str())]
pub struct Breach {
    backend: Backend,
    /// The setting, and what to set instead.
    breach: &'static str,
}

/// Reads what is in force.
#[derive(Debug)]
pub struct DurabilityMonitor<B, S> {
    /// The backends to read.
    pub backends: Vec<B>,
    /// What was read last.
    pub in_force: DurabilityReports,
    /// The commit after which a callback is answered.
    pub answer_after: AnswerAfter,
    /// Takes a backend, what was read, and whether that is less than was asked for.
    pub show: S,
}

impl<B: Durable, S: Fn(Backend, &DurabilityReport, bool) + Send + Sync> DurabilityMonitor<B, S> {
    /// The first look. A backend that is away is looked at later.
    ///
    /// # Errors
    /// A setting breaks the promise; the error says which, and the fix.
    pub async fn look(&self) -> Result<(), Breach> {
        for backend in &self.backends {
            self.read(backend).await?;
        }
        Ok(())
    }

    /// Checks periodically until `stop`. Ends early, which stops the process, if a backend broke the promise when it
    /// was first seen.
    pub async fn run(self, stop: CancellationToken) {
        while rest(READ_INTERVAL, &stop).await {
            for backend in &self.backends {
                let is_first = self.in_force.get(backend.backend()).is_none();
                if self.read(backend).await.is_err() && is_first {
                    return;
                }
            }
        }
    }

    /// Reads what is in force, shows it, and logs it if it is news.
    async fn read(&self, asked: &B) -> Result<(), Breach> {
        let late = |_| Some(Err(BackendError("no answer in time".to_owned())));
        let read = timeout(ANSWER_TIMEOUT, asked.durability()).await.unwrap_or_else(late);
        let backend = asked.backend();
        let in_force = match read {
            Some(Ok(in_force)) => in_force,
            Some(Err(error)) => {
                // What needs the backend says that it is away.
                debug!(backend = backend.as_str(), error = %error, "durability cannot be read yet");
                return Ok(());
            }
            None => return Ok(()),
        };
        (self.show)(backend, &in_force, self.is_below(backend, in_force.level));
        let breach = in_force.breach;
        if self.in_force.set(backend, in_force.clone()) {
            self.log(backend, &in_force);
        }
        breach.map_or(Ok(()), |breach| Err(Breach { backend, breach }))
    }

    /// Whether it is known to be less than required. Behind a spool that has everything first, any durability of the
    /// stream will do.
    fn is_below(&self, backend: Backend, level: DurabilityLevel) -> bool {
        let spooled = backend == Backend::Redis && self.answer_after == AnswerAfter::Spool;
        !spooled && !matches!(level, DurabilityLevel::Synced | DurabilityLevel::Unknown)
    }

    fn log(&self, of: Backend, in_force: &DurabilityReport) {
        let backend = of.as_str();
        let (level, settings) = (in_force.level.as_str(), in_force.settings.as_str());
        if let Some(breach) = in_force.breach {
            error!(
                backend,
                level, settings, breach, "the settings of this backend break what a 200 promises"
            );
        } else if in_force.level == DurabilityLevel::Unknown
            && self.answer_after == AnswerAfter::Log
        {
            warn!(
                backend,
                level,
                settings,
                "this backend hides its settings: unless you know that it syncs before it answers, set \
                 stream.durability = \"spool\""
            );
        } else if self.is_below(of, in_force.level) {
            let fix = match of {
                Backend::Redis => {
                    "set appendonly yes and appendfsync always, or stream.durability = \"spool\""
                }
                _ => "set fsync on",
            };
            warn!(
                backend,
                level,
                settings,
                fix,
                "this backend does not sync before it answers: a crash can lose events that were answered"
            );
        } else {
            info!(backend, level, settings, "durability in force");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::Mutex;

    use super::*;

    /// Answers in turn, then stops the monitor.
    struct Script(Mutex<VecDeque<Result<DurabilityReport, BackendError>>>, CancellationToken);

    impl Durable for Script {
        fn backend(&self) -> Backend {
            Backend::Redis
        }

        async fn durability(&self) -> Option<Result<DurabilityReport, BackendError>> {
            let mut answers = self.0.lock().unwrap();
            let answer = answers.pop_front().expect("it was stopped");
            if answers.is_empty() {
                self.1.cancel();
            }
            Some(answer)
        }
    }

    const EVICTS: &str = "Redis evicts";

    fn of(
        level: DurabilityLevel,
        breach: Option<&'static str>,
    ) -> Result<DurabilityReport, BackendError> {
        Ok(DurabilityReport { level, settings: String::new(), breach })
    }

    fn away() -> Result<DurabilityReport, BackendError> {
        Err(BackendError("no answer".to_owned()))
    }

    /// What is shown of these answers, by a monitor that looks once and then runs; and how the look ended.
    async fn shown<const N: usize>(
        answer_after: AnswerAfter,
        answers: [Result<DurabilityReport, BackendError>; N],
    ) -> (Result<(), Breach>, Vec<(DurabilityLevel, bool)>) {
        let (stop, shown) = (CancellationToken::new(), Mutex::new(Vec::new()));
        let monitor = DurabilityMonitor {
            backends: vec![Script(Mutex::new(answers.into()), stop.clone())],
            in_force: DurabilityReports::default(),
            answer_after,
            show: |backend, in_force: &DurabilityReport, is_below: bool| {
                assert_eq!(backend, Backend::Redis);
                shown.lock().unwrap().push((in_force.level, is_below));
            },
        };
        let looked = monitor.look().await;
        if N > 1 {
            monitor.run(stop).await;
        }
        (looked, shown.into_inner().unwrap())
    }

    #[tokio::test]
    async fn a_change_is_seen_and_what_is_less_than_asked_for_is_named() {
        let answers =
            || [away(), of(DurabilityLevel::Synced, None), of(DurabilityLevel::EverySecond, None)];
        let (looked, levels) = shown(AnswerAfter::Log, answers()).await;
        assert_eq!(looked, Ok(()));
        assert_eq!(
            levels,
            [(DurabilityLevel::Synced, false), (DurabilityLevel::EverySecond, true)]
        );
        let (_, levels) = shown(AnswerAfter::Spool, answers()).await;
        assert_eq!(levels[1], (DurabilityLevel::EverySecond, false), "the spool has it");
    }

    #[tokio::test]
    async fn a_breach_ends_the_process_when_a_backend_is_first_seen_and_only_then() {
        let breach = || of(DurabilityLevel::Synced, Some(EVICTS));
        let (looked, _) = shown(AnswerAfter::Log, [breach()]).await;
        assert_eq!(looked.expect_err("refused at start").to_string(), "redis: Redis evicts");
        // The third answer is never read: the monitor has ended.
        let (_, levels) = shown(AnswerAfter::Log, [away(), breach(), breach()]).await;
        assert_eq!(levels.len(), 1);
        let (_, levels) =
            shown(AnswerAfter::Log, [of(DurabilityLevel::Synced, None), breach(), breach()]).await;
        assert_eq!(levels.len(), 3);
    }
}
