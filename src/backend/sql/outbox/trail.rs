//! What became of the attempts of a notification, read for people.

use super::attempt_id;
use crate::backend::outbox::{Proven, Trail};
use crate::backend::sql::session::{Cells, Session, malformed, params};

/// What became of the attempts of a notification, in their order.
pub(in crate::backend) async fn trails<S: Session>(
    session: &mut S,
    notification: &str,
) -> Result<Vec<Trail>, sqlx::Error> {
    let sql = format!(
        "SELECT id, sender, account, {} FROM attempts WHERE notification = $1 ORDER BY number",
        S::time("settled_at")
    );
    let trail = |row: &Cells| {
        Ok(Trail {
            id: attempt_id(row, "id")?,
            sender: row.text("sender")?,
            account: row.text("account")?,
            settled_at: row.time("settled_at")?,
            proven: Vec::new(),
        })
    };
    let rows = session.rows(&sql, params![notification]).await?;
    let mut trails = rows.iter().map(trail).collect::<Result<Vec<_>, sqlx::Error>>()?;
    let sql = format!(
        "SELECT s.attempt, s.sid, s.proof, {} FROM attempt_sids AS s JOIN attempts AS a ON a.id = s.attempt \
         WHERE a.notification = $1 ORDER BY s.at, s.sid",
        S::time("s.at")
    );
    for row in session.rows(&sql, params![notification]).await? {
        let attempt = attempt_id(&row, "attempt")?;
        let at = row.time("at")?.ok_or_else(|| malformed("at"))?;
        let proven = Proven { sid: row.text("sid")?, by: row.text("proof")?, at };
        // One that was planned between the two statements is shown the next time.
        if let Some(trail) = trails.iter_mut().find(|trail| trail.id == attempt) {
            trail.proven.push(proven);
        }
    }
    Ok(trails)
}
