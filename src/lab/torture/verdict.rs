//! [`Verdict`]: the store compared with the ledger.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};

use serde::Serialize;
use sqlx::postgres::PgConnection;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, Executor as _};

use super::ledger::LedgerSummary;
use crate::backend::{BackendError, StoredEvent, postgres, sqlite};
use crate::event::CurrentStatus;
use crate::twilio::details::EventDetails;

/// Four figures, which must all be 0.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize)]
pub(super) struct Verdict {
    pub(super) stored: usize,
    /// Acked and not stored.
    pub(super) lost: usize,
    /// Keys that are stored more than once.
    pub(super) doubled: usize,
    /// Statuses that differ from the merge of the events that are stored.
    pub(super) wrong: usize,
    /// Stored and never sent.
    pub(super) extra: usize,
}

impl Verdict {
    pub(super) fn of(summary: &LedgerSummary, contents: &Contents) -> Self {
        let mut counts: HashMap<&str, usize> = HashMap::new();
        for key in &contents.keys {
            *counts.entry(key).or_default() += 1;
        }
        Self {
            stored: counts.len(),
            lost: summary.acked.iter().filter(|key| !counts.contains_key(key.as_str())).count(),
            doubled: counts.values().filter(|count| **count > 1).count(),
            wrong: wrong(&contents.events, &contents.statuses),
            extra: counts.keys().filter(|key| !summary.sent.contains(**key)).count(),
        }
    }
}

/// By the law as the program has it; the store of the scale-out mode has it in SQL.
fn wrong(events: &[StoredEvent], statuses: &[CurrentStatus]) -> usize {
    let mut expected: BTreeMap<String, CurrentStatus> = BTreeMap::new();
    for row in events.iter().filter_map(|stored| EventDetails::of(&stored.event).current) {
        let merged = match expected.remove(&row.sid) {
            Some(other) => other.merge(row),
            None => row,
        };
        expected.insert(merged.sid.clone(), merged);
    }
    let right = statuses.iter().filter(|row| expected.get(&row.sid) == Some(row)).count();
    // One that is there and wrong, or should not be, and one that is missing.
    let missing = expected.len() - right;
    missing.max(statuses.len() - right)
}

/// What is stored.
#[derive(Debug, Default)]
pub(super) struct Contents {
    /// Read without an index, so that no index hides a second row.
    pub(super) keys: Vec<String>,
    pub(super) events: Vec<StoredEvent>,
    pub(super) statuses: Vec<CurrentStatus>,
}

/// Where it is stored.
#[derive(Clone, Debug)]
pub(super) enum Store {
    Sqlite(PathBuf),
    Postgres(String),
}

impl Store {
    /// The keys, as often as they are there.
    pub(super) async fn keys(&self) -> sqlx::Result<Vec<String>> {
        match self {
            Self::Sqlite(path) => {
                let mut connection = open(path).await?;
                let keys = sqlx::query_scalar("SELECT key FROM events NOT INDEXED");
                keys.fetch_all(&mut connection).await
            }
            Self::Postgres(url) => {
                let mut connection = PgConnection::connect(url).await?;
                for scan in ["indexscan", "indexonlyscan", "bitmapscan"] {
                    let off = format!("SET enable_{scan} = off");
                    connection.execute(sqlx::AssertSqlSafe(off)).await?;
                }
                sqlx::query_scalar("SELECT key FROM events").fetch_all(&mut connection).await
            }
        }
    }

    /// All of it.
    pub(super) async fn contents(&self) -> Result<Contents, BackendError> {
        let keys = self.keys().await?;
        let (events, statuses) = match self {
            Self::Sqlite(path) => {
                let query = sqlite::Query::of_file(path);
                (query.all_events().await?, query.all_statuses().await?)
            }
            Self::Postgres(url) => {
                let postgres = postgres::Postgres::new(url)?;
                let query = postgres::Query::new(postgres.clone());
                let (events, statuses) = (query.all_events().await, query.all_statuses().await);
                postgres.close().await;
                (events?, statuses?)
            }
        };
        Ok(Contents { keys, events, statuses })
    }
}

/// Whether all of these are among the keys.
pub(super) fn holds(keys: &[String], wanted: &HashSet<String>) -> bool {
    let keys: HashSet<&str> = keys.iter().map(String::as_str).collect();
    wanted.iter().all(|key| keys.contains(key.as_str()))
}

/// What `PRAGMA integrity_check` says of a file that is not being written.
pub(super) async fn integrity(path: &Path) -> sqlx::Result<String> {
    sqlx::query_scalar("PRAGMA integrity_check").fetch_one(&mut open(path).await?).await
}

async fn open(path: &Path) -> sqlx::Result<sqlx::SqliteConnection> {
    SqliteConnectOptions::new().filename(path).connect().await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::event::{Event, EventKey, Kind, Resource};

    fn stored(status: &str) -> StoredEvent {
        let event = Event {
            sid: Some("CA1".into()),
            resource: Some(Resource::Call),
            status: Some(status.into()),
            received_at: Timestamp::from_micros(1),
            body: format!("CallSid=CA1&CallStatus={status}").into(),
            ..Event::new(EventKey::of(&["CA1", status]).unwrap(), Kind::Call, "AC1")
        };
        StoredEvent { event, params: String::new(), own: None }
    }

    fn summary(sent: &[&str], acked: &[&str]) -> LedgerSummary {
        let set = |keys: &[&str]| keys.iter().map(|&key| key.to_owned()).collect();
        LedgerSummary { sent: set(sent), acked: set(acked) }
    }

    /// LOST, DOUBLED, WRONG, EXTRA.
    fn check(
        summary: &LedgerSummary,
        stored: &[&StoredEvent],
        status: &StoredEvent,
        expected: [usize; 4],
    ) {
        let contents = Contents {
            keys: stored.iter().map(|stored| stored.event.key.to_string()).collect(),
            events: stored.iter().copied().cloned().collect(),
            statuses: EventDetails::of(&status.event).current.into_iter().collect(),
        };
        let Verdict { lost, doubled, wrong, extra, .. } = Verdict::of(summary, &contents);
        assert_eq!([lost, doubled, wrong, extra], expected);
    }

    #[test]
    fn each_figure_finds_what_it_is_for() {
        let (ringing, completed) = (stored("ringing"), stored("completed"));
        let keys = ["CA1-ringing", "CA1-completed"];
        let all = [&ringing, &completed];
        check(&summary(&keys, &keys), &all, &completed, [0, 0, 0, 0]);
        check(&summary(&keys, &keys), &all[1..], &completed, [1, 0, 0, 0]);
        check(&summary(&keys, &[]), &all[1..], &completed, [0, 0, 0, 0]);
        check(&summary(&keys, &keys), &[&ringing, &ringing, &completed], &completed, [0, 1, 0, 0]);
        check(&summary(&keys, &keys), &all, &ringing, [0, 0, 1, 0]);
        check(&summary(&keys[..1], &keys[..1]), &all, &completed, [0, 0, 0, 1]);
    }
}
