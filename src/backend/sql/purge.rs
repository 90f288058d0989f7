//! The SQL of a purge, made for both stores here, so that they cannot differ. A page of rows is read
//! by an index; what is selected of it is found out behind that, so that a statement is bounded
//! however few rows are.

use sqlx::{ColumnIndex, Decode, QueryBuilder, Row, Type};

use super::dialect::Dialect;
use super::page::{push_addresses, push_after};
use crate::backend::purge::{ROWS_PER_STEP, Selection, ignores_case};
use crate::backend::search::Cursor;

/// An event of a page.
pub(in crate::backend) struct EventHit {
    pub(in crate::backend) key: String,
    pub(in crate::backend) account: String,
    pub(in crate::backend) at: String,
    pub(in crate::backend) sid: Option<String>,
    /// Whether its status goes with it: it concerns one party alone, while a conference has several participants; or the
    /// parameters of its callback URL, which the status has as well, name the one who is to be forgotten. Not one that is found
    /// by its own addresses: until its turn comes, others are found by it.
    pub(in crate::backend) part: bool,
    /// Whether it is selected.
    pub(in crate::backend) selected: bool,
}

impl EventHit {
    /// Reads a row of [`push_events`].
    pub(in crate::backend) fn of<'r, R>(
        row: &'r R,
        selection: &Selection,
    ) -> Result<Self, sqlx::Error>
    where
        R: Row,
        &'static str: ColumnIndex<R>,
        String: Decode<'r, R::Database> + Type<R::Database>,
        bool: Decode<'r, R::Database> + Type<R::Database>,
    {
        let resource: Option<String> = row.try_get("resource")?;
        let text = |column| row.try_get::<Option<String>, _>(column);
        let (params, query) = (text("words")?, text("asked")?);
        let has_status: bool = row.try_get("has_status")?;
        let (of_account, related): (bool, bool) =
            (row.try_get("of_account")?, row.try_get("related")?);
        let (params, query) = (params.unwrap_or_default(), query.unwrap_or_default());
        let meant = related || selection.is_meant(&params, &query, has_status);
        Ok(Self {
            key: row.try_get("key")?,
            account: row.try_get("account")?,
            at: row.try_get("at")?,
            sid: row.try_get("sid")?,
            part: matches!(resource.as_deref(), Some("recording" | "transcription"))
                || !related && selection.is_asked(&query),
            selected: of_account && meant,
        })
    }
}

/// A page of events in the order in which they were received.
pub(in crate::backend) fn push_events<DB: Dialect>(
    sql: &mut QueryBuilder<DB>,
    selection: &Selection,
    after: &Option<Cursor>,
) {
    sql.push("SELECT key, account, sid, resource, ");
    sql.push(DB::time_as_text("page.received_at")).push(" AS at, ");
    push_account(sql, selection);
    sql.push(" AS of_account, ");
    if selection.addresses.is_empty() {
        sql.push("TRUE AS related, FALSE AS has_status, NULL AS words, NULL AS asked");
    } else {
        push_meant(sql, selection);
    }
    sql.push(
        " FROM (SELECT key, sid, resource, account, received_at, query, params FROM events \
         WHERE TRUE",
    );
    push_page(sql, selection, "received_at", "key", after);
    sql.push(") AS page ORDER BY page.received_at, key, account");
}

/// Whether an event belongs to a SID whose status has one of the addresses, whether it has a status at
/// all, and its texts, if any of the addresses may be in them.
fn push_meant<DB: Dialect>(sql: &mut QueryBuilder<DB>, selection: &Selection) {
    sql.push(
        "EXISTS (SELECT 1 FROM statuses WHERE statuses.account = page.account AND statuses.sid IN \
         (page.sid, page.params ->> 'CallSid', page.params ->> 'MessageSid')",
    );
    push_addresses(sql, &selection.addresses);
    sql.push(
        ") AS related, EXISTS (SELECT 1 FROM statuses WHERE statuses.sid = page.sid \
         AND statuses.account = page.account) AS has_status",
    );
    for (text, name) in [("CAST(page.params AS text)", "words"), ("page.query", "asked")] {
        sql.push(", CASE WHEN FALSE");
        for core in selection.cores() {
            match ignores_case(core) {
                false => {
                    DB::push_text(sql.push(format_args!(" OR {}({text}, ", DB::POSITION)), core);
                }
                true => {
                    sql.push(format_args!(" OR {}(lower({text}), ", DB::POSITION));
                    DB::push_text(sql, &core.to_lowercase());
                }
            }
            sql.push(") > 0");
            if name == "asked" {
                // As libraries encode it in a URL, or a person does.
                let encoded: String = form_urlencoded::byte_serialize(core.as_bytes()).collect();
                for encoded in [encoded, core.replace('@', "%40"), core.replace('+', "%2B")] {
                    sql.push(format_args!(" OR {}(lower({text}), ", DB::POSITION));
                    DB::push_text(sql, &encoded.to_lowercase());
                    sql.push(") > 0");
                }
            }
        }
        sql.push(format_args!(" THEN {text} END AS {name}"));
    }
}

/// A page of statuses in the order in which their SIDs were first seen: `sid`, `account`, `at`,
/// `selected`.
pub(in crate::backend) fn push_statuses<DB: Dialect>(
    sql: &mut QueryBuilder<DB>,
    selection: &Selection,
    after: &Option<Cursor>,
) {
    sql.push("SELECT sid, account, ").push(DB::time_as_text("page.first_seen")).push(" AS at, ");
    push_account(sql, selection);
    if let Some(before) = selection.before {
        DB::push_time(sql.push(" AND updated < "), before);
    }
    sql.push(
        " AS selected FROM (SELECT sid, account, first_seen, updated FROM statuses WHERE TRUE",
    );
    if !selection.addresses.is_empty() {
        push_addresses(sql, &selection.addresses);
    }
    push_page(sql, selection, "first_seen", "sid", after);
    sql.push(") AS page ORDER BY page.first_seen, sid, account");
}

fn push_account<DB: Dialect>(sql: &mut QueryBuilder<DB>, selection: &Selection) {
    match &selection.account {
        Some(account) => DB::push_text(sql.push("account = "), account),
        None => {
            sql.push("TRUE");
        }
    }
}

fn push_page<DB: Dialect>(
    sql: &mut QueryBuilder<DB>,
    selection: &Selection,
    time: &str,
    id: &str,
    after: &Option<Cursor>,
) {
    if let Some(sid) = &selection.sid {
        DB::push_text(sql.push(" AND sid = "), sid);
    }
    if let Some(before) = selection.before {
        DB::push_time(sql.push(format_args!(" AND {time} < ")), before);
    }
    if let Some(after) = after {
        push_after(sql, [time, id], ">", after);
    }
    sql.push(format_args!(" ORDER BY {time}, {id}, account LIMIT {ROWS_PER_STEP}"));
}
