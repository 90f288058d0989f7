//! What was sent lately, which limits ask: to a recipient in the last hour, and by the deployment on a day.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::backend::sql::session::{Cells, Session, Statement, malformed, params};
use crate::clock::Timestamp;
use crate::dispatch::Channel;
use crate::labels::Label as _;

/// The window of the limit per recipient.
const RECIPIENT_WINDOW: Duration = Duration::from_secs(3600);
/// Most messages that are looked at for it.
const MOST_RECENT: u32 = 10_000;

/// When a recipient was reached in the last hour, the newest first.
#[derive(Default)]
pub(super) struct Recent {
    pub(super) all: Vec<Timestamp>,
    pub(super) calls: Vec<Timestamp>,
}

/// Reads when these addresses were reached in the last hour. An attempt that is due again, or ended as such, sent nothing.
pub(super) fn reading_recent<S: Session>(to_hashes: Vec<String>) -> Statement {
    let sql = format!(
        "SELECT to_hash, channel, {} FROM attempts WHERE {} AND written_at > {} \
         AND state NOT IN ('due', 'claimed', 'refused', 'expired', 'cancelled') ORDER BY attempts.written_at DESC LIMIT {MOST_RECENT}",
        S::time("written_at"),
        S::among("to_hash", 1),
        S::earlier(&S::clock(), RECIPIENT_WINDOW)
    );
    Statement::new(sql, params![to_hashes])
}

/// What that has returned, by address.
pub(super) fn recent(rows: &[Cells]) -> Result<BTreeMap<String, Recent>, sqlx::Error> {
    let mut recent: BTreeMap<String, Recent> = BTreeMap::new();
    for row in rows {
        let at = row.time("written_at")?.ok_or_else(|| malformed("written_at"))?;
        let of = recent.entry(row.text("to_hash")?).or_default();
        of.all.push(at);
        if row.parsed("channel", Channel::parse)? == Channel::Call {
            of.calls.push(at);
        }
    }
    Ok(recent)
}

pub(super) fn day(now: Timestamp) -> String {
    now.to_string()[..10].to_owned()
}

/// Reads what the deployment has sent, by day: of each account its last one.
pub(super) fn reading_days() -> Statement {
    let sql =
        "SELECT day, CAST(sum(day_count) AS bigint) AS sent FROM sending_accounts GROUP BY day";
    Statement::new(sql, params![])
}

/// What of that was sent on the day of this time.
pub(super) fn today(rows: &[Cells], now: Timestamp) -> Result<u64, sqlx::Error> {
    let day = day(now);
    for row in rows {
        if row.optional("day")?.as_ref() == Some(&day) {
            return row.count("sent");
        }
    }
    Ok(0)
}
