//! The steps of notifications that go by a route: planned, begun one after the other, and over.

use std::collections::BTreeMap;
use std::time::Duration;

use super::ask::price;
use super::{attempt_id, calls, conclude, purpose, settle};
use crate::backend::outbox::{Concluded, NewNotification, NewRoute, OverStep, Settled, StepRow};
use crate::backend::sql::session::{Cells, Session, malformed, params};
use crate::clock::Timestamp;
use crate::dispatch::decision::{self, AfterAsking, Decision, Escalation, Said, Step, StepState};
use crate::dispatch::outcome::{Outcome, Standing};
use crate::dispatch::{AttemptState, Channel, NotificationState, OnUnknown};
use crate::event::AttemptId;
use crate::labels::Label as _;

/// Most steps of one transaction for which Twilio is to be asked.
const AT_ONCE: u32 = 20;

/// Keeps the steps of a new notification, of which the first has begun.
pub(super) async fn plan<S: Session>(
    session: &mut S,
    new: &NewNotification,
    route: &NewRoute,
) -> Result<(), sqlx::Error> {
    let sql = format!(
        "INSERT INTO steps (notification, number, sender, account, pace, to_hash, units, wait_s, despite_stop, state, \
         begun_at, {}, price) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9 > 0, CASE WHEN $2 = 1 THEN 'begun' ELSE 'waiting' END, \
         CASE WHEN $2 = 1 THEN {} END, $10, $11{text}, $12{text}, $13{text}, CASE WHEN $14 > 0 THEN $14 END, \
         CASE WHEN $15 > 0 THEN $15 END, CASE WHEN $16 >= 0 THEN $16 END)",
        calls::COLUMNS,
        S::NOW,
        text = S::TEXT,
    );
    for (place, step) in route.steps.iter().enumerate() {
        let call = step.call.as_ref();
        let params = params![
            new.id.as_str(),
            place + 1,
            step.sender.as_str(),
            step.account.as_str(),
            step.pace.as_str(),
            step.to_hash.as_str(),
            step.units,
            usize::try_from(step.wait.as_secs()).unwrap_or(usize::MAX),
            u32::from(step.despite_stop),
            step.channel.as_str(),
            call.map(|call| call.confirm.as_str()),
            call.and_then(|call| call.language.as_deref()),
            call.and_then(|call| call.voice.as_deref()),
            call.map_or(0, |call| call.timeout_s),
            call.map_or(0, |call| call.time_limit_s),
            price(step.price),
        ];
        session.execute(&sql, params).await?;
    }
    Ok(())
}

/// Brings a notification with steps to where they stand, and returns where it stands then, and why a step has begun, if
/// one has. `attempts`: all of its attempts, in their order. The notification is locked.
pub(super) async fn go_on<S: Session>(
    session: &mut S,
    notification: &str,
    attempts: &[(&Cells, Standing)],
    now: NotificationState,
    on_unknown: OnUnknown,
) -> Result<(Outcome, Option<Escalation>), sqlx::Error> {
    let mut of_step: BTreeMap<i64, Vec<&(&Cells, Standing)>> = BTreeMap::new();
    for attempt in attempts {
        of_step.entry(attempt.0.number("step")?).or_default().push(attempt);
    }
    let sql = format!(
        "SELECT number, state, despite_stop, wait_s, {} FROM steps WHERE notification = $1 ORDER BY steps.number",
        S::time("over_at")
    );
    let rows = session.rows(&sql, params![notification]).await?;
    let step = |row: &Cells| {
        let attempts = of_step.get(&row.number("number")?).into_iter().flatten();
        Ok(Step {
            number: u32::try_from(row.count("number")?).map_err(|_| malformed("number"))?,
            state: row.parsed("state", StepState::parse)?,
            despite_stop: row.number("despite_stop")? != 0,
            attempts: attempts.map(|(_, standing)| standing.clone()).collect(),
        })
    };
    let steps = rows.iter().map(step).collect::<Result<Vec<_>, sqlx::Error>>()?;
    let open = Outcome { state: NotificationState::Open, reason: None };
    match decision::decide(&steps, on_unknown) {
        Decision::Wait => {
            let begun = steps.iter().rposition(|step| step.state == StepState::Begun);
            if let Some(at) = begun {
                let of_it = of_step.get(&rows[at].number("number")?);
                wait(session, notification, &rows[at], of_it.map_or(&[], |all| all)).await?;
            }
            Ok((open, None))
        }
        Decision::Begin { step, why } => {
            let began = begin(session, notification, step).await?;
            Ok((open, began.then_some(why)))
        }
        Decision::Settled(outcome) => {
            if outcome.state != now {
                end(session, notification, outcome.state).await?;
            }
            Ok((outcome, None))
        }
    }
}

/// Sets when the time of the step is over that has begun: counted from when its latest attempt was sent, and not at all
/// while one is to be sent.
async fn wait<S: Session>(
    session: &mut S,
    notification: &str,
    step: &Cells,
    attempts: &[&(&Cells, Standing)],
) -> Result<(), sqlx::Error> {
    let is_sent = |state| matches!(state, AttemptState::Accepted | AttemptState::Unknown);
    let is_to_be_sent =
        |state| matches!(state, AttemptState::Due | AttemptState::Claimed | AttemptState::Writing);
    let wait = Duration::from_secs(step.count("wait_s")?);
    let mut over_at: Option<Timestamp> = None;
    for (row, standing) in attempts {
        if is_to_be_sent(standing.state) {
            over_at = None;
            break;
        }
        if is_sent(standing.state) {
            over_at = over_at.max(row.time("written_at")?.map(|at| at.after(wait)));
        }
    }
    if over_at == step.time("over_at")? {
        return Ok(());
    }
    let sql = format!(
        "UPDATE steps SET over_at = $3{time}, ask_at = $3{time} WHERE notification = $1 AND number = $2 \
         AND state = 'begun'",
        time = S::TIME
    );
    let params = params![notification, step.number("number")?, over_at];
    session.execute(&sql, params).await.map(|_| ())
}

/// Begins a step, and plans its first attempt, unless it has begun; returns whether it did. The row makes one transaction
/// the winner where several hold a share of the notification's lock.
async fn begin<S: Session>(
    session: &mut S,
    notification: &str,
    number: u32,
) -> Result<bool, sqlx::Error> {
    let sql = format!(
        "UPDATE steps SET state = 'begun', begun_at = {} WHERE notification = $1 AND number = $2 AND state = 'waiting'",
        S::NOW
    );
    if session.execute(&sql, params![notification, number]).await? == 0 {
        return Ok(false);
    }
    let sql = "UPDATE steps SET ask_at = NULL WHERE notification = $1 AND number < $2";
    session.execute(sql, params![notification, number]).await?;
    let sql = format!(
        "INSERT INTO attempts (id, notification, number, created_at, sender, account, pace, to_hash, units, priority, \
         deadline, state, due_at, step, despite_stop, price, campaign, {columns}) \
         SELECT $3, notification, (SELECT max(a.number) + 1 FROM attempts AS a WHERE a.notification = $1), {now}, sender, \
         account, pace, to_hash, units, (SELECT max(a.priority) FROM attempts AS a WHERE a.notification = $1), \
         (SELECT n.deadline FROM notifications AS n WHERE n.id = $1), 'due', {now}, number, despite_stop, price, \
         (SELECT n.campaign FROM notifications AS n WHERE n.id = $1), {columns} FROM steps WHERE notification = $1 AND number = $2",
        now = S::NOW,
        columns = calls::COLUMNS,
    );
    let id = AttemptId::new(rand::random()).to_string();
    session.execute(&sql, params![notification, number, id]).await?;
    Ok(true)
}

/// What waits is not needed any more. Once it is confirmed, nothing else is sent, and a call that rings is cancelled.
async fn end<S: Session>(
    session: &mut S,
    notification: &str,
    state: NotificationState,
) -> Result<(), sqlx::Error> {
    skip(session, notification).await?;
    let sql = "UPDATE steps SET ask_at = NULL WHERE notification = $1 AND ask_at IS NOT NULL";
    session.execute(sql, params![notification]).await?;
    if state != NotificationState::Confirmed {
        return Ok(());
    }
    let sql = format!(
        "UPDATE attempts SET state = 'cancelled', reason = 'withdrawn', held = NULL, holder = NULL, lease_until = NULL, \
         settled_at = {} WHERE notification = $1 AND state IN ('due', 'claimed')",
        S::NOW
    );
    session.execute(&sql, params![notification]).await?;
    calls::hang_up(session, notification).await.map(|_| ())
}

/// Steps that have not begun never will.
pub(super) async fn skip<S: Session>(
    session: &mut S,
    notification: &str,
) -> Result<(), sqlx::Error> {
    let sql = "UPDATE steps SET state = 'skipped' WHERE notification = $1 AND state = 'waiting'";
    session.execute(sql, params![notification]).await.map(|_| ())
}

/// Steps whose time is over, for which Twilio is to be asked now; `busy`: for how long no other process is handed one.
pub(in crate::backend) async fn to_ask<S: Session>(
    session: &mut S,
    busy: Duration,
) -> Result<Vec<OverStep>, sqlx::Error> {
    let at = session.now().await?;
    let sql = format!(
        "UPDATE steps SET ask_at = {} WHERE (notification, number) IN (SELECT notification, number FROM steps \
         WHERE ask_at <= $1{} ORDER BY ask_at LIMIT {AT_ONCE}{}) RETURNING notification",
        S::later(S::NOW, busy),
        S::TIME,
        S::SKIP_LOCKED
    );
    let rows = session.rows(&sql, params![at]).await?;
    let notifications: Vec<String> =
        rows.iter().map(|row| row.text("notification")).collect::<Result<_, _>>()?;
    if notifications.is_empty() {
        return Ok(Vec::new());
    }
    let sql = format!(
        "SELECT s.notification, s.number, {}, a.id, a.account, a.sender, a.channel, a.sid, n.purpose FROM steps AS s \
         JOIN notifications AS n ON n.id = s.notification \
         JOIN attempts AS a ON a.notification = s.notification AND a.number = (SELECT o.number FROM attempts AS o \
         WHERE o.notification = s.notification AND o.step = s.number AND o.state IN ('accepted', 'unknown') \
         ORDER BY o.sid IS NULL, o.number DESC LIMIT 1) \
         WHERE {} AND s.ask_at IS NOT NULL",
        S::time("s.over_at"),
        S::among("s.notification", 1)
    );
    let one = |row: &Cells| {
        let over_at = row.time("over_at")?.ok_or_else(|| malformed("over_at"))?;
        Ok(OverStep {
            notification: row.text("notification")?,
            number: u32::try_from(row.count("number")?).map_err(|_| malformed("number"))?,
            attempt: attempt_id(row, "id")?,
            account: row.text("account")?,
            sender: row.text("sender")?,
            channel: row.parsed("channel", Channel::parse)?,
            purpose: purpose(row, "purpose")?,
            sid: row.optional("sid")?,
            over_at,
            over_for: at.since(over_at),
        })
    };
    session.rows(&sql, params![notifications]).await?.iter().map(one).collect()
}

/// Decides about a step for which Twilio was asked. What it said is stored as an event.
pub(in crate::backend) async fn asked<S: Session>(
    session: &mut S,
    step: &OverStep,
    said: Said,
) -> Result<Concluded, sqlx::Error> {
    let sql = format!("SELECT id FROM notifications WHERE id = $1{}", S::FOR_UPDATE);
    let notification = step.notification.as_str();
    session.row(&sql, params![notification]).await?;
    let attempt = [step.attempt.to_string()];
    settle::by_events(session, &attempt, &mut Settled::default()).await?;
    // It may have been sent again meanwhile, or another process may have asked.
    let time = S::TIME;
    let still = format!(
        "notification = $1 AND number = $2 AND state = 'begun' AND over_at = $3{time} AND ask_at IS NOT NULL"
    );
    let of_step = params![notification, step.number, step.over_at];
    let after = match is_known_since(session, step).await? {
        true => AfterAsking::AskAgain(Duration::ZERO),
        false => decision::after_asking(step.channel, step.purpose, said, step.over_for),
    };
    match after {
        AfterAsking::AskAgain(after) => {
            // Of a call that is over, nothing more is to be heard from Twilio.
            let sql = format!(
                "UPDATE steps SET ask_at = CASE WHEN EXISTS (SELECT 1 FROM attempts AS a WHERE a.notification = $1 \
                 AND a.step = $2 AND a.over_at IS NOT NULL) THEN NULL ELSE {} END WHERE {still}",
                S::later(S::NOW, after)
            );
            session.execute(&sql, of_step).await?;
        }
        AfterAsking::Ends(state) => {
            let sql = format!(
                "UPDATE steps SET state = '{}', ask_at = NULL, ended_at = {} WHERE {still}",
                state.as_str(),
                S::NOW
            );
            if session.execute(&sql, of_step).await? > 0 {
                let sql = format!(
                    "UPDATE attempts SET state = 'unconfirmed', look_at = NULL, settled_at = {} \
                     WHERE notification = $1 AND step = $2 AND state = 'accepted'",
                    S::NOW
                );
                session.execute(&sql, params![notification, step.number]).await?;
            }
        }
    }
    conclude(session, std::slice::from_ref(&step.notification)).await
}

/// Whether there was no SID to ask for, and there is one now: its callbacks are coming in.
async fn is_known_since<S: Session>(session: &mut S, step: &OverStep) -> Result<bool, sqlx::Error> {
    if step.sid.is_some() {
        return Ok(false);
    }
    let sql = "SELECT id FROM attempts WHERE notification = $1 AND step = $2 AND sid IS NOT NULL \
               AND state IN ('accepted', 'unknown')";
    let known = session.row(sql, params![step.notification.as_str(), step.number]).await?;
    Ok(known.is_some())
}

/// The steps of a notification, in their order.
pub(in crate::backend) async fn list<S: Session>(
    session: &mut S,
    notification: &str,
) -> Result<Vec<StepRow>, sqlx::Error> {
    let times = ["begun_at", "over_at", "ended_at"].map(S::time).join(", ");
    let sql = format!(
        "SELECT number, sender, channel, wait_s, state, {times} FROM steps WHERE notification = $1 ORDER BY number"
    );
    let row = |row: &Cells| {
        Ok(StepRow {
            number: row.count("number")?,
            sender: row.text("sender")?,
            channel: row.parsed("channel", Channel::parse)?,
            wait_s: row.count("wait_s")?,
            state: row.parsed("state", StepState::parse)?,
            begun_at: row.time("begun_at")?,
            over_at: row.time("over_at")?,
            ended_at: row.time("ended_at")?,
        })
    };
    session.rows(&sql, params![notification]).await?.iter().map(row).collect()
}
