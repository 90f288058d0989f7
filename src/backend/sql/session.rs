//! [`Session`]: statements that are the same in both databases, in a transaction of either.
//!
//! Values are numbers and text, and times are text (RFC 3339 with microseconds), so one statement serves both. What
//! differs is in the constants.

mod cells;
mod postgres;
mod sqlite;

use std::time::Duration;

pub(in crate::backend) use self::cells::{Cells, malformed};
pub(in crate::backend) use self::postgres::PostgresSession;
pub(in crate::backend) use self::sqlite::SqliteSession;
use crate::clock::Timestamp;

/// A parameter of a statement.
#[derive(Clone, Debug)]
pub(in crate::backend) enum Param {
    /// A number.
    Number(i64),
    /// A text, or NULL.
    Text(Option<String>),
    /// Texts, of which a column is one: see [`Session::among`].
    Texts(Vec<String>),
}

impl From<i64> for Param {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

impl From<u32> for Param {
    fn from(number: u32) -> Self {
        Self::Number(number.into())
    }
}

impl From<usize> for Param {
    fn from(number: usize) -> Self {
        Self::Number(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<&str> for Param {
    fn from(text: &str) -> Self {
        Self::Text(Some(text.to_owned()))
    }
}

impl From<String> for Param {
    fn from(text: String) -> Self {
        Self::Text(Some(text))
    }
}

impl From<Option<String>> for Param {
    fn from(text: Option<String>) -> Self {
        Self::Text(text)
    }
}

impl From<Option<&str>> for Param {
    fn from(text: Option<&str>) -> Self {
        Self::Text(text.map(str::to_owned))
    }
}

impl From<Timestamp> for Param {
    fn from(time: Timestamp) -> Self {
        Self::Text(Some(time.to_string()))
    }
}

impl From<Option<Timestamp>> for Param {
    fn from(time: Option<Timestamp>) -> Self {
        Self::Text(time.map(|time| time.to_string()))
    }
}

impl From<Vec<String>> for Param {
    fn from(texts: Vec<String>) -> Self {
        Self::Texts(texts)
    }
}

/// A statement with its parameters.
#[derive(Clone, Debug)]
pub(in crate::backend) struct Statement {
    pub(in crate::backend) sql: String,
    pub(in crate::backend) params: Vec<Param>,
}

impl Statement {
    pub(in crate::backend) fn new(sql: impl Into<String>, params: Vec<Param>) -> Self {
        Self { sql: sql.into(), params }
    }
}

/// The parameters of a statement, in order.
macro_rules! params {
    ($($param:expr),* $(,)?) => { vec![$($crate::backend::sql::session::Param::from($param)),*] };
}
pub(in crate::backend) use params;

/// A transaction of one of the two databases.
pub(in crate::backend) trait Session: Send {
    /// After a parameter that is a time.
    const TIME: &'static str;
    /// After a parameter that may be NULL where the type is not known otherwise.
    const TEXT: &'static str;
    /// The store's clock, as a time.
    const NOW: &'static str;
    /// True, as the columns have it.
    const TRUE: &'static str;
    /// False, as the columns have it.
    const FALSE: &'static str;
    /// Locks the rows that a SELECT returns.
    const FOR_UPDATE: &'static str;
    /// The same; rows that another transaction has locked are left out.
    const SKIP_LOCKED: &'static str;
    /// Locks them so that they are read by several, and written by none.
    const FOR_SHARE: &'static str;

    /// A time column as text, under its own name.
    fn time(column: &str) -> String;

    /// A time of the store, this much later.
    fn later(time: &str, by: Duration) -> String;

    /// The same, earlier.
    fn earlier(time: &str, by: Duration) -> String;

    /// The condition that a column is one of the texts of a parameter.
    fn among(column: &str, parameter: u32) -> String;

    /// Two parameters of equally many texts, as the table `pairs` with the columns `a` and `b`.
    fn pairs(a: u32, b: u32) -> String;

    /// Runs a statement that returns rows.
    fn rows(
        &mut self,
        sql: &str,
        params: Vec<Param>,
    ) -> impl Future<Output = Result<Vec<Cells>, sqlx::Error>> + Send;

    /// Runs a statement, and returns how many rows it changed.
    fn execute(
        &mut self,
        sql: &str,
        params: Vec<Param>,
    ) -> impl Future<Output = Result<u64, sqlx::Error>> + Send;

    /// Runs statements of which it does not matter how many rows they change.
    fn execute_all(
        &mut self,
        statements: Vec<Statement>,
    ) -> impl Future<Output = Result<(), sqlx::Error>> + Send {
        async move {
            for Statement { sql, params } in statements {
                self.execute(&sql, params).await?;
            }
            Ok(())
        }
    }

    /// Runs statements that return rows, in this order, so that each sees what those before it have changed.
    fn rows_of_each<const N: usize>(
        &mut self,
        statements: [Statement; N],
    ) -> impl Future<Output = Result<[Vec<Cells>; N], sqlx::Error>> + Send {
        async move {
            let mut all = [const { Vec::new() }; N];
            for (rows, Statement { sql, params }) in all.iter_mut().zip(statements) {
                *rows = self.rows(&sql, params).await?;
            }
            Ok(all)
        }
    }

    /// The first row, if there is one.
    fn row(
        &mut self,
        sql: &str,
        params: Vec<Param>,
    ) -> impl Future<Output = Result<Option<Cells>, sqlx::Error>> + Send {
        async move { Ok(self.rows(sql, params).await?.into_iter().next()) }
    }

    /// The store's clock, read once by its statement: Postgres searches no index by what may change from row to row.
    fn clock() -> String {
        format!("(SELECT {})", Self::NOW)
    }

    /// The store's clock, read now.
    fn now(&mut self) -> impl Future<Output = Result<Timestamp, sqlx::Error>> + Send {
        async move {
            let Statement { sql, params } = Self::read_now();
            Self::as_now(&self.rows(&sql, params).await?)
        }
    }

    /// Reads the store's clock.
    fn read_now() -> Statement {
        let sql = format!("SELECT {} AS now", Self::time_of(Self::NOW));
        Statement::new(sql, Vec::new())
    }

    /// What that has returned.
    fn as_now(rows: &[Cells]) -> Result<Timestamp, sqlx::Error> {
        let row = rows.first().ok_or(sqlx::Error::RowNotFound)?;
        row.time("now")?.ok_or_else(|| malformed("now"))
    }

    /// A time as text.
    fn time_of(expression: &str) -> String;
}
