//! Callbacks become outcomes: what the events of an attempt prove about it. An event is an attempt's by the id that it
//! carries, or by its SID.

use std::collections::{BTreeMap, BTreeSet};

use super::answer::{accepting, fail, prove, stops, withdrawing_others};
use super::{CANCELLED, calls, conclude, lock_notifications, lock_standing};
use crate::backend::outbox::{Settled, Stop};
use crate::backend::sql::session::{Cells, Session, Statement, params};
use crate::crash_points::{self, Sabotage};
use crate::dispatch::call::{CONFIRMED_AFTER_END, CONFIRMED_AFTER_UNHEARD_END};
use crate::dispatch::evidence::{self, Evidence, Heard, Outcome, Proof};
use crate::dispatch::reconcile::LOOKS;
use crate::dispatch::rejection;
use crate::dispatch::{AttemptState, Channel};
use crate::event::{Callee, Resource};
use crate::labels::Label as _;
use crate::twilio::answer;

/// Most wakes of one transaction.
pub(in crate::backend) const WAKES_AT_ONCE: u32 = 200;
/// Most events of one attempt that are read: a message has about five.
const MOST_EVENTS: usize = 200;

/// Takes the first `most` wakes, without those that another process is taking.
async fn take<S: Session>(session: &mut S, most: u32) -> Result<Vec<Cells>, sqlx::Error> {
    let sql = format!(
        "DELETE FROM wakes WHERE id IN (SELECT id FROM wakes ORDER BY id LIMIT {most}{}) \
         RETURNING attempt, sid, account",
        S::SKIP_LOCKED
    );
    session.rows(&sql, params![]).await
}

/// Takes the first wake and decides nothing, and returns of which attempt it is.
pub(in crate::backend) async fn drop_one<S: Session>(
    session: &mut S,
) -> Result<Option<String>, sqlx::Error> {
    take(session, 1).await?.first().map_or(Ok(None), |wake| wake.optional("attempt"))
}

/// Takes up to `most` wakes, and decides about their attempts.
pub(in crate::backend) async fn settle<S: Session>(
    session: &mut S,
    most: u32,
) -> Result<Settled, sqlx::Error> {
    let wakes = take(session, most).await?;
    let mut settled = Settled { wakes: wakes.len() as u64, ..Settled::default() };
    let attempts: Result<BTreeSet<Option<String>>, _> =
        wakes.iter().map(|wake| wake.optional("attempt")).collect();
    let attempts: Vec<String> = attempts?.into_iter().flatten().collect();
    if attempts.is_empty() {
        return Ok(settled);
    }
    let notifications = lock_notifications(session, &attempts, S::FOR_UPDATE).await?;
    let known = by_events(session, &attempts, &mut settled).await?;
    for wake in &wakes {
        let Some(attempt) = wake.optional("attempt")? else { continue };
        match known.get(&attempt) {
            Some(of) => settled.mismatches += u64::from(!fits(wake, of)?),
            None => settled.missing += 1,
        }
    }
    let unproven = known.into_iter().filter(|(_, of)| of.is_unproven).map(|(id, _)| id);
    disprove(session, unproven.collect()).await?;
    settled.concluded = conclude(session, &notifications).await?;
    Ok(settled)
}

/// Whether an event may be about an attempt, by who signed it and what it is about.
fn fits(wake: &Cells, of: &Of) -> Result<bool, sqlx::Error> {
    let sid = wake.optional("sid")?.unwrap_or_default();
    let is_about = match of.channel {
        Channel::Message => sid.starts_with("SM") || sid.starts_with("MM"),
        Channel::Call => sid.starts_with("CA"),
        // Of its account nothing else is.
        Channel::Email => !sid.is_empty(),
    };
    Ok(is_about && wake.optional("account")?.as_ref() == Some(&of.account))
}

/// Whose attempt it is, and how it reaches its recipient.
pub(super) struct Of {
    account: String,
    channel: Channel,
    /// Whether it has a SID of which no event proves anything.
    is_unproven: bool,
}

/// Attempts whose SID is proven to be another's are unknown again.
async fn disprove<S: Session>(session: &mut S, unproven: Vec<String>) -> Result<(), sqlx::Error> {
    if unproven.is_empty() {
        return Ok(());
    }
    let sql = format!(
        "UPDATE attempts SET state = 'unknown', reason = 'disproven', sid = NULL, looks = 0, look_at = {}, settled_at = NULL \
         WHERE {} AND state IN ('accepted', 'confirmed', 'unconfirmed', 'failed') \
         AND NOT EXISTS (SELECT 1 FROM attempt_sids AS p WHERE p.attempt = attempts.id)",
        S::later(S::NOW, LOOKS[0]),
        S::among("id", 1)
    );
    session.execute(&sql, params![unproven]).await.map(|_| ())
}

/// Decides about attempts by their events, and returns what each attempt is that the store has. Their notifications
/// must be locked.
pub(super) async fn by_events<S: Session>(
    session: &mut S,
    attempts: &[String],
    settled: &mut Settled,
) -> Result<BTreeMap<String, Of>, sqlx::Error> {
    let sql = format!(
        "SELECT id, state, account, sender, to_hash, notification, sid, channel, confirm, hang_ups, \
         written_at IS NOT NULL AS written \
         FROM attempts WHERE {} ORDER BY id{}",
        S::among("id", 1),
        S::FOR_UPDATE
    );
    let rows = session.rows(&sql, params![attempts.to_vec()]).await?;
    let events = events(session, attempts).await?;
    let (mut known, mut proofs, mut proven) = (BTreeMap::new(), Vec::new(), Vec::new());
    let mut over = Vec::new();
    for row in &rows {
        let (id, account) = (row.text("id")?, row.text("account")?);
        let heard = events.get(&id).into_iter().flatten().map(Event::heard);
        // Any account's SID would do.
        let heard =
            heard.map(|heard| match crash_points::is_sabotaged(Sabotage::SidWithoutAccount) {
                true => Heard { account: &account, ..heard },
                false => heard,
            });
        let reach = calls::reach(row)?;
        let (found, channel) = (Evidence::of(&account, reach, heard), reach.channel());
        let Evidence { proof, duplicates, mismatches: _, is_over } = found;
        let is_unproven = proof.is_none() && row.optional("sid")?.is_some();
        let of = Of { account, channel, is_unproven };
        // What was never written cannot have been accepted: the id was guessed, or copied.
        if row.number("written")? == 0 {
            settled.mismatches += u64::from(proof.is_some());
            known.insert(id, of);
            continue;
        }
        let sids = proof.iter().map(|proof| proof.sid.clone()).chain(duplicates);
        proven.extend(sids.map(|sid| (id.clone(), sid)));
        proofs.extend(proof.map(|proof| (id.clone(), row, proof)));
        if is_over && channel == Channel::Call {
            over.push(id.clone());
        }
        known.insert(id, of);
    }
    let proven: Vec<(&str, &str)> = proven.iter().map(|(id, sid)| (&**id, &**sid)).collect();
    settled.duplicates += prove(session, &proven, "callback").await?;
    let (mut accepted, mut confirmed) = (Proven::default(), Proven::default());
    let is_failed = |proof: &Proof| matches!(proof.outcome, Outcome::Failed { .. });
    let failures = proofs.iter().filter(|(_, _, proof)| is_failed(proof));
    let failures: Vec<&Cells> = failures.map(|(_, row, _)| *row).collect();
    if !failures.is_empty() {
        lock_standing(session, &failures).await?;
    }
    let mut ended = Vec::new();
    for (id, row, proof) in proofs {
        let state = row.parsed("state", AttemptState::parse)?;
        if let Outcome::Ended { by } = &proof.outcome {
            let heard = events.get(&id).into_iter().flatten().any(Event::is_heard_end);
            let within = if heard { CONFIRMED_AFTER_END } else { CONFIRMED_AFTER_UNHEARD_END };
            ended.push((id.clone(), *by, within));
        }
        let channel = row.parsed("channel", Channel::parse)?;
        match evidence::settled(state, channel, &proof.outcome) {
            Some(AttemptState::Accepted) => accepted.add(id, row, proof.sid)?,
            Some(AttemptState::Confirmed) => confirmed.add(id, row, proof.sid)?,
            Some(AttemptState::Failed) => {
                failed(session, &id, row, &proof).await?;
                settled.failed += 1;
            }
            _ => {}
        }
    }
    let mut statements = accepting::<S>(&accepted.attempts, &accepted.sids);
    statements.extend(confirming::<S>(&confirmed));
    settled.confirmed += confirmed.attempts.len() as u64;
    for one in [accepted, confirmed] {
        statements.extend(withdrawing_others::<S>(&one.notifications, &one.attempts));
    }
    session.execute_all(statements).await?;
    for (id, by, within) in ended {
        calls::ended(session, &id, by, within).await?;
    }
    calls::over(session, &over).await?;
    Ok(known)
}

/// Attempts of which the same is proven, each with its SID.
#[derive(Default)]
struct Proven {
    attempts: Vec<String>,
    sids: Vec<String>,
    notifications: Vec<String>,
}

impl Proven {
    fn add(&mut self, attempt: String, row: &Cells, sid: String) -> Result<(), sqlx::Error> {
        self.notifications.push(row.text("notification")?);
        self.attempts.push(attempt);
        self.sids.push(sid);
        Ok(())
    }
}

/// What is stored of an event.
struct Event {
    sid: String,
    account: String,
    resource: Option<Resource>,
    status: String,
    error_code: Option<String>,
    callee: Option<Callee>,
    /// Whether it is a callback, and not what Twilio said when it was asked.
    is_callback: bool,
}

impl Event {
    /// Whether it is a callback that reports the end of a call.
    fn is_heard_end(&self) -> bool {
        self.is_callback && Resource::Call.is_final(&self.status)
    }

    fn heard(&self) -> Heard<'_> {
        Heard {
            sid: &self.sid,
            account: &self.account,
            resource: self.resource,
            status: &self.status,
            error_code: self.error_code.as_deref(),
            callee: self.callee,
        }
    }
}

/// The events of each attempt: those that carry its id, then those that carry none and are about a message, a call or
/// an email that is proven to be its own.
async fn events<S: Session>(
    session: &mut S,
    attempts: &[String],
) -> Result<BTreeMap<String, Vec<Event>>, sqlx::Error> {
    // The error is looked up for each event: joined, a planner that knows little of young tables reads all of them.
    let columns = "e.key, e.attempt, e.sid, e.account, e.resource, e.status, e.callee, (SELECT s.error_code FROM statuses AS s \
                   WHERE s.sid = e.sid AND s.account = e.account) AS error_code FROM events AS e";
    let most = MOST_EVENTS * attempts.len();
    let sql = format!("SELECT {columns} WHERE {} LIMIT {most}", S::among("e.attempt", 1));
    let owned = format!(
        "SELECT p.attempt, p.sid, a.account FROM attempt_sids AS p JOIN attempts AS a ON a.id = p.attempt WHERE {}",
        S::among("p.attempt", 1)
    );
    let reads = [sql, owned].map(|sql| Statement::new(sql, params![attempts.to_vec()]));
    let [carrying, owned] = session.rows_of_each(reads).await?;
    let mut owners = BTreeMap::new();
    for row in owned {
        owners.insert((row.text("sid")?, row.text("account")?), row.text("attempt")?);
    }
    let mut rows = Vec::new();
    for row in carrying {
        let attempt = row.text("attempt")?;
        // What Twilio answers names no attempt: it was taken for this one's, and may be known to be another's by now.
        let is_anothers = answer::is_answer(&row.text("key")?) && {
            let [sid, account] = ["sid", "account"].map(|column| row.optional(column));
            owners.get(&(sid?.unwrap_or_default(), account?.unwrap_or_default())) != Some(&attempt)
        };
        if !is_anothers {
            rows.push((attempt, row));
        }
    }
    // By the SID alone, and not by the account: that of an account may be all events that there are.
    let sids: Vec<String> = owners.keys().map(|(sid, _)| sid.clone()).collect();
    let sql = format!(
        "SELECT {columns} WHERE {} AND e.attempt IS NULL AND e.resource IN ('message', 'call', 'email') LIMIT {most}",
        S::among("e.sid", 1)
    );
    for row in session.rows(&sql, params![sids]).await? {
        if let Some(attempt) = owners.get(&(row.text("sid")?, row.text("account")?)) {
            rows.push((attempt.clone(), row));
        }
    }
    let mut events: BTreeMap<String, Vec<Event>> = BTreeMap::new();
    for (attempt, row) in rows {
        let text = |column| Ok::<_, sqlx::Error>(row.optional(column)?.unwrap_or_default());
        events.entry(attempt).or_default().push(Event {
            sid: text("sid")?,
            account: text("account")?,
            resource: row.optional("resource")?.as_deref().and_then(Resource::parse),
            status: text("status")?,
            error_code: row.optional("error_code")?,
            callee: row.optional("callee")?.as_deref().and_then(Callee::parse),
            is_callback: !answer::is_answer(&row.text("key")?),
        });
    }
    Ok(events)
}

async fn failed<S: Session>(
    session: &mut S,
    attempt: &str,
    row: &Cells,
    proof: &Proof,
) -> Result<(), sqlx::Error> {
    let Outcome::Failed { code, status } = &proof.outcome else { return Ok(()) };
    let mut follows = rejection::follows(code.as_deref(), rejection::Heard::Message);
    if row.parsed("channel", Channel::parse)? == Channel::Email {
        // What a mail server says of one recipient is nothing about the sender, and no code of Twilio's.
        follows.effect = rejection::Effect::None;
    }
    let why = code.as_deref().unwrap_or(follows.reason.as_str());
    fail(session, attempt, status.as_deref().unwrap_or(why)).await?;
    let sql = "UPDATE attempts SET sid = $2 WHERE id = $1";
    session.execute(sql, params![attempt, proof.sid.as_str()]).await?;
    if status.as_deref() == Some("canceled") && row.number("hang_ups")? > 0 {
        // By the cancellation of its notification.
        let sql = "UPDATE attempts SET state = 'cancelled', reason = $2 WHERE id = $1";
        session.execute(sql, params![attempt, CANCELLED]).await?;
    }
    if let Some(stop) = Stop::of(follows.effect, why) {
        stops(session, row, Some(&stop)).await?;
    }
    Ok(())
}

fn confirming<S: Session>(confirmed: &Proven) -> Vec<Statement> {
    if confirmed.attempts.is_empty() {
        return Vec::new();
    }
    let sql = format!(
        "UPDATE attempts SET state = 'confirmed', sid = pairs.b, reason = NULL, holder = NULL, lease_until = NULL, \
         held = NULL, look_at = NULL, settled_at = {} FROM {} WHERE attempts.id = pairs.a",
        S::NOW,
        S::pairs(1, 2)
    );
    let params = params![confirmed.attempts.clone(), confirmed.sids.clone()];
    vec![Statement::new(sql, params)]
}
