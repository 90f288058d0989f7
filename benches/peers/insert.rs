//! The ceiling of a worker: rows that are in memory already, into one table, in batches, over one
//! connection, with nothing to decide.
//!
//! `insert_peer URL`: copies the rows of offhook's `events` into a table of the same columns and
//! indexes, and prints how many a second that was.

use std::time::Instant;

use anyhow::Context as _;
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{Connection as _, Executor as _, Row as _};
use time::OffsetDateTime;

/// As many as a worker of offhook commits together.
const BATCH: usize = 512;

const COLUMNS: &str = "key, kind, account, sid, resource, status, rank, sequence, occurred_at, \
                       received_at, format, query, params::text AS params, body";

const INSERT: &str = "INSERT INTO bare SELECT key, kind, account, sid, resource, status, rank, \
    sequence, occurred_at, received_at, format, query, params::jsonb, body FROM unnest($1::text[], \
    $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::smallint[], $8::bigint[], \
    $9::timestamptz[], $10::timestamptz[], $11::text[], $12::text[], $13::text[], $14::bytea[]) \
    AS t (key, kind, account, sid, resource, status, rank, sequence, occurred_at, received_at, \
    format, query, params, body)";

/// A batch as columns.
#[derive(Default)]
struct Columns {
    texts: [Vec<Option<String>>; 9],
    rank: Vec<Option<i16>>,
    sequence: Vec<Option<i64>>,
    occurred_at: Vec<Option<OffsetDateTime>>,
    received_at: Vec<OffsetDateTime>,
    body: Vec<Vec<u8>>,
}

impl Columns {
    /// Where the texts are.
    const TEXTS: [&'static str; 9] =
        ["key", "kind", "account", "sid", "resource", "status", "format", "query", "params"];

    fn push(&mut self, row: &PgRow) -> sqlx::Result<()> {
        for (column, name) in self.texts.iter_mut().zip(Self::TEXTS) {
            column.push(row.try_get(name)?);
        }
        self.rank.push(row.try_get("rank")?);
        self.sequence.push(row.try_get("sequence")?);
        self.occurred_at.push(row.try_get("occurred_at")?);
        self.received_at.push(row.try_get("received_at")?);
        self.body.push(row.try_get("body")?);
        Ok(())
    }

    async fn insert(&self, into: &mut PgConnection) -> sqlx::Result<()> {
        let [key, kind, account, sid, resource, status, format, query, params] = &self.texts;
        let insert = sqlx::query(INSERT).bind(key).bind(kind).bind(account).bind(sid);
        let insert = insert.bind(resource).bind(status).bind(&self.rank).bind(&self.sequence);
        let insert = insert.bind(&self.occurred_at).bind(&self.received_at).bind(format);
        insert.bind(query).bind(params).bind(&self.body).execute(into).await?;
        Ok(())
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let url = std::env::args().nth(1).context("which database?")?;
    let mut database = PgConnection::connect(&url).await?;
    database
        .execute("DROP TABLE IF EXISTS bare; CREATE TABLE bare (LIKE events INCLUDING ALL)")
        .await?;
    let select = format!("SELECT {COLUMNS} FROM events ORDER BY received_at");
    let rows = sqlx::query(sqlx::AssertSqlSafe(select)).fetch_all(&mut database).await?;
    let mut batches = Vec::new();
    for chunk in rows.chunks(BATCH) {
        let mut batch = Columns::default();
        chunk.iter().try_for_each(|row| batch.push(row))?;
        batches.push(batch);
    }
    let (started, inserted) = (Instant::now(), rows.len());
    drop(rows);
    for batch in &batches {
        batch.insert(&mut database).await?;
    }
    println!("{:.0}", inserted as f64 / started.elapsed().as_secs_f64());
    Ok(())
}
