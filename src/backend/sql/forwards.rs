//! What both databases read of forwards, and rows of it as values.

use std::time::Duration;

use sqlx::{ColumnIndex, Decode, QueryBuilder, Row, Type};

use super::columns::changes_as_read;
use super::dialect::Dialect;
use super::rows;
use crate::backend::forwards::{
    Claimed, Disabled, ForwardState, Held, Listed, MOST_BEHIND, ROWS_PER_PAGE, Waiting,
};
use crate::clock::Timestamp;
use crate::event::Change;
use crate::labels::Label as _;

/// Which forwards retention waits for: not those that a person has disabled, nor those that go on from the end.
pub(in crate::backend) const COUNTS: &str = "(disabled IS NULL OR disabled IN ('failing', 'gone'))";

/// The columns that [`held`] reads, beside the database's clock.
pub(in crate::backend) fn held_as_read<DB: Dialect>(now: &str) -> String {
    let (now, since) = (DB::time_as_text(now), DB::time_as_text("failing_since"));
    format!("feed, cursor, disabled, {since} AS failing_since, {now} AS now")
}

/// Reads a row of [`held_as_read`].
pub(in crate::backend) fn held<'r, R>(row: &'r R) -> Result<Held, sqlx::Error>
where
    R: Row,
    &'static str: ColumnIndex<R>,
    String: Decode<'r, R::Database> + Type<R::Database>,
    i64: Decode<'r, R::Database> + Type<R::Database>,
{
    let (now, since) = (time(row, "now")?, time(row, "failing_since")?);
    let failing_for = now.zip(since).map(|(now, since)| now.since(since));
    Ok(Held { feed: row.try_get("feed")?, cursor: row.try_get("cursor")?, failing_for })
}

/// What a claim comes to that found no forward which is free: what there is of it, in column `disabled`.
pub(in crate::backend) fn not_held<'r, R>(row: Option<&'r R>) -> Result<Claimed, sqlx::Error>
where
    R: Row,
    &'static str: ColumnIndex<R>,
    String: Decode<'r, R::Database> + Type<R::Database>,
{
    let Some(row) = row else { return Ok(Claimed::Unknown) };
    Ok(disabled(row)?.map_or(Claimed::Taken, Claimed::Disabled))
}

/// Reads what waits of a forward, with the database's clock.
pub(in crate::backend) fn waiting<DB: Dialect>(forward: &str, now: &str) -> QueryBuilder<DB> {
    let (due, now) = (DB::time_as_text("due"), DB::time_as_text(now));
    let mut sql = QueryBuilder::new(format!(
        "SELECT change, account, sid, CAST(tries AS bigint) AS tries, {due} AS due, {now} AS now \
         FROM forward_waiting WHERE forward = "
    ));
    DB::push_text(&mut sql, forward);
    sql.push(" ORDER BY change");
    sql
}

/// Reads what was given up and is to be sent after all.
pub(in crate::backend) fn replays<DB: Dialect>(forward: &str, limit: u32) -> QueryBuilder<DB> {
    let mut sql = QueryBuilder::new(
        "SELECT change, account, sid, CAST(0 AS bigint) AS tries, NULL AS due, NULL AS now \
         FROM forward_given_up WHERE forward = ",
    );
    DB::push_text(&mut sql, forward);
    let limit = limit.clamp(1, ROWS_PER_PAGE);
    sql.push(format_args!(" AND {} ORDER BY change LIMIT {limit}", DB::REPLAYED));
    sql
}

/// Reads a row of [`waiting`] or [`replays`].
pub(in crate::backend) fn waiting_row<'r, R>(row: &'r R) -> Result<Waiting, sqlx::Error>
where
    R: Row,
    &'static str: ColumnIndex<R>,
    String: Decode<'r, R::Database> + Type<R::Database>,
    i64: Decode<'r, R::Database> + Type<R::Database>,
{
    let (now, due) = (time(row, "now")?, time(row, "due")?);
    Ok(Waiting {
        change: row.try_get("change")?,
        account: row.try_get("account")?,
        sid: row.try_get("sid")?,
        tries: tries(row)?,
        due_in: due.map(|due| now.map_or(Duration::ZERO, |now| due.since(now))),
    })
}

/// Which of the two lists.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::backend) enum List {
    /// What waits.
    Waiting,
    /// What was given up.
    GivenUp,
}

/// A page of a list, behind a change.
pub(in crate::backend) fn list<DB: Dialect>(
    list: List,
    forward: &str,
    after: i64,
    limit: u32,
) -> QueryBuilder<DB> {
    let (table, failure, at, replay) = match list {
        List::Waiting => ("forward_waiting", "NULL", "due", "NULL"),
        List::GivenUp => ("forward_given_up", "failure", "at", DB::REPLAYED),
    };
    let at = DB::time_as_text(at);
    let mut sql = QueryBuilder::new(format!(
        "SELECT change, account, sid, CAST(tries AS bigint) AS tries, {failure} AS failure, \
         {at} AS at, CASE WHEN {replay} THEN 'yes' END AS replay FROM {table} WHERE forward = "
    ));
    DB::push_text(&mut sql, forward);
    DB::push_number(sql.push(" AND change > "), after);
    let limit = limit.clamp(1, ROWS_PER_PAGE);
    sql.push(format_args!(" ORDER BY change LIMIT {limit}"));
    sql
}

/// Reads a row of [`list`].
pub(in crate::backend) fn listed<'r, R>(row: &'r R) -> Result<Listed, sqlx::Error>
where
    R: Row,
    &'static str: ColumnIndex<R>,
    String: Decode<'r, R::Database> + Type<R::Database>,
    i64: Decode<'r, R::Database> + Type<R::Database>,
{
    Ok(Listed {
        change: row.try_get("change")?,
        account: row.try_get("account")?,
        sid: row.try_get("sid")?,
        tries: tries(row)?,
        failure: row.try_get("failure")?,
        at: time(row, "at")?,
        replayed: row.try_get::<Option<String>, _>("replay")?.is_some(),
    })
}

/// Reads every forward.
pub(in crate::backend) fn states<DB: Dialect>() -> QueryBuilder<DB> {
    let text = |column| DB::time_as_text(column);
    let behind = DB::time_as_text("changes.stored_at");
    let (disabled_at, failing) = (text("disabled_at"), text("failing_since"));
    QueryBuilder::new(format!(
        "SELECT name, cursor, holder, disabled, {disabled_at} AS disabled_at, \
         {failing} AS failing_since, \
         (SELECT count(*) FROM (SELECT 1 AS one FROM changes WHERE id > forwards.cursor \
          LIMIT {MOST_BEHIND}) AS behind) AS behind, \
         (SELECT {behind} FROM changes WHERE id > forwards.cursor ORDER BY id LIMIT 1) AS behind_since, \
         (SELECT count(*) FROM forward_waiting WHERE forward = forwards.name) AS waiting, \
         (SELECT count(*) FROM forward_given_up WHERE forward = forwards.name) AS given_up \
         FROM forwards ORDER BY name LIMIT {ROWS_PER_PAGE}"
    ))
}

/// Reads a row of [`states`].
pub(in crate::backend) fn state<'r, R>(row: &'r R) -> Result<ForwardState, sqlx::Error>
where
    R: Row,
    &'static str: ColumnIndex<R>,
    String: Decode<'r, R::Database> + Type<R::Database>,
    i64: Decode<'r, R::Database> + Type<R::Database>,
{
    let count = |column| row.try_get::<i64, _>(column).map(i64::unsigned_abs);
    Ok(ForwardState {
        name: row.try_get("name")?,
        cursor: row.try_get("cursor")?,
        behind: count("behind")?,
        behind_since: time(row, "behind_since")?,
        holder: row.try_get("holder")?,
        disabled: disabled(row)?,
        disabled_at: time(row, "disabled_at")?,
        failing_since: time(row, "failing_since")?,
        waiting: count("waiting")?,
        given_up: count("given_up")?,
    })
}

/// Reads when the first change was stored that a forward still needs, and the database's clock: of what is behind the cursor,
/// and of what waits. By ids alone, so that it costs the same however far the forward is behind: `stored_at` has no index.
pub(in crate::backend) fn needed<DB: Dialect>(forward: &str, now: &str) -> QueryBuilder<DB> {
    const BEHIND: &str = "SELECT stored_at FROM changes \
        WHERE changes.id > CASE WHEN cursor > cut THEN cursor ELSE cut END ORDER BY changes.id LIMIT 1";
    const WAITS: &str = "SELECT stored_at FROM (SELECT change, \
        (SELECT stored_at FROM changes WHERE changes.id = change) AS stored_at \
        FROM forward_waiting WHERE forward = forwards.name) AS waits \
        WHERE stored_at IS NOT NULL ORDER BY change LIMIT 1";
    let (since, now) = (DB::time_as_text("min(stored_at)"), DB::time_as_text(now));
    let mut sql = QueryBuilder::new(format!("SELECT {since} AS since, {now} AS now FROM ("));
    for (first, union) in [(BEHIND, " UNION ALL "), (WAITS, ") AS needed")] {
        sql.push(format_args!(
            "SELECT ({first}) AS stored_at FROM forwards CROSS JOIN feed WHERE {COUNTS} AND name = "
        ));
        DB::push_text(&mut sql, forward);
        sql.push(union);
    }
    sql
}

/// Reads the row of [`needed`]: since when it needs what was stored. What is older than `max_age` may go.
pub(in crate::backend) fn needed_since<'r, R>(
    row: &'r R,
    max_age: Duration,
) -> Result<Option<Timestamp>, sqlx::Error>
where
    R: Row,
    &'static str: ColumnIndex<R>,
    String: Decode<'r, R::Database> + Type<R::Database>,
{
    let (since, now) = (time(row, "since")?, time(row, "now")?);
    Ok(since.zip(now).map(|(since, now)| since.max(now.before(max_age))))
}

/// The start of a query for changes.
pub(in crate::backend) fn select_changes<DB: Dialect>() -> String {
    format!("SELECT {} FROM changes", changes_as_read::<DB>())
}

/// The changes of these rows, each with its event if that is among the others.
pub(in crate::backend) fn with_events<C, E>(
    changes: &[C],
    events: &[E],
) -> Result<Vec<(Change, Option<crate::event::Event>)>, sqlx::Error>
where
    C: Row,
    for<'r> &'static str: ColumnIndex<C>,
    for<'r> String: Decode<'r, C::Database> + Type<C::Database>,
    for<'r> i64: Decode<'r, C::Database> + Type<C::Database>,
    for<'r> bool: Decode<'r, C::Database> + Type<C::Database>,
    E: Row,
    for<'r> &'static str: ColumnIndex<E>,
    for<'r> String: Decode<'r, E::Database> + Type<E::Database>,
    for<'r> Vec<u8>: Decode<'r, E::Database> + Type<E::Database>,
    for<'r> i64: Decode<'r, E::Database> + Type<E::Database>,
{
    let events = events.iter().map(|row| Ok(rows::event(row)?.event));
    let events: Result<Vec<_>, sqlx::Error> = events.collect();
    let mut events: std::collections::HashMap<_, _> = events?
        .into_iter()
        .map(|event| ((event.key.clone(), event.account.clone()), event))
        .collect();
    let changes = changes.iter().map(|row| {
        let change = rows::change(row)?;
        let event = events.remove(&(change.key.clone(), change.account.clone()));
        Ok((change, event))
    });
    changes.collect()
}

fn tries<'r, R>(row: &'r R) -> Result<u32, sqlx::Error>
where
    R: Row,
    &'static str: ColumnIndex<R>,
    i64: Decode<'r, R::Database> + Type<R::Database>,
{
    Ok(u32::try_from(row.try_get::<i64, _>("tries")?).unwrap_or_default())
}

fn disabled<'r, R>(row: &'r R) -> Result<Option<Disabled>, sqlx::Error>
where
    R: Row,
    &'static str: ColumnIndex<R>,
    String: Decode<'r, R::Database> + Type<R::Database>,
{
    let text: Option<String> = row.try_get("disabled")?;
    // A newer version may know more reasons. That it is disabled is what counts.
    Ok(text.map(|text| Disabled::parse(&text).unwrap_or(Disabled::Operator)))
}

fn time<'r, R>(row: &'r R, column: &'static str) -> Result<Option<Timestamp>, sqlx::Error>
where
    R: Row,
    &'static str: ColumnIndex<R>,
    String: Decode<'r, R::Database> + Type<R::Database>,
{
    let text: Option<String> = row.try_get(column)?;
    Ok(text.as_deref().and_then(Timestamp::parse_rfc3339))
}
