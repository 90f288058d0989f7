//! Keeping a notification, looking at it, and cancelling it.

use super::{CANCELLED, attempt_id, calls, conclude, purpose, steps};
use crate::backend::outbox::{
    Asked, Attempt, CancelOutcome, KeptBefore, NewNotification, Notification, NotificationSearch,
    ROWS_PER_PAGE,
};
use crate::backend::sql::session::{Cells, Param, Session, malformed, params};
use crate::dispatch::{AttemptState, Channel, Confirm, NotificationState, OnUnknown};
use crate::event::AttemptId;
use crate::labels::Label as _;

/// Keeps a notification and plans its first attempt, unless its key was used before.
pub(in crate::backend) async fn ask<S: Session>(
    session: &mut S,
    new: &NewNotification,
) -> Result<Asked, sqlx::Error> {
    let (now, time, text) = (S::NOW, S::TIME, S::TEXT);
    // Two processes may be asked at once with one key: the second waits for the first.
    let sql = format!(
        "INSERT INTO notifications (id, created_at, token, idempotency_key, request_hash, purpose, on_unknown, \
         sender, account, \"to\", to_hash, body, segments, reference, deadline, time_zone, route, email, subject, html, campaign, state) \
         VALUES ($1, {now}, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14{time}, $15{text}, $16{text}, \
         $17{text}, $18{text}, $19{text}, $20{text}, 'open') \
         ON CONFLICT (token, idempotency_key) WHERE idempotency_key IS NOT NULL DO NOTHING"
    );
    let kept = session.execute(
        &sql,
        params![
            new.id.as_str(),
            new.token.as_str(),
            new.idempotency_key.as_deref(),
            new.request_hash.as_str(),
            new.purpose.as_str(),
            new.on_unknown.as_str(),
            new.sender.as_str(),
            new.account.as_str(),
            new.to.as_str(),
            new.to_hash.as_str(),
            new.body.as_str(),
            new.segments,
            new.reference.as_deref(),
            new.deadline,
            new.time_zone.as_deref(),
            new.route.as_ref().map(|route| route.name.as_str()),
            new.mail.as_ref().and_then(|mail| mail.to.as_deref()),
            new.mail.as_ref().map(|mail| mail.subject.as_str()),
            new.mail.as_ref().and_then(|mail| mail.html.as_deref()),
            new.campaign.as_deref(),
        ],
    );
    if kept.await? == 0 {
        let key = new.idempotency_key.as_deref().unwrap_or_default();
        let before = before(session, &new.token, key).await?.ok_or(sqlx::Error::RowNotFound)?;
        return Ok(match before.request_hash == new.request_hash {
            true => Asked::Before(before.id),
            false => Asked::Conflict,
        });
    }
    let sql = format!(
        "INSERT INTO attempts (id, notification, number, created_at, sender, account, pace, to_hash, units, priority, \
         deadline, state, due_at, held, campaign, price, {}) \
         VALUES ($1, $2, 1, {now}, $3, $4, $5, $6, $7, $8, $9{time}, 'due', coalesce($10{time}, {now}), $11{text}, \
         $12{text}, CASE WHEN $13 >= 0 THEN $13 END, $14, $15{text}, $16{text}, $17{text}, CASE WHEN $18 > 0 THEN $18 END, \
         CASE WHEN $19 > 0 THEN $19 END)",
        calls::COLUMNS,
        text = S::TEXT,
    );
    let (gate, until) = new.held.unzip();
    let call = new.call.as_ref();
    session
        .execute(
            &sql,
            params![
                new.attempt.to_string(),
                new.id.as_str(),
                new.sender.as_str(),
                new.account.as_str(),
                new.pace.as_str(),
                new.to_hash.as_str(),
                new.segments,
                new.priority(),
                new.deadline,
                until,
                gate,
                new.campaign.as_deref(),
                price(new.price),
                new.channel.as_str(),
                call.map(|call| call.confirm.as_str()),
                call.and_then(|call| call.language.as_deref()),
                call.and_then(|call| call.voice.as_deref()),
                call.map_or(0, |call| call.timeout_s),
                call.map_or(0, |call| call.time_limit_s),
            ],
        )
        .await?;
    if let Some(route) = &new.route {
        steps::plan(session, new, route).await?;
    }
    Ok(Asked::Kept)
}

/// A price as a parameter: negative if it is not known.
pub(super) fn price(price: Option<u64>) -> i64 {
    price.map_or(-1, |price| i64::try_from(price).unwrap_or(i64::MAX))
}

/// What was kept under a key, if anything was.
pub(in crate::backend) async fn before<S: Session>(
    session: &mut S,
    token: &str,
    key: &str,
) -> Result<Option<KeptBefore>, sqlx::Error> {
    let sql = "SELECT id, request_hash, segments FROM notifications WHERE token = $1 AND idempotency_key = $2";
    let Some(row) = session.row(sql, params![token, key]).await? else { return Ok(None) };
    Ok(Some(KeptBefore {
        id: row.text("id")?,
        request_hash: row.text("request_hash")?,
        segments: u32::try_from(row.number("segments")?).unwrap_or(1),
    }))
}

fn columns<S: Session>() -> String {
    let times = ["created_at", "deadline", "settled_at"].map(S::time).join(", ");
    format!(
        "id, purpose, on_unknown, sender, account, \"to\", email, segments, reference, time_zone, route, campaign, state, reason, {times}"
    )
}

fn notification(row: &Cells) -> Result<Notification, sqlx::Error> {
    let time = |column| row.time(column)?.ok_or_else(|| malformed(column));
    Ok(Notification {
        id: row.text("id")?,
        created_at: time("created_at")?,
        purpose: purpose(row, "purpose")?,
        on_unknown: row.parsed("on_unknown", OnUnknown::parse)?,
        sender: row.text("sender")?,
        account: row.text("account")?,
        to: row.text("to")?,
        email: row.optional("email")?,
        segments: row.count("segments")?,
        reference: row.optional("reference")?,
        deadline: time("deadline")?,
        time_zone: row.optional("time_zone")?,
        route: row.optional("route")?,
        campaign: row.optional("campaign")?,
        state: row.parsed("state", NotificationState::parse)?,
        reason: row.optional("reason")?,
        settled_at: row.time("settled_at")?,
    })
}

/// A notification with its attempts, in their order.
pub(in crate::backend) async fn find<S: Session>(
    session: &mut S,
    id: &str,
) -> Result<Option<(Notification, Vec<Attempt>)>, sqlx::Error> {
    let sql = format!("SELECT {} FROM notifications WHERE id = $1", columns::<S>());
    let Some(row) = session.row(&sql, params![id]).await? else { return Ok(None) };
    let found = notification(&row)?;
    let times = ["created_at", "due_at", "send_at", "written_at"].map(S::time).join(", ");
    let sql = format!(
        "SELECT id, number, step, channel, confirm, state, held, tries, sid, reason, {times} FROM attempts WHERE notification = $1 ORDER BY number"
    );
    let rows = session.rows(&sql, params![id]).await?;
    let sql = "SELECT s.attempt, s.sid FROM attempt_sids AS s JOIN attempts AS a ON a.id = s.attempt \
               WHERE a.notification = $1 ORDER BY s.at, s.sid";
    let proven = session.rows(sql, params![id]).await?;
    let attempt = |row: &Cells| {
        let time = |column| row.time(column)?.ok_or_else(|| malformed(column));
        let id = attempt_id(row, "id")?;
        let mut sids = Vec::new();
        for proof in &proven {
            if attempt_id(proof, "attempt")? == id {
                sids.push(proof.text("sid")?);
            }
        }
        Ok(Attempt {
            id,
            number: row.count("number")?,
            step: row.count("step")?,
            channel: row.parsed("channel", Channel::parse)?,
            confirm: row.optional("confirm")?.as_deref().and_then(Confirm::parse),
            created_at: time("created_at")?,
            state: row.parsed("state", AttemptState::parse)?,
            due_at: time("due_at")?,
            held: row.optional("held")?,
            send_at: row.time("send_at")?,
            tries: row.count("tries")?,
            written_at: row.time("written_at")?,
            sid: row.optional("sid")?,
            reason: row.optional("reason")?,
            sids,
        })
    };
    let attempts = rows.iter().map(attempt).collect::<Result<_, sqlx::Error>>()?;
    Ok(Some((found, attempts)))
}

/// The notification of an attempt, with all of its attempts.
pub(in crate::backend) async fn find_by_attempt<S: Session>(
    session: &mut S,
    attempt: AttemptId,
) -> Result<Option<(Notification, Vec<Attempt>)>, sqlx::Error> {
    let sql = "SELECT notification FROM attempts WHERE id = $1";
    let Some(row) = session.row(sql, params![attempt.to_string()]).await? else { return Ok(None) };
    find(session, &row.text("notification")?).await
}

/// A page of notifications, from the newest back.
pub(in crate::backend) async fn list<S: Session>(
    session: &mut S,
    search: &NotificationSearch,
) -> Result<Vec<Notification>, sqlx::Error> {
    let (mut sql, mut bound) =
        (format!("SELECT {} FROM notifications WHERE 1 = 1", columns::<S>()), Vec::new());
    let mut add = |sql: &mut String, condition: &str, param: Param| {
        bound.push(param);
        sql.push_str(" AND ");
        sql.push_str(&condition.replace('?', &format!("${}", bound.len())));
    };
    if let Some(state) = search.state {
        add(&mut sql, "state = ?", state.as_str().into());
    }
    if let Some(reference) = &search.reference {
        add(&mut sql, "reference = ?", reference.as_str().into());
    }
    if let Some(route) = &search.route {
        add(&mut sql, "route = ?", route.as_str().into());
    }
    if let Some(campaign) = &search.campaign {
        add(&mut sql, "campaign = ?", campaign.as_str().into());
    }
    if let Some((at, id)) = &search.after {
        add(&mut sql, &format!("created_at <= ?{}", S::TIME), (*at).into());
        add(
            &mut sql,
            &format!("(created_at, id) < (${}{}, ?)", bound_len(search), S::TIME),
            id.as_str().into(),
        );
    }
    let limit = search.limit.clamp(1, ROWS_PER_PAGE);
    sql.push_str(&format!(" ORDER BY notifications.created_at DESC, id DESC LIMIT {limit}"));
    session.rows(&sql, bound).await?.iter().map(notification).collect()
}

/// The number of the parameter that holds the time of the place after which a page begins.
fn bound_len(search: &NotificationSearch) -> usize {
    let filters = [
        search.state.is_some(),
        search.reference.is_some(),
        search.route.is_some(),
        search.campaign.is_some(),
    ];
    1 + filters.into_iter().filter(|is_set| *is_set).count()
}

/// Cancels what has not been sent. The row's lock waits for commits to writing that hold it, so the answer counts them.
pub(in crate::backend) async fn cancel<S: Session>(
    session: &mut S,
    id: &str,
) -> Result<Option<CancelOutcome>, sqlx::Error> {
    let sql = format!("SELECT id FROM notifications WHERE id = $1{}", S::FOR_UPDATE);
    if session.row(&sql, params![id]).await?.is_none() {
        return Ok(None);
    }
    // What is on its way cannot be called back, but whatever becomes of it, it is not requested again; and a call that Twilio
    // turns out to have is cancelled while it rings.
    let sql = format!(
        "UPDATE notifications SET cancelled_at = {} WHERE id = $1 AND cancelled_at IS NULL AND state IN ('open', 'unknown')",
        S::NOW
    );
    session.execute(&sql, params![id]).await?;
    let sql = format!(
        "UPDATE attempts SET state = 'cancelled', reason = 'cancelled', holder = NULL, lease_until = NULL, held = NULL, \
         settled_at = {} WHERE notification = $1 AND state IN ('due', 'claimed')",
        S::NOW
    );
    session.execute(&sql, params![id]).await?;
    // It is not sent again either.
    let sql = "UPDATE attempts SET look_at = NULL WHERE notification = $1 AND state = 'unknown'";
    session.execute(sql, params![id]).await?;
    let hanging_up = calls::hang_up(session, id).await?;
    steps::skip(session, id).await?;
    conclude(session, &[id.to_owned()]).await?;
    // For people.
    let sql = "UPDATE notifications SET reason = $2 WHERE id = $1 AND state = 'open' \
               AND EXISTS (SELECT 1 FROM attempts WHERE notification = $1 \
               AND (state = 'writing' OR hang_up_at IS NOT NULL OR channel = 'call' AND state = 'unknown'))";
    session.execute(sql, params![id, CANCELLED]).await?;
    let sql = "SELECT state, (SELECT count(*) FROM attempts WHERE notification = $1 AND state = 'writing') AS writing \
               FROM notifications WHERE id = $1";
    let row = session.row(sql, params![id]).await?.ok_or(sqlx::Error::RowNotFound)?;
    let state = row.parsed("state", NotificationState::parse)?;
    Ok(Some(CancelOutcome { state, in_writing: row.count("writing")?, hanging_up }))
}
