//! [`Dialect`]: in what the two databases differ.

use serde_json::Value;
use sqlx::{Database, QueryBuilder};

use crate::clock::Timestamp;

/// The differences between the two databases.
pub(in crate::backend) trait Dialect: Database {
    /// The function that says where a text is in another, counted from 1, or 0.
    const POSITION: &str;
    /// Makes a time of text.
    const TIME: &str;
    /// Whether a status is not final, as the index of open calls has it.
    const NOT_FINAL: &str;

    /// Whether what was given up is to be forwarded after all.
    const REPLAYED: &str;

    /// Selects the last id that was ever given to a change.
    const LAST_CHANGE: &str;

    /// Makes text of a time: RFC 3339 in UTC with six decimals.
    fn time_as_text(column: &str) -> String;

    /// Makes text of JSON.
    fn json_as_text(column: &str) -> String;

    /// Whether `own` has this value under this name, alone or among several.
    fn push_own(sql: &mut QueryBuilder<Self>, name: &str, value: &str);

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
    const REPLAYED: &str = "replay = 1";
    const LAST_CHANGE: &str = "SELECT seq FROM sqlite_sequence WHERE name = 'changes'";

    fn time_as_text(column: &str) -> String {
        column.to_owned()
    }

    fn json_as_text(column: &str) -> String {
        column.to_owned()
    }

    /// Searches the text of the value first, which is written the same there and here: that is far cheaper than parsing
    /// the object of every row, which has no index.
    fn push_own(sql: &mut QueryBuilder<Self>, name: &str, value: &str) {
        Self::push_text(sql.push("(instr(own, "), &Value::from(value).to_string());
        sql.push(") > 0 AND EXISTS (SELECT 1 FROM json_each(own) AS named WHERE named.key = ");
        Self::push_text(sql, name);
        Self::push_text(sql.push(" AND (named.type = 'text' AND named.value = "), value);
        sql.push(
            " OR named.type = 'array' AND EXISTS (SELECT 1 FROM json_each(named.value) AS one",
        );
        Self::push_text(sql.push(" WHERE one.value = "), value);
        sql.push("))))");
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
    const REPLAYED: &str = "replay";
    const LAST_CHANGE: &str = "SELECT last_value FROM changes_id_seq";

    fn time_as_text(column: &str) -> String {
        format!("to_char({column} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')")
    }

    fn json_as_text(column: &str) -> String {
        format!("{column}::text")
    }

    /// Appends a condition on a parameter, in the form that the index serves.
    fn push_own(sql: &mut QueryBuilder<Self>, name: &str, value: &str) {
        let object = |value: Value| Value::Object([(name.to_owned(), value)].into_iter().collect());
        Self::push_text(sql.push("own @> "), &object(value.into()).to_string());
        let among = object(Value::Array(vec![value.into()]));
        Self::push_text(sql.push("::jsonb OR own @> "), &among.to_string());
        sql.push("::jsonb");
    }

    fn push_text(sql: &mut QueryBuilder<Self>, text: &str) {
        sql.push_bind(text.to_owned());
    }

    fn push_number(sql: &mut QueryBuilder<Self>, number: i64) {
        sql.push_bind(number);
    }
}
