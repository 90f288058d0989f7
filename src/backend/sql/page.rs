//! What the pages of a search and of a purge have in common.

use sqlx::QueryBuilder;

use super::dialect::Dialect;
use crate::backend::search::{Cursor, OwnParameter};
use crate::twilio::address::kept;

/// Either end is one of these. Each comparison is a look into an index.
pub(in crate::backend) fn push_addresses<DB: Dialect>(
    sql: &mut QueryBuilder<DB>,
    forms: &[String],
) {
    sql.push(" AND (");
    for (place, form) in forms.iter().enumerate() {
        for column in ["\"from\"", "\"to\""] {
            sql.push(if place == 0 && column == "\"from\"" { "" } else { " OR " });
            let kept = kept(form);
            DB::push_text(sql.push(format_args!("{column} = ")), &kept);
            if kept != *form {
                // As it was kept before.
                DB::push_text(sql.push(format_args!(" OR {column} = ")), form);
            }
        }
    }
    sql.push(")");
}

/// Has one of these values under this name.
pub(in crate::backend) fn push_own<DB: Dialect>(
    sql: &mut QueryBuilder<DB>,
    own: Option<&OwnParameter>,
) {
    let Some(OwnParameter { name, values }) = own else { return };
    for (place, value) in values.iter().enumerate() {
        sql.push(if place == 0 { " AND (" } else { " OR " });
        DB::push_own(sql, name, value);
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
