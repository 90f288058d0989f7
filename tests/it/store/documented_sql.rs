//! Every query that the documentation shows is answered by an index, however many rows there are.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use offhook::backend::postgres;
use offhook::backend::sqlite::Database;
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _, SqliteConnection};

use crate::services::{Durability, Postgres, needs};

/// The tables that grow.
const LARGE: [&str; 3] = ["events", "statuses", "changes"];

/// A statement that a page shows.
#[derive(Debug)]
struct Example {
    page: String,
    sql: String,
    /// Its block says that it is for SQLite.
    is_for_sqlite: bool,
}

impl Example {
    fn is_a_query(&self) -> bool {
        ["SELECT", "WITH"].iter().any(|start| self.sql.starts_with(start))
    }
}

/// Every page of the documentation, in the order of their names.
fn pages(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).expect("the documentation is there").flatten();
    let mut entries: Vec<_> = entries.map(|entry| entry.path()).collect();
    entries.sort();
    let pages = entries.into_iter().flat_map(|path| match path.is_dir() {
        true => pages(&path),
        false => vec![path],
    });
    pages.filter(|path| path.extension().is_some_and(|extension| extension == "md")).collect()
}

/// Every statement of the blocks of SQL, and every query within a line, in the order of the pages.
fn examples() -> Vec<Example> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut all = Vec::new();
    for path in pages(&root.join("docs")) {
        let page = path.strip_prefix(root).expect("it is ours").display().to_string();
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{page}: {error}"));
        for (number, part) in text.split("```").enumerate() {
            if number % 2 == 1 {
                let Some(block) = part.strip_prefix("sql\n") else { continue };
                let is_for_sqlite =
                    block.lines().next().is_some_and(|line| line.contains("SQLite"));
                let example = |sql| Example { page: page.clone(), sql, is_for_sqlite };
                all.extend(statements(block).map(example));
            } else {
                let spans = part.split('`').skip(1).step_by(2);
                let queries =
                    spans.filter(|span| span.starts_with("SELECT ") && span.contains(" FROM "));
                all.extend(queries.map(|query| {
                    let sql = query.replace('\n', " ");
                    Example { page: page.clone(), sql, is_for_sqlite: false }
                }));
            }
        }
    }
    all
}

/// The statements of a block, without comments. No semicolon stands within one but between `$$`.
fn statements(block: &str) -> impl Iterator<Item = String> {
    let lines = block.lines().map(|line| line.split("--").next().unwrap_or_default());
    let code: Vec<&str> = lines.collect();
    let (mut all, mut statement, mut is_quoted) = (Vec::new(), String::new(), false);
    for (number, part) in code.join("\n").split("$$").enumerate() {
        if number > 0 {
            statement.push_str("$$");
            is_quoted = !is_quoted;
        }
        let mut ended = part.split_inclusive(';');
        if is_quoted {
            statement.push_str(part);
            continue;
        }
        for part in &mut ended {
            statement.push_str(part.trim_end_matches(';'));
            if part.ends_with(';') {
                all.push(std::mem::take(&mut statement).trim().to_owned());
            }
        }
    }
    all.push(statement.trim().to_owned());
    all.into_iter().filter(|statement| !statement.is_empty())
}

/// A year of calls and messages, each with an event: in Postgres.
const FILL_POSTGRES: [&str; 4] = [
    "INSERT INTO events (key, kind, account, sid, resource, status, rank, received_at, format, query, params, \
         body, call_sid, stored_at, own)
     SELECT sid || '-' || status, resource, 'AC1', sid, resource, status, 80, at, 'form', '', \
         jsonb_build_object('SipResponseCode', '200', 'text', repeat('x', 200)), '', \
         CASE WHEN n % 50 = 0 THEN 'CA' || lpad((n / 50)::text, 32, '0') END, at, own
     FROM made",
    "INSERT INTO statuses (sid, resource, account, status, final, \"from\", \"to\", duration, error_code, \
         terminals, first_seen, updated, position, own)
     SELECT sid, resource, 'AC1', status, status <> 'sent', '+1555010', '+1555' || n % 5000, 7, \
         CASE WHEN status = 'undelivered' THEN '3000' || n % 8 END, \
         CASE WHEN n % 5000 = 0 THEN 3 ELSE 1 END, at, at, '', own
     FROM made",
    "INSERT INTO changes (id, account, key, kind, sid, resource, status, current, moved, own)
     SELECT nextval('changes_id_seq'), 'AC1', sid || '-' || status, resource, sid, resource, status, status, TRUE, own
     FROM made",
    "ANALYZE",
];

/// What the tables are filled with.
const MADE: &str = "CREATE TEMPORARY TABLE made AS
     SELECT n, at, resource, jsonb_build_object('order_id', 'A-' || n / 3, 'tenant', '7') AS own, \
         CASE resource WHEN 'call' THEN 'CA' ELSE 'SM' END || lpad(n::text, 32, '0') AS sid, \
         CASE WHEN resource = 'call' THEN CASE WHEN n % 10 = 0 THEN 'failed' ELSE 'completed' END
              WHEN n % 20 = 1 THEN 'undelivered' WHEN n % 20 = 3 THEN 'sent' ELSE 'delivered' END AS status
     FROM (SELECT n, now() - n * interval '25 minutes' AS at, \
               CASE WHEN n % 2 = 0 THEN 'call' ELSE 'message' END AS resource
           FROM generate_series(1, 20000) AS n) AS numbers";

#[tokio::test]
async fn each_query_that_is_shown_uses_an_index_of_postgres() {
    needs!(Postgres);
    let server = Postgres::start(Durability::Unsynced);
    postgres::Postgres::new(&server.url())
        .expect("a good URL")
        .migrate()
        .await
        .expect("new tables");
    let mut connection = server.connection().await;
    for sql in [MADE].iter().chain(&FILL_POSTGRES) {
        sqlx::query(*sql).execute(&mut connection).await.expect("rows that fit");
    }
    let (mut scans, mut seen) = (Vec::new(), 0);
    for example in examples().iter().filter(|example| !example.is_for_sqlite) {
        if example.is_a_query() {
            seen += 1;
            let plan = explain(&mut connection, example).await;
            let scanned = sequential_scans(&plan);
            if !scanned.is_empty() {
                scans.push(format!("{}: {} scans {scanned:?}", example.page, example.sql));
            }
        } else {
            let sql = AssertSqlSafe(example.sql.clone());
            let done = sqlx::query(sql).execute(&mut connection).await;
            done.unwrap_or_else(|error| panic!("{example:?}: {error}"));
        }
    }
    assert!(seen >= 5, "the pages are not read: {seen} queries");
    assert!(scans.is_empty(), "queries that read a whole table:\n{}", scans.join("\n"));
    the_reader_may_ask_all_of_that_and_change_nothing(&mut connection).await;
}

/// The role that the pages make.
async fn the_reader_may_ask_all_of_that_and_change_nothing(connection: &mut PgConnection) {
    sqlx::query("SET ROLE offhook_reader").execute(&mut *connection).await.expect("it is there");
    let cursor: String = sqlx::query_scalar("SELECT offhook_cursor()")
        .fetch_one(&mut *connection)
        .await
        .expect("it may ask for the cursor");
    for example in
        examples().iter().filter(|example| !example.is_for_sqlite && example.is_a_query())
    {
        // The cursor of the pages is of another feed.
        let sql = AssertSqlSafe(example.sql.replace("9f86d081884c7d65.1042", &cursor));
        let asked = sqlx::query(sql).fetch_all(&mut *connection).await;
        asked.unwrap_or_else(|error| panic!("{example:?}: {error}"));
    }
    for change in [
        "DELETE FROM events",
        "UPDATE statuses SET status = status",
        "INSERT INTO changes SELECT * FROM changes",
        "UPDATE feed SET cut = 0",
        "SELECT nextval('changes_id_seq')",
        "SELECT * FROM retention",
        "SELECT * FROM _sqlx_migrations",
    ] {
        let refused = sqlx::query(change).execute(&mut *connection).await;
        let code = refused
            .expect_err(change)
            .into_database_error()
            .and_then(|error| error.code().map(std::borrow::Cow::into_owned));
        assert_eq!(code.as_deref(), Some("42501"), "{change}");
    }
}

async fn explain(connection: &mut PgConnection, example: &Example) -> Value {
    let sql = AssertSqlSafe(format!("EXPLAIN (FORMAT JSON) {}", example.sql));
    let row = sqlx::query(sql).fetch_one(connection).await;
    row.unwrap_or_else(|error| panic!("{example:?}: {error}")).get(0)
}

/// The large tables that a plan reads from one end to the other.
fn sequential_scans(plan: &Value) -> Vec<String> {
    let mut found = Vec::new();
    match plan {
        Value::Array(plans) => found.extend(plans.iter().flat_map(sequential_scans)),
        Value::Object(node) => {
            let relation = node.get("Relation Name").and_then(Value::as_str).unwrap_or_default();
            let kind = node.get("Node Type").and_then(Value::as_str).unwrap_or_default();
            if kind == "Seq Scan" && LARGE.contains(&relation) {
                found.push(relation.to_owned());
            }
            found.extend(node.values().flat_map(sequential_scans));
        }
        _ => {}
    }
    found
}

/// The same year, in SQLite, where offhook gathers no statistics.
const FILL_SQLITE: &str = "
    CREATE TEMPORARY TABLE made AS
    WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 20000)
    SELECT n, strftime('%Y-%m-%dT%H:%M:%f000Z', 'now', (-25 * n) || ' minutes') AS at,
        CASE WHEN n % 2 = 0 THEN 'call' ELSE 'message' END AS resource,
        CASE WHEN n % 2 = 0 THEN 'CA' ELSE 'SM' END || n AS sid,
        CASE WHEN n % 20 = 1 THEN 'undelivered' ELSE 'completed' END AS status
    FROM numbers;
    INSERT INTO events (key, kind, account, sid, resource, status, rank, received_at, format, query, params,
        body, stored_at)
    SELECT sid || '-' || status, resource, 'AC1', sid, resource, status, 80, at, 'form', '', '{}', x'', at
    FROM made;
    INSERT INTO statuses (sid, resource, account, status, final, \"from\", \"to\", error_code, terminals,
        first_seen, updated, position)
    SELECT sid, resource, 'AC1', status, 1, '+1555010', '+1555' || n % 5000,
        CASE WHEN status = 'undelivered' THEN '3000' || n % 8 END, 1, at, at, x''
    FROM made";

#[tokio::test]
async fn each_query_that_is_shown_uses_an_index_of_sqlite() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let url = format!("sqlite:{}", directory.path().join("offhook.db").display());
    let database = Arc::new(Database::lock(&url).expect("a file of our own"));
    database.migrate().await.expect("a new file");
    let mut connection = SqliteConnection::connect(&url).await.expect("the file is there");
    sqlx::raw_sql(FILL_SQLITE).execute(&mut connection).await.expect("rows that fit");
    let (mut scans, mut seen) = (Vec::new(), 0);
    for example in examples().iter().filter(|example| example.is_for_sqlite) {
        seen += 1;
        let sql = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {}", example.sql));
        let plan = sqlx::query(sql).fetch_all(&mut connection).await;
        let plan = plan.unwrap_or_else(|error| panic!("{example:?}: {error}"));
        let steps = plan.iter().map(|row| row.get::<String, _>("detail"));
        let scanned = |step: &String| {
            LARGE.iter().any(|table| step.starts_with(&format!("SCAN {table}")))
                && !step.contains("INDEX")
        };
        scans.extend(steps.filter(scanned).map(|step| format!("{}: {step}", example.sql)));
    }
    assert!(seen >= 4, "the pages are not read: {seen} queries");
    assert!(scans.is_empty(), "queries that read a whole table:\n{}", scans.join("\n"));
}

#[test]
fn every_page_is_read() {
    let examples = examples();
    for page in
        ["docs/consuming.md", "docs/email.md", "docs/operations.md", "docs/reference/tables.md"]
    {
        assert!(examples.iter().any(|example| example.page == page), "{page} is not read");
    }
}

#[test]
fn a_block_is_read_as_its_statements() {
    let block = "-- why\nSELECT 1; -- one\nCREATE FUNCTION f() AS $$ BEGIN a; b; END $$ LANGUAGE x;\nSELECT 2";
    let all: Vec<String> = statements(block).collect();
    assert_eq!(
        all,
        ["SELECT 1", "CREATE FUNCTION f() AS $$ BEGIN a; b; END $$ LANGUAGE x", "SELECT 2"]
    );
}

#[test]
fn a_scan_is_found_however_deep_it_lies() {
    let plan = serde_json::json!([{ "Plan": { "Node Type": "Limit", "Plans": [
        { "Node Type": "Index Scan", "Relation Name": "events" },
        { "Node Type": "Seq Scan", "Relation Name": "statuses" },
    ] } }]);
    assert_eq!(sequential_scans(&plan), ["statuses"]);
}
