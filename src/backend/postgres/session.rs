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
use tokio::time::{Instant, timeout, timeout_at};

use super::{CONNECT, Postgres, STATEMENT};
use crate::backend::sql::session::PostgresSession;

const SIGN: &str = "offhook.direct";
/// How long a statement may take that may take long. It is planned for the values that it is run with: a plan for usual
/// values may read a whole table to find an order id that occurs once.
const LIMIT: &str =
    "SET LOCAL statement_timeout = '5s'; SET LOCAL plan_cache_mode = force_custom_plan";
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

/// What is around some statements.
#[derive(Clone, Copy)]
pub(super) enum Around {
    /// Nothing, for one statement alone. Behind a pooler there is a transaction all the same.
    Nothing,
    /// A transaction, in which this is set.
    Transaction(&'static str),
}

impl Around {
    /// A transaction with time-outs of its own only.
    const TRANSACTION: Self = Self::Transaction("");
    /// A transaction of statements that find all rows by their keys.
    pub(super) const BY_KEY: Self = Self::Transaction(BY_KEY);
    /// A transaction of long statements: Postgres continues a statement whose client has gone, unless it has a time-out.
    const LIMITED: Self = Self::Transaction(LIMIT);
}

/// A connection on which statements are run, in bounded time.
struct Held {
    lease: Lease,
    /// Whether a statement may be kept prepared.
    keep: bool,
    in_transaction: bool,
    began: Instant,
}

impl Held {
    fn connection(&mut self) -> &mut PgConnection {
        self.lease.0.as_mut().expect("it is there until it is given back")
    }

    async fn execute(&mut self, statement: String) -> Result<(), sqlx::Error> {
        let began = self.began;
        let executed = self.connection().execute(AssertSqlSafe(statement));
        within(began, executed).await.map(|_| ())
    }

    /// Commits what was done, or takes it back if it failed, and gives the connection back if it is as good as before.
    ///
    /// # Errors
    /// It is not known whether that was committed, or was taken back.
    async fn end(mut self, failure: Option<&sqlx::Error>) -> Result<(), sqlx::Error> {
        let ended = match (failure, self.in_transaction) {
            (_, false) => Ok(()),
            (None, true) => self.execute("COMMIT".to_owned()).await,
            // The connection to the pooler goes, and so is what was done taken back.
            (Some(_), true) if !self.keep => Ok(()),
            (Some(_), true) => self.execute("ROLLBACK".to_owned()).await,
        };
        let as_good_as_before = match ended.as_ref().err().or(failure) {
            None => true,
            Some(error) => self.keep && is_the_statements_fault(error, self.began.elapsed()),
        };
        if as_good_as_before {
            drop(self.lease.0.take());
        }
        ended
    }
}

/// Waits for what began then, as long as statements may take.
async fn within<T>(
    began: Instant,
    work: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    timeout_at(began + STATEMENT, work).await.unwrap_or_else(|_| Err(late()))
}

impl Postgres {
    /// Runs a statement, in bounded time. `work` learns whether the statement may be kept prepared.
    pub(super) async fn run<T>(
        &self,
        work: impl AsyncFnOnce(&mut PgConnection, bool) -> Result<T, sqlx::Error>,
    ) -> Result<T, sqlx::Error> {
        self.run_in(Around::Nothing, work).await
    }

    /// The same in a transaction.
    pub(super) async fn transact<T>(
        &self,
        work: impl AsyncFnOnce(&mut PgConnection, bool) -> Result<T, sqlx::Error>,
    ) -> Result<T, sqlx::Error> {
        self.run_in(Around::TRANSACTION, work).await
    }

    /// The same for long statements.
    pub(super) async fn run_limited<T>(
        &self,
        work: impl AsyncFnOnce(&mut PgConnection, bool) -> Result<T, sqlx::Error>,
    ) -> Result<T, sqlx::Error> {
        self.run_in(Around::LIMITED, work).await
    }

    // The next two consist of the same steps, since a closure around another one has a type that names what the other one
    // captures three times over, and the compiler's work grows with that.

    async fn run_in<T>(
        &self,
        around: Around,
        work: impl AsyncFnOnce(&mut PgConnection, bool) -> Result<T, sqlx::Error>,
    ) -> Result<T, sqlx::Error> {
        let mut held = self.hold(around).await?;
        let (began, keep) = (held.began, held.keep);
        let done = within(began, work(held.connection(), keep)).await;
        let ended = held.end(done.as_ref().err()).await;
        done.and_then(|value| ended.map(|()| value))
    }

    /// Runs statements of a session.
    pub(super) async fn run_session<T>(
        &self,
        around: Around,
        work: impl AsyncFnOnce(&mut PostgresSession<'_>) -> Result<T, sqlx::Error>,
    ) -> Result<T, sqlx::Error> {
        let mut held = self.hold(around).await?;
        let (began, keep) = (held.began, held.keep);
        let mut session = PostgresSession { connection: held.connection(), keep };
        let done = within(began, work(&mut session)).await;
        let ended = held.end(done.as_ref().err()).await;
        done.and_then(|value| ended.map(|()| value))
    }

    /// A connection for some statements, and what is to be around them.
    async fn hold(&self, around: Around) -> Result<Held, sqlx::Error> {
        let acquired = timeout(CONNECT, self.acquire()).await;
        let lease = Lease(Some(acquired.unwrap_or(Err(sqlx::Error::PoolTimedOut))?));
        let keep = !self.pooled.load(Ordering::Acquire);
        let mut held = Held { lease, keep, in_transaction: false, began: Instant::now() };
        let begin = match around {
            Around::Nothing if keep => return Ok(held),
            Around::Nothing => BEGIN.to_owned(),
            Around::Transaction(settings) => format!("{BEGIN}; {settings}"),
        };
        held.in_transaction = true;
        if let Err(error) = held.execute(begin).await {
            // It is of no interest whether a transaction that has not begun could be ended.
            let _ = held.end(Some(&error)).await;
            return Err(error);
        }
        Ok(held)
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
