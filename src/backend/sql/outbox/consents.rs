//! The log of consents, in a transaction of either database: who has agreed to be sent marketing.

use std::collections::{BTreeMap, BTreeSet};

use super::purpose;
use super::state::wait_for_writes;
use crate::backend::outbox::{Agreement, ConsentEntry, NewConsent, ROWS_PER_PAGE};
use crate::backend::purge::ROWS_PER_STEP;
use crate::backend::sql::session::{Cells, Session, malformed, params};
use crate::clock::Timestamp;
use crate::dispatch::{Purpose, consent};
use crate::twilio::privacy::{Class, Privacy};

/// The one purpose that takes consent.
const PURPOSE: &str = Purpose::Marketing.as_str();

/// Adds entries to the log, those excepted that are there; returns how many were added. What is written after something
/// was withdrawn has seen it.
pub(in crate::backend) async fn add<S: Session>(
    session: &mut S,
    entries: &[NewConsent],
) -> Result<u64, sqlx::Error> {
    if entries.iter().any(|entry| entry.agreement == Agreement::Withdrawn) {
        wait_for_writes(session).await?;
    }
    let now = session.now().await?;
    let mut added = 0;
    for entry in entries {
        added += append(session, entry, now).await?;
    }
    Ok(added)
}

async fn append<S: Session>(
    session: &mut S,
    entry: &NewConsent,
    now: Timestamp,
) -> Result<u64, sqlx::Error> {
    let (given, shown) = match &entry.agreement {
        Agreement::Given(shown) => (S::TRUE, Some(shown.as_str())),
        Agreement::Withdrawn => (S::FALSE, None),
    };
    let (text, time) = (S::TEXT, S::TIME);
    let sql = format!(
        "INSERT INTO consents (to_hash, \"to\", purpose, given, source, shown, at, stored_at) \
         SELECT $1{text}, $2{text}, $3{text}, {given}, $4{text}, $5{text}, $6{time}, $7{time} \
         WHERE NOT EXISTS (SELECT 1 FROM consents WHERE to_hash = $1{text} AND purpose = $3{text} AND at = $6{time} \
         AND given = {given} AND source = $4{text} AND coalesce(shown, '') = coalesce($5{text}, ''))"
    );
    let at = entry.at.map_or(now, |at| at.min(now));
    let (to_hash, to, source) = (entry.to_hash.as_str(), entry.to.as_str(), entry.source.as_str());
    session.execute(&sql, params![to_hash, to, PURPOSE, source, shown, at, now]).await
}

/// Those of these addresses, by hash, whose consent holds.
pub(in crate::backend) async fn holding<S: Session>(
    session: &mut S,
    hashes: Vec<String>,
) -> Result<BTreeSet<String>, sqlx::Error> {
    if hashes.is_empty() {
        return Ok(BTreeSet::new());
    }
    let sql = format!(
        "SELECT to_hash, given, {} AS at FROM consents WHERE {} AND purpose = $2 GROUP BY to_hash, given",
        S::time_of("max(at)"),
        S::among("to_hash", 1)
    );
    let mut latest: BTreeMap<String, [Option<Timestamp>; 2]> = BTreeMap::new();
    for row in session.rows(&sql, params![hashes, PURPOSE]).await? {
        let place = usize::from(row.number("given")? == 0);
        latest.entry(row.text("to_hash")?).or_default()[place] = row.time("at")?;
    }
    let mut latest: Vec<_> = latest.into_iter().collect();
    latest.retain(|(_, [given, withdrawn])| consent::holds(*given, *withdrawn));
    Ok(latest.into_iter().map(|(hash, _)| hash).collect())
}

/// The addresses of attempts that are marketing, by hash.
pub(super) fn marketed(rows: &[Cells]) -> Result<Vec<String>, sqlx::Error> {
    let mut hashes = BTreeSet::new();
    for row in rows {
        if purpose(row, "purpose")? == Purpose::Marketing {
            hashes.insert(row.text("to_hash")?);
        }
    }
    Ok(hashes.into_iter().collect())
}

/// The addresses of recipients of a campaign, by hash.
pub(super) fn asked_of(recipients: &[Cells]) -> Result<Vec<String>, sqlx::Error> {
    let mut hashes = Vec::new();
    for recipient in recipients {
        hashes.push(recipient.text("to_hash")?);
        hashes.extend(recipient.optional("email_hash")?);
    }
    Ok(hashes)
}

/// Whether a recipient of a campaign has agreed, at each of its addresses: a route may reach any of them.
pub(super) fn has_agreed(
    consenting: &BTreeSet<String>,
    recipient: &Cells,
) -> Result<bool, sqlx::Error> {
    let hashes = asked_of(std::slice::from_ref(recipient))?;
    Ok(hashes.iter().all(|hash| consenting.contains(hash)))
}

/// The latest entries of an address, by when they were said.
pub(in crate::backend) async fn of<S: Session>(
    session: &mut S,
    to_hash: &str,
) -> Result<Vec<ConsentEntry>, sqlx::Error> {
    let sql = format!(
        "SELECT \"to\", to_hash, given, source, shown, {}, {} FROM consents WHERE to_hash = $1 AND purpose = $2 \
         ORDER BY consents.at DESC, given, id DESC LIMIT {ROWS_PER_PAGE}",
        S::time("at"),
        S::time("stored_at")
    );
    let rows = session.rows(&sql, params![to_hash, PURPOSE]).await?;
    rows.iter().map(entry).collect()
}

fn entry(row: &Cells) -> Result<ConsentEntry, sqlx::Error> {
    let time = |column| row.time(column)?.ok_or_else(|| malformed(column));
    let agreement = match row.number("given")? {
        0 => Agreement::Withdrawn,
        _ => Agreement::Given(row.text("shown")?),
    };
    Ok(ConsentEntry {
        to: row.optional("to")?,
        to_hash: row.text("to_hash")?,
        agreement,
        source: row.text("source")?,
        at: time("at")?,
        stored_at: time("stored_at")?,
    })
}

/// Reduces the addresses of a page of entries to what may be kept; how many they were. An address is found by its hash.
pub(super) async fn treat<S: Session>(
    session: &mut S,
    privacy: &Privacy,
) -> Result<u64, sqlx::Error> {
    let sql = format!(
        "SELECT id, \"to\" FROM consents WHERE NOT treated AND \"to\" IS NOT NULL ORDER BY id LIMIT {ROWS_PER_STEP}{}",
        S::SKIP_LOCKED
    );
    let rows = session.rows(&sql, Vec::new()).await?;
    let sql = format!("UPDATE consents SET \"to\" = $2, treated = {} WHERE id = $1", S::TRUE);
    for row in &rows {
        let to = privacy.value(Class::Numbers, &row.text("to")?);
        session.execute(&sql, params![row.number("id")?, to]).await?;
    }
    Ok(rows.len() as u64)
}
