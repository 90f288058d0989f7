//! [`PostgresSession`].

use std::time::Duration;

use sqlx::{AssertSqlSafe, Column as _, PgConnection, Row as _, TypeInfo as _, ValueRef as _};

use super::cells::{Cell, Cells};
use super::{Param, Session};

/// A transaction of Postgres; `keep`: its statements stay prepared.
#[derive(Debug)]
pub(in crate::backend) struct PostgresSession<'c> {
    pub(in crate::backend) connection: &'c mut PgConnection,
    pub(in crate::backend) keep: bool,
}

impl Session for PostgresSession<'_> {
    const TIME: &'static str = "::timestamptz";
    const TEXT: &'static str = "::text";
    const NOW: &'static str = "clock_timestamp()";
    const TRUE: &'static str = "true";
    const FALSE: &'static str = "false";
    const FOR_UPDATE: &'static str = " FOR UPDATE";
    const SKIP_LOCKED: &'static str = " FOR UPDATE SKIP LOCKED";
    const FOR_SHARE: &'static str = " FOR SHARE";

    fn time(column: &str) -> String {
        let name = column.rsplit('.').next().unwrap_or(column);
        format!("{} AS {name}", Self::time_of(column))
    }

    fn time_of(expression: &str) -> String {
        format!("to_char({expression} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')")
    }

    fn later(time: &str, by: Duration) -> String {
        format!("({time} + interval '{} microseconds')", by.as_micros())
    }

    fn earlier(time: &str, by: Duration) -> String {
        format!("({time} - interval '{} microseconds')", by.as_micros())
    }

    fn among(column: &str, parameter: u32) -> String {
        format!("{column} = ANY(${parameter}::text[])")
    }

    fn pairs(a: u32, b: u32) -> String {
        format!("unnest(${a}::text[], ${b}::text[]) AS pairs (a, b)")
    }

    async fn rows(&mut self, sql: &str, params: Vec<Param>) -> Result<Vec<Cells>, sqlx::Error> {
        let query = sqlx::query(AssertSqlSafe(sql)).persistent(self.keep);
        let query = params.into_iter().fold(query, |query, param| match param {
            Param::Number(number) => query.bind(number),
            Param::Text(text) => query.bind(text),
            Param::Texts(texts) => query.bind(texts),
        });
        let rows = query.fetch_all(&mut *self.connection).await?;
        let cell = |row: &sqlx::postgres::PgRow, at: usize| {
            let value = row.try_get_raw(at)?;
            if value.is_null() {
                return Ok::<_, sqlx::Error>(Cell::Null);
            }
            Ok(match value.type_info().name() {
                "INT4" => Cell::Number(row.try_get::<i32, _>(at)?.into()),
                "BOOL" => Cell::Number(row.try_get::<bool, _>(at)?.into()),
                "TEXT" | "VARCHAR" => Cell::Text(row.try_get(at)?),
                _ => Cell::Number(row.try_get(at)?),
            })
        };
        let row = |row: &sqlx::postgres::PgRow| {
            let cells = row.columns().iter().enumerate();
            let cells = cells.map(|(at, column)| Ok((column.name().to_owned(), cell(row, at)?)));
            cells.collect::<Result<_, sqlx::Error>>().map(Cells)
        };
        rows.iter().map(row).collect()
    }

    async fn execute(&mut self, sql: &str, params: Vec<Param>) -> Result<u64, sqlx::Error> {
        let query = sqlx::query(AssertSqlSafe(sql)).persistent(self.keep);
        let query = params.into_iter().fold(query, |query, param| match param {
            Param::Number(number) => query.bind(number),
            Param::Text(text) => query.bind(text),
            Param::Texts(texts) => query.bind(texts),
        });
        Ok(query.execute(&mut *self.connection).await?.rows_affected())
    }
}
