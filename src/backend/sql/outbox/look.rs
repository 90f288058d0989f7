//! What time does: leases that are over, deadlines that have passed, and looking for what is unknown.

use std::time::Duration;

use super::answer::{accepting, infer, unknown, withdrawing_others};
use super::{IS_CANCELLED, attempt_id, calls, conclude, lock_notifications, settle, texts};
use crate::backend::outbox::{Looked, Overdue, Search, Settled, Unheard, Unknown};
use crate::backend::sql::session::{Cells, Session, malformed, params};
use crate::dispatch::reconcile::LOOKS;
use crate::dispatch::{AttemptState, Channel, NotificationState, OnUnknown};
use crate::event::AttemptId;
use crate::labels::Label as _;

/// Most attempts of one transaction.
pub(in crate::backend) const AT_ONCE: u32 = 200;
/// For how long an attempt is left alone of which the store refuses what its events say.
const PUT_OFF: Duration = Duration::from_secs(3600);

/// Ends what time has ended; `look_after`: how soon what is unknown from now on is looked for.
pub(in crate::backend) async fn overdue<S: Session>(
    session: &mut S,
    look_after: Duration,
) -> Result<Overdue, sqlx::Error> {
    let mut overdue = Overdue::default();
    let now = S::NOW;
    // Each by its index, in the order of that, so that the planner has no reason to read the whole table instead; and
    // with the time as a value, because Postgres searches no index for that of a clock that runs.
    let [claims, ends] = [("lease_until", ""), ("deadline", "state = 'due' AND ")].map(|(column, state)| {
        format!(
            "SELECT id FROM (SELECT id FROM attempts WHERE {state}{column} < $1{} ORDER BY {column} LIMIT {AT_ONCE}) \
             AS {column}",
            S::TIME
        )
    });
    let sql = format!("{claims} UNION ALL {ends} LIMIT {AT_ONCE}");
    let at = session.now().await?;
    let rows = session.rows(&sql, params![at]).await?;
    let ids = rows.iter().map(|row| row.text("id")).collect::<Result<Vec<_>, _>>()?;
    if ids.is_empty() {
        return Ok(overdue);
    }
    overdue.is_cut = ids.len() >= AT_ONCE as usize;
    let notifications = lock_notifications(session, &ids, S::FOR_UPDATE).await?;
    // Read again: a process may have gone on meanwhile.
    let sql = format!(
        "SELECT id, state, lease_until < {now} AS late, deadline < {now} AS over FROM attempts WHERE {} ORDER BY id{}",
        S::among("id", 1),
        S::FOR_UPDATE
    );
    let [mut released, mut lost, mut expired] = [const { Vec::new() }; 3];
    for row in session.rows(&sql, params![ids]).await? {
        let (late, over) = (row.number("late")? != 0, row.number("over")? != 0);
        match row.parsed("state", AttemptState::parse)? {
            AttemptState::Claimed if late => released.push(row.text("id")?),
            AttemptState::Writing if late => lost.push(row.text("id")?),
            AttemptState::Due if over => expired.push(row.text("id")?),
            _ => {}
        }
    }
    let among = S::among("id", 1);
    let sql = format!(
        "UPDATE attempts SET state = 'due', holder = NULL, lease_until = NULL, send_at = NULL WHERE {among}"
    );
    overdue.released = session.execute(&sql, params![released]).await?;
    overdue.unknown = unknown(session, lost, "lease", look_after).await?;
    let sql = format!(
        "UPDATE attempts SET state = 'expired', reason = 'deadline', held = NULL, settled_at = {now} WHERE {among}"
    );
    overdue.expired = session.execute(&sql, params![expired]).await?;
    overdue.concluded = conclude(session, &notifications).await?;
    Ok(overdue)
}

/// Ends up to `most` accepted attempts that were not confirmed in time.
pub(in crate::backend) async fn unheard<S: Session>(
    session: &mut S,
    most: u32,
) -> Result<Unheard, sqlx::Error> {
    let at = session.now().await?;
    let rows = session.rows(&silent_ones::<S>(most), params![at]).await?;
    let ids = texts(&rows, "id")?;
    if ids.is_empty() {
        return Ok(Unheard::default());
    }
    let notifications = lock_notifications(session, &ids, S::FOR_UPDATE).await?;
    // A wake may be lost: its event is not.
    settle::by_events(session, &ids, &mut Settled::default()).await?;
    let sql = format!(
        "UPDATE attempts SET state = 'unconfirmed', look_at = NULL, settled_at = {now} \
         WHERE {} AND state = 'accepted' AND look_at < {now}",
        S::among("id", 1),
        now = S::NOW
    );
    let is_cut = ids.len() >= most as usize;
    let unconfirmed = session.execute(&sql, params![ids]).await?;
    let concluded = conclude(session, &notifications).await?;
    Ok(Unheard { unconfirmed, is_cut, set_aside: None, concluded })
}

/// Leaves the first one of these alone for a while, and returns which one it is.
pub(in crate::backend) async fn put_off<S: Session>(
    session: &mut S,
) -> Result<Option<String>, sqlx::Error> {
    let at = session.now().await?;
    let Some(row) = session.row(&silent_ones::<S>(1), params![at]).await? else { return Ok(None) };
    let id = row.text("id")?;
    let sql = format!("UPDATE attempts SET look_at = {} WHERE id = $1", S::later(S::NOW, PUT_OFF));
    session.execute(&sql, params![id.as_str()]).await?;
    Ok(Some(id))
}

fn silent_ones<S: Session>(most: u32) -> String {
    format!(
        "SELECT id FROM attempts WHERE state = 'accepted' AND look_at < $1{} ORDER BY look_at LIMIT {most}",
        S::TIME
    )
}

/// What is to be looked for now; `busy`: for how long no other process is handed it. What its callbacks prove is settled
/// first.
pub(in crate::backend) async fn to_look_for<S: Session>(
    session: &mut S,
    limit: u32,
    busy: Duration,
) -> Result<Vec<Search>, sqlx::Error> {
    let now = S::NOW;
    let sql = format!(
        "SELECT id FROM attempts WHERE state = 'unknown' AND look_at < $1{} ORDER BY look_at LIMIT {limit}",
        S::TIME
    );
    let at = session.now().await?;
    let rows = session.rows(&sql, params![at]).await?;
    let ids = rows.iter().map(|row| row.text("id")).collect::<Result<Vec<_>, _>>()?;
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let notifications = lock_notifications(session, &ids, S::FOR_UPDATE).await?;
    settle::by_events(session, &ids, &mut Settled::default()).await?;
    conclude(session, &notifications).await?;
    let sql = format!(
        "UPDATE attempts SET look_at = {} WHERE {} AND state = 'unknown' AND look_at < {now} RETURNING id",
        S::later(now, busy),
        S::among("id", 1)
    );
    let rows = session.rows(&sql, params![ids]).await?;
    let ids = rows.iter().map(|row| row.text("id")).collect::<Result<Vec<_>, _>>()?;
    let mut searches: Vec<Search> = Vec::new();
    for one in unknowns(session, &S::among("a.id", 1), ids).await? {
        let same = |search: &&mut Search| {
            (&search.account, search.channel, &search.to) == (&one.account, one.channel, &one.to)
        };
        match searches.iter_mut().find(same) {
            Some(search) => search.due.push(one.id),
            None => {
                let (account, to) = (one.account.clone(), one.to.clone());
                let (channel, due) = (one.channel, vec![one.id]);
                searches.push(Search { account, channel, to, now: at, due, sought: Vec::new() });
            }
        }
    }
    for search in &mut searches {
        // By the hash, of which there is an index.
        let of = "a.to_hash = (SELECT to_hash FROM attempts WHERE id = $3) AND a.written_at IS NOT NULL \
                  AND a.account = $1 AND CASE WHEN a.channel = 'email' THEN coalesce(n.email, n.\"to\") ELSE n.\"to\" END = $2 \
                  AND a.channel = $4 AND a.state IN ('unknown', 'writing')";
        let sql = unknowns_sql::<S>(of);
        let due = search.due.first().map(ToString::to_string);
        let params =
            params![search.account.as_str(), search.to.as_str(), due, search.channel.as_str()];
        let rows = session.rows(&sql, params).await?;
        search.sought = rows.iter().map(unknown_row).collect::<Result<_, _>>()?;
    }
    Ok(searches)
}

fn unknowns_sql<S: Session>(condition: &str) -> String {
    format!(
        "SELECT a.id, a.notification, a.account, a.sender, a.channel, a.looks, a.reason, \
         CASE WHEN a.channel = 'email' THEN coalesce(n.email, n.\"to\") ELSE n.\"to\" END AS \"to\", n.body, n.on_unknown, {}, {}, EXISTS (SELECT 1 FROM attempts AS o WHERE o.notification = a.notification \
         AND o.step = a.step AND o.number < a.number) AS again FROM attempts AS a \
         JOIN notifications AS n ON n.id = a.notification WHERE {condition} ORDER BY a.written_at",
        S::time("a.written_at"),
        S::time("a.deadline")
    )
}

async fn unknowns<S: Session>(
    session: &mut S,
    condition: &str,
    ids: Vec<String>,
) -> Result<Vec<Unknown>, sqlx::Error> {
    let sql = unknowns_sql::<S>(condition);
    let rows = session.rows(&sql, params![ids]).await?;
    rows.iter().map(unknown_row).collect()
}

fn unknown_row(row: &Cells) -> Result<Unknown, sqlx::Error> {
    Ok(Unknown {
        id: attempt_id(row, "id")?,
        notification: row.text("notification")?,
        account: row.text("account")?,
        sender: row.text("sender")?,
        channel: row.parsed("channel", Channel::parse)?,
        to: row.text("to")?,
        body: row.text("body")?,
        written_at: row.time("written_at")?.ok_or_else(|| malformed("written_at"))?,
        is_again: row.number("again")? != 0,
        deadline: row.time("deadline")?.ok_or_else(|| malformed("deadline"))?,
        on_unknown: row.parsed("on_unknown", OnUnknown::parse)?,
        looks: u32::try_from(row.number("looks")?).unwrap_or(u32::MAX),
        reason: row.optional("reason")?,
    })
}

/// Which of these SIDs are proven to be of an attempt already.
pub(in crate::backend) async fn bound<S: Session>(
    session: &mut S,
    sids: Vec<String>,
) -> Result<Vec<String>, sqlx::Error> {
    let sql = format!("SELECT DISTINCT sid FROM attempt_sids WHERE {}", S::among("sid", 1));
    session.rows(&sql, params![sids]).await?.iter().map(|row| row.text("sid")).collect()
}

/// Stores what a look-up found; `again`: the id of the attempt that is made if it is sent again. Returns whether one
/// was.
pub(in crate::backend) async fn looked<S: Session>(
    session: &mut S,
    id: AttemptId,
    looked: &Looked,
    again: AttemptId,
) -> Result<bool, sqlx::Error> {
    let id = id.to_string();
    let notifications =
        lock_notifications(session, std::slice::from_ref(&id), S::FOR_UPDATE).await?;
    let sql = format!(
        "SELECT a.state, a.notification, a.look_at IS NULL AS given_up, n.state AS notification_state, \
         {IS_CANCELLED} AS cancelled, n.on_unknown, \
         (SELECT count(*) FROM attempts AS o WHERE o.notification = a.notification AND o.step = a.step AND o.number > a.number) AS later, \
         (SELECT count(*) FROM attempts AS o WHERE o.notification = a.notification AND o.step = a.step \
         AND o.state = 'accepted') AS accepted, \
         (SELECT count(*) FROM steps AS s WHERE s.notification = a.notification AND s.number = a.step \
         AND s.state <> 'begun') AS over \
         FROM attempts AS a JOIN notifications AS n ON n.id = a.notification WHERE a.id = $1"
    );
    let Some(row) = session.row(&sql, params![id.as_str()]).await? else { return Ok(false) };
    // A callback or a late answer has settled it.
    if row.parsed("state", AttemptState::parse)? != AttemptState::Unknown {
        return Ok(false);
    }
    // Its notification was cancelled meanwhile: only a proof is news.
    if row.number("given_up")? != 0 && !matches!(looked, Looked::Inferred { .. }) {
        return Ok(false);
    }
    let mut resent = false;
    match looked {
        Looked::Inferred { sid, .. } if !infer(session, &id, sid).await? => {
            look_again(session, &id, 0, LOOKS[0]).await?;
        }
        Looked::Inferred { sid, .. } => {
            let one = std::slice::from_ref(&id);
            let mut statements = accepting::<S>(one, std::slice::from_ref(sid));
            statements.extend(withdrawing_others::<S>(&[row.text("notification")?], one));
            session.execute_all(statements).await?;
        }
        Looked::Perhaps => ends(session, &id, "perhaps").await?,
        Looked::Absent { last: true, .. } => {
            ends(session, &id, "absent").await?;
            calls::release(session, &[&id]).await?;
            let on_unknown = row.parsed("on_unknown", OnUnknown::parse)?;
            let state = row.parsed("notification_state", NotificationState::parse)?;
            let may = state == NotificationState::Open && on_unknown == OnUnknown::Resend;
            // Not if it was cancelled, nor if an attempt beside it is known to have been sent; nor is a step that the next
            // one has followed.
            let mut in_the_way = 0;
            for column in ["cancelled", "later", "accepted", "over"] {
                in_the_way += row.number(column)?;
            }
            if may && in_the_way == 0 {
                plan_again(session, &id, again).await?;
                resent = true;
            }
        }
        Looked::Absent { last: false, look_after } => {
            look_again(session, &id, 1, *look_after).await?;
        }
        Looked::Failed { look_after } => look_again(session, &id, 0, *look_after).await?,
    }
    conclude(session, &notifications).await?;
    Ok(resent)
}

/// It stays unknown, and is not looked for any more.
async fn ends<S: Session>(session: &mut S, id: &str, reason: &str) -> Result<(), sqlx::Error> {
    let sql = format!(
        "UPDATE attempts SET reason = $2, look_at = NULL, looks = looks + 1, settled_at = {} WHERE id = $1",
        S::NOW
    );
    session.execute(&sql, params![id, reason]).await.map(|_| ())
}

async fn look_again<S: Session>(
    session: &mut S,
    id: &str,
    looks: u32,
    after: Duration,
) -> Result<(), sqlx::Error> {
    let sql = format!(
        "UPDATE attempts SET looks = looks + $2, look_at = {} WHERE id = $1",
        S::later(S::NOW, after)
    );
    session.execute(&sql, params![id, looks]).await.map(|_| ())
}

async fn plan_again<S: Session>(
    session: &mut S,
    id: &str,
    again: AttemptId,
) -> Result<(), sqlx::Error> {
    let sql = format!(
        "INSERT INTO attempts (id, notification, number, created_at, sender, account, pace, to_hash, units, priority, \
         deadline, state, due_at, step, despite_stop, price, campaign, {reach}) SELECT $2, notification, (SELECT max(o.number) + 1 \
         FROM attempts AS o WHERE o.notification = attempts.notification), {now}, sender, account, \
         pace, to_hash, units, priority, deadline, 'due', {now}, step, despite_stop, price, campaign, {reach} \
         FROM attempts WHERE id = $1",
        now = S::NOW,
        reach = calls::COLUMNS
    );
    session.execute(&sql, params![id, again.to_string()]).await.map(|_| ())
}

/// A page of what is unknown, the oldest first.
pub(in crate::backend) async fn list_unknown<S: Session>(
    session: &mut S,
    limit: u32,
) -> Result<Vec<Unknown>, sqlx::Error> {
    let sql = format!(
        "SELECT id FROM attempts WHERE state = 'unknown' ORDER BY written_at LIMIT {limit}"
    );
    let rows = session.rows(&sql, params![]).await?;
    let ids = rows.iter().map(|row| row.text("id")).collect::<Result<Vec<_>, _>>()?;
    let condition = S::among("a.id", 1);
    unknowns(session, &condition, ids).await
}
