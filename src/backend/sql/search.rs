//! The SQL of a search.

use sqlx::{Encode, QueryBuilder, Type};

use super::dialect::Dialect;
use super::page::{push_addresses, push_after};
use crate::backend::search::{Cursor, EventSearch, Needle, PAGE, Span, StatusSearch};

/// What follows `FROM statuses`.
pub(in crate::backend) fn push_statuses<DB: Dialect>(
    sql: &mut QueryBuilder<DB>,
    search: &StatusSearch,
) where
    String: for<'q> Encode<'q, DB> + Type<DB>,
{
    sql.push(" WHERE TRUE");
    match &search.needle {
        None => {}
        Some(Needle::Prefix(prefix)) => {
            sql.push(" AND sid >= ").push_bind(prefix.clone());
            sql.push(" AND sid < ").push_bind(format!("{prefix}\u{10FFFF}"));
        }
        Some(Needle::Part(part)) => {
            sql.push(format_args!(" AND {}(sid, ", DB::POSITION)).push_bind(part.clone());
            sql.push(") > 0");
        }
        Some(Needle::Address(forms)) => push_addresses(sql, forms),
    }
    equal(sql, "resource", search.resource.map(|resource| resource.as_str().to_owned()));
    equal(sql, "status", search.status.clone());
    equal(sql, "account", search.account.clone());
    equal(sql, "error_code", search.error.clone());
    push_page(sql, ["statuses.first_seen", "sid"], search.span, &search.after, search.limit);
}

/// What follows `FROM events`.
pub(in crate::backend) fn push_events<DB: Dialect>(sql: &mut QueryBuilder<DB>, search: &EventSearch)
where
    String: for<'q> Encode<'q, DB> + Type<DB>,
{
    sql.push(" WHERE TRUE");
    equal(sql, "sid", search.sid.clone());
    equal(sql, "kind", search.kind.map(|kind| kind.as_str().to_owned()));
    equal(sql, "status", search.status.clone());
    equal(sql, "account", search.account.clone());
    push_page(sql, ["events.received_at", "key"], search.span, &search.after, search.limit);
}

fn equal<DB: Dialect>(sql: &mut QueryBuilder<DB>, column: &str, value: Option<String>)
where
    String: for<'q> Encode<'q, DB> + Type<DB>,
{
    if let Some(value) = value {
        sql.push(format_args!(" AND {column} = ")).push_bind(value);
    }
}

fn push_page<DB: Dialect>(
    sql: &mut QueryBuilder<DB>,
    [time, id]: [&str; 2],
    span: Span,
    after: &Option<Cursor>,
    limit: u32,
) where
    String: for<'q> Encode<'q, DB> + Type<DB>,
{
    for (comparison, bound) in [(">=", span.since), ("<", span.until)] {
        if let Some(bound) = bound {
            sql.push(format_args!(" AND {time} {comparison} ")).push_bind(bound.to_string());
            sql.push(DB::TIME);
        }
    }
    if let Some(after) = after {
        push_after(sql, [time, id], "<", after);
    }
    let limit = limit.clamp(1, PAGE);
    sql.push(format_args!(" ORDER BY {time} DESC, {id} DESC, account DESC LIMIT {limit}"));
}
