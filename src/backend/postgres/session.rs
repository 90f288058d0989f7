//! How one statement gets a connection, also from a pooler that gives each transaction whichever
//! connection is free, as PgBouncer does in transaction mode.
//!
//! There a prepared statement is gone with the transaction, or worse, its name belongs to another client's
//! statement. So a statement has no name there, and a transaction around it. Without a pooler
//! it keeps its name, which saves parsing and planning it again.
//!
//! Whether there is a pooler is found out by a sign: a setting that each connection is opened with. A
//! session that does not know another client opened it.

use std::sync::atomic::Ordering;
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, Executor, PgConnection, Row};
use tokio::time::{Instant, timeout};

use super::{CONNECT, Postgres, STATEMENT};

const SIGN: &str = "offhook.direct";
/// How long a statement may take that may take long.
const LIMIT: &str = "SET LOCAL statement_timeout = '5s'";
/// The longest time that a transaction whose client is frozen or has vanished holds its locks. One that waits for a
/// lock gives up after it, and begins anew.
const BEGIN: &str = "BEGIN; SET LOCAL idle_in_transaction_session_timeout = '10s'; \
    SET LOCAL lock_timeout = '10s'";
/// For statements that find all rows by their keys. Tables that were small when a plan was made, or not analyzed since they were,
/// are read as a whole else, as long as the plan is kept: minutes after ten thousand rows have come. What has no index all the
/// same looks so costly then that it would be compiled.
const BY_KEY: &str = "SET LOCAL enable_seqscan = off; SET LOCAL enable_hashjoin = off; \
    SET LOCAL enable_mergejoin = off; SET LOCAL jit = off";
/// offhook never cancels a statement that took less.
const LEAST_LIMIT: Duration = Duration::from_secs(5);

/// These options, with the sign.
pub(super) fn signed(options: PgConnectOptions) -> PgConnectOptions {
    options.options([(SIGN, "1")])
}

/// Whether this session was opened with the sign.
pub(super) async fn is_direct(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    let row = connection.fetch_one("SELECT current_setting('offhook.direct', true) = '1'").await?;
    Ok(row.try_get::<Option<bool>, _>(0)? == Some(true))
}

/// A connection that is thrown away unless it is given back: one on which a statement may still run
/// would hold up the next.
struct Lease(Option<PoolConnection<sqlx::Postgres>>);

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(connection) = self.0.take() {
            drop(connection.detach());
        }
    }
}

impl Postgres {
    /// Runs a statement, in bounded time. `work` learns whether the statement may be kept prepared.
    pub(super) async fn run<T>(
        &self,
        work: impl AsyncFnOnce(&mut PgConnection, bool) -> Result<T, sqlx::Error>,
    ) -> Result<T, sqlx::Error> {
        let acquired = timeout(CONNECT, self.acquire()).await;
        let mut lease = Lease(Some(acquired.unwrap_or(Err(sqlx::Error::PoolTimedOut))?));
        let connection = lease.0.as_mut().expect("it was just put there");
        let pooled = self.pooled.load(Ordering::Acquire);
        let began = Instant::now();
        let done = timeout(STATEMENT, async {
            if !pooled {
                return work(connection, true).await;
            }
            connection.execute(BEGIN).await?;
            let value = work(connection, false).await?;
            connection.execute("COMMIT").await?;
            Ok(value)
        });
        let done = done.await.unwrap_or_else(|_| Err(late()));
        let as_good_as_before = match &done {
            Ok(_) => true,
            Err(error) => !pooled && is_the_statements_fault(error, began.elapsed()),
        };
        if as_good_as_before {
            drop(lease.0.take());
        }
        done
    }

    /// The same in a transaction. Behind a pooler there is one already.
    pub(super) async fn transact<T>(
        &self,
        work: impl AsyncFnOnce(&mut PgConnection, bool) -> Result<T, sqlx::Error>,
    ) -> Result<T, sqlx::Error> {
        self.transact_with("", work).await
    }

    /// The same for statements that find all rows by their keys.
    pub(super) async fn transact_by_key<T>(
        &self,
        work: impl AsyncFnOnce(&mut PgConnection, bool) -> Result<T, sqlx::Error>,
    ) -> Result<T, sqlx::Error> {
        self.transact_with(BY_KEY, work).await
    }

    /// In a transaction with these settings.
    async fn transact_with<T>(
        &self,
        settings: &'static str,
        work: impl AsyncFnOnce(&mut PgConnection, bool) -> Result<T, sqlx::Error>,
    ) -> Result<T, sqlx::Error> {
        self.run(async |connection: &mut PgConnection, keep| {
            let begin = if keep { format!("{BEGIN}; {settings}") } else { settings.to_owned() };
            if !begin.is_empty() {
                connection.execute(AssertSqlSafe(begin)).await?;
            }
            let done = work(&mut *connection, keep).await;
            if keep {
                connection.execute(if done.is_ok() { "COMMIT" } else { "ROLLBACK" }).await?;
            }
            done
        })
        .await
    }

    /// The same for long statements: Postgres continues a statement whose client has gone, unless it has a time-out.
    pub(super) async fn run_limited<T>(
        &self,
        work: impl AsyncFnOnce(&mut PgConnection, bool) -> Result<T, sqlx::Error>,
    ) -> Result<T, sqlx::Error> {
        self.transact(async |connection: &mut PgConnection, keep| {
            connection.execute(LIMIT).await?;
            work(connection, keep).await
        })
        .await
    }

    /// A connection; from then on without the sign if a pooler refuses it.
    async fn acquire(&self) -> Result<PoolConnection<sqlx::Postgres>, sqlx::Error> {
        match self.pool.acquire().await {
            Err(error) if !self.pooled.load(Ordering::Acquire) && refuses_the_sign(&error) => {
                self.pooled.store(true, Ordering::Release);
                self.pool.set_connect_options(PgConnectOptions::clone(&self.plain));
                self.pool.acquire().await
            }
            acquired => acquired,
        }
    }
}

/// Whether the statement alone is to blame, so that the session is as good as before: data that Postgres
/// refuses, or a lock or an answer that took too long. Everything else may be the session's fault, which
/// a new one does not have: it was opened on a primary that is a replica now, or with a `search_path`,
/// a role or a setting that has been mended since, such as a `statement_timeout` of a few milliseconds. Kept, such a
/// session would fail for as long as the pool lives.
fn is_the_statements_fault(error: &sqlx::Error, took: Duration) -> bool {
    let code = error.as_database_error().and_then(|error| error.code()).unwrap_or_default();
    // Data exception, integrity violation, limit of a program; lock not available, query canceled.
    match (code.get(..2), &*code) {
        (Some("22" | "23" | "54"), _) | (_, "55P03") => true,
        (_, "57014") => took >= LEAST_LIMIT,
        _ => false,
    }
}

/// Protocol violation, as PgBouncer calls a parameter that it does not know, or feature not
/// supported, as others do. Postgres itself answers neither to a connection.
pub(super) fn refuses_the_sign(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code()).unwrap_or_default();
    matches!(&*code, "08P01" | "0A000")
}

fn late() -> sqlx::Error {
    let cause = "the statement took too long";
    sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, cause))
}
