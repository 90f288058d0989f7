//! The columns of both tables: those that a commit fills, and those that a read returns.

use super::dialect::Dialect;

/// The columns of `events` that a commit fills, in the order in which the values are bound. `insert.sql`
/// of Postgres names the same.
pub(in crate::backend) const EVENTS: [&str; 23] = [
    "key",
    "kind",
    "account",
    "sid",
    "resource",
    "status",
    "rank",
    "sequence",
    "occurred_at",
    "received_at",
    "format",
    "query",
    "params",
    "body",
    "about_account",
    "call_sid",
    "fingerprint",
    "method",
    "route",
    "idempotency_token",
    "own",
    "attempt",
    "callee",
];

/// The columns of `statuses` that a commit fills, in the order in which the values are bound. `insert_statuses.sql`
/// of Postgres names the same.
pub(in crate::backend) const STATUSES: [&str; 17] = [
    "sid",
    "resource",
    "account",
    "status",
    "final",
    "\"from\"",
    "\"to\"",
    "direction",
    "duration",
    "error_code",
    "terminals",
    "first_seen",
    "updated",
    "position",
    "error_position",
    "own",
    "own_order",
];

/// The columns of `changes` that a commit fills, in the order in which the values are bound. `changes.sql` of Postgres
/// names the same, behind `id`.
pub(in crate::backend) const CHANGES: [&str; 11] = [
    "account",
    "key",
    "kind",
    "sid",
    "resource",
    "status",
    "previous",
    "current",
    "moved",
    "error_code",
    "own",
];

/// The start of a query for what [`rows::event`](super::rows::event) reads.
pub(in crate::backend) fn select_events<DB: Dialect>() -> String {
    format!("SELECT {} FROM events", as_read::<DB>(&EVENTS))
}

/// The start of a query for what [`rows::current`](super::rows::current) reads.
pub(in crate::backend) fn select_statuses<DB: Dialect>() -> String {
    format!("SELECT {} FROM statuses", statuses_as_read::<DB>())
}

/// The list of columns for what [`rows::current`](super::rows::current) reads.
pub(in crate::backend) fn statuses_as_read<DB: Dialect>() -> String {
    as_read::<DB>(&STATUSES)
}

/// The list of columns for what [`rows::change`](super::rows::change) reads.
pub(in crate::backend) fn changes_as_read<DB: Dialect>() -> String {
    format!("id, {} AS stored_at, {}", DB::time_as_text("stored_at"), as_read::<DB>(&CHANGES))
}

/// The columns under their own names, with times and JSON as text.
fn as_read<DB: Dialect>(columns: &[&str]) -> String {
    let columns = columns.iter().map(|column| match *column {
        "occurred_at" | "received_at" | "first_seen" | "updated" => {
            format!("{} AS {column}", DB::time_as_text(column))
        }
        "params" | "own" => format!("{} AS {column}", DB::json_as_text(column)),
        _ => (*column).to_owned(),
    });
    columns.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(sql: &str) -> Vec<&str> {
        let list = sql.split_once('(').and_then(|(_, rest)| rest.split_once(')'));
        list.expect("a list of columns").0.split(',').map(str::trim).collect()
    }

    #[test]
    fn the_statements_of_postgres_name_the_same_columns() {
        let events = include_str!("../postgres/insert.sql");
        let insert = events.find("INSERT INTO events").expect("it inserts");
        assert_eq!(names(&events[insert..]), EVENTS);
        assert_eq!(names(include_str!("../postgres/insert_statuses.sql")), STATUSES);
        let changes = include_str!("../postgres/changes.sql");
        let insert = changes.find("INSERT INTO").expect("it inserts");
        assert_eq!(names(&changes[insert..])[1..], CHANGES);
    }

    #[test]
    fn what_is_copied_has_the_same_columns_and_the_time_at_which_it_was_stored() {
        let with_time = |columns: &[&'static str]| [columns, &["stored_at"]].concat();
        let events = include_str!("../postgres/copy_events.sql");
        let insert = events.find("INSERT INTO events").expect("it inserts");
        assert_eq!(names(&events[insert..]), with_time(&EVENTS));
        assert_eq!(names(include_str!("../postgres/copy_statuses.sql")), with_time(&STATUSES));
    }
}
