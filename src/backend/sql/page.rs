//! What the pages of a search and of a purge have in common.

use sqlx::{Encode, QueryBuilder, Type};

use super::dialect::Dialect;
use crate::backend::search::Cursor;

/// As much of an address is in the index. No number is longer; a name may be.
const INDEXED: usize = 64;

/// By what is in the index, as it is written there; then by the whole.
pub(in crate::backend) fn push_addresses<DB: Dialect>(sql: &mut QueryBuilder<DB>, forms: &[String])
where
    String: for<'q> Encode<'q, DB> + Type<DB>,
{
    sql.push(" AND (");
    for (place, form) in forms.iter().enumerate() {
        for column in ["\"from\"", "\"to\""] {
            sql.push(if place == 0 && column == "\"from\"" { "" } else { " OR " });
            let start: String = form.chars().take(INDEXED).collect();
            sql.push(format_args!("(substr({column}, 1, {INDEXED}) = ")).push_bind(start);
            sql.push(format_args!(" AND {column} = ")).push_bind(form.clone()).push(")");
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
) where
    String: for<'q> Encode<'q, DB> + Type<DB>,
{
    sql.push(format_args!(" AND ({time}, {id}, account) {comparison} ("));
    sql.push_bind(after.at.to_string()).push(DB::TIME).push(", ");
    sql.push_bind(after.id.clone()).push(", ").push_bind(after.account.clone()).push(")");
}
