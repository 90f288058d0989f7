//! What becomes of a campaign by itself: it stops when it goes badly, what it had planned is cancelled with it, and it is
//! finished once each recipient has an outcome.

use super::{frozen, hold, lock, run};
use crate::backend::outbox::{CampaignState, Kept, OpenCampaign, RecipientState};
use crate::backend::sql::outbox::ask;
use crate::backend::sql::session::{Cells, Session, malformed, params};
use crate::clock::Timestamp;
use crate::dispatch::campaign::brake::{self, Outcomes, WINDOW};
use crate::dispatch::gates::Gate;
use crate::dispatch::suppression::Source;
use crate::labels::Label as _;

/// Most campaigns of a page.
const AT_ONCE: u32 = 100;
/// Most notifications of one transaction that are cancelled with their campaign.
const CANCELLED_AT_ONCE: u32 = 50;
/// Most recipients of one transaction that end without being handed over.
const ENDED_AT_ONCE: u32 = 1000;
/// Whether each recipient of a campaign has an outcome.
const ALL_ENDED: &str = "NOT EXISTS (SELECT 1 FROM notifications AS n WHERE n.campaign = campaigns.id \
                         AND n.settled_at IS NULL) AND NOT EXISTS (SELECT 1 FROM recipients AS r \
                         WHERE r.campaign = campaigns.id AND r.state = 'waiting')";
/// Behind every notification.
const END: &str = "~";

/// A page of the campaigns that run, that are cancelled and not over, and that are paused or stopped and have nothing more to
/// send, because all of it has an outcome or the deadline has passed; behind the id that ends the page before.
pub(in crate::backend) async fn open<S: Session>(
    session: &mut S,
    after: &str,
) -> Result<Vec<OpenCampaign>, sqlx::Error> {
    let sql = format!(
        "SELECT id, state, sender FROM campaigns WHERE finished_at IS NULL AND id > $1 AND (state IN ('running', 'cancelled') \
         OR state IN ('paused', 'stopped') AND (deadline < {} OR {ALL_ENDED})) ORDER BY id LIMIT {AT_ONCE}",
        S::NOW
    );
    let open = |row: &Cells| {
        Ok(OpenCampaign {
            id: row.text("id")?,
            state: row.parsed("state", CampaignState::parse)?,
            sender: row.text("sender")?,
        })
    };
    session.rows(&sql, params![after]).await?.iter().map(open).collect()
}

/// Stops a campaign whose last outcomes say that it must, lets what waits expire after its deadline, and finishes one whose
/// recipients all have an outcome.
pub(in crate::backend) async fn keep<S: Session>(
    session: &mut S,
    id: &str,
) -> Result<Kept, sqlx::Error> {
    match lock(session, id).await? {
        Some(CampaignState::Running) => {
            expire(session, id).await?;
            // One of which nothing is left cannot be stopped.
            if finish(session, id, "state = 'finished', ").await? == Kept::Finished {
                return Ok(Kept::Finished);
            }
            let outcomes = outcomes(session, id).await?;
            if let Some(why) = brake::judge(&outcomes) {
                let sql = "UPDATE campaigns SET state = 'stopped', reason = $2, evidence = $3 WHERE id = $1";
                let params = params![id, why.as_str(), frozen::evidence(&outcomes)];
                session.execute(sql, params).await?;
                hold(session, id).await?;
                return Ok(Kept::Stopped(why, outcomes));
            }
            Ok(Kept::Open)
        }
        Some(CampaignState::Paused | CampaignState::Stopped) => {
            expire(session, id).await?;
            finish(session, id, "state = 'finished', ").await
        }
        Some(CampaignState::Cancelled) => finish(session, id, "").await,
        _ => Ok(Kept::Open),
    }
}

/// What came of the last recipients that were sent something and have an outcome, since a person has let the campaign go on.
pub(super) async fn outcomes<S: Session>(
    session: &mut S,
    id: &str,
) -> Result<Outcomes, sqlx::Error> {
    let from = format!("SELECT {} FROM campaigns WHERE id = $1", S::time("judged_from"));
    let row = session.row(&from, params![id]).await?.ok_or(sqlx::Error::RowNotFound)?;
    let from = row.time("judged_from")?.unwrap_or_else(|| Timestamp::from_micros(0));
    let own = Source::ALL.into_iter().filter(|source| source.is_told_by_recipient());
    let own = own.map(|source| format!("'{}'", source.as_str())).collect::<Vec<_>>().join(", ");
    let sql = format!(
        "SELECT count(*) AS outcomes, \
         coalesce(sum(CASE WHEN state = 'failed' THEN 1 ELSE 0 END), 0) AS failed, \
         coalesce(sum(CASE WHEN EXISTS (SELECT 1 FROM suppressions AS s WHERE s.to_hash = last.to_hash AND s.stop \
         AND s.source IN ({own}) AND s.at >= last.created_at) THEN 1 ELSE 0 END), 0) AS opted_out, \
         coalesce(sum(CASE WHEN EXISTS (SELECT 1 FROM attempts AS a WHERE a.notification = last.id AND a.state = 'failed' \
         AND a.reason IN ('30007', '30450')) THEN 1 ELSE 0 END), 0) AS filtered \
         FROM (SELECT id, state, to_hash, created_at FROM notifications WHERE campaign = $1 AND settled_at > $2{} \
         AND state IN ('confirmed', 'failed', 'unconfirmed', 'unknown') ORDER BY settled_at DESC LIMIT {WINDOW}) AS last",
        S::TIME
    );
    let row = session.row(&sql, params![id, from]).await?.ok_or(sqlx::Error::RowNotFound)?;
    let count = |column| u32::try_from(row.count(column)?).map_err(|_| malformed(column));
    Ok(Outcomes {
        of: count("outcomes")?,
        failed: count("failed")?,
        opted_out: count("opted_out")?,
        filtered: count("filtered")?,
    })
}

/// Lets a page of the recipients expire that still wait after the deadline: by no gate where nothing is handed over, because the
/// campaign is paused, or its sender is not configured any more.
async fn expire<S: Session>(session: &mut S, id: &str) -> Result<(), sqlx::Error> {
    let over = format!("EXISTS (SELECT 1 FROM campaigns WHERE id = $1 AND deadline < {})", S::NOW);
    end_waiting(session, id, RecipientState::Expired, Gate::Deadline.as_str(), &over).await?;
    Ok(())
}

async fn finish<S: Session>(session: &mut S, id: &str, state: &str) -> Result<Kept, sqlx::Error> {
    let sql = format!(
        "UPDATE campaigns SET {state}finished_at = {} WHERE id = $1 AND finished_at IS NULL AND {ALL_ENDED}",
        S::NOW
    );
    let finished = session.execute(&sql, params![id]).await? > 0;
    Ok(if finished { Kept::Finished } else { Kept::Open })
}

/// Cancels a page of the notifications of a cancelled campaign, or of the recipients that wait, and returns whether there may
/// be more. Notifications in the order of their ids, each once: what begins later is not let into writing.
pub(in crate::backend) async fn sweep<S: Session>(
    session: &mut S,
    id: &str,
) -> Result<bool, sqlx::Error> {
    if lock(session, id).await? != Some(CampaignState::Cancelled) {
        return Ok(false);
    }
    let sql = "SELECT swept FROM campaigns WHERE id = $1";
    let row = session.row(sql, params![id]).await?.ok_or(sqlx::Error::RowNotFound)?;
    let swept = row.text("swept")?;
    if swept == END {
        return Ok(false);
    }
    let sql = format!(
        "SELECT id FROM notifications WHERE campaign = $1 AND settled_at IS NULL AND id > $2 ORDER BY id \
         LIMIT {CANCELLED_AT_ONCE}"
    );
    let rows = session.rows(&sql, params![id, swept]).await?;
    let ids = rows.iter().map(|row| row.text("id")).collect::<Result<Vec<_>, _>>()?;
    for notification in &ids {
        ask::cancel(session, notification).await?;
    }
    if let Some(last) = ids.last() {
        run::set(session, "swept = $2", params![id, last.as_str()]).await?;
        return Ok(true);
    }
    let cancelled = RecipientState::Cancelled;
    let ended = end_waiting(session, id, cancelled, cancelled.as_str(), "1 = 1").await?;
    let more = ended == u64::from(ENDED_AT_ONCE);
    if !more {
        run::set(session, "swept = $2", params![id, END]).await?;
    }
    Ok(more)
}

/// Ends a page of the recipients that wait, if `condition` holds, and returns how many. What was to be sent to them is not
/// kept.
async fn end_waiting<S: Session>(
    session: &mut S,
    id: &str,
    state: RecipientState,
    reason: &str,
    condition: &str,
) -> Result<u64, sqlx::Error> {
    let sql = format!(
        "UPDATE recipients SET state = $2, reason = $3, held = NULL, body = NULL, subject = NULL, html = NULL, \
         settled_at = {} WHERE campaign = $1 AND number IN (SELECT number FROM recipients WHERE campaign = $1 \
         AND state = 'waiting' ORDER BY due_at, number LIMIT {ENDED_AT_ONCE}) AND {condition}",
        S::NOW
    );
    session.execute(&sql, params![id, state.as_str(), reason]).await
}
