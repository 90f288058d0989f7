//! What the pages of a search and of a purge have in common.

use sqlx::QueryBuilder;

use super::dialect::Dialect;
use crate::backend::search::Cursor;

/// As much of an address is in the index. No number is longer; a name may be.
const INDEXED: usize = 64;

/// By what is in the index, as it is written there; then by the whole.
pub(in crate::backend) fn push_addresses<DB: Dialect>(
    sql: &mut QueryBuilder<DB>,
    forms: &[String],
) {
    sql.push(" AND (");
    for (place, form) in forms.iter().enumerate() {
        for column in ["\"from\"", "\"to\""] {
            sql.push(if place == 0 && column == "\"from\"" { "" } else { " OR " });
            let start: String = form.chars().take(INDEXED).collect();
            DB::push_text(sql.push(format_args!("(substr({column}, 1, {INDEXED}) = ")), &start);
            DB::push_text(sql.push(format_args!(" AND {column} = ")), form);
            sql.push(")");
        }
    }
    sql.push(")");
}

/// Behind a row in the order of time, name and account. The first two are in the index.
pub(in crate::backend) fn push_after<DB: Dialect>(
    sql: &mut QueryBuilder<DB>,
    [time, id]: [&str; 2],
    comparison: &str,
    after: &Cursor,
) {
    sql.push(format_args!(" AND ({time}, {id}, account) {comparison} ("));
    DB::push_time(sql, after.at);
    DB::push_text(sql.push(", "), &after.id);
    DB::push_text(sql.push(", "), &after.account);
    sql.push(")");
}
