//! The commit to `writing`: the last look at everything that may hold or refuse an attempt, and the record that its
//! first byte may have left.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::campaigns::{self, money};
use super::limits::{self, day, reading_days, reading_recent};
use super::state::{as_held, reading_held};
use super::{
    attempt_id, calls, conclude, consents, locking_notifications, purpose, suppressions, texts,
};
use crate::backend::outbox::{
    Claimed, Gated, Known, KnownCalls, Letter, MailLetter, WriteAsk, Written,
};
use crate::backend::sql::session::{Cells, Session, Statement, malformed, params};
use crate::clock::Timestamp;
use crate::crash_points::{self, Sabotage};
use crate::dispatch::call::{CallPlan, Lines};
use crate::dispatch::gates::Pause;
use crate::dispatch::suppression::Latest;
use crate::dispatch::{Channel, NotificationState};
use crate::event::AttemptId;
use crate::labels::Label as _;

/// Commits attempts to `writing`, each unless something is in the way, and returns what came of each claim, in their
/// order. What `gates` says is read from rows that are
/// locked until the commit: a pause, a cancellation or a suppression that was committed before is seen, and one that
/// comes later waits and then finds the attempt in `writing`.
pub(in crate::backend) async fn write<S: Session>(
    session: &mut S,
    ask: &WriteAsk,
    gates: &(impl Fn(&Known, Timestamp) -> Gated + Sync),
) -> Result<Vec<Written>, sqlx::Error> {
    let all: Vec<String> = ask.claims.iter().map(|claim| claim.id.to_string()).collect();
    let locks = [
        campaigns::locking::<S>(&all),
        locking_notifications::<S>(&all, S::FOR_SHARE),
        locking_attempts::<S>(&all, ask),
    ];
    let [campaigns, _, rows] = session.rows_of_each(locks).await?;
    let mut campaigns = campaigns::locked(&campaigns)?;
    let rows = of_these_slots(rows, ask)?;
    let Pauses { senders, mut accounts, deployment } = lock_pauses(session, &rows).await?;
    let hashes = texts(&rows, "to_hash")?;
    let reads = [
        S::read_now(),
        reading_in_flight::<S>(texts(&rows, "account")?),
        suppressions::reading::<S>(hashes.clone()),
        reading_recent::<S>(hashes),
        reading_days(),
    ];
    let [now, in_flight, suppressed, recent, days] = session.rows_of_each(reads).await?;
    let now = S::as_now(&now)?;
    for row in &in_flight {
        if let Some(account) = accounts.get_mut(&row.text("account")?) {
            account.writing = row.count("writing")?;
        }
    }
    let suppressed = suppressions::latest(&suppressed)?;
    let consenting = consents::holding(session, consents::marketed(&rows)?).await?;
    let mut recipients = limits::recent(&recent)?;
    let mut today = limits::today(&days, now)?;
    open_calls(session, &mut accounts, &rows, &ask.lines, now).await?;
    let mut permits = BTreeMap::new();
    let mut outcomes: BTreeMap<(AttemptId, Timestamp), Written> = BTreeMap::new();
    let (mut writing, mut ended) = (Vec::new(), BTreeSet::new());
    for row in &rows {
        let id = attempt_id(row, "id")?;
        let account = row.text("account")?;
        let account = accounts.entry(account).or_default();
        let sender = senders.get(&row.text("sender")?).copied().unwrap_or_default();
        let to_hash = row.text("to_hash")?;
        let send_at = row.time("send_at")?.ok_or_else(|| malformed("send_at"))?;
        let price =
            money(row, "price")?.filter(|_| row.number("tries").is_ok_and(|tries| tries == 0));
        let mut campaign = match row.optional("campaign")? {
            Some(campaign) => campaigns.get_mut(&campaign),
            None => None,
        };
        let (call, recent) = (calls::plan(row)?, recipients.entry(to_hash.clone()).or_default());
        let calls = call.as_ref().map(|_| KnownCalls {
            recent: recent.calls.clone(),
            open: account.calls,
            limit: ask.lines.limit(&account.name),
        });
        let known = Known {
            sender: row.text("sender")?,
            to: row.text("to")?,
            purpose: purpose(row, "purpose")?,
            time_zone: row.optional("time_zone")?,
            deadline: row.time("deadline")?.ok_or_else(|| malformed("deadline"))?,
            suppressed: is_suppressed(row, suppressed.get(&to_hash))?,
            consented: consenting.contains(&to_hash),
            recent: recent.all.clone(),
            calls,
            today,
            campaign_pause: campaign.as_ref().map_or(Pause::None, |it| it.pause()),
            is_over_cap: campaign.as_ref().is_some_and(|it| it.is_over(price.unwrap_or(0))),
            sender_pause: sender,
            account_pause: account.pause,
            deployment_pause: deployment,
        };
        let is_open = row.parsed("notification_state", NotificationState::parse)?
            == NotificationState::Open
            && !campaign.as_ref().is_some_and(|it| it.is_cancelled());
        let gated = match is_open {
            true => gates(&known, now),
            false => Gated::Refuse { gate: "cancelled" },
        };
        let outcome = match gated {
            Gated::Pass if now > send_at.after(ask.late_after) => {
                back(session, row, now, None).await?;
                Written::Late
            }
            Gated::Pass if account.writing >= u64::from(ask.max_in_flight) => {
                back(session, row, now, None).await?;
                Written::Full
            }
            Gated::Pass => {
                account.writing += 1;
                // A message that is requested again, because nothing came of the last request, counts once.
                if row.number("tries")? == 0 {
                    account.sent += 1;
                    today += 1;
                }
                if let (Some(campaign), Some(price)) = (&mut campaign, price) {
                    campaign.spend(price);
                }
                recent.all.insert(0, now);
                if let Some(call) = &call {
                    account.calls += 1;
                    recent.calls.insert(0, now);
                    permits.insert(row.text("id")?, now.after(call.permit()));
                }
                writing.push(row.text("id")?);
                Written::Send(letter(row, known, call, now)?)
            }
            Gated::Hold { gate, until } => {
                back(session, row, until, Some(gate)).await?;
                Written::Held(gate)
            }
            Gated::Refuse { gate } => {
                let state = if is_open { "refused" } else { "cancelled" };
                ended.insert(row.text("notification")?);
                end(session, row, state, gate).await?
            }
            Gated::Expire => {
                ended.insert(row.text("notification")?);
                end(session, row, "expired", "deadline").await?
            }
        };
        outcomes.insert((id, send_at), outcome);
    }
    let mut statements = committing::<S>(&writing, now, ask.lease);
    statements.extend(calls::permitting::<S>(&permits));
    statements.extend(counting(&accounts, now));
    statements.extend(campaigns::spending(&campaigns));
    session.execute_all(statements).await?;
    conclude(session, &ended.into_iter().collect::<Vec<_>>()).await?;
    let outcome = |claim: &Claimed| outcomes.remove(&(claim.id, claim.send_at));
    Ok(ask.claims.iter().map(outcome).map(|written| written.unwrap_or(Written::Lost)).collect())
}

fn pause(paused: Option<&str>, cooldown_until: Option<Timestamp>) -> Pause {
    match (paused, cooldown_until) {
        (Some(_), _) => Pause::Indefinite,
        (None, Some(until)) => Pause::Until(until),
        (None, None) => Pause::None,
    }
}

/// Whether the recipient must not be reached. What a person has entered counts for every attempt, what the recipient has
/// said not for a call that is made despite that. An email follows a STOP to the number, and not one to its own address.
fn is_suppressed(row: &Cells, stop: Option<&Latest>) -> Result<bool, sqlx::Error> {
    let is_email = row.parsed("channel", Channel::parse)? == Channel::Email;
    let despite_stop = row.number("despite_stop")? != 0 && !is_email;
    Ok(stop.is_some_and(|stop| !(despite_stop && stop.is_recipients())))
}

#[derive(Default)]
struct Account {
    name: String,
    pause: Pause,
    writing: u64,
    /// Its open calls, if calls are to be made.
    calls: u64,
    /// How many more there are now.
    sent: u64,
}

/// What pauses attempts.
struct Pauses {
    senders: BTreeMap<String, Pause>,
    accounts: BTreeMap<String, Account>,
    deployment: Pause,
}

/// Locks the rows of the senders and of the accounts of attempts, each of which has one then, and that of the outbox: a
/// pause waits, and counts what is written here, and the count of requests in flight is exact over all processes.
async fn lock_pauses<S: Session>(session: &mut S, rows: &[Cells]) -> Result<Pauses, sqlx::Error> {
    let [names, account_names] = [texts(rows, "sender")?, texts(rows, "account")?];
    let lock = |table: &str, key: &str, names: &[String], lock: &str| {
        let sql = format!(
            "SELECT {key}, paused, {} FROM {table} WHERE {} ORDER BY {key}{lock}",
            S::time("cooldown_until"),
            S::among(key, 1)
        );
        Statement::new(sql, params![names.to_vec()])
    };
    let locks = || {
        [
            lock("senders", "name", &names, S::FOR_SHARE),
            lock("sending_accounts", "account", &account_names, S::FOR_UPDATE),
            reading_held::<S>(),
        ]
    };
    let [mut senders, mut accounts, mut held] = session.rows_of_each(locks()).await?;
    if senders.len() < names.len() || accounts.len() < account_names.len() {
        let insert = |table: &str, key: &str, name: &String| {
            let sql =
                format!("INSERT INTO {table} ({key}) VALUES ($1) ON CONFLICT ({key}) DO NOTHING");
            Statement::new(sql, params![name.as_str()])
        };
        let missing = names.iter().map(|name| insert("senders", "name", name));
        let missing =
            missing.chain(account_names.iter().map(|it| insert("sending_accounts", "account", it)));
        session.execute_all(missing.collect()).await?;
        [senders, accounts, held] = session.rows_of_each(locks()).await?;
    }
    let pause_of = |row: &Cells| {
        let (paused, cooldown_until) = (row.optional("paused")?, row.time("cooldown_until")?);
        Ok::<_, sqlx::Error>(pause(paused.as_deref(), cooldown_until))
    };
    let senders = senders.iter().map(|row| Ok((row.text("name")?, pause_of(row)?)));
    let accounts = accounts.iter().map(|row| {
        let name = row.text("account")?;
        let account = Account { name: name.clone(), pause: pause_of(row)?, ..Account::default() };
        Ok((name, account))
    });
    Ok(Pauses {
        senders: senders.collect::<Result<_, sqlx::Error>>()?,
        accounts: accounts.collect::<Result<_, sqlx::Error>>()?,
        deployment: pause(as_held(&held)?.as_deref(), None),
    })
}

/// Counts the requests in flight of these accounts, whose rows are locked.
fn reading_in_flight<S: Session>(accounts: Vec<String>) -> Statement {
    let sql = format!(
        "SELECT account, count(*) AS writing FROM attempts WHERE {} AND state = 'writing' GROUP BY account",
        S::among("account", 1)
    );
    Statement::new(sql, params![accounts])
}

/// Counts the open calls of the accounts of which one is to be made. Their rows are locked.
async fn open_calls<S: Session>(
    session: &mut S,
    accounts: &mut BTreeMap<String, Account>,
    rows: &[Cells],
    lines: &Lines,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    let mut calling = BTreeSet::new();
    for row in rows {
        if row.parsed("channel", Channel::parse)? == Channel::Call {
            calling.insert(row.text("account")?);
        }
    }
    for account in calling {
        let open = calls::open(session, &account, lines, now).await?;
        accounts.entry(account).or_default().calls = open;
    }
    Ok(())
}

/// Locks attempts that are still this process's, by id, as all that lock several do.
fn locking_attempts<S: Session>(attempts: &[String], ask: &WriteAsk) -> Statement {
    let times = [S::time("a.send_at"), S::time("n.deadline")].join(", ");
    let lock = if S::FOR_UPDATE.is_empty() { "" } else { " FOR UPDATE OF a" };
    let sql = format!(
        "SELECT a.id, a.notification, a.sender, a.account, a.to_hash, a.tries, a.throttled, a.despite_stop, \
         a.campaign, a.price, CASE WHEN a.channel = 'email' THEN coalesce(n.email, n.\"to\") ELSE n.\"to\" END AS \"to\", n.body, n.subject, \
         n.html, n.purpose, n.time_zone, {}, \
         n.state AS notification_state, {times} FROM attempts AS a JOIN notifications AS n ON n.id = a.notification \
         WHERE {} AND a.state = 'claimed' AND a.holder = $2 ORDER BY a.id{lock}",
        calls::COLUMNS,
        S::among("a.id", 1)
    );
    Statement::new(sql, params![attempts.to_vec(), ask.holder.as_str()])
}

/// Those of which the slot is still the claim's, by slot.
fn of_these_slots(rows: Vec<Cells>, ask: &WriteAsk) -> Result<Vec<Cells>, sqlx::Error> {
    let mut claimed = Vec::with_capacity(rows.len());
    for row in rows {
        let (id, send_at) = (attempt_id(&row, "id")?, row.time("send_at")?);
        if ask.claims.iter().any(|claim| claim.id == id && Some(claim.send_at) == send_at) {
            claimed.push((send_at, row));
        }
    }
    // Stable: those of one slot stay by id.
    claimed.sort_by_key(|(send_at, _)| *send_at);
    Ok(claimed.into_iter().map(|(_, row)| row).collect())
}

fn counting(
    accounts: &BTreeMap<String, Account>,
    now: Timestamp,
) -> impl Iterator<Item = Statement> {
    accounts.iter().filter(|(_, account)| account.sent > 0).map(move |(name, account)| {
        let sql = "UPDATE sending_accounts SET day = $2, \
                   day_count = CASE WHEN day = $2 THEN day_count ELSE 0 END + $3 WHERE account = $1";
        let sent = i64::try_from(account.sent).unwrap_or(i64::MAX);
        Statement::new(sql, params![name.as_str(), day(now), sent])
    })
}

fn letter(
    row: &Cells,
    known: Known,
    call: Option<CallPlan>,
    now: Timestamp,
) -> Result<Letter, sqlx::Error> {
    let number = |column| Ok::<_, sqlx::Error>(u32::try_from(row.number(column)?).unwrap_or(0));
    Ok(Letter {
        sender: known.sender,
        account: row.text("account")?,
        to: known.to,
        purpose: known.purpose,
        time_zone: known.time_zone,
        body: row.text("body")?,
        call,
        mail: mail(row)?,
        campaign: row.optional("campaign")?,
        deadline: known.deadline,
        tries: number("tries")? + 1,
        throttled: number("throttled")?,
        written_at: now,
    })
}

fn mail(row: &Cells) -> Result<Option<Box<MailLetter>>, sqlx::Error> {
    if row.parsed("channel", Channel::parse)? != Channel::Email {
        return Ok(None);
    }
    let (subject, html) = (row.optional("subject")?, row.optional("html")?);
    let subject = subject.ok_or_else(|| malformed("subject"))?;
    Ok(Some(Box::new(MailLetter { subject, html })))
}

fn committing<S: Session>(writing: &[String], now: Timestamp, lease: Duration) -> Vec<Statement> {
    if writing.is_empty() || crash_points::is_sabotaged(Sabotage::NoWriteAhead) {
        return Vec::new();
    }
    let time = S::TIME;
    let sql = format!(
        "UPDATE attempts SET state = 'writing', written_at = $2{time}, lease_until = $3{time}, tries = tries + 1 \
         WHERE {}",
        S::among("id", 1)
    );
    vec![Statement::new(sql, params![writing.to_vec(), now, now.after(lease)])]
}

/// Due again, at a time, with a new slot then.
async fn back<S: Session>(
    session: &mut S,
    row: &Cells,
    due_at: Timestamp,
    gate: Option<&'static str>,
) -> Result<(), sqlx::Error> {
    let sql = format!(
        "UPDATE attempts SET state = 'due', due_at = $2{}, held = $3{}, holder = NULL, lease_until = NULL, \
         send_at = NULL WHERE id = $1",
        S::TIME,
        S::TEXT
    );
    session.execute(&sql, params![row.text("id")?, due_at, gate]).await.map(|_| ())
}

/// Holds an attempt that its process could not commit.
pub(in crate::backend) async fn set_aside<S: Session>(
    session: &mut S,
    id: AttemptId,
    holder: &str,
    lasts: Duration,
) -> Result<(), sqlx::Error> {
    let sql = format!(
        "UPDATE attempts SET state = 'due', due_at = {}, held = 'store', holder = NULL, lease_until = NULL, \
         send_at = NULL WHERE id = $1 AND state = 'claimed' AND holder = $2",
        S::later(S::NOW, lasts)
    );
    session.execute(&sql, params![id.to_string(), holder]).await.map(|_| ())
}

async fn end<S: Session>(
    session: &mut S,
    row: &Cells,
    state: &str,
    reason: &'static str,
) -> Result<Written, sqlx::Error> {
    let sql = format!(
        "UPDATE attempts SET state = $2, reason = $3, held = NULL, holder = NULL, lease_until = NULL, \
         settled_at = {} WHERE id = $1",
        S::NOW
    );
    session.execute(&sql, params![row.text("id")?, state, reason]).await?;
    Ok(Written::Ended(reason))
}
