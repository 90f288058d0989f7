//! Answers to attempts, and what follows from them for others.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::state::wait_for_writes;
use super::{
    CANCELLED, IS_CANCELLED, attempt_id, calls, conclude, lock_notifications, lock_standing,
    locking_notifications, texts,
};
use crate::backend::outbox::{Answered, AnswersStored, Back, Claimed, Outcome, Stop};
use crate::backend::sql::session::{Cells, Session, Statement, params};
use crate::crash_points::{self, Sabotage};
use crate::dispatch::AttemptState;
use crate::dispatch::rejection::{self, UNCLASSIFIED_IN_A_ROW};
use crate::dispatch::suppression::Source;
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
    if crash_points::is_sabotaged(Sabotage::NoWriteAhead) {
        let sql = format!(
            "UPDATE attempts SET state = 'writing', written_at = {} WHERE {} AND state = 'claimed'",
            S::NOW,
            S::among("id", 1)
        );
        session.execute(&sql, params![attempts.clone()]).await?;
    }
    let locks =
        [locking_notifications::<S>(&attempts, S::FOR_UPDATE), locking_attempts::<S>(&attempts)];
    let [notifications, rows] = session.rows_of_each(locks).await?;
    let notifications = texts(&notifications, "id")?;
    let rows: Result<BTreeMap<String, Cells>, sqlx::Error> =
        rows.into_iter().map(|row| Ok((row.text("id")?, row))).collect();
    let rows = rows?;
    let mut stored = AnswersStored::default();
    let (mut accepted, mut others) = (Vec::new(), Vec::new());
    for answer in answers {
        let id = answer.id.to_string();
        match (rows.get(&id), &answer.outcome) {
            // It was purged.
            (None, _) => stored.late += 1,
            (Some(row), Outcome::Accepted { sid, .. }) => accepted.push((id, sid.as_str(), row)),
            (Some(row), _) => others.push((id, answer, row)),
        }
    }
    if !others.is_empty() {
        let rows = accepted.iter().map(|(_, _, row)| *row);
        let rows: Vec<&Cells> = rows.chain(others.iter().map(|(_, _, row)| *row)).collect();
        lock_standing(session, &rows).await?;
    }
    accept_all(session, &accepted, &mut stored).await?;
    for (id, answer, row) in others {
        stored.late += u64::from(!one(session, &id, answer, row).await?);
    }
    stored.concluded = conclude(session, &notifications).await?;
    Ok(stored)
}

/// Takes back commits to `writing` of which it is not known whether they happened, and after which nothing was sent. A slot
/// is of one claim, so that no other commit of an attempt is taken for this one.
pub(in crate::backend) async fn take_back<S: Session>(
    session: &mut S,
    claims: &[Claimed],
) -> Result<(), sqlx::Error> {
    let ids: Vec<String> = claims.iter().map(|claim| claim.id.to_string()).collect();
    let notifications = lock_notifications(session, &ids, S::FOR_UPDATE).await?;
    let sql = format!(
        "SELECT id, {} FROM attempts WHERE {} AND (state = 'writing' \
         OR state = 'unknown' AND reason = 'lease' AND look_at IS NOT NULL) ORDER BY id{}",
        S::time("send_at"),
        S::among("id", 1),
        S::FOR_UPDATE
    );
    for row in session.rows(&sql, params![ids]).await? {
        let (id, send_at) = (attempt_id(&row, "id")?, row.time("send_at")?);
        if claims.iter().any(|claim| claim.id == id && Some(claim.send_at) == send_at) {
            let id = row.text("id")?;
            back(session, &id, Duration::ZERO, Back::Unsent).await?;
            calls::release(session, &[&id]).await?;
        }
    }
    conclude(session, &notifications).await.map(|_| ())
}

fn locking_attempts<S: Session>(attempts: &[String]) -> Statement {
    let sql = format!(
        "SELECT id, state, sender, account, to_hash, sid, notification, tries, look_at IS NOT NULL AS looked_for \
         FROM attempts WHERE {} ORDER BY id{}",
        S::among("id", 1),
        S::FOR_UPDATE
    );
    Statement::new(sql, params![attempts.to_vec()])
}

/// Whether an answer settles an attempt. A late one also settles what was thought unknown. A callback may have settled
/// it before; then only the SID is new.
fn waits(row: &Cells) -> Result<bool, sqlx::Error> {
    let state = row.parsed("state", AttemptState::parse)?;
    Ok(matches!(state, AttemptState::Writing | AttemptState::Unknown))
}

/// The provider has these, each under its SID. Most answers are of this kind: there are as many statements for all of
/// them as for one.
async fn accept_all<S: Session>(
    session: &mut S,
    accepted: &[(String, &str, &Cells)],
    stored: &mut AnswersStored,
) -> Result<(), sqlx::Error> {
    if accepted.is_empty() {
        return Ok(());
    }
    let proven: Vec<(&str, &str)> = accepted.iter().map(|(id, sid, _)| (&**id, *sid)).collect();
    let [insert, disprove, all] = proving::<S>(&proven, "answer");
    let earlier = reading_earlier::<S>(&proven);
    let reads = [insert, disprove, all, earlier];
    let [new, disproven, all, earlier] = session.rows_of_each(reads).await?;
    stored.duplicates += duplicates(&new, &all)?;
    let (mut waiting, mut sids, mut notifications) = (Vec::new(), Vec::new(), Vec::new());
    for (id, sid, row) in accepted {
        if waits(row)? {
            waiting.push(id.clone());
            sids.push((*sid).to_owned());
            notifications.push(row.text("notification")?);
        } else {
            stored.late += 1;
        }
    }
    let rows: Vec<&Cells> = accepted.iter().map(|(_, _, row)| *row).collect();
    let mut statements = waking_for_earlier(&earlier, &waiting, &sids)?;
    statements.extend(waking_disproven(&disproven)?);
    statements.extend(accepting::<S>(&waiting, &sids));
    statements.extend(withdrawing_others::<S>(&notifications, &waiting));
    statements.extend(succeeding::<S>(&rows)?);
    session.execute_all(statements).await
}

/// Reads of which SIDs there are events without an attempt.
fn reading_earlier<S: Session>(proven: &[(&str, &str)]) -> Statement {
    // By the SID alone: the events of an account may be all that there are.
    let sql = format!(
        "SELECT DISTINCT sid, account FROM events WHERE {} AND attempt IS NULL",
        S::among("sid", 1)
    );
    let sids: Vec<String> = proven.iter().map(|(_, sid)| (*sid).to_owned()).collect();
    Statement::new(sql, params![sids])
}

/// Callbacks that do not carry an attempt's id, and came before its SID was known, belonged to no attempt: they are
/// looked at now.
fn waking_for_earlier(
    earlier: &[Cells],
    attempts: &[String],
    sids: &[String],
) -> Result<Vec<Statement>, sqlx::Error> {
    let mut statements = Vec::new();
    for row in earlier {
        let sid = row.text("sid")?;
        let Some(at) = sids.iter().position(|it| *it == sid) else { continue };
        let sql = "INSERT INTO wakes (attempt, sid, account) SELECT id, $2, account FROM attempts \
                   WHERE id = $1 AND account = $3";
        let params = params![attempts[at].as_str(), sid, row.text("account")?];
        statements.push(Statement::new(sql, params));
    }
    Ok(statements)
}

/// Stores an answer that is no success, and returns whether its attempt was waiting for it.
async fn one<S: Session>(
    session: &mut S,
    id: &str,
    answer: &Answered,
    row: &Cells,
) -> Result<bool, sqlx::Error> {
    // An answer that is stored again, since it was not known that it was, may meet the next POST of the attempt.
    if row.number("tries")? != i64::from(answer.tries) {
        return Ok(false);
    }
    let (waits, is_writing) =
        (waits(row)?, row.parsed("state", AttemptState::parse)? == AttemptState::Writing);
    match &answer.outcome {
        Outcome::Accepted { .. } => Ok(waits),
        Outcome::Back { after, why, stop } => {
            // A process that stood still may report after its lease that nothing was sent: that is proof, and what is
            // looked for need not be.
            let counts = is_writing || (waits && row.number("looked_for")? != 0);
            if counts {
                back(session, id, *after, *why).await?;
                calls::release(session, &[id]).await?;
            }
            stops(session, row, stop.as_ref()).await?;
            Ok(counts)
        }
        Outcome::Failed { reason, stop } => {
            if waits {
                fail(session, id, reason).await?;
                calls::release(session, &[id]).await?;
            }
            stops(session, row, stop.as_ref()).await?;
            Ok(waits)
        }
        Outcome::Unknown { reason, look_after } => {
            if is_writing {
                unknown(session, vec![id.to_owned()], reason, *look_after).await?;
            }
            Ok(is_writing)
        }
    }
}

/// Keeps that attempts have SIDs, and returns how many messages too many that makes.
pub(super) async fn prove<S: Session>(
    session: &mut S,
    proven: &[(&str, &str)],
    proof: &str,
) -> Result<u64, sqlx::Error> {
    if proven.is_empty() {
        return Ok(0);
    }
    let [new, disproven, all] = session.rows_of_each(proving::<S>(proven, proof)).await?;
    session.execute_all(waking_disproven(&disproven)?).await?;
    duplicates(&new, &all)
}

/// Keeps the SIDs of attempts, takes those away from other attempts for which a list had them, and reads how many each
/// step has.
fn proving<S: Session>(proven: &[(&str, &str)], proof: &str) -> [Statement; 3] {
    let attempts: Vec<String> = proven.iter().map(|(attempt, _)| (*attempt).to_owned()).collect();
    let sids: Vec<String> = proven.iter().map(|(_, sid)| (*sid).to_owned()).collect();
    let insert = format!(
        "INSERT INTO attempt_sids (attempt, sid, proof, at) SELECT a, b, $3, {} FROM {} WHERE true \
         ON CONFLICT (attempt, sid) DO NOTHING RETURNING attempt",
        S::NOW,
        S::pairs(1, 2)
    );
    let disprove = format!(
        "DELETE FROM attempt_sids WHERE {} AND proof = '{INFERRED}' AND NOT EXISTS (SELECT 1 FROM {} \
         WHERE pairs.a = attempt_sids.attempt AND pairs.b = attempt_sids.sid) RETURNING attempt, sid",
        S::among("sid", 2),
        S::pairs(1, 2)
    );
    let all = format!(
        "SELECT a.id AS attempt, a.notification, a.step, (SELECT count(*) FROM attempts AS o \
         JOIN attempt_sids AS p ON p.attempt = o.id WHERE o.notification = a.notification AND o.step = a.step) AS sids \
         FROM attempts AS a WHERE {}",
        S::among("a.id", 1)
    );
    [
        Statement::new(insert, params![attempts.clone(), sids.clone(), proof]),
        Statement::new(disprove, params![attempts.clone(), sids]),
        Statement::new(all, params![attempts]),
    ]
}

/// The proof of a SID that a list had for an attempt. Any other one overrides it.
const INFERRED: &str = "look-up";

/// Keeps that a message on a list is taken for an attempt's, and returns whether it can be: it may have been proven meanwhile to
/// be another's.
pub(super) async fn infer<S: Session>(
    session: &mut S,
    attempt: &str,
    sid: &str,
) -> Result<bool, sqlx::Error> {
    let sql = format!(
        "INSERT INTO attempt_sids (attempt, sid, proof, at) SELECT id, $2, '{INFERRED}', {} FROM attempts \
         WHERE id = $1 AND NOT EXISTS (SELECT 1 FROM attempt_sids AS p WHERE p.sid = $2 AND p.attempt <> $1)",
        S::NOW
    );
    Ok(session.execute(&sql, params![attempt, sid]).await? > 0)
}

/// What was inferred, and is proven to be another's, is looked at again: this transaction has no lock on it.
fn waking_disproven(disproven: &[Cells]) -> Result<Vec<Statement>, sqlx::Error> {
    let mut statements = Vec::new();
    for row in disproven {
        let sql = "INSERT INTO wakes (attempt, sid, account) SELECT id, $2, account FROM attempts WHERE id = $1";
        statements.push(Statement::new(sql, params![row.text("attempt")?, row.text("sid")?]));
    }
    Ok(statements)
}

/// How many of the new SIDs are more than the one that each step is for.
fn duplicates(new: &[Cells], all: &[Cells]) -> Result<u64, sqlx::Error> {
    let new = texts(new, "attempt")?;
    // The new ones and all of each step.
    let mut steps: BTreeMap<(String, i64), (u64, u64)> = BTreeMap::new();
    for row in all {
        let attempt = row.text("attempt")?;
        let fresh = new.iter().filter(|it| **it == attempt).count() as u64;
        let step = steps.entry((row.text("notification")?, row.number("step")?)).or_default();
        *step = (step.0 + fresh, row.count("sids")?);
    }
    Ok(steps.into_values().map(|(fresh, sids)| fresh.min(sids.saturating_sub(1))).sum())
}

/// The provider has these attempts, each under its SID.
pub(super) fn accepting<S: Session>(attempts: &[String], sids: &[String]) -> Vec<Statement> {
    if attempts.is_empty() {
        return Vec::new();
    }
    // A call may last beyond that.
    let sql = format!(
        "UPDATE attempts SET state = 'accepted', sid = pairs.b, reason = NULL, throttled = 0, holder = NULL, \
         lease_until = NULL, look_at = CASE WHEN permit_until > {within} THEN permit_until ELSE {within} END FROM {} \
         WHERE attempts.id = pairs.a",
        S::pairs(1, 2),
        within = S::later("deadline", CONFIRMED_WITHIN),
    );
    let accept = Statement::new(sql, params![attempts.to_vec(), sids.to_vec()]);
    vec![accept, calls::hanging_up_late::<S>(attempts)]
}

/// Withdraws the other attempts of the same steps of these notifications that have not been sent: one is proven.
pub(super) fn withdrawing_others<S: Session>(
    notifications: &[String],
    but: &[String],
) -> Vec<Statement> {
    if notifications.is_empty() {
        return Vec::new();
    }
    let sql = format!(
        "UPDATE attempts SET state = 'cancelled', reason = 'withdrawn', held = NULL, holder = NULL, lease_until = NULL, \
         settled_at = {} WHERE {} AND NOT {} AND state IN ('due', 'claimed') AND EXISTS (SELECT 1 FROM attempts AS o \
         WHERE o.notification = attempts.notification AND o.step = attempts.step AND {})",
        S::NOW,
        S::among("notification", 1),
        S::among("id", 2),
        S::among("o.id", 2)
    );
    vec![Statement::new(sql, params![notifications.to_vec(), but.to_vec()])]
}

/// A success ends a row of failures of its sender and of its account.
fn succeeding<S: Session>(attempts: &[&Cells]) -> Result<Vec<Statement>, sqlx::Error> {
    let texts = |column| -> Result<Vec<String>, sqlx::Error> {
        let all: BTreeSet<String> =
            attempts.iter().map(|row| row.text(column)).collect::<Result<_, _>>()?;
        Ok(all.into_iter().collect())
    };
    let ends = [
        // Not its cooldown: what is too fast for a carrier is accepted first, and said to be so by a callback.
        ("senders", "name", "sender", "unlisted = 0", "unlisted > 0"),
        ("sending_accounts", "account", "account", "failures = 0", "failures > 0"),
    ];
    let ends = ends.into_iter().map(|(table, key, column, set, had)| {
        let sql = format!(
            "UPDATE {table} SET {set} WHERE {key} IN (SELECT {key} FROM {table} WHERE {} AND {had} ORDER BY {key}{})",
            S::among(key, 1),
            S::FOR_UPDATE
        );
        Ok(Statement::new(sql, params![texts(column)?]))
    });
    ends.collect()
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
         lease_until = NULL, send_at = NULL, reason = NULL, look_at = NULL, looks = 0 WHERE id = $1",
        S::later(S::NOW, after)
    );
    session.execute(&sql, params![id, why.as_str()]).await?;
    let sql = format!(
        "UPDATE attempts SET state = 'cancelled', reason = $2, held = NULL, settled_at = {} WHERE id = $1 \
         AND EXISTS (SELECT 1 FROM notifications AS n WHERE n.id = attempts.notification \
         AND {IS_CANCELLED})",
        S::NOW
    );
    if session.execute(&sql, params![id, CANCELLED]).await? > 0 {
        return Ok(());
    }
    // One that was sent again because another one was unknown, which has been proven since.
    let sql = format!(
        "UPDATE attempts SET state = 'cancelled', reason = 'withdrawn', held = NULL, settled_at = {} WHERE id = $1 \
         AND EXISTS (SELECT 1 FROM attempts AS o WHERE o.notification = attempts.notification \
         AND o.id <> attempts.id AND (o.state = 'confirmed' OR o.state = 'accepted' AND o.step = attempts.step))",
        S::NOW
    );
    session.execute(&sql, params![id]).await.map(|_| ())
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
    ids: Vec<String>,
    reason: &str,
    look_after: Duration,
) -> Result<u64, sqlx::Error> {
    let sql = format!(
        "UPDATE attempts SET state = 'unknown', reason = $2, holder = NULL, lease_until = NULL, looks = 0, \
         look_at = {} WHERE {}",
        S::later(S::NOW, look_after),
        S::among("id", 1)
    );
    session.execute(&sql, params![ids, reason]).await
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
        None => session.execute_all(succeeding::<S>(&[row])?).await?,
        Some(Stop::AccountCooldown(lasts)) => {
            // Never for less: of the requests that were on their way, one may report a shorter wait.
            let until = S::later(S::NOW, *lasts);
            let sql = format!(
                "UPDATE sending_accounts SET cooldown_until = {until} WHERE account = $1 \
                 AND (cooldown_until IS NULL OR cooldown_until < {until})"
            );
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
            wait_for_writes(session).await?;
            // As of the request, since it may be stored after a START that came later.
            let sql = format!(
                "INSERT INTO suppressions (to_hash, \"to\", stop, source, at) \
                 SELECT a.to_hash, n.\"to\", {}, $2, coalesce(a.written_at, {}) FROM attempts AS a \
                 JOIN notifications AS n ON n.id = a.notification WHERE a.id = $1",
                S::TRUE,
                S::NOW
            );
            let params = params![row.text("id")?, Source::OptedOut.as_str()];
            session.execute(&sql, params).await?;
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

/// Requests that were on their way when a cooldown began are no reason for a longer one, nor is one that ended long ago.
async fn cool_down<S: Session>(session: &mut S, sender: &str) -> Result<(), sqlx::Error> {
    let sql = format!(
        "SELECT CASE WHEN {} > {now} THEN cooldown_ms ELSE 0 END AS last, cooldown_until > {now} AS cools \
         FROM senders WHERE name = $1",
        S::later("cooldown_until", rejection::IN_A_ROW_WITHIN),
        now = S::NOW
    );
    let before = session.row(&sql, params![sender]).await?;
    if before.as_ref().map_or(Ok(0), |row| row.number("cools"))? != 0 {
        return Ok(());
    }
    let before = before.map_or(Ok(0), |row| row.count("last"))?;
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
