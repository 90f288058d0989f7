//! Postgres is down, killed, or slow. Nothing may become a dead letter by it.

use std::time::Duration;

use sqlx::{Connection as _, Executor as _};
use tokio::time::sleep;

use crate::lab::torture::Run;
use crate::lab::torture::report::Report;
use crate::lab::torture::testbed::{Setup, Testbed};
use crate::lab::torture::trial::Trial;

/// Two, so that each could take over what the other one holds.
async fn begin(name: String, run: &Run) -> anyhow::Result<Trial> {
    let setup = Setup { workers: Some(2), ..Setup::default() };
    Trial::begin(name, run, Testbed::prepare(run, &setup)?).await
}

pub(super) async fn down(name: String, run: &Run) -> anyhow::Result<Report> {
    let mut trial = begin(name, run).await?;
    trial.testbed.postgres()?.kill();
    trial.facts.outages += 1;
    sleep(trial.duration()).await;
    trial.testbed.postgres()?.restart()?;
    trial.end().await
}

pub(super) async fn kill(name: String, run: &Run) -> anyhow::Result<Report> {
    let mut trial = begin(name, run).await?;
    while trial.goes_on() {
        trial.pause(300..1500).await;
        trial.testbed.postgres()?.kill();
        trial.facts.kills += 1;
        trial.pause(1..300).await;
        trial.testbed.postgres()?.restart()?;
    }
    trial.end().await
}

pub(super) async fn locked(name: String, run: &Run) -> anyhow::Result<Report> {
    let mut trial = begin(name, run).await?;
    let mut somebody = trial.testbed.postgres()?.connection().await?;
    let mut transaction = somebody.begin().await?;
    transaction.execute("LOCK TABLE statuses IN ACCESS EXCLUSIVE MODE").await?;
    trial.facts.outages += 1;
    sleep(trial.duration()).await;
    transaction.rollback().await?;
    trial.end().await
}

/// A time-out that most batches run into, on and off.
pub(super) async fn timeouts(name: String, run: &Run) -> anyhow::Result<Report> {
    let mut trial = begin(name, run).await?;
    // Made before, so that it has none of its own.
    let mut administrator = trial.testbed.postgres()?.connection().await?;
    while trial.goes_on() {
        administrator.execute("ALTER ROLE offhook SET statement_timeout = '1ms'").await?;
        administrator.execute(RECONNECT).await?;
        trial.facts.outages += 1;
        trial.pause(500..1500).await;
        administrator.execute("ALTER ROLE offhook RESET statement_timeout").await?;
        administrator.execute(RECONNECT).await?;
        sleep(Duration::from_millis(200)).await;
    }
    trial.end().await
}

/// A role that may only read, as behind a name that leads to a standby for a moment. Sessions keep what they
/// were opened with, long after that is over.
pub(super) async fn read_only(name: String, run: &Run) -> anyhow::Result<Report> {
    let mut trial = begin(name, run).await?;
    trial.recovers();
    // Made before, so that it may write.
    let mut administrator = trial.testbed.postgres()?.connection().await?;
    administrator.execute("ALTER ROLE offhook SET default_transaction_read_only = on").await?;
    administrator.execute(RECONNECT).await?;
    trial.facts.outages += 1;
    sleep(trial.duration()).await;
    administrator.execute("ALTER ROLE offhook RESET default_transaction_read_only").await?;
    trial.end().await
}

/// A setting of a role is that of its next connection.
const RECONNECT: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                         WHERE application_name = 'offhook' AND pid <> pg_backend_pid()";
