//! [`RowPurge`]: deletes what is selected from the scale-out store, a page at a time.

use sqlx::{AssertSqlSafe, PgConnection, QueryBuilder, Row};
use time::OffsetDateTime;

use super::Postgres;
use crate::backend::BackendError;
use crate::backend::purge::{Found, Mode, ROWS_PER_STEP, Selection};
use crate::backend::search::Cursor;
use crate::backend::sql::outbox::forget;
use crate::backend::sql::purge::{EventHit, push_events, push_statuses};
use crate::backend::sql::session::PostgresSession;
use crate::clock::Timestamp;

/// Rows are locked in the order in which a commit locks them, so the two cannot deadlock.
const DELETE_EVENTS: &str = "
    WITH mine AS (
        SELECT key, account FROM events
        WHERE (key, account) IN (SELECT * FROM unnest($1::text[], $2::text[]))
        ORDER BY key, account FOR UPDATE
    )
    DELETE FROM events USING mine WHERE events.key = mine.key AND events.account = mine.account";
/// What the change feed says of these events, and what of it waits or was given up in a forward.
fn delete_changes(which: &str) -> String {
    format!(
        "WITH gone AS (DELETE FROM changes USING {which} RETURNING changes.id),
         waiting AS (DELETE FROM forward_waiting USING gone WHERE change = gone.id),
         given_up AS (DELETE FROM forward_given_up USING gone WHERE change = gone.id)
         SELECT count(*) FROM gone"
    )
}
/// Two statements, each with an index of its own.
const CHANGES_OF_EVENTS: [&str; 2] = [
    "unnest($1::text[], $2::text[], $3::text[]) AS mine (key, account, sid)
     WHERE changes.sid = mine.sid AND changes.key = mine.key AND changes.account = mine.account",
    "unnest($1::text[], $2::text[], $3::text[]) AS mine (key, account, sid)
     WHERE changes.sid IS NULL AND mine.sid IS NULL
       AND changes.key = mine.key AND changes.account = mine.account",
];
/// Also of events that are gone already.
const CHANGES_OF_SIDS: &str = "unnest($1::text[], $2::text[]) AS mine (sid, account)
     WHERE changes.sid = mine.sid AND changes.account = mine.account
       AND ($3 IS NULL OR changes.stored_at < $3)";
/// What is still to be decided about attempts under these SIDs.
const DELETE_WAKES: &str = "
    DELETE FROM wakes USING unnest($1::text[], $2::text[]) AS mine (sid, account)
    WHERE wakes.sid = mine.sid AND wakes.account = mine.account AND ($3 IS NULL OR wakes.at < $3)";
/// Unless something was stored about the SID meanwhile.
const DELETE_STATUSES: &str = "
    WITH mine AS (
        SELECT sid, account FROM statuses
        WHERE (sid, account) IN (SELECT * FROM unnest($1::text[], $2::text[]))
          AND ($3 IS NULL OR updated < $3)
        ORDER BY sid, account FOR UPDATE
    )
    DELETE FROM statuses USING mine
    WHERE statuses.sid = mine.sid AND statuses.account = mine.account";
const COUNT_STATUSES: &str = "
    SELECT count(*) FROM statuses
    WHERE (sid, account) IN (SELECT * FROM unnest($1::text[], $2::text[]))
      AND ($3 IS NULL OR updated < $3)";

/// Deletes what is selected.
#[derive(Clone, Debug)]
pub struct RowPurge(Postgres);

impl RowPurge {
    pub(super) fn new(postgres: Postgres) -> Self {
        Self(postgres)
    }

    pub(in crate::backend) async fn notifications(
        &self,
        selection: &Selection,
        after: &str,
        mode: Mode,
    ) -> Result<(Found, Option<String>), BackendError> {
        let step = async |connection: &mut PgConnection, keep| {
            forget::purge(&mut PostgresSession { connection, keep }, selection, after, mode).await
        };
        Ok(self.0.transact(step).await?)
    }

    pub(in crate::backend) async fn events(
        &self,
        selection: &Selection,
        after: Option<Cursor>,
        mode: Mode,
    ) -> Result<(Found, Option<Cursor>), BackendError> {
        let mut page = QueryBuilder::new("");
        push_events(&mut page, selection, &after);
        let step = async |connection: &mut PgConnection, keep| {
            let rows = page.build().persistent(keep).fetch_all(&mut *connection).await?;
            let hits = rows.iter().map(|row| EventHit::of(row, selection));
            let hits: Vec<EventHit> = hits.collect::<Result<_, _>>()?;
            let selected: Vec<&EventHit> = hits.iter().filter(|hit| hit.selected).collect();
            let mut parts = IdColumns::default();
            if !selection.addresses.is_empty() {
                let selected = selected.iter().filter(|hit| hit.part);
                parts.extend(selected.filter_map(|hit| Some((hit.sid.as_deref()?, &*hit.account))));
            }
            let (keys, accounts): IdColumns<'_> =
                selected.iter().map(|hit| (hit.key.as_str(), hit.account.as_str())).unzip();
            let mut found = Found { events: keys.len() as u64, ..Found::default() };
            found.statuses = statuses(connection, &parts, selection, mode, keep).await?;
            if mode == Mode::Delete && !keys.is_empty() {
                let sids: Vec<Option<&str>> =
                    selected.iter().map(|hit| hit.sid.as_deref()).collect();
                for which in CHANGES_OF_EVENTS {
                    let delete = AssertSqlSafe(delete_changes(which));
                    let delete = sqlx::query(delete).bind(&keys).bind(&accounts).bind(&sids);
                    delete.persistent(keep).execute(&mut *connection).await?;
                }
                let wakes = sqlx::query(DELETE_WAKES).bind(&sids).bind(&accounts);
                let wakes = wakes.bind(None::<OffsetDateTime>).persistent(keep);
                wakes.execute(&mut *connection).await?;
                let delete = sqlx::query(DELETE_EVENTS).bind(&keys).bind(&accounts);
                let delete = delete.persistent(keep);
                found.events = delete.execute(connection).await?.rows_affected();
            }
            let last = hits.last().filter(|_| hits.len() == ROWS_PER_STEP as usize);
            Ok((found, last.and_then(|hit| Cursor::behind(&hit.at, &hit.key, &hit.account))))
        };
        Ok(self.0.run_limited(step).await?)
    }

    pub(in crate::backend) async fn statuses(
        &self,
        selection: &Selection,
        after: Option<Cursor>,
        mode: Mode,
    ) -> Result<(u64, Option<Cursor>), BackendError> {
        let mut page = QueryBuilder::new("");
        push_statuses(&mut page, selection, &after);
        let step = async |connection: &mut PgConnection, keep| {
            let rows = page.build().persistent(keep).fetch_all(&mut *connection).await?;
            let mut sids = IdColumns::default();
            for row in &rows {
                if row.try_get("selected")? {
                    sids.0.push(row.try_get("sid")?);
                    sids.1.push(row.try_get("account")?);
                }
            }
            let found = statuses(connection, &sids, selection, mode, keep).await?;
            let last = match rows.last().filter(|_| rows.len() == ROWS_PER_STEP as usize) {
                Some(last) => Cursor::behind(
                    last.try_get("at")?,
                    last.try_get("sid")?,
                    last.try_get("account")?,
                ),
                None => None,
            };
            Ok((found, last))
        };
        Ok(self.0.run_limited(step).await?)
    }
}

/// SIDs or keys, and the account of each.
type IdColumns<'a> = (Vec<&'a str>, Vec<&'a str>);

async fn statuses(
    connection: &mut PgConnection,
    (sids, accounts): &IdColumns<'_>,
    selection: &Selection,
    mode: Mode,
    keep: bool,
) -> Result<u64, sqlx::Error> {
    if sids.is_empty() {
        return Ok(0);
    }
    let before: Option<OffsetDateTime> = selection.before.map(Timestamp::datetime);
    match mode {
        Mode::Delete => {
            let changes = AssertSqlSafe(delete_changes(CHANGES_OF_SIDS));
            let changes = sqlx::query(changes).bind(sids).bind(accounts);
            changes.bind(before).persistent(keep).execute(&mut *connection).await?;
            let wakes = sqlx::query(DELETE_WAKES).bind(sids).bind(accounts).bind(before);
            wakes.persistent(keep).execute(&mut *connection).await?;
            let delete = sqlx::query(DELETE_STATUSES).bind(sids).bind(accounts).bind(before);
            Ok(delete.persistent(keep).execute(connection).await?.rows_affected())
        }
        Mode::Count => {
            let count = sqlx::query_scalar::<_, i64>(COUNT_STATUSES).bind(sids).bind(accounts);
            Ok(count.bind(before).persistent(keep).fetch_one(connection).await?.unsigned_abs())
        }
    }
}
