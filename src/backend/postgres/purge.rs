//! [`Purge`]: deletes what is selected from the scale-out store, a page at a time.

use sqlx::{PgConnection, QueryBuilder, Row};
use time::OffsetDateTime;

use super::Postgres;
use crate::backend::BackendError;
use crate::backend::purge::{EventHit, Found, Mode, PAGE, Selection, push_events, push_statuses};
use crate::backend::search::Cursor;
use crate::clock::Timestamp;

/// Rows are locked in the order in which a commit locks them, so the two cannot deadlock.
const DELETE_EVENTS: &str = "
    WITH mine AS (SELECT key FROM events WHERE key = ANY($1) ORDER BY key FOR UPDATE)
    DELETE FROM events WHERE key IN (SELECT key FROM mine)";
/// Unless something was said of the SID meanwhile.
const DELETE_STATUSES: &str = "
    WITH mine AS (
        SELECT sid FROM statuses WHERE sid = ANY($1) AND ($2 IS NULL OR updated < $2)
        ORDER BY sid FOR UPDATE
    )
    DELETE FROM statuses WHERE sid IN (SELECT sid FROM mine)";
const COUNT_STATUSES: &str =
    "SELECT count(*) FROM statuses WHERE sid = ANY($1) AND ($2 IS NULL OR updated < $2)";

/// Deletes what is selected.
#[derive(Clone, Debug)]
pub struct Purge(Postgres);

impl Purge {
    /// Connects when first asked.
    #[must_use]
    pub fn new(postgres: Postgres) -> Self {
        Self(postgres)
    }

    pub(in crate::backend) async fn events(
        &self,
        selection: &Selection,
        after: Option<Cursor>,
        mode: Mode,
    ) -> Result<(Found, Option<Cursor>), BackendError> {
        let mut page = QueryBuilder::new("");
        push_events(&mut page, selection, &after);
        let step = async |connection: &mut PgConnection, keep| {
            let rows = page.build().persistent(keep).fetch_all(&mut *connection).await?;
            let hits = rows.iter().map(|row| EventHit::of(row, selection));
            let hits: Vec<EventHit> = hits.collect::<Result<_, _>>()?;
            let selected: Vec<&EventHit> = hits.iter().filter(|hit| hit.selected).collect();
            let mut parts: Vec<&str> = Vec::new();
            if !selection.addresses.is_empty() {
                parts.extend(
                    selected.iter().filter(|hit| hit.part).flat_map(|hit| hit.sid.as_deref()),
                );
            }
            let keys: Vec<&str> = selected.iter().map(|hit| hit.key.as_str()).collect();
            let mut found = Found { events: keys.len() as u64, ..Found::default() };
            found.statuses = statuses(connection, &parts, selection, mode, keep).await?;
            if mode == Mode::Delete && !keys.is_empty() {
                let delete = sqlx::query(DELETE_EVENTS).bind(&keys).persistent(keep);
                found.events = delete.execute(connection).await?.rows_affected();
            }
            let last = hits.last().filter(|_| hits.len() == PAGE as usize);
            Ok((found, last.and_then(|hit| cursor(&hit.at, &hit.key))))
        };
        Ok(self.0.run_limited(step).await?)
    }

    pub(in crate::backend) async fn statuses(
        &self,
        selection: &Selection,
        after: Option<Cursor>,
        mode: Mode,
    ) -> Result<(u64, Option<Cursor>), BackendError> {
        let mut page = QueryBuilder::new("");
        push_statuses(&mut page, selection, &after);
        let step = async |connection: &mut PgConnection, keep| {
            let rows = page.build().persistent(keep).fetch_all(&mut *connection).await?;
            let mut sids: Vec<&str> = Vec::new();
            for row in &rows {
                if row.try_get("selected")? {
                    sids.push(row.try_get("sid")?);
                }
            }
            let found = statuses(connection, &sids, selection, mode, keep).await?;
            let last = match rows.last().filter(|_| rows.len() == PAGE as usize) {
                Some(last) => cursor(last.try_get("at")?, last.try_get("sid")?),
                None => None,
            };
            Ok((found, last))
        };
        Ok(self.0.run_limited(step).await?)
    }
}

async fn statuses(
    connection: &mut PgConnection,
    sids: &[&str],
    selection: &Selection,
    mode: Mode,
    keep: bool,
) -> Result<u64, sqlx::Error> {
    if sids.is_empty() {
        return Ok(0);
    }
    let before: Option<OffsetDateTime> = selection.before.map(Timestamp::datetime);
    match mode {
        Mode::Delete => {
            let delete = sqlx::query(DELETE_STATUSES).bind(sids).bind(before).persistent(keep);
            Ok(delete.execute(connection).await?.rows_affected())
        }
        Mode::Count => {
            let count = sqlx::query_scalar::<_, i64>(COUNT_STATUSES).bind(sids).bind(before);
            Ok(count.persistent(keep).fetch_one(connection).await?.unsigned_abs())
        }
    }
}

fn cursor(at: &str, id: &str) -> Option<Cursor> {
    Some(Cursor { at: Timestamp::parse_rfc3339(at)?, id: id.to_owned() })
}
