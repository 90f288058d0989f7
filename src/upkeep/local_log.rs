//! The local log of this process: how it is opened, what an earlier version left in its directory, and
//! what is done again and again while it is there.

use std::time::Duration;

use anyhow::Context;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::backend::local_log::LocalLog;
use crate::backend::sqlite::{OldSpool, OpenError};
use crate::clock::Clock;
use crate::config;
use crate::pipeline::CommitError;
use crate::telemetry::metrics::Metrics;

/// As often as metrics are looked at, and more; and as long as a replay may be waited for.
const EVERY: Duration = Duration::from_secs(1);

/// Turns after which it is tried again to take over what could not be: it is in use, or there is no
/// room.
const TAKE_OVER_EVERY: u64 = 10;

/// Where it stands, which decides what its events wait for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stands {
    /// Behind the stream: nothing is in it while all is well.
    BehindStream,
    /// Before the store: it is the log that everything goes through.
    BeforeStore,
}

/// Opens it.
///
/// # Errors
/// The directory cannot be written, or another process has it.
pub(crate) async fn open(log: &config::LocalLog) -> anyhow::Result<LocalLog> {
    LocalLog::open(&log.directory, log.bounds).await.context("spool.directory")
}

/// Shows what waits in it, appends what an operator wants replayed, and takes over what an earlier
/// version left, until told to stop.
pub(crate) async fn tend(
    log: LocalLog,
    stands: Stands,
    metrics: Metrics,
    stop: CancellationToken,
) -> &'static str {
    let (mut taken_over, mut turn) = (false, 0_u64);
    loop {
        if !taken_over && turn.is_multiple_of(TAKE_OVER_EVERY) {
            taken_over = take_over(&log).await;
        }
        turn += 1;
        if let Err(error) = log.replay().await {
            warn!(error = %error, "what was replayed cannot be appended to the local log yet");
        }
        let dead_letters = log.dead_letters().count().await.unwrap_or_default();
        metrics.show_local_log(log.fill().bytes, dead_letters, log.damaged());
        match stands {
            Stands::BehindStream => metrics.show_spooled(log.fill().events),
            Stands::BeforeStore => {
                let oldest = log.oldest().await;
                let age = oldest.map(|oldest| Clock::System.now().since(oldest));
                metrics.stream().show_local_log(log.fill().events, age.unwrap_or_default());
            }
        }
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = stop.cancelled() => return "local log",
        }
    }
}

/// Takes over the spool of version 0.1; whether there is nothing left to do. What was appended before a
/// crash is appended again, and stored once.
async fn take_over(log: &LocalLog) -> bool {
    let old = match OldSpool::open(log.directory()).await {
        Ok(None) => return true,
        Ok(Some(old)) => old,
        Err(error @ OpenError::Database { .. }) => return quarantine(log, 0, &error).is_ok(),
        Err(error) => {
            warn!(error = %error, "the spool of an earlier version cannot be taken over yet");
            return false;
        }
    };
    match append_all(log, old).await {
        Ok(events) => {
            info!(events, "the spool of an earlier version was taken over");
            true
        }
        Err(error) => {
            warn!(error = %error, "the spool of an earlier version cannot be taken over yet");
            false
        }
    }
}

async fn append_all(log: &LocalLog, mut old: OldSpool) -> anyhow::Result<u64> {
    let (mut events, mut damage) = (0, None);
    loop {
        let rows = match damage {
            None => old.page().await,
            Some(_) => old.page_behind_damage().await,
        };
        let rows = match rows {
            Ok(rows) => rows,
            Err(error) if damage.is_none() => {
                damage = Some(error);
                continue;
            }
            Err(_) => Vec::new(),
        };
        if rows.is_empty() {
            break;
        }
        events += rows.len() as u64;
        let (dead, waiting): (Vec<_>, Vec<_>) =
            rows.into_iter().partition(|row| row.dead.is_some());
        let fields: Vec<_> = waiting.into_iter().map(|row| row.fields).collect();
        log.append_fields(&fields)
            .await
            .map_err(|error: CommitError| anyhow::anyhow!("{error}"))?;
        for row in dead {
            let Some((reason, at)) = row.dead else { continue };
            log.dead_letters().put_old(row.id, &row.fields, &reason, at)?;
        }
    }
    match damage {
        None => old.remove().await?,
        Some(damage) => {
            drop(old);
            quarantine(log, events, &damage)?;
        }
    }
    Ok(events)
}

fn quarantine(log: &LocalLog, events: u64, damage: &dyn std::fmt::Display) -> std::io::Result<()> {
    let moved = OldSpool::quarantine(log.directory())?;
    error!(
        file = %moved.display(),
        error = %damage,
        events,
        "the spool of an earlier version is damaged: what could be read of it was taken over, and the \
         file was put aside"
    );
    Ok(())
}
