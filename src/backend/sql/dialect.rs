//! [`Dialect`]: in what the two databases differ.

use sqlx::{Database, QueryBuilder};

use crate::clock::Timestamp;

/// In what the two databases differ.
pub(in crate::backend) trait Dialect: Database {
    /// The function that says where a text is in another, counted from 1, or 0.
    const POSITION: &str;
    /// Makes a time of text.
    const TIME: &str;
    /// Whether a status is not final, as the index of open calls has it.
    const NOT_FINAL: &str;

    /// Selects the last id that was ever given to a change.
    const LAST_CHANGE: &str;

    /// Makes text of a time: RFC 3339 in UTC with six decimals.
    fn time_as_text(column: &str) -> String;

    /// Makes text of JSON.
    fn json_as_text(column: &str) -> String;

    /// Binds a text as the next parameter.
    fn push_text(sql: &mut QueryBuilder<Self>, text: &str);

    /// Binds a number as the next parameter.
    fn push_number(sql: &mut QueryBuilder<Self>, number: i64);

    /// Binds a time as the next parameter.
    fn push_time(sql: &mut QueryBuilder<Self>, time: Timestamp) {
        Self::push_text(sql, &time.to_string());
        sql.push(Self::TIME);
    }
}

impl Dialect for sqlx::Sqlite {
    const POSITION: &str = "instr";
    const TIME: &str = "";
    const NOT_FINAL: &str = "final = 0";
    const LAST_CHANGE: &str = "SELECT seq FROM sqlite_sequence WHERE name = 'changes'";

    fn time_as_text(column: &str) -> String {
        column.to_owned()
    }

    fn json_as_text(column: &str) -> String {
        column.to_owned()
    }

    fn push_text(sql: &mut QueryBuilder<Self>, text: &str) {
        sql.push_bind(text.to_owned());
    }

    fn push_number(sql: &mut QueryBuilder<Self>, number: i64) {
        sql.push_bind(number);
    }
}

impl Dialect for sqlx::Postgres {
    const POSITION: &str = "strpos";
    const TIME: &str = "::timestamptz";
    const NOT_FINAL: &str = "NOT final";
    const LAST_CHANGE: &str = "SELECT last_value FROM changes_id_seq";

    fn time_as_text(column: &str) -> String {
        format!("to_char({column} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')")
    }

    fn json_as_text(column: &str) -> String {
        format!("{column}::text")
    }

    fn push_text(sql: &mut QueryBuilder<Self>, text: &str) {
        sql.push_bind(text.to_owned());
    }

    fn push_number(sql: &mut QueryBuilder<Self>, number: i64) {
        sql.push_bind(number);
    }
}
