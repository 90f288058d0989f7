//! Rows of both SQL stores, which have the same columns, as values.

use bytes::Bytes;
use sqlx::{ColumnIndex, Decode, Row, Type};

use crate::backend::StoredEvent;
use crate::backend::copy::{CarriedEvent, Cell};
use crate::clock::Timestamp;
use crate::event::status::LatestError;
use crate::event::{
    AttemptId, Callee, Change, CurrentStatus, Event, EventKey, Fingerprint, Format, Kind,
    LatestOwn, Method, Own, Position, Request, Resource, Route,
};
use crate::labels::Label as _;

/// Reads a row of `statuses`. Times must have been selected as text.
pub(crate) fn current<'r, R>(row: &'r R) -> Result<CurrentStatus, sqlx::Error>
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
    let own_order: Option<Vec<u8>> = row.try_get("own_order")?;
    let error = error_position.zip(error_code).map(|(position, code)| {
        let position =
            Position::from_bytes(&position).ok_or_else(|| malformed("error_position"))?;
        Ok::<_, sqlx::Error>(LatestError { position, code })
    });
    Ok(CurrentStatus {
        sid: row.try_get("sid")?,
        resource: Resource::parse(&resource).ok_or_else(|| malformed("resource"))?,
        account: row.try_get("account")?,
        position: Position::from_bytes(&position).ok_or_else(|| malformed("position"))?,
        from: row.try_get("from")?,
        to: row.try_get("to")?,
        direction: row.try_get("direction")?,
        duration: row.try_get("duration")?,
        error: error.transpose()?,
        own: own(row)?.zip(own_order).map(|(parameters, order)| LatestOwn { order, parameters }),
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
    let (attempt, callee): (Option<String>, Option<String>) =
        (row.try_get("attempt")?, row.try_get("callee")?);
    let event = Event {
        attempt: attempt.as_deref().and_then(AttemptId::parse),
        callee: callee.as_deref().and_then(Callee::parse),
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
    Ok(StoredEvent { event, params: text("params")?, own: own(row)? })
}

/// Reads a row of `events` as it is to be copied. All but the body must have been selected as text.
pub(crate) fn carried<'r, R>(row: &'r R) -> Result<CarriedEvent, sqlx::Error>
where
    R: Row,
    &'static str: ColumnIndex<R>,
    String: Decode<'r, R::Database> + Type<R::Database>,
    Vec<u8>: Decode<'r, R::Database> + Type<R::Database>,
{
    let cell = |column: &'static str| {
        let cell = match column {
            "body" => row.try_get::<Option<_>, _>(column)?.map(Cell::Bytes),
            _ => row.try_get::<Option<_>, _>(column)?.map(Cell::Text),
        };
        Ok::<_, sqlx::Error>(cell.unwrap_or(Cell::Null))
    };
    let cells = CarriedEvent::COLUMNS.into_iter().map(cell).collect::<Result<_, _>>()?;
    Ok(CarriedEvent::of(cells).expect("each column was read"))
}

/// Reads a row of `changes`. Times and `own` must have been selected as text.
pub(crate) fn change<'r, R>(row: &'r R) -> Result<Change, sqlx::Error>
where
    R: Row,
    &'static str: ColumnIndex<R>,
    String: Decode<'r, R::Database> + Type<R::Database>,
    i64: Decode<'r, R::Database> + Type<R::Database>,
    bool: Decode<'r, R::Database> + Type<R::Database>,
{
    let (key, kind): (String, String) = (row.try_get("key")?, row.try_get("kind")?);
    let resource: Option<String> = row.try_get("resource")?;
    Ok(Change {
        id: row.try_get("id")?,
        stored_at: time(row, "stored_at")?,
        account: row.try_get("account")?,
        key: EventKey::parse(&key).ok_or_else(|| malformed("key"))?,
        kind: Kind::parse(&kind).ok_or_else(|| malformed("kind"))?,
        sid: row.try_get("sid")?,
        resource: resource.as_deref().and_then(Resource::parse),
        status: row.try_get("status")?,
        previous: row.try_get("previous")?,
        current: row.try_get("current")?,
        moved: row.try_get("moved")?,
        error_code: row.try_get("error_code")?,
        own: own(row)?,
    })
}

fn own<'r, R>(row: &'r R) -> Result<Option<Own>, sqlx::Error>
where
    R: Row,
    &'static str: ColumnIndex<R>,
    String: Decode<'r, R::Database> + Type<R::Database>,
{
    let own: Option<String> = row.try_get("own")?;
    Ok(own.as_deref().and_then(Own::parse))
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

fn malformed(column: &'static str) -> sqlx::Error {
    sqlx::Error::Decode(format!("column `{column}` holds what this version does not know").into())
}
