//! What holds senders, accounts and everything; what the deployment is.

use super::answer;
use crate::backend::outbox::{AccountState, Identity, SenderState, SendingState};
use crate::backend::sql::session::{Cells, Session, Statement, params};

/// What the store remembers of the deployment. `secret`: kept if it has none yet.
pub(in crate::backend) async fn identity<S: Session>(
    session: &mut S,
    secret: &str,
) -> Result<Identity, sqlx::Error> {
    let sql = format!(
        "INSERT INTO outbox (one, secret) VALUES ({}, $1) ON CONFLICT (one) DO NOTHING",
        S::TRUE
    );
    session.execute(&sql, params![secret]).await?;
    let sql = "SELECT secret, suppression, identity, held FROM outbox";
    let row = session.row(sql, params![]).await?.ok_or(sqlx::Error::RowNotFound)?;
    Ok(Identity {
        secret: row.text("secret")?,
        suppression: row.optional("suppression")?,
        identity: row.optional("identity")?,
        held: row.optional("held")?,
    })
}

/// Makes this the deployment that the store sends for, and returns whether that lets it send: what a person held before
/// stays held.
pub(in crate::backend) async fn adopt<S: Session>(
    session: &mut S,
    identity: &str,
    suppression: &str,
) -> Result<bool, sqlx::Error> {
    let sql = "UPDATE outbox SET identity = $1, suppression = $2";
    session.execute(sql, params![identity, suppression]).await?;
    let sql = "UPDATE outbox SET held = held_before, held_before = NULL WHERE held = 'adopt' RETURNING held";
    let adopted = session.row(sql, params![]).await?;
    let goes_on =
        adopted.map_or(Ok(false), |row| row.optional("held").map(|held| held.is_none()))?;
    if goes_on {
        release(session, "held = 'deployment'", "").await?;
    }
    Ok(goes_on)
}

/// Holds everything, or lets it go on, and returns how many attempts are in writing. Waits for commits to writing. What
/// waits to be adopted is not let go on, nor forgotten for what a person holds besides.
pub(in crate::backend) async fn hold_all<S: Session>(
    session: &mut S,
    why: Option<&str>,
) -> Result<u64, sqlx::Error> {
    match why {
        Some("adopt") => {
            let sql = format!(
                "UPDATE outbox SET held_before = held, held = 'adopt', held_at = {} \
                 WHERE held IS NULL OR held <> 'adopt'",
                S::NOW
            );
            session.execute(&sql, params![]).await?;
        }
        Some(why) => {
            let sql = format!(
                "UPDATE outbox SET held_before = CASE WHEN held = 'adopt' THEN $1 END, \
                 held = CASE WHEN held = 'adopt' THEN held ELSE $1 END, held_at = {}",
                S::NOW
            );
            session.execute(&sql, params![why]).await?;
        }
        None => {
            let sql = "UPDATE outbox SET held = NULL, held_at = NULL WHERE held <> 'adopt'";
            if session.execute(sql, params![]).await? > 0 {
                release(session, "held = 'deployment'", "").await?;
            }
        }
    }
    in_writing(session, "1 = 1", "").await
}

/// Reads why nothing is sent, and locks that: who holds everything waits for what this transaction writes.
pub(super) fn reading_held<S: Session>() -> Statement {
    Statement::new(format!("SELECT held FROM outbox{}", S::FOR_SHARE), params![])
}

/// What that has returned; `None` if nothing is held.
pub(super) fn as_held(rows: &[Cells]) -> Result<Option<String>, sqlx::Error> {
    rows.first().map_or(Ok(None), |row| row.optional("held"))
}

async fn in_writing<S: Session>(
    session: &mut S,
    condition: &str,
    param: &str,
) -> Result<u64, sqlx::Error> {
    let sql =
        format!("SELECT count(*) AS writing FROM attempts WHERE state = 'writing' AND {condition}");
    let params = if param.is_empty() { params![] } else { params![param] };
    session.row(&sql, params).await?.map_or(Ok(0), |row| row.count("writing"))
}

/// Lets go on what a gate holds that is open now.
pub(super) async fn release<S: Session>(
    session: &mut S,
    condition: &str,
    param: &str,
) -> Result<(), sqlx::Error> {
    let sql = format!(
        "UPDATE attempts SET due_at = {}, held = NULL \
         WHERE id IN (SELECT id FROM attempts WHERE state = 'due' AND {condition} ORDER BY id{})",
        S::NOW,
        S::FOR_UPDATE
    );
    let params = if param.is_empty() { params![] } else { params![param] };
    session.execute(&sql, params).await.map(|_| ())
}

/// Pauses a sender, and returns how many of its attempts are in writing.
pub(in crate::backend) async fn pause<S: Session>(
    session: &mut S,
    sender: &str,
    why: &str,
) -> Result<u64, sqlx::Error> {
    answer::pause(session, sender, why).await?;
    in_writing(session, "sender = $1", sender).await
}

/// Lets a sender and its account go on.
pub(in crate::backend) async fn resume<S: Session>(
    session: &mut S,
    sender: &str,
    account: &str,
) -> Result<bool, sqlx::Error> {
    // Both wait for commits to writing: what one of those holds back is let go on as well.
    let sql = "UPDATE senders SET paused = NULL, paused_at = NULL, unlisted = 0, cooldown_until = NULL, cooldown_ms = 0 \
               WHERE name = $1 AND (paused IS NOT NULL OR cooldown_until IS NOT NULL)";
    let senders = session.execute(sql, params![sender]).await?;
    let sql = "UPDATE sending_accounts SET paused = NULL, paused_at = NULL, cooldown_until = NULL, failures = 0 \
               WHERE account = $1 AND (paused IS NOT NULL OR cooldown_until IS NOT NULL)";
    let accounts = session.execute(sql, params![account]).await?;
    release(session, "held = 'sender' AND sender = $1", sender).await?;
    release(session, "held = 'account' AND account = $1", account).await?;
    Ok(accounts + senders > 0)
}

/// What is due, claimed, in writing or unknown: each by its index, so that what is settled is not read.
fn open() -> String {
    // Leases have those that are claimed or in writing, and only those.
    ["state = 'due'", "lease_until IS NOT NULL", "state = 'unknown'"]
        .map(|of| format!("SELECT sender, state, held, due_at, look_at FROM attempts WHERE {of}"))
        .join(" UNION ALL ")
}

/// Everything that holds senders, with their counts. A sender without a row and without attempts is left out.
pub(in crate::backend) async fn sending<S: Session>(
    session: &mut S,
) -> Result<SendingState, sqlx::Error> {
    let held = session.row("SELECT held FROM outbox", params![]).await?;
    let held = held.map(|row| row.optional("held")).transpose()?.flatten();
    let sql = format!(
        "SELECT name, paused, {}, {} FROM senders ORDER BY name",
        S::time("paused_at"),
        S::time("cooldown_until")
    );
    let sender = |row: &Cells| {
        Ok(SenderState {
            name: row.text("name")?,
            paused: row.optional("paused")?,
            paused_at: row.time("paused_at")?,
            cooldown_until: row.time("cooldown_until")?,
            ..SenderState::default()
        })
    };
    let rows = session.rows(&sql, params![]).await?;
    let mut senders = rows.iter().map(sender).collect::<Result<Vec<_>, sqlx::Error>>()?;
    let sql = format!(
        "SELECT sender, sum(CASE WHEN state IN ('due', 'claimed') THEN 1 ELSE 0 END) AS due, \
         sum(CASE WHEN state = 'due' AND held IS NOT NULL AND due_at > {now} THEN 1 ELSE 0 END) AS held, \
         sum(CASE WHEN state = 'writing' THEN 1 ELSE 0 END) AS writing, \
         sum(CASE WHEN state = 'unknown' THEN 1 ELSE 0 END) AS unknown, \
         sum(CASE WHEN state = 'unknown' AND look_at IS NOT NULL THEN 1 ELSE 0 END) AS sought, {oldest} AS oldest_due \
         FROM ({open}) AS open GROUP BY sender ORDER BY sender",
        now = S::NOW,
        open = open(),
        oldest = S::time_of(&format!(
            "min(CASE WHEN state = 'due' AND due_at <= {} THEN due_at END)",
            S::NOW
        )),
    );
    for row in session.rows(&sql, params![]).await? {
        let name = row.text("sender")?;
        let at = senders.iter().position(|sender| sender.name == name).unwrap_or_else(|| {
            senders.push(SenderState { name, ..SenderState::default() });
            senders.len() - 1
        });
        let sender = &mut senders[at];
        sender.due = row.count("due")?;
        sender.held = row.count("held")?;
        sender.writing = row.count("writing")?;
        sender.unknown = row.count("unknown")?;
        sender.sought = row.count("sought")?;
        sender.oldest_due = row.time("oldest_due")?;
    }
    let sql = format!(
        "SELECT account, paused, {}, {}, (SELECT count(*) FROM attempts AS a WHERE a.account = of.account \
         AND a.permit_until > {}) AS calls FROM sending_accounts AS of ORDER BY account",
        S::time("paused_at"),
        S::time("cooldown_until"),
        S::NOW
    );
    let account = |row: &Cells| {
        Ok(AccountState {
            account: row.text("account")?,
            paused: row.optional("paused")?,
            paused_at: row.time("paused_at")?,
            cooldown_until: row.time("cooldown_until")?,
            calls: row.count("calls")?,
        })
    };
    let rows = session.rows(&sql, params![]).await?;
    let accounts = rows.iter().map(account).collect::<Result<_, sqlx::Error>>()?;
    Ok(SendingState { held, senders, accounts })
}

/// Waits for commits to writing, which hold the row of the outbox: what is written after this transaction has seen what
/// it did.
pub(super) async fn wait_for_writes<S: Session>(session: &mut S) -> Result<(), sqlx::Error> {
    session.row(&format!("SELECT one FROM outbox{}", S::FOR_UPDATE), params![]).await.map(|_| ())
}
