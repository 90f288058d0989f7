//! Rows of both SQL stores, which have the same columns, as values.

use std::collections::BTreeMap;

use bytes::Bytes;
use sqlx::error::DatabaseError;
use sqlx::postgres::PgDatabaseError;
use sqlx::{ColumnIndex, Decode, Row, Type};

use super::StoredEvent;
use crate::clock::Timestamp;
use crate::event::status::LatestError;
use crate::event::{
    Batch, Current, Event, EventKey, Fingerprint, Format, Kind, Method, Position, Request,
    Resource, Route,
};
use crate::pipeline::Cause;
use crate::twilio::details::Details;

/// Reads the events of a batch. In the embedded and the direct deployment callbacks are answered by the same
/// thread, and a batch of 2,000 would keep it for 20 ms.
pub(super) async fn details(batch: &Batch) -> Vec<Details> {
    /// A fraction of a millisecond.
    const AT_ONCE: usize = 32;
    let mut details = Vec::with_capacity(batch.events().len());
    for events in batch.events().chunks(AT_ONCE) {
        details.extend(events.iter().map(Details::of));
        tokio::task::yield_now().await;
    }
    details
}

/// An error in one line that quotes no value of a row.
///
/// Of most errors of a database its primary message is told, in which Postgres and SQLite name columns
/// and constraints. That of class 22 (the data itself is wrong: `invalid input syntax for type numeric:
/// "…"`) and whatever a function or trigger raises or runs quote values, so of these there are only the
/// code and the names of what is concerned.
pub(crate) fn cause(error: &sqlx::Error) -> Cause {
    match error {
        sqlx::Error::Database(error) => {
            let code = error.code().unwrap_or_default();
            match quotes_values(error.as_ref(), &code) {
                true => names(error.as_ref(), &code),
                false => format!("{} ({code})", error.message()),
            }
        }
        sqlx::Error::PoolTimedOut => "no connection could be had in time".to_owned(),
        other => other.to_string(),
    }
}

fn quotes_values(error: &dyn DatabaseError, code: &str) -> bool {
    /// The data, what PL/pgSQL raises, errors of functions in other languages, and of other servers.
    const CLASSES: [&str; 5] = ["22", "P0", "38", "39", "HV"];
    /// Conflicts, want of resources, the state of an object or transaction, an operator: their texts are fixed.
    const FIXED: [&str; 5] = ["25", "40", "53", "55", "57"];
    /// What runs `RAISE`, which may take any code.
    const RAISE: &str = "exec_stmt_raise";
    /// `SQLITE_CONSTRAINT_TRIGGER`: `RAISE` of SQLite.
    const TRIGGER: &str = "1811";
    match error.try_downcast_ref::<PgDatabaseError>() {
        Some(error) => {
            let class = code.get(..2).unwrap_or_default();
            // Within a function, a value may have become a part of a statement.
            let within = error.r#where().is_some() && !FIXED.contains(&class);
            CLASSES.contains(&class) || error.routine() == Some(RAISE) || within
        }
        None => code == TRIGGER,
    }
}

/// What an error concerns, by the names that Postgres gives beside its message.
fn names(error: &dyn DatabaseError, code: &str) -> Cause {
    let what = match code.get(..2) {
        Some("22") => "a value does not fit",
        _ => "a function or trigger of the database raised an error",
    };
    let column = error.try_downcast_ref::<PgDatabaseError>().and_then(PgDatabaseError::column);
    let named = [("table", error.table()), ("column", column), ("constraint", error.constraint())];
    let named = named.iter().filter_map(|(kind, name)| Some(format!(", {kind} {}", (*name)?)));
    format!("{what} ({code}{})", named.collect::<String>())
}

fn malformed(column: &'static str) -> sqlx::Error {
    sqlx::Error::Decode(format!("column `{column}` holds what this version does not know").into())
}

/// Rows of `statuses` by SID and account.
pub(crate) type Statuses = BTreeMap<(String, String), Current>;

/// Adds a row under its own name.
pub(crate) fn insert(statuses: &mut Statuses, row: Current) {
    let (sid, account) = row.id();
    statuses.insert((sid.to_owned(), account.to_owned()), row);
}

/// What the fresh events say, one row per SID and account.
pub(crate) fn fold(details: Vec<Details>, fresh: &[bool]) -> Statuses {
    let mut updates = Statuses::new();
    let fresh = details.into_iter().zip(fresh).filter(|(_, fresh)| **fresh);
    for update in fresh.filter_map(|(details, _)| details.current) {
        let (sid, account) = update.id();
        let merged = match updates.remove(&(sid.to_owned(), account.to_owned())) {
            Some(known) => known.merge(update),
            None => update,
        };
        insert(&mut updates, merged);
    }
    updates
}

/// Reads a row of `statuses`. Times must have been selected as text.
pub(crate) fn current<'r, R>(row: &'r R) -> Result<Current, sqlx::Error>
where
    R: Row,
    &'static str: ColumnIndex<R>,
    String: Decode<'r, R::Database> + Type<R::Database>,
    Vec<u8>: Decode<'r, R::Database> + Type<R::Database>,
    i64: Decode<'r, R::Database> + Type<R::Database>,
    i16: Decode<'r, R::Database> + Type<R::Database>,
{
    let resource: String = row.try_get("resource")?;
    let position: Vec<u8> = row.try_get("position")?;
    let error_position: Option<Vec<u8>> = row.try_get("error_position")?;
    let error_code: Option<String> = row.try_get("error_code")?;
    let error = error_position.zip(error_code).map(|(position, code)| {
        let position =
            Position::from_bytes(&position).ok_or_else(|| malformed("error_position"))?;
        Ok::<_, sqlx::Error>(LatestError { position, code })
    });
    Ok(Current {
        sid: row.try_get("sid")?,
        resource: Resource::parse(&resource).ok_or_else(|| malformed("resource"))?,
        account: row.try_get("account")?,
        position: Position::from_bytes(&position).ok_or_else(|| malformed("position"))?,
        from: row.try_get("from")?,
        to: row.try_get("to")?,
        duration: row.try_get("duration")?,
        error: error.transpose()?,
        terminals: row.try_get("terminals")?,
        first_seen: time(row, "first_seen")?,
        updated: time(row, "updated")?,
    })
}

/// Reads a row of `events`. Times and `params` must have been selected as text.
pub(crate) fn event<'r, R>(row: &'r R) -> Result<StoredEvent, sqlx::Error>
where
    R: Row,
    &'static str: ColumnIndex<R>,
    String: Decode<'r, R::Database> + Type<R::Database>,
    Vec<u8>: Decode<'r, R::Database> + Type<R::Database>,
    i64: Decode<'r, R::Database> + Type<R::Database>,
{
    let text = |column| row.try_get::<String, _>(column);
    let resource: Option<String> = row.try_get("resource")?;
    let occurred_at: Option<String> = row.try_get("occurred_at")?;
    let parse_time = |text: &str| Timestamp::parse_rfc3339(text);
    let key = EventKey::parse(&text("key")?).ok_or_else(|| malformed("key"))?;
    let kind = Kind::parse(&text("kind")?).ok_or_else(|| malformed("kind"))?;
    let (method, route): (Option<String>, Option<String>) =
        (row.try_get("method")?, row.try_get("route")?);
    let (method, route) = (method.as_deref(), route.as_deref());
    let request = method.and_then(Method::parse).zip(route.and_then(Route::parse));
    let idempotency_token: Option<String> = row.try_get("idempotency_token")?;
    let event = Event {
        about_account: row.try_get("about_account")?,
        fingerprint: row.try_get::<Option<i64>, _>("fingerprint")?.map(Fingerprint::from_i64),
        request: request.map(|(method, route)| Request { method, route, idempotency_token }),
        sid: row.try_get("sid")?,
        resource: resource.as_deref().and_then(Resource::parse),
        status: row.try_get("status")?,
        sequence: row.try_get("sequence")?,
        occurred_at: occurred_at.as_deref().and_then(parse_time),
        received_at: time(row, "received_at")?,
        format: Format::parse(&text("format")?).ok_or_else(|| malformed("format"))?,
        query: text("query")?,
        body: Bytes::from(row.try_get::<Vec<u8>, _>("body")?),
        ..Event::new(key, kind, &text("account")?)
    };
    Ok(StoredEvent { event, params: text("params")? })
}

fn time<'r, R>(row: &'r R, column: &'static str) -> Result<Timestamp, sqlx::Error>
where
    R: Row,
    &'static str: ColumnIndex<R>,
    String: Decode<'r, R::Database> + Type<R::Database>,
{
    let text: String = row.try_get(column)?;
    Timestamp::parse_rfc3339(&text).ok_or_else(|| malformed(column))
}
