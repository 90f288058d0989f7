//! What a person does with a campaign: start, pause, resume, cancel.

use super::{hold, in_writing, lock};
use crate::backend::outbox::{CampaignOutcome, CampaignState, Started};
use crate::backend::sql::outbox::state::release;
use crate::backend::sql::session::{Param, Session, params};
use crate::clock::Timestamp;

/// Starts a draft that has this many recipients; `deadline`: when nothing is sent any more, unless it was asked for. `None`
/// if there is no such campaign.
pub(in crate::backend) async fn start<S: Session>(
    session: &mut S,
    id: &str,
    recipients: u64,
    deadline: Timestamp,
) -> Result<Option<Started>, sqlx::Error> {
    let Some(state) = lock(session, id).await? else { return Ok(None) };
    if state != CampaignState::Draft {
        return Ok(Some(Started::Not(state)));
    }
    let sql = "SELECT recipients FROM campaigns WHERE id = $1";
    let row = session.row(sql, params![id]).await?.ok_or(sqlx::Error::RowNotFound)?;
    let has = row.count("recipients")?;
    if has != recipients {
        return Ok(Some(Started::Mismatch { recipients: has }));
    }
    let sql = format!(
        "UPDATE campaigns SET state = 'running', started_at = {now}, judged_from = {now}, \
         deadline = coalesce(deadline, $2{}) WHERE id = $1",
        S::TIME,
        now = S::NOW
    );
    session.execute(&sql, params![id, deadline]).await?;
    Ok(Some(Started::Running))
}

/// Pauses a campaign that runs. Waits for commits to writing, and counts what they have let through.
pub(in crate::backend) async fn pause<S: Session>(
    session: &mut S,
    id: &str,
) -> Result<Option<CampaignOutcome>, sqlx::Error> {
    let Some(state) = lock(session, id).await? else { return Ok(None) };
    if state != CampaignState::Running {
        return unchanged(session, id, state).await.map(Some);
    }
    set(session, "state = 'paused'", params![id]).await?;
    let in_writing = hold(session, id).await?;
    Ok(Some(CampaignOutcome { state: CampaignState::Paused, changed: true, in_writing }))
}

/// Lets a campaign go on that a person has paused, or that has stopped itself. What came of it before does not stop it
/// again.
pub(in crate::backend) async fn resume<S: Session>(
    session: &mut S,
    id: &str,
) -> Result<Option<CampaignOutcome>, sqlx::Error> {
    let Some(state) = lock(session, id).await? else { return Ok(None) };
    if !matches!(state, CampaignState::Paused | CampaignState::Stopped) {
        return unchanged(session, id, state).await.map(Some);
    }
    let judged_from = match state {
        CampaignState::Stopped => format!(", judged_from = {}, trial_over = {}", S::NOW, S::TRUE),
        _ => String::new(),
    };
    let set_to = format!("state = 'running', reason = NULL, evidence = NULL{judged_from}");
    set(session, &set_to, params![id]).await?;
    release(session, "held = 'campaign' AND campaign = $1 AND settled_at IS NULL", id).await?;
    let in_writing = in_writing(session, id).await?;
    Ok(Some(CampaignOutcome { state: CampaignState::Running, changed: true, in_writing }))
}

/// Cancels a campaign that is not over, also one whose list is being read: nothing more of that is taken. From now on none of
/// its attempts enters writing; what waits is cancelled later, page by page.
pub(in crate::backend) async fn cancel<S: Session>(
    session: &mut S,
    id: &str,
) -> Result<Option<CampaignOutcome>, sqlx::Error> {
    use CampaignState as C;
    let Some(state) = lock(session, id).await? else { return Ok(None) };
    if matches!(state, C::Cancelled | C::Finished) {
        return unchanged(session, id, state).await.map(Some);
    }
    set(session, "state = 'cancelled'", params![id]).await?;
    let in_writing = in_writing(session, id).await?;
    Ok(Some(CampaignOutcome { state: C::Cancelled, changed: true, in_writing }))
}

async fn unchanged<S: Session>(
    session: &mut S,
    id: &str,
    state: CampaignState,
) -> Result<CampaignOutcome, sqlx::Error> {
    let in_writing = in_writing(session, id).await?;
    Ok(CampaignOutcome { state, changed: false, in_writing })
}

/// Sets columns of a campaign whose id is the first parameter.
pub(super) async fn set<S: Session>(
    session: &mut S,
    columns: &str,
    params: Vec<Param>,
) -> Result<(), sqlx::Error> {
    let sql = format!("UPDATE campaigns SET {columns} WHERE id = $1");
    session.execute(&sql, params).await.map(|_| ())
}
