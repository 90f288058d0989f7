//! Statuses that say nothing final for long: found, taken and done with.

use std::time::Duration;

use crate::backend::outbox::{FollowUp, FollowUpAsk, Followed};
use crate::backend::sql::session::{Cells, Param, Session, malformed, params};
use crate::clock::Timestamp;
use crate::event::Resource;
use crate::labels::Label as _;

/// Most rows of one transaction.
const AT_ONCE: u32 = 500;

/// The statuses `s` that are asked about. Only what is indexed as open is read.
fn open<S: Session>(ask: &FollowUpAsk) -> (String, Vec<Param>) {
    // Of what came in, nothing else is ever said than that it did.
    let sql = format!(
        "s.resource = '{}' AND s.final = {} AND s.status <> 'received' AND s.first_seen < $1{time} \
         AND s.first_seen >= $2{time} AND {}",
        ask.resource.as_str(),
        S::FALSE,
        S::among("s.account", 3),
        time = S::TIME
    );
    (sql, params![ask.before, ask.since, ask.accounts.clone()])
}

/// Plans to ask for a page of what is not planned yet, and returns how many there were.
pub(in crate::backend) async fn plan<S: Session>(
    session: &mut S,
    ask: &FollowUpAsk,
) -> Result<u64, sqlx::Error> {
    let (open, bound) = open::<S>(ask);
    let sql = format!(
        "INSERT INTO follow_ups (account, sid, resource, first_seen, ask_at) \
         SELECT s.account, s.sid, s.resource, s.first_seen, {} FROM statuses AS s WHERE {open} AND NOT EXISTS \
         (SELECT 1 FROM follow_ups AS f WHERE f.account = s.account AND f.sid = s.sid) \
         ORDER BY s.first_seen LIMIT {AT_ONCE} ON CONFLICT (account, sid) DO NOTHING",
        S::NOW
    );
    session.execute(&sql, bound).await
}

/// Forgets a page of what the store has no status of any more, or a final one, and of what is from before `since`, which
/// is not planned again.
pub(in crate::backend) async fn tidy<S: Session>(
    session: &mut S,
    since: Timestamp,
) -> Result<u64, sqlx::Error> {
    let sql = format!(
        "DELETE FROM follow_ups WHERE (account, sid) IN (SELECT f.account, f.sid FROM follow_ups AS f \
         LEFT JOIN statuses AS s ON s.sid = f.sid AND s.account = f.account \
         WHERE s.sid IS NULL OR s.final = {} OR f.ask_at IS NULL AND f.first_seen < $1{} LIMIT {AT_ONCE})",
        S::TRUE,
        S::TIME
    );
    session.execute(&sql, params![since]).await
}

/// A page of the statuses that are asked about, the oldest first.
pub(in crate::backend) async fn list<S: Session>(
    session: &mut S,
    ask: &FollowUpAsk,
    limit: u32,
) -> Result<Vec<FollowUp>, sqlx::Error> {
    let (open, bound) = open::<S>(ask);
    let sql = format!(
        "SELECT s.account, s.sid, s.resource, {} FROM statuses AS s WHERE {open} ORDER BY s.first_seen LIMIT {limit}",
        S::time("s.first_seen")
    );
    session.rows(&sql, bound).await?.iter().map(follow_up).collect()
}

/// Takes what is to be asked for now of an account that may be asked; `busy`: for how long no other process is handed it.
/// What has become final meanwhile is forgotten.
pub(in crate::backend) async fn take<S: Session>(
    session: &mut S,
    account: &str,
    limit: u32,
    busy: Duration,
) -> Result<Vec<FollowUp>, sqlx::Error> {
    let now = session.now().await?;
    let sql = format!(
        "SELECT 1 AS stops FROM sending_accounts WHERE account = $1 AND (paused IS NOT NULL OR cooldown_until > $2{})",
        S::TIME
    );
    if session.row(&sql, params![account, now]).await?.is_some() {
        return Ok(Vec::new());
    }
    let due = format!(
        "SELECT sid FROM follow_ups WHERE account = $1 AND ask_at <= $2{} ORDER BY ask_at LIMIT {limit}{}",
        S::TIME,
        S::SKIP_LOCKED
    );
    let rows = session.rows(&due, params![account, now]).await?;
    let sids: Vec<String> = rows.iter().map(|row| row.text("sid")).collect::<Result<_, _>>()?;
    if sids.is_empty() {
        return Ok(Vec::new());
    }
    let sql = format!(
        "DELETE FROM follow_ups WHERE account = $1 AND {} AND NOT EXISTS (SELECT 1 FROM statuses AS s \
         WHERE s.sid = follow_ups.sid AND s.account = follow_ups.account AND s.final = {})",
        S::among("sid", 2),
        S::FALSE
    );
    session.execute(&sql, params![account, sids.clone()]).await?;
    let sql = format!(
        "UPDATE follow_ups SET ask_at = $3{} WHERE account = $1 AND {} RETURNING account, sid, resource, {}",
        S::TIME,
        S::among("sid", 2),
        S::time("first_seen")
    );
    let rows = session.rows(&sql, params![account, sids, now.after(busy)]).await?;
    let mut taken = rows.iter().map(follow_up).collect::<Result<Vec<_>, _>>()?;
    taken.sort_by(|one, other| (one.first_seen, &one.sid).cmp(&(other.first_seen, &other.sid)));
    Ok(taken)
}

fn follow_up(row: &Cells) -> Result<FollowUp, sqlx::Error> {
    let first_seen: Option<Timestamp> = row.time("first_seen")?;
    Ok(FollowUp {
        account: row.text("account")?,
        sid: row.text("sid")?,
        resource: row.parsed("resource", Resource::parse)?,
        first_seen: first_seen.ok_or_else(|| malformed("first_seen"))?,
    })
}

/// Stores what came of it.
pub(in crate::backend) async fn followed<S: Session>(
    session: &mut S,
    one: &FollowUp,
    followed: &Followed,
) -> Result<(), sqlx::Error> {
    let (account, sid) = (one.account.as_str(), one.sid.as_str());
    let ask_at = match followed {
        Followed::Ended => {
            let sql = "DELETE FROM follow_ups WHERE account = $1 AND sid = $2";
            return session.execute(sql, params![account, sid]).await.map(|_| ());
        }
        Followed::Again(at) => Some(*at),
        Followed::Never => None,
    };
    let sql =
        format!("UPDATE follow_ups SET ask_at = $3{} WHERE account = $1 AND sid = $2", S::TIME);
    session.execute(&sql, params![account, sid, ask_at]).await.map(|_| ())
}

/// Asks again now for what is planned, those included of which Twilio never said anything final.
pub(in crate::backend) async fn hurry<S: Session>(
    session: &mut S,
    ask: &FollowUpAsk,
) -> Result<u64, sqlx::Error> {
    let sql = format!(
        "UPDATE follow_ups SET ask_at = {} WHERE resource = '{}' AND first_seen < $1{time} AND first_seen >= $2{time} \
         AND {}",
        S::NOW,
        ask.resource.as_str(),
        S::among("account", 3),
        time = S::TIME
    );
    session.execute(&sql, params![ask.before, ask.since, ask.accounts.clone()]).await
}
