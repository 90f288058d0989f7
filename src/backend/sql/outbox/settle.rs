//! Callbacks become outcomes: what the events of an attempt prove about it. An event is an attempt's by the id that it
//! carries, or by its SID.

use std::collections::BTreeSet;

use super::answer::{accept, fail, prove, stops, withdraw_others};
use super::{conclude, lock_notifications};
use crate::backend::outbox::{Settled, Stop};
use crate::backend::sql::session::{Cells, Session, params};
use crate::dispatch::AttemptState;
use crate::dispatch::evidence::{self, Evidence, Heard, Outcome, Proof};
use crate::dispatch::rejection;
use crate::event::Resource;
use crate::labels::Label as _;

/// Most wakes of one transaction.
const WAKES_AT_ONCE: u32 = 200;
/// Most events of one attempt that are read: a message has about five.
const MOST_EVENTS: u32 = 200;

/// Takes wakes, and decides about their attempts. What another process has taken is left to it.
pub(in crate::backend) async fn settle<S: Session>(
    session: &mut S,
) -> Result<Settled, sqlx::Error> {
    let sql = format!(
        "DELETE FROM wakes WHERE id IN (SELECT id FROM wakes ORDER BY id LIMIT {WAKES_AT_ONCE}{}) \
         RETURNING attempt, sid, account",
        S::SKIP_LOCKED
    );
    let wakes = session.rows(&sql, params![]).await?;
    let mut settled = Settled { wakes: wakes.len() as u64, ..Settled::default() };
    let attempts: Result<BTreeSet<Option<String>>, _> =
        wakes.iter().map(|wake| wake.optional("attempt")).collect();
    let attempts: Vec<String> = attempts?.into_iter().flatten().collect();
    if attempts.is_empty() {
        return Ok(settled);
    }
    let notifications = lock_notifications(session, &attempts, S::FOR_UPDATE).await?;
    for attempt in &attempts {
        let account = one(session, attempt, &mut settled).await?;
        for wake in &wakes {
            let is_of_it = wake.optional("attempt")?.as_deref() == Some(attempt);
            settled.mismatches += u64::from(is_of_it && !fits(wake, account.as_deref())?);
        }
    }
    settled.outcomes = conclude(session, &notifications).await?;
    Ok(settled)
}

/// Whether an event may be about an attempt of this account, by who signed it and what it is about.
fn fits(wake: &Cells, account: Option<&str>) -> Result<bool, sqlx::Error> {
    let sid = wake.optional("sid")?.unwrap_or_default();
    let is_message = sid.starts_with("SM") || sid.starts_with("MM");
    Ok(account.is_some() && wake.optional("account")?.as_deref() == account && is_message)
}

/// Decides about one attempt by its events, and returns its account; `None` if there is no such attempt. The
/// notification must be locked.
pub(super) async fn one<S: Session>(
    session: &mut S,
    attempt: &str,
    settled: &mut Settled,
) -> Result<Option<String>, sqlx::Error> {
    let sql = format!(
        "SELECT state, account, sender, to_hash, notification, sid, written_at IS NOT NULL AS written \
         FROM attempts WHERE id = $1{}",
        S::FOR_UPDATE
    );
    let Some(row) = session.row(&sql, params![attempt]).await? else { return Ok(None) };
    let account = row.text("account")?;
    let Some(proof) = proof(session, attempt, &account, settled).await? else {
        return Ok(Some(account));
    };
    // What was never written cannot have been accepted: the id was guessed, or copied.
    if row.number("written")? == 0 {
        settled.mismatches += 1;
        return Ok(Some(account));
    }
    let state = row.parsed("state", AttemptState::parse)?;
    match evidence::settled(state, &proof.outcome) {
        Some(AttemptState::Accepted) => {
            accept(session, attempt, &proof.sid).await?;
            withdraw_others(session, &row.text("notification")?, attempt).await?;
        }
        Some(AttemptState::Confirmed) => {
            confirm(session, attempt, &proof.sid).await?;
            withdraw_others(session, &row.text("notification")?, attempt).await?;
            settled.confirmed += 1;
        }
        Some(AttemptState::Failed) => {
            let Outcome::Failed { code } = &proof.outcome else { return Ok(Some(account)) };
            let follows = rejection::follows(code.as_deref(), rejection::Heard::Message);
            let why = code.as_deref().unwrap_or(follows.reason.as_str());
            fail(session, attempt, why).await?;
            let sql = "UPDATE attempts SET sid = $2 WHERE id = $1";
            session.execute(sql, params![attempt, proof.sid.as_str()]).await?;
            if let Some(stop) = Stop::of(follows.effect, why) {
                stops(session, &row, Some(&stop)).await?;
            }
            settled.failed += 1;
        }
        _ => {}
    }
    Ok(Some(account))
}

async fn proof<S: Session>(
    session: &mut S,
    attempt: &str,
    account: &str,
    settled: &mut Settled,
) -> Result<Option<Proof>, sqlx::Error> {
    // Those that carry its id, then those that carry none and are about a message that is proven to be its own.
    let select = "SELECT e.sid, e.account, e.resource, e.status, s.error_code FROM events AS e \
                  LEFT JOIN statuses AS s ON s.sid = e.sid AND s.account = e.account";
    let sql = format!("{select} WHERE e.attempt = $1 LIMIT {MOST_EVENTS}");
    let mut rows = session.rows(&sql, params![attempt]).await?;
    let sql = format!(
        "{select} JOIN attempt_sids AS p ON p.sid = e.sid WHERE p.attempt = $1 AND e.account = $2 \
         AND e.attempt IS NULL AND e.resource = 'message' LIMIT {MOST_EVENTS}"
    );
    rows.extend(session.rows(&sql, params![attempt, account]).await?);
    let mut events = Vec::with_capacity(rows.len());
    for row in &rows {
        let resource = row.optional("resource")?.as_deref().and_then(Resource::parse);
        let texts = ["sid", "account", "status", "error_code"].map(|column| row.optional(column));
        let [sid, signed_by, status, code] = texts;
        events.push((sid?, signed_by?, status?, code?, resource));
    }
    let heard = events.iter().map(|(sid, signed_by, status, code, resource)| Heard {
        sid: sid.as_deref().unwrap_or_default(),
        account: signed_by.as_deref().unwrap_or_default(),
        resource: *resource,
        status: status.as_deref().unwrap_or_default(),
        error_code: code.as_deref(),
    });
    let Evidence { proof, duplicates, mismatches: _ } = Evidence::of(account, heard);
    for sid in proof.iter().map(|proof| &proof.sid).chain(&duplicates) {
        settled.duplicates += u64::from(prove(session, attempt, sid, "callback").await?);
    }
    Ok(proof)
}

async fn confirm<S: Session>(session: &mut S, id: &str, sid: &str) -> Result<(), sqlx::Error> {
    let sql = format!(
        "UPDATE attempts SET state = 'confirmed', sid = $2, reason = NULL, holder = NULL, lease_until = NULL, held = NULL, \
         look_at = NULL, settled_at = {} WHERE id = $1",
        S::NOW
    );
    session.execute(&sql, params![id, sid]).await.map(|_| ())
}
