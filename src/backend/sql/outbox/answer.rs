//! Answers to attempts, and what follows from them for others.

use std::time::Duration;

use super::{conclude, lock_notifications};
use crate::backend::outbox::{Answered, AnswersStored, Back, Outcome, Stop};
use crate::backend::sql::session::{Cells, Session, params};
use crate::dispatch::AttemptState;
use crate::dispatch::rejection::{self, UNCLASSIFIED_IN_A_ROW};
use crate::labels::Label as _;

/// The shortest and the longest time for which an account waits that cannot be connected to, in milliseconds.
const CIRCUIT: [i64; 2] = [1_000, 60_000];

/// How long an accepted attempt is waited for after its deadline.
const CONFIRMED_WITHIN: Duration = Duration::from_secs(300);

/// Stores answers. Of one whose attempt was not waiting for it any more, only the SID is new.
pub(in crate::backend) async fn answer<S: Session>(
    session: &mut S,
    answers: &[Answered],
) -> Result<AnswersStored, sqlx::Error> {
    let attempts: Vec<String> = answers.iter().map(|answer| answer.id.to_string()).collect();
    let notifications = lock_notifications(session, &attempts, S::FOR_UPDATE).await?;
    let mut stored = AnswersStored::default();
    for answer in answers {
        stored.late += u64::from(!one(session, answer, &mut stored.duplicates).await?);
    }
    stored.outcomes = conclude(session, &notifications).await?;
    Ok(stored)
}

async fn one<S: Session>(
    session: &mut S,
    answer: &Answered,
    duplicates: &mut u64,
) -> Result<bool, sqlx::Error> {
    let id = answer.id.to_string();
    let sql = format!(
        "SELECT state, sender, account, to_hash, sid, notification FROM attempts WHERE id = $1{}",
        S::FOR_UPDATE
    );
    let Some(row) = session.row(&sql, params![id.as_str()]).await? else { return Ok(false) };
    let state = row.parsed("state", AttemptState::parse)?;
    // A late answer also settles what was thought unknown. A callback may have settled it before; then only the SID is new.
    let waits = matches!(state, AttemptState::Writing | AttemptState::Unknown);
    match &answer.outcome {
        Outcome::Accepted { sid, .. } => {
            *duplicates += u64::from(prove(session, &id, sid, "answer").await?);
            if waits {
                accept(session, &id, sid).await?;
                withdraw_others(session, &row.text("notification")?, &id).await?;
            }
            stops(session, &row, None).await?;
            Ok(waits)
        }
        Outcome::Back { after, why, stop } => {
            if state == AttemptState::Writing {
                back(session, &id, *after, *why).await?;
            }
            stops(session, &row, stop.as_ref()).await?;
            Ok(state == AttemptState::Writing)
        }
        Outcome::Failed { reason, stop } => {
            if waits {
                fail(session, &id, reason).await?;
            }
            stops(session, &row, stop.as_ref()).await?;
            Ok(waits)
        }
        Outcome::Unknown { reason, look_after } => {
            if state == AttemptState::Writing {
                unknown(session, &id, reason, *look_after).await?;
            }
            Ok(state == AttemptState::Writing)
        }
    }
}

/// Keeps that an attempt has a SID, and returns whether it has another one.
pub(super) async fn prove<S: Session>(
    session: &mut S,
    attempt: &str,
    sid: &str,
    proof: &str,
) -> Result<bool, sqlx::Error> {
    let sql = format!(
        "INSERT INTO attempt_sids (attempt, sid, proof, at) VALUES ($1, $2, $3, {}) ON CONFLICT (attempt, sid) DO NOTHING",
        S::NOW
    );
    let is_new = session.execute(&sql, params![attempt, sid, proof]).await? > 0;
    let sql = "SELECT count(*) AS sids FROM attempt_sids WHERE attempt = $1";
    let row = session.row(sql, params![attempt]).await?.ok_or(sqlx::Error::RowNotFound)?;
    Ok(is_new && row.number("sids")? > 1)
}

/// The provider has it.
pub(super) async fn accept<S: Session>(
    session: &mut S,
    id: &str,
    sid: &str,
) -> Result<(), sqlx::Error> {
    let sql = format!(
        "UPDATE attempts SET state = 'accepted', sid = $2, reason = NULL, throttled = 0, holder = NULL, lease_until = NULL, \
         look_at = {} WHERE id = $1",
        S::later("deadline", CONFIRMED_WITHIN)
    );
    session.execute(&sql, params![id, sid]).await.map(|_| ())
}

/// Withdraws the other attempts of a notification that have not been sent: one is proven.
pub(super) async fn withdraw_others<S: Session>(
    session: &mut S,
    notification: &str,
    but: &str,
) -> Result<(), sqlx::Error> {
    let sql = format!(
        "UPDATE attempts SET state = 'cancelled', reason = 'withdrawn', held = NULL, holder = NULL, lease_until = NULL, \
         settled_at = {} WHERE notification = $1 AND id <> $2 AND state IN ('due', 'claimed')",
        S::NOW
    );
    session.execute(&sql, params![notification, but]).await.map(|_| ())
}

async fn back<S: Session>(
    session: &mut S,
    id: &str,
    after: Duration,
    why: Back,
) -> Result<(), sqlx::Error> {
    let throttled = if why == Back::Throttled { "throttled + 1" } else { "throttled" };
    let sql = format!(
        "UPDATE attempts SET state = 'due', due_at = {}, held = $2, throttled = {throttled}, holder = NULL, \
         lease_until = NULL, send_at = NULL WHERE id = $1",
        S::later(S::NOW, after)
    );
    session.execute(&sql, params![id, why.as_str()]).await.map(|_| ())
}

pub(super) async fn fail<S: Session>(
    session: &mut S,
    id: &str,
    reason: &str,
) -> Result<(), sqlx::Error> {
    let sql = format!(
        "UPDATE attempts SET state = 'failed', reason = $2, holder = NULL, lease_until = NULL, look_at = NULL, \
         settled_at = {} WHERE id = $1",
        S::NOW
    );
    session.execute(&sql, params![id, reason]).await.map(|_| ())
}

pub(super) async fn unknown<S: Session>(
    session: &mut S,
    id: &str,
    reason: &str,
    look_after: Duration,
) -> Result<(), sqlx::Error> {
    let sql = format!(
        "UPDATE attempts SET state = 'unknown', reason = $2, holder = NULL, lease_until = NULL, looks = 0, \
         look_at = {} WHERE id = $1",
        S::later(S::NOW, look_after)
    );
    session.execute(&sql, params![id, reason]).await.map(|_| ())
}

/// Carries out what follows for the sender, the account or the recipient of an attempt. An answer without a stop ends
/// a row of failures.
pub(super) async fn stops<S: Session>(
    session: &mut S,
    row: &Cells,
    stop: Option<&Stop>,
) -> Result<(), sqlx::Error> {
    let (sender, account) = (row.text("sender")?, row.text("account")?);
    match stop {
        None => {
            let sql = "UPDATE senders SET unlisted = 0, cooldown_ms = 0 WHERE name = $1 \
                       AND (unlisted > 0 OR cooldown_ms > 0)";
            session.execute(sql, params![sender]).await?;
            let sql =
                "UPDATE sending_accounts SET failures = 0 WHERE account = $1 AND failures > 0";
            session.execute(sql, params![account]).await?;
        }
        Some(Stop::AccountCooldown(lasts)) => {
            let until = S::later(S::NOW, *lasts);
            let sql =
                format!("UPDATE sending_accounts SET cooldown_until = {until} WHERE account = $1");
            session.execute(&sql, params![account]).await?;
        }
        Some(Stop::AccountPause(why)) => {
            let sql = format!(
                "UPDATE sending_accounts SET paused = $2, paused_at = {} WHERE account = $1 AND paused IS NULL",
                S::NOW
            );
            session.execute(&sql, params![account, why.as_str()]).await?;
        }
        Some(Stop::SenderPause(why)) => pause(session, &sender, why).await?,
        Some(Stop::SenderCooldown) => cool_down(session, &sender).await?,
        Some(Stop::Unlisted) => {
            let sql = "INSERT INTO senders (name, unlisted) VALUES ($1, 1) \
                       ON CONFLICT (name) DO UPDATE SET unlisted = senders.unlisted + 1 RETURNING unlisted";
            let row = session.row(sql, params![sender.as_str()]).await?;
            let unlisted = row.map_or(Ok(0), |row| row.number("unlisted"))?;
            if unlisted >= UNCLASSIFIED_IN_A_ROW.into() {
                pause(session, &sender, "unclassified").await?;
            }
        }
        Some(Stop::OptedOut) => {
            let sql = format!(
                "INSERT INTO suppressions (to_hash, \"to\", stop, source, at) \
                 SELECT n.to_hash, n.\"to\", {}, '21610', {} FROM notifications AS n WHERE n.id = $1",
                S::TRUE,
                S::NOW
            );
            session.execute(&sql, params![row.text("notification")?]).await?;
        }
        Some(Stop::Disconnected) => disconnect(session, &account).await?,
    }
    Ok(())
}

pub(super) async fn pause<S: Session>(
    session: &mut S,
    sender: &str,
    why: &str,
) -> Result<(), sqlx::Error> {
    let sql = format!(
        "INSERT INTO senders (name, paused, paused_at) VALUES ($1, $2, {now}) ON CONFLICT (name) DO UPDATE \
         SET paused = coalesce(senders.paused, excluded.paused), paused_at = coalesce(senders.paused_at, excluded.paused_at)",
        now = S::NOW
    );
    session.execute(&sql, params![sender, why]).await.map(|_| ())
}

async fn cool_down<S: Session>(session: &mut S, sender: &str) -> Result<(), sqlx::Error> {
    let sql = "SELECT cooldown_ms FROM senders WHERE name = $1";
    let before = session.row(sql, params![sender]).await?;
    let before = before.map_or(Ok(0), |row| row.count("cooldown_ms"))?;
    let lasts = rejection::cooldown(Duration::from_millis(before));
    let until = S::later(S::NOW, lasts);
    let sql = format!(
        "INSERT INTO senders (name, cooldown_ms, cooldown_until) VALUES ($1, $2, {until}) ON CONFLICT (name) \
         DO UPDATE SET cooldown_ms = excluded.cooldown_ms, cooldown_until = excluded.cooldown_until"
    );
    let lasts = i64::try_from(lasts.as_millis()).unwrap_or(i64::MAX);
    session.execute(&sql, params![sender, lasts]).await.map(|_| ())
}

async fn disconnect<S: Session>(session: &mut S, account: &str) -> Result<(), sqlx::Error> {
    let sql = "SELECT failures FROM sending_accounts WHERE account = $1";
    let before = session.row(sql, params![account]).await?;
    let before = before.map_or(Ok(0), |row| row.number("failures"))?;
    let [shortest, longest] = CIRCUIT;
    let lasts = (shortest << before.clamp(0, 10)).min(longest);
    let until = S::later(S::NOW, Duration::from_millis(lasts.unsigned_abs()));
    let sql = format!(
        "UPDATE sending_accounts SET failures = failures + 1, cooldown_until = {until} WHERE account = $1 \
         AND (cooldown_until IS NULL OR cooldown_until <= {})",
        S::NOW
    );
    session.execute(&sql, params![account]).await.map(|_| ())
}
