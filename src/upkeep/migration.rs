//! Brings the tables of a Postgres up to date that may be away when the process starts.

use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use crate::backend::postgres::MigrateError;
use crate::outage::Outage;
use crate::retry::Backoff;

/// Migrates, and tries again for as long as the store is away. False if `stop` was cancelled before, or if
/// waiting cannot help.
pub async fn migrated<M, R>(migrate: M, stop: &CancellationToken) -> bool
where
    M: Fn() -> R,
    R: Future<Output = Result<(), MigrateError>>,
{
    let (mut backoff, outage) = (Backoff::default(), Outage::default());
    while !stop.is_cancelled() {
        match migrate().await {
            Ok(()) => {
                if let Some(over) = outage.ends() {
                    let (failures, lasted_s) = (over.failures, over.seconds());
                    info!(failures, lasted_s, "the tables are up to date");
                }
                return true;
            }
            Err(MigrateError::Unfit(error)) => {
                error!(error = %error, "the tables do not fit this version");
                return false;
            }
            Err(MigrateError::Away(error)) => {
                if outage.begins() {
                    warn!(error = %error, "the tables are not known to be up to date: trying again until they are");
                } else {
                    debug!(error = %error, "the tables are not known to be up to date");
                }
            }
        }
        backoff.wait(stop).await;
    }
    false
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::backend::BackendError;

    fn away() -> MigrateError {
        MigrateError::Away(BackendError("no answer".to_owned()))
    }

    #[tokio::test]
    async fn a_store_that_is_away_is_asked_again() {
        let times = Cell::new(0);
        let migrate = || async {
            times.set(times.get() + 1);
            if times.get() < 3 { Err(away()) } else { Ok(()) }
        };
        assert!(migrated(migrate, &CancellationToken::new()).await);
        assert_eq!(times.get(), 3);
    }

    #[tokio::test]
    async fn tables_of_another_version_and_a_stop_end_it() {
        let unfit = || async { Err(MigrateError::Unfit(BackendError("newer".to_owned()))) };
        assert!(!migrated(unfit, &CancellationToken::new()).await);
        let stop = CancellationToken::new();
        let stopped = || async {
            stop.cancel();
            Err(away())
        };
        assert!(!migrated(stopped, &stop).await);
    }
}
