//! What is asked of campaigns: how they stand, how far they are, what is planned, and what became of each recipient.

use std::collections::BTreeMap;
use std::time::Duration;

use super::hand_over::is_of_before;
use super::{frozen, money};
use crate::backend::outbox::{
    Campaign, CampaignSearch, CampaignState, InvalidRow, PlannedRecipient, Progress, ROWS_PER_PAGE,
    RecipientOutcome, RecipientResult, RecipientState,
};
use crate::backend::sql::outbox::consents;
use crate::backend::sql::outbox::purpose;
use crate::backend::sql::outbox::suppressions::in_force;
use crate::backend::sql::session::{Cells, Param, Session, malformed, params};
use crate::clock::Timestamp;
use crate::dispatch::{AttemptState, Channel, NotificationState, OnUnknown};
use crate::labels::Label as _;

fn columns<S: Session>() -> String {
    let times = ["created_at", "deadline", "started_at", "finished_at"].map(S::time).join(", ");
    format!(
        "id, token, name, purpose, on_unknown, sender, route, plan, currency, cost_cap, spent, recipients, doubles, invalid, \
         handed_over, state, reason, evidence, {times}"
    )
}

fn campaign(row: &Cells) -> Result<Campaign, sqlx::Error> {
    let evidence = row.optional("evidence")?;
    Ok(Campaign {
        id: row.text("id")?,
        created_at: row.time("created_at")?.ok_or_else(|| malformed("created_at"))?,
        token: row.text("token")?,
        name: row.text("name")?,
        purpose: purpose(row, "purpose")?,
        on_unknown: row.parsed("on_unknown", OnUnknown::parse)?,
        sender: row.text("sender")?,
        route: row.optional("route")?,
        steps: frozen::read_steps(&row.text("plan")?)?,
        deadline: row.time("deadline")?,
        cost_cap: money(row, "cost_cap")?,
        currency: row.optional("currency")?,
        spent: row.count("spent")?,
        recipients: row.count("recipients")?,
        doubles: row.count("doubles")?,
        invalid: row.count("invalid")?,
        handed_over: row.count("handed_over")?,
        state: row.parsed("state", CampaignState::parse)?,
        reason: row.optional("reason")?,
        evidence: evidence.map(|text| frozen::read_evidence(&text)).transpose()?,
        started_at: row.time("started_at")?,
        finished_at: row.time("finished_at")?,
    })
}

/// A campaign.
pub(in crate::backend) async fn find<S: Session>(
    session: &mut S,
    id: &str,
) -> Result<Option<Campaign>, sqlx::Error> {
    let sql = format!("SELECT {} FROM campaigns WHERE id = $1", columns::<S>());
    session.row(&sql, params![id]).await?.as_ref().map(campaign).transpose()
}

/// A page of campaigns, from the newest back.
pub(in crate::backend) async fn list<S: Session>(
    session: &mut S,
    search: &CampaignSearch,
) -> Result<Vec<Campaign>, sqlx::Error> {
    let mut bound: Vec<Param> = Vec::new();
    let mut sql = format!("SELECT {} FROM campaigns WHERE 1 = 1", columns::<S>());
    if let Some(state) = search.state {
        bound.push(state.as_str().into());
        sql.push_str(" AND state = $1");
    }
    if let Some((at, id)) = &search.after {
        bound.extend(params![*at, id.as_str()]);
        let (time, place) = (bound.len() - 1, bound.len());
        sql.push_str(&format!(" AND (created_at, id) < (${time}{}, ${place})", S::TIME));
    }
    let limit = search.limit.clamp(1, ROWS_PER_PAGE);
    sql.push_str(&format!(" ORDER BY campaigns.created_at DESC, id DESC LIMIT {limit}"));
    session.rows(&sql, bound).await?.iter().map(campaign).collect()
}

/// How many campaigns are in each state.
pub(in crate::backend) async fn by_state<S: Session>(
    session: &mut S,
) -> Result<BTreeMap<CampaignState, u64>, sqlx::Error> {
    let sql = "SELECT state, count(*) AS many FROM campaigns GROUP BY state";
    let rows = session.rows(sql, params![]).await?;
    let one = |row: &Cells| Ok((row.parsed("state", CampaignState::parse)?, row.count("many")?));
    rows.iter().map(one).collect()
}

/// How far a campaign is.
pub(in crate::backend) async fn progress<S: Session>(
    session: &mut S,
    id: &str,
) -> Result<Progress, sqlx::Error> {
    let mut progress = Progress::default();
    let sql = "SELECT state, held, reason, count(*) AS many FROM recipients WHERE campaign = $1 \
               GROUP BY state, held, reason";
    for row in session.rows(sql, params![id]).await? {
        let many = row.count("many")?;
        match (row.parsed("state", RecipientState::parse)?, row.optional("held")?) {
            (RecipientState::HandedOver, _) => {}
            (RecipientState::Waiting, None) => progress.waiting += many,
            (RecipientState::Waiting, Some(gate)) => {
                *progress.held.entry(gate).or_default() += many
            }
            (state, _) => {
                let reason = row.optional("reason")?.unwrap_or_default();
                *progress.ended.entry((state, reason)).or_default() += many;
            }
        }
    }
    let sql = "SELECT state, reason, count(*) AS many FROM notifications WHERE campaign = $1 GROUP BY state, reason";
    for row in session.rows(sql, params![id]).await? {
        let state = row.parsed("state", NotificationState::parse)?;
        let reason = row.optional("reason")?.unwrap_or_default();
        *progress.notifications.entry((state, reason)).or_default() += row.count("many")?;
    }
    let sql = format!(
        "SELECT state, CASE WHEN due_at > {} THEN held END AS gate, count(*) AS many FROM attempts WHERE campaign = $1 \
         AND settled_at IS NULL GROUP BY state, 2",
        S::NOW
    );
    for row in session.rows(&sql, params![id]).await? {
        let (state, many) = (row.parsed("state", AttemptState::parse)?, row.count("many")?);
        *progress.attempts.entry(state).or_default() += many;
        if let (AttemptState::Due, Some(gate)) = (state, row.optional("gate")?) {
            *progress.held_attempts.entry(gate).or_default() += many;
        }
    }
    Ok(progress)
}

/// Minutes of which outcomes are counted.
const MINUTES: usize = 60;

/// How many notifications of a campaign had their outcome in each of the last minutes, the oldest first.
pub(in crate::backend) async fn settled_by_minute<S: Session>(
    session: &mut S,
    id: &str,
) -> Result<Vec<u64>, sqlx::Error> {
    const MINUTE: Duration = Duration::from_secs(60);
    let now = session.now().await?;
    let sql = format!(
        "SELECT substr({}, 1, 16) AS minute, count(*) AS many FROM notifications \
         WHERE campaign = $1 AND settled_at > $2{} GROUP BY 1",
        S::time_of("settled_at"),
        S::TIME
    );
    let since = now.before(MINUTE * u32::try_from(MINUTES).unwrap_or(u32::MAX));
    let mut settled = vec![0; MINUTES];
    for row in session.rows(&sql, params![id, since]).await? {
        let minute = Timestamp::parse_rfc3339(&format!("{}:00Z", row.text("minute")?));
        let minute = minute.ok_or_else(|| malformed("minute"))?;
        let ago = usize::try_from(now.since(minute).as_secs() / 60).unwrap_or(MINUTES);
        if let Some(place) = MINUTES.checked_sub(ago + 1) {
            settled[place] += row.count("many")?;
        }
    }
    Ok(settled)
}

/// A page of the recipients of a campaign, behind a line of its list, as gates ask for them.
pub(in crate::backend) async fn planned<S: Session>(
    session: &mut S,
    id: &str,
    after: u64,
    limit: u32,
) -> Result<Vec<PlannedRecipient>, sqlx::Error> {
    let sql = format!(
        "SELECT number, \"to\", to_hash, email, email_hash, time_zone, costs FROM recipients WHERE campaign = $1 AND number > $2 \
         ORDER BY number LIMIT {limit}"
    );
    let plan = session.row("SELECT plan FROM campaigns WHERE id = $1", params![id]).await?;
    let plan = plan.ok_or(sqlx::Error::RowNotFound)?;
    let steps = frozen::read_steps(&plan.text("plan")?)?;
    let is_mailed_first = steps.first().is_some_and(|step| step.channel == Channel::Email);
    // The one that the first step reaches.
    let hash = |row: &Cells| {
        let email = row.optional("email_hash")?.filter(|_| is_mailed_first);
        email.map_or_else(|| row.text("to_hash"), Ok)
    };
    let after = i64::try_from(after).unwrap_or(i64::MAX);
    let rows = session.rows(&sql, params![id, after]).await?;
    let hashes = rows.iter().map(hash).collect::<Result<Vec<_>, _>>()?;
    let suppressed = in_force(session, hashes).await?;
    let consenting = consents::holding(session, consents::asked_of(&rows)?).await?;
    let one = |row: &Cells| {
        Ok(PlannedRecipient {
            number: row.count("number")?,
            to: row.optional("to")?,
            email: row.optional("email")?,
            time_zone: row.optional("time_zone")?,
            costs: frozen::read_costs(&row.text("costs")?)?,
            suppressed: suppressed.contains_key(&hash(row)?) || is_of_before(row)?,
            consented: consents::has_agreed(&consenting, row)?,
        })
    };
    rows.iter().map(one).collect()
}

/// How many numbers of a campaign follow another one of it by one: lists of people have few.
pub(in crate::backend) async fn sequential<S: Session>(
    session: &mut S,
    id: &str,
) -> Result<u64, sqlx::Error> {
    let sql = "SELECT count(*) AS many FROM (SELECT n - lag(n) OVER (ORDER BY n) AS gap FROM (SELECT \
               CAST(substr(\"to\", 2) AS bigint) AS n FROM recipients WHERE campaign = $1 AND substr(\"to\", 1, 1) = '+') \
               AS numbers) AS gaps WHERE gap = 1";
    session.row(sql, params![id]).await?.map_or(Ok(0), |row| row.count("many"))
}

/// A page of the rows that cannot be sent to, behind a line.
pub(in crate::backend) async fn invalid<S: Session>(
    session: &mut S,
    id: &str,
    after: u64,
    limit: u32,
) -> Result<Vec<InvalidRow>, sqlx::Error> {
    let sql = format!(
        "SELECT line, reason FROM invalid_rows WHERE campaign = $1 AND line > $2 ORDER BY line LIMIT {limit}"
    );
    let after = i64::try_from(after).unwrap_or(i64::MAX);
    let one =
        |row: &Cells| Ok(InvalidRow { line: row.count("line")?, reason: row.text("reason")? });
    session.rows(&sql, params![id, after]).await?.iter().map(one).collect()
}

/// A page of what became of recipients, behind a line of the list.
pub(in crate::backend) async fn results<S: Session>(
    session: &mut S,
    id: &str,
    after: u64,
    limit: u32,
) -> Result<Vec<RecipientResult>, sqlx::Error> {
    let sql = format!(
        "SELECT r.number, r.key, coalesce(n.\"to\", r.\"to\") AS \"to\", r.state, r.held, r.reason, r.notification, \
         n.state AS notification_state, n.reason AS notification_reason, c.state AS campaign_state, {}, {} \
         FROM recipients AS r JOIN campaigns AS c ON c.id = r.campaign LEFT JOIN notifications AS n ON n.id = r.notification \
         WHERE r.campaign = $1 AND r.number > $2 ORDER BY r.number LIMIT {limit}",
        S::time("r.settled_at"),
        format_args!("{} AS notification_settled_at", S::time_of("n.settled_at")),
    );
    let after = i64::try_from(after).unwrap_or(i64::MAX);
    let rows = session.rows(&sql, params![id, after]).await?;
    let notifications: Vec<Option<String>> =
        rows.iter().map(|row| row.optional("notification")).collect::<Result<_, _>>()?;
    let mut sent = sent(session, notifications.into_iter().flatten().collect()).await?;
    let one = |row: &Cells| {
        let notification = row.optional("notification")?;
        let sent = notification.as_ref().and_then(|id| sent.remove(id)).unwrap_or_default();
        let (outcome, reason) = outcome(row)?;
        let settled = row.time("notification_settled_at")?;
        Ok(RecipientResult {
            number: row.count("number")?,
            key: row.optional("key")?,
            to: row.optional("to")?,
            outcome,
            reason,
            notification,
            channel: sent.confirmed_by,
            attempts: sent.attempts,
            sids: sent.sids,
            sent_at: sent.first,
            settled_at: settled.or(row.time("settled_at")?),
        })
    };
    rows.iter().map(one).collect()
}

fn outcome(row: &Cells) -> Result<(RecipientOutcome, Option<String>), sqlx::Error> {
    use RecipientOutcome as O;
    let state = row.parsed("state", RecipientState::parse)?;
    let reason = row.optional("reason")?;
    Ok(match state {
        RecipientState::HandedOver => match row.optional("notification_state")? {
            None => (O::Purged, None),
            Some(name) => {
                let of = O::parse(&name).ok_or_else(|| malformed("notification_state"))?;
                (of, row.optional("notification_reason")?)
            }
        },
        RecipientState::Waiting => {
            match (row.parsed("campaign_state", CampaignState::parse)?, row.optional("held")?) {
                (CampaignState::Cancelled, _) => (O::Cancelled, Some("cancelled".to_owned())),
                (_, Some(gate)) => (O::Held, Some(gate)),
                (_, None) => (O::Waiting, None),
            }
        }
        RecipientState::Refused => (O::Refused, reason),
        RecipientState::Expired => (O::Expired, reason),
        RecipientState::Cancelled => (O::Cancelled, reason),
    })
}

/// What was sent of a notification.
#[derive(Default)]
struct Sent {
    attempts: u64,
    sids: Vec<String>,
    first: Option<crate::clock::Timestamp>,
    confirmed_by: Option<Channel>,
}

async fn sent<S: Session>(
    session: &mut S,
    notifications: Vec<String>,
) -> Result<BTreeMap<String, Sent>, sqlx::Error> {
    let sql = format!(
        "SELECT a.notification, a.number, a.state, a.channel, p.sid, {} FROM attempts AS a \
         LEFT JOIN attempt_sids AS p ON p.attempt = a.id WHERE {} AND a.written_at IS NOT NULL \
         ORDER BY a.notification, a.number, p.at, p.sid",
        S::time("a.written_at"),
        S::among("a.notification", 1)
    );
    let mut all: BTreeMap<String, Sent> = BTreeMap::new();
    let mut last = None;
    for row in session.rows(&sql, params![notifications]).await? {
        let (notification, number) = (row.text("notification")?, row.number("number")?);
        let state = row.parsed("state", AttemptState::parse)?;
        let sent = all.entry(notification.clone()).or_default();
        sent.sids.extend(row.optional("sid")?);
        let this = Some((notification, number));
        if this == last {
            continue;
        }
        last = this;
        // What a gate refused after nothing was sent, was not sent.
        let is_sent = !matches!(
            state,
            AttemptState::Due
                | AttemptState::Claimed
                | AttemptState::Refused
                | AttemptState::Expired
                | AttemptState::Cancelled
        );
        if is_sent || row.optional("sid")?.is_some() {
            sent.attempts += 1;
            sent.first = sent.first.or(row.time("written_at")?);
        }
        if state == AttemptState::Confirmed {
            sent.confirmed_by = Some(row.parsed("channel", Channel::parse)?);
        }
    }
    Ok(all)
}
