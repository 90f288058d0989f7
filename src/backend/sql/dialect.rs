//! [`Dialect`]: in what the two databases differ.

use sqlx::Database;

/// In what the two databases differ.
pub(in crate::backend) trait Dialect: Database {
    /// The function that says where a text is in another, counted from 1, or 0.
    const POSITION: &str;
    /// Makes a time of text.
    const TIME: &str;

    /// Makes text of a time: RFC 3339 in UTC with six decimals.
    fn time_as_text(column: &str) -> String;
}

impl Dialect for sqlx::Sqlite {
    const POSITION: &str = "instr";
    const TIME: &str = "";

    fn time_as_text(column: &str) -> String {
        column.to_owned()
    }
}

impl Dialect for sqlx::Postgres {
    const POSITION: &str = "strpos";
    const TIME: &str = "::timestamptz";

    fn time_as_text(column: &str) -> String {
        format!("to_char({column} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')")
    }
}
