//! The log of suppressions, in a transaction of either database: who must not be reached.

use std::collections::{BTreeMap, BTreeSet};

use secrecy::SecretString;

use super::state::{identity, wait_for_writes};
use crate::backend::outbox::{NewSuppression, Suppression, new_secret};
use crate::backend::sql::session::{Cells, Session, Statement, malformed, params};
use crate::clock::Timestamp;
use crate::dispatch::suppression::{self, Latest, Source};
use crate::event::consent::{AddressKey, Consent, SaidBy, Whose, Wish, addresses};
use crate::event::{Batch, Event, Kind};
use crate::labels::Label as _;
use crate::sendgrid::kind;
use crate::twilio::consent;
use crate::twilio::params::Params;

/// Adds entries to the log. What is written later has seen them.
pub(in crate::backend) async fn suppress<S: Session>(
    session: &mut S,
    entries: &[NewSuppression],
) -> Result<(), sqlx::Error> {
    wait_for_writes(session).await?;
    let now = session.now().await?;
    for entry in entries {
        append(session, entry, now).await?;
    }
    Ok(())
}

/// Adds stops of an imported list, one for each address, those excepted of addresses that a person has stopped already: a
/// list may be imported again. Returns how many were added.
pub(in crate::backend) async fn import<S: Session>(
    session: &mut S,
    entries: &[NewSuppression],
) -> Result<u64, sqlx::Error> {
    let hashes: Vec<String> = entries.iter().map(|entry| entry.to_hash.clone()).collect();
    let in_force = in_force(session, hashes).await?;
    let mut seen = BTreeSet::new();
    let is_new = |entry: &&NewSuppression| {
        let known = in_force.get(&entry.to_hash).and_then(|stop| stop.source);
        !matches!(known, Some(Source::Hand | Source::Import)) && seen.insert(entry.to_hash.clone())
    };
    let new: Vec<NewSuppression> = entries.iter().filter(is_new).cloned().collect();
    suppress(session, &new).await?;
    Ok(new.len() as u64)
}

/// Adds what fresh events of a batch say, in the transaction that stores them. It neither waits for a commit to writing
/// nor can it conflict with anything, lest a callback be lost for it: a commit to writing that has read the log before
/// this is committed is ahead of it. Without such an event, no statement runs.
pub(in crate::backend) async fn hear<S: Session>(
    session: &mut S,
    batch: &Batch,
    fresh: &[bool],
) -> Result<(), sqlx::Error> {
    let events = batch.events().iter().zip(fresh).filter(|(_, fresh)| **fresh);
    let said = events.filter_map(|(event, _)| Some((event, event.consent.as_ref()?)));
    let said: Vec<(&Event, &Consent)> = said.collect();
    if said.is_empty() {
        return Ok(());
    }
    let (now, mut key) = (session.now().await?, None::<AddressKey>);
    for (event, consent) in said {
        if let (Whose::Number(_) | Whose::Email(_), None) = (&consent.whose, &key) {
            key = Some(own_key(session).await?);
        }
        let hashes: Vec<String> = match (&consent.whose, &key) {
            (Whose::Hashes(hashes), _) => hashes.to_vec(),
            (Whose::EmailHash(hash), _) => vec![hash.clone()],
            (Whose::Number(number), Some(key)) => key.addresses(number).to_vec(),
            (Whose::Email(address), Some(key)) => vec![key.address(address)],
            (Whose::Number(_) | Whose::Email(_), None) => Vec::new(),
        };
        // As `[privacy]` has left it: a hash, a mask or nothing is no address.
        let kept = match event.kind {
            Kind::Email => vec![kind::recipient(&event.body)],
            _ => {
                let from = Params::parse(&event.body);
                let number = from.get("From").and_then(|from| consent::number(&from));
                number.map_or([None, None], |number| addresses(&number).map(Some)).to_vec()
            }
        };
        for (to, to_hash) in kept.into_iter().zip(hashes) {
            let (stop, source) = (consent.wish == Wish::Stop, source(consent.by));
            let entry = NewSuppression { to, to_hash, stop, source };
            append(session, &entry, said_at(event).min(now)).await?;
        }
    }
    Ok(())
}

/// The key of hashes where none is configured: a secret of the store. If it has none yet, it makes one, as what sends does.
async fn own_key<S: Session>(session: &mut S) -> Result<AddressKey, sqlx::Error> {
    let identity = identity(session, &new_secret()).await?;
    Ok(AddressKey::new(&SecretString::from(identity.secret)))
}

/// When a recipient said it, by the clock of who received it, which cannot be ahead: a START from the future could never be
/// taken back. An email event may be received a day later than another that was said after it, so it counts by its own time.
fn said_at(event: &Event) -> Timestamp {
    let own = event.occurred_at.filter(|_| event.kind == Kind::Email);
    own.unwrap_or(event.received_at).min(event.received_at)
}

fn source(by: SaidBy) -> Source {
    match by {
        SaidBy::OptOutType => Source::OptOutType,
        SaidBy::Word => Source::StopWord,
        SaidBy::Unsubscribe => Source::Unsubscribe,
        SaidBy::Complaint => Source::Complaint,
        SaidBy::Bounce => Source::Bounce,
    }
}

async fn append<S: Session>(
    session: &mut S,
    entry: &NewSuppression,
    at: Timestamp,
) -> Result<(), sqlx::Error> {
    let stop = if entry.stop { S::TRUE } else { S::FALSE };
    let sql = format!(
        "INSERT INTO suppressions (to_hash, \"to\", stop, source, at) VALUES ($1, $2{}, {stop}, $3, $4{})",
        S::TEXT,
        S::TIME
    );
    let params = params![entry.to_hash.as_str(), entry.to.as_deref(), entry.source.as_str(), at];
    session.execute(&sql, params).await.map(|_| ())
}

/// The entry that stops messages to each of these addresses; an address without one is left out.
pub(super) async fn in_force<S: Session>(
    session: &mut S,
    hashes: Vec<String>,
) -> Result<BTreeMap<String, Latest>, sqlx::Error> {
    let Statement { sql, params } = reading::<S>(hashes);
    latest(&session.rows(&sql, params).await?)
}

/// Reads what was said about these addresses.
pub(super) fn reading<S: Session>(hashes: Vec<String>) -> Statement {
    // A few rows of each address, however often a recipient has said STOP and START.
    let sql = format!(
        "SELECT to_hash, source, stop, max(id) AS id, {} AS at FROM suppressions WHERE {} \
         GROUP BY to_hash, source, stop ORDER BY to_hash",
        S::time_of("max(at)"),
        S::among("to_hash", 1)
    );
    Statement::new(sql, params![hashes])
}

/// Which of them are suppressed, by what that has returned.
pub(super) fn latest(rows: &[Cells]) -> Result<BTreeMap<String, Latest>, sqlx::Error> {
    let mut entries: BTreeMap<String, Vec<Latest>> = BTreeMap::new();
    for row in rows {
        entries.entry(row.text("to_hash")?).or_default().push(Latest {
            source: Source::parse(&row.text("source")?),
            stop: row.number("stop")? != 0,
            id: row.number("id")?,
            at: row.time("at")?.ok_or_else(|| malformed("at"))?,
        });
    }
    let stop = |(hash, entries): (String, Vec<Latest>)| {
        Some((hash, suppression::in_force(&entries)?.clone()))
    };
    Ok(entries.into_iter().filter_map(stop).collect())
}

/// A page of the addresses that are suppressed, by hash, and where the next page goes on, if there is one. It may have
/// fewer than `limit`: those that are lifted are left out.
pub(in crate::backend) async fn suppressions<S: Session>(
    session: &mut S,
    after: &str,
    limit: u32,
) -> Result<(Vec<Suppression>, Option<String>), sqlx::Error> {
    let sql = format!(
        "SELECT DISTINCT to_hash FROM suppressions WHERE to_hash > $1 AND stop ORDER BY to_hash LIMIT {limit}"
    );
    let rows = session.rows(&sql, params![after]).await?;
    let hashes: Vec<String> =
        rows.iter().map(|row| row.text("to_hash")).collect::<Result<_, _>>()?;
    let next = hashes.last().filter(|_| hashes.len() == limit as usize).cloned();
    let in_force = in_force(session, hashes).await?;
    // The row that counts, by its place.
    let sql = format!(
        "SELECT to_hash, \"to\", source, {} FROM suppressions WHERE {} AND {} ORDER BY to_hash",
        S::time("at"),
        S::among("to_hash", 1),
        S::among("CAST(id AS text)", 2)
    );
    let hashes: Vec<String> = in_force.keys().cloned().collect();
    let ids: Vec<String> = in_force.values().map(|stop| stop.id.to_string()).collect();
    let entry = |row: &Cells| {
        Ok(Suppression {
            to: row.optional("to")?,
            to_hash: row.text("to_hash")?,
            source: row.text("source")?,
            at: row.time("at")?.ok_or_else(|| malformed("at"))?,
        })
    };
    let rows = session.rows(&sql, params![hashes, ids]).await?;
    let page = rows.iter().map(entry).collect::<Result<_, sqlx::Error>>()?;
    Ok((page, next))
}
