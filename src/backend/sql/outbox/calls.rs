//! Calls: the permits that attempts hold, the end of a call, and its cancellation while it rings.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{IS_CANCELLED, attempt_id};
use crate::backend::outbox::{HangUp, HungUp};
use crate::backend::sql::session::{Cells, Session, Statement, params};
use crate::clock::Timestamp;
use crate::dispatch::call::{self, CallPlan, Lines};
use crate::dispatch::{Channel, Confirm, Reach};
use crate::event::AttemptId;
use crate::labels::Label as _;

/// Most calls of one transaction that are to be cancelled.
const AT_ONCE: u32 = 20;

/// How an attempt reaches its recipient.
pub(super) fn reach(row: &Cells) -> Result<Reach, sqlx::Error> {
    match row.parsed("channel", Channel::parse)? {
        Channel::Message => Ok(Reach::Message),
        Channel::Email => Ok(Reach::Email),
        Channel::Call => Ok(Reach::Call(row.parsed("confirm", Confirm::parse)?)),
    }
}

/// How an attempt's call is made; `None` for a message and an email. The row has [`COLUMNS`].
pub(super) fn plan(row: &Cells) -> Result<Option<CallPlan>, sqlx::Error> {
    let Reach::Call(confirm) = reach(row)? else { return Ok(None) };
    let seconds = |column| Ok::<_, sqlx::Error>(u32::try_from(row.count(column)?).unwrap_or(0));
    Ok(Some(CallPlan {
        confirm,
        language: row.optional("language")?,
        voice: row.optional("voice")?,
        timeout_s: seconds("timeout_s")?,
        time_limit_s: seconds("time_limit_s")?,
    }))
}

/// The columns of an attempt that say how it reaches its recipient.
pub(super) const COLUMNS: &str = "channel, confirm, language, voice, timeout_s, time_limit_s";

/// How many of an account's lines are taken: the permits that attempts hold, and the open calls that the store knows and
/// that are no attempt's. Exact while the account's row is locked.
pub(super) async fn open<S: Session>(
    session: &mut S,
    account: &str,
    lines: &Lines,
    now: Timestamp,
) -> Result<u64, sqlx::Error> {
    // No more are counted than there are lines. The events are looked up for each call, by its SID: joined, a planner that
    // knows little of young tables reads all of the account's, under the lock.
    let sql = format!(
        "SELECT (SELECT count(*) FROM attempts WHERE account = $1 AND permit_until > $2{time}) \
         + (SELECT count(*) FROM (SELECT 1 FROM statuses AS s WHERE s.account = $1 AND s.resource = 'call' \
         AND s.final = {no} AND s.first_seen > $3{time} \
         AND NOT EXISTS (SELECT 1 FROM attempt_sids AS p WHERE p.sid = s.sid) \
         AND (SELECT 1 FROM events AS e WHERE e.sid = s.sid AND e.attempt IS NOT NULL LIMIT 1) IS NULL \
         LIMIT {most}) AS others) AS calls",
        time = S::TIME,
        no = S::FALSE,
        most = lines.limit(account).max(1),
    );
    let row = session.row(&sql, params![account, now, now.before(lines.max_age)]).await?;
    row.ok_or(sqlx::Error::RowNotFound)?.count("calls")
}

/// The account's calls that have a slot and are not committed to writing.
pub(super) async fn claimed<S: Session>(
    session: &mut S,
    account: &str,
    now: Timestamp,
) -> Result<u64, sqlx::Error> {
    let sql = format!(
        "SELECT count(*) AS calls FROM attempts WHERE account = $1 AND state = 'claimed' AND channel = 'call' \
         AND lease_until > $2{}",
        S::TIME
    );
    let row = session.row(&sql, params![account, now]).await?.ok_or(sqlx::Error::RowNotFound)?;
    row.count("calls")
}

/// Gives each of these attempts its permit until then.
pub(super) fn permitting<S: Session>(permits: &BTreeMap<String, Timestamp>) -> Vec<Statement> {
    if permits.is_empty() {
        return Vec::new();
    }
    let sql = format!(
        "UPDATE attempts SET permit_until = pairs.b{}, over_at = NULL FROM {} WHERE attempts.id = pairs.a",
        S::TIME,
        S::pairs(1, 2)
    );
    let ids: Vec<String> = permits.keys().cloned().collect();
    let until: Vec<String> = permits.values().map(ToString::to_string).collect();
    vec![Statement::new(sql, params![ids, until])]
}

/// These attempts have no open call: they created none.
pub(super) async fn release<S: Session>(
    session: &mut S,
    attempts: &[&str],
) -> Result<(), sqlx::Error> {
    if attempts.is_empty() {
        return Ok(());
    }
    let sql = format!(
        "UPDATE attempts SET permit_until = NULL WHERE {} AND permit_until IS NOT NULL",
        S::among("id", 1)
    );
    let ids: Vec<String> = attempts.iter().map(|id| (*id).to_owned()).collect();
    session.execute(&sql, params![ids]).await.map(|_| ())
}

/// The calls of these attempts are over: their lines are free, and nothing is left to cancel.
pub(super) async fn over<S: Session>(
    session: &mut S,
    attempts: &[String],
) -> Result<(), sqlx::Error> {
    if attempts.is_empty() {
        return Ok(());
    }
    let sql = format!(
        "UPDATE attempts SET permit_until = NULL, hang_up_at = NULL, over_at = coalesce(over_at, {}) \
         WHERE {} AND (over_at IS NULL OR permit_until IS NOT NULL OR hang_up_at IS NOT NULL)",
        S::NOW,
        S::among("id", 1)
    );
    session.execute(&sql, params![attempts.to_vec()]).await.map(|_| ())
}

/// The call of this attempt was answered and is over, and what confirms it is waited for a little longer: for as long as
/// the first that says so lets it.
pub(super) async fn ended<S: Session>(
    session: &mut S,
    attempt: &str,
    by: &str,
    within: Duration,
) -> Result<(), sqlx::Error> {
    let sql = format!(
        "UPDATE attempts SET reason = $2, look_at = CASE WHEN look_at < {end} THEN look_at ELSE {end} END \
         WHERE id = $1 AND state = 'accepted'",
        end = S::later(S::NOW, within)
    );
    session.execute(&sql, params![attempt, by]).await.map(|_| ())
}

/// From now on the calls of this notification that Twilio has, and that are not over, are to be cancelled.
pub(super) async fn hang_up<S: Session>(
    session: &mut S,
    notification: &str,
) -> Result<u64, sqlx::Error> {
    let sql = format!(
        "UPDATE attempts SET hang_up_at = {}, hang_ups = 0 WHERE notification = $1 AND channel = 'call' \
         AND state = 'accepted' AND over_at IS NULL AND hang_up_at IS NULL",
        S::NOW
    );
    session.execute(&sql, params![notification]).await
}

/// The same of attempts that Twilio has accepted just now, and whose notifications were cancelled meanwhile, or confirmed
/// by another step.
pub(super) fn hanging_up_late<S: Session>(attempts: &[String]) -> Statement {
    let sql = format!(
        "UPDATE attempts SET hang_up_at = {} WHERE {} AND channel = 'call' AND state = 'accepted' AND over_at IS NULL \
         AND EXISTS (SELECT 1 FROM notifications AS n WHERE n.id = attempts.notification AND (n.state = 'confirmed' \
         OR {IS_CANCELLED}))",
        S::NOW,
        S::among("id", 1)
    );
    Statement::new(sql, params![attempts.to_vec()])
}

/// Calls that are to be cancelled now; `busy`: for how long no other process is handed one.
pub(in crate::backend) async fn to_hang_up<S: Session>(
    session: &mut S,
    busy: Duration,
) -> Result<Vec<HangUp>, sqlx::Error> {
    let at = session.now().await?;
    let sql = format!(
        "UPDATE attempts SET hang_up_at = {}, hang_ups = hang_ups + 1 WHERE id IN (SELECT id FROM attempts \
         WHERE hang_up_at <= $1{} ORDER BY hang_up_at LIMIT {AT_ONCE}{}) RETURNING id, account, sender, sid, hang_ups",
        S::later(S::NOW, busy),
        S::TIME,
        S::SKIP_LOCKED
    );
    let one = |row: &Cells| {
        Ok(HangUp {
            id: attempt_id(row, "id")?,
            account: row.text("account")?,
            sender: row.text("sender")?,
            sid: row.text("sid")?,
            tries: u32::try_from(row.count("hang_ups")?).unwrap_or(u32::MAX),
        })
    };
    session.rows(&sql, params![at]).await?.iter().map(one).collect()
}

/// Stores what came of the cancellation of a call, of which this was the `tries`th try, and returns it: after the last one,
/// the cancellation is given up.
pub(in crate::backend) async fn hung_up<S: Session>(
    session: &mut S,
    id: AttemptId,
    tries: u32,
    came: HungUp,
) -> Result<HungUp, sqlx::Error> {
    let again = call::hang_up_again(tries).filter(|_| came == HungUp::Again);
    let at = again.map_or_else(|| "NULL".to_owned(), |wait| S::later(S::NOW, wait));
    // The call may be over meanwhile.
    let sql = format!(
        "UPDATE attempts SET hang_up_at = {at} WHERE id = $1 AND hang_up_at IS NOT NULL AND hang_ups = $2"
    );
    session.execute(&sql, params![id.to_string(), tries]).await?;
    Ok(match (came, again) {
        (HungUp::Again, None) => HungUp::GivenUp,
        (came, _) => came,
    })
}
