//! [`OldSpool`]: the spool of version 0.1, a SQLite file, which a local log takes over.

use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Column as _, Row, SqliteConnection};

use super::{Database, OpenError};
use crate::backend::BackendError;
use crate::clock::Timestamp;

/// The name of the file.
const NAME: &str = "spool.db";
/// Rows that are read at once.
const ROWS_PER_READ: u32 = 256;
/// Columns that are not the event's.
const OUR_COLUMNS: [&str; 4] = ["id", "bytes", "dead_reason", "dead_at"];

/// A spool that an earlier version left in a directory, and that no other process has.
#[derive(Debug)]
pub struct OldSpool {
    database: Database,
    connection: SqliteConnection,
    /// The last row that was read.
    last: i64,
}

/// An event in it.
#[derive(Clone, Debug)]
pub struct OldRow {
    /// The number of the row.
    pub id: u64,
    /// The fields of a stream entry.
    pub fields: Vec<(Bytes, Bytes)>,
    /// Why it is a dead letter and since when, if it is one.
    pub dead: Option<(String, Timestamp)>,
}

impl OldSpool {
    /// Opens the one of this directory, if there is one.
    ///
    /// # Errors
    /// Another process has it, or it cannot be read.
    pub async fn open(directory: &Path) -> Result<Option<Self>, OpenError> {
        let path = directory.join(NAME);
        if !path.is_file() {
            return Ok(None);
        }
        let database = Database::lock_file(path)?;
        let connection = database.connect().await?;
        Ok(Some(Self { database, connection, last: 0 }))
    }

    /// The next rows, each of them once; none at the end.
    ///
    /// # Errors
    /// The file is damaged.
    pub async fn page(&mut self) -> Result<Vec<OldRow>, BackendError> {
        let sql = format!("SELECT * FROM spool WHERE id > ? ORDER BY id LIMIT {ROWS_PER_READ}");
        let rows = sqlx::query(AssertSqlSafe(sql)).bind(self.last);
        let rows = rows.fetch_all(&mut self.connection).await?;
        let rows = rows.iter().map(row).collect::<Result<Vec<_>, sqlx::Error>>()?;
        self.last = rows.last().map_or(self.last, |row| row.id.cast_signed());
        Ok(rows)
    }

    /// The rows behind a damaged page: each that can be found by its number.
    ///
    /// # Errors
    /// Nothing can be read from the file.
    pub async fn page_behind_damage(&mut self) -> Result<Vec<OldRow>, BackendError> {
        let last = "SELECT seq FROM sqlite_sequence WHERE name = 'spool'";
        let last: i64 = sqlx::query_scalar(last).fetch_one(&mut self.connection).await?;
        let mut rows = Vec::new();
        while self.last < last && rows.len() < ROWS_PER_READ as usize {
            self.last += 1;
            let one = sqlx::query("SELECT * FROM spool WHERE id = ?").bind(self.last);
            let found = one.fetch_optional(&mut self.connection).await;
            rows.extend(found.ok().flatten().and_then(|found| row(&found).ok()));
        }
        Ok(rows)
    }

    /// Deletes it: all of it is elsewhere, and synced.
    ///
    /// # Errors
    /// The directory cannot be written.
    pub async fn remove(self) -> io::Result<()> {
        let path = self.database.path().to_owned();
        let _ = sqlx::Connection::close(self.connection).await;
        for file in files(&path) {
            match std::fs::remove_file(file) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Moves a damaged one out of the way; where it lies now.
    ///
    /// # Errors
    /// The directory cannot be written.
    pub fn quarantine(directory: &Path) -> io::Result<PathBuf> {
        let to = directory.join(format!("{NAME}.damaged"));
        for (from, to) in files(&directory.join(NAME)).into_iter().zip(files(&to)) {
            match std::fs::rename(from, to) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(to)
    }
}

/// A SQLite file and those beside it. The file itself comes last, so that what is begun is seen.
fn files(path: &Path) -> [PathBuf; 3] {
    ["-wal", "-shm", ""].map(|suffix| {
        let mut name = path.to_owned().into_os_string();
        name.push(suffix);
        PathBuf::from(name)
    })
}

fn row(row: &SqliteRow) -> Result<OldRow, sqlx::Error> {
    let mut fields = Vec::with_capacity(row.columns().len());
    for column in row.columns() {
        let name = column.name();
        if OUR_COLUMNS.contains(&name) {
            continue;
        }
        if let Some(value) = row.try_get::<Option<Vec<u8>>, _>(name)? {
            fields.push((Bytes::copy_from_slice(name.as_bytes()), Bytes::from(value)));
        }
    }
    let reason: Option<String> = row.try_get("dead_reason")?;
    // Not there in the first form.
    let at: Option<i64> = row.try_get("dead_at").unwrap_or_default();
    let dead = reason.map(|reason| {
        let micros = at.unwrap_or_default().saturating_mul(1_000_000);
        (reason, Timestamp::from_micros(micros))
    });
    Ok(OldRow { id: row.try_get::<i64, _>("id")?.cast_unsigned(), fields, dead })
}
