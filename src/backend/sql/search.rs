//! The SQL of what is read of events and statuses.

use sqlx::QueryBuilder;

use super::columns::{select_events, select_statuses};
use super::dialect::Dialect;
use super::page::{push_addresses, push_after, push_own};
use crate::backend::search::{
    ACCOUNTS, Cursor, EventSearch, Needle, ROWS_PER_PAGE, StatusSearch, TimeRange,
};
use crate::event::{Kind, Resource};

/// The current status of a SID in each account that has reported it, at most [`ACCOUNTS`].
pub(in crate::backend) fn statuses_of<DB: Dialect>(sid: &str) -> QueryBuilder<DB> {
    let mut sql = QueryBuilder::new(select_statuses::<DB>());
    DB::push_text(sql.push(" WHERE sid = "), sid);
    sql.push(format_args!(" ORDER BY account LIMIT {ACCOUNTS}"));
    sql
}

/// The events of a SID, and of what names it as its call, as they were received.
pub(in crate::backend) fn events_of<DB: Dialect>(
    sid: &str,
    account: Option<&str>,
    limit: u32,
) -> QueryBuilder<DB> {
    let mut sql = QueryBuilder::new(select_events::<DB>());
    DB::push_text(sql.push(" WHERE (sid = "), sid);
    DB::push_text(sql.push(" OR call_sid = "), sid);
    sql.push(")");
    equal(&mut sql, "account", account);
    sql.push(format_args!(" ORDER BY events.received_at, key, account LIMIT {limit}"));
    sql
}

/// Every event.
pub(in crate::backend) fn all_events<DB: Dialect>() -> QueryBuilder<DB> {
    let mut sql = QueryBuilder::new(select_events::<DB>());
    sql.push(" ORDER BY key, account");
    sql
}

/// Every current status.
pub(in crate::backend) fn all_statuses<DB: Dialect>() -> QueryBuilder<DB> {
    let mut sql = QueryBuilder::new(select_statuses::<DB>());
    sql.push(" ORDER BY sid, account");
    sql
}

/// A page of statuses.
pub(in crate::backend) fn find_statuses<DB: Dialect>(search: &StatusSearch) -> QueryBuilder<DB> {
    let mut select = QueryBuilder::new(select_statuses::<DB>());
    let sql = &mut select;
    sql.push(" WHERE TRUE");
    match &search.needle {
        None => {}
        Some(Needle::Prefix(prefix)) => {
            DB::push_text(sql.push(" AND sid >= "), prefix);
            DB::push_text(sql.push(" AND sid < "), &format!("{prefix}\u{10FFFF}"));
        }
        Some(Needle::Part(part)) => {
            DB::push_text(sql.push(format_args!(" AND {}(sid, ", DB::POSITION)), part);
            sql.push(") > 0");
        }
        Some(Needle::Address(forms)) => push_addresses(sql, forms),
    }
    equal(sql, "resource", search.resource.map(Resource::as_str));
    equal(sql, "status", search.status.as_deref());
    equal(sql, "account", search.account.as_deref());
    equal(sql, "error_code", search.error.as_deref());
    push_own(sql, search.own.as_ref());
    push_page(sql, ["statuses.first_seen", "sid"], search.span, &search.after, search.limit);
    select
}

/// A page of events.
pub(in crate::backend) fn find_events<DB: Dialect>(search: &EventSearch) -> QueryBuilder<DB> {
    let mut select = QueryBuilder::new(select_events::<DB>());
    let sql = &mut select;
    sql.push(" WHERE TRUE");
    equal(sql, "sid", search.sid.as_deref());
    equal(sql, "kind", search.kind.map(Kind::as_str));
    equal(sql, "status", search.status.as_deref());
    equal(sql, "account", search.account.as_deref());
    push_own(sql, search.own.as_ref());
    push_page(sql, ["events.received_at", "key"], search.span, &search.after, search.limit);
    select
}

fn equal<DB: Dialect>(sql: &mut QueryBuilder<DB>, column: &str, value: Option<&str>) {
    if let Some(value) = value {
        DB::push_text(sql.push(format_args!(" AND {column} = ")), value);
    }
}

fn push_page<DB: Dialect>(
    sql: &mut QueryBuilder<DB>,
    [time, id]: [&str; 2],
    span: TimeRange,
    after: &Option<Cursor>,
    limit: u32,
) {
    for (comparison, bound) in [(">=", span.since), ("<", span.until)] {
        if let Some(bound) = bound {
            DB::push_time(sql.push(format_args!(" AND {time} {comparison} ")), bound);
        }
    }
    if let Some(after) = after {
        push_after(sql, [time, id], "<", after);
    }
    let limit = limit.clamp(1, ROWS_PER_PAGE);
    sql.push(format_args!(" ORDER BY {time} DESC, {id} DESC, account DESC LIMIT {limit}"));
}
