//! Claims: slots of a pace.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use super::attempt_id;
use crate::backend::outbox::{ClaimAsk, Claimed, Claims};
use crate::backend::sql::session::{Session, malformed, params};
use crate::clock::Timestamp;
use crate::crash_points::{self, Sabotage};

/// The most units that one attempt has, with room to spare: a pace that is further ahead is wrong.
const MOST_UNITS: u32 = 64;
/// Where a process that is sabotaged has its pace.
static IN_MEMORY: AtomicI64 = AtomicI64::new(0);

/// Gives slots to what is due. The pace's row is locked, and the clock is read after that, so the slots of all
/// processes are apart.
pub(in crate::backend) async fn claim<S: Session>(
    session: &mut S,
    ask: &ClaimAsk,
) -> Result<Claims, sqlx::Error> {
    let time = S::TIME;
    let sql = format!("SELECT {} FROM paces WHERE name = $1{}", S::time("free_at"), S::FOR_UPDATE);
    let pace = session.row(&sql, params![ask.pace.as_str()]).await?;
    let Some(pace) = pace else {
        let sql = format!(
            "INSERT INTO paces (name, free_at) VALUES ($1, $2{time}) ON CONFLICT (name) DO NOTHING"
        );
        session.execute(&sql, params![ask.pace.as_str(), Timestamp::from_micros(0)]).await?;
        return Ok(Claims { again: Some(Duration::ZERO), ..Claims::default() });
    };
    let now = session.now().await?;
    let mut free_at = pace.time("free_at")?.ok_or_else(|| malformed("free_at"))?;
    if crash_points::is_sabotaged(Sabotage::PaceInMemory) {
        free_at = Timestamp::from_micros(IN_MEMORY.load(Ordering::Relaxed));
    }
    let furthest = now.after(ask.per_unit.saturating_mul(MOST_UNITS) + ask.ahead);
    let clamped = free_at > furthest;
    if clamped {
        free_at = now;
    }
    let horizon = now.after(ask.ahead);
    let nothing = Claims { now: Some(now), clamped, ..Claims::default() };
    if free_at >= horizon && !clamped {
        let again = Some(free_at.since(horizon) + several(ask));
        return Ok(Claims { again, ..nothing });
    }
    let account = account(session, &ask.account, now).await?;
    if account.is_stopped {
        return Ok(nothing);
    }
    let room = u64::from(ask.max_in_flight).saturating_sub(account.in_flight);
    let limit = room.min(ask.limit.into());
    if limit == 0 {
        return Ok(nothing);
    }
    let sql = format!(
        "SELECT id, units FROM attempts WHERE pace = $1 AND state = 'due' AND due_at <= $2{time} \
         AND sender NOT IN (SELECT name FROM senders WHERE paused IS NOT NULL OR cooldown_until > $2{time}) \
         ORDER BY priority, deadline, created_at, id LIMIT {}{}",
        limit.min(slots(ask)),
        S::SKIP_LOCKED
    );
    let rows = session.rows(&sql, params![ask.pace.as_str(), now]).await?;
    let mut claimed = Vec::with_capacity(rows.len());
    for row in &rows {
        let send_at = free_at.max(now);
        if !claimed.is_empty() && send_at >= horizon {
            break;
        }
        claimed.push(Claimed { id: attempt_id(row, "id")?, send_at });
        let units = u32::try_from(row.number("units")?).unwrap_or(1);
        free_at = send_at.after(ask.per_unit.saturating_mul(units));
    }
    if crash_points::is_sabotaged(Sabotage::PaceInMemory) {
        IN_MEMORY.store(free_at.micros(), Ordering::Relaxed);
    }
    take(session, ask, &claimed).await?;
    if !claimed.is_empty() || clamped {
        let sql = format!("UPDATE paces SET free_at = $2{time} WHERE name = $1");
        session.execute(&sql, params![ask.pace.as_str(), free_at]).await?;
    }
    let again = (!claimed.is_empty()).then(|| match free_at >= horizon {
        true => free_at.since(horizon) + several(ask),
        false => Duration::ZERO,
    });
    Ok(Claims { claimed, now: Some(now), again, clamped })
}

/// How long a pace is left alone after there is one slot again, so that a fast one gives several at a time.
fn several(ask: &ClaimAsk) -> Duration {
    ask.ahead / 4
}

/// How many attempts of one unit have a slot before the horizon; no more are read.
fn slots(ask: &ClaimAsk) -> u64 {
    let slots = ask.ahead.as_nanos().div_ceil(ask.per_unit.as_nanos().max(1));
    u64::try_from(slots).unwrap_or(u64::MAX).max(1)
}

async fn take<S: Session>(
    session: &mut S,
    ask: &ClaimAsk,
    claimed: &[Claimed],
) -> Result<(), sqlx::Error> {
    if claimed.is_empty() {
        return Ok(());
    }
    let time = S::TIME;
    let sql = format!(
        "UPDATE attempts SET state = 'claimed', held = NULL, holder = $3, send_at = pairs.b{time}, lease_until = {} \
         FROM {} WHERE attempts.id = pairs.a",
        S::later(&format!("pairs.b{time}"), ask.lease),
        S::pairs(1, 2)
    );
    let ids: Vec<String> = claimed.iter().map(|one| one.id.to_string()).collect();
    let slots: Vec<String> = claimed.iter().map(|one| one.send_at.to_string()).collect();
    session.execute(&sql, params![ids, slots, ask.holder.as_str()]).await.map(|_| ())
}

struct Account {
    is_stopped: bool,
    in_flight: u64,
}

/// Whether anything of an account may be claimed. What the commit to writing finds decides; this only saves slots.
async fn account<S: Session>(
    session: &mut S,
    account: &str,
    now: Timestamp,
) -> Result<Account, sqlx::Error> {
    let sql = format!(
        "SELECT (SELECT count(*) FROM attempts WHERE account = $1 AND state = 'writing') \
         + (SELECT count(*) FROM attempts WHERE account = $1 AND state = 'claimed' AND lease_until > $2{time}) AS in_flight, \
         (SELECT count(*) FROM sending_accounts WHERE account = $1 \
          AND (paused IS NOT NULL OR cooldown_until > $2{time})) \
         + (SELECT count(*) FROM outbox WHERE held IS NOT NULL) AS stops",
        time = S::TIME
    );
    let row = session.row(&sql, params![account, now]).await?.ok_or(sqlx::Error::RowNotFound)?;
    Ok(Account { is_stopped: row.number("stops")? > 0, in_flight: row.count("in_flight")? })
}
