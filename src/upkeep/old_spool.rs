//! Takes over the spool of version 0.1 into the local log that replaced it.

use std::fmt::Display;
use std::io;

use tracing::{debug, error, info, warn};

use crate::backend::local_log::LocalLog;
use crate::backend::sqlite::{OldSpool, OpenError};
use crate::outage::Outage;
use crate::pipeline::CommitError;

/// Why it cannot be taken over yet.
#[derive(Debug, thiserror::Error)]
enum TakeOverError {
    #[error("{0}")]
    Append(#[from] CommitError),
    #[error("{0}")]
    File(#[from] io::Error),
}

/// Whether there is nothing left to do. What was appended before a crash is appended again, and stored once.
pub(crate) async fn take_over(log: &LocalLog, outage: &Outage) -> bool {
    let old = match OldSpool::open(log.directory()).await {
        Ok(None) => return true,
        Ok(Some(old)) => old,
        Err(error @ OpenError::Database { .. }) => return quarantine(log, 0, &error).is_ok(),
        Err(error) => return not_yet(outage, &error),
    };
    match append_all(log, old).await {
        Ok(events) => {
            info!(events, "the spool of an earlier version was taken over");
            true
        }
        Err(error) => not_yet(outage, &error),
    }
}

/// Tries again later, and says so once. Whether there is nothing left to do: false.
fn not_yet(outage: &Outage, error: &impl Display) -> bool {
    if outage.begins() {
        warn!(error = %error, "the spool of an earlier version cannot be taken over: trying again until it can");
    } else {
        debug!(error = %error, "the spool of an earlier version cannot be taken over");
    }
    false
}

async fn append_all(log: &LocalLog, mut old: OldSpool) -> Result<u64, TakeOverError> {
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
        log.append_fields(&fields).await?;
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

fn quarantine(log: &LocalLog, events: u64, damage: &impl Display) -> io::Result<()> {
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
