//! [`Forwards`]: what the scale-out store keeps of forwards. Their leases are by its clock.

use std::time::Duration;

use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, PgConnection, QueryBuilder};

use super::Postgres;
use crate::backend::BackendError;
use crate::backend::forwards::{
    Claim, Claimed, ForwardState, Listed, Progress, ROWS_PER_PAGE, Replay, Waiting, Written,
};
use crate::backend::sql::columns::select_events;
use crate::backend::sql::forwards as sql;
use crate::backend::sql::forwards::List;
use crate::clock::Timestamp;
use crate::event::{Change, Cursor, Event};

const NOW: &str = "clock_timestamp()";

/// Keeps where forwards stand.
#[derive(Clone, Debug)]
pub struct Forwards(Postgres);

impl Forwards {
    pub(super) fn new(postgres: Postgres) -> Self {
        Self(postgres)
    }

    /// See [`Forwards`](crate::backend::Forwards), as for the next ones.
    pub(in crate::backend) async fn claim(&self, claim: &Claim) -> Result<Claimed, BackendError> {
        let held = sql::held_as_read::<sqlx::Postgres>(NOW);
        let take = format!(
            "UPDATE forwards SET holder = $2, lease_until = {NOW} + $3 * interval '1 millisecond' \
             WHERE name = $1 AND disabled IS NULL \
             AND (holder IS NULL OR holder = $2 OR lease_until < {NOW}) RETURNING {held}"
        );
        let look = "SELECT disabled FROM forwards WHERE name = $1";
        let claimed = self.0.transact(async |connection: &mut PgConnection, keep| {
            let take = sqlx::query(AssertSqlSafe(take)).bind(&claim.forward).bind(&claim.holder);
            let take = take.bind(millis(claim.lasts)).persistent(keep);
            if let Some(row) = take.fetch_optional(&mut *connection).await? {
                return Ok(Claimed::Held(sql::held(&row)?));
            }
            let look = sqlx::query(look).bind(&claim.forward).persistent(keep);
            sql::not_held(look.fetch_optional(connection).await?.as_ref())
        });
        Ok(claimed.await?)
    }

    pub(in crate::backend) async fn create(
        &self,
        forward: &str,
        at: &Cursor,
    ) -> Result<(), BackendError> {
        let create = "INSERT INTO forwards (name, feed, cursor) VALUES ($1, $2, $3) \
                      ON CONFLICT (name) DO NOTHING";
        let create = sqlx::query(create).bind(forward).bind(at.feed.as_str()).bind(at.id);
        self.execute(create).await.map(|_| ())
    }

    pub(in crate::backend) async fn write(
        &self,
        claim: &Claim,
        progress: &Progress,
    ) -> Result<Written, BackendError> {
        let written = self.0.transact(async |connection: &mut PgConnection, keep| {
            write(connection, keep, claim, progress).await
        });
        Ok(written.await?)
    }

    pub(in crate::backend) async fn release(&self, claim: &Claim) -> Result<(), BackendError> {
        let release = "UPDATE forwards SET holder = NULL, lease_until = NULL \
                       WHERE name = $1 AND holder = $2";
        let release = sqlx::query(release).bind(&claim.forward).bind(&claim.holder);
        self.execute(release).await.map(|_| ())
    }

    pub(in crate::backend) async fn waiting(
        &self,
        forward: &str,
    ) -> Result<Vec<Waiting>, BackendError> {
        let rows = self.all(sql::waiting(forward, NOW)).await?;
        Ok(rows.iter().map(sql::waiting_row).collect::<Result<_, _>>()?)
    }

    pub(in crate::backend) async fn replays(
        &self,
        forward: &str,
        limit: u32,
    ) -> Result<Vec<Waiting>, BackendError> {
        let rows = self.all(sql::replays(forward, limit)).await?;
        Ok(rows.iter().map(sql::waiting_row).collect::<Result<_, _>>()?)
    }

    pub(in crate::backend) async fn load(
        &self,
        ids: &[i64],
    ) -> Result<Vec<(Change, Option<Event>)>, BackendError> {
        let changes =
            format!("{} WHERE id = ANY($1) ORDER BY id", sql::select_changes::<sqlx::Postgres>());
        let events = format!(
            "{} WHERE (key, account) IN (SELECT key, account FROM changes WHERE id = ANY($1))",
            select_events::<sqlx::Postgres>()
        );
        let loaded = self.0.run(async |connection: &mut PgConnection, keep| {
            let changes = sqlx::query(AssertSqlSafe(changes)).bind(ids).persistent(keep);
            let events = sqlx::query(AssertSqlSafe(events)).bind(ids).persistent(keep);
            let changes = changes.fetch_all(&mut *connection).await?;
            sql::with_events(&changes, &events.fetch_all(connection).await?)
        });
        Ok(loaded.await?)
    }

    pub(in crate::backend) async fn forget(&self, forward: &str) -> Result<Vec<i64>, BackendError> {
        let given_up = format!(
            "DELETE FROM forward_given_up WHERE forward = $1 AND change IN (SELECT change \
             FROM forward_given_up AS g WHERE forward = $1 \
             AND NOT EXISTS (SELECT 1 FROM changes WHERE id = g.change) LIMIT {ROWS_PER_PAGE})"
        );
        let waiting = format!(
            "SELECT change FROM forward_waiting AS w WHERE forward = $1 \
             AND NOT EXISTS (SELECT 1 FROM changes WHERE id = w.change) \
             ORDER BY change LIMIT {ROWS_PER_PAGE}"
        );
        let gone = self.0.run(async |connection: &mut PgConnection, keep| {
            let given_up = sqlx::query(AssertSqlSafe(given_up)).bind(forward).persistent(keep);
            given_up.execute(&mut *connection).await?;
            let waiting = sqlx::query_scalar(AssertSqlSafe(waiting)).bind(forward);
            waiting.persistent(keep).fetch_all(connection).await
        });
        Ok(gone.await?)
    }

    pub(in crate::backend) async fn states(&self) -> Result<Vec<ForwardState>, BackendError> {
        let rows = self.all(sql::states()).await?;
        Ok(rows.iter().map(sql::state).collect::<Result<_, _>>()?)
    }

    pub(in crate::backend) async fn list(
        &self,
        list: List,
        forward: &str,
        after: i64,
        limit: u32,
    ) -> Result<Vec<Listed>, BackendError> {
        let rows = self.all(sql::list(list, forward, after, limit)).await?;
        Ok(rows.iter().map(sql::listed).collect::<Result<_, _>>()?)
    }

    pub(in crate::backend) async fn replay(
        &self,
        forward: &str,
        replay: &Replay,
    ) -> Result<u64, BackendError> {
        let update = |which: &str| {
            format!(
                "UPDATE forward_given_up SET replay = true WHERE forward = $1 AND change IN \
                 (SELECT change FROM forward_given_up WHERE forward = $1 AND NOT replay {which} \
                 ORDER BY change LIMIT {ROWS_PER_PAGE})"
            )
        };
        let query = match replay {
            Replay::All => sqlx::query(AssertSqlSafe(update(""))).bind(forward),
            Replay::Sid(sid) => {
                sqlx::query(AssertSqlSafe(update("AND sid = $2"))).bind(forward).bind(sid)
            }
            Replay::Since(at) => sqlx::query(AssertSqlSafe(update("AND at >= $2::timestamptz")))
                .bind(forward)
                .bind(at.datetime()),
        };
        self.execute(query).await
    }

    pub(in crate::backend) async fn disable(&self, forward: &str) -> Result<bool, BackendError> {
        let disable = format!(
            "UPDATE forwards SET disabled = 'operator', disabled_at = {NOW} WHERE name = $1 AND disabled IS NULL"
        );
        let disable = sqlx::query(AssertSqlSafe(disable)).bind(forward);
        Ok(self.execute(disable).await? > 0)
    }

    pub(in crate::backend) async fn enable(
        &self,
        forward: &str,
        end: &Cursor,
    ) -> Result<bool, BackendError> {
        let enabled = self.0.transact(async |connection: &mut PgConnection, keep| {
            for sql in ENABLE {
                let query = sqlx::query(sql).bind(forward).bind(end.feed.as_str()).bind(end.id);
                query.persistent(keep).execute(&mut *connection).await?;
            }
            let enable = "UPDATE forwards SET disabled = NULL, disabled_at = NULL, \
                          failing_since = NULL, feed = $2, \
                          cursor = CASE WHEN feed = $2 THEN least(cursor, $3) ELSE $3 END \
                          WHERE name = $1 AND disabled IS NOT NULL";
            let query = sqlx::query(enable).bind(forward).bind(end.feed.as_str()).bind(end.id);
            Ok(query.persistent(keep).execute(connection).await?.rows_affected() > 0)
        });
        Ok(enabled.await?)
    }

    pub(in crate::backend) async fn needed_since(
        &self,
        forward: &str,
        max_age: Duration,
    ) -> Result<Option<Timestamp>, BackendError> {
        let mut needed = sql::needed::<sqlx::Postgres>(forward, NOW);
        let ask = async |connection: &mut PgConnection, keep| {
            needed.build().persistent(keep).fetch_one(connection).await
        };
        Ok(sql::needed_since(&self.0.run_limited(ask).await?, max_age)?)
    }

    async fn all(&self, mut sql: QueryBuilder<sqlx::Postgres>) -> Result<Vec<PgRow>, BackendError> {
        let read = async |connection: &mut PgConnection, keep| {
            sql.build().persistent(keep).fetch_all(connection).await
        };
        Ok(self.0.run(read).await?)
    }

    async fn execute(
        &self,
        query: sqlx::query::Query<'_, sqlx::Postgres, sqlx::postgres::PgArguments>,
    ) -> Result<u64, BackendError> {
        let execute = async |connection: &mut PgConnection, keep| {
            query.persistent(keep).execute(connection).await
        };
        Ok(self.0.run(execute).await?.rows_affected())
    }
}

/// What waits in another feed, or beyond the end of this one, names no change that is there.
const ENABLE: [&str; 2] = [
    "DELETE FROM forward_waiting USING forwards WHERE name = $1 AND forward = $1 AND disabled IS NOT NULL \
     AND (feed <> $2 OR change > $3)",
    "DELETE FROM forward_given_up USING forwards WHERE name = $1 AND forward = $1 AND disabled IS NOT NULL \
     AND (feed <> $2 OR change > $3)",
];

async fn write(
    connection: &mut PgConnection,
    keep: bool,
    claim: &Claim,
    progress: &Progress,
) -> Result<Written, sqlx::Error> {
    // Locks the row, so that no other process takes the lease before the end of the transaction.
    let hold = format!(
        "UPDATE forwards SET cursor = greatest(cursor, $3), \
         failing_since = {NOW} - $4 * interval '1 millisecond', \
         disabled = $5, disabled_at = CASE WHEN $5 IS NULL THEN NULL ELSE {NOW} END, \
         holder = CASE WHEN $5 IS NULL THEN holder END, \
         lease_until = {NOW} + $6 * interval '1 millisecond' \
         WHERE name = $1 AND holder = $2 AND lease_until > {NOW} AND disabled IS NULL"
    );
    let hold = sqlx::query(AssertSqlSafe(hold))
        .bind(&claim.forward)
        .bind(&claim.holder)
        .bind(progress.cursor)
        .bind(progress.failing_for.map(millis))
        .bind(progress.disable.map(|why| why.as_str()))
        .bind(millis(claim.lasts));
    if hold.persistent(keep).execute(&mut *connection).await?.rows_affected() == 0 {
        return Ok(Written::Lost);
    }
    delete(connection, keep, claim, "forward_given_up", progress.replayed.clone()).await?;
    let given_up = progress.given_up.iter().map(|row| row.change);
    let settled = progress.settled.iter().copied().chain(given_up).collect();
    delete(connection, keep, claim, "forward_waiting", settled).await?;
    put_waiting(connection, keep, claim, progress).await?;
    put_given_up(connection, keep, claim, progress).await?;
    Ok(Written::Kept)
}

async fn delete(
    connection: &mut PgConnection,
    keep: bool,
    claim: &Claim,
    table: &str,
    changes: Vec<i64>,
) -> Result<(), sqlx::Error> {
    if !changes.is_empty() {
        let delete = format!("DELETE FROM {table} WHERE forward = $1 AND change = ANY($2)");
        let delete = sqlx::query(AssertSqlSafe(delete)).bind(&claim.forward).bind(changes);
        delete.persistent(keep).execute(connection).await?;
    }
    Ok(())
}

async fn put_waiting(
    connection: &mut PgConnection,
    keep: bool,
    claim: &Claim,
    progress: &Progress,
) -> Result<(), sqlx::Error> {
    let rows = &progress.waiting;
    if rows.is_empty() {
        return Ok(());
    }
    let put = format!(
        "INSERT INTO forward_waiting (forward, change, account, sid, tries, due) \
         SELECT $1, change, account, sid, tries, {NOW} + due * interval '1 millisecond' \
         FROM unnest($2::bigint[], $3::text[], $4::text[], $5::integer[], $6::bigint[]) \
         AS row (change, account, sid, tries, due) \
         ON CONFLICT (forward, change) DO UPDATE SET tries = excluded.tries, due = excluded.due"
    );
    let put = sqlx::query(AssertSqlSafe(put))
        .bind(&claim.forward)
        .bind(rows.iter().map(|row| row.change).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.account.as_str()).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.sid.as_deref()).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| tries(row.tries)).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.due_in.map(millis)).collect::<Vec<_>>());
    put.persistent(keep).execute(connection).await.map(|_| ())
}

async fn put_given_up(
    connection: &mut PgConnection,
    keep: bool,
    claim: &Claim,
    progress: &Progress,
) -> Result<(), sqlx::Error> {
    let rows = &progress.given_up;
    if rows.is_empty() {
        return Ok(());
    }
    let put = format!(
        "INSERT INTO forward_given_up (forward, change, account, sid, tries, failure, at) \
         SELECT $1, change, account, sid, tries, failure, {NOW} \
         FROM unnest($2::bigint[], $3::text[], $4::text[], $5::integer[], $6::text[]) \
         AS row (change, account, sid, tries, failure) \
         ON CONFLICT (forward, change) DO UPDATE SET \
         tries = excluded.tries, failure = excluded.failure, at = excluded.at, replay = false"
    );
    let put = sqlx::query(AssertSqlSafe(put))
        .bind(&claim.forward)
        .bind(rows.iter().map(|row| row.change).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.account.as_str()).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.sid.as_deref()).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| tries(row.tries)).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.failure.as_str()).collect::<Vec<_>>());
    put.persistent(keep).execute(connection).await.map(|_| ())
}

fn tries(tries: u32) -> i32 {
    i32::try_from(tries).unwrap_or(i32::MAX)
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
