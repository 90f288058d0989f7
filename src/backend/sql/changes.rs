//! Rows of `changes`: what a commit did to the SIDs of its fresh events, and the SQL that reads the feed.

use std::collections::BTreeMap;

use sqlx::{ColumnIndex, Decode, QueryBuilder, Row, Type};

use super::columns::changes_as_read;
use super::dialect::Dialect;
use super::rows;
use crate::backend::feed::{FeedError, FeedPage, From, Gone};
use crate::clock::Timestamp;
use crate::event::{Batch, Cursor, Event, FeedId, Own, Position};
use crate::twilio::details::EventDetails;

/// What a commit did to a SID.
pub(in crate::backend) struct Transition {
    /// The previous place of the SID; `None` if it is new.
    pub(in crate::backend) previous: Option<Position>,
    /// The current place of the SID.
    pub(in crate::backend) current: Position,
}

impl Transition {
    /// Of a SID that stays where it is.
    pub(in crate::backend) fn none(at: Position) -> Self {
        Self { previous: Some(at.clone()), current: at }
    }
}

/// The transitions by SID and account.
pub(in crate::backend) type Transitions = BTreeMap<(String, String), Transition>;

/// A row of `changes` that has no id yet.
pub(in crate::backend) struct NewChange<'a> {
    pub(in crate::backend) event: &'a Event,
    pub(in crate::backend) previous: Option<&'a str>,
    pub(in crate::backend) current: Option<&'a str>,
    pub(in crate::backend) moved: bool,
    pub(in crate::backend) error_code: Option<&'a str>,
    pub(in crate::backend) own: Option<&'a Own>,
}

/// The SID and the account of an event that reports no status: what its SID stands at has to be looked up.
pub(in crate::backend) fn silent(event: &Event) -> Option<(&str, &str)> {
    let (sid, account, position) = place(event);
    Some((sid.filter(|_| position.is_none())?, account))
}

/// One row for each fresh event. Those of one SID come in the order of their positions, so that the one that moved it
/// is the last of them. `transitions`: also those of the SIDs that stay where they are.
pub(in crate::backend) fn of_batch<'a>(
    batch: &'a Batch,
    details: &'a [EventDetails],
    fresh: &[bool],
    transitions: &'a Transitions,
) -> Vec<NewChange<'a>> {
    let rows = batch.events().iter().zip(details).zip(fresh);
    let mut rows: Vec<_> = rows
        .filter_map(|(row, fresh)| fresh.then_some(row))
        .map(|(event, details)| (place(event), details, event))
        .collect();
    rows.sort_by_key(|(place, ..)| *place);
    // Both are in the order of SID and account.
    let (mut transitions, mut rows) = (transitions.iter().peekable(), rows.into_iter().peekable());
    let mut changes = Vec::with_capacity(batch.events().len());
    while let Some((place, details, event)) = rows.next() {
        let (sid, account, position) = place;
        let is_before =
            |id: &(String, String)| sid.is_some_and(|sid| (&*id.0, &*id.1) < (sid, account));
        while transitions.next_if(|(id, _)| is_before(id)).is_some() {}
        let is_its = |id: &(String, String)| (Some(&*id.0), &*id.1) == (sid, account);
        let transition = transitions.peek().filter(|(id, _)| is_its(id)).map(|(_, it)| *it);
        let is_last = rows.peek().is_none_or(|(next, ..)| *next != place);
        let moved = transition.is_some_and(|it| {
            let (previous, current) = (it.previous.as_ref().map(parts), Some(parts(&it.current)));
            position == current && previous != current && is_last
        });
        let previous = transition.and_then(|it| it.previous.as_ref());
        changes.push(NewChange {
            event,
            previous: previous.map(|position| position.status.as_str()),
            current: transition.map(|it| it.current.status.as_str()),
            moved,
            error_code: details.error_code.as_deref(),
            own: details.own.as_ref(),
        });
    }
    changes
}

/// A [`Position`] without a copy, in the same order.
type PositionParts<'a> = (u8, Option<i64>, Option<Timestamp>, &'a str);

fn parts(position: &Position) -> PositionParts<'_> {
    let Position { rank, sequence, occurred_at, status } = position;
    (*rank, *sequence, *occurred_at, status)
}

/// The SID and the account of the event, and its place in the order.
fn place(event: &Event) -> (Option<&str>, &str, Option<PositionParts<'_>>) {
    let status = event.resource.zip(event.status.as_deref());
    let position = status.map(|(resource, status)| {
        (resource.rank(status), event.sequence, event.occurred_at, status)
    });
    (event.sid.as_deref(), &event.account, position)
}

/// Reads the state of the feed, and changes behind an id in order: at least one row, which has no change if there are
/// none. One statement, so that both are of one moment.
pub(in crate::backend) fn push_page<DB: Dialect>(
    sql: &mut QueryBuilder<DB>,
    after: i64,
    limit: u32,
) {
    sql.push(format_args!(
        "SELECT feed.id AS feed, feed.cut, coalesce(({}), 0) AS last, page.* FROM feed LEFT JOIN \
         (SELECT {} FROM changes WHERE id > ",
        DB::LAST_CHANGE,
        changes_as_read::<DB>()
    ));
    DB::push_number(sql, after);
    sql.push(" ORDER BY id LIMIT ");
    DB::push_number(sql, limit.into());
    sql.push(") AS page ON TRUE ORDER BY page.id");
}

/// The end of the feed as it is now.
pub(in crate::backend) const END: &str =
    "SELECT id, cut, coalesce((SELECT max(id) FROM changes), 0) FROM feed";

/// Reads the row of [`END`].
pub(in crate::backend) fn end(
    (feed, cut, greatest): (String, i64, i64),
) -> Result<Cursor, sqlx::Error> {
    Ok(Cursor { feed: feed_id(&feed)?, id: greatest.max(cut) })
}

/// Behind which id to begin; what is missing is found out by [`read_page`].
pub(in crate::backend) fn begin(from: &From) -> i64 {
    match from {
        From::Start => 0,
        From::After(cursor) => cursor.id,
    }
}

/// Reads the rows of [`push_page`].
///
/// # Errors
/// Something behind the cursor is missing.
pub(in crate::backend) fn read_page<R>(from: &From, rows: &[R]) -> Result<FeedPage, FeedError>
where
    R: Row,
    for<'r> &'static str: ColumnIndex<R>,
    for<'r> String: Decode<'r, R::Database> + Type<R::Database>,
    for<'r> i64: Decode<'r, R::Database> + Type<R::Database>,
    for<'r> bool: Decode<'r, R::Database> + Type<R::Database>,
{
    let first = rows.first().ok_or(sqlx::Error::RowNotFound)?;
    let feed = feed_id(&first.try_get::<String, _>("feed")?)?;
    let (cut, last): (i64, i64) = (first.try_get("cut")?, first.try_get("last")?);
    let after = match from {
        From::Start => cut,
        From::After(cursor) if cursor.feed != feed => return Err(Gone::OtherFeed.into()),
        From::After(cursor) if cursor.id < cut => return Err(Gone::Cut.into()),
        From::After(cursor) if cursor.id > last => return Err(Gone::BeyondTheEnd.into()),
        From::After(cursor) => cursor.id,
    };
    let is_empty = first.try_get::<Option<i64>, _>("id")?.is_none();
    let changes = if is_empty { &[] } else { rows };
    let changes = changes.iter().map(rows::change).collect::<Result<Vec<_>, _>>()?;
    let next = Cursor { feed, id: changes.last().map_or(after, |change| change.id) };
    Ok(FeedPage { changes, next })
}

fn feed_id(text: &str) -> Result<FeedId, sqlx::Error> {
    let malformed = "column `id` of `feed` holds what this version does not know";
    FeedId::parse(text).ok_or_else(|| sqlx::Error::Decode(malformed.to_owned().into()))
}
