//! What is forgotten of campaigns: of a person, what is old, and what `[privacy]` does not let be kept of recipients that
//! have become no notifications. What have, is forgotten with these.

use crate::backend::purge::{ROWS_PER_STEP, Selection};
use crate::backend::sql::session::{Cells, Session, params};
use crate::clock::Timestamp;
use crate::twilio::privacy::{Class, Privacy, Treatment};

/// Forgets who the recipients at these addresses were, in all campaigns. Those that wait are cancelled.
pub(in crate::backend) async fn person<S: Session>(
    session: &mut S,
    selection: &Selection,
) -> Result<(), sqlx::Error> {
    let sql = format!(
        "UPDATE recipients SET key = NULL, \"to\" = NULL, to_hash = 'purged ' || number, email = NULL, email_hash = NULL, \
         time_zone = NULL, body = NULL, subject = NULL, html = NULL, held = NULL, \
         reason = CASE WHEN state = 'waiting' THEN 'purged' ELSE reason END, \
         settled_at = CASE WHEN state = 'waiting' THEN {now} ELSE settled_at END, \
         state = CASE WHEN state = 'waiting' THEN 'cancelled' ELSE state END WHERE {} OR {} OR {} OR {}",
        S::among("to_hash", 1),
        S::among("email_hash", 1),
        S::among("\"to\"", 2),
        S::among("email", 2),
        now = S::NOW,
    );
    let params = params![selection.to_hashes.clone(), selection.addresses.clone()];
    session.execute(&sql, params).await.map(|_| ())
}

/// Deletes a page of the recipients of campaigns that were over before `cutoff`, or planned before it and never started, then
/// the campaigns themselves; returns how many rows.
pub(in crate::backend) async fn expire<S: Session>(
    session: &mut S,
    cutoff: Timestamp,
) -> Result<u64, sqlx::Error> {
    // Cancelled first: one of which some recipients are deleted must not be started.
    let sql = format!(
        "UPDATE campaigns SET state = 'cancelled', swept = '~', finished_at = touched_at WHERE state = 'draft' \
         AND touched_at < $1{}",
        S::TIME
    );
    session.execute(&sql, params![cutoff]).await?;
    let sql = format!(
        "SELECT id FROM campaigns WHERE finished_at < $1{} ORDER BY id LIMIT 1{}",
        S::TIME,
        S::SKIP_LOCKED
    );
    let Some(row) = session.row(&sql, params![cutoff]).await? else { return Ok(0) };
    let id = row.text("id")?;
    for (table, key) in [("recipients", "number"), ("invalid_rows", "line")] {
        let sql = format!(
            "DELETE FROM {table} WHERE campaign = $1 AND {key} IN (SELECT {key} FROM {table} WHERE campaign = $1 \
             ORDER BY {key} LIMIT {ROWS_PER_STEP})"
        );
        let deleted = session.execute(&sql, params![id.as_str()]).await?;
        if deleted > 0 {
            return Ok(deleted);
        }
    }
    session.execute("DELETE FROM campaigns WHERE id = $1", params![id]).await
}

/// Reduces a page of recipients that ended before they were handed over to what may be kept, and returns how many.
pub(in crate::backend) async fn treat<S: Session>(
    session: &mut S,
    privacy: &Privacy,
) -> Result<u64, sqlx::Error> {
    let sql = format!(
        "SELECT campaign, number, \"to\", email FROM recipients WHERE state IN ('refused', 'expired', 'cancelled') \
         AND NOT treated ORDER BY settled_at LIMIT {ROWS_PER_STEP}{}",
        S::SKIP_LOCKED
    );
    let rows = session.rows(&sql, params![]).await?;
    for row in &rows {
        let treated = |row: &Cells, column| {
            let plain = row.optional(column)?;
            Ok::<_, sqlx::Error>(plain.map(|plain| privacy.value(Class::Numbers, &plain)))
        };
        let names = privacy.treatments().names == Treatment::Plain;
        let sql = format!(
            "UPDATE recipients SET \"to\" = $3{text}, email = $4{text}, time_zone = CASE WHEN {} THEN time_zone END, \
             treated = {} WHERE campaign = $1 AND number = $2",
            if names { S::TRUE } else { S::FALSE },
            S::TRUE,
            text = S::TEXT
        );
        let number = row.number("number")?;
        let params =
            params![row.text("campaign")?, number, treated(row, "to")?, treated(row, "email")?];
        session.execute(&sql, params).await?;
    }
    Ok(rows.len() as u64)
}
