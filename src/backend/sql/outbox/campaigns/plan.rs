//! A campaign from the first row of its list to the last: each batch is kept as it is read, and it is a draft once all are.

use std::time::Duration;

use super::frozen;
use crate::backend::outbox::{InvalidRow, NewCampaign, NewRecipient};
use crate::backend::sql::session::{Param, Session, params};

/// A list that was not read on for so long is given up.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(600);

/// Keeps a campaign whose list is about to be read.
pub(in crate::backend) async fn create<S: Session>(
    session: &mut S,
    new: &NewCampaign,
) -> Result<(), sqlx::Error> {
    let (now, time, text) = (S::NOW, S::TIME, S::TEXT);
    let money = |money: Option<u64>| money.map_or(-1, |it| i64::try_from(it).unwrap_or(i64::MAX));
    let sender = new.steps.first().map(|step| step.sender.as_str()).unwrap_or_default();
    let sql = format!(
        "INSERT INTO campaigns (id, created_at, touched_at, token, name, purpose, on_unknown, sender, route, plan, body, \
         subject, html, deadline, currency, cost_cap, state) VALUES ($1, {now}, {now}, $2, $3, $4, $5, $6, $7{text}, $8, \
         $9, $10{text}, $11{text}, $12{time}, $13{text}, CASE WHEN $14 >= 0 THEN $14 END, 'planning')"
    );
    let params = params![
        new.id.as_str(),
        new.token.as_str(),
        new.name.as_str(),
        new.purpose.as_str(),
        new.on_unknown.as_str(),
        sender,
        new.route.as_deref(),
        frozen::steps(&new.steps),
        new.text.as_str(),
        new.subject.as_deref(),
        new.html.as_deref(),
        new.deadline,
        new.currency.as_deref(),
        money(new.cost_cap),
    ];
    session.execute(&sql, params).await.map(|_| ())
}

/// Adds recipients to a campaign whose list is being read, and returns how many were new to it; `None` if it is not being
/// read any more.
pub(in crate::backend) async fn add<S: Session>(
    session: &mut S,
    id: &str,
    recipients: &[NewRecipient],
) -> Result<Option<u64>, sqlx::Error> {
    if !touch(session, id).await? {
        return Ok(None);
    }
    if recipients.is_empty() {
        return Ok(Some(0));
    }
    let mut bound: Vec<Param> = params![id];
    let mut rows = Vec::with_capacity(recipients.len());
    for one in recipients {
        let from = bound.len();
        bound.extend(params![
            i64::try_from(one.number).unwrap_or(i64::MAX),
            one.key.as_deref(),
            one.to.as_str(),
            one.to_hash.as_str(),
            one.email.as_deref(),
            one.email_hash.as_deref(),
            one.time_zone.as_deref(),
            one.text.as_str(),
            one.subject.as_deref(),
            one.html.as_deref(),
            frozen::costs(&one.costs),
        ]);
        let places = (from + 1..=bound.len()).enumerate().map(|(column, place)| match column {
            0 => format!("${place}"),
            _ => format!("${place}{}", S::TEXT),
        });
        rows.push(format!(
            "($1, {}, 'waiting', {})",
            places.collect::<Vec<_>>().join(", "),
            S::NOW
        ));
    }
    let sql = format!(
        "INSERT INTO recipients (campaign, number, key, \"to\", to_hash, email, email_hash, time_zone, body, subject, html, \
         costs, state, due_at) VALUES {} ON CONFLICT (to_hash, campaign) DO NOTHING",
        rows.join(", ")
    );
    session.execute(&sql, bound).await.map(Some)
}

/// Keeps why rows cannot be sent to.
pub(in crate::backend) async fn reject<S: Session>(
    session: &mut S,
    id: &str,
    rows: &[InvalidRow],
) -> Result<(), sqlx::Error> {
    if !touch(session, id).await? {
        return Ok(());
    }
    let sql = "INSERT INTO invalid_rows (campaign, line, reason) VALUES ($1, $2, $3) ON CONFLICT (campaign, line) DO NOTHING";
    for row in rows {
        let line = i64::try_from(row.line).unwrap_or(i64::MAX);
        session.execute(sql, params![id, line, row.reason.as_str()]).await?;
    }
    Ok(())
}

async fn touch<S: Session>(session: &mut S, id: &str) -> Result<bool, sqlx::Error> {
    let sql = format!(
        "UPDATE campaigns SET touched_at = {} WHERE id = $1 AND state = 'planning'",
        S::NOW
    );
    Ok(session.execute(&sql, params![id]).await? > 0)
}

/// The list is read: it is a draft. Returns whether it was being read until now.
pub(in crate::backend) async fn planned<S: Session>(
    session: &mut S,
    id: &str,
    doubles: u64,
    invalid: u64,
) -> Result<bool, sqlx::Error> {
    let number = |number| i64::try_from(number).unwrap_or(i64::MAX);
    let sql = "UPDATE campaigns SET state = 'draft', doubles = $2, invalid = $3, \
               recipients = (SELECT count(*) FROM recipients WHERE campaign = $1) WHERE id = $1 AND state = 'planning'";
    Ok(session.execute(sql, params![id, number(doubles), number(invalid)]).await? > 0)
}

/// Forgets a campaign whose list is being read.
pub(in crate::backend) async fn discard<S: Session>(
    session: &mut S,
    id: &str,
) -> Result<(), sqlx::Error> {
    let sql = "DELETE FROM campaigns WHERE id = $1 AND state = 'planning'";
    session.execute(sql, params![id]).await.map(|_| ())
}

/// Forgets a campaign whose list was not read to its end, and returns whether there was one.
pub(in crate::backend) async fn give_up<S: Session>(session: &mut S) -> Result<bool, sqlx::Error> {
    let before = session.now().await?.before(GIVEN_UP_AFTER);
    let sql = format!(
        "DELETE FROM campaigns WHERE id IN (SELECT id FROM campaigns WHERE finished_at IS NULL AND state = 'planning' \
         AND touched_at < $1{} LIMIT 1{})",
        S::TIME,
        S::SKIP_LOCKED
    );
    Ok(session.execute(&sql, params![before]).await? > 0)
}
