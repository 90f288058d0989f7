//! [`SqliteSession`].

use std::time::Duration;

use futures_util::TryStreamExt as _;
use sqlx::sqlite::SqliteRow;
use sqlx::{
    AssertSqlSafe, Column as _, Decode, Either, Executor as _, Row as _, SqliteConnection,
    TypeInfo as _, ValueRef as _,
};

use super::cells::{Cell, Cells};
use super::{Param, Session, Statement};

/// A transaction of SQLite.
#[derive(Debug)]
pub(in crate::backend) struct SqliteSession<'c>(pub(in crate::backend) &'c mut SqliteConnection);

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
    Statement::new(all, bound)
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

    use super::super::params;
    use super::*;

    #[tokio::test]
    async fn statements_that_are_run_as_one_have_their_own_parameters() {
        let mut connection = SqliteConnectOptions::new().connect().await.expect("a database");
        let mut session = SqliteSession(&mut connection);
        session.execute("CREATE TABLE pairs (a TEXT, b INTEGER)", params![]).await.expect("made");
        let insert = |a: &str, b: i64| {
            Statement::new("INSERT INTO pairs (b, a) VALUES ($2, $1)", params![a, b])
        };
        let change = "UPDATE pairs SET a = json_extract($2, '$.a') WHERE b = $1";
        let change = Statement::new(change, params![2_i64, r#"{"a":"two"}"#]);
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
