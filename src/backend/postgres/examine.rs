//! What an engineer who knows Postgres looks at before trusting it with events.

use std::collections::BTreeSet;
use std::time::Duration;

use sqlx::error::DatabaseError;
use sqlx::migrate::Migrator;
use sqlx::{Connection, Executor, PgConnection, Row};
use tokio::time::timeout;

use super::{Postgres, migrator};
use crate::backend::BackendError;
use crate::clock::Timestamp;

/// Longest examination.
const EXAMINATION_TIMEOUT: Duration = Duration::from_secs(5);

/// What was found.
#[derive(Clone, Debug)]
pub struct Examined {
    /// The version, as Postgres reports it: 160004 is 16.4.
    pub version: i32,
    /// The clock of Postgres.
    pub clock: Timestamp,
    /// Whether it cannot be written: a replica, or set read-only.
    pub read_only: bool,
    /// Whether the tables are those of this version.
    pub tables: Tables,
    /// Whether new tables may be made.
    pub may_create: bool,
    /// Whether what is old may be deleted from the tables that are there.
    pub may_delete: bool,
    /// What this role may not do with the tables that are there.
    pub forbidden: Vec<String>,
}

/// The tables, compared with those of this version.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tables {
    /// The same.
    UpToDate,
    /// This many migrations are missing.
    Behind(usize),
    /// A newer version made them.
    Ahead,
}

/// Why nothing was found.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{error}")]
pub struct ExamineError {
    /// What Postgres refused; `None` if it did not answer, or not in time.
    pub denied: Option<Denied>,
    error: BackendError,
}

/// What Postgres refuses, by its SQLSTATE, which does not depend on its language
/// (<https://www.postgresql.org/docs/current/errcodes-appendix.html>).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Denied {
    /// The role lacks a right.
    Right,
    /// The role or its password is wrong, or `pg_hba.conf` has no entry for it.
    Login,
    /// The database, or what is in it, is not there.
    Absent,
}

impl Denied {
    fn of(sqlstate: &str) -> Option<Self> {
        match sqlstate {
            "42501" => Some(Self::Right),
            // Class 28, invalid authorization specification.
            "28000" | "28P01" => Some(Self::Login),
            // A database, a schema, a table, an object, a function.
            "3D000" | "3F000" | "42P01" | "42704" | "42883" => Some(Self::Absent),
            _ => None,
        }
    }
}

impl From<BackendError> for ExamineError {
    fn from(error: BackendError) -> Self {
        Self { denied: None, error }
    }
}

impl From<sqlx::Error> for ExamineError {
    fn from(error: sqlx::Error) -> Self {
        let code = error.as_database_error().and_then(DatabaseError::code);
        Self { denied: code.as_deref().and_then(Denied::of), error: error.into() }
    }
}

impl Postgres {
    /// Looks, and changes nothing.
    pub async fn examine(&self) -> Result<Examined, ExamineError> {
        let late = |_| BackendError("no answer in time".to_owned());
        let look = async {
            let mut connection = PgConnection::connect_with(&self.plain).await?;
            let examined = look(&mut connection).await?;
            connection.close().await?;
            Ok::<_, sqlx::Error>(examined)
        };
        Ok(timeout(EXAMINATION_TIMEOUT, look).await.map_err(late)??)
    }
}

/// Uses statements without a name, which also work through a pooler.
async fn look(connection: &mut PgConnection) -> Result<Examined, sqlx::Error> {
    let row = connection
        .fetch_one(
            "SELECT current_setting('server_version_num')::int4, \
             (extract(epoch FROM clock_timestamp()) * 1000000)::int8, \
             pg_is_in_recovery() OR current_setting('transaction_read_only') = 'on', \
             coalesce(has_schema_privilege(current_schema(), 'CREATE'), false), \
             to_regclass('_sqlx_migrations') IS NOT NULL, \
             coalesce(has_table_privilege(to_regclass('events'), 'DELETE'), true) \
             AND coalesce(has_table_privilege(to_regclass('statuses'), 'DELETE'), true) \
             AND coalesce(has_table_privilege(to_regclass('changes'), 'DELETE'), true) \
             AND coalesce(has_table_privilege(to_regclass('feed'), 'UPDATE'), true) \
             AND coalesce(has_table_privilege(to_regclass('retention'), 'SELECT'), true) \
             AND coalesce(has_table_privilege(to_regclass('retention'), 'INSERT'), true) \
             AND coalesce(has_table_privilege(to_regclass('retention'), 'UPDATE'), true)",
        )
        .await?;
    let there: bool = row.try_get(4)?;
    Ok(Examined {
        version: row.try_get(0)?,
        clock: Timestamp::from_micros(row.try_get(1)?),
        read_only: row.try_get(2)?,
        may_create: row.try_get(3)?,
        tables: if there { tables(connection).await? } else { Tables::Behind(known().len()) },
        may_delete: row.try_get(5)?,
        forbidden: forbidden(connection).await?,
    })
}

fn known() -> BTreeSet<i64> {
    let migrator: Migrator = migrator();
    migrator.iter().map(|migration| migration.version).collect()
}

async fn tables(connection: &mut PgConnection) -> Result<Tables, sqlx::Error> {
    let rows = connection.fetch_all("SELECT version FROM _sqlx_migrations WHERE success").await?;
    let done = rows.iter().map(|row| row.try_get(0)).collect::<Result<BTreeSet<i64>, _>>()?;
    let (ahead, behind) = (done.difference(&known()).count(), known().difference(&done).count());
    Ok(match (ahead, behind) {
        (0, 0) => Tables::UpToDate,
        (0, behind) => Tables::Behind(behind),
        _ => Tables::Ahead,
    })
}

async fn forbidden(connection: &mut PgConnection) -> Result<Vec<String>, sqlx::Error> {
    let rows = connection
        .fetch_all(
            "SELECT privilege || ' on ' || name FROM (VALUES ('events', 'SELECT'), \
             ('events', 'INSERT'), ('statuses', 'SELECT'), ('statuses', 'INSERT'), \
             ('statuses', 'UPDATE'), ('changes', 'SELECT'), ('changes', 'INSERT'), \
             ('feed', 'SELECT'), ('wakes', 'INSERT'), ('attempts', 'SELECT'), \
             ('attempt_sids', 'SELECT')) AS needed (name, privilege) \
             WHERE to_regclass(name) IS NOT NULL \
             AND NOT has_table_privilege(to_regclass(name), privilege) \
             UNION ALL SELECT 'USAGE on changes_id_seq' \
             WHERE to_regclass('changes_id_seq') IS NOT NULL \
             AND NOT has_sequence_privilege(to_regclass('changes_id_seq'), 'USAGE')",
        )
        .await?;
    rows.iter().map(|row| row.try_get(0)).collect()
}
