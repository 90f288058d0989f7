//! The SQL that counts.

use sqlx::QueryBuilder;

use super::dialect::Dialect;
use crate::backend::search::Counts;
use crate::clock::Timestamp;

/// Events received from `from` on and before `to`; no more than `most` are counted.
pub(in crate::backend) fn received<DB: Dialect>(
    from: Timestamp,
    to: Timestamp,
    most: u32,
) -> QueryBuilder<DB> {
    let mut sql = QueryBuilder::new("SELECT count(*) FROM (SELECT 1 FROM events");
    DB::push_time(sql.push(" WHERE received_at >= "), from);
    DB::push_time(sql.push(" AND received_at < "), to);
    sql.push(format_args!(" LIMIT {most}) AS found"));
    sql
}

/// Calls that began after `since` and have no final status; no more than `most` are counted.
pub(in crate::backend) fn calls_in_progress<DB: Dialect>(
    since: Timestamp,
    most: u32,
) -> QueryBuilder<DB> {
    let mut sql = QueryBuilder::new("SELECT count(*) FROM (SELECT 1 FROM statuses");
    sql.push(format_args!(" WHERE resource = 'call' AND {}", DB::NOT_FINAL));
    DB::push_time(sql.push(" AND first_seen > "), since);
    sql.push(format_args!(" LIMIT {most}) AS calls"));
    sql
}

/// How many participants the fullest conference has that began after `since` and has no final status, by those of its
/// events that say that one joined or left; no more than `most` conferences are looked at, the latest.
pub(in crate::backend) fn participants<DB: Dialect>(
    since: Timestamp,
    most: u32,
) -> QueryBuilder<DB> {
    // The events are looked up for each, by its SID: by the account, a planner that knows little of young tables reads all of
    // the account's.
    let mut sql = QueryBuilder::new(
        "SELECT coalesce(max(CASE WHEN present > 0 THEN present ELSE 0 END), 0) FROM (SELECT (SELECT \
         sum(CASE WHEN events.account <> open.account THEN 0 WHEN events.status = 'participant-join' THEN 1 ELSE -1 END) \
         FROM events WHERE events.sid = open.sid AND events.kind = 'conference' \
         AND events.status IN ('participant-join', 'participant-leave')) AS present FROM (SELECT sid, account \
         FROM statuses",
    );
    sql.push(format_args!(" WHERE resource = 'conference' AND {}", DB::NOT_FINAL));
    DB::push_time(sql.push(" AND first_seen > "), since);
    sql.push(format_args!(" ORDER BY first_seen DESC LIMIT {most}) AS open) AS conferences"));
    sql
}

/// Events by kind, as [`Counts::events`] has them.
pub(in crate::backend) fn events<DB: Dialect>(since: Timestamp) -> QueryBuilder<DB> {
    let mut sql = QueryBuilder::new("SELECT kind, count(*) FROM events WHERE received_at >= ");
    DB::push_time(&mut sql, since);
    sql.push(" GROUP BY 1 ORDER BY 1");
    sql
}

/// SIDs by what they are and by their status, as [`Counts::statuses`] has them.
pub(in crate::backend) fn statuses<DB: Dialect>(since: Timestamp) -> QueryBuilder<DB> {
    let mut sql =
        QueryBuilder::new("SELECT resource, status, count(*) FROM statuses WHERE first_seen >= ");
    DB::push_time(&mut sql, since);
    sql.push(" GROUP BY 1, 2 ORDER BY 1, 2");
    sql
}

/// The most frequent errors, as [`Counts::errors`] has them.
pub(in crate::backend) fn errors<DB: Dialect>(since: Timestamp) -> QueryBuilder<DB> {
    let mut sql = QueryBuilder::new("SELECT error_code, count(*) FROM statuses");
    DB::push_time(sql.push(" WHERE first_seen >= "), since);
    sql.push(" AND error_code IS NOT NULL GROUP BY 1 ORDER BY 2 DESC, 1");
    sql.push(format_args!(" LIMIT {}", Counts::ERRORS));
    sql
}
