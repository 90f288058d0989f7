//! What was sent lately, which limits ask: to a recipient in the last hour, and by the deployment on a day.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::backend::sql::session::{Session, malformed, params};
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

/// When these addresses were reached in the last hour. An attempt that is due again, or ended as such, sent nothing.
pub(super) async fn recent<S: Session>(
    session: &mut S,
    to_hashes: Vec<String>,
    now: Timestamp,
) -> Result<BTreeMap<String, Recent>, sqlx::Error> {
    let sql = format!(
        "SELECT to_hash, channel, {} FROM attempts WHERE {} AND written_at > $2{} \
         AND state NOT IN ('due', 'claimed', 'refused', 'expired', 'cancelled') ORDER BY attempts.written_at DESC LIMIT {MOST_RECENT}",
        S::time("written_at"),
        S::among("to_hash", 1),
        S::TIME
    );
    let since = now.before(RECIPIENT_WINDOW);
    let mut recent: BTreeMap<String, Recent> = BTreeMap::new();
    for row in session.rows(&sql, params![to_hashes, since]).await? {
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

/// What the deployment has sent on a day.
pub(super) async fn today<S: Session>(session: &mut S, day: &str) -> Result<u64, sqlx::Error> {
    let sql = "SELECT CAST(sum(day_count) AS bigint) AS sent FROM sending_accounts WHERE day = $1";
    session.row(sql, params![day]).await?.map_or(Ok(0), |row| row.count("sent"))
}
