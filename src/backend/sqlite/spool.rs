//! [`Spool`]: where events wait when the log does not take them: a SQLite file of this process.
//! A sink for the receiver, and by its [`Drainer`] a source for the pump that empties it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Connection, Row, SqliteConnection};
use tokio::sync::Notify;
use tokio::time::timeout;

use super::store::{ROWS, placeholders};
use super::writer::Writer;
use super::{Database, OpenError, SPOOL};
use crate::backend::BackendError;
use crate::event::{Batch, Event, EventKey, codec};
use crate::pipeline::{
    Claimed, CommitError, Delivery, Outcome, Settled, Sink, Source, SourceError,
};

/// How long a read waits for something new.
const BLOCK: Duration = Duration::from_secs(2);

/// What one callback may need: Twilio sends at most 64 kB.
const LARGEST: u64 = 64 * 1024;

/// How much the spool may hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bounds {
    /// Most bytes of events.
    pub max_bytes: u64,
    /// What must stay free on its disk.
    pub min_free_bytes: u64,
}

impl Bounds {
    /// What must stay free at the least. To take out what was drained, SQLite's log grows to 4 MiB,
    /// and its pages are then copied to the end of the file, which may be as much again. A disk
    /// without that room holds what is in the spool for ever. Twice that, to be sure.
    pub const LEAST_FREE: u64 = 16 * 1024 * 1024;
}

/// Events that wait for the log. Cheap to clone; all clones are one.
#[derive(Clone, Debug)]
pub struct Spool(pub(super) Arc<Inner>);

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) writer: Writer,
    database: Arc<Database>,
    directory: PathBuf,
    bounds: Bounds,
    events: AtomicU64,
    bytes: AtomicU64,
    /// Something was added.
    added: Notify,
}

/// What waits in the spool.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Fill {
    /// Events.
    pub events: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Spool {
    /// Takes a directory for this process, making it if need be, and goes on with what an earlier
    /// process left there.
    ///
    /// # Errors
    /// The directory cannot be written, or another process has it.
    pub async fn open(directory: &Path, bounds: Bounds) -> Result<Self, OpenError> {
        let database = Arc::new(Database::lock_file(directory.join("spool.db"), &SPOOL)?);
        database.migrate().await?;
        let inner = Inner {
            writer: Writer::new(Arc::clone(&database)),
            database,
            directory: directory.to_owned(),
            bounds,
            events: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            added: Notify::new(),
        };
        let spool = Self(Arc::new(inner));
        spool.count().await.map_err(|error| OpenError::Database {
            path: spool.0.database.path().to_owned(),
            error: BackendError(error.to_string()),
        })?;
        Ok(spool)
    }

    /// What waits.
    #[must_use]
    pub fn fill(&self) -> Fill {
        Fill {
            events: self.0.events.load(Ordering::Relaxed),
            bytes: self.0.bytes.load(Ordering::Relaxed),
        }
    }

    /// Whether there is room for whatever comes next, and a disk to write it to.
    ///
    /// # Errors
    /// There is not; the error says why.
    pub fn check(&self) -> Result<(), BackendError> {
        if let Some(failure) = self.0.database.failure() {
            return Err(BackendError(failure.to_owned()));
        }
        self.room_for(LARGEST).map_err(|error| BackendError(error.to_string()))
    }

    /// Whether its disk has failed, so that nothing is written to it any more.
    ///
    /// # Errors
    /// It has; the error says how.
    pub fn check_disk(&self) -> Result<(), BackendError> {
        let failure = self.0.database.failure().map(|failure| BackendError(failure.to_owned()));
        failure.map_or(Ok(()), Err)
    }

    /// The one that empties it.
    #[must_use]
    pub fn drainer(&self) -> Drainer {
        Drainer(self.clone())
    }

    fn room_for(&self, bytes: u64) -> Result<(), CommitError> {
        let Inner { bounds, directory, .. } = &*self.0;
        let held = self.0.bytes.load(Ordering::Relaxed);
        if held.saturating_add(bytes) > bounds.max_bytes {
            let cause = format!("the spool holds {held} of {} bytes", bounds.max_bytes);
            return Err(CommitError::Full(cause));
        }
        let free = rustix::fs::statvfs(directory)
            .map(|disk| disk.f_bavail.saturating_mul(disk.f_frsize))
            .map_err(|error| CommitError::Transient(format!("the spool's disk: {error}")))?;
        if free.saturating_sub(bytes) < bounds.min_free_bytes {
            let cause = format!(
                "the spool's disk has {free} bytes free, and {} must stay",
                bounds.min_free_bytes
            );
            return Err(CommitError::Full(cause));
        }
        Ok(())
    }

    /// Counts what an earlier process left.
    async fn count(&self) -> Result<(), CommitError> {
        let sql = "SELECT count(*), coalesce(sum(bytes), 0) FROM spool WHERE dead_reason IS NULL";
        let held = self.0.writer.hold().await?;
        held.run(async |connection: &mut SqliteConnection| {
            let (events, bytes): (i64, i64) = sqlx::query_as(sql).fetch_one(connection).await?;
            self.0.set_fill(events.unsigned_abs(), bytes.unsigned_abs());
            Ok(())
        })
        .await
    }
}

impl Inner {
    /// Only while the connection is held, so that no two changes cross.
    fn set_fill(&self, events: u64, bytes: u64) {
        self.events.store(events, Ordering::Relaxed);
        self.bytes.store(bytes, Ordering::Relaxed);
    }
}

impl Sink for Spool {
    /// The same event twice lies there twice, until the store makes it one.
    async fn commit(&self, batch: &Batch) -> Result<Outcome, CommitError> {
        let (events, bytes) = (batch.events().len() as u64, batch.events().iter().map(size).sum());
        self.room_for(bytes)?;
        let held = self.0.writer.hold().await?;
        held.run(async |connection: &mut SqliteConnection| {
            insert(connection, batch).await?;
            let fill = self.fill();
            self.0.set_fill(fill.events + events, fill.bytes + bytes);
            Ok(())
        })
        .await?;
        self.0.added.notify_one();
        Ok(Outcome::Appended)
    }
}

/// About what an event takes on the disk.
fn size(event: &Event) -> u64 {
    event.size() as u64
}

async fn insert(connection: &mut SqliteConnection, batch: &Batch) -> Result<(), sqlx::Error> {
    let columns = codec::FIELDS.map(|field| format!("\"{field}\"")).join(", ");
    /// Those, `traceparent` and `bytes`.
    const COLUMNS: usize = codec::FIELDS.len() + 2;
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    for events in batch.events().chunks(ROWS) {
        let values = placeholders(COLUMNS, events.len());
        let sql = format!("INSERT INTO spool ({columns}, traceparent, bytes) VALUES {values}");
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for event in events {
            let mut fields = Vec::with_capacity(codec::FIELDS.len() + 1);
            codec::encode(event, |_, value| fields.push(Some(value.to_vec())));
            fields.resize(codec::FIELDS.len() + 1, None);
            for field in fields {
                query = query.bind(field);
            }
            query = query.bind(i64::try_from(size(event)).unwrap_or(i64::MAX));
        }
        query.execute(&mut *transaction).await?;
    }
    transaction.commit().await
}

/// Reads the spool, oldest first. There is only one, so nothing is ever idle in another's hands.
#[derive(Debug)]
pub struct Drainer(Spool);

impl Drainer {
    async fn take(&self, limit: usize) -> Result<Vec<Delivery<i64>>, CommitError> {
        let sql = "SELECT * FROM spool WHERE dead_reason IS NULL ORDER BY id LIMIT ?";
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let held = self.0.0.writer.hold().await?;
        held.run(async |connection: &mut SqliteConnection| {
            let rows = sqlx::query(sql).bind(limit).fetch_all(connection).await?;
            if rows.is_empty() {
                // Right again, should an error have left it unknown.
                self.0.0.set_fill(0, 0);
            }
            rows.iter().map(delivery).collect()
        })
        .await
    }

    /// Takes rows out of what waits: for good, or to keep them aside with a reason.
    async fn settle(&self, ids: &[i64], reason: Option<&str>) -> Result<(), CommitError> {
        let sql = match reason {
            None => {
                "DELETE FROM spool WHERE id IN (SELECT value FROM json_each(?1)) RETURNING bytes"
            }
            Some(_) => {
                "UPDATE spool SET dead_reason = ?2, dead_at = unixepoch() \
                 WHERE id IN (SELECT value FROM json_each(?1)) RETURNING bytes"
            }
        };
        let ids = serde_json::to_string(ids).expect("integers always serialize");
        let held = self.0.0.writer.hold().await?;
        held.run(async |connection: &mut SqliteConnection| {
            let query = sqlx::query_scalar(sql).bind(ids);
            let sizes: Vec<i64> = match reason {
                None => query.fetch_all(connection).await?,
                Some(reason) => query.bind(reason).fetch_all(connection).await?,
            };
            let (fill, bytes) = (self.0.fill(), sizes.iter().sum::<i64>().unsigned_abs());
            let events = fill.events.saturating_sub(sizes.len() as u64);
            self.0.0.set_fill(events, fill.bytes.saturating_sub(bytes));
            Ok(())
        })
        .await
    }
}

fn delivery(row: &SqliteRow) -> Result<Delivery<i64>, sqlx::Error> {
    let event = codec::decode(fields(row)?);
    Ok(Delivery { id: row.try_get("id")?, count: 1, event })
}

/// Those of a stream entry.
pub(super) fn fields(row: &SqliteRow) -> Result<Vec<(Bytes, Bytes)>, sqlx::Error> {
    let mut fields = Vec::with_capacity(codec::FIELDS.len());
    for name in codec::FIELDS {
        let value: Vec<u8> = row.try_get(name)?;
        fields.push((Bytes::from_static(name.as_bytes()), Bytes::from(value)));
    }
    if let Some(value) = row.try_get::<Option<Vec<u8>>, _>(codec::TRACEPARENT)? {
        fields.push((Bytes::from_static(codec::TRACEPARENT.as_bytes()), Bytes::from(value)));
    }
    Ok(fields)
}

fn failed(error: CommitError) -> SourceError {
    SourceError(error.to_string())
}

impl Source for Drainer {
    type Id = i64;

    async fn read(&mut self, limit: usize) -> Result<Vec<Delivery<i64>>, SourceError> {
        if self.0.fill().events == 0 {
            let _ = timeout(BLOCK, self.0.0.added.notified()).await;
        }
        self.take(limit).await.map_err(failed)
    }

    async fn claim(&mut self, _: usize) -> Result<Claimed<i64>, SourceError> {
        Ok(Claimed { deliveries: Vec::new(), vanished: 0 })
    }

    async fn marked(&mut self, keys: &[EventKey]) -> Result<Vec<bool>, SourceError> {
        Ok(vec![false; keys.len()])
    }

    async fn ack(&mut self, settled: &Settled<i64>) -> Result<(), SourceError> {
        let ids: Vec<i64> = settled.entries().iter().map(|(id, _)| *id).collect();
        self.settle(&ids, None).await.map_err(failed)
    }

    async fn dead_letter(&mut self, id: &i64, _: u32, reason: &str) -> Result<(), SourceError> {
        self.settle(&[*id], Some(reason)).await.map_err(failed)
    }

    async fn renew(&mut self, _: &[i64]) -> Result<(), SourceError> {
        Ok(())
    }

    async fn release(&mut self, _: &[(i64, u32)]) -> Result<(), SourceError> {
        Ok(())
    }
}
