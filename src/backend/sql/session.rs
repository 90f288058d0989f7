//! [`Session`]: statements that are the same in both databases, in a transaction of either.
//!
//! Values are numbers and text, and times are text (RFC 3339 with microseconds), so one statement serves both. What
//! differs is in the constants.

use std::time::Duration;

use futures_util::TryStreamExt as _;
use sqlx::sqlite::SqliteRow;
use sqlx::{
    AssertSqlSafe, Column as _, Decode, Either, Executor as _, PgConnection, Row, SqliteConnection,
    TypeInfo as _, ValueRef as _,
};

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

/// A row: its columns by name.
#[derive(Debug)]
pub(in crate::backend) struct Cells(Vec<(String, Cell)>);

#[derive(Debug)]
enum Cell {
    Null,
    Number(i64),
    Text(String),
}

impl Cells {
    fn cell(&self, column: &str) -> Result<&Cell, sqlx::Error> {
        let found = self.0.iter().find(|(name, _)| name == column);
        let missing = || sqlx::Error::ColumnNotFound(column.to_owned());
        found.map(|(_, cell)| cell).ok_or_else(missing)
    }

    /// A text.
    pub(in crate::backend) fn text(&self, column: &str) -> Result<String, sqlx::Error> {
        self.optional(column)?.ok_or_else(|| malformed(column))
    }

    /// A text, or NULL.
    pub(in crate::backend) fn optional(&self, column: &str) -> Result<Option<String>, sqlx::Error> {
        match self.cell(column)? {
            Cell::Null => Ok(None),
            Cell::Text(text) => Ok(Some(text.clone())),
            Cell::Number(_) => Err(malformed(column)),
        }
    }

    /// A number; NULL is 0, as of a sum over no rows.
    pub(in crate::backend) fn number(&self, column: &str) -> Result<i64, sqlx::Error> {
        match self.cell(column)? {
            Cell::Null => Ok(0),
            Cell::Number(number) => Ok(*number),
            Cell::Text(_) => Err(malformed(column)),
        }
    }

    /// A number, or NULL.
    pub(in crate::backend) fn number_or_null(
        &self,
        column: &str,
    ) -> Result<Option<i64>, sqlx::Error> {
        match self.cell(column)? {
            Cell::Null => Ok(None),
            _ => self.number(column).map(Some),
        }
    }

    /// A number that is not negative.
    pub(in crate::backend) fn count(&self, column: &str) -> Result<u64, sqlx::Error> {
        Ok(u64::try_from(self.number(column)?).unwrap_or_default())
    }

    /// A time that was selected as text, or NULL.
    pub(in crate::backend) fn time(&self, column: &str) -> Result<Option<Timestamp>, sqlx::Error> {
        let text = self.optional(column)?;
        text.map(|text| Timestamp::parse_rfc3339(&text).ok_or_else(|| malformed(column)))
            .transpose()
    }

    /// A value that its text is parsed to.
    pub(in crate::backend) fn parsed<T>(
        &self,
        column: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, sqlx::Error> {
        parse(&self.text(column)?).ok_or_else(|| malformed(column))
    }
}

pub(in crate::backend) fn malformed(column: &str) -> sqlx::Error {
    sqlx::Error::Decode(format!("column `{column}` holds what this version does not know").into())
}

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
        Statement { sql, params: Vec::new() }
    }

    /// What that has returned.
    fn as_now(rows: &[Cells]) -> Result<Timestamp, sqlx::Error> {
        let row = rows.first().ok_or(sqlx::Error::RowNotFound)?;
        row.time("now")?.ok_or_else(|| malformed("now"))
    }

    /// A time as text.
    fn time_of(expression: &str) -> String;
}

/// A transaction of Postgres; `keep`: its statements stay prepared.
#[derive(Debug)]
pub(in crate::backend) struct PostgresSession<'c> {
    pub(in crate::backend) connection: &'c mut PgConnection,
    pub(in crate::backend) keep: bool,
}

/// A transaction of SQLite.
#[derive(Debug)]
pub(in crate::backend) struct SqliteSession<'c>(pub(in crate::backend) &'c mut SqliteConnection);

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

impl Session for SqliteSession<'_> {
    const TIME: &'static str = "";
    const TEXT: &'static str = "";
    const NOW: &'static str = "strftime('%Y-%m-%dT%H:%M:%f000Z', 'now')";
    const TRUE: &'static str = "1";
    const FALSE: &'static str = "0";
    // A writer has the whole file.
    const FOR_UPDATE: &'static str = "";
    const SKIP_LOCKED: &'static str = "";
    const FOR_SHARE: &'static str = "";

    fn time(column: &str) -> String {
        column.to_owned()
    }

    fn time_of(expression: &str) -> String {
        expression.to_owned()
    }

    /// SQLite counts milliseconds.
    fn later(time: &str, by: Duration) -> String {
        let seconds = by.as_secs_f64();
        format!("strftime('%Y-%m-%dT%H:%M:%f000Z', {time}, '+{seconds:.3} seconds')")
    }

    fn earlier(time: &str, by: Duration) -> String {
        let seconds = by.as_secs_f64();
        format!("strftime('%Y-%m-%dT%H:%M:%f000Z', {time}, '-{seconds:.3} seconds')")
    }

    fn among(column: &str, parameter: u32) -> String {
        format!("{column} IN (SELECT value FROM json_each(${parameter}))")
    }

    fn pairs(a: u32, b: u32) -> String {
        format!(
            "(SELECT x.value AS a, y.value AS b FROM json_each(${a}) AS x \
             JOIN json_each(${b}) AS y ON y.key = x.key) AS pairs"
        )
    }

    async fn rows(&mut self, sql: &str, params: Vec<Param>) -> Result<Vec<Cells>, sqlx::Error> {
        let query = params.into_iter().fold(sqlx::query(AssertSqlSafe(sql)), bind);
        query.fetch_all(&mut *self.0).await?.iter().map(of_sqlite).collect()
    }

    async fn execute(&mut self, sql: &str, params: Vec<Param>) -> Result<u64, sqlx::Error> {
        let query = params.into_iter().fold(sqlx::query(AssertSqlSafe(sql)), bind);
        Ok(query.execute(&mut *self.0).await?.rows_affected())
    }

    /// As one: each is a trip to the thread of the connection and back.
    async fn execute_all(&mut self, statements: Vec<Statement>) -> Result<(), sqlx::Error> {
        if statements.is_empty() {
            return Ok(());
        }
        let Statement { sql, params } = as_one(statements);
        self.execute(&sql, params).await.map(|_| ())
    }

    /// As one, for the same reason.
    async fn rows_of_each<const N: usize>(
        &mut self,
        statements: [Statement; N],
    ) -> Result<[Vec<Cells>; N], sqlx::Error> {
        let Statement { sql, params } = as_one(statements);
        let query = params.into_iter().fold(sqlx::query(AssertSqlSafe(sql)), bind);
        let (mut all, mut number) = ([const { Vec::new() }; N], 0);
        let mut found = (&mut *self.0).fetch_many(query);
        while let Some(one) = found.try_next().await? {
            match one {
                Either::Left(_) => number += 1,
                Either::Right(row) => {
                    let rows: Option<&mut Vec<Cells>> = all.get_mut(number);
                    rows.ok_or(sqlx::Error::RowNotFound)?.push(of_sqlite(&row)?);
                }
            }
        }
        Ok(all)
    }
}

fn of_sqlite(row: &SqliteRow) -> Result<Cells, sqlx::Error> {
    let cell = |at: usize| {
        let value = row.try_get_raw(at)?;
        if value.is_null() {
            return Ok::<_, sqlx::Error>(Cell::Null);
        }
        let decoded = |error| sqlx::Error::Decode(error);
        Ok(match value.type_info().name() {
            "TEXT" => {
                Cell::Text(<String as Decode<'_, sqlx::Sqlite>>::decode(value).map_err(decoded)?)
            }
            _ => Cell::Number(<i64 as Decode<'_, sqlx::Sqlite>>::decode(value).map_err(decoded)?),
        })
    };
    let cells = row.columns().iter().enumerate();
    let cells = cells.map(|(at, column)| Ok((column.name().to_owned(), cell(at)?)));
    cells.collect::<Result<_, sqlx::Error>>().map(Cells)
}

/// Several statements as the text of one.
fn as_one(statements: impl IntoIterator<Item = Statement>) -> Statement {
    let (mut all, mut bound) = (String::new(), Vec::new());
    for Statement { sql, params } in statements {
        all.push_str(&numbered_from(&sql, bound.len()));
        all.push_str("; ");
        bound.extend(params);
    }
    Statement { sql: all, params: bound }
}

/// A statement whose parameters come after `before` others.
fn numbered_from(sql: &str, before: usize) -> String {
    let mut parts = sql.split('$');
    let mut numbered = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|digit: char| !digit.is_ascii_digit()).unwrap_or(part.len());
        let (number, rest) = part.split_at(end);
        match number.parse::<usize>() {
            Ok(number) => numbered.push_str(&format!("${}{rest}", number + before)),
            // No parameter: the path of a value in JSON.
            Err(_) => numbered.push_str(&format!("${part}")),
        }
    }
    numbered
}

type SqliteQuery<'q> = sqlx::query::Query<'q, sqlx::Sqlite, sqlx::sqlite::SqliteArguments>;

fn bind(query: SqliteQuery<'_>, param: Param) -> SqliteQuery<'_> {
    match param {
        Param::Number(number) => query.bind(number),
        Param::Text(text) => query.bind(text),
        Param::Texts(texts) => {
            query.bind(serde_json::to_string(&texts).expect("strings always serialize"))
        }
    }
}

#[cfg(test)]
mod tests {
    use sqlx::{ConnectOptions as _, sqlite::SqliteConnectOptions};

    use super::*;

    #[tokio::test]
    async fn statements_that_are_run_as_one_have_their_own_parameters() {
        let mut connection = SqliteConnectOptions::new().connect().await.expect("a database");
        let mut session = SqliteSession(&mut connection);
        session.execute("CREATE TABLE pairs (a TEXT, b INTEGER)", params![]).await.expect("made");
        let insert = |a: &str, b: i64| Statement {
            sql: "INSERT INTO pairs (b, a) VALUES ($2, $1)".to_owned(),
            params: params![a, b],
        };
        let change = Statement {
            sql: "UPDATE pairs SET a = json_extract($2, '$.a') WHERE b = $1".to_owned(),
            params: params![2_i64, r#"{"a":"two"}"#],
        };
        let all = vec![insert("$1", 1), insert("b", 2), change];
        session.execute_all(all).await.expect("they run");
        let rows = session.rows("SELECT a, b FROM pairs ORDER BY b", params![]).await;
        let rows = rows.expect("rows");
        let pairs: Vec<_> = rows
            .iter()
            .map(|row| (row.text("a").expect("a"), row.number("b").expect("b")))
            .collect();
        assert_eq!(pairs, [("$1".to_owned(), 1), ("two".to_owned(), 2)]);
    }

    #[tokio::test]
    async fn rows_of_several_statements_are_told_apart() {
        let mut connection = SqliteConnectOptions::new().connect().await.expect("a database");
        let mut session = SqliteSession(&mut connection);
        session.execute("CREATE TABLE numbers (number INTEGER)", params![]).await.expect("made");
        let insert = "INSERT INTO numbers SELECT value FROM json_each($1) RETURNING number";
        let read = |least: i64| {
            let sql = "SELECT number FROM numbers WHERE number >= $1 ORDER BY number";
            Statement::new(sql, params![least])
        };
        let statements = [read(0), Statement::new(insert, params!["[2,1]"]), read(2), read(0)];
        let [before, inserted, some, all] = session.rows_of_each(statements).await.expect("rows");
        let numbers = |rows: &[Cells]| -> Vec<i64> {
            rows.iter().map(|row| row.number("number").expect("a number")).collect()
        };
        assert!(before.is_empty());
        assert_eq!(numbers(&inserted), [2, 1]);
        assert_eq!((numbers(&some), numbers(&all)), (vec![2], vec![1, 2]));
        let refused = [read(0), Statement::new("SELECT nothing FROM numbers", params![]), read(0)];
        assert!(session.rows_of_each(refused).await.is_err());
        assert_eq!(session.rows_of_each([read(2)]).await.expect("rows")[0].len(), 1);
    }
}
