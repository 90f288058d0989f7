//! What is forgotten of the outbox: of a person, what is old, and what `[privacy]` does not let be kept.

use std::time::Duration;

use super::ask::cancel;
use super::{campaigns, consents};
use crate::backend::purge::{Found, Mode, ROWS_PER_STEP, Selection};
use crate::backend::sql::session::{Cells, Param, Session, params};
use crate::clock::Timestamp;
use crate::dispatch::NotificationState;
use crate::twilio::privacy::{Class, Privacy, Treatment};

/// A page of notifications behind an id; where the next page goes on, if there is one. Those of a person are cancelled
/// first. One that is being written stays, cancelled, because its answer must find it: it is counted. By anything else
/// than a person only settled ones are selected: what is planned is not old.
pub(in crate::backend) async fn purge<S: Session>(
    session: &mut S,
    selection: &Selection,
    after: &str,
    mode: Mode,
) -> Result<(Found, Option<String>), sqlx::Error> {
    if mode == Mode::Delete && after.is_empty() && selection.is_of_a_person() {
        // First: what is handed over until then is among the notifications that are looked at from here on.
        campaigns::forget::person(session, selection).await?;
    }
    let (condition, bound) = condition::<S>(selection, after);
    let page = format!(
        "SELECT id, CASE WHEN {condition} THEN 1 ELSE 0 END AS selected FROM \
         (SELECT * FROM notifications WHERE id > $1 ORDER BY id LIMIT {ROWS_PER_STEP}) AS n ORDER BY id"
    );
    let rows = session.rows(&page, bound).await?;
    let mut ids = Vec::new();
    for row in &rows {
        if row.number("selected")? != 0 {
            ids.push(row.text("id")?);
        }
    }
    let mut found = Found { notifications: ids.len() as u64, ..Found::default() };
    if mode == Mode::Delete && !ids.is_empty() {
        let is_person = !selection.addresses.is_empty();
        for id in ids.iter().filter(|_| is_person) {
            cancel(session, id).await?;
        }
        found.notifications = delete(session, &ids).await?;
        found.in_writing = ids.len() as u64 - found.notifications;
    }
    if mode == Mode::Delete && after.is_empty() && selection.is_of_a_person() {
        for log in ["suppressions", "consents"] {
            let (by_address, by_hash) = (S::among("\"to\"", 1), S::among("to_hash", 2));
            let sql = format!("UPDATE {log} SET \"to\" = NULL WHERE {by_address} OR {by_hash}");
            let bound = params![selection.addresses.clone(), selection.to_hashes.clone()];
            session.execute(&sql, bound).await?;
        }
    }
    let last = rows.last().filter(|_| rows.len() == ROWS_PER_STEP as usize);
    let last = last.map(|row| row.text("id")).transpose()?;
    Ok((found, last))
}

/// Whether a notification `n` is selected, with the parameters; `$1` is the place.
fn condition<S: Session>(selection: &Selection, after: &str) -> (String, Vec<Param>) {
    let mut bound: Vec<Param> = params![after];
    let mut condition = match selection.addresses.is_empty() {
        true => "n.state <> 'open'".to_owned(),
        false => {
            bound.push(selection.addresses.clone().into());
            bound.push(selection.to_hashes.clone().into());
            format!(
                "({} OR {} OR {} OR EXISTS (SELECT 1 FROM steps WHERE steps.notification = n.id AND {}))",
                S::among("n.\"to\"", 2),
                S::among("n.email", 2),
                S::among("n.to_hash", 3),
                S::among("steps.to_hash", 3)
            )
        }
    };
    let mut add = |sql: &str, param: Param| {
        bound.push(param);
        condition.push_str(" AND ");
        condition.push_str(&sql.replace('?', &format!("${}", bound.len())));
    };
    if let Some(account) = &selection.account {
        add("n.account = ?", account.as_str().into());
    }
    if let Some(before) = selection.before {
        add(&format!("n.created_at < ?{}", S::TIME), before.into());
    }
    if let Some(sid) = &selection.sid {
        add(
            "EXISTS (SELECT 1 FROM attempts AS a JOIN attempt_sids AS s ON s.attempt = a.id \
             WHERE a.notification = n.id AND s.sid = ?)",
            sid.as_str().into(),
        );
    }
    (condition, bound)
}

/// Deletes notifications with their attempts, those excepted that are being written, or whose call is to be cancelled.
async fn delete<S: Session>(session: &mut S, ids: &[String]) -> Result<u64, sqlx::Error> {
    let sql = format!(
        "DELETE FROM notifications WHERE {} AND NOT EXISTS (SELECT 1 FROM attempts \
         WHERE attempts.notification = notifications.id AND (attempts.state = 'writing' OR attempts.hang_up_at IS NOT NULL))",
        S::among("id", 1)
    );
    session.execute(&sql, params![ids.to_vec()]).await
}

/// How long the key of a request is kept at least: 7 days.
const KEYS_LAST: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Deletes a page of what was settled before `cutoff`, and returns how many notifications. What another transaction has
/// locked stays for the next time.
pub(in crate::backend) async fn expire<S: Session>(
    session: &mut S,
    cutoff: Timestamp,
) -> Result<u64, sqlx::Error> {
    let now = session.now().await?;
    let asked_before = now.before(KEYS_LAST).min(cutoff);
    let settled = NotificationState::ALL.iter().filter(|state| **state != NotificationState::Open);
    let mut deleted = 0;
    for state in settled {
        let sql = format!(
            "SELECT id FROM notifications WHERE state = $1 AND created_at < $2{time} AND settled_at < $3{time} \
             ORDER BY created_at LIMIT {ROWS_PER_STEP}{lock}",
            time = S::TIME,
            lock = S::SKIP_LOCKED,
        );
        let rows = session.rows(&sql, params![state.as_str(), asked_before, cutoff]).await?;
        let ids: Vec<String> = rows.iter().map(|row| row.text("id")).collect::<Result<_, _>>()?;
        if !ids.is_empty() {
            deleted += delete(session, &ids).await?;
        }
    }
    Ok(deleted + campaigns::forget::expire(session, cutoff).await?)
}

/// Reduces a page of notifications that are settled, and of which nothing is looked for any more, to what may be kept, and
/// a page of consents; how many they were. Until then their addresses and texts must be as they are sent.
pub(in crate::backend) async fn treat<S: Session>(
    session: &mut S,
    privacy: &Privacy,
) -> Result<u64, sqlx::Error> {
    if privacy.is_plain() {
        return Ok(0);
    }
    let sql = format!(
        "SELECT id, to_hash, \"to\", body, email, subject, html FROM notifications AS n \
         WHERE state <> 'open' AND NOT treated AND NOT EXISTS (SELECT 1 FROM attempts AS a \
         WHERE a.notification = n.id AND (a.look_at IS NOT NULL OR a.state IN ('writing', 'accepted'))) \
         ORDER BY settled_at LIMIT {ROWS_PER_STEP}{}",
        S::SKIP_LOCKED
    );
    let rows = session.rows(&sql, Vec::new()).await?;
    for row in &rows {
        treat_one(session, privacy, row).await?;
    }
    let others = campaigns::forget::treat(session, privacy).await?;
    Ok(rows.len() as u64 + others + consents::treat(session, privacy).await?)
}

async fn treat_one<S: Session>(
    session: &mut S,
    privacy: &Privacy,
    row: &Cells,
) -> Result<(), sqlx::Error> {
    let (id, to_hash, plain) = (row.text("id")?, row.text("to_hash")?, row.text("to")?);
    let to = privacy.value(Class::Numbers, &plain);
    let body = privacy.value(Class::Bodies, &row.text("body")?);
    let plain_email = row.optional("email")?;
    let treated = |class, plain: Option<&String>| plain.map(|plain| privacy.value(class, plain));
    let email = treated(Class::Numbers, plain_email.as_ref());
    let subject = treated(Class::Bodies, row.optional("subject")?.as_ref());
    let html = treated(Class::Bodies, row.optional("html")?.as_ref());
    let text = S::TEXT;
    let sql = format!(
        "UPDATE notifications SET \"to\" = $2, body = $3, email = $4{text}, subject = $5{text}, html = $6{text}, \
         time_zone = CASE WHEN {} THEN time_zone END, treated = {} WHERE id = $1",
        if privacy.treatments().names == Treatment::Plain { S::TRUE } else { S::FALSE },
        S::TRUE
    );
    let params = params![id.as_str(), to.as_str(), body, email.as_deref(), subject, html];
    session.execute(&sql, params).await?;
    let sql = "UPDATE suppressions SET \"to\" = $4 WHERE \"to\" = $3 \
               AND (to_hash = $2 OR to_hash IN (SELECT to_hash FROM steps WHERE notification = $1))";
    for (plain, treated) in [Some((plain, to)), plain_email.zip(email)].into_iter().flatten() {
        let params = params![id.as_str(), to_hash.as_str(), plain, treated];
        session.execute(sql, params).await?;
    }
    Ok(())
}
