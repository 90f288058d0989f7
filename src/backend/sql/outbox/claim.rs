//! Claims: slots of a pace.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use super::{attempt_id, calls, texts};
use crate::backend::outbox::{ClaimAsk, Claimed, Claims, PRIORITIES};
use crate::backend::sql::session::{Cells, Param, Session, Statement, malformed, params};
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
    let reads = [S::read_now(), account::<S>(&ask.account), stopped::<S>(&ask.senders)];
    let [now, account, stopped] = session.rows_of_each(reads).await?;
    let now = S::as_now(&now)?;
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
    let account = account.first().ok_or(sqlx::Error::RowNotFound)?;
    if account.number("stops")? > 0 {
        return Ok(nothing);
    }
    let room = u64::from(ask.max_in_flight).saturating_sub(account.count("in_flight")?);
    let mut limit = room.min(ask.limit.into());
    if let Some(lines) = &ask.lines {
        let taken = calls::open(session, &ask.account, lines, now).await?
            + calls::claimed(session, &ask.account, now).await?;
        limit = limit.min(u64::from(lines.limit(&ask.account)).saturating_sub(taken));
    }
    if limit == 0 {
        return Ok(Claims { waits_for_answers: true, ..nothing });
    }
    let limit = limit.min(slots(ask));
    let stopped = texts(&stopped, "name")?;
    let senders: Vec<&str> =
        ask.senders.iter().filter(|it| !stopped.contains(it)).map(|it| &**it).collect();
    let rows = due(session, &ask.pace, &senders, now, limit).await?;
    let is_all = (rows.len() as u64) < limit;
    let mut claimed = Vec::with_capacity(rows.len());
    for row in rows.iter().take(usize::try_from(limit).unwrap_or(usize::MAX)) {
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
    let mut statements = taking::<S>(ask, &claimed);
    if !claimed.is_empty() || clamped {
        let sql = format!("UPDATE paces SET free_at = $2{time} WHERE name = $1");
        statements.push(Statement::new(sql, params![ask.pace.as_str(), free_at]));
    }
    session.execute_all(statements).await?;
    // What is due is read at once, so that nothing is left of it where that was less than may be sent.
    let is_all = is_all && claimed.len() == rows.len();
    let again = (!is_all).then(|| match free_at >= horizon {
        true => free_at.since(horizon) + several(ask),
        false => Duration::ZERO,
    });
    let next_due = match again {
        None => next_due(session, &ask.pace, &senders, now).await?,
        Some(_) => None,
    };
    Ok(Claims { claimed, again, next_due, ..nothing })
}

/// The first of what may be sent now, at least as many as `limit`, locked. It is read sender by sender and, of what a gate
/// has held until now, priority by priority, each from its index: what is held, or belongs to a sender that is paused,
/// costs nothing. What no gate holds is due, whatever its time says: that was the store's clock once, and the clock may
/// have gone back since.
async fn due<S: Session>(
    session: &mut S,
    pace: &str,
    senders: &[&str],
    now: Timestamp,
    limit: u64,
) -> Result<Vec<Cells>, sqlx::Error> {
    if senders.is_empty() {
        return Ok(Vec::new());
    }
    let time = S::TIME;
    // So that there are few statements to prepare.
    let limit = limit.next_power_of_two();
    let mut parts = Vec::new();
    for of in each_of(senders) {
        parts.push(format!(
            "SELECT id {of} AND held IS NULL ORDER BY priority, deadline, created_at LIMIT {limit}"
        ));
        parts.extend(each_held(&of).map(|held| {
            format!("SELECT id {held} AND due_at <= $2{time} ORDER BY due_at LIMIT {limit}")
        }));
    }
    let parts: Vec<String> =
        parts.iter().map(|part| format!("SELECT id FROM ({part}) AS part")).collect();
    // By the ids alone: an index of what is due would be read as a whole, where the planner believes that little is.
    let sql = format!(
        "SELECT id, units FROM attempts WHERE id IN ({}) AND state || '' = 'due' \
         AND (held IS NULL OR due_at <= $2{time}) ORDER BY priority, deadline, created_at, id LIMIT {limit}{}",
        parts.join(" UNION ALL "),
        S::SKIP_LOCKED
    );
    session.rows(&sql, bound(pace, senders, now)).await
}

/// How soon the next of what is held is due: the first of each index.
async fn next_due<S: Session>(
    session: &mut S,
    pace: &str,
    senders: &[&str],
    now: Timestamp,
) -> Result<Option<Duration>, sqlx::Error> {
    if senders.is_empty() {
        return Ok(None);
    }
    let time = S::TIME;
    let mut parts = Vec::new();
    for of in each_of(senders) {
        parts.extend(each_held(&of).map(|held| {
            format!("SELECT due_at FROM (SELECT due_at {held} AND due_at > $2{time} ORDER BY due_at LIMIT 1) AS part")
        }));
    }
    let sql = format!(
        "SELECT {} AS next FROM ({}) AS held",
        S::time_of("min(due_at)"),
        parts.join(" UNION ALL ")
    );
    let row = session.row(&sql, bound(pace, senders, now)).await?;
    let next = row.map_or(Ok(None), |row| row.time("next"))?;
    Ok(next.map(|next| next.since(now)))
}

/// Where the attempts of a pace are read that are due or held, sender by sender.
fn each_of(senders: &[&str]) -> impl Iterator<Item = String> {
    (0..senders.len()).map(|place| {
        format!("FROM attempts WHERE pace = $1 AND sender = ${} AND state = 'due'", place + 3)
    })
}

/// Those of a sender that are held, or were, priority by priority.
fn each_held(of: &str) -> impl Iterator<Item = String> {
    (0..PRIORITIES)
        .map(move |priority| format!("{of} AND held IS NOT NULL AND priority = {priority}"))
}

fn bound(pace: &str, senders: &[&str], now: Timestamp) -> Vec<Param> {
    let mut bound = params![pace, now];
    bound.extend(senders.iter().map(|&sender| Param::from(sender)));
    bound
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

fn taking<S: Session>(ask: &ClaimAsk, claimed: &[Claimed]) -> Vec<Statement> {
    if claimed.is_empty() {
        return Vec::new();
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
    vec![Statement::new(sql, params![ids, slots, ask.holder.as_str()])]
}

/// Most attempts that are given another pace in one transaction.
const REPACED_AT_ONCE: u32 = 1000;

/// Gives what is due the pace that its sender has now: the configuration may have changed since it was asked for.
pub(in crate::backend) async fn repace<S: Session>(
    session: &mut S,
    senders: &[(String, String)],
) -> Result<u64, sqlx::Error> {
    let (names, paces): (Vec<String>, Vec<String>) = senders.iter().cloned().unzip();
    let lock = if S::SKIP_LOCKED.is_empty() { "" } else { " FOR UPDATE OF a SKIP LOCKED" };
    let sql = format!(
        "SELECT a.id, pairs.b AS pace FROM {} JOIN attempts AS a ON a.sender = pairs.a \
         WHERE a.state = 'due' AND a.pace <> pairs.b LIMIT {REPACED_AT_ONCE}{lock}",
        S::pairs(1, 2)
    );
    let rows = session.rows(&sql, params![names, paces]).await?;
    if rows.is_empty() {
        return Ok(0);
    }
    let texts = |column| rows.iter().map(|row| row.text(column)).collect::<Result<Vec<_>, _>>();
    let sql = format!(
        "UPDATE attempts SET pace = pairs.b FROM {} WHERE attempts.id = pairs.a",
        S::pairs(1, 2)
    );
    session.execute(&sql, params![texts("id")?, texts("pace")?]).await
}

/// Reads whether anything of an account may be claimed. What the commit to writing finds decides; this only saves slots.
fn account<S: Session>(account: &str) -> Statement {
    let sql = format!(
        "SELECT (SELECT count(*) FROM attempts WHERE account = $1 AND state = 'writing') \
         + (SELECT count(*) FROM attempts WHERE account = $1 AND state = 'claimed' AND lease_until > {now}) AS in_flight, \
         (SELECT count(*) FROM sending_accounts WHERE account = $1 \
          AND (paused IS NOT NULL OR cooldown_until > {now})) \
         + (SELECT count(*) FROM outbox WHERE held IS NOT NULL) AS stops",
        now = S::clock()
    );
    Statement::new(sql, params![account])
}

/// Reads which of these senders are paused, or cool down.
fn stopped<S: Session>(senders: &[String]) -> Statement {
    let sql = format!(
        "SELECT name FROM senders WHERE {} AND (paused IS NOT NULL OR cooldown_until > {})",
        S::among("name", 1),
        S::clock()
    );
    Statement::new(sql, params![senders.to_vec()])
}
