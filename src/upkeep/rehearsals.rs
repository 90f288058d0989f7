//! [`Rehearsals`]: periodically tries what receivers and workers do with Redis, to detect a Redis that answers `PING`
//! and refuses the rest.

use std::time::Duration;

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::rest;
use crate::backend::redis::{Failure, RedisHealth, Rehearsal};

/// Short against what an outage costs.
const REHEARSAL_INTERVAL: Duration = Duration::from_secs(5);
/// While something is wrong: the end of it must be seen soon.
const RECOVERY_INTERVAL: Duration = Duration::from_secs(1);
/// A start must not wait for a Redis that is away.
const START_TIMEOUT: Duration = Duration::from_secs(2);

/// What can be rehearsed.
pub trait Rehearse: Send + 'static {
    /// Tries everything that this process does, in bounded time.
    fn rehearse(&mut self) -> impl Future<Output = Result<(), Failure>> + Send;

    /// What has been found out.
    fn health(&self) -> &RedisHealth;
}

impl Rehearse for Rehearsal {
    async fn rehearse(&mut self) -> Result<(), Failure> {
        self.run().await
    }

    fn health(&self) -> &RedisHealth {
        Self::health(self)
    }
}

/// offhook cannot work with this Redis.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("redis: {0}")]
pub struct Unsupported(String);

/// Rehearses what this process does with Redis.
#[derive(Debug)]
pub struct Rehearsals<R, S> {
    /// What is tried.
    pub rehearsal: R,
    /// Takes what was found out.
    pub show: S,
}

impl<R: Rehearse, S: Fn(&RedisHealth) + Send> Rehearsals<R, S> {
    /// The first rehearsal.
    ///
    /// # Errors
    /// offhook cannot work with this Redis. It is refused at start, because every callback would be answered and none
    /// stored.
    pub async fn begin(mut self) -> Result<Self, Unsupported> {
        let late = |_| Err(Failure::Away("no answer in time".to_owned()));
        let rehearsing = timeout(START_TIMEOUT, self.rehearsal.rehearse());
        let outcome = rehearsing.await.unwrap_or_else(late);
        if let Err(Failure::Unsupported(why)) = outcome {
            return Err(Unsupported(why));
        }
        self.note(outcome);
        Ok(self)
    }

    /// Again and again, until `stop`. A Redis that turns out later to be unsupported ends no process: the
    /// receiver has its spool, and the worker reads nothing.
    pub async fn run(mut self, stop: CancellationToken) {
        while rest(self.pause(), &stop).await {
            let outcome = self.rehearsal.rehearse().await;
            self.note(outcome);
        }
    }

    fn pause(&self) -> Duration {
        match self.rehearsal.health().outcome() {
            Ok(()) => REHEARSAL_INTERVAL,
            Err(_) => RECOVERY_INTERVAL,
        }
    }

    /// Keeps it, shows it, and logs it if it is news.
    fn note(&self, outcome: Result<(), Failure>) {
        let health = self.rehearsal.health();
        let news = health.rehearsed(outcome.clone());
        (self.show)(health);
        match outcome {
            _ if !news => {}
            Ok(()) => info!("Redis answers, and allows every command that is needed"),
            Err(Failure::Away(error)) => warn!(error, "Redis does not answer"),
            Err(failure @ Failure::Unsupported(_)) => error!(
                error = %failure,
                "offhook cannot work with this Redis: events go to the spool, and workers read nothing"
            ),
            Err(failure) => error!(error = %failure, "Redis refuses a command that is needed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::{Arc, Mutex};

    use super::super::testing::pauses;
    use super::*;

    /// Answers in turn, then stops.
    struct Script(VecDeque<Result<(), Failure>>, Arc<RedisHealth>, CancellationToken);

    impl Rehearse for Script {
        async fn rehearse(&mut self) -> Result<(), Failure> {
            let outcome = self.0.pop_front().expect("it was stopped");
            if self.0.is_empty() {
                self.2.cancel();
            }
            outcome
        }

        fn health(&self) -> &RedisHealth {
            &self.1
        }
    }

    fn away() -> Result<(), Failure> {
        Err(Failure::Away("no answer".to_owned()))
    }

    #[tokio::test]
    async fn what_is_found_out_is_shown_and_an_end_of_trouble_is_seen_sooner() {
        let (stop, health) = (CancellationToken::new(), Arc::new(RedisHealth::default()));
        let outcomes = [Ok(()), away(), Ok(()), Ok(())];
        let shown = Mutex::new(Vec::new());
        let rehearsals = Rehearsals {
            rehearsal: Script(outcomes.into(), health, stop.clone()),
            show: |health: &RedisHealth| shown.lock().unwrap().push(health.outcome().is_ok()),
        };
        rehearsals.begin().await.expect("it is supported").run(stop).await;
        assert_eq!(shown.into_inner().unwrap(), [true, false, true, true]);
        let (calm, trouble) = (REHEARSAL_INTERVAL, RECOVERY_INTERVAL);
        assert_eq!(pauses(), [calm, trouble, calm, calm]);
    }

    #[tokio::test]
    async fn a_redis_that_cannot_be_used_is_refused_at_start_and_not_later() {
        let old = || Err(Failure::Unsupported("version 6.2.14".to_owned()));
        let (stop, health) = (CancellationToken::new(), Arc::new(RedisHealth::default()));
        let script = |outcomes: &[Result<(), Failure>]| Rehearsals {
            rehearsal: Script(outcomes.to_vec().into(), Arc::clone(&health), stop.clone()),
            show: |_: &RedisHealth| {},
        };
        let refused = script(&[old()]).begin().await.err().expect("it is refused");
        assert_eq!(refused.to_string(), "redis: version 6.2.14");
        assert!(script(&[away()]).begin().await.is_ok(), "it may come back");
    }
}
