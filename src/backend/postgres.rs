//! The scale-out store.

mod columns;
mod copy;
mod examine;
mod feed;
mod forwards;
mod handles;
mod listen;
mod outbox;
mod purge;
mod query;
mod retention;
mod session;
mod store;

use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor, PgConnection, PgPool};
use tokio::time::{sleep, timeout};
use tracing::warn;

pub use self::copy::CopyTarget;
pub use self::examine::{Denied, ExamineError, Examined, Tables};
pub use self::feed::Feed;
pub use self::forwards::Forwards;
pub use self::handles::{Handles, Health};
pub use self::listen::{Listen, Listening};
pub use self::outbox::Outbox;
pub use self::purge::RowPurge;
pub use self::query::Query;
pub use self::retention::{FeedRetention, Retention};
pub use self::store::PostgresStore;
use super::tables::migrations;
use super::{BackendError, FeedWatch};

/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// Longest wait for a statement. A batch takes milliseconds; a lock may take a while.
const STATEMENT: Duration = Duration::from_secs(30);
/// Longest wait for migrations, which wait for one another when several processes start. One may rewrite a
/// table of a hundred million rows, and one that is given up begins anew.
const MIGRATION: Duration = Duration::from_secs(3600);
/// When to try again to change tables that another session uses.
const AGAIN: Duration = Duration::from_secs(5);

/// The oldest version that is supported, as Postgres counts: 14.0. Those before it store correctly as far as
/// they take the tables, and are not tested.
pub const OLDEST: i32 = 140_000;

/// Why the tables are not up to date.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// Postgres does not answer, or refuses for now: a permission may be granted yet.
    #[error("the migrations cannot be run: {0}")]
    Away(BackendError),
    /// The database was migrated by another version, which this one does not know.
    #[error(
        "the migrations cannot be run: {0}; run the version that made these tables, or a newer one"
    )]
    Unfit(BackendError),
}

/// Connections to one Postgres. Cheap to clone; connects when first asked.
#[derive(Clone, Debug)]
pub struct Postgres {
    pool: PgPool,
    /// Without the sign of [`session`].
    plain: Arc<PgConnectOptions>,
    /// Whether a pooler may stand between; see [`session`].
    pooled: Arc<AtomicBool>,
    /// Told of what this process commits.
    feed_watch: FeedWatch,
}

impl Postgres {
    /// A Postgres from a `postgres://` URL.
    ///
    /// # Errors
    /// The URL is not valid. Its own text, which may hold a password, is not in the error.
    pub fn new(url: &str) -> Result<Self, BackendError> {
        Self::with_writers(url, 1)
    }

    /// The same, with a connection for each of `writers` that write at the same time.
    ///
    /// # Errors
    /// See [`new`](Self::new).
    pub fn with_writers(url: &str, writers: u32) -> Result<Self, BackendError> {
        let options = PgConnectOptions::from_str(url).map_err(BackendError::from)?;
        let plain = options
            .application_name("offhook")
            // Poolers refuse it, and no column of offhook is a float.
            .extra_float_digits(None)
            .disable_statement_logging();
        let pooled = Arc::new(AtomicBool::new(false));
        let found = Arc::clone(&pooled);
        let pool = PgPoolOptions::new()
            // The others: a console page and a probe read, and what is old is deleted.
            .max_connections(3 + writers)
            .acquire_timeout(CONNECT)
            .after_connect(move |connection, _| {
                let found = Arc::clone(&found);
                Box::pin(async move {
                    if !found.load(Ordering::Acquire) && !session::is_direct(connection).await? {
                        found.store(true, Ordering::Release);
                    }
                    Ok(())
                })
            })
            .connect_lazy_with(session::signed(plain.clone()));
        Ok(Self { pool, plain: Arc::new(plain), pooled, feed_watch: FeedWatch::default() })
    }

    /// Brings the tables up to date. Processes that start together wait for one another.
    ///
    /// # Errors
    /// See [`MigrateError`].
    pub async fn migrate(&self) -> Result<(), MigrateError> {
        use sqlx::migrate::MigrateError::{Execute, ExecuteMigration};
        let migrated = timeout(MIGRATION, migrate_patiently(&self.plain)).await;
        let late = |_| MigrateError::Away(BackendError("migrations took too long".to_owned()));
        migrated.map_err(late)?.map_err(|error| match error {
            Execute(error) | ExecuteMigration(error, _) => MigrateError::Away(error.into()),
            other => MigrateError::Unfit(BackendError(other.to_string())),
        })
    }

    /// Closes the connections.
    pub async fn close(&self) {
        let _ = timeout(CONNECT, self.pool.close()).await;
    }
}

/// What the tables of this version are made by.
fn migrator() -> Migrator {
    migrations!("postgres")
}

/// Takes the tables that are large before anything is changed, if something is to be. What waits for a table, which a backup or a
/// report may read for hours, keeps all others from it that come after: it gives up soon.
async fn take_tables(
    connection: &mut PgConnection,
    migrator: &Migrator,
) -> Result<(), sqlx::Error> {
    const THERE: &str = "SELECT relname::text FROM pg_class WHERE relnamespace = (SELECT oid FROM pg_namespace \
                         WHERE nspname = current_schema()) \
                         AND relkind = 'r' AND relname IN ('_sqlx_migrations', 'events', 'statuses', 'notifications', \
                         'attempts') ORDER BY 1";
    let there: Vec<String> =
        sqlx::query_scalar(THERE).persistent(false).fetch_all(&mut *connection).await?;
    let [known, tables @ ..] = &there[..] else { return Ok(()) };
    if known != "_sqlx_migrations" || tables.is_empty() {
        return Ok(());
    }
    let done: i64 = sqlx::query_scalar("SELECT count(*) FROM _sqlx_migrations")
        .persistent(false)
        .fetch_one(&mut *connection)
        .await?;
    if done >= i64::try_from(migrator.iter().count()).unwrap_or(i64::MAX) {
        return Ok(());
    }
    // Longer than `deadlock_timeout` is by default: an autovacuum is cancelled after that, and not before.
    let lock = format!(
        "SET LOCAL lock_timeout = '3s'; LOCK TABLE {} IN ACCESS EXCLUSIVE MODE; SET LOCAL lock_timeout = 0",
        tables.join(", ")
    );
    connection.execute(AssertSqlSafe(lock)).await.map(|_| ())
}

/// Until the tables can be taken.
async fn migrate_patiently(options: &PgConnectOptions) -> Result<(), sqlx::migrate::MigrateError> {
    use sqlx::migrate::MigrateError::{Execute, ExecuteMigration};
    /// `lock_not_available`, and `deadlock_detected`: a commit may wait for one of the tables, and hold another.
    const LOCKED: [&str; 2] = ["55P03", "40P01"];
    let mut is_said = false;
    loop {
        let migrated = migrate(options).await;
        let (Err(Execute(error)) | Err(ExecuteMigration(error, _))) = &migrated else {
            return migrated;
        };
        let code = error.as_database_error().and_then(|error| error.code());
        if !code.is_some_and(|code| LOCKED.contains(&&*code)) {
            return migrated;
        }
        if !std::mem::replace(&mut is_said, true) {
            warn!(
                "the tables cannot be brought up to date while another session uses them: trying again until it does not"
            );
        }
        sleep(AGAIN.mul_f64(rand::random_range(1.0..2.0))).await;
    }
}

/// Everything is in one transaction, including the lock: behind a pooler no client has a session of its own. A lock of
/// the session would stay on the server connection on which it was taken.
async fn migrate(options: &PgConnectOptions) -> Result<(), sqlx::migrate::MigrateError> {
    /// An arbitrary number, the same in every version.
    const LOCK: &str = "SELECT pg_advisory_xact_lock(6033425111901)";
    let mut migrator = migrator();
    migrator.set_locking(false);
    let mut connection = PgConnection::connect_with(options).await?;
    let mut transaction = connection.begin().await?;
    // The names of prepared statements are the session's, too: the client that had it before may have left
    // some, and those that the migrator leaves would be in the way of the next.
    transaction.execute("DEALLOCATE ALL").await?;
    transaction.execute(LOCK).await?;
    take_tables(&mut transaction, &migrator).await?;
    migrator.run_direct(None, &mut *transaction, false).await?;
    transaction.execute("DEALLOCATE ALL").await?;
    transaction.commit().await?;
    Ok(connection.close().await?)
}
