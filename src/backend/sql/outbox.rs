//! The outbox, in a transaction of either database: what is asked, claimed, written, answered and settled.
//!
//! Locks are taken in one order: campaigns, notifications, attempts, senders, accounts, the outbox's row, and of each table by key. A
//! claim takes the pace's row and skips attempts that are locked. Steps are changed with the lock of their notification, or
//! skipped where they are locked.

pub(in crate::backend) mod answer;
pub(in crate::backend) mod ask;
pub(in crate::backend) mod calls;
pub(in crate::backend) mod campaigns;
pub(in crate::backend) mod claim;
pub(in crate::backend) mod consents;
pub(in crate::backend) mod follow_ups;
pub(in crate::backend) mod forget;
mod limits;
pub(in crate::backend) mod look;
pub(in crate::backend) mod settle;
pub(in crate::backend) mod state;
pub(in crate::backend) mod steps;
pub(in crate::backend) mod suppressions;
pub(in crate::backend) mod trail;
pub(in crate::backend) mod write;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::session::{Cells, Session, Statement, params};
use crate::backend::BackendError;
use crate::backend::outbox::Concluded;
use crate::dispatch::outcome::{self, Standing};
use crate::dispatch::{AttemptState, Channel, NotificationState, OnUnknown, Purpose};
use crate::event::AttemptId;
use crate::labels::Label as _;
use crate::pipeline::CommitError;

/// Whether a row holds what this version does not know. Trying again changes nothing, but the others of its transaction
/// may go through without it.
pub(in crate::backend) fn is_malformed(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Decode(_))
}

/// Why a notification is not requested again, although it is open: it was cancelled while it was being sent.
const CANCELLED: &str = "cancelled";

/// Whether a notification was cancelled. A process of before leaves the reason alone.
const IS_CANCELLED: &str =
    "(n.cancelled_at IS NOT NULL OR n.state = 'open' AND n.reason = 'cancelled')";

/// For who tries again whatever it was.
pub(in crate::backend) fn failed(error: CommitError) -> BackendError {
    BackendError(error.to_string())
}

fn purpose(cells: &Cells, column: &str) -> Result<Purpose, sqlx::Error> {
    cells.parsed(column, Purpose::parse)
}

fn attempt_id(cells: &Cells, column: &str) -> Result<AttemptId, sqlx::Error> {
    cells.parsed(column, AttemptId::parse)
}

/// The notifications of these attempts, locked, so that what follows cannot cross a cancellation.
async fn lock_notifications<S: Session>(
    session: &mut S,
    attempts: &[String],
    lock: &str,
) -> Result<Vec<String>, sqlx::Error> {
    let Statement { sql, params } = locking_notifications::<S>(attempts, lock);
    texts(&session.rows(&sql, params).await?, "id")
}

/// Locks them.
fn locking_notifications<S: Session>(attempts: &[String], lock: &str) -> Statement {
    let of = S::among("id", 1);
    let sql = format!(
        "SELECT id FROM notifications WHERE id IN (SELECT notification FROM attempts WHERE {of}) ORDER BY id{lock}"
    );
    Statement::new(sql, params![attempts.to_vec()])
}

/// A column of rows, each value once, in their order.
fn texts(rows: &[Cells], column: &str) -> Result<Vec<String>, sqlx::Error> {
    let all: Result<BTreeSet<String>, _> = rows.iter().map(|row| row.text(column)).collect();
    Ok(all?.into_iter().collect())
}

/// Locks the rows of senders, then those of accounts, before single ones of them are changed: two transactions that hold
/// several would wait for each other.
async fn lock_standing<S: Session>(
    session: &mut S,
    attempts: &[&Cells],
) -> Result<(), sqlx::Error> {
    let tables = [("senders", "name", "sender"), ("sending_accounts", "account", "account")];
    for (table, key, column) in tables {
        let keys: Result<BTreeSet<String>, _> =
            attempts.iter().map(|row| row.text(column)).collect();
        let sql = format!(
            "SELECT {key} FROM {table} WHERE {} ORDER BY {key}{}",
            S::among(key, 1),
            S::FOR_UPDATE
        );
        session.rows(&sql, params![keys?.into_iter().collect::<Vec<_>>()]).await?;
    }
    Ok(())
}

/// Which of these attempts of a notification confirms it, by its channel, and how long after it was asked for.
fn confirmed(attempts: &[&Cells]) -> Result<Option<(Channel, Duration)>, sqlx::Error> {
    for row in attempts.iter().rev() {
        if row.parsed("state", AttemptState::parse)? == AttemptState::Confirmed {
            let times = row.time("clock")?.zip(row.time("created_at")?);
            let took = times.map(|(now, asked)| now.since(asked)).unwrap_or_default();
            return Ok(Some((row.parsed("channel", Channel::parse)?, took)));
        }
    }
    Ok(None)
}

/// Brings notifications to where their attempts stand: the next step of one begins, or it is settled. They must be
/// locked.
async fn conclude<S: Session>(
    session: &mut S,
    notifications: &[String],
) -> Result<Concluded, sqlx::Error> {
    if notifications.is_empty() {
        return Ok(Concluded::default());
    }
    let sql = format!(
        "SELECT n.id, n.state AS now, n.on_unknown, n.route IS NOT NULL AS has_steps, a.state, a.reason, \
         a.look_at IS NOT NULL AS looked_for, a.step, a.channel, {}, {}, {} AS clock \
         FROM notifications AS n JOIN attempts AS a ON a.notification = n.id WHERE {} ORDER BY n.id, a.number",
        S::time("a.written_at"),
        S::time("n.created_at"),
        S::time_of(S::NOW),
        S::among("n.id", 1)
    );
    let rows = session.rows(&sql, params![notifications.to_vec()]).await?;
    let mut all: BTreeMap<String, Vec<&Cells>> = BTreeMap::new();
    for row in &rows {
        all.entry(row.text("id")?).or_default().push(row);
    }
    let (mut concluded, mut changed) = (Concluded::default(), BTreeMap::<_, Vec<String>>::new());
    for (id, rows) in all {
        let standing = |row: &&Cells| {
            Ok(Standing {
                state: row.parsed("state", AttemptState::parse)?,
                reason: row.optional("reason")?,
                is_looked_for: row.number("looked_for")? != 0,
            })
        };
        let standings = rows.iter().map(standing).collect::<Result<Vec<_>, sqlx::Error>>()?;
        let now = rows[0].parsed("now", NotificationState::parse)?;
        let on_unknown = rows[0].parsed("on_unknown", OnUnknown::parse)?;
        let outcome = if rows[0].number("has_steps")? == 0 {
            outcome::of(&standings, on_unknown)
        } else {
            let attempts: Vec<_> = rows.iter().copied().zip(standings).collect();
            let (outcome, begun) = steps::go_on(session, &id, &attempts, now, on_unknown).await?;
            concluded.begun.extend(begun);
            outcome
        };
        if outcome.state != now {
            if outcome.state == NotificationState::Confirmed {
                concluded.confirmed.extend(confirmed(&rows)?);
            }
            concluded.outcomes.push(outcome.state);
            changed.entry((outcome.state.as_str(), outcome.reason)).or_default().push(id);
        }
    }
    for ((state, reason), ids) in changed {
        let settled = if state == NotificationState::Open.as_str() { "NULL" } else { S::NOW };
        let sql = format!(
            "UPDATE notifications SET state = $2, reason = $3, settled_at = {settled} WHERE {}",
            S::among("id", 1)
        );
        session.execute(&sql, params![ids, state, reason]).await?;
    }
    Ok(concluded)
}
